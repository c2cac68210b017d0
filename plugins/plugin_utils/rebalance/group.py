# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan that empties a node group."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.pool import Pool, entry
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import registry
from ansible_collections.gantry.cluster.plugins.plugin_utils.rebalance.batches import levels, numbered, sliced
from ansible_collections.gantry.cluster.plugins.plugin_utils.rebalance.places import not_now, plain, refuse_silent, steps, unfit


def leave_group(settings, nodes, records, observations, group, targets, parallel=4, force=False, allow_failover=False):
    """Plan to move all instances of a node group to others; see :func:`balance` for what comes back.

    :param targets: names of the groups to go to; empty for any.
    :param allow_failover: what cannot migrate live is stopped and started instead of staying.
    :raises GantryError: a node does not answer, or a group is not known.
    """
    known = sorted({node.get("group", "default") for node in nodes.values()})
    unknown = sorted(({group} | set(targets)) - set(known))
    if unknown or group in targets:
        raise GantryError(
            "Node group %s cannot be emptied so" % group, found="unknown: " + ", ".join(unknown) if unknown else "it is a target itself",
            expected="groups of " + ", ".join(known), mend="correct gantry_leave_group and gantry_target_groups", code="unknown_group",
        )
    refuse_silent(nodes, observations)
    pool = Pool(nodes, observations)
    begun, stuck = not_now(nodes, records, pool, allow_failover)
    shown = dict(records, **{name: one["record"] for name, one in begun.items()})
    model = registry.load(settings, nodes, shown, observations)
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.evacuate import Evacuator
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import N1_UNALLOCATED, State
    state = State(model.cluster, n1_rule=N1_UNALLOCATED)
    evacuator = Evacuator(state, force, capacity=False)
    by_name = {one.name: index for index, one in enumerate(model.cluster.groups)}
    wanted = [by_name[name] for name in targets]
    entries, moves = [], []
    inside = [name for name, record in sorted(records.items()) if nodes[record["primary"]].get("group", "default") == group or (
        record["secondary"] and nodes[record["secondary"]].get("group", "default") == group)]
    # the largest first: they have the fewest choices
    for name in sorted(inside, key=lambda name: (-records[name]["memory_mib"], name)):
        record = records[name]
        if name in begun:
            entries.append(entry(record, begun[name]["why"], begun[name]["steps"],
                                 left="its move was interrupted: run the same command again"))
            continue
        if name in stuck or record["disk_template"] != "drbd":
            entries.append(entry(record, "stays", left=stuck.get(name) or "disk template %s: its only copy is on %s" % (
                record["disk_template"], record["primary"])))
            continue
        made = _group_move(model, evacuator, record, wanted, pool, nodes, group)
        if isinstance(made, str):
            entries.append(entry(record, "stays", left=made))
            continue
        moves.append(made)
        entries.append(entry(record, "%s => %s" % (" ".join(made["from"]), " ".join(made["to"])), made["steps"]))
    again = [{"name": one["name"]} for one in entries if one["name"] in begun]
    batches = numbered(sliced([again] if again else [], parallel) + sliced(levels(moves), parallel))
    return plain({
        "verb": "leave_group", "node": "", "subject": "node group %s" % group, "instances": sorted(entries, key=lambda one: one["name"]),
        "notes": [], "moves": moves, "batches": [[one["name"] for one in batch] for batch in batches], "groups": [],
        "copy_gib": round(sum(move["copy_gib"] for move in moves), 3), "migrations": len(moves), "text": "",
    })


def _group_move(model, evacuator, record, wanted, pool, nodes, group):
    """One instance to another group: a move, or why not."""
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.balance import put
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.evacuate import relocate
    i = model.instances[record["name"]]
    state = evacuator.state
    saved = state.copy()
    here, there = [], []
    for name in (record["primary"], record["secondary"]):
        (here if nodes[name].get("group", "default") == group else there).append(name)
    if there:
        # a run that was cut off has brought one half over
        try:
            put(state, i, (model.nodes[there[0]], model.nodes[here[0]]))
            relocate(state, i, [model.nodes[here[0]]], evacuator.ignore_soft)
        except GantryError as refusal:
            state.__dict__.update(saved.__dict__)
            return refusal.found
    else:
        result = evacuator.change_group([i], wanted)
        if result.failed:
            return result.failed[0][1]
    to = model.names([int(state.primary[i]), int(state.secondary[i])])
    reason = unfit(record, to, pool)
    if reason:
        state.__dict__.update(saved.__dict__)
        return reason
    size = float(model.cluster.instances.disk[i]) / 1024
    made = steps(record, to, pool)
    copies = sum(step["do"] == "replace" for step in made)
    return {"name": record["name"], "instance": record["name"], "from": [record["primary"], record["secondary"]], "to": to,
            "steps": made, "copy_gib": round(copies * size, 3),
            "migrations": sum(step["do"] in ("migrate", "failover") for step in made), "group": nodes[to[0]].get("group", "default"),
            "actions": " ".join("r:%s" % step["new_node"] if step["do"] == "replace" else "f" for step in made if step["do"] != "activate"),
            "score": None}
