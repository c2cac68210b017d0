# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypervisor parameters: checked wherever they are given, inherited from cluster and node group, shown with their origin.

Levels, the last wins: default, cluster, node group, instance. What was settled when the instance was made (its firmware,
whose variables lie on a disk) stays as it was, whatever the cluster says later. Pure.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: An instance's own variables that stood before the parameters did: the record's key, and the parameter that it gives.
SHORT = (("kernel", "kernel_path"), ("initrd", "initrd_path"), ("kernel_args", "kernel_args"), ("iso", "cdrom_image_path"))

#: What is shown as the origin of a value.
DEFAULT, CLUSTER, INSTANCE, SETTLED = "default", "cluster", "instance", "settled at creation"

#: Size of the disk that holds the variables of a guest's firmware, MiB. QEMU takes 8 MiB of flash, firmware included.
NVRAM_MIB = 4

#: Size of the disk that holds the state of a guest's TPM, MiB. swtpm needs a tenth of one.
TPM_MIB = 4


def written(value, where):
    """Parameters as a dictionary; Ganeti's ``name=value,name=value`` is one too.

    :raises GantryError: neither.
    """
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        found = {}
        for part in value.split(","):
            name, equals, text = part.partition("=")
            if not equals:
                _refuse(where, "a part without a value", repr(part), "name=value, with commas between")
            found[name.strip()] = text.strip()
        return found
    if not isinstance(value, dict):
        _refuse(where, "hypervisor parameters of another kind", repr(value), "a dictionary, or name=value with commas between")
    return dict(value)


def check(name, values, where):
    """The plain form of one level's parameters of one hypervisor.

    :param name: the hypervisor.
    :param where: who gives them, for the errors: "Instance web1", "The cluster".
    :raises GantryError: an unknown parameter, or a value that cannot be used.
    """
    known, found = hypervisors.backend(name).parameters, {}
    for key, value in written(values, where).items():
        if key not in known:
            _refuse(where, "unknown parameter %s of hypervisor %s" % (key, name), key, "one of " + ", ".join(sorted(known)),
                    "unknown_hvparam")
        if value is None and key not in ("rng", "tpm", "watchdog"):
            continue  # as in Ganeti: nothing is said at this level
        try:
            found[key] = known[key].check(value)
        except ValueError as wanted:
            _refuse(where, "hypervisor parameter %s cannot be used" % key, repr(value), str(wanted))
    return found


def check_levels(levels, where):
    """The parameters of a cluster or a node group: a dictionary by hypervisor. :raises GantryError: as :func:`check`."""
    if levels is None:
        return {}
    if not isinstance(levels, dict):
        _refuse(where, "hypervisor parameters of another kind", repr(levels), "a dictionary by hypervisor, such as {kvm: {...}}")
    for name in levels:
        if name not in hypervisors.BACKENDS:
            _refuse(where, "unknown hypervisor", repr(name), "one of " + ", ".join(hypervisors.names()), "unknown_hypervisor")
    return {name: check(name, values, where) for name, values in levels.items()}


def check_settings(settings):
    """A cluster's settings with their parameters in plain form. :raises GantryError: as :func:`check`."""
    found = dict(settings)
    if "hvparams" in found:
        found["hvparams"] = check_levels(found["hvparams"], "The cluster")
    if found.get("groups"):
        found["groups"] = {
            group: dict(own, hvparams=check_levels(own["hvparams"], "Node group %s" % group))
            if isinstance(own, dict) and "hvparams" in own else own for group, own in found["groups"].items()}
    return found


def explicit(record):
    """What the instance itself says: its parameters, and those of its older variables that its hypervisor knows."""
    known = hypervisors.backend(record["hypervisor"]).parameters
    found = {parameter: record[key] for key, parameter in SHORT if record.get(key) and parameter in known}
    found.update(record.get("hvparams") or {})
    return found


