# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator declares of an instance (host variables or a survey), checked and made plain.

Pure: variables in, specification out. Surveys deliver strings, so numbers and lists are accepted as text too.
"""

from __future__ import annotations

import re

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.units import parse_mib, show_mib

TEMPLATES = ("drbd", "plain", "diskless")
HYPERVISORS = ("kvm",)
NIC_MODELS = ("virtio", "e1000", "rtl8139")

#: LVM allows 127 characters for a volume's name; ours add "-disk99-meta".
NAME_LIMIT = 110
_LABEL = re.compile(r"^(?!-)[a-z0-9-]{1,63}(?<!-)$")
_MAC = re.compile(r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")
_BRIDGE = re.compile(r"^[A-Za-z0-9_.-]{1,15}$")
_TAG = re.compile(r"^[A-Za-z0-9_.+:@-]{1,128}$")
_MACHINE = re.compile(r"^[a-z0-9][a-z0-9.+-]*$")

#: The variables an instance is declared by, with their defaults. None means: not given.
VARIABLES = {
    "gantry_memory": None,
    "gantry_vcpus": 1,
    "gantry_hypervisor": "kvm",
    "gantry_disk_template": "drbd",
    "gantry_disks": None,
    "gantry_nics": [],
    "gantry_primary": None,
    "gantry_secondary": None,
    "gantry_image": None,
    "gantry_iso": None,
    "gantry_kernel": None,
    "gantry_initrd": None,
    "gantry_kernel_args": "",
    "gantry_machine": "pc",
    "gantry_tags": [],
    "gantry_start": True,
}


def refuse(name, what, found, expected, code, mend=None):
    """Raise the error of a bad setting of an instance."""
    raise GantryError("Instance %s: %s" % (name, what), found=found, expected=expected, mend=mend, code=code)


def check_name(name):
    """Refuse a name that is no host name (RFC 1123) or too long for its volumes' names."""
    text = str(name)
    if len(text) > NAME_LIMIT or not all(_LABEL.match(label) for label in text.split(".")):
        raise GantryError(
            "%r is no host name" % text, expected="letters a-z, digits and '-' in parts joined by '.', at most %d"
            " characters" % NAME_LIMIT, mend="name the instance like web1.example.com", code="bad_name",
        )
    return text


def _number(name, variable, value, least):
    try:
        number = int(str(value).strip())
    except ValueError:
        number = None
    if number is None or number < least or isinstance(value, bool):
        refuse(name, "%s is no usable number" % variable, repr(value), "a whole number, %d or more" % least, "bad_number")
    return number


def _truth(name, variable, value):
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    return refuse(name, "%s is neither true nor false" % variable, repr(value), "true or false", "bad_boolean")


def _choice(name, variable, value, choices, code):
    if value not in choices:
        refuse(name, "unknown %s" % variable, repr(value), "one of " + ", ".join(choices), code)
    return value


def _list(value):
    """A list as it is; text as the list of its parts between commas; nothing as an empty list."""
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value)


def _path(name, variable, value):
    if value is None or value == "":
        return None
    if not str(value).startswith("/"):
        refuse(name, "%s must be an absolute path on the node" % variable, repr(value), "a path such as /srv/images/a.raw",
               "bad_path")
    return str(value)


def _disks(name, template, value):
    disks = []
    for index, item in enumerate(_list(value)):
        settings = item if isinstance(item, dict) else {"size": item}
        unknown = set(settings) - {"size", "vg"}
        if unknown:
            refuse(name, "disk %d has unknown settings" % index, ", ".join(sorted(unknown)), "size, vg", "bad_disk")
        if "size" not in settings:
            refuse(name, "disk %d has no size" % index, repr(item), "size: 10GiB", "bad_disk")
        size = parse_mib(settings["size"], "gantry_disks[%d].size of instance %s" % (index, name))
        disks.append({"index": index, "size_mib": size, "vg": settings.get("vg")})
    if template == "diskless" and disks:
        refuse(name, "the template diskless has no disks", "%d disks" % len(disks), "gantry_disks: []", "bad_disk")
    if template != "diskless" and not disks:
        refuse(name, "no disk given", "no gantry_disks", "at least one for the template %s" % template, "bad_disk",
               mend="add gantry_disks: [{size: 10GiB}], or set gantry_disk_template: diskless")
    return disks


def _nics(name, value):
    nics = []
    for index, item in enumerate(_list(value)):
        settings = item if isinstance(item, dict) else {"bridge": item}
        unknown = set(settings) - {"bridge", "mac", "model"}
        if unknown:
            refuse(name, "NIC %d has unknown settings" % index, ", ".join(sorted(unknown)), "bridge, mac, model", "bad_nic")
        bridge = settings.get("bridge")
        if not bridge or not _BRIDGE.match(str(bridge)):
            refuse(name, "NIC %d has no usable bridge" % index, repr(bridge), "the name of a bridge, such as br0", "bad_nic")
        mac = settings.get("mac")
        if mac is not None:
            mac = str(mac).lower()
            if not _MAC.match(mac) or int(mac[:2], 16) & 1:
                refuse(name, "NIC %d has no usable MAC address" % index, repr(mac), "a unicast address like 52:54:00:12:34:56",
                       "bad_nic")
        model = _choice(name, "NIC model", settings.get("model", "virtio"), NIC_MODELS, "bad_nic")
        nics.append({"index": index, "bridge": str(bridge), "mac": mac, "model": model})
    return nics


