# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What room a cluster has: how many more instances fit, and whether one that is there can grow.

From the registry and what nodes show to figures, table and lines. Pure.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import model as m
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import registry
from ansible_collections.gantry.cluster.plugins.plugin_utils.report import table
from ansible_collections.gantry.cluster.plugins.plugin_utils.units import show_mib

#: Tiers begin with the largest size and end with the smallest, where the cluster's policy does not say: Ganeti's.
_SMALLEST, _LARGEST = m.Policy().pairs[0]


def capacity(settings, nodes, records, observations, spec=None, template="drbd", limit=-1, any_node=False, accept=False):
    """Count instances of the standard size, and from the largest size down.

    :param spec: the standard size in place of the policy's: some of ``memory``, ``disk`` (MiB) and ``cpus``.
    :param any_node: the cluster must be able to lose any node; else mirrored instances alone must survive one.
    :param accept: count although a node could not take over for another already.
    :returns: ``{"standard", "tiered"}``, each ``{"count", "tiers": [{"memory_mib", "disk_mib", "vcpus", "count"}], "reason",
        "failures", "score_before", "score"}``; ``nodes`` counted, ``left_out`` with reasons, ``text`` (htools' format).
    :raises GantryError: the template is none of the cluster's, or the settings cannot be used.
    """
    if template not in registry.TEMPLATES:
        raise GantryError("Disk template %s cannot be counted" % template, found=template,
                          expected="one of " + ", ".join(registry.TEMPLATES), mend="correct gantry_capacity_template",
                          code="unknown_template")
    registry.need_numpy()
    from ansible_collections.gantry.cluster.plugins.plugin_utils.node_space import candidates
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import capacity as engine
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import text
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import FAILURE_WORDS
    given = {key: value for key, value in (spec or {}).items() if value is not None}
    standard = registry.policy(settings.get("ipolicy")).std._replace(**given)
    smallest = m.Spec(*(min(one, other) for one, other in zip(_SMALLEST, standard)))
    largest = m.Spec(*(max(one, other) for one, other in zip(_LARGEST, standard)))
    base = m.Policy(std=standard, pairs=((smallest, largest),), templates=registry.TEMPLATES, vcpu_ratio=registry.OPEN.vcpu_ratio,
                    spindle_ratio=registry.OPEN.spindle_ratio)
    own = dict(settings.get("ipolicy") or {})
    if given:
        own.pop("std", None)
    cluster = registry.load(dict(settings, ipolicy=own), nodes, records, observations, base=base).cluster
    found = {"text": text.render(cluster), "template": template, "nodes": [], "left_out": {}}
    for entry in candidates(nodes, observations):
        if entry["usable"]:
            found["nodes"].append(entry["name"])
        else:
            found["left_out"][entry["name"]] = entry["why_not"]
    for name, count in (("standard", engine.standard), ("tiered", engine.tiered)):
        one = count(cluster, template, limit, any_node, accept)
        reason = max(one.failures, key=one.failures.get) if one.failures else None
        found[name] = {
            "count": int(one.count), "failures": {key: int(value) for key, value in one.failures.items()},
            "reason": FAILURE_WORDS[reason] if reason else None,
            "score_before": round(float(one.start), 6), "score": round(float(one.end), 6),
            "tiers": [{"memory_mib": int(memory), "disk_mib": int(disk), "vcpus": int(cpus), "count": int(number)}
                      for memory, disk, cpus, number in one.tiers],
        }
    found["spec"] = {"memory_mib": int(standard.memory), "disk_mib": int(standard.disk), "vcpus": int(standard.cpus)}
    return found


def growth(settings, nodes, before, after, observations, name):
    """Why an instance has no room to grow where it is: sentences, empty where it has.

    Held against it is what the change brings about, not what was so before.

    :param before: the registry's instances by name; ``after`` likewise, with the instance as it would be.
    :raises GantryError: as :func:`capacity`.
    """
    registry.need_numpy()
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.policy import refuses
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import FAILURE_WORDS, N1_UNALLOCATED, State
    models = [registry.load(settings, nodes, records, observations) for records in (before, after)]
    old, new = (State(model.cluster, n1_rule=N1_UNALLOCATED) for model in models)
    model, found = models[1], []
    i = model.instances[name]
    for node in (int(new.primary[i]), int(new.secondary[i])):
        if node < 0:
            continue
        where, total = model.names([node])[0], model.cluster.nodes.total_memory[node]
        if after[name]["memory_mib"] > total > 0:
            # one that is off takes nothing now, and could never be started
            found.append("%s has %s of memory altogether" % (where, show_mib(int(total))))
        elif new.memory[node] < 0 <= old.memory[node]:
            found.append("%s lacks %d MiB of memory" % (where, -int(new.memory[node])))
        elif new.fails_n1[node] and not old.fails_n1[node]:
            found.append("%s could not start all its mirrors if a node died" % where)
        if new.cpus[node] > new.max_cpus[node] and old.cpus[node] <= old.max_cpus[node]:
            found.append("%s would have more virtual processors than the policy allows" % where)
    home = int(new.primary[i])
    policy, exclusive = model.cluster.groups[model.cluster.nodes.group[home]].policy, bool(new.exclusive[home])
    reasons = [refuses(one.cluster.instances.rows[one.instances[name]], policy, exclusive) for one in models]
    if reasons[1] is not None and reasons[0] is None:
        found.append(FAILURE_WORDS[reasons[1]])
    return found


def capacity_lines(found):
    """The figures as lines of text. Pure."""
    size = found["spec"]
    lines = ["%d more instances of the standard size fit: %s, disk %s, %d processors, template %s" % (
        found["standard"]["count"], show_mib(size["memory_mib"]), show_mib(size["disk_mib"]), size["vcpus"], found["template"])]
    lines.append("%d of decreasing size:" % found["tiered"]["count"])
    if found["tiered"]["tiers"]:
        lines += table(["COUNT", "MEMORY", "DISK", "PROCESSORS"], [
            [one["count"], show_mib(one["memory_mib"]), show_mib(one["disk_mib"]), one["vcpus"]] for one in found["tiered"]["tiers"]
        ]).splitlines()
    for name in ("standard", "tiered"):
        if found[name]["reason"]:
            lines.append("one more (%s) is refused: %s" % (name, found[name]["reason"]))
    return lines + ["node %s is not counted: it %s" % one for one in sorted(found["left_out"].items())]
