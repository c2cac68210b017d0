# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""N+1: whether the cluster survives the loss of any one node.

The rule: for every node N and every other node P, the memory of the instances that should run, have P as their primary
and N as their secondary must fit N's free memory. Free is the smaller of what N's kernel calls available and what is left
of its memory when every guest there uses all it was given, less the memory of instances that should run on N and do not.
An instance counts with the memory its record gives it; one that should be stopped is not started by a failover, and does
not count. QEMU's own need is not counted.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.verify.case import lives


def free_mib(case, node):
    """Memory of the node that guests to come can have, MiB; None when it is not known."""
    facts = case.facts[node]
    if not facts.libvirt or facts.info["memory_free_mib"] is None or facts.info["memory_total_mib"] is None:
        return None
    given = sum(domain["memory_mib"] or 0 for domain in facts.info["domains"] if lives(domain, node))
    missing = sum(
        record["memory_mib"] for record in case.instances.values()
        if record["primary"] == node and record["admin_state"] == "up" and not _runs(case, record, node))
    return min(facts.info["memory_free_mib"], facts.info["memory_total_mib"] - given) - missing


def _runs(case, record, node):
    domain = case.facts[node].domain(record["uuid"])
    return domain is not None and lives(domain, node)


def check(case):
    """N+1 of every node."""
    for node in case.facts:
        free = None if case.nodes[node]["offline"] else free_mib(case, node)
        if free is None:
            continue
        for peer in case.nodes:
            coming = [
                record for record in case.instances.values()
                if peer != node and record["primary"] == peer and record["secondary"] == node and record["admin_state"] == "up"
                and not _runs(case, record, node)
            ]
            needed = sum(record["memory_mib"] for record in coming)
            if needed > free:
                case.add("NODE_N1", node, "%d MiB free; if %s fails, %d MiB are needed for %s" % (
                    free, peer, needed, ", ".join(record["name"] for record in coming)), "at least %d MiB free" % needed)
