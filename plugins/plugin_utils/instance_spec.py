# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator declares of an instance (host variables or a survey), checked and made plain.

Pure: variables in, specification out. Surveys deliver strings, so numbers and lists are accepted as text too.
"""

from __future__ import annotations

import re

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.parameters import printable
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams, nic_spec
from ansible_collections.gantry.cluster.plugins.plugin_utils.units import parse_mib, show_mib

TEMPLATES = ("drbd", "plain", "diskless")
HYPERVISORS = tuple(hypervisors.names())

#: LVM allows 127 characters for a volume's name; ours add "-disk99-meta".
NAME_LIMIT = 110
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_TAG = re.compile(r"[A-Za-z0-9_.+:@-]{1,128}")
_MACHINE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_TEMPLATE = re.compile(r"[A-Za-z0-9_./-]{1,255}")

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
    "gantry_machine": None,
    "gantry_hvparams": None,
    "gantry_domain_template": None,
    "gantry_tags": [],
    "gantry_start": True,
}


def refuse(name, what, found, expected, code, mend=None):
    """Raise the error of a bad setting of an instance."""
    raise GantryError("Instance %s: %s" % (name, what), found=found, expected=expected, mend=mend, code=code)


def check_name(name):
    """Refuse a name that is no host name (RFC 1123) or too long for its volumes' names."""
    text = str(name)
    if len(text) > NAME_LIMIT or not all(_LABEL.fullmatch(label) for label in text.split(".")):
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
    if not str(value).startswith("/") or not printable(str(value)):
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


def _check_disks(name, hypervisor, disks):
    """Refuse more disks than the hypervisor takes, or fewer than it needs."""
    backend = hypervisors.backend(hypervisor)
    if not backend.least_disks <= len(disks) <= backend.most_disks:
        refuse(name, "%d disks with hypervisor %s" % (len(disks), hypervisor), "%d disks" % len(disks),
               "%d" % backend.most_disks if backend.least_disks == backend.most_disks else "%d at most" % backend.most_disks, "bad_disk")


def _machine(name, hypervisor, value):
    """The machine type that is asked for; None where the hypervisor has none to choose."""
    if not hypervisors.backend(hypervisor).versioned_machines:
        if value is not None:
            refuse(name, "hypervisor %s has no machine types to choose from" % hypervisor, repr(value), "no gantry_machine", "bad_machine")
        return None
    machine = "pc" if value is None else str(value)
    if not _MACHINE.fullmatch(machine):
        refuse(name, "gantry_machine is no machine type", repr(machine), "pc, q35 or a versioned type", "bad_machine")
    return machine


def _parameters(name, hypervisor, given):
    """The instance's own hypervisor parameters. What an older variable says as well must be the same."""
    own = hvparams.check(hypervisor, given["gantry_hvparams"], "Instance %s" % name)
    known = hypervisors.backend(hypervisor).parameters
    short = {}
    for key, parameter in hvparams.SHORT:
        variable, value = "gantry_" + key, given["gantry_" + key]
        value = _text(name, variable, value) if key == "kernel_args" else _path(name, variable, value)
        short[key] = value
        if not value:
            continue
        if parameter not in known:
            refuse(name, "%s means nothing to hypervisor %s" % (variable, hypervisor), repr(value), "no %s" % variable, "bad_boot")
        if own.get(parameter, value) != value:
            refuse(name, "%s and the parameter %s differ" % (variable, parameter), "%r and %r" % (value, own[parameter]), "one of both",
                   "bad_boot")
    return own, short


