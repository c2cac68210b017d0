# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves of many instances: what is to be done so that the cluster is even, or so that a node group is empty. Pure.

The engine says where instances should be. This says which of them may move now, by which verbs, and which of them at the same
time: moves that share a node wait for each other, unless nothing is copied and neither needs the room that the other leaves.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import node_space, suitability
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.pool import Pool, entry, interrupted
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import registry
from ansible_collections.gantry.cluster.plugins.plugin_utils.report import table
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views

#: A score above which no move is made for less than the least gain: all of them.
_ALWAYS = 1e18
_OPTIONS = {"limit": -1, "min_gain": 0.01, "disk_moves": True, "only": [], "exclude": [], "group": None, "evacuate": False, "force": False}


def balance(settings, nodes, records, observations, options, parallel=4):
    """Plan to make the cluster even.

    :param options: see ``_OPTIONS``: at most ``limit`` moves (negative: any number), each of which gains ``min_gain``; without
        ``disk_moves`` only migrations; ``only`` or all but ``exclude`` instances; one node ``group``; ``evacuate``: only what is on
        nodes that are drained or marked offline; ``force``: waive N+1, ratios and exclusion tags.
    :param parallel: how many may move at the same time.
    :returns: a plan as :mod:`node_plan` has it, and with it ``moves``, ``batches`` (lists of names), ``groups`` (scores),
        ``copy_gib``, ``migrations``, ``subject`` and ``text`` (htools' format).
    :raises GantryError: a node does not answer, or a name is not known.
    """
    options = dict(_OPTIONS, **options)
    _refuse_silent(nodes, observations)
    _refuse_unknown(options, nodes, records)
    pool = Pool(nodes, observations)
    begun, stuck = _not_now(nodes, records, pool)
    shown = dict(records, **{name: one["record"] for name, one in begun.items()})
    model = registry.load(settings, nodes, shown, observations)
    planned = _plan_groups(model, pool, records, options, set(begun) | set(stuck))
    entries = [entry(records[name], one["why"], one["steps"]) for name, one in sorted(begun.items())]
    batches = _sliced([[{"name": name} for name in sorted(begun)]], parallel) if begun else []
    for move in planned["moves"]:
        entries.append(entry(records[move["name"]], "%s => %s" % (" ".join(move["from"]), " ".join(move["to"])), move["steps"]))
    batches = _numbered(batches + _sliced(_levels(planned["moves"]), parallel))
    notes = ["%s stays: %s" % (name, why) for name, why in sorted(stuck.items())] + planned["notes"]
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import text
    return _plain({
        "verb": "balance", "node": "", "subject": "the plan", "instances": entries, "notes": notes, "moves": planned["moves"],
        "batches": [[one["name"] for one in batch] for batch in batches], "groups": planned["groups"],
        "copy_gib": round(sum(move["copy_gib"] for move in planned["moves"]), 3),
        "migrations": sum(move["migrations"] for move in planned["moves"]), "text": text.render(model.cluster),
    })


