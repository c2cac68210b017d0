# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a node that was away is trusted again: nothing starts, old copies are brought up to date. Pure; see :mod:`node_plan`."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.pool import Pool, entry, interrupted
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.decide import decide


def readd(node, records, nodes, observations, params):
    """Tidy what the node has of each instance, then bring its copies up to date.

    :raises GantryError: the node does not answer.
    """
    del params
    pool = Pool(nodes, observations)
    silent = _silent(node, pool)
    if silent:
        raise GantryError("Node %s cannot come back yet" % node, found=silent, expected="an answer over SSH, of libvirtd and of DRBD",
                          mend="repair it, then run the same command again", code="unreachable")
    entries = []
    for _name, record in sorted(records.items()):
        one = _returned(record, node, pool)
        if one:
            entries.append(one)
    return {"instances": entries, "notes": leftovers(node, records, pool)}


def open_points(node, records, nodes, observations):
    """Why a node is not to be trusted yet, as sentences; empty when it is.

    A copy counts as good only while it is connected: one that is merely UpToDate by itself may be the older one. Where
    the other node of the mirror is marked offline, the primary's own word has to do.
    """
    pool = Pool(nodes, observations)
    silent = _silent(node, pool)
    if silent:
        return ["node %s: %s" % (node, silent)]
    points = []
    for name, record in sorted(records.items()):
        domain = _domain(node, record, pool)
        if domain and record["primary"] != node:
            points.append("%s is %s here, but belongs on %s" % (
                name, "defined" if domain["state"] == views.OFF else domain["state"], record["primary"]))
        if record["disk_template"] != "drbd" or node not in (record["primary"], record["secondary"]):
            continue
        if not record.get("disks_active", True):
            continue
        other = record["secondary"] if record["primary"] == node else record["primary"]
        alone = record["primary"] == node and bool(nodes.get(other, {}).get("offline"))
        for disk in pool.picture(record)["disks"]:
            if disk["verdict"] != views.REDUNDANT and not (alone and node in disk["good"]):
                points.append("%s: disk %d is %s (%s)" % (name, disk["index"], disk["verdict"], disk["detail"]))
    return points


def leftovers(node, records, pool):
    """What is on the node that the registry does not know, or that waits for a person: sentences. Nobody touches it."""
    info = pool.observation(node)["node_info"]
    known = {record["uuid"] for record in records.values()}
    disks = {disk["name"] for record in records.values() for disk in record["disks"]}
    notes = ["domain %s (%s) is unknown to the registry: look whose it is, 'virsh undefine' it if nobody's" % (
        domain["name"], domain["uuid"]) for domain in info.get("domains", []) if domain["uuid"] not in known]
    for volume in info.get("volumes", []):
        name = volume["name"]
        if name not in disks and not (name.endswith("-meta") and name[:-len("-meta")] in disks):
            notes.append("volume %s/%s belongs to no instance of the registry: look whose it is (lvs -o+tags)" % (volume["vg"], name))
    for name, record in sorted(records.items()):
        if record["primary"] != node:
            continue
        picture = pool.picture(record)
        if record["disk_template"] == "plain" and picture["worst"] == views.MISSING:
            notes.append("%s has lost its disks: instance_recreate_disks, then a backup" % name)
        elif record["admin_state"] == "up" and not picture["alive"] and not picture["unknown"]:
            notes.append("%s does not run: nothing is started on a returning node; instance_start does" % name)
    return notes


def _silent(node, pool):
    """What of the node does not answer, or None."""
    seen = pool.observation(node)
    if not seen["reachable"]:
        return seen["error"] or "no answer"
    info = seen["node_info"]
    if not info["libvirt"]["ok"]:
        return "libvirtd: %s" % info["libvirt"].get("error")
    if not info["drbd"]["ok"]:
        return "DRBD: %s" % info["drbd"].get("error")
    return None


def _domain(node, record, pool):
    info = pool.observation(node).get("node_info") or {}
    return next((domain for domain in info.get("domains", []) if domain["uuid"] == record["uuid"]), None)


def _returned(record, node, pool):
    """One instance's part, or None when the node has nothing of it and needs nothing."""
    mine = node in (record["primary"], record["secondary"])
    picture = pool.picture(record, more=[node])
    here = picture["nodes"][node]
    if not mine and here["state"] is None and not here["volumes"] and not any(here["resources"].values()):
        return None
    if record["status"] != "ready":
        return entry(record, "stays as it is", left="it is %s: finish instance_add, or remove it" % record["status"])
    if record["disk_template"] != "drbd":
        if here["state"] is None or record["primary"] == node:
            return None
    left = interrupted(record, "repair")
    if left:
        return entry(record, "stays as it is", left=left)
    try:
        repair = decide("repair", record, picture, {})
    except GantryError as refusal:
        return entry(record, "stays as it is", left=refusal.sentence())
    if repair["do"] == "migrate":
        return entry(record, "stays as it is", left="%s: run instance_repair for it" % repair["why"])
    steps = [{"do": "repair"}] if repair["do"] == "repair" else []
    words = [repair["why"]] if steps else []
    if mine and record["disk_template"] == "drbd" and record.get("disks_active", True):
        lost = [disk for disk in picture["disks"]
                if not disk["sides"][node]["present"] or disk["sides"][node]["disk"] in views.LOST]
        if lost:
            steps.append({"do": "replace", "side": "primary" if record["primary"] == node else "secondary"})
            words.append("its copy on %s is gone and is made anew" % node)
        elif any(disk["verdict"] != views.REDUNDANT for disk in picture["disks"]):
            steps.append({"do": "activate"})
            words.append("its copy on %s is brought up to date" % node)
    return entry(record, "; ".join(words) or "is as it should be", steps)
