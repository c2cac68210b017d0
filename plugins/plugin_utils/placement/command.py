# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``script/place``: the engine without Ansible, for development, benchmarks and pipelines.

Exit code 0: answered, also when the answer is no; 1: ``check`` found something wrong; 2: the input cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import model


def _parser():
    parser = argparse.ArgumentParser(prog="place", description=__doc__.partition("\n")[0], allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, words, data=True):
        one = verbs.add_parser(name, help=words, description=words, allow_abbrev=False)
        one.add_argument("-t", "--data", metavar="FILE", required=data, help="the cluster in htools' text format")
        one.add_argument("--json", action="store_true", help="answer as JSON")
        return one

    def moves_of(one):
        one.add_argument("-l", "--limit", type=int, default=-1, metavar="N", help="at most N moves")
        one.add_argument("-O", "--offline", action="append", default=[], metavar="NODE", help="treat this node as offline")
        one.add_argument("--ignore-soft-errors", action="store_true", help="waive N+1, ratios and exclusion tags")
        one.add_argument("--effort", type=float, default=None, metavar="X", help="0: like hbal; 1: look further (default)")

    one = verb("score", "print the cluster's score, metric by metric")
    one.add_argument("-G", "--group", help="name of a node group")
    one.add_argument("--n1", choices=("reported", "unallocated"), default="reported",
                     help="memory compared for N+1 at load: Ganeti up to 3.0, or 3.1 and later")

    one = verb("balance", "find moves that bring the score down")
    moves_of(one)
    one.add_argument("-G", "--group", help="name of the node group; needed if there are several")
    one.add_argument("-E", "--evacuate", action="store_true", help="move only what is on offline nodes")
    one.add_argument("-e", "--min-score", type=float, default=1e-9, metavar="X", help="stop this close to the lower bound")
    one.add_argument("-g", "--min-gain", type=float, default=0.01, metavar="X", help="least gain of a move")
    one.add_argument("--min-gain-limit", type=float, default=0.1, metavar="X", help="score below which the least gain counts")
    one.add_argument("--no-disk-moves", action="store_true")
    one.add_argument("--no-instance-moves", action="store_true")
    one.add_argument("--restricted-migration", action="store_true", help="migrate only off offline nodes")
    one.add_argument("--select-instances", default="", metavar="NAMES", help="move only these, separated by commas")
    one.add_argument("--exclude-instances", default="", metavar="NAMES", help="do not move these")
    one.add_argument("--exclusion-tags", default="", metavar="PREFIXES", help="further prefixes of exclusion tags")
    one.add_argument("-U", "--utilisation", metavar="FILE", help="lines of: instance cpu memory disk network")
    one.add_argument("--ignore-utilisation", action="store_true", help="leave load out of the score")
    one.add_argument("-S", "--save", metavar="FILE", help="write the cluster as it is then")
    one.add_argument("--n1", choices=("reported", "unallocated"), default="reported", help="as for score")

    one = verb("allocate", "answer a request of the IAllocator protocol", data=False)
    one.add_argument("request", metavar="REQUEST.json", help="the message; - reads standard input")
    one.add_argument("--no-capacity-checks", action="store_true", help="do not keep the cluster able to lose any node")
    one.add_argument("--ignore-soft-errors", action="store_true")
    one.add_argument("--explain", action="store_true", help="say of each rejected node why")

    for name, words in (("capacity", "count the instances that still fit"),):
        one = verb(name, words)
        one.add_argument("-l", "--limit", type=int, default=-1, metavar="N", help="at most N instances")
        one.add_argument("--disk-template", metavar="NAME")
        one.add_argument("--no-capacity-checks", action="store_true")
        one.add_argument("--accept-existing-errors", action="store_true", help="count although nodes fail N+1 now")

    one = verb("check", "say whether the cluster is healthy, and would be after balancing")
    moves_of(one)
    one.add_argument("--no-simulation", action="store_true", help="do not balance")
    one.add_argument("--no-capacity-checks", action="store_true")

    one = verb("rolling", "group nodes that can be rebooted at the same time")
    one.add_argument("-G", "--group", help="name of the only node group")
    one.add_argument("--node-tags", metavar="TAGS", help="only nodes with one of these tags, separated by commas")
    one.add_argument("--offline-maintenance", action="store_true", help="instances are shut down, not migrated")
    one.add_argument("--skip-non-redundant", action="store_true")
    one.add_argument("--ignore-non-redundant", action="store_true")
    one.add_argument("--print-moves", action="store_true")
    one.add_argument("-l", "--limit", type=int, default=-1, metavar="N", help="print N groups only")

    one = verb("squeeze", "find nodes to power down or up")
    one.add_argument("--target-resources", type=float, default=2.5, metavar="X")
    one.add_argument("--minimal-resources", type=float, default=2.0, metavar="X")
    return parser


