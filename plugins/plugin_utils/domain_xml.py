# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain's XML from an instance's record and a Jinja2 template that the user may replace.

Every value is escaped: a name or a kernel argument cannot add XML of its own, and what XML cannot hold at all is
refused. libvirt checks the result against its schema when the domain is defined.
"""

from __future__ import annotations

import functools
import re
from xml.etree import ElementTree

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils import tpm_hook
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams, nic_spec

#: How the device letters of disks run: vda, vdb, …
LETTERS = "abcdefghijklmnopqrstuvwxyz"

#: The bus of each of Ganeti's disk types, and how its devices are named.
_BUSES = {"paravirtual": ("virtio", "vd"), "scsi": ("scsi", "sd"), "sata": ("sata", "sd"), "ide": ("ide", "hd"), "ioemu": ("ide", "hd")}

#: What XML 1.0 has no way to write, and what an attribute would not keep as it was.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

#: libvirt's names of Ganeti's boot devices.
_BOOT = {"cdrom": "cdrom", "disk": "hd", "network": "network"}


def device_path(disk):
    """The block device of a disk; the same on every node that has the disk."""
    if disk["template"] == "drbd":
        return "/dev/drbd%d" % next(iter(disk["nodes"].values()))["minor"]
    return "/dev/%s/%s" % (disk["vg"], disk["name"])


def template_name(record):
    """The file of the hypervisor's own template."""
    return "domain_%s.xml.j2" % record["hypervisor"]


def context(record, values=None):
    """What a template sees.

    :param values: the effective hypervisor parameters; the record's own where None.
    :returns: ``instance`` (the record), ``hv`` (the parameters), ``disks`` (with ``device``, ``target`` and ``bus``), ``nics``,
        ``drives`` (CD-ROM drives, the same way), ``boot`` (libvirt's names, in order), ``pins`` (the processors of each virtual
        one), ``pci`` (addresses in their parts), ``firmware`` (``code``, ``vars``, ``nvram``: its device or None) and
        ``tpm_socket`` (where a TPM with a disk of its own is spoken to, or None).
    """
    record = dict({"hypervisor": "kvm"}, **record)
    hv = dict(hvparams.values_of(record) if values is None else values)
    hypervisors.backend(record["hypervisor"])
    disks = _disks(record, hv)
    nvram = next((device_path(disk) for disk in record["disks"] if disk.get("purpose") == "nvram"), None)
    code, start = hvparams.firmware(hv) if hv.get("firmware") == "efi" else (None, None)
    return {
        "instance": record, "hv": hv, "disks": disks, "drives": _drives(record, hv, len(disks)),
        "nics": [_nic(nic) for nic in record["nics"]],
        "boot": _boot(hv), "pins": _pins(hv, record["vcpus"]), "pci": [_pci(address) for address in hv.get("pci_devices") or []],
        "cells": _cells(hv, record), "firmware": {"code": code, "vars": start, "nvram": nvram},
        "tpm_socket": tpm_hook.socket_of(record["uuid"]) if any(disk.get("purpose") == "tpm" for disk in record["disks"]) else None,
        "command_line": _command_line(hv),
    }


def _disks(record, hv):
    bus, prefix = _BUSES.get(hv.get("disk_type"), _BUSES["paravirtual"])
    if record["hypervisor"] in ("xen-pv", "xen-pvh"):
        bus, prefix = "xen", hv["blockdev_prefix"]
    elif record["hypervisor"] == "xen-hvm" and bus == "virtio":
        bus, prefix = "xen", "xvd"
    data = [disk for disk in record["disks"] if not disk.get("purpose")]
    return [dict(disk, device=device_path(disk), bus=bus, target=prefix + LETTERS[disk["index"]]) for disk in data]


