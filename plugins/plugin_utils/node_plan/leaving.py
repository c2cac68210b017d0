# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How instances leave a node: while it lives, or after it died. Pure; see :mod:`node_plan`."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.pool import Pool, entry, interrupted
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.rolling import unfit
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.decide import decide

#: Verdicts of a mirrored disk that simply has to be brought up.
_DOWN = (views.DOWN,)


def migrate(node, records, nodes, observations, params):
    """All primaries go to their other node: the running ones live, the stopped ones by a planned failover.

    :param params: ``allow_failover``: those that cannot migrate live are stopped and started.
    """
    pool = Pool(nodes, observations)
    return {"instances": _by_name(_moves(node, _primaries(node, records), pool, params)[0]), "notes": []}


def evacuate(node, records, nodes, observations, params):
    """Primaries leave by a move, then every mirror on the node, those just made too, goes to a new node.

    :param params: ``evacuate``: primary (only the moves), secondary (only the mirrors that are there now) or all;
        ``force``: take a new node though the cluster is then not N+1; ``allow_failover`` as in :func:`migrate`; ``settings``:
        the cluster's, which name the allocator.
    """
    what, force = params.get("evacuate") or "all", bool(params.get("force"))
    pool = Pool(nodes, observations)
    if what != "primary":
        pool.choosing(params.get("settings") or {}, nodes, records, observations)
    entries, moved = _moves(node, _primaries(node, records) if what != "secondary" else [], pool, params)
    layout = {name: (record["primary"], record["secondary"]) for name, record in records.items()}
    layout.update({name: (target, node) for name, target in moved.items()})
    leaving = [] if what == "primary" else [
        records[name] for name, (_primary, secondary) in sorted(layout.items())
        if secondary == node and records[name]["primary"] != node or what == "all" and name in moved or _half_moved(records[name], node)]
    for name, target in moved.items() if pool.chooser else ():
        pool.chooser.put(name, target, node)
    staying = set(records) - {record["name"] for record in leaving}
    pool.stand_by([(records[name], *layout[name]) for name in sorted(staying)])
    entries = {one["name"]: one for one in entries}
    # the largest first: they have the fewest choices
    for record in sorted(leaving, key=lambda record: (-sum(disk["size_mib"] for disk in record["disks"]), record["name"])):
        _mirror(record, layout[record["name"]][0], node, pool, force, entries)
    return {"instances": _by_name(entries.values()), "notes": []}


def failover(node, records, nodes, observations, params):
    """The node is dead: its mirrored primaries start on their other node, once the proof is there.

    :param params: ``can_fence`` (a fence device is configured), ``dead_node`` (the operator's word), ``waited`` (DRBD had
        the time to notice a death), ``force`` (go on with those that fit where not all do).
    :returns: beside the plan ``proof``: fence, word, or wait (observe again later; nothing is planned yet);
        ``silent``: the node shows no sign of life at all.
    :raises GantryError: the node lives, nothing can prove it dead, or there is not room for all.
    """
    pool = Pool(nodes, observations)
    primaries = _primaries(node, records)
    proof = _proof(node, records, pool, params)
    if proof == "wait":
        return {"instances": [], "notes": ["DRBD has not noticed yet that node %s is dead" % node], "proof": proof}
    entries, short = [], []
    # the smallest first: where not all fit, most do
    for record in sorted(primaries, key=lambda record: (record["memory_mib"], record["name"])):
        one, lacking = _dead(record, node, pool)
        entries.append(one)
        if lacking:
            short.append("%s on %s: %s" % (record["name"], record["secondary"], lacking))
    if short and not params.get("force"):
        raise GantryError(
            "Not all instances of node %s have room on their other node" % node, found="; ".join(short),
            expected="memory for all, so that nobody has to choose", mend="free memory there; or fail over those that fit "
            "with -e gantry_force=true", code="no_space",
        )
    notes = ["%s runs without a mirror until node %s is back, or node_evacuate gives it another" % (name, node)
             for name, record in sorted(records.items()) if record["secondary"] == node and record["admin_state"] == "up"]
    return {"instances": _by_name(entries), "notes": notes, "proof": proof,
            "silent": not pool.observation(node)["reachable"] and not list(still_connected(node, records, pool))}


