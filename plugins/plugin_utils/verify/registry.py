# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry says of itself: entries that are broken, numbers that two have, locks and secrets of nobody."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils import allocation


def check(case):
    """All checks of the registry."""
    for text in case.broken:
        case.add("REGISTRY_BROKEN", case.name, text, "a complete entry")
    if not case.content["nodes"]:
        case.add("CLUSTER_EMPTY", case.name, "no node", "at least one")
    _duplicates(case)
    _allocations(case)
    _secrets(case)
    _locks(case)


def _numbers(record):
    """What of the registry's numbers the instance uses: (kind, number as text, owner as written down)."""
    for disk in record["disks"]:
        owner = "%s/%d" % (record["uuid"], disk["index"])
        if disk["template"] == "drbd":
            yield "ports", str(disk["port"]), owner
            for minor in sorted({where["minor"] for where in disk["nodes"].values()}, key=str):
                yield "minors", str(minor), owner
    for nic in record["nics"]:
        yield "macs", str(nic["mac"]), "%s/%d" % (record["uuid"], nic["index"])


_KINDS = {"ports": "port", "minors": "minor", "macs": "MAC address"}


def _duplicates(case):
    """Nothing may belong to two."""
    used = {}

    def use(what, value, owner):
        if value is not None:
            used.setdefault((what, value), []).append(owner)

    for name, record in case.instances.items():
        use("name", name.lower(), "instance " + name)
        use("UUID", record["uuid"].lower(), "instance " + name)
        for kind, number, owner in _numbers(record):
            number = None if number == "None" else number.lower()
            use(_KINDS[kind], number, "%s %s of %s" % ("NIC" if kind == "macs" else "disk", owner.rpartition("/")[2], name))
        for disk in record["disks"]:
            use("disk", disk["name"], "disk %d of %s" % (disk["index"], name))
    for name, node in case.nodes.items():
        use("name", name.lower(), "node " + name)
        use("host name", node["hostname"].lower(), "node " + name)
        use("address", node["address"].lower(), "node " + name)
        # the comment behind a key says nothing
        use("migration key", " ".join((node["migration_public_key"] or "").split()[:2]) or None, "node " + name)
    for (what, value), owners in sorted(used.items()):
        if len(owners) > 1:
            case.add("REGISTRY_DUPLICATE", case.name, "%s %.60s: %s" % (what, value, ", ".join(owners)), "one owner")


def _allocations(case):
    """What is in use is written down, and what is written down is in use."""
    if "the registry lacks allocations" in case.broken:
        return
    table = case.content["allocations"]
    in_use = set()
    for name, record in case.instances.items():
        for kind, number, owner in _numbers(record):
            in_use.add((kind, number))
            written = table.get(kind, {}).get(number)
            if written != owner:
                case.add(
                    "REGISTRY_ALLOCATION", case.name, "%s %s of %s is handed out to %s" % (
                        _KINDS[kind], number, name, _owner(case, written)), "%s (%s)" % (owner, name), instance=name)
    for kind in allocation.KINDS:
        for number, owner in sorted(table.get(kind, {}).items()):
            name = case.uuids.get(owner.split("/")[0])
            if (kind, number) in in_use or (name and name not in case.instances) or name in case.busy:
                continue
            case.add("REGISTRY_STALE_ALLOCATION", case.name, "%s %s is handed out to %s" % (
                _KINDS[kind], number, _owner(case, owner)), "a disk or NIC that uses it")


def _owner(case, owner):
    if owner is None:
        return "nobody"
    name = case.uuids.get(owner.split("/")[0])
    return "%s (%s)" % (owner, name or "an unknown instance")


def _secrets(case):
    if "the registry lacks secrets" in case.broken:
        return
    secrets = case.content["secrets"]
    for name, record in case.instances.items():
        for disk in record["disks"]:
            if disk["template"] == "drbd" and str(disk["index"]) not in secrets.get(record["uuid"], []):
                case.add("DISK_SECRET_MISSING", disk["name"], "no secret", "a secret for disk %d of %s" % (disk["index"], name),
                         instance=name)
    for uuid in sorted(set(secrets) - set(case.uuids)):
        case.add("REGISTRY_STALE_SECRET", case.name, "a secret of the unknown instance %s" % uuid, "secrets of known instances only")


def _locks(case):
    for name, lock in sorted(case.content["locks"].items()):
        words = "%s on %s, operation %s" % (lock["verb"], name, lock["operation"])
        if name not in case.content["instances"]:
            case.add("REGISTRY_STRAY_LOCK", case.name, words, "locks of known instances only")
        elif case.controller["holders"].get(name) == "dead":
            case.add("REGISTRY_DEAD_LOCK", case.name, words, "a run that is alive", instance=name)
