# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an instance's disks: volumes, resource files, the mirror."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.storage.base import ASIDE
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_space import EXTENT_MIB
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify.case import lives

#: LVM's own limit.
LEAST_EXTENT_MIB = 1 / 1024


class Mirror:
    """One mirrored disk: ``sides`` by node (None: not up) of those nodes whose DRBD told, and the verdict on it."""

    def __init__(self, case, disk):
        self.sides, views = {}, {}
        for node in disk["nodes"]:
            facts = case.facts.get(node)
            told = facts is not None and facts.drbd
            side = facts.resource(disk["name"]) if told else None
            if told:
                self.sides[node] = side
            views[node] = {"reachable": told, "resources": {disk["name"]: side}, "volumes": []}
        self.verdict = view.drbd_verdict(disk, views)
        self.word = self.verdict["verdict"]

    @property
    def primaries(self):
        """The nodes that are primary."""
        return self.verdict["primaries"]

    def windows(self):
        """The nodes on which two primaries are allowed."""
        return sorted(node for node, side in self.sides.items() if side and side["allow_two_primaries"])

    def whole(self):
        """Both copies are the same, as everyone who can be asked says; one connected side knows it of the other."""
        up = list(self.sides.values())
        return bool(up) and all(
            side and side["connection"] == "Connected" and _local(side) == side["peer_disk"] == "UpToDate"
            and not side["out_of_sync_kib"] for side in up)

    def first(self, test):
        """The first node whose side, perhaps None, passes the test."""
        return next((node for node in sorted(self.sides) if test(self.sides[node])), None)


def _local(side):
    return side["volumes"][0]["disk"] if side and side["volumes"] else None


def _mirrors(case, record):
    return [(disk, Mirror(case, disk)) for disk in record["disks"] if disk["template"] == "drbd"]


def check_urgent(case, name, record):
    """What must be told even while an operation is under way."""
    migrating = bool(record["pending"]) and record["pending"]["verb"] == "migrate"
    for disk, mirror in _mirrors(case, record):
        if mirror.word in (view.SPLIT_BRAIN, view.DISKLESS):
            _state(case, name, disk, mirror)
        if not (migrating and name in case.busy):
            _window(case, name, disk, mirror)


def check(case, name, record):
    """All checks of the disks of an instance that nobody works on."""
    for disk in record["disks"]:
        for node in sorted(disk["nodes"]):
            facts = case.facts.get(node)
            if facts is None or facts.info is None:
                continue
            if facts.lvm:
                _volumes(case, name, record, disk, node, facts.info)
            if disk["template"] == "drbd" and facts.told("resource_files", "resource_bindings"):
                _resource_file(case, name, record, disk, node, facts.info)
    for disk, mirror in _mirrors(case, record):
        _window(case, name, disk, mirror)
        if not mirror.whole():
            _state(case, name, disk, mirror)
        _sides(case, name, record, disk, mirror)


def _volumes(case, name, record, disk, node, info):
    """The logical volumes on one node."""
    group = info["volume_groups"].get(disk["vg"])
    if group is None:
        if disk["vg"] != case.nodes[node]["vg"]:
            case.add("DISK_VOLUME_MISSING", disk["name"], "no volume group %s on %s" % (disk["vg"], node), "that it is there",
                     node=node, instance=name)
        return
    wanted = [disk["name"]] + ([disk["name"] + "-meta"] if disk["template"] == "drbd" else [])
    for volume_name in wanted:
        volume = lvm.find(info["volumes"], disk["vg"], volume_name)
        where = "%s/%s on %s" % (disk["vg"], volume_name, node)
        if volume is None:
            case.add("DISK_VOLUME_MISSING", disk["name"], "no volume %s that bears our tag" % where, "that it is there",
                     node=node, instance=name)
            continue
        if not lvm.is_ours(volume, record["uuid"]):
            case.add("DISK_FOREIGN_VOLUME", disk["name"], "%s has the tags %s" % (where, ", ".join(volume["tags"]) or "none"),
                     lvm.tag_of(record["uuid"]), node=node, instance=name)
        if lvm.TAG_NEW in volume["tags"]:
            case.add("DISK_MARKED_NEW", disk["name"], "%s has the tag %s" % (where, lvm.TAG_NEW), "not", node=node, instance=name)
        extent = group["extent_mib"] or 0
        if lvm.find(info["volumes"], disk["vg"], volume_name + ASIDE):
            case.add("DISK_ASIDE", disk["name"], "%s%s on %s" % (volume_name, ASIDE, node), "no old copy", node=node, instance=name)
        size = lvm.rounded(disk["size_mib"], extent if extent >= LEAST_EXTENT_MIB else EXTENT_MIB)
        if volume_name == disk["name"] and volume["size_mib"] != size:
            case.add("DISK_SIZE", disk["name"], "%s has %s MiB" % (where, volume["size_mib"]), "%d MiB" % size,
                     node=node, instance=name)


