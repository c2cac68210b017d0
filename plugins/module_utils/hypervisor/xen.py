# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Xen through libvirt's libxl driver: paravirtual guests, whole machines, and PVH, which is between the two."""

from __future__ import annotations

import re
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor import parameters as kinds
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.base import Hypervisor
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.parameters import Parameter

#: What every Xen guest has. libvirt 9 has no notion of Ganeti's cpu_cap.
_COMMON = {
    "cpu_mask": Parameter(kinds.cpu_mask, "all", "cpu_mask"),
    "cpu_weight": Parameter(kinds.number(1, 65535), 256, "cpu_weight"),
    "memory_min": Parameter(kinds.mebibytes, 0, "minmem (backend parameter)"),
    "migration_mode": Parameter(kinds.choice("live", "non-live"), "live", "migration_mode"),
    "reboot_behavior": Parameter(kinds.choice("reboot", "exit"), "reboot", "reboot_behavior"),
    "vif_script": Parameter(kinds.path, "", "vif_script"),
}

#: Seconds ``xl`` may take to answer.
XL_TIMEOUT = 20
#: Seconds libvirt may take to see that a guest is off.
SEEN_OFF = 10

_KERNEL = {
    "kernel_path": Parameter(kinds.path, "", "kernel_path"),
    "initrd_path": Parameter(kinds.path, "", "initrd_path"),
    "kernel_args": Parameter(kinds.text, "", "kernel_args"),
    "root_path": Parameter(kinds.path, "/dev/xvda1", "root_path"),
    "blockdev_prefix": Parameter(kinds.choice("xvd", "sd", "hd"), "xvd", "blockdev_prefix"),
}


def off_soon(domain):
    """Whether a guest is off within SEEN_OFF seconds."""
    end = time.monotonic() + SEEN_OFF
    while domain.isActive():
        if time.monotonic() >= end:
            return False
        time.sleep(0.2)
    return True


