# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data from outside in the form the checks rely on. What does not fit is left out and named; nothing raises.

A check that meets a missing key must neither break nor take it for a healthy or a bad state. So everything passes
through :func:`clean` once: afterwards every key is there, of its type or None, and lists and maps are never None.
"""

from __future__ import annotations

#: The leaves and the types they accept.
_LEAVES = {"text": (str,), "int": (int,), "number": (int, float), "bool": (bool,), "any": (object,)}
#: No size, time or count is larger; arithmetic on what is smaller cannot fail.
_LARGEST = 10 ** 18


class Group:
    """A dict with known keys.

    :param fields: the specification of each key.
    :param needed: the keys without which it is broken.
    :param optional: None stays None, and is not broken.
    """

    def __init__(self, fields, needed=(), optional=False):
        self.fields = fields
        self.needed = needed
        self.optional = optional


def clean(value, spec, where, broken):
    """The value in the form of the specification.

    :param spec: the name of a leaf, ``[spec]`` for a list, ``{"*": spec}`` for a map, or a :class:`Group`.
    :param where: how to call the value, for ``broken``.
    :param broken: gets a text for each part that was left out.
    :returns: None for an unusable leaf, or for an unusable group, which lists and maps leave out.
    """
    if isinstance(spec, str):
        return _leaf(value, spec, where, broken)
    if isinstance(spec, list):
        if value is not None and not isinstance(value, (list, tuple)):
            broken.append("%s is no list" % where)
            value = None
        found = [_inside(item, spec[0], "%s[%d]" % (where, number), broken) for number, item in enumerate(value or [])]
        return [item for item in found if item is not None]
    if value is not None and not isinstance(value, dict):
        broken.append("%s is no dict" % where)
        value = None
    if isinstance(spec, dict):
        found = {str(key): _inside(item, spec["*"], "%s.%s" % (where, key), broken) for key, item in (value or {}).items()}
        return {key: item for key, item in found.items() if item is not None}
    if value is None and spec.optional:
        return None
    return _group(value or {}, spec, where, broken)


def _inside(item, spec, where, broken):
    """An item of a list or a map, None when it is to be left out."""
    if item is None:
        broken.append("%s is empty" % where)
        return None
    found = clean(item, spec, where, broken)
    if isinstance(spec, Group) and any(found.get(key) is None for key in spec.needed):
        return None
    return found


def _group(value, spec, where, broken):
    broken += ["%s lacks %s" % (where, key) for key in spec.needed if value.get(key) is None]
    return {key: clean(value.get(key), inner, "%s.%s" % (where, key), broken) for key, inner in spec.fields.items()}


def _leaf(value, spec, where, broken):
    if value is None:
        return None
    fits = isinstance(value, _LEAVES[spec])
    if fits and spec in ("int", "number"):
        # neither NaN nor infinite either
        fits = not isinstance(value, bool) and -_LARGEST < value < _LARGEST
    if not fits:
        broken.append("%s is no %s" % (where, spec))
        return None
    # text that comes out of Ansible may be of a subclass that its own tools treat specially
    return str(value) if spec == "text" else value


DOMAIN = Group({
    "name": "text", "uuid": "text", "state": "text", "reason": "text", "persistent": "bool", "autostart": "bool",
    "managed_save": "bool", "memory_mib": "number", "memory_max_mib": "number", "vcpus": "int", "vcpus_max": "int",
    "generation": "int", "arriving": "text", "job": "any",
}, needed=("name", "uuid", "state"))

RESOURCE = Group({
    "role": "text", "connection": "text", "peer_role": "text", "peer_disk": "text", "replication": "text",
    "volumes": [Group({"volume": "int", "minor": "int", "disk": "text", "size_mib": "number"}, needed=("disk",))],
    "out_of_sync_kib": "number", "sync_percent": "number", "suspended": "bool", "allow_two_primaries": "bool",
    "protocol": "text", "generations": "any",
}, needed=("role", "connection", "volumes"))

#: What the module node_info tells, as far as verify looks at it.
INFO = Group({
    "hostname": "text", "time": "number", "kernel": "text", "architecture": "text", "memory_total_mib": "number",
    "memory_free_mib": "number",
    "libvirt": Group({
        "ok": "bool", "error": "text", "version": "text", "qemu_version": "text", "domain_types": ["text"],
        "machine_list": ["text"]}, needed=("ok",)),
    "domains": [DOMAIN],
    "drbd": Group({
        "ok": "bool", "error": "text", "kernel_version": "text", "utils_version": "text", "usermode_helper": "text",
        "usermode_helper_runs": "bool"}, needed=("ok",)),
    "drbd_resources": {"*": RESOURCE},
    "resource_files": ["text"],
    "resource_bindings": {"*": Group({
        "instance": "text", "minors": ["int"], "ports": ["int"], "private": "bool", "error": "text"})},
    "lvm": Group({"ok": "bool", "error": "text"}, needed=("ok",)),
    "volume_groups": {"*": Group({
        "size_mib": "number", "free_mib": "number", "extent_mib": "number", "missing_pvs": "int"}, needed=("size_mib", "free_mib"))},
    "volumes": [Group({"vg": "text", "name": "text", "size_mib": "number", "tags": ["text"], "active": "bool"},
                      needed=("vg", "name", "size_mib", "tags"))],
    "lvm_filter": Group({"global_filter": ["text"], "rejects_drbd": "bool", "scan_lvs": "bool"}, needed=("rejects_drbd", "scan_lvs")),
    "records": {"*": Group({"generation": "int", "record": "any", "error": "text"})},
    "file_systems": {"*": Group({"size_mib": "number", "free_mib": "number"}, needed=("size_mib", "free_mib"))},
    "addresses": ["text"], "bridges": ["text"], "ovs_bridges": ["text"], "autostart_services": {"*": "bool"}, "shutdown_service": "bool",
    "migration": Group({"public_key": "text", "trusted_keys": ["text"]}),
}, needed=(
    "hostname", "time", "kernel", "architecture", "memory_total_mib", "memory_free_mib", "libvirt", "domains", "drbd",
    "drbd_resources", "resource_files", "resource_bindings", "lvm", "volume_groups", "volumes", "lvm_filter", "records",
    "file_systems", "addresses", "bridges", "ovs_bridges", "autostart_services", "shutdown_service", "migration",
))

OBSERVATION = Group({
    "node": "text", "reachable": "bool", "error": "text", "msg": "text", "asked": "number", "answered": "number", "node_info": "any",
}, needed=("node",))

NODE = Group({
    "name": "text", "hostname": "text", "address": "text", "vg": "text", "group": "text", "hypervisors": ["text"],
    "offline": "bool", "drained": "bool", "migration_public_key": "text", "ssh_host_keys": ["text"],
}, needed=("name", "hostname", "address", "vg"))

INSTANCE = Group({
    "name": "text", "uuid": "text", "generation": "int", "status": "text", "admin_state": "text", "disk_template": "text",
    "hypervisor": "text", "machine": "text", "domain_type": "text", "primary": "text", "secondary": "text",
    "memory_mib": "number", "vcpus": "int",
    "nics": [Group({"index": "int", "mac": "text", "bridge": "text", "mode": "text"}, needed=("index",))],
    "disks": [Group({
        "index": "int", "name": "text", "template": "text", "size_mib": "number", "vg": "text", "port": "int",
        "nodes": {"*": Group({"hostname": "text", "address": "text", "minor": "int"})},
    }, needed=("index", "name", "template", "size_mib", "vg", "nodes"))],
    "pending": Group({"operation": "text", "verb": "text", "generation": "int"}, optional=True),
}, needed=("name", "uuid", "generation", "status", "admin_state", "disk_template", "primary", "memory_mib", "vcpus", "disks", "nics"))

LOCK = Group({"operation": "text", "verb": "text", "generation": "int"})

#: What the action registry_read returns.
CONTENT = Group({
    "cluster": Group({"name": "text", "mac_prefix": "text"}), "nodes": {"*": "any"}, "instances": {"*": "any"},
    "locks": {"*": LOCK},
    "allocations": {"*": {"*": "text"}}, "secrets": {"*": ["text"]},
}, needed=("cluster", "nodes", "instances", "locks", "allocations", "secrets"))

#: What the controller adds: see :func:`verify.verify`.
CONTROLLER = Group({
    "time": "number", "holders": {"*": "text"}, "unlisted": ["text"],
    "fence": {"*": Group({"methods": "int", "missing": ["text"]})},
})