def _resource_file(case, name, record, disk, node, info):
    """The resource file on one node."""
    binding = info["resource_bindings"].get(disk["name"])
    if disk["name"] not in info["resource_files"] or binding is None:
        case.add("DISK_RESOURCE_FILE_MISSING", disk["name"], "no /etc/drbd.d/%s.res on %s" % (disk["name"], node), "that it is there",
                 node=node, instance=name)
        return
    if binding["error"]:
        wrong = [binding["error"]]
    else:
        wrong = ["%s %s" % (what, ", ".join(str(one) for one in found if one is not None) or "none") for what, found, wanted in (
            ("instance", [binding["instance"]], record["uuid"]), ("minor", binding["minors"], disk["nodes"][node]["minor"]),
            ("port", binding["ports"], disk["port"])) if found != [wanted]]
    if wrong:
        case.add("DISK_RESOURCE_FILE_WRONG", disk["name"], "on %s: %s" % (node, "; ".join(wrong)), "instance %s, minor %s, port %s" % (
            record["uuid"], disk["nodes"][node]["minor"], disk["port"]), node=node, instance=name)
    if binding["private"] is False:
        case.add("DISK_RESOURCE_FILE_OPEN", disk["name"], "readable by others on %s" % node, "mode 0600", node=node, instance=name)


def _window(case, name, disk, mirror):
    windows = mirror.windows()
    if windows:
        case.add("DISK_WINDOW_OPEN", disk["name"], "allow-two-primaries on %s" % ", ".join(windows), "closed", node=windows[0],
                 instance=name)
    if len(mirror.primaries) > 1:
        case.add("DISK_TWO_PRIMARIES", disk["name"], "primary on %s" % " and ".join(mirror.primaries), "one primary",
                 node=mirror.primaries[0], instance=name)


#: What a verdict is called here. Of the others, UNKNOWN is the unreachable node's finding, the rest is looked into.
_CODES = {
    view.SPLIT_BRAIN: "DISK_SPLIT_BRAIN", view.DISKLESS: "DISK_DISKLESS_PRIMARY", view.STALE: "DISK_STALE", view.DOWN: "DISK_NOT_UP",
}


def _state(case, name, disk, mirror):
    """The mirror as a whole."""
    code, node = _CODES.get(mirror.word), None
    if mirror.word == view.DISKLESS:
        node = mirror.first(lambda side: side and side["role"] == "Primary" and _local(side) in view.LOST)
    elif mirror.word in (view.DEGRADED, view.SYNCING):
        code, node = _why_degraded(mirror)
    if code:
        percent = mirror.verdict["sync_percent"]
        more = "" if code != "DISK_SYNCING" or percent is None else ", %.0f %% done" % percent
        case.add(code, disk["name"], mirror.verdict["detail"] + more, "Connected and UpToDate on both nodes", node=node, instance=name)


def _why_degraded(mirror):
    """The code for a mirror with one good copy, and the node that the code is about."""
    for code, test in (
        ("DISK_NOT_UP", lambda side: side is None),
        ("DISK_DETACHED", lambda side: side is not None and (_local(side) or "Diskless") in view.LOST),
        ("DISK_OUTDATED", lambda side: _local(side) == "Outdated"),
    ):
        node = mirror.first(test)
        if node:
            return code, node
    sides = list(mirror.sides.values())
    if any(_local(side) == "Inconsistent" or side["peer_disk"] == "Inconsistent" for side in sides):
        return ("DISK_SYNCING" if any(side["connection"] == "Connected" for side in sides) else "DISK_DEGRADED"), None
    if all(side["connection"] == "Connected" and _local(side) == side["peer_disk"] == "UpToDate" for side in sides):
        return "DISK_OUT_OF_SYNC", mirror.first(lambda side: bool(side["out_of_sync_kib"]))
    return "DISK_DEGRADED", None


def _sides(case, name, record, disk, mirror):
    """What each side says of itself."""
    for node, side in sorted(mirror.sides.items()):
        if side is None:
            continue
        _idle(case, name, record, disk, node, side, mirror)
        if side["suspended"]:
            case.add("DISK_SUSPENDED", disk["name"], "suspended on %s" % node, "not suspended", node=node, instance=name)
        if side["protocol"] not in (None, "C"):
            case.add("DISK_PROTOCOL", disk["name"], "protocol %s on %s" % (side["protocol"], node), "protocol C", node=node, instance=name)
        for volume in side["volumes"][:1]:
            minor = disk["nodes"][node]["minor"]
            if volume["minor"] is not None and minor is not None and volume["minor"] != minor:
                case.add("DISK_MINOR", disk["name"], "minor %d on %s" % (volume["minor"], node), "minor %d" % minor,
                         node=node, instance=name)
            if volume["size_mib"] and volume["size_mib"] < disk["size_mib"]:
                case.add("DISK_SIZE", disk["name"], "the device has %s MiB on %s" % (volume["size_mib"], node),
                         "%s MiB" % disk["size_mib"], node=node, instance=name)


def _idle(case, name, record, disk, node, side, mirror):
    """Primary for nobody: something else may have the disk open, and a start elsewhere is refused."""
    facts = case.facts[node]
    if side["role"] != "Primary" or len(mirror.primaries) > 1 or not facts.libvirt:
        return
    domain = facts.domain(record["uuid"])
    # a copy that waits after a migration is a finding of its own
    if domain is None or not (lives(domain, node) or domain["state"] == "paused"):
        case.add("DISK_IDLE_PRIMARY", disk["name"], "primary on %s" % node, "secondary where the guest does not run", node=node,
                 instance=name)
