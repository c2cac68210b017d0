# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What brings an instance back to rest: pure. What only a person can know (which copy to give up) is asked for.

The plan says which steps are needed and where; each step's module has its own guard. Nothing is thrown away: a victim's
copy is set aside, and a stray copy on a node outside the mirror goes only when the mirror is redundant.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import guards
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views


def repair(record, picture, params):
    """The plan. ``do``: repair, migrate (an interrupted migration is ended by its module first) or nothing.

    :param params: ``victim_node`` (whose guest or copy the operator gives up), ``dead_node`` (the operator's word that it is
        off).
    :returns: ``end`` (nodes whose copy of the guest is ended), ``undefine`` (nodes with a leftover definition), ``demote``,
        ``close`` (windows, in this order), ``activate``, ``renew`` (``{node, disks}`` or None), ``strays`` (nodes outside the
        mirror that hold volumes or resources of it), ``primary``, ``left`` (what it does not mend, and what does).
    """
    nodes = [name for name in (record["primary"], record["secondary"]) if name]
    _refuse_silent(record, picture, params, nodes)
    living = [name for name in nodes if name not in picture["unknown"]]
    plan = {"do": "repair", "end": [], "undefine": [], "demote": [], "close": [], "activate": [], "renew": None, "strays": [],
            "primary": record["primary"], "left": [], "nodes": living}
    victim = params.get("victim_node")
    if victim and victim not in nodes:
        guards.refuse(record, "has nothing to give up on node %s" % victim, "its nodes are %s" % " and ".join(nodes), "one of them",
                      "correct gantry_victim_node", "no_disks_there")
    owner = _owner(record, picture, victim, plan)
    if plan["do"] == "migrate":
        return plan
    if owner and owner not in nodes:
        guards.refuse(record, "runs on node %s, which has no copy of its disks" % owner, picture["nodes"][owner]["state"],
                      "%s" % " or ".join(nodes), "stop it there by hand ('virsh shutdown %s'), then run instance_repair again"
                      % record["name"], "wrong_node")
    if owner:
        plan["primary"] = owner
    elif params.get("dead_node") == record["primary"]:
        plan["left"].append("it stays stopped: its primary %s is dead; run instance_failover" % record["primary"])
    holder = owner or plan["primary"]
    others = [name for name in living if name != owner]
    plan["undefine"] = [name for name in picture["defined"] if name != holder]
    plan["demote"] = [name for name in others if any(name in disk["primaries"] for disk in picture["disks"] if disk["template"] == "drbd")]
    plan["close"] = [name for name in others + ([owner] if owner else []) if name in picture["windows"]]
    _disks(record, picture, victim, owner, living, plan)
    _strays(record, picture, nodes, plan)
    if not _anything(record, plan):
        return dict(guards.nothing("nothing is to be repaired"), left=plan["left"], nodes=living)
    return dict(plan, why=_in_words(record, plan))


def _refuse_silent(record, picture, params, nodes):
    dead = params.get("dead_node")
    for name in picture["unknown"]:
        node = picture["nodes"][name]
        if name not in nodes:
            continue
        if name != dead or node["reachable"]:
            guards.refuse(record, "cannot be repaired: node %s cannot be asked" % name, node["error"] or "no answer",
                          "every node of it answers", "repair the node ('systemctl restart libvirtd'), or, when it is off, say so "
                          "with -e gantry_dead_node=%s" % name, "unreachable")
        others = [picture["nodes"][other] for other in nodes if other != name and picture["nodes"][other]["reachable"]]
        for other in others:
            if any((side or {}).get("connection") == "Connected" for side in other["resources"].values()):
                guards.refuse(record, "cannot be repaired without node %s: it is not dead" % name,
                              "its DRBD connection to %s is up" % other["node"], "no connection", "cut its power first", "node_alive")