def main(argv=None):
    """Run the command; returns the exit code."""
    start = time.perf_counter()
    arguments = _parser().parse_args(argv)
    if model.np is None:
        print("error: numpy is missing; script/setup installs it", file=sys.stderr)
        return 2
    try:
        code, data, lines = _VERBS[arguments.verb](arguments)
    except GantryError as error:
        if arguments.json or arguments.verb == "allocate":
            result = dict(error.as_result(), success=False)
            print(json.dumps(dict(result, info="Request failed: " + error.sentence(), result=[])))
        print("error: " + error.sentence(), file=sys.stderr)
        return 2
    if arguments.verb == "allocate":
        print(json.dumps(data))
        return code
    data["seconds"] = round(time.perf_counter() - start, 4)
    if arguments.json:
        print(json.dumps(data))
    else:
        print("\n".join(lines + ["%.3f s" % data["seconds"]]))
    return code


def _read(path):
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except OSError as error:
        raise GantryError("File %s cannot be read" % path, found=error.strerror, expected="a readable file",
                          mend="name another one", code="bad_input") from None
    except UnicodeDecodeError as error:
        raise GantryError("File %s is not UTF-8 text" % path, found="byte %d" % error.start, expected="UTF-8",
                          mend="name another one", code="bad_input") from None


def _names(text):
    return tuple(name for name in text.split(",") if name)


def _cluster(arguments):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import text
    further = tuple(prefix + ":" for prefix in _names(getattr(arguments, "exclusion_tags", "")))
    cluster = text.parse(_read(arguments.data), further)
    if getattr(arguments, "utilisation", None):
        _utilisation(cluster, _read(arguments.utilisation))
    if getattr(arguments, "ignore_utilisation", False):
        cluster.instances.util[:] = 0.0
    return cluster


def _utilisation(cluster, text):
    """Read the load of instances; names that are not in the cluster are left out, as other tools do."""
    position = {name: index for index, name in enumerate(cluster.instances.names)}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split(" ")
        try:
            values = [float(field) for field in fields[1:]]
        except ValueError:
            values = []
        if len(values) != 4 or not all(abs(value) < 1e12 for value in values):
            raise GantryError(
                "Line %d of the utilisation cannot be read" % number, found=repr(line[:80]),
                expected="an instance's name and four numbers: cpu memory disk network", mend="correct the line", code="bad_input",
            )
        if fields[0] in position:
            cluster.instances.util[position[fields[0]]] = values


def _group(cluster, name, needed):
    """Position of a group by name; None for the whole cluster."""
    names = [group.name for group in cluster.groups]
    if name is not None:
        if name not in names:
            raise GantryError("Node group %s is not in the cluster" % name, found=", ".join(names) or "no group",
                              expected="a group's name", mend="name one of them with -G", code="unknown_group")
        return names.index(name)
    present = sorted(set(cluster.nodes.group.tolist()))
    if needed and len(present) > 1:
        raise GantryError("The cluster has several node groups", found=", ".join(names[index] for index in present),
                          expected="one to balance", mend="name it with -G", code="ambiguous_group")
    return present[0] if needed and present else None


def _score(arguments):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import score
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State
    cluster = _cluster(arguments)
    state = State(cluster, _group(cluster, arguments.group, False), arguments.n1)
    values = score.metrics(state)
    data = {"score": score.score(state), "bound": score.lower_bound(state), "metrics": values, "weights": score.WEIGHTS}
    lines = ["  %-25s %14.8f x%.2f" % (name, values[name], weight) for name, weight in score.WEIGHTS.items()]
    return 0, data, lines + ["Score: %.8f (lower bound %.8f)" % (data["score"], data["bound"])]