def _nodes(name, template, primary, secondary):
    if template != "drbd" and secondary:
        refuse(name, "only the template drbd has a secondary", repr(secondary), "no gantry_secondary", "bad_nodes")
    if primary and primary == secondary:
        refuse(name, "primary and secondary are the same node", primary, "two different nodes", "same_node",
               mend="name another gantry_secondary, or leave both out to have them chosen")
    if secondary and not primary:
        refuse(name, "a secondary without a primary", repr(secondary), "both or none", "bad_nodes")


def parse(name, variables):
    """The specification of one instance.

    :param variables: the ``gantry_*`` variables of the host; others are ignored.
    :returns: dict with name, memory_mib, vcpus, hypervisor, disk_template, disks, nics, primary, secondary, image,
        iso, kernel, initrd, kernel_args, machine, tags, start.
    :raises GantryError: the first setting that cannot be used.
    """
    name = check_name(name)
    given = {key: variables.get(key) if variables.get(key) is not None else default for key, default in VARIABLES.items()}
    if given["gantry_memory"] is None:
        refuse(name, "no memory given", "no gantry_memory", "a size", "bad_size", mend="add gantry_memory: 1GiB")
    template = _choice(name, "gantry_disk_template", given["gantry_disk_template"], TEMPLATES, "unknown_template")
    primary = given["gantry_primary"] or None
    secondary = given["gantry_secondary"] or None
    _nodes(name, template, primary, secondary)
    machine = str(given["gantry_machine"])
    if not _MACHINE.match(machine):
        refuse(name, "gantry_machine is no machine type", repr(machine), "pc, q35 or a versioned type", "bad_machine")
    kernel = _path(name, "gantry_kernel", given["gantry_kernel"])
    initrd = _path(name, "gantry_initrd", given["gantry_initrd"])
    if initrd and not kernel:
        refuse(name, "gantry_initrd without gantry_kernel", initrd, "both", "bad_boot")
    image = _path(name, "gantry_image", given["gantry_image"])
    if image and template == "diskless":
        refuse(name, "an image needs a disk to be written to", image, "a disk template with disks", "bad_disk")
    tags = [str(tag) for tag in _list(given["gantry_tags"])]
    for tag in tags:
        if not _TAG.match(tag):
            refuse(name, "unusable tag", repr(tag), "letters, digits and _.+:@-", "bad_tag")
    return {
        "name": name,
        "memory_mib": parse_mib(given["gantry_memory"], "gantry_memory of instance %s" % name),
        "vcpus": _number(name, "gantry_vcpus", given["gantry_vcpus"], 1),
        "hypervisor": _choice(name, "gantry_hypervisor", given["gantry_hypervisor"], HYPERVISORS, "unknown_hypervisor"),
        "disk_template": template,
        "disks": _disks(name, template, given["gantry_disks"]),
        "nics": _nics(name, given["gantry_nics"]),
        "primary": primary,
        "secondary": secondary,
        "image": image,
        "iso": _path(name, "gantry_iso", given["gantry_iso"]),
        "kernel": kernel,
        "initrd": initrd,
        "kernel_args": str(given["gantry_kernel_args"]),
        "machine": machine,
        "tags": sorted(set(tags)),
        "start": _truth(name, "gantry_start", given["gantry_start"]),
    }


def differences(spec, record):
    """How a declared specification differs from an existing instance's record, as sentences.

    Left out on purpose: where it runs (placement changes with every migration) and whether it is up.
    """
    found = []
    for key in ("memory_mib", "vcpus", "hypervisor", "disk_template", "image", "iso", "kernel", "initrd", "kernel_args"):
        if spec[key] != record.get(key):
            shown = [show_mib(x) if key == "memory_mib" else repr(x) for x in (spec[key], record.get(key))]
            found.append("%s is declared as %s and is %s" % (key, shown[0], shown[1]))
    wanted = [disk["size_mib"] for disk in spec["disks"]]
    real = [disk["size_mib"] for disk in record.get("disks", [])]
    if wanted != real:
        found.append("disks are declared as %s MiB and are %s MiB" % (wanted, real))
    wanted = [nic["bridge"] for nic in spec["nics"]]
    real = [nic["bridge"] for nic in record.get("nics", [])]
    if wanted != real:
        found.append("NICs are declared on bridges %s and are on %s" % (wanted, real))
    if spec["tags"] != record.get("tags", []):
        found.append("tags are declared as %s and are %s" % (spec["tags"], record.get("tags", [])))
    return found
