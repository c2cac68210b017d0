# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of instances, and random ones that a node would take."""

from __future__ import annotations

import pathlib

from hypothesis import strategies as st

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams
from ansible_collections.gantry.cluster.plugins.plugin_utils.domain_xml import render, template_name

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "roles" / "instance" / "templates"

#: Values that are tried for parameters whose kind says little.
SAMPLES = {
    "cpu_type": ["baseline", "host", "host-model", "Nehalem", "qemu64", "EPYC"],
    "cpu_mask": ["all", "0-1", "0:1", "0-3:all"],
    "numa_nodes": ["", "0", "0-1"],
    "memory_min": [0, 256], "hugepages": ["", "2MiB"], "numa_cells": [0, 2],
    "cpu_sockets": [0, 1, 2], "cpu_cores": [0, 1, 2], "cpu_threads": [0, 1, 2],
    "kernel_path": ["", "/boot/vmlinuz", "/boot/a&b'<c>\"d"], "initrd_path": ["", "/boot/initrd.img"],
    "kernel_args": ["", "ro quiet", "x=']]> & <!-- \"ü"], "root_path": ["", "/dev/vda1"],
    "cdrom_image_path": ["", "/srv/a b.iso", "/srv/]]>'&.iso"], "cdrom2_image_path": ["", "/srv/2.iso"],
    "floppy_image_path": ["", "/srv/f.img"], "firmware_code": [""], "firmware_vars": [""], "keymap": ["", "de", "en-us"],
    "vnc_bind_address": ["", "127.0.0.1", "::1"], "spice_bind": ["", "127.0.0.1"],
    "pci_devices": [[], ["0000:03:00.0"], ["0000:03:00.0", "0000:af:1f.7"]],
    "virtio_net_queues": [1, 4], "init_path": ["/sbin/init", "/bin/a'b"], "init_args": [[], ["-c", "a & b < c"]],
    "cpu_weight": [256, 512], "num_ttys": [1, 3], "uid_base": [0, 100000], "uid_count": [65536],
    "vif_script": ["", "/etc/xen/scripts/vif-bridge"], "bootloader_path": ["pygrub"], "bootloader_args": ["", "-q"],
    "device_model": ["", "/usr/bin/qemu-system-i386"], "note": [""],
}


def make_record(kind="kvm", **more):
    """A record with a mirrored and a plain disk and a network card."""
    backend = hypervisors.backend(kind)
    record = {
        "name": "web1.example.com", "uuid": "6f2d1a9e-2d0f-4b8c-9a3e-0d8f6a3b1c42", "hypervisor": kind, "memory_mib": 512, "vcpus": 2,
        "machine": "pc-i440fx-7.2" if backend.versioned_machines else backend.machine,
        "domain_type": backend.domain_types[-1], "kernel": None, "initrd": None, "kernel_args": "", "iso": None,
        "disk_template": "drbd", "group": "default", "hvparams": {},
        "disks": [
            {"index": 0, "name": "web1-disk0", "template": "drbd", "vg": "gantry", "size_mib": 64,
             "nodes": {"a": {"minor": 7}, "b": {"minor": 7}}},
            {"index": 1, "name": "web1-disk1", "template": "plain", "vg": "vg1", "size_mib": 64, "nodes": {"a": {}}},
        ][:backend.most_disks],
        "nics": [{"index": 0, "mode": "bridged", "bridge": "br0", "mac": "52:54:00:00:00:01",
                  "model": "virtio" if kind == "kvm" else None, "vlan": None}],
    }
    record.update(more)
    return record


def text_of(record):
    """The XML of a record by its own template."""
    path = FOLDER / template_name(record)
    return render(record, path.read_text(encoding="utf-8"), source=path.name, folders=[FOLDER])


def _values(key, parameter):
    if key in SAMPLES:
        return st.sampled_from(SAMPLES[key])
    if isinstance(parameter.default, bool):
        return st.booleans()
    if key == "boot_order":
        return st.lists(st.sampled_from(["cdrom", "disk", "network"]), unique=True)
    if key == "drop_capabilities":
        return st.lists(st.sampled_from(hypervisors.lxc.CAPABILITIES), unique=True, max_size=4)
    return st.sampled_from(_choices(parameter))


def _choices(parameter):
    """The words of a choice, from what it says when it is given something else."""
    try:
        parameter.check("\x00")
    except ValueError as wanted:
        return [word.replace("'' (nothing)", "") for word in str(wanted).partition("one of ")[2].split(", ")]
    return []


@st.composite
def records(draw, name):
    """Records with a few parameters of any value that go together."""
    backend = hypervisors.backend(name)
    chosen = draw(st.lists(st.sampled_from(sorted(backend.parameters)), unique=True, min_size=1, max_size=8))
    given = {key: draw(_values(key, backend.parameters[key])) for key in chosen}
    more = {"disk_template": draw(st.sampled_from(["drbd", "plain"]))}
    if backend.versioned_machines:
        more["machine"] = draw(st.sampled_from(["pc-i440fx-7.2", "pc-q35-7.2"]))
    if name in ("xen-pv", "xen-pvh") and not given.get("use_bootloader"):
        given.setdefault("kernel_path", "/boot/vmlinuz")
        given["kernel_path"] = given["kernel_path"] or "/boot/vmlinuz"
    one = make_record(name, hvparams=given, **more)
    # what does not go with the rest is left out, so that what is left does
    while True:
        wrong = backend.conflicts(hvparams.values_of(one), one)
        if not wrong or not one["hvparams"]:
            break
        culprit = next((key for key in one["hvparams"] if key in wrong[0]), next(iter(one["hvparams"])))
        one["hvparams"].pop(culprit)
    if hvparams.needs_nvram(one, hvparams.values_of(one)):
        one["disks"].append({"index": 2, "name": "web1-disk2", "template": "drbd", "vg": "gantry", "size_mib": 4, "purpose": "nvram",
                             "nodes": {"a": {"minor": 9}, "b": {"minor": 9}}})
    if hvparams.needs_tpm(one, hvparams.values_of(one)):
        one["disks"].append({"index": 3, "name": "web1-disk3", "template": "drbd", "vg": "gantry", "size_mib": 4, "purpose": "tpm",
                             "nodes": {"a": {"minor": 10}, "b": {"minor": 10}}})
    return one
