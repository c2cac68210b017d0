# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU: with KVM where the machine has it, in emulation elsewhere."""

from __future__ import annotations

from xml.etree import ElementTree

from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor import parameters as kinds
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.base import Hypervisor
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.parameters import Parameter

#: Cache modes under which a write the guest was told of is on the disk, on both nodes.
SAFE_CACHES = ("none", "directsync")

#: What Ganeti calls the fast devices, and what libvirt calls them.
_NIC_TYPES = {"paravirtual": "virtio", "e1000": "e1000", "e1000e": "e1000e", "rtl8139": "rtl8139"}
_DISK_TYPES = ("paravirtual", "scsi", "sata", "ide")

#: Debian's firmware: with Secure Boot (and Microsoft's keys) or without.
FIRMWARE = {
    False: ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    True: ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
}

PARAMETERS = {
    # the machine
    "acpi": Parameter(kinds.truth, True, "acpi"),
    "cpu_type": Parameter(
        kinds.pattern(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}", "baseline, host, host-model or a model of 'virsh cpu-models x86_64'"),
        "baseline", "cpu_type"),
    "cpu_sockets": Parameter(kinds.number(0, 64), 0, "cpu_sockets"),
    "cpu_cores": Parameter(kinds.number(0, 256), 0, "cpu_cores"),
    "cpu_threads": Parameter(kinds.number(0, 8), 0, "cpu_threads"),
    "cpu_mask": Parameter(kinds.cpu_mask, "all", "cpu_mask"),
    "memory_min": Parameter(kinds.mebibytes, 0, "minmem (backend parameter)"),
    "balloon": Parameter(kinds.truth, True),
    "hugepages": Parameter(kinds.choice("", "2MiB", "1GiB"), "", "mem_path"),
    "numa_nodes": Parameter(kinds.node_set, ""),
    "numa_mode": Parameter(kinds.choice("strict", "preferred", "interleave"), "strict"),
    "numa_cells": Parameter(kinds.number(0, 64), 0),
    "use_localtime": Parameter(kinds.truth, False, "use_localtime"),
    "reboot_behavior": Parameter(kinds.choice("reboot", "exit"), "reboot", "reboot_behavior"),
    "hyperv": Parameter(kinds.truth, False),
    # firmware
    "firmware": Parameter(kinds.choice("bios", "efi"), "bios", fixed=True),
    "secure_boot": Parameter(kinds.truth, False, fixed=True),
    "firmware_code": Parameter(kinds.path, "", fixed=True),
    "firmware_vars": Parameter(kinds.path, "", fixed=True),
    "tpm": Parameter(kinds.choice("none", "2.0"), "none", fixed=True),
    # what it boots
    "boot_order": Parameter(kinds.words("cdrom", "disk", "network"), [], "boot_order"),
    "kernel_path": Parameter(kinds.path, "", "kernel_path"),
    "initrd_path": Parameter(kinds.path, "", "initrd_path"),
    "kernel_args": Parameter(kinds.text, "", "kernel_args"),
    "root_path": Parameter(kinds.path, "", "root_path"),
    "cdrom_image_path": Parameter(kinds.path, "", "cdrom_image_path"),
    "cdrom2_image_path": Parameter(kinds.path, "", "cdrom2_image_path"),
    "floppy_image_path": Parameter(kinds.path, "", "floppy_image_path"),
    # disks and network
    "disk_type": Parameter(kinds.choice(*_DISK_TYPES), "paravirtual", "disk_type"),
    "scsi_controller_type": Parameter(kinds.choice("virtio-scsi", "lsilogic"), "virtio-scsi", "scsi_controller_type"),
    "disk_cache": Parameter(kinds.choice("none", "directsync", "writethrough", "writeback"), "none", "disk_cache"),
    "disk_aio": Parameter(kinds.choice("native", "threads", "io_uring"), "native", "disk_aio"),
    "disk_discard": Parameter(kinds.choice("unmap", "ignore"), "unmap", "disk_discard"),
    "nic_type": Parameter(kinds.choice(*_NIC_TYPES), "paravirtual", "nic_type", fixed=True),
    "vhost_net": Parameter(kinds.truth, True, "vhost_net"),
    "virtio_net_queues": Parameter(kinds.number(1, 16), 1, "virtio_net_queues"),
    # screen, console, small devices
    "vnc_bind_address": Parameter(kinds.loopback, "127.0.0.1", "vnc_bind_address"),
    "spice_bind": Parameter(kinds.loopback, "", "spice_bind"),
    "spice_use_vdagent": Parameter(kinds.truth, True, "spice_use_vdagent"),
    "spice_image_compression": Parameter(
        kinds.choice("", "auto_glz", "auto_lz", "quic", "glz", "lz", "off"), "", "spice_image_compression"),
    "spice_jpeg_wan_compression": Parameter(kinds.choice("", "auto", "never", "always"), "", "spice_jpeg_wan_compression"),
    "spice_zlib_glz_wan_compression": Parameter(
        kinds.choice("", "auto", "never", "always"), "", "spice_zlib_glz_wan_compression"),
    "spice_streaming_video": Parameter(kinds.choice("", "filter", "all", "off"), "", "spice_streaming_video"),
    "spice_playback_compression": Parameter(kinds.truth, True, "spice_playback_compression"),
    "vga": Parameter(kinds.choice("vga", "virtio", "qxl", "cirrus", "vmvga", "none"), "vga", "vga"),
    "keymap": Parameter(kinds.pattern(r"[a-z]{2}(-[a-z]{2})?", "a keyboard's name such as de or en-us"), "", "keymap"),
    "serial_console": Parameter(kinds.truth, True, "serial_console"),
    "usb_mouse": Parameter(kinds.choice("none", "mouse", "tablet"), "none", "usb_mouse"),
    "soundhw": Parameter(kinds.choice("none", "ac97", "ich6", "ich9"), "none", "soundhw"),
    "use_guest_agent": Parameter(kinds.truth, False, "use_guest_agent"),
    "rng": Parameter(kinds.truth, False),
    "watchdog": Parameter(kinds.choice("none", "i6300esb", "ib700"), "none"),
    "watchdog_action": Parameter(kinds.choice("reset", "poweroff", "none"), "reset"),
    "pci_devices": Parameter(kinds.pci_devices, [], fixed=True),
}


