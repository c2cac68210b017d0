# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan that makes the cluster even."""

from __future__ import annotations

import dataclasses

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import registry
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.pool import Pool, entry
from ansible_collections.gantry.cluster.plugins.plugin_utils.rebalance.batches import levels, numbered, sliced
from ansible_collections.gantry.cluster.plugins.plugin_utils.rebalance.places import not_now, plain, refuse_silent, steps, unfit

#: A score above which no move is made for less than the least gain: all of them.
_ALWAYS = 1e18
_OPTIONS = {"limit": -1, "min_gain": 0.01, "disk_moves": True, "only": [], "exclude": [], "group": None, "evacuate": False, "force": False,
            "allow_failover": False}


def balance(settings, nodes, records, observations, options, parallel=4):
    """Plan to make the cluster even.

    :param options: see ``_OPTIONS``: at most ``limit`` moves (negative: any number), each of which gains ``min_gain``; without
        ``disk_moves`` only migrations; ``only`` or all but ``exclude`` instances; one node ``group``; ``evacuate``: only what is on
        nodes that are drained or marked offline; ``force``: waive N+1, ratios and exclusion tags; ``allow_failover``: what cannot migrate
        live is stopped and started instead of staying.
    :param parallel: how many may move at the same time.
    :returns: a plan as :mod:`node_plan` has it, and with it ``moves``, ``batches`` (lists of names), ``groups`` (scores),
        ``copy_gib``, ``migrations``, ``subject`` and ``text`` (htools' format).
    :raises GantryError: a node does not answer, or a name is not known.
    """
    options = dict(_OPTIONS, **options)
    refuse_silent(nodes, observations)
    _refuse_unknown(options, nodes, records)
    pool = Pool(nodes, observations)
    begun, stuck = not_now(nodes, records, pool, options["allow_failover"])
    shown = dict(records, **{name: one["record"] for name, one in begun.items()})
    model = registry.load(settings, nodes, shown, observations)
    planned = _plan_groups(model, pool, records, options, set(begun) | set(stuck))
    entries = [entry(records[name], one["why"], one["steps"]) for name, one in sorted(begun.items())]
    batches = sliced([[{"name": name} for name in sorted(begun)]], parallel) if begun else []
    for move in planned["moves"]:
        entries.append(entry(records[move["name"]], "%s => %s" % (" ".join(move["from"]), " ".join(move["to"])), move["steps"]))
    batches = numbered(batches + sliced(levels(planned["moves"]), parallel))
    notes = ["%s stays: %s" % (name, why) for name, why in sorted(stuck.items())] + planned["notes"]
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import text
    return plain({
        "verb": "balance", "node": "", "subject": "the plan", "instances": entries, "notes": notes, "moves": planned["moves"],
        "batches": [[one["name"] for one in batch] for batch in batches], "groups": planned["groups"],
        "copy_gib": round(sum(move["copy_gib"] for move in planned["moves"]), 3),
        "migrations": sum(move["migrations"] for move in planned["moves"]), "text": text.render(model.cluster),
    })


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
            reasons = unfit(records[move["name"]], move["to"], pool)
            if reasons and move["name"] not in refused:
                more[move["name"]] = reasons
        if not more:
            found["notes"] += ["%s only changes places with its mirror: %s" % (name, why) for name, why in sorted(refused.items())]
            for move in found["moves"]:
                move["steps"] = steps(records[move["name"]], move["to"], pool)
            return found
        refused.update(more)


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