def _options(arguments):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.moves import Options
    return Options(
        disk_moves=not arguments.no_disk_moves, instance_moves=not arguments.no_instance_moves,
        restricted_migration=arguments.restricted_migration, ignore_soft_errors=arguments.ignore_soft_errors,
        evacuate=arguments.evacuate, min_gain_limit=arguments.min_gain_limit, min_gain=arguments.min_gain,
        min_score=arguments.min_score, select=_names(arguments.select_instances),
        exclude=_names(arguments.exclude_instances), offline=tuple(arguments.offline),
    )


def plan_rows(cluster, plan):
    """The steps of a plan with names, letters and cost, for JSON and for people."""
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import moves as m
    names = cluster.nodes.names
    rows = []
    for step in plan.steps:
        move = step.move
        copied = float(cluster.instances.disk[move.instance]) / 1024 * m.COPIES[move.kind]
        rows.append({
            "instance": cluster.instances.names[move.instance],
            "from": [names[node] for node in step.before if node >= 0],
            "to": [names[node] for node in step.after if node >= 0],
            "actions": m.LETTERS[move.kind].format(names[move.target] if move.target >= 0 else ""),
            "score": step.score, "copy_gib": round(copied, 3), "migrations": m.MIGRATIONS[move.kind],
        })
    return rows


def cheap_part(plan, rows, share=0.9):
    """Number of moves after which this share of the whole gain is reached, and what they cost."""
    count = 0
    while count < len(rows) and plan.start - (rows[count - 1]["score"] if count else plan.start) < share * (plan.start - plan.end):
        count += 1
    return {"moves": count, "copy_gib": round(sum(row["copy_gib"] for row in rows[:count]), 3),
            "migrations": sum(row["migrations"] for row in rows[:count]), "score": rows[count - 1]["score"] if count else plan.start}


def _balance(arguments):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.balance import balance
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State
    cluster = _cluster(arguments)
    state = State(cluster, _group(cluster, arguments.group, True), arguments.n1)
    plan = balance(state, _options(arguments), arguments.limit, 1.0 if arguments.effort is None else arguments.effort)
    rows = plan_rows(cluster, plan)
    copy = round(sum(row["copy_gib"] for row in rows), 3)
    migrations = sum(row["migrations"] for row in rows)
    most = cheap_part(plan, rows)
    data = {"start": plan.start, "end": plan.end, "bound": plan.bound, "moves": rows, "copy_gib": copy,
            "migrations": migrations, "most_of_the_gain": most, "start_metrics": plan.start_metrics, "end_metrics": plan.end_metrics}
    lines = ["Loaded %d nodes, %d instances" % (len(cluster.nodes), len(cluster.instances)), "Initial score: %.8f" % plan.start]
    width = max((len(row["instance"]) for row in rows), default=0)
    for number, row in enumerate(rows, 1):
        lines.append("%5d. %s %s => %s %12.8f a=%s" % (
            number, row["instance"].ljust(width), ":".join(row["from"]), ":".join(row["to"]), row["score"], row["actions"]))
    if rows:
        lines.append("Cluster score improved from %.8f to %.8f" % (plan.start, plan.end))
        lines.append("Cost: %.1f GiB copied, %d migrations; first %d moves: %.1f GiB, %d migrations, %.0f %% of the gain" % (
            copy, migrations, most["moves"], most["copy_gib"], most["migrations"],
            100 * (plan.start - most["score"]) / max(plan.start - plan.end, 1e-12)))
    else:
        lines.append("No solution found" if plan.start > plan.bound + 1e-9 else "Cluster is already well balanced")
    lines += ["Lower bound: %.8f" % plan.bound, "Solution length=%d" % len(rows)]
    if arguments.save:
        from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import text
        with open(arguments.save, "w", encoding="utf-8") as file:
            file.write(text.moved(cluster, state))
    return 0, data, lines


