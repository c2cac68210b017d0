# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance on plain nodes: the simple choice behind ``instance_add``, without numpy.

:func:`choose` takes one request and the nodes as plain dicts and names the nodes. Whatever allocates (this simple
choice today, an allocator speaking another protocol later) answers it.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError


def refusals(request, node, role):
    """Why a node cannot take the role, as a list of sentences; empty when it can.

    :param request: ``{"memory_mib", "disk_mib": {vg or "": MiB}, "hypervisor", "starts"}``.
    :param node: ``{"name", "usable", "why_not", "memory_free_mib", "disk_free_mib": {vg: MiB}, "vg", "hypervisors"}``.
    :param role: ``primary`` or ``secondary``; both need the disks, and both the memory (the secondary for failover).
    """
    if not node["usable"]:
        return [node["why_not"]]
    reasons = []
    if request["hypervisor"] not in node["hypervisors"]:
        reasons.append("does not run %s" % request["hypervisor"])
    if role == "primary" and request["memory_mib"] > node["memory_free_mib"]:
        reasons.append("%d MiB of memory needed, %d MiB free" % (request["memory_mib"], node["memory_free_mib"]))
    for group, size in sorted(request["disk_mib"].items()):
        group = group or node["vg"]
        free = node["disk_free_mib"].get(group)
        if free is None:
            reasons.append("no volume group %s" % group)
        elif size > free:
            reasons.append("%d MiB of disk needed in volume group %s, %d MiB free" % (size, group, free))
    return reasons


def _score(request, node):
    """Smaller is better: the larger share of memory or disk in use once the instance is there."""
    memory = (node["memory_total_mib"] - node["memory_free_mib"] + request["memory_mib"]) / max(node["memory_total_mib"], 1)
    need = sum(request["disk_mib"].values())
    total = max(node["disk_total_mib"].get(node["vg"], 0), 1)
    disk = (total - node["disk_free_mib"].get(node["vg"], 0) + need) / total if need else 0.0
    return (max(memory, disk), memory + disk, node["name"])


def choose(request, nodes, count, fixed=()):
    """Name the nodes for one instance: ``[primary]`` or ``[primary, secondary]``.

    :param nodes: all nodes; see :func:`refusals`.
    :param fixed: nodes the operator named, in order; they are checked, not chosen.
    :returns: ``{"nodes": [names], "rejected": {name: [reasons]}}``
    :raises GantryError: a named node cannot take it, or too few nodes can.
    """
    by_name = {node["name"]: node for node in nodes}
    chosen, rejected = [], {}
    for position, role in enumerate(("primary", "secondary")[:count]):
        if position < len(fixed):
            node = by_name.get(fixed[position])
            reasons = refusals(request, node, role) if node else ["is not a node of the cluster"]
            if reasons:
                raise GantryError(
                    "Instance %s cannot have node %s as its %s" % (request["name"], fixed[position], role),
                    found="; ".join(reasons), expected="a node with room for it", code=_code(node),
                    mend="name another gantry_%s, or leave both out to have them chosen" % role,
                )
            chosen.append(node["name"])
            continue
        fitting = []
        for node in nodes:
            if node["name"] in chosen:
                continue
            reasons = refusals(request, node, role)
            if reasons:
                rejected[node["name"]] = reasons
            else:
                fitting.append(node)
        if not fitting:
            raise GantryError(
                "No node can be the %s of instance %s" % (role, request["name"]),
                found="; ".join("%s: %s" % (name, ", ".join(why)) for name, why in sorted(rejected.items()))
                or "%d usable nodes, %d needed" % (len(nodes), count),
                expected="%d node%s with enough memory and disk" % (count, "" if count == 1 else "s"),
                mend="free space, add a node with node_add, or make the instance smaller", code="no_space",
            )
        chosen.append(min(fitting, key=lambda node: _score(request, node))["name"])
    return {"nodes": chosen, "rejected": rejected}


def _code(node):
    if node is None:
        return "unknown_node"
    return "no_space" if node["usable"] else "node_unusable"


def reserve(request, nodes, chosen):
    """Take the request's memory and disks off the chosen nodes, so that the next request of the run sees them gone."""
    for position, name in enumerate(chosen):
        node = next(node for node in nodes if node["name"] == name)
        if position == 0:
            node["memory_free_mib"] -= request["memory_mib"]
        for group, size in request["disk_mib"].items():
            node["disk_free_mib"][group or node["vg"]] -= size