def reboot(node, records, nodes, observations, params):
    """One node of a rolling reboot: everything must be redundant, and everything on the node must be able to leave.

    :param params: ``force``: guests that cannot leave are shut down with the node, and started again after; ``allow_failover`` as in
        :func:`migrate`.
    :returns: beside the plan ``activate`` (names of the instances with a mirror here), ``restart`` (guests that go down
        with the node) and ``before`` (what the node must show again: boot_id, DRBD's version).
    :raises GantryError: not redundant, or something cannot leave. Nothing has been touched.
    """
    pool = Pool(nodes, observations)
    reasons = unfit(records, nodes, observations)
    if reasons:
        raise GantryError(
            "Node %s is not rebooted: the cluster is not whole" % node, found="; ".join(reasons),
            expected="every node answers and every mirrored disk is REDUNDANT",
            mend="look at it with cluster_info; let syncs end, or run instance_repair", code="not_redundant",
        )
    here = _primaries(node, records)
    entries, _moved = _moves(node, [record for record in here if record["disk_template"] == "drbd"], pool, params)
    stuck = [record for record in here if record["disk_template"] != "drbd" and pool.picture(record)["alive"]]
    left = ["%s: %s" % (one["name"], one["left"]) for one in entries if one["left"]]
    if not params.get("force"):
        left += ["%s: disk template %s, it cannot leave" % (record["name"], record["disk_template"]) for record in stuck]
    if left:
        raise GantryError(
            "Node %s is not rebooted: not everything on it can leave" % node, found="; ".join(left), expected="an empty node",
            mend="stop or move these first; gantry_force=true shuts guests without a mirror down with the node, and starts them again",
            code="cannot_leave",
        )
    info = pool.observation(node)["node_info"]
    return {
        "instances": _by_name(entries), "notes": [], "restart": sorted(record["name"] for record in stuck),
        "activate": sorted(name for name, record in records.items()
                           if record["disk_template"] == "drbd" and node in (record["primary"], record["secondary"])
                           and record.get("disks_active", True)),
        "before": {"boot_id": info["boot_id"], "drbd": info["drbd"].get("kernel_version")},
    }


# -- one instance ----------------------------------------------------------------------------------------------------


def _primaries(node, records):
    return [record for _name, record in sorted(records.items()) if record["primary"] == node]


def _by_name(entries):
    return sorted(entries, key=lambda one: one["name"])


def _moves(node, records, pool, params):
    """Plan the moves of primaries: (entries, {name: target} of those that go)."""
    entries, moved = [], {}
    for record in sorted(records, key=lambda record: (record["memory_mib"], record["name"])):
        one = _move(record, node, pool, params)
        entries.append(one)
        if one["steps"]:
            moved[record["name"]] = record["secondary"]
    return entries, moved


def _move(record, node, pool, params):
    """One primary of a living node to its other node."""
    target = record["secondary"]
    if record["disk_template"] != "drbd":
        return entry(record, "stays", left="disk template %s: its only copy is on %s" % (record["disk_template"], node))
    if record["status"] != "ready":
        return entry(record, "stays", left="it is %s: finish instance_add, or remove it" % record["status"])
    picture = pool.picture(record)
    there = bool(picture["alive"] or picture["waiting"])
    # a failover in place of a migration that was cut off is finished as one
    again = params.get("allow_failover") and (record.get("pending") or {}).get("verb") == "failover"
    verb = "migrate" if there and not again else "failover"
    down = not there and any(disk["verdict"] in _DOWN for disk in picture["disks"])
    left = interrupted(record, verb) or _target_refusal(target, pool)
    # disks that are down are brought up first; only then can be seen whether the failover may go on
    if not left and not down:
        verb, left = _way(verb, record, picture, {"target": target, "allow_failover": params.get("allow_failover")})
    # a guest that is there already, or that stays stopped, needs no more memory
    need = record["memory_mib"] if picture["owner"] != target and (there or record["admin_state"] == "up") else 0
    if not left:
        left = pool.short_of_memory(target, need)
        left = left and "%s: %s" % (target, left)
    if left:
        return entry(record, "stays", left=left)
    pool.take_memory(target, need)
    steps = ([{"do": "activate"}] if down else []) + [{"do": verb, "target": target}]
    words = "migrates to %s" if verb == "migrate" else "cannot migrate, is restarted on %s" if there else "does not run, moves to %s"
    return entry(record, words % target, steps)


def _way(verb, record, picture, params):
    """The verb that moves an instance, which for one that cannot migrate may be failover; and why it would refuse, or None."""
    try:
        decision = decide(verb, record, picture, params)
    except GantryError as refusal:
        return verb, refusal.sentence()
    return "failover" if decision["do"] == "failover" else verb, None


def _target_refusal(target, pool):
    node = pool.nodes.get(target)
    if node is None:
        return "its other node %s is not known" % target
    return None if node["usable"] else "its other node %s %s" % (target, node["why_not"])


def _refusal(verb, record, picture, params):
    """Why the verb itself would refuse, or None."""
    try:
        decide(verb, record, picture, params)
    except GantryError as refusal:
        return refusal.sentence()
    return None


def _half_moved(record, node):
    """A mirror that has left the node, but whose end was cut off: its old copy is still there."""
    pending = record.get("pending") or {}
    return pending.get("verb") == "replace_disks" and pending["params"].get("old_node") == node