def _owner(record, picture, victim, plan):
    """The node whose guest stays; None when there is none. What must end goes into the plan."""
    there = sorted(picture["alive"] + picture["waiting"])
    if victim in there and len(there) > 1 or victim in picture["waiting"]:
        plan["end"].append(victim)
        there.remove(victim)
    elif picture["waiting"] or len(picture["alive"]) > 1 and guards.in_migration(picture):
        plan["do"] = "migrate"
        plan["target"] = (picture["waiting"] or picture["alive"][-1:])[0]
        nodes = [name for name in (record["primary"], record["secondary"]) if name]
        plan["source"] = next((name for name in nodes if name != plan["target"]), None)
        plan["why"] = "its migration to %s was cut off" % plan["target"]
        return None
    if len(there) > 1:
        guards.refuse(
            record, "lives on more than one node", "; ".join(
                "%s: %s (%s), disks %s" % (name, picture["nodes"][name]["state"], picture["nodes"][name]["reason"],
                                           _side_words(picture, name)) for name in there),
            "one node", "look at both guests; name the one to end with -e gantry_victim_node=NODE: its power is cut, the other goes "
            "on", "runs_twice")
    return there[0] if there else None


def _side_words(picture, name):
    node = picture["nodes"][name]
    return ", ".join(views.side_words(node, node["resources"].get(disk["name"])) for disk in picture["disks"]) or "none"


def _disks(record, picture, victim, owner, living, plan):
    for disk in picture["disks"]:
        if disk["template"] != "drbd":
            if disk["verdict"] == views.MISSING:
                plan["left"].append("disk %d is lost (%s): instance_recreate_disks, then a backup" % (disk["index"], disk["detail"]))
            continue
        if disk["verdict"] == views.SPLIT_BRAIN:
            if not victim:
                guards.refuse(
                    record, "has a split brain on disk %d" % disk["index"], disk["detail"], "one history",
                    "both copies were written to apart from each other. Decide which one to give up, and name its node with "
                    "-e gantry_victim_node=NODE: that copy is set aside, and made anew from the other", "split_brain")
            if victim == owner:
                guards.refuse(record, "runs on node %s, whose copy shall be given up" % victim, disk["detail"], "the other node's copy",
                              "stop it with instance_stop first, or name the other node", "victim_runs")
            plan["renew"] = plan["renew"] or {"node": victim, "disks": []}
            plan["renew"]["disks"].append(disk["index"])
            plan["activate"] = [name for name in living if name != victim]
            continue
        for name in living:
            side = disk["sides"][name]
            if not side["present"] or side["disk"] in views.LOST:
                plan["left"].append("the copy of disk %d on %s is gone (%s): instance_replace_disks" % (
                    disk["index"], name, disk["detail"]))
            elif disk["verdict"] in (views.DOWN, views.DEGRADED, views.STALE) and name not in plan["activate"]:
                plan["activate"].append(name)


def _strays(record, picture, nodes, plan):
    whole = all(disk["verdict"] in (views.REDUNDANT, views.SINGLE) for disk in picture["disks"])
    for name, node in sorted(picture["nodes"].items()):
        if name in nodes or not (node["volumes"] or any(node["resources"].values())):
            continue
        if whole:
            plan["strays"].append(name)
        else:
            plan["left"].append("node %s has an old copy of its disks, which is kept until the mirror is redundant" % name)


def _anything(record, plan):
    return any(plan[key] for key in ("end", "undefine", "demote", "close", "activate", "renew", "strays")) \
        or plan["primary"] != record["primary"]


def _in_words(record, plan):
    words = ["end the guest on %s" % name for name in plan["end"]]
    words += ["forget the definition on %s" % name for name in plan["undefine"]]
    words += ["make secondary on %s" % name for name in plan["demote"]]
    words += ["close the window on %s" % name for name in plan["close"]]
    words += ["bring the disks up on %s" % name for name in plan["activate"]]
    if plan["renew"]:
        words.append("make the copy on %s anew" % plan["renew"]["node"])
    words += ["remove the old copy on %s" % name for name in plan["strays"]]
    if plan["primary"] != record["primary"]:
        words.append("note that its primary is %s" % plan["primary"])
    return "; ".join(words)


VERBS = {"repair": repair}