def _allocate(arguments):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import iallocator
    cluster = _cluster(arguments) if arguments.data else None
    message = iallocator.Message(_read(arguments.request), cluster)
    return 0, iallocator.answer(message, not arguments.no_capacity_checks, arguments.ignore_soft_errors, arguments.explain), []


def _capacity(arguments):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import capacity
    cluster = _cluster(arguments)
    settings = (cluster, arguments.disk_template, arguments.limit, not arguments.no_capacity_checks,
                arguments.accept_existing_errors)
    data, lines = {}, []
    for name, function in (("tiered", capacity.tiered), ("standard", capacity.standard)):
        found = function(*settings)
        reason = max(found.failures, key=found.failures.get) if found.failures else None
        data[name] = {
            "count": found.count, "start": found.start, "end": found.end, "failures": found.failures, "reason": reason,
            "tiers": [{"memory": tier[0], "disk": tier[1], "vcpus": tier[2], "count": tier[3]} for tier in found.tiers],
        }
        lines.append("%s: %d instances, score %.8f -> %.8f, then refused: %s" % (
            name.capitalize(), found.count, found.start, found.end, reason or "limit reached"))
        lines += ["  %4d of %d MiB memory, %d MiB disk, %d vcpus" % (tier[3], tier[0], tier[1], tier[2]) for tier in found.tiers]
    return 0, data, lines


def _check(arguments):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import check
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.moves import Options
    cluster = _cluster(arguments)
    options = Options(ignore_soft_errors=arguments.ignore_soft_errors, offline=tuple(arguments.offline))
    data = check.check(cluster, not arguments.no_capacity_checks, not arguments.no_simulation, options, arguments.limit,
                       arguments.effort or 0.0)
    lines = ["No problems found." if data["healthy"] else "The cluster is not healthy%s." % (
        "" if arguments.no_simulation else "; balancing mends it" if data["mendable"] else "; balancing does not mend all of it")]
    for one in data["groups"]:
        lines.append("Group %s: score %.8f -> %.8f, %d moves" % (one["name"], one["score"], one["final_score"], one["moves"]))
        lines += ["  %-50s %5d -> %d" % (check.COUNTS[key], value, one["final"][key]) for key, value in one["initial"].items()]
    return 0 if data["healthy"] else 1, data, lines


def _rolling(arguments):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import rolling
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State
    cluster = _cluster(arguments)
    steps = rolling.plan(
        State(cluster), _group(cluster, arguments.group, False), None if arguments.node_tags is None else _names(arguments.node_tags),
        arguments.offline_maintenance, arguments.skip_non_redundant, arguments.ignore_non_redundant,
    )
    if arguments.limit >= 0:
        steps = steps[:arguments.limit]
    names, instances = cluster.nodes.names, cluster.instances.names
    data = {"groups": [{"nodes": [names[node] for node in step.nodes],
                        "moves": [{"instance": instances[i], "to": names[node]} for i, node, unused in step.moves]} for step in steps]}
    lines = ["Node reboot groups:"]
    for group in data["groups"]:
        lines.append(",".join(group["nodes"]))
        if arguments.print_moves:
            lines += ["  %s %s" % (move["instance"], move["to"]) for move in group["moves"]]
    return 0, data, lines


def _squeeze(arguments):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.squeeze import squeeze
    cluster = _cluster(arguments)
    found = squeeze(cluster, arguments.target_resources, arguments.minimal_resources)
    names = [cluster.nodes.names[node] for node in found.nodes]
    rows = plan_rows(cluster, found.plan) if found.plan is not None else []
    data = {"action": found.action, "nodes": names, "enough": found.enough, "moves": rows}
    words = {"offline": "Nodes to power down", "online": "Nodes to power up", "none": "No action"}[found.action]
    lines = [words + (":" if names else "")] + names
    if not found.enough:
        lines.append("Powering up all of them does not yield enough room.")
    return 0, data, lines + ["  %s %s" % (row["instance"], row["actions"]) for row in rows]


_VERBS = {"score": _score, "balance": _balance, "allocate": _allocate, "capacity": _capacity, "check": _check,
          "rolling": _rolling, "squeeze": _squeeze}
