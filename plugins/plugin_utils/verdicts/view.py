# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the case with one instance, from its record and its nodes' observations.

An observation is ``{"node", "reachable", "error", "node_info"}``; ``node_info`` is what the module of that name
returned. A node that did not answer is unknown, never dead.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.drbd.rules import LOST_DISKS
from ansible_collections.gantry.cluster.plugins.plugin_utils import suitability

#: The one domain state in which there is nothing of a guest but its definition; every other one, even a crashed or an
#: unknown one, is a process that may hold the disks open.
OFF = "shutoff"

REDUNDANT = "REDUNDANT"
SYNCING = "SYNCING"
DEGRADED = "DEGRADED"
DISKLESS = "DISKLESS"
SPLIT_BRAIN = "SPLIT-BRAIN"
STALE = "STALE"
DOWN = "DOWN"
UNKNOWN = "UNKNOWN"
SINGLE = "SINGLE"
MISSING = "MISSING"

#: A local disk that is gone, or on its way, in DRBD's words.
LOST = LOST_DISKS

#: From bad to good; an instance is as well as its worst disk.
ORDER = (SPLIT_BRAIN, MISSING, STALE, UNKNOWN, DISKLESS, DOWN, DEGRADED, SYNCING, SINGLE, REDUNDANT)


def _domain(info, uuid):
    for domain in info.get("domains", []):
        if domain["uuid"] == uuid:
            return domain
    return None


def node_view(record, observation):
    """One node's share: ``reachable, libvirt, state, resources, volumes, memory_free_mib, info``."""
    info = observation.get("node_info") or {}
    libvirt = info.get("libvirt") or {}
    domain = _domain(info, record["uuid"])
    return {
        "node": observation["node"],
        "reachable": bool(observation.get("reachable")),
        "error": observation.get("error") or libvirt.get("error"),
        "libvirt": bool(libvirt.get("ok")),
        "state": domain["state"] if domain else None,
        "reason": domain.get("reason") if domain else None,
        "job": domain.get("job") if domain else None,
        # it came here by a migration and was never resumed: its memory may be older than its disks
        "waiting": bool(domain) and domain["state"] == "paused" and domain.get("arriving") == observation["node"],
        "resources": {disk["name"]: (info.get("drbd_resources") or {}).get(disk["name"]) for disk in record["disks"]},
        "volumes": sorted(
            "%s/%s" % (volume["vg"], volume["name"]) for volume in info.get("volumes", [])
            if any(volume["name"] in (disk["name"], disk["name"] + "-meta") for disk in record["disks"])
        ),
        "memory_free_mib": info.get("memory_free_mib"),
        **suitability.facts(info),
    }


def _local(resource):
    """The state of the local disk, ``None`` when the resource is not up."""
    if not resource or not resource.get("volumes"):
        return None
    return resource["volumes"][0]["disk"]


def _connected(resource):
    return bool(resource) and resource.get("connection") == "Connected"


def drbd_verdict(disk, views):
    """The verdict of one mirrored disk: ``{"verdict", "detail", "primaries", "sync_percent", "good", "sides"}``.

    :param views: node views by node name.
    ``good`` lists the nodes whose own copy is up to date, ``sides`` has for each node the local disk's state in DRBD's
    words (None: the resource is not up) and whether its data volume is there.
    """
    sides = {node: views[node]["resources"].get(disk["name"]) for node in disk["nodes"] if node in views}
    seen = {node: side for node, side in sides.items() if views[node]["reachable"]}
    apart = any(side and side.get("connection") == "StandAlone" for side in seen.values())
    result = {
        "primaries": sorted(node for node, side in seen.items() if side and side.get("role") == "Primary"),
        "good": sorted(node for node, side in seen.items() if _local(side) == "UpToDate"),
        "sync_percent": min((side["sync_percent"] for side in seen.values() if side and side.get("sync_percent") is not None),
                            default=None),
        "detail": ", ".join("%s: %s" % (node, side_words(views[node], sides[node], apart)) for node in sorted(sides)),
        "sides": {node: {
            "disk": _local(side), "present": "%s/%s" % (disk["vg"], disk["name"]) in views[node]["volumes"],
        } for node, side in sides.items()},
    }
    result["verdict"] = _drbd_word(sides, seen, result)
    return result


def side_words(view, side, evidence=True):
    """What one node shows of a mirrored disk, in DRBD's words.

    :param evidence: with the generations of its data, if it told them.
    """
    if not view["reachable"]:
        return "unreachable"
    if not side:
        return "resource not up"
    words = "%s %s %s" % (side.get("connection"), side.get("role"), _local(side))
    return words + " (generations %s)" % side["generations"] if evidence and side.get("generations") else words