def _mirror(record, primary, node, pool, force, entries):
    """One mirror on the node to a new one; adds to the entry of a primary that was moved before."""
    before = entries.get(record["name"]) or entry(record, "")
    pending = (record.get("pending") or {}) if not before["steps"] else {}
    new, rejected, taken = None, {}, []
    left = interrupted(record, "replace_disks")
    if not left and record["status"] != "ready":
        left = "it is %s: finish instance_add, or remove it" % record["status"]
    if not left and pending.get("verb") == "replace_disks" and pending["params"].get("new_node"):
        # an interrupted move goes on to where it was going: a part of it is there already
        new = pending["params"]["new_node"]
        if record["secondary"] != new and new in pool.nodes:
            pool.promise_standby(record, primary, new)
            pool.chooser.put(record["name"], primary, new)
    elif not left:
        new, rejected, taken = pool.choose_secondary(record, primary, without={node}, force=force)
        if new is None:
            left = "no node can take its mirror: " + (
                "; ".join("%s: %s" % (name, ", ".join(why)) for name, why in sorted(rejected.items())) or "there is no third node")
        elif not before["steps"]:
            left = _mirror_refusal(record, new, pool)
    why = [before["why"]] if before["why"] else []
    if left:
        entries[record["name"]] = dict(before, why=", ".join(why) or "keeps its mirror on %s" % node, left=left, rejected=rejected)
        return
    why.append("its mirror goes to %s" % new + (" (%s)" % "; ".join(taken) if taken else ""))
    entries[record["name"]] = dict(
        before, steps=before["steps"] + [{"do": "replace", "new_node": new}], why=", ".join(why), rejected=rejected)


def _mirror_refusal(record, new, pool):
    """Why instance_replace_disks would refuse now. What it says of memory is the plan's own business."""
    picture = pool.picture(record, more=[new])
    roomy = {name: dict(view, memory_free_mib=None) if name == new else view for name, view in picture["nodes"].items()}
    return _refusal("replace_disks", record, dict(picture, nodes=roomy), {"new_node": new})


# -- a dead node -----------------------------------------------------------------------------------------------------


def _proof(node, records, pool, params):
    """Which proof there will be that the node is off: ``fence``, ``word``, or ``wait`` before the word can be believed.

    :raises GantryError: no proof, or the node lives.
    """
    seen = pool.observation(node)
    info = seen.get("node_info") or {}
    word = params.get("dead_node")
    if word and word != node:
        raise GantryError("The operator named another node dead", found="gantry_dead_node=%s" % word,
                          expected="gantry_dead_node=%s, or none" % node, mend="correct one of the two", code="other_node")
    if seen["reachable"] and (info.get("libvirt") or {}).get("ok"):
        raise GantryError(
            "Node %s is not dead" % node, found="it answers over SSH and its libvirtd runs", expected="a node that does not answer",
            mend="empty it with node_migrate or node_evacuate", code="node_alive",
        )
    if params.get("can_fence"):
        return "fence"
    if not word:
        raise GantryError(
            "Node %s is only unreachable" % node if not seen["reachable"] else "libvirtd on node %s does not answer" % node,
            found=seen.get("error") or "no answer", expected="proof that the node is off",
            mend="configure gantry_fence for %s; or cut its power yourself and say so with -e gantry_dead_node=%s" % (node, node),
            code="no_proof",
        )
    evidence = "it answers over SSH" if seen["reachable"] else next(iter(still_connected(node, records, pool)), None)
    if evidence and not seen["reachable"] and not params.get("waited"):
        # the connection of a node whose power was cut just now looks alive for some seconds
        return "wait"
    if evidence:
        raise GantryError("Node %s is not dead" % node, found=evidence, expected="no sign of life",
                          mend="cut its power, then run the same command again", code="node_alive")
    return "word"


def still_connected(node, records, pool):
    """Signs of life of a silent node: which peers' DRBD is connected to it, as sentences."""
    for name, record in sorted(records.items()):
        for disk in record["disks"]:
            for peer in sorted(disk["nodes"]):
                side = ((pool.observation(peer).get("node_info") or {}).get("drbd_resources") or {}).get(disk["name"])
                if disk["template"] == "drbd" and node in disk["nodes"] and peer != node and (side or {}).get("connection") == "Connected":
                    yield "the DRBD connection of %s disk %d from %s to it is up" % (name, disk["index"], peer)


def _dead(record, node, pool):
    """One primary of a dead node: (entry, what memory is lacking or None)."""
    if record["disk_template"] != "drbd":
        return entry(record, "is lost until %s is back (disk template %s)" % (node, record["disk_template"]), lost=True), None
    if record["status"] != "ready":
        return entry(record, "stays", left="it is %s: remove it" % record["status"]), None
    target, picture = record["secondary"], pool.picture(record)
    if picture["owner"] == target:
        # the guest was started there by a run that was cut off before it wrote that down
        return entry(record, "runs on %s already, which is to be noted" % target, [{"do": "repair"}]), None
    # a drained node takes nothing new, but here it has the only copy left
    left = interrupted(record, "failover") or _refusal("failover", _roomless(record), picture, {"fenced": True, "target": target})
    if left:
        return entry(record, "stays", left=left), None
    need = record["memory_mib"] if record["admin_state"] == "up" else 0
    lacking = pool.short_of_memory(target, need)
    if lacking:
        return entry(record, "stays", left="%s: %s" % (target, lacking)), lacking
    pool.take_memory(target, need)
    words = "starts on %s" if need else "is stopped, moves to %s"
    return entry(record, words % target, [{"do": "failover", "target": target}]), None


def _roomless(record):
    """The record as one that needs no memory: room is the plan's own business, which knows what else goes there."""
    return dict(record, memory_mib=0)