def _drives(record, hv, taken):
    """CD-ROM drives, named after the disks of the same bus."""
    if record["hypervisor"] == "xen-hvm":
        bus, prefix, first = "ide", "hd", taken if hv["disk_type"] == "ioemu" else 2
    elif hypervisors.kvm.is_q35(record.get("machine")):
        bus, prefix, first = "sata", "sd", taken if hv.get("disk_type") in ("sata", "scsi") else 0
    else:
        # the name in front is only a name; it was "sda" before there were other buses
        bus, prefix, first = "ide", "hd" if hv.get("disk_type") == "ide" else "sd", taken if hv.get("disk_type") != "paravirtual" else 0
    images = [hv[key] for key in ("cdrom_image_path", "cdrom2_image_path") if hv.get(key)]
    return [{"image": image, "bus": bus, "target": prefix + LETTERS[first + number]} for number, image in enumerate(images)]


def _nic(nic):
    whole = dict({"mode": nic_spec.BRIDGED, "vlan": None, "ip": None, "script": None}, **nic)
    return dict(whole, vlan=nic_spec.vlans(whole["vlan"]))


def _boot(hv):
    order = hv.get("boot_order") or (["cdrom"] if hv.get("cdrom_image_path") else []) + ["disk"]
    return [_BOOT[device] for device in order]


def _pins(hv, count):
    """By virtual processor the node's processors it may run on; empty where all have the same (see ``cpu_mask``)."""
    masks = (hv.get("cpu_mask") or "all").split(":")
    if len(masks) == 1:
        return []
    return [(number, mask) for number, mask in enumerate(masks[:count]) if mask != "all"]


def _pci(address):
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    return {"domain": "0x" + domain, "bus": "0x" + bus, "slot": "0x" + slot, "function": "0x" + function}


def _cells(hv, record):
    """NUMA nodes of the guest, each with its share of processors and memory."""
    count = hv.get("numa_cells") or 0
    if not count:
        return []
    cpus, memory = record["vcpus"] // count, record["memory_mib"] // count
    return [{"id": number, "memory_mib": memory,
             "cpus": hypervisors.kvm.kinds.show_set(range(number * cpus, (number + 1) * cpus))} for number in range(count)]


def _command_line(hv):
    """The kernel's arguments, with the root file system in front where one is named."""
    root = "root=" + hv["root_path"] if hv.get("root_path") else ""
    return " ".join(part for part in (root, hv.get("kernel_args", "")) if part)


def refuse_unwritable(value, what):
    """Refuse text that XML cannot hold, wherever in the data it is. :raises GantryError: the first one."""
    if isinstance(value, dict):
        for key, inner in value.items():
            refuse_unwritable(inner, "%s.%s" % (what, key))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            refuse_unwritable(inner, "%s[%d]" % (what, number))
    elif isinstance(value, str) and _UNWRITABLE.search(value):
        raise GantryError(
            "The domain's %s cannot be written into XML" % what, found=repr(value), expected="no control characters and no line breaks",
            mend="correct it in the instance's variables", code="unwritable",
        )


@functools.lru_cache(maxsize=16)
def _compiled(template, folders):
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FileSystemLoader(folders))
    return environment.from_string(template)


def render(record, template, source="the domain template", folders=(), values=None):
    """The XML text of an instance's domain.

    :param template: the template's text; it sees what :func:`context` returns.
    :param source: where the template came from, for errors.
    :param folders: where templates that it includes are looked for.
    :param values: the effective hypervisor parameters; the record's own where None.
    :raises GantryError: the template does not render, or what it renders is no XML.
    """
    seen = context(record, values)
    for part in ("instance", "hv", "nics"):
        refuse_unwritable(seen[part], part)
    try:
        text = _compiled(template, tuple(str(folder) for folder in folders)).render(**seen)
        ElementTree.fromstring(text)
    except (TemplateError, ElementTree.ParseError) as broken:
        raise GantryError(
            "The domain of instance %s cannot be written" % record["name"], found=str(broken),
            expected="%s renders to XML" % source, mend="correct %s" % source, code="bad_template",
        ) from broken
    return text