def resolve(record, settings, settled=None):
    """The effective value of each parameter and where it comes from.

    :param record: ``hypervisor``, ``group``, ``hvparams`` (the instance's own), ``hvparams_settled``.
    :param settings: the cluster's settings.
    :param settled: values to take as settled in place of the record's.
    :returns: ``{name: {"value", "origin"}}``, the origin in words.
    """
    name, group = record["hypervisor"], record.get("group") or "default"
    known = hypervisors.backend(name).parameters
    of_group = ((settings.get("groups") or {}).get(group) or {}).get("hvparams") or {}
    found = {key: {"value": parameter.default, "origin": DEFAULT} for key, parameter in known.items()}
    for origin, values in (
        (CLUSTER, (settings.get("hvparams") or {}).get(name)), ("group %s" % group, of_group.get(name)),
        (INSTANCE, explicit(record)), (SETTLED, record.get("hvparams_settled") if settled is None else settled),
    ):
        for key, value in (values or {}).items():
            # a parameter that a newer or older collection wrote is none of ours
            if key in known and not (origin == SETTLED and found[key]["value"] == value):
                found[key] = {"value": value, "origin": origin}
    return found


def effective(record, settings):
    """The values of :func:`resolve` alone."""
    return {key: entry["value"] for key, entry in resolve(record, settings).items()}


def defaults(record):
    """The values where no level is known: what an instance has that was made before there were parameters."""
    return effective(dict(record, hvparams_settled=record.get("hvparams_settled")), {})


def values_of(record):
    """The effective values that the record keeps; worked out where it keeps none."""
    kept = record.get("hvparams_effective")
    return dict(defaults(record), **kept) if kept else defaults(record)


def settle(record, settings):
    """The parameters that are settled when an instance is made: their values now."""
    known = hypervisors.backend(record["hypervisor"]).parameters
    return {key: value for key, value in effective(dict(record, hvparams_settled={}), settings).items() if known[key].fixed}


def refresh(record, settings):
    """The record with its effective parameters as the cluster and its group have them now."""
    if record.get("hypervisor") not in hypervisors.BACKENDS:
        return record
    return dict(record, hvparams_effective=effective(record, settings))


def refuse_conflicts(record, values):
    """Refuse parameters that do not go together, or not with the instance.

    :raises GantryError: the first of them.
    """
    disks = [disk for disk in record["disks"] if not disk.get("purpose")]
    found = hypervisors.backend(record["hypervisor"]).conflicts(values, dict(record, disks=disks))
    if found:
        _refuse("Instance %s" % record["name"], "hypervisor parameters that do not go together", "; ".join(found),
                "parameters that go together", mend="correct gantry_hvparams of the instance, or what its group or the cluster says")


def needs_nvram(record, values):
    """Whether the instance has a disk for the variables of its firmware: mirrored disks are, so they have to be."""
    return values.get("firmware") == "efi" and record["disk_template"] != "diskless"


def needs_tpm(record, values):
    """Whether the instance has a disk for the state of its TPM. Without mirrored disks libvirt keeps it in a folder of the node."""
    return values.get("tpm") == "2.0" and record["disk_template"] == "drbd"


def own_disks(record, values):
    """The purposes and sizes of the disks that an instance has for itself and its guest does not see."""
    found = [("nvram", NVRAM_MIB)] if needs_nvram(record, values) else []
    return found + ([("tpm", TPM_MIB)] if needs_tpm(record, values) else [])


def first_contents(record):
    """What the disks that the guest does not see begin with, by index, as the module ``instance_disks`` takes images.

    The variables of its firmware are those that the firmware brings. A TPM begins with nothing: what an earlier guest's left on the
    volume would be taken for its own.
    """
    found = {}
    for disk in record["disks"]:
        if disk.get("purpose") == "nvram":
            found[str(disk["index"])] = {"path": firmware(values_of(record))[1], "format": "raw", "place": "end"}
        elif disk.get("purpose") == "tpm":
            found[str(disk["index"])] = {"zeros": True}
    return found


def files(values):
    """Paths on the nodes that the parameters name and every node of the instance must have."""
    keys = ("kernel_path", "initrd_path", "cdrom_image_path", "cdrom2_image_path", "floppy_image_path")
    found = [values[key] for key in keys if values.get(key)]
    if values.get("firmware") == "efi":
        found += list(firmware(values))
    return found


def firmware(values):
    """The files of the firmware's code and of the variables that a new guest begins with."""
    own = values.get("firmware_code"), values.get("firmware_vars")
    return own if all(own) else hypervisors.kvm.FIRMWARE[values["secure_boot"]]


def _refuse(where, what, found, expected, code="bad_hvparam", mend=None):
    raise GantryError("%s: %s" % (where, what), found=found, expected=expected, mend=mend, code=code)
