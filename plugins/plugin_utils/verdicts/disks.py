# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verbs on an instance's disks may do: pure, on record, picture and parameters, as :mod:`decide`."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import guards
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views


def _nodes(record):
    return [name for name in (record["primary"], record["secondary"]) if name]


def _reachable(picture, names):
    return [name for name in names if picture["nodes"][name]["reachable"]]


def activate_disks(record, picture, params):
    """Bring the disks up and let them meet, wherever a node answers. ``do``: activate; ``nodes``, ``left`` (silent nodes).

    The roles stay: who is primary follows the guest.
    """
    del params
    guards.refuse_waiting(record, picture, "activated")
    nodes = _nodes(record)
    there = _reachable(picture, nodes)
    if not there:
        guards.refuse(record, "cannot have its disks activated: no node of it answers", "%s unreachable" % " and ".join(nodes),
                      "an answer over SSH", "repair the nodes or the links", "unreachable")
    return {"do": "activate", "nodes": there, "left": [name for name in nodes if name not in there],
            "why": "on " + " and ".join(there)}


def deactivate_disks(record, picture, params):
    """Take the disks of a stopped instance down; the data stays. ``do``: deactivate; ``nodes``."""
    del params
    nodes = _nodes(record)
    for name in picture["unknown"]:
        guards.refuse(record, "cannot have its disks deactivated: node %s cannot be asked whether it runs there" % name,
                      picture["nodes"][name]["error"], "every node of it answers", "repair the node first", "unreachable")
    if picture["alive"] or picture["waiting"]:
        guards.refuse(record, "cannot have its disks deactivated", "it is on %s" % " and ".join(picture["alive"] + picture["waiting"]),
                      "a stopped instance", "stop it with instance_stop", "running")
    return {"do": "deactivate", "nodes": nodes, "why": "on " + " and ".join(nodes)}


def recreate_disks(record, picture, params):
    """Make new, empty disks for an instance that has lost all of its data. ``do``: recreate or nothing."""
    del params
    for name in picture["unknown"]:
        guards.refuse(record, "cannot have its disks recreated: node %s cannot be asked" % name, picture["nodes"][name]["error"],
                      "every node of it answers", "repair the node: a copy on it may be good", "unreachable")
    if picture["alive"] or picture["waiting"]:
        guards.refuse(record, "cannot have its disks recreated", "it is on %s" % " and ".join(picture["alive"] + picture["waiting"]),
                      "a stopped instance", "stop it with instance_stop", "running")
    lost = [disk["index"] for disk in picture["disks"] if not any(side["present"] for side in disk["sides"].values())]
    kept = [disk for disk in picture["disks"] if disk["index"] not in lost]
    if not lost:
        return guards.nothing("all its disks are there")
    if kept:
        guards.refuse(record, "has lost only a part of its disks",
                      ", ".join("disk %d: %s" % (disk["index"], disk["detail"]) for disk in kept),
                      "every copy of every disk lost", "make a lost copy anew from the other node's with instance_replace_disks; "
                      "what is still there is not thrown away", "has_data")
    return {"do": "recreate", "disks": lost, "why": "new and empty, on " + " and ".join(_nodes(record))}


def _faulty(picture, node):
    """The indexes of the disks whose copy on the node is gone or failed."""
    return [disk["index"] for disk in picture["disks"]
            if not disk["sides"][node]["present"] or disk["sides"][node]["disk"] in views.LOST]


def _good(picture, node):
    return all(node in disk["good"] for disk in picture["disks"])


def replace_disks(record, picture, params):
    """Make a copy anew, in place or on another node. The old copy is kept until the new one is up to date.

    :param params: ``drop_aside`` (remove old copies that were set aside and kept), ``new_node`` (the mirror moves there),
        ``side`` (primary, secondary or auto: which copy is made anew in place; auto takes what has failed), ``force`` (also
        a copy that is healthy), ``old_node`` (noted by a run that was interrupted after the mirror had moved).
    ``do``: move (``old``, ``new``, ``old_reachable``), finish (only the end of a move is missing; ``new_reachable``, ``disks``
    whose new copy is gone already and is made once more), renew (``node``,
    ``disks``), drop (``nodes``) or nothing.
    """
    if record["disk_template"] != "drbd":
        guards.refuse(record, "has no copy to replace", "disk template %s" % record["disk_template"], "drbd",
                      "only mirrored disks have a second copy", "not_mirrored")
    guards.refuse_twice(record, picture)
    guards.refuse_waiting(record, picture, "changed")
    if picture["windows"]:
        guards.refuse(record, "cannot have its disks replaced now", "dual-primary is open on %s" % " and ".join(picture["windows"]),
                      "no migration under way", "finish it with instance_migrate, or run instance_repair", "window_open")
    primary = record["primary"]
    if picture["owner"] not in (None, primary):
        guards.refuse(record, "cannot have its disks replaced: it is not where it should be", "it runs on %s" % picture["owner"],
                      "it runs on %s" % primary, "run instance_repair first", "wrong_node")
    guards.need_libvirt(record, picture, [primary])
    if params.get("drop_aside"):
        guards.need_redundant(record, picture)
        return {"do": "drop", "nodes": _nodes(record), "why": "old copies set aside are removed"}
    if params.get("new_node"):
        return _move(record, picture, params)
    return _renew(record, picture, params)