class Xen(Hypervisor):
    """What the three have in common."""

    uri = "xen:///system"
    scheme = "xen"
    domain_types = ("xen",)
    live_migration = True
    power_button = "Xen's request in xenstore"
    # libxl has elapsed times only, and a guest whose memory travels cannot be called back
    names_jobs = False
    aborts_jobs = False
    nic_modes = ("bridged", "openvswitch")
    nic_trunks = False

    def conflicts(self, values, instance):
        """See :meth:`Hypervisor.conflicts`."""
        found = []
        masks = values["cpu_mask"].split(":")
        if len(masks) not in (1, instance["vcpus"]):
            found.append("cpu_mask names %d processors and there are %d" % (len(masks), instance["vcpus"]))
        if values["memory_min"] > instance["memory_mib"]:
            found.append("memory_min is %d MiB and the memory %d MiB" % (values["memory_min"], instance["memory_mib"]))
        return found

    def bound_to_node(self, values):
        """A device of the node itself cannot be taken along."""
        if values.get("pci_devices"):
            return ["it has PCI devices of its node (%s)" % ", ".join(values["pci_devices"])]
        return []

    def virt_caps(self):
        """What Xen was built with and what the processor gives it: the line ``virt_caps`` of ``xl info``."""
        try:
            told = Executor(timeout=XL_TIMEOUT).read(["xl", "info"], ok=None)
        except GantryError:
            return None
        return parse_virt_caps(told.out) if told.rc == 0 else None

    def resume(self, executor, domain):
        """Let a guest go on whose migration failed.

        When sending fails before the guest was suspended (a Xen without shadow paging), libvirt takes the guest for paused while
        it runs, and to unpause what is not paused is an error of Xen's. So it is paused indeed, then libvirt is right.
        """
        number = str(domain.ID())
        told = Executor(timeout=XL_TIMEOUT).read(["xl", "list", number], ok=None)
        if told.rc == 0 and is_going(told.out, number):
            executor.change("pause domain %s, as libvirt believes it to be" % number, ["xl", "pause", number])
        domain.resume()

    def ask_to_stop(self, binding, domain, values, asked):
        """See :meth:`Hypervisor.ask_to_stop`.

        libxl waits a minute for the guest to take the request back, and fails with an internal error when the guest was off
        sooner; libvirt sees that it is off only then. So the first such error says nothing, and no other one where the guest is
        off within seconds.
        """
        try:
            super().ask_to_stop(binding, domain, values, asked)
        except binding.libvirtError as error:
            if error.get_error_code() != binding.VIR_ERR_INTERNAL_ERROR or not off_soon(domain) and asked:
                raise

    def abilities(self, connection, architecture):
        """Also the machine's memory: /proc/meminfo in dom0 knows of dom0's share only."""
        found = super().abilities(connection, architecture)
        found["memory"] = {
            "memory_total_mib": connection.getInfo()[1], "memory_free_mib": connection.getFreeMemory() // 1024 ** 2}
        return found

    def undefine_flags(self, binding, keep_firmware=False):
        """A saved memory goes with the definition; libxl knows no more."""
        return binding.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE

    def migrate_flags(self, binding, values=None):
        """As with kvm: peer to peer, and paused at the target until the source is proven to be without the guest.

        libxl refuses the flags that protect a migration from other calls; the instance's lock does that. Without the flag for
        a live migration the guest is suspended while its memory travels.
        """
        flags = (
            binding.VIR_MIGRATE_PEER2PEER | binding.VIR_MIGRATE_PERSIST_DEST | binding.VIR_MIGRATE_UNDEFINE_SOURCE
            | binding.VIR_MIGRATE_PAUSED
        )
        return flags if (values or {}).get("migration_mode") == "non-live" else flags | binding.VIR_MIGRATE_LIVE


class XenPv(Xen):
    """A guest that knows it is one: Ganeti's xen-pvm."""

    name = "xen-pv"
    machine = "xenpv"
    parameters = dict(
        _COMMON, **_KERNEL,
        use_bootloader=Parameter(kinds.truth, False, "use_bootloader"),
        bootloader_path=Parameter(kinds.pattern(r"/?[A-Za-z0-9_.+/-]{1,255}", "a program such as pygrub"), "pygrub", "bootloader_path"),
        bootloader_args=Parameter(kinds.text, "", "bootloader_args"),
        pci_devices=Parameter(kinds.pci_devices, [], fixed=True),
    )

    def obstacle(self, values, virt_caps):
        """Who sends a guest that runs has to know which of its pages change meanwhile; of a paravirtual one Xen learns that by
        shadow paging, which Debian's Xen is built without."""
        if values.get("migration_mode") == "non-live" or virt_caps is None or "shadow" in virt_caps:
            return None
        return {
            "what": "its node's Xen has no shadow paging (virt_caps of 'xl info': %s)" % (" ".join(virt_caps) or "none"),
            "expected": "shadow, or migration_mode=non-live, since xen-pv is sent live by shadow paging only",
            "mend": "let it move with migration_mode=non-live, which means that it stands still while its memory travels: "
                    "gantry_hvparams: {migration_mode: non-live} when it is made, or cluster_init with "
                    "gantry_cluster_hvparams: {xen-pv: {migration_mode: non-live}} for all; "
                    "or move it with instance_failover, which stops it here and starts it there", "code": "no_shadow_paging"}

    def obstacle_behind(self, values, error):
        """What is refused beforehand where ``xl info`` can be asked."""
        lack = self.obstacle(values, []) if "logdirty" in error else None
        return dict(lack, what="its node's Xen has no shadow paging") if lack else None

    def conflicts(self, values, instance):
        """It has no firmware: something has to find it a kernel."""
        found = super().conflicts(values, instance)
        if values["use_bootloader"] == bool(values["kernel_path"]):
            found.append("one of kernel_path and use_bootloader=true is needed, and not both")
        if values["use_bootloader"] and not instance["disks"]:
            found.append("use_bootloader looks for a kernel on the first disk, and there is none")
        if values["initrd_path"] and not values["kernel_path"]:
            found.append("initrd_path without kernel_path")
        return found


class XenPvh(Xen):
    """Paravirtual devices on the processor's own virtualisation; needs Xen 4.11 and a kernel that has CONFIG_PVH."""

    name = "xen-pvh"
    machine = "xenpvh"
    parameters = dict(_COMMON, **_KERNEL)

    def conflicts(self, values, instance):
        """It has neither firmware nor boot loader."""
        found = super().conflicts(values, instance)
        if not values["kernel_path"]:
            found.append("kernel_path is needed")
        return found


class XenHvm(Xen):
    """A whole machine, whose devices a QEMU in dom0 plays."""

    name = "xen-hvm"
    machine = "xenfv"
    nic_models = ("netfront", "rtl8139", "e1000")
    nic_types = {"paravirtual": "netfront", "rtl8139": "rtl8139", "e1000": "e1000"}
    parameters = dict(
        _COMMON,
        acpi=Parameter(kinds.truth, True, "acpi"),
        pae=Parameter(kinds.truth, True, "pae"),
        viridian=Parameter(kinds.truth, False, "viridian"),
        use_localtime=Parameter(kinds.truth, False, "use_localtime"),
        boot_order=Parameter(kinds.words("cdrom", "disk", "network"), [], "boot_order"),
        cdrom_image_path=Parameter(kinds.path, "", "cdrom_image_path"),
        disk_type=Parameter(kinds.choice("paravirtual", "ioemu"), "paravirtual", "disk_type"),
        nic_type=Parameter(kinds.choice("paravirtual", "rtl8139", "e1000"), "rtl8139", "nic_type", fixed=True),
        device_model=Parameter(kinds.path, "", "device_model"),
        kernel_path=Parameter(kinds.path, "", "kernel_path"),
        vnc_bind_address=Parameter(kinds.loopback, "127.0.0.1", "vnc_bind_address"),
        vga=Parameter(kinds.choice("vga", "cirrus"), "vga"),
        serial_console=Parameter(kinds.truth, True),
        usb_mouse=Parameter(kinds.choice("none", "mouse", "tablet"), "none"),
        pci_devices=Parameter(kinds.pci_devices, [], "passthrough", fixed=True),
    )

    def conflicts(self, values, instance):
        """See :meth:`Hypervisor.conflicts`."""
        found = super().conflicts(values, instance)
        drives = 1 if values["cdrom_image_path"] else 0
        if values["disk_type"] == "ioemu" and len(instance["disks"]) + drives > 4:
            found.append("disk_type=ioemu has room for 4 disks and CD-ROM drives, not %d" % (len(instance["disks"]) + drives))
        if "cdrom" in values["boot_order"] and not values["cdrom_image_path"]:
            found.append("boot_order names the CD-ROM, and there is no cdrom_image_path")
        return found


def parse_virt_caps(text):
    """The words of the line ``virt_caps`` of ``xl info``. Pure.

    :returns: None where there is none, or where it is of a Xen before 4.13, which told of "hvm" and "hvm_directio" only.
    """
    line = re.search(r"^virt_caps[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    words = line.group(1).split() if line else []
    return words if set(words) - {"hvm", "hvm_directio"} else None


def is_going(text, number):
    """Whether ``xl list`` shows a domain that runs or waits for something to do: neither paused, suspended, crashed nor dying. Pure.

    :param text: what ``xl list NUMBER`` prints: name, number, memory, processors, state and time.
    """
    for line in text.splitlines():
        columns = line.split()
        # a domain's name has no blanks; Xen's own of a migration have: "name--incoming"
        if len(columns) == 6 and columns[1] == number:
            return re.fullmatch(r"[r-][b-]----", columns[4]) is not None
    return False