def _text(name, variable, value):
    text = str(value)
    if not printable(text):
        refuse(name, "%s is no line of text" % variable, repr(text), "printable characters", "bad_boot")
    return text


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
        iso, kernel, initrd, kernel_args, machine, hvparams (the instance's own), domain_template, tags, start.
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
    hypervisor = _choice(name, "gantry_hypervisor", given["gantry_hypervisor"], HYPERVISORS, "unknown_hypervisor")
    own, short = _parameters(name, hypervisor, given)
    if short["initrd"] and not short["kernel"] and not own.get("kernel_path"):
        refuse(name, "gantry_initrd without gantry_kernel", short["initrd"], "both", "bad_boot")
    disks = _disks(name, template, given["gantry_disks"])
    _check_disks(name, hypervisor, disks)
    own_template = given["gantry_domain_template"] or None
    if own_template is not None and (not _TEMPLATE.fullmatch(str(own_template)) or ".." in str(own_template)):
        refuse(name, "gantry_domain_template is no template's name", repr(own_template), "a file such as my_domain.xml.j2", "bad_template")
    image = _path(name, "gantry_image", given["gantry_image"])
    if image and template == "diskless":
        refuse(name, "an image needs a disk to be written to", image, "a disk template with disks", "bad_disk")
    tags = [str(tag) for tag in _list(given["gantry_tags"])]
    for tag in tags:
        if not _TAG.fullmatch(tag):
            refuse(name, "unusable tag", repr(tag), "letters, digits and _.+:@-", "bad_tag")
    return {
        "name": name,
        "memory_mib": parse_mib(given["gantry_memory"], "gantry_memory of instance %s" % name),
        "vcpus": _number(name, "gantry_vcpus", given["gantry_vcpus"], 1),
        "hypervisor": hypervisor,
        "disk_template": template,
        "disks": disks,
        "nics": nic_spec.parse(name, hypervisor, _list(given["gantry_nics"])),
        "primary": primary,
        "secondary": secondary,
        "image": image,
        "iso": short["iso"],
        "kernel": short["kernel"],
        "initrd": short["initrd"],
        "kernel_args": short["kernel_args"],
        "machine": _machine(name, hypervisor, given["gantry_machine"]),
        "hvparams": own,
        "domain_template": str(own_template) if own_template else None,
        "tags": sorted(set(tags)),
        "start": _truth(name, "gantry_start", given["gantry_start"]),
    }


def declared_as(record):
    """The variables that declare an instance as its record has it: :func:`parse` makes the same of them.

    Left out, as in :func:`differences`: where it runs and whether it is up.
    """
    hypervisor = record.get("hypervisor", "kvm")
    backend = hypervisors.backend(hypervisor)
    return {
        "gantry_memory": "%dMiB" % record["memory_mib"],
        "gantry_vcpus": record["vcpus"],
        "gantry_hypervisor": hypervisor,
        "gantry_disk_template": record["disk_template"],
        "gantry_disks": [{"size": "%dMiB" % disk["size_mib"], "vg": disk["vg"]} for disk in record["disks"] if not disk.get("purpose")],
        "gantry_nics": [nic_spec.declared_as(nic, backend) for nic in record["nics"]],
        "gantry_machine": record["machine"] if backend.versioned_machines else None,
        "gantry_hvparams": record.get("hvparams") or {},
        "gantry_tags": record.get("tags") or [],
        **{"gantry_" + key: record.get(key) for key in ("image", "iso", "kernel", "initrd", "kernel_args", "domain_template")},
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
    own, there = spec["hvparams"], record.get("hvparams") or {}
    for key in sorted(set(own) | set(there)):
        if own.get(key) != there.get(key):
            found.append("hypervisor parameter %s is declared as %r and is %r" % (key, own.get(key), there.get(key)))
    wanted = [disk["size_mib"] for disk in spec["disks"]]
    real = [disk["size_mib"] for disk in record.get("disks", []) if not disk.get("purpose")]
    if wanted != real:
        found.append("disks are declared as %s MiB and are %s MiB" % (wanted, real))
    wanted = [_network(nic) for nic in spec["nics"]]
    real = [_network(nic) for nic in record.get("nics", [])]
    if wanted != real:
        found.append("NICs are declared on bridges %s and are on %s" % (wanted, real))
    if spec["tags"] != record.get("tags", []):
        found.append("tags are declared as %s and are %s" % (spec["tags"], record.get("tags", [])))
    return found


def _network(nic):
    """What a card is connected to, in words."""
    words = [] if nic.get("mode", nic_spec.BRIDGED) == nic_spec.BRIDGED else [nic["mode"]]
    return " ".join(words + [str(nic[key]) for key in ("bridge", "vlan", "ip") if nic.get(key)])