def _plain(value):
    """The same without numpy's numbers, which Ansible's variables do not hold."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return float(value) if isinstance(value, float) else value


def _refuse_silent(nodes, observations):
    seen = {observation["node"]: observation for observation in observations}
    silent = ["%s %s" % (name, node_space.silent(seen.get(name))) for name, node in sorted(nodes.items())
              if not node.get("offline") and node_space.silent(seen.get(name))]
    if silent:
        raise GantryError(
            "Nothing is moved: not every node answers", found="; ".join(silent),
            expected="an answer of every node that is not marked offline",
            mend="repair it; or if it is dead, run node_failover, which proves that and marks it offline", code="unreachable",
        )


def _refuse_unknown(options, nodes, records):
    groups = sorted({node.get("group", "default") for node in nodes.values()})
    for key, known in (("only", records), ("exclude", records), ("group", groups)):
        names = [options[key]] if isinstance(options[key], str) else options[key] or []
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise GantryError(
                "gantry_balance_%s names what is not there" % key, found=", ".join(unknown),
                expected="some of " + (", ".join(sorted(known)) or "none"), mend="correct it", code="unknown_name",
            )


def _not_now(nodes, records, pool):
    """Instances whose move was cut off, with the steps that finish it, and those that cannot move, with the reason."""
    begun, stuck = {}, {}
    for name, record in sorted(records.items()):
        if record["disk_template"] != "drbd":
            continue
        pending = record.get("pending") or {}
        target = (pending.get("params") or {}).get("new_node" if pending.get("verb") == "replace_disks" else "target")
        if pending.get("verb") == "replace_disks" and target:
            begun[name] = {"why": "the move of its mirror to %s was interrupted and is finished" % target,
                           "steps": [{"do": "replace", "new_node": target}], "record": dict(record, secondary=target)}
        elif pending.get("verb") in ("migrate", "failover") and target in (record["primary"], record["secondary"]):
            other = record["secondary"] if target == record["primary"] else record["primary"]
            begun[name] = {"why": "its move to %s was interrupted and is finished" % target,
                           "steps": [{"do": pending["verb"], "target": target}], "record": dict(record, primary=target, secondary=other)}
        else:
            why = _stuck(record, nodes, pool)
            if why:
                stuck[name] = why
    return begun, stuck


def _stuck(record, nodes, pool):
    if record["status"] != "ready":
        return "it is %s: finish instance_add, or remove it" % record["status"]
    left = interrupted(record, None)
    if left:
        return left
    if nodes[record["primary"]].get("offline"):
        return "its primary %s is marked offline: node_failover starts it elsewhere" % record["primary"]
    picture = pool.picture(record)
    bound = suitability.bound_to_node(record) if picture["alive"] else []
    if bound:
        return "it cannot migrate live: %s" % "; ".join(bound)
    if picture["owner"] not in (None, record["primary"]) or picture["waiting"] or len(picture["alive"]) > 1:
        return "it is not where it should be: run instance_repair"
    lone = bool(nodes.get(record["secondary"], {}).get("offline"))
    for disk in picture["disks"]:
        if disk["verdict"] not in (views.REDUNDANT, views.DOWN) and not (lone and record["primary"] in disk["good"]):
            return "disk %d is %s (%s)" % (disk["index"], disk["verdict"], disk["detail"])
        if disk["verdict"] == views.DOWN and picture["alive"]:
            return "disk %d is %s (%s)" % (disk["index"], disk["verdict"], disk["detail"])
    return None


# -- the plan --------------------------------------------------------------------------------------------------------------


def _plan_groups(model, pool, records, options, closed):
    """The moves of all groups: ``{"moves", "groups", "notes"}``.

    The engine knows of room, not of bridges and machine types. An instance that it sends where these are lacking is planned
    again, by migrations alone.
    """
    refused = {}
    while True:
        found = _try_groups(model, options, closed, set(refused))
        more = {}
        for move in found["moves"]:
            reasons = _unfit(records[move["name"]], move["to"], pool)
            if reasons and move["name"] not in refused:
                more[move["name"]] = reasons
        if not more:
            found["notes"] += ["%s only changes places with its mirror: %s" % (name, why) for name, why in sorted(refused.items())]
            for move in found["moves"]:
                move["steps"] = steps(records[move["name"]], move["to"], pool)
            return found
        refused.update(more)


def _unfit(record, places, pool):
    """Why an instance cannot be on these nodes, beside what the engine knows; None when it can."""
    for name in set(places) - {record["primary"], record["secondary"]}:
        lacking = node_space.unsuited(record, pool.nodes[name])
        node = pool.nodes[name]
        need = node_space.disk_request(record, max(node["extent_mib"].values(), default=node_space.EXTENT_MIB))
        # the node's own volume group is the engine's business: it knows what leaves first
        foreign = {group: mib for group, mib in need.items() if (group or node["vg"]) != node["vg"]}
        request = {"memory_mib": 0, "disk_mib": foreign, "hypervisor": record["hypervisor"]}
        reasons = lacking + node_space.refusals(request, node, "secondary")
        if reasons:
            return "%s: %s" % (name, ", ".join(reasons))
    return None


def _try_groups(model, options, closed, limited):
    """The engine's plan of each group. ``closed``: names that must not move; ``limited``: those that must only migrate."""
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import balance as engine
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import score as scores
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.command import cheap_part, plan_rows
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.moves import Options
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import N1_UNALLOCATED, State
    found, cluster, left = {"moves": [], "groups": [], "notes": []}, model.cluster, options["limit"]
    exclude = tuple(sorted((set(options["exclude"] or ()) | closed) & set(model.instances)))
    within = tuple(sorted(limited & set(options["only"] or limited) - set(exclude)))
    settings = Options(
        disk_moves=options["disk_moves"], ignore_soft_errors=options["force"], evacuate=options["evacuate"], min_gain_limit=_ALWAYS,
        min_gain=options["min_gain"], select=tuple(options["only"] or ()), exclude=exclude)
    for index, group in enumerate(cluster.groups):
        if options["group"] not in (None, group.name) or not (cluster.nodes.group == index).any():
            continue
        state = State(cluster, index, N1_UNALLOCATED)
        # what leaves a node that is to be emptied need not gain
        own = settings._replace(min_gain_limit=0.0, min_gain=0.0) if options["evacuate"] else settings
        plan = engine.balance(state, own._replace(exclude=exclude + tuple(limited)), left)
        if within:
            more = engine.balance(state, own._replace(disk_moves=False, select=within), left if left < 0 else left - len(plan.steps))
            plan = dataclasses.replace(plan, end=more.end, steps=plan.steps + more.steps, end_metrics=more.end_metrics)
        rows = plan_rows(cluster, plan)
        most = cheap_part(plan, rows)
        merged, cut = _merged(model, State(cluster, index, N1_UNALLOCATED), rows, options["force"])
        if cut:
            found["notes"].append("group %s: %d of %d moves are for the next run, they build on these" % (
                group.name, len(rows) - cut, len(rows)))
        found["groups"].append({
            "name": group.name, "score": round(plan.start, 8), "end": round(plan.end, 8), "bound": round(plan.bound, 8),
            "metrics": {key: round(value, 8) for key, value in plan.start_metrics.items()},
            "end_metrics": {key: round(value, 8) for key, value in plan.end_metrics.items()},
            "weights": dict(scores.WEIGHTS), "most_of_the_gain": most})
        found["moves"] += [dict(row, name=row["instance"], group=group.name) for row in merged]
        left = left if left < 0 else max(left - len(rows), 0)
    return found


