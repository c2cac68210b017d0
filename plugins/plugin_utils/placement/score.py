# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ganeti's cluster score: a weighted sum of spreads and counts; the smaller the better.

*Spread* is the population standard deviation over the online nodes of the scored group.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np

#: Name and weight of each metric, in the order hbal prints them.
WEIGHTS = {
    "free_mem_cv": 0.5, "free_disk_cv": 0.5, "n1_cnt": 1.0, "reserved_mem_cv": 1.0, "offline_all_cnt": 4.0,
    "offline_pri_cnt": 16.0, "vcpu_ratio_cv": 0.5, "cpu_load_cv": 1.0, "mem_load_cv": 1.0, "disk_load_cv": 1.0,
    "net_load_cv": 1.0, "pri_tags_score": 2.0, "spindles_cv": 0.5, "free_mem_cv_forth": 0.5, "free_disk_cv_forth": 0.5,
    "vcpu_ratio_cv_forth": 0.5, "spindles_cv_forth": 0.5, "location_score": 1.0, "location_exclusion_score": 1.0,
    "reserved_mem_rtotal": 0.25,
}


def inverse(values):
    """1/value, and 0 where there is nothing to divide by: such a node then counts as evenly used."""
    return np.divide(1.0, values, out=np.zeros(len(values)), where=values > 0)


def free_disk(state, forthcoming=False):
    """Free share of each node's disk, or of its spindles with exclusive storage; 1 where it has none."""
    nodes = state.cluster.nodes
    free = np.where(
        state.exclusive, state.spindles_free_forth if forthcoming else state.spindles_free,
        state.disk_forth if forthcoming else state.disk,
    )
    total = np.where(state.exclusive, nodes.spindles, nodes.total_disk)
    return np.where(total > 0, free * inverse(total), 1.0)


def metrics(state):
    """The value of each metric, by name."""
    nodes = state.cluster.nodes
    online = state.online
    offline = state.scope & state.offline
    per_memory = inverse(nodes.total_memory)
    per_cpu = inverse(nodes.total_cpus * nodes.cpu_speed)
    per_spindle = inverse(state.max_spindles)

    def spread(values):
        chosen = values[online]
        return float(chosen.std()) if len(chosen) else 0.0

    def total(values, which=online):
        return float(values[which].sum())

    reserved = state.reserved * per_memory
    both = state.primaries + state.secondaries
    return {
        "free_mem_cv": spread(state.memory * per_memory),
        "free_disk_cv": spread(free_disk(state)),
        "n1_cnt": total(state.fails_n1 * both),
        "reserved_mem_cv": spread(reserved),
        "offline_all_cnt": total(both, offline),
        "offline_pri_cnt": total(state.primaries, offline),
        "vcpu_ratio_cv": spread(state.cpus * per_cpu),
        "cpu_load_cv": spread(state.load_cpu),
        "mem_load_cv": spread(state.load_memory),
        "disk_load_cv": spread(state.load_disk),
        "net_load_cv": spread(state.load_net),
        "pri_tags_score": total(np.maximum(state.tags_on - 1, 0).sum(axis=0)) if len(state.tags_on) else 0.0,
        "spindles_cv": spread(state.spindles_used * per_spindle),
        "free_mem_cv_forth": spread(state.memory_forth * per_memory),
        "free_disk_cv_forth": spread(free_disk(state, True)),
        "vcpu_ratio_cv_forth": spread(state.cpus_forth * per_cpu),
        "spindles_cv_forth": spread(state.spindles_used_forth * per_spindle),
        "location_score": total(state.location),
        "location_exclusion_score": float(np.maximum(state.pairs - 1, 0).sum()) if state.pairs.size else 0.0,
        "reserved_mem_rtotal": total(reserved),
    }


def counted(state, online, per_memory):
    """The weighted sum of all metrics that are counts or totals, not spreads: what changes by whole instances.

    :param online: the state's ``online``.
    :param per_memory: 1/total memory of each online node.
    """
    weights = WEIGHTS
    both = state.primaries + state.secondaries
    value = weights["n1_cnt"] * float((state.fails_n1 * both) @ online)
    value += weights["reserved_mem_rtotal"] * float(state.reserved @ per_memory)
    if state.offline.any():
        offline = state.scope & state.offline
        value += weights["offline_all_cnt"] * float(both @ offline) + weights["offline_pri_cnt"] * float(state.primaries @ offline)
    if len(state.tags_on):
        value += weights["pri_tags_score"] * float(np.maximum(state.tags_on - 1, 0).sum(axis=0) @ online)
    if state.pairs.size:
        value += weights["location_exclusion_score"] * float(np.maximum(state.pairs - 1, 0).sum())
    if state.cluster.location_names:
        value += weights["location_score"] * float(state.location @ online)
    return value


def score(state):
    """The cluster score of the state's group."""
    values = metrics(state)
    return sum(weight * values[name] for name, weight in WEIGHTS.items())


def lower_bound(state):
    """A score no placement of the same instances on the same nodes can fall below.

    A node's reservation is at least what it is secondary for, divided by the number of nodes that can be lost; so all
    reservations together are at least what all instances need, divided by that number, and their shares of the nodes'
    memory are smallest on the largest node. An instance whose secondary is offline reserves nothing, but counts 4.
    Sizes of instances and all other metrics are left out, so the true optimum may be higher.
    """
    memory = state.cluster.nodes.total_memory[state.scope]
    # Peers outside the scope count where instances are split between groups.
    peers = len(memory) - 1 + int((state.reserves[state.scope][:, ~state.scope] > 0).any(axis=0).sum())
    if peers < 1 or memory.max() <= 0:
        return 0.0
    those = np.flatnonzero(state.secondary >= 0)
    those = those[state.scope[state.secondary[those]]]
    shares = WEIGHTS["reserved_mem_rtotal"] * state.reserve_need[those] / (peers * memory.max())
    if state.offline[state.scope].any():
        shares = np.minimum(shares, WEIGHTS["offline_all_cnt"])
    return float(shares.sum())