class Kvm(Hypervisor):
    """libvirt's QEMU driver."""

    name = "kvm"
    uri = "qemu:///system"
    scheme = "qemu"
    domain_types = ("kvm", "qemu")
    live_migration = True
    migration_options = ("downtime", "bandwidth", "listen_address", "auto_converge")
    parameters = PARAMETERS
    nic_modes = ("bridged", "openvswitch", "routed", "vlan")
    nic_models = tuple(_NIC_TYPES.values())
    nic_types = _NIC_TYPES
    versioned_machines = True

    def conflicts(self, values, instance):
        """See :meth:`Hypervisor.conflicts`."""
        found = []
        found += self._processor(values, instance)
        found += self._memory(values, instance)
        found += self._boot(values, instance)
        found += self._disks(values, instance)
        screens = [key for key in ("vnc_bind_address", "spice_bind") if values[key]]
        if values["vga"] == "none" and screens:
            found.append("%s needs a graphics card, and vga is none" % screens[0])
        if values["vga"] == "qxl" and not values["spice_bind"]:
            found.append("vga=qxl is SPICE's card, and spice_bind is empty")
        if values["watchdog"] == "ib700" and is_q35(instance["machine"]):
            found.append("watchdog=ib700 is an ISA card, which q35 has no place for: take i6300esb")
        if values["pci_devices"] and values["memory_min"]:
            found.append("memory_min cannot be ballooned back to beside pci_devices: the memory of such a guest is locked")
        return found

    @staticmethod
    def _processor(values, instance):
        found, count = [], instance["vcpus"]
        given = [values[key] for key in ("cpu_sockets", "cpu_cores", "cpu_threads")]
        product = 1
        for one in given:
            product *= one or 1
        if any(given) and product != count:
            found.append("cpu_sockets x cpu_cores x cpu_threads is %d and there are %d processors" % (product, count))
        masks = values["cpu_mask"].split(":")
        if len(masks) not in (1, count):
            found.append("cpu_mask names %d processors and there are %d" % (len(masks), count))
        if values["numa_cells"] and count % values["numa_cells"]:
            found.append("%d processors cannot be spread evenly over numa_cells=%d" % (count, values["numa_cells"]))
        return found

    @staticmethod
    def _memory(values, instance):
        found, memory = [], instance["memory_mib"]
        if values["memory_min"] > memory:
            found.append("memory_min is %d MiB and the memory %d MiB" % (values["memory_min"], memory))
        if values["memory_min"] and not values["balloon"]:
            found.append("memory_min needs the balloon")
        if values["memory_min"] and values["hugepages"]:
            found.append("memory_min does nothing with hugepages: such memory is not given back")
        unit = {"": 1, "2MiB": 2, "1GiB": 1024}[values["hugepages"]]
        cells = values["numa_cells"] or 1
        if memory % (unit * cells):
            found.append("%d MiB of memory cannot be cut into %d part(s) of whole pages of %s" % (
                memory, cells, values["hugepages"] or "1MiB"))
        return found

    @staticmethod
    def _boot(values, instance):
        found, efi = [], values["firmware"] == "efi"
        for key in ("initrd_path", "kernel_args", "root_path"):
            if values[key] and not values["kernel_path"]:
                found.append("%s without kernel_path" % key)
        if "cdrom" in values["boot_order"] and not values["cdrom_image_path"]:
            found.append("boot_order names the CD-ROM, and there is no cdrom_image_path")
        for key in ("secure_boot", "firmware_code", "firmware_vars"):
            if values[key] and not efi:
                found.append("%s needs firmware=efi" % key)
        if efi and not values["acpi"]:
            found.append("firmware=efi needs acpi")
        if bool(values["firmware_code"]) != bool(values["firmware_vars"]):
            found.append("firmware_code and firmware_vars go together")
        if values["secure_boot"] and not is_q35(instance["machine"]):
            found.append("secure_boot needs the machine type q35, whose firmware the guest cannot write to")
        if values["floppy_image_path"] and is_q35(instance["machine"]):
            found.append("floppy_image_path: q35 has no floppy drive")
        return found

    @staticmethod
    def _disks(values, instance):
        found = []
        if instance["disk_template"] == "drbd" and values["disk_cache"] not in SAFE_CACHES:
            found.append("disk_cache=%s loses writes of a mirrored disk in a migration or a failover: none or directsync" % (
                values["disk_cache"]))
        if values["disk_aio"] == "native" and values["disk_cache"] not in SAFE_CACHES:
            found.append("disk_aio=native needs disk_cache none or directsync")
        drives = len([key for key in ("cdrom_image_path", "cdrom2_image_path") if values[key]])
        if is_q35(instance["machine"]) and values["disk_type"] == "ide":
            found.append("disk_type=ide: q35 has SATA in its place")
        if values["disk_type"] == "ide" and len(instance["disks"]) + drives > 4:
            found.append("disk_type=ide has room for 4 disks and CD-ROM drives, not %d" % (len(instance["disks"]) + drives))
        if values["disk_type"] == "sata" and len(instance["disks"]) + drives > 6:
            found.append("disk_type=sata has room for 6 disks and CD-ROM drives, not %d" % (len(instance["disks"]) + drives))
        return found

    def bound_to_node(self, values):
        """A device of the node itself cannot be taken along, and neither can a processor that no other node need have."""
        found = []
        if values.get("pci_devices"):
            found.append("it has PCI devices of its node (%s)" % ", ".join(values["pci_devices"]))
        return found

    def shutdown_flags(self, binding):
        """The power button: needs no agent in the guest."""
        return binding.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN

    def undefine_flags(self, binding, keep_firmware=False):
        """Whatever libvirt may keep beside the definition goes with it."""
        flags = (
            binding.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | binding.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | binding.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        )
        if keep_firmware:
            return flags | binding.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | getattr(binding, "VIR_DOMAIN_UNDEFINE_KEEP_TPM", 0)
        return flags | binding.VIR_DOMAIN_UNDEFINE_NVRAM | getattr(binding, "VIR_DOMAIN_UNDEFINE_TPM", 0)

    def migrate_flags(self, binding, values=None):
        """Peer to peer: the source's daemon carries it on when we die. The definition moves with the guest.

        Paused, because libvirt's own last step is not safe: the target resumes the guest and answers, and when
        that answer is lost (its daemon dies, the link breaks) the source resumes it too, and it runs twice.
        """
        return (
            binding.VIR_MIGRATE_LIVE | binding.VIR_MIGRATE_PEER2PEER | binding.VIR_MIGRATE_PERSIST_DEST
            | binding.VIR_MIGRATE_UNDEFINE_SOURCE | binding.VIR_MIGRATE_CHANGE_PROTECTION
            | binding.VIR_MIGRATE_ABORT_ON_ERROR | binding.VIR_MIGRATE_PAUSED
        )

    def abilities(self, connection, architecture):
        """Also the processor models that this node can give a guest, which only the domain capabilities tell."""
        found = super().abilities(connection, architecture)
        if found["domain_types"]:
            text = connection.getDomainCapabilities(None, architecture, None, found["domain_types"][0])
            found["cpu_models"] = cpu_models(text)
        return found


def is_q35(machine):
    """Whether a machine type is of the q35 family."""
    return "q35" in (machine or "")


def cpu_models(text):
    """The named processor models a node can provide whole, from libvirt's domain capabilities. Pure."""
    found = [model.text for model in ElementTree.fromstring(text).iterfind("cpu/mode[@name='custom']/model")
             if model.get("usable") == "yes" and model.text]
    return sorted(set(found))