def _merged(model, state, rows, force):
    """Moves of which none moves an instance again: ``(rows, number of rows they stand for if not all)``.

    An instance that moves twice goes to its last place at once, if every node takes that; else the plan ends before.
    """
    again = {row["instance"] for row in rows if sum(one["instance"] == row["instance"] for one in rows) > 1}
    if not again:
        return rows, 0
    last = {row["instance"]: row for row in rows}
    first = {}
    for row in rows:
        first.setdefault(row["instance"], row["from"])
    merged = [dict(row, **{"from": first[row["instance"]]}) for row in rows
              if last[row["instance"]] is row and row["to"] != first[row["instance"]]]
    if _holds(model, state, merged, force):
        return merged, 0
    seen = set()
    for number, row in enumerate(rows):
        if row["instance"] in seen:
            return rows[:number], number
        seen.add(row["instance"])
    return rows, 0


def _holds(model, state, rows, force):
    """Do the nodes take these moves one after the other?"""
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.balance import put
    for row in rows:
        i = model.instances[row["instance"]]
        primary, secondary = [model.nodes[name] for name in row["to"]]
        if model.nodes[row["from"][0]] not in (primary, secondary) and model.nodes[row["from"][1]] not in (primary, secondary):
            return False
        saved = state.snapshot(i, (state.primary[i], state.secondary[i], primary, secondary))
        state.remove_secondary(i)
        state.remove_primary(i)
        refused = state.refuses_primary(i, primary, force) or state.refuses_secondary(i, secondary, primary, force)
        state.restore(saved)
        if refused:
            return False
        put(state, i, (primary, secondary))
    return True


def steps(record, places, pool):
    """The verbs that bring a mirrored instance to its places, primary first."""
    (primary, secondary), (target, mirror) = (record["primary"], record["secondary"]), places
    picture = pool.picture(record)
    verb = "migrate" if picture["alive"] else "failover"
    found = []
    if not picture["alive"] and any(disk["verdict"] == views.DOWN for disk in picture["disks"]):
        found.append({"do": "activate"})

    def move(node):
        found.append({"do": verb, "target": node})

    def renew(node):
        found.append({"do": "replace", "new_node": node})

    if target == primary:
        renew(mirror)
    elif target == secondary:
        move(target)
        if mirror != primary:
            renew(mirror)
    elif mirror == secondary:
        # the guest waits on its mirror's node while the other copy is made
        move(secondary)
        renew(target)
        move(target)
    else:
        renew(target)
        move(target)
        if mirror != primary:
            renew(mirror)
    return found