def _move(record, picture, params):
    primary, old, new = record["primary"], record["secondary"], params["new_node"]
    if new == primary:
        guards.refuse(record, "cannot have its mirror on node %s" % new, "its primary", "another node",
                      "choose another gantry_new_secondary, or migrate it first", "same_node")
    if new == old:
        left = params.get("old_node")
        if left and left != new:
            here = picture["nodes"][new]["reachable"]
            return {"do": "finish", "old": left, "new": new, "old_reachable": picture["nodes"][left]["reachable"], "new_reachable": here,
                    "disks": _faulty(picture, new) if here else [],
                    "why": "its mirror is on %s; the rest of the move from %s" % (new, left)}
        return guards.nothing("its secondary is %s already" % new)
    guards.need_libvirt(record, picture, [new])
    if not _good(picture, primary):
        guards.refuse(record, "cannot have its mirror moved: the primary's own copy is not up to date",
                      "; ".join(disk["detail"] for disk in picture["disks"]), "UpToDate on %s" % primary,
                      "let the sync end, or replace the primary's copy first", "not_up_to_date")
    guards.need_hardware(record, picture, new)
    guards.need_room(record, picture, new)
    return {"do": "move", "old": old, "new": new, "old_reachable": picture["nodes"][old]["reachable"],
            "why": "the mirror goes from %s to %s" % (old, new)}


def _renew(record, picture, params):
    primary, secondary = record["primary"], record["secondary"]
    guards.need_libvirt(record, picture, [secondary])
    side = params.get("side") or "auto"
    bad = {name: _faulty(picture, name) for name in (primary, secondary)}
    if side == "auto":
        if bad[primary] and bad[secondary]:
            guards.refuse(record, "has failed copies on both nodes", "; ".join(disk["detail"] for disk in picture["disks"]),
                          "a good copy on one of them", "look at both nodes; where all is lost, instance_recreate_disks and a backup",
                          "no_good_copy")
        if not bad[primary] and not bad[secondary]:
            for disk in picture["disks"]:
                if disk["verdict"] not in (views.REDUNDANT, views.SYNCING):
                    guards.refuse(record, "has no failed copy, but disk %d is %s" % (disk["index"], disk["verdict"]), disk["detail"],
                                  "a copy that failed", "bring the disks up with instance_activate_disks; in a split brain run "
                                  "instance_repair", "not_connected")
            return guards.nothing("both copies are healthy")
        node = primary if bad[primary] else secondary
    else:
        node = primary if side == "primary" else secondary
        if not bad[node] and not params.get("force"):
            return guards.nothing("the copy on %s is healthy; gantry_force=true makes it anew all the same" % node)
    other = secondary if node == primary else primary
    disks = bad[node] or [disk["index"] for disk in picture["disks"]]
    for disk in picture["disks"]:
        if disk["index"] in disks and other not in disk["good"]:
            guards.refuse(record, "cannot have its copy on node %s replaced: the other one is not up to date" % node, disk["detail"],
                          "UpToDate on %s" % other, "connect and let the sync end (instance_activate_disks)", "not_up_to_date")
        if disk["verdict"] == views.SPLIT_BRAIN:
            guards.refuse(record, "has a split brain on disk %d" % disk["index"], disk["detail"], "one history",
                          "run instance_repair and name the copy to give up with gantry_victim_node", "split_brain")
    return {"do": "renew", "node": node, "disks": disks, "why": "the copy on %s is made anew" % node}


VERBS = {
    "activate_disks": activate_disks, "deactivate_disks": deactivate_disks, "recreate_disks": recreate_disks,
    "replace_disks": replace_disks,
}