def _generations(side):
    """The identifiers of a side's current data and of what it was when the peer was last there; None where unknown."""
    try:
        found = [int(word, 16) & ~1 for word in side["generations"].split(":")[:2]]
    except (AttributeError, KeyError, ValueError):
        return None
    return found if len(found) == 2 and found[0] else None


def one_history(first, second):
    """Whether two sides that are apart have one history: DRBD itself will copy the newer one over when they are connected again.

    They may have been told apart by something else: another setting of allow-two-primaries, or a hand. The newer side
    has noted what it was when they were last together (rules 40, 50 and 70 of DRBD's drbd_uuid_compare). A side that is
    primary cannot be overwritten.
    """
    generations = _generations(first), _generations(second)
    primary = [side.get("role") == "Primary" for side in (first, second)]
    if None in generations or all(primary):
        return False
    (current, before), (other, other_before) = generations
    return current == other or (current == other_before and not primary[0]) or (other == before and not primary[1])


def _is_filled(side):
    return side.get("sync_percent") not in (None, 100.0) or "Inconsistent" in (_local(side), side.get("peer_disk"))


def _drbd_word(sides, seen, result):
    if not seen:
        return UNKNOWN
    if not any(seen.values()):
        return DOWN if len(seen) == len(sides) else UNKNOWN
    if any(side and side.get("role") == "Primary" and _local(side) in LOST for side in seen.values()):
        return DISKLESS
    alone = [side for side in seen.values() if side and side.get("connection") == "StandAlone"]
    whole = [side for side in seen.values() if _local(side) in ("UpToDate", "Consistent")]
    if alone and len(whole) > 1 and not one_history(*whole):
        return SPLIT_BRAIN
    if not result["good"]:
        return STALE
    # a side that is connected knows the other one too, even where that node does not answer us
    if all(_connected(side) and _local(side) == "UpToDate" and side.get("peer_disk") == "UpToDate"
           and not side.get("out_of_sync_kib") for side in seen.values()):
        return REDUNDANT
    # a side without its disk has nothing that is filled
    lost = any(_local(side) in LOST for side in seen.values())
    if not lost and any(_connected(side) and _is_filled(side) for side in seen.values()):
        return SYNCING
    return DEGRADED


def plain_verdict(disk, views):
    """The verdict of a disk with one copy."""
    node = next(iter(disk["nodes"]))
    view = views.get(node)
    if view is None or not view["reachable"]:
        return {"verdict": UNKNOWN, "primaries": [], "good": [], "sync_percent": None, "detail": "%s: unreachable" % node,
                "sides": {node: {"disk": None, "present": False}}}
    there = "%s/%s" % (disk["vg"], disk["name"]) in view["volumes"]
    return {
        "verdict": SINGLE if there else MISSING, "primaries": [node] if there else [], "good": [node] if there else [],
        "sides": {node: {"disk": "UpToDate" if there else None, "present": there}},
        "sync_percent": None, "detail": "%s: %s" % (node, "one copy" if there else "no volume %s/%s" % (disk["vg"], disk["name"])),
    }


def view(record, observations):
    """The whole picture of one instance.

    :returns: ``nodes`` (views by name), ``alive`` / ``waiting`` / ``defined`` / ``unknown`` (node names: the guest lives
        there, is a copy there that arrived and never ran, is only defined there, cannot be known there), ``owner`` (where
        it surely and only lives, or None), ``disks``
        (verdicts with index and name), ``worst``, ``windows`` (nodes with dual-primary allowed).
    """
    views = {observation["node"]: node_view(record, observation) for observation in observations}
    alive = sorted(name for name, node in views.items() if node["state"] not in (None, OFF) and not node["waiting"])
    unknown = sorted(name for name, node in views.items() if not node["reachable"] or not node["libvirt"])
    disks = []
    for disk in record["disks"]:
        verdict = drbd_verdict(disk, views) if disk["template"] == "drbd" else plain_verdict(disk, views)
        disks.append(dict(verdict, index=disk["index"], name=disk["name"], template=disk["template"]))
    return {
        "nodes": views,
        "alive": alive,
        "waiting": sorted(name for name, node in views.items() if node["waiting"]),
        "defined": sorted(name for name, node in views.items() if node["state"] == OFF),
        "unknown": unknown,
        "owner": alive[0] if len(alive) == 1 else None,
        "disks": disks,
        "worst": min((disk["verdict"] for disk in disks), key=ORDER.index, default=REDUNDANT),
        "windows": sorted(
            name for name, node in views.items()
            if any(side and side.get("allow_two_primaries") for side in node["resources"].values())
        ),
    }