# -- batches ---------------------------------------------------------------------------------------------------------------


def _shared(one, other):
    """Must these two moves wait for each other?"""
    nodes, others = set(one["from"] + one["to"]), set(other["from"] + other["to"])
    if not nodes & others:
        return False
    if one["copy_gib"] or other["copy_gib"]:
        return True
    return one["to"][0] == other["from"][0] or other["to"][0] == one["from"][0]


def _levels(moves):
    """Batches of moves in the plan's order: each comes after all before it that it has to wait for."""
    levels, batches = [], []
    for number, move in enumerate(moves):
        level = max((levels[earlier] + 1 for earlier in range(number) if _shared(moves[earlier], move)), default=0)
        levels.append(level)
        while len(batches) <= level:
            batches.append([])
        batches[level].append(move)
    return batches


def _sliced(batches, parallel):
    """The batches, none longer than ``parallel``."""
    size = max(int(parallel), 1)
    return [batch[start:start + size] for batch in batches for start in range(0, len(batch), size)]


def _numbered(batches):
    """The batches; each of their moves knows the number of its own."""
    for number, batch in enumerate(batches, 1):
        for one in batch:
            one["batch"] = number
    return batches


# -- a node group ----------------------------------------------------------------------------------------------------------


def leave_group(settings, nodes, records, observations, group, targets, parallel=4, force=False):
    """Plan to move all instances of a node group to others; see :func:`balance` for what comes back.

    :param targets: names of the groups to go to; empty for any.
    :raises GantryError: a node does not answer, or a group is not known.
    """
    known = sorted({node.get("group", "default") for node in nodes.values()})
    unknown = sorted(({group} | set(targets)) - set(known))
    if unknown or group in targets:
        raise GantryError(
            "Node group %s cannot be emptied so" % group, found="unknown: " + ", ".join(unknown) if unknown else "it is a target itself",
            expected="groups of " + ", ".join(known), mend="correct gantry_leave_group and gantry_target_groups", code="unknown_group",
        )
    _refuse_silent(nodes, observations)
    pool = Pool(nodes, observations)
    begun, stuck = _not_now(nodes, records, pool)
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
    batches = _numbered(_sliced([again] if again else [], parallel) + _sliced(_levels(moves), parallel))
    return _plain({
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
    reason = _unfit(record, to, pool)
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


# -- for people ------------------------------------------------------------------------------------------------------------


def plan_lines(plan, verbose=False):
    """A plan as lines of text. Pure."""
    lines = []
    for group in plan["groups"]:
        lines.append("node group %s: score %.6f -> %.6f (lower bound %.6f)" % (group["name"], group["score"], group["end"], group["bound"]))
        if verbose:
            lines += ["  %-25s %12.6f -> %12.6f  x%.2f" % (key, value, group["end_metrics"][key], group["weights"][key])
                      for key, value in group["metrics"].items() if value or group["end_metrics"][key]]
    rows = [[move.get("batch", ""), move["name"], " ".join(move["from"]), " ".join(move["to"]),
             ", ".join(" ".join(str(step[key]) for key in ("do", "target", "new_node") if key in step) for step in move["steps"]),
             "%.1f GiB" % move["copy_gib"], "" if move["score"] is None else "%.6f" % move["score"]] for move in plan["moves"]]
    if rows:
        lines += table(["BATCH", "INSTANCE", "FROM", "TO", "STEPS", "COPIED", "SCORE"], rows).splitlines()
        lines.append("%d moves: %.1f GiB to copy, %d migrations" % (len(rows), plan["copy_gib"], plan["migrations"]))
    for one in plan["groups"]:
        most = one["most_of_the_gain"]
        if 0 < most["moves"] < len(rows):
            lines.append("the first %d moves in group %s bring 90 %% of the gain (%.1f GiB, %d migrations): gantry_balance_limit=%d" % (
                most["moves"], one["name"], most["copy_gib"], most["migrations"], most["moves"]))
    if not plan["instances"]:
        lines.append("nothing is to be moved")
    moving = {move["name"] for move in plan["moves"]}
    for one in plan["instances"]:
        if one["name"] not in moving:
            lines.append("%s: %s" % (one["name"], ", but ".join(word for word in (one["why"], one["left"]) if word)))
    return lines + plan["notes"]
