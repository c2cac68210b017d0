# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The score: equal to hbal's on random clusters, every metric seen to matter, and all moves scored as they would come out."""

from __future__ import annotations

import random

import clusters
import numpy as np
import oracles
import pytest

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import moves as m
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import score
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import Cluster, Group, Instance, Node
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import N1_UNALLOCATED, State

SEEDS = range(clusters.sample(30))


def test_metrics_equal_hbals(tmp_path):
    """Every metric of every group of many clusters, to a millionth; and each of them was other than 0 somewhere."""
    seen = set()
    for seed in SEEDS:
        cluster = clusters.random_cluster(seed)
        for index, group in enumerate(cluster.groups):
            ours = score.metrics(State(cluster, index))
            theirs = oracles.hbal_metrics(tmp_path, cluster, group.name)
            if not theirs:
                # hbal leaves at once where there is no instance at all.
                assert not len(cluster.instances), "hbal said nothing of seed %d" % seed
                continue
            assert ours == pytest.approx(theirs, abs=1e-6), "seed %d, %s" % (seed, group.name)
            seen |= {name for name, value in theirs.items() if value}
    assert seen == set(score.WEIGHTS)


@pytest.mark.parametrize("seed", range(clusters.sample(8)))
def test_all_moves_scored_at_once_equal_moves_made_one_by_one(seed):
    """The tables of the evaluator hold what apply() and score() give, and refuse what apply() refuses."""
    rng = random.Random(seed)
    cluster = clusters.random_cluster(seed)
    state = State(cluster, rng.randrange(len(cluster.groups)))
    options = m.Options(ignore_soft_errors=seed % 5 == 0)
    for unused in range(2):
        _compare(state, options, rng)


def _compare(state, options, rng):
    evaluator = m.Evaluator(state, options)
    instances = state.cluster.instances
    inside = state.scope[state.primary]
    mirrored = np.flatnonzero(instances.mirrored & inside & (state.secondary >= 0))
    external = np.flatnonzero(instances.external & inside)
    assert evaluator.score == pytest.approx(score.score(state), abs=1e-9)
    tables = []
    if len(mirrored) and len(evaluator.targets):
        tables += [(mirrored, kind, table) for kind, table in evaluator.drbd(mirrored).items()]
    if len(external) and len(evaluator.targets):
        tables.append((external, m.FAILOVER_TO_ANY, evaluator.external(external)))
    made = None
    for those, kind, table in tables:
        for row, i in enumerate(those):
            own = (int(state.primary[i]), int(state.secondary[i]))
            # The balancer never hands over to a secondary that is offline or of another group.
            if kind in (m.FAILOVER, m.REPLACE_PRIMARY, m.FAILOVER_AND_REPLACE) and not evaluator.online[own[1]]:
                continue
            for column, target in enumerate(evaluator.targets if kind else (-1,)):
                if target in own or rng.random() > 0.25:
                    continue
                move = m.Move(int(i), kind, int(target))
                found = table[row, column] if kind else table[row]
                saved = state.snapshot(i, own + (target,))
                reason = m.apply(state, move, options.ignore_soft_errors)
                expected = np.inf if reason else score.score(state)
                state.restore(saved)
                assert found == pytest.approx(expected, abs=1e-8), (move, reason)
                made = made or (move if reason is None else None)
    if made:
        assert m.apply(state, made, options.ignore_soft_errors) is None


def test_undone_moves_leave_nothing():
    """snapshot and restore give back every figure."""
    cluster = clusters.random_cluster(7, features=False)
    state = State(cluster)
    before = state.copy()
    evaluator = m.Evaluator(state)
    targets = evaluator.targets
    for i in range(len(cluster.instances)):
        for kind in (m.REPLACE_SECONDARY, m.REPLACE_PRIMARY):
            target = next(int(node) for node in targets if node not in (state.primary[i], state.secondary[i]))
            saved = state.snapshot(i, (state.primary[i], state.secondary[i], target))
            m.apply(state, m.Move(i, kind, target))
            state.restore(saved)
    assert np.array_equal(state.table, before.table)
    assert np.array_equal(state.reserves, before.reserves) and np.array_equal(state.reserves.T, state.reserved_for)
    assert np.array_equal(state.primary, before.primary) and np.array_equal(state.secondary, before.secondary)


def test_n1_rules_differ_where_memory_is_missing():
    """Ganeti 3.1 compares what is not promised, 3.0 what the hypervisor reports as free."""
    node = Node("a", 0, total_memory=10000, node_memory=500, free_memory=9400, total_disk=10000, free_disk=5000, total_cpus=8)
    nodes = [node._replace(free_memory=7400), node._replace(name="b", free_memory=2050)]
    rows = [Instance("i", 2100, 1000, 1, primary=0, secondary=1, disks=(1000,), disk_spindles=(None,))]
    cluster = Cluster([Group("g", "u")], nodes, rows)
    assert State(cluster).fails_n1.tolist() == [0, 1]
    nodes[1] = nodes[1]._replace(free_memory=2100)
    cluster = Cluster([Group("g", "u")], nodes, rows)
    assert State(cluster).fails_n1.tolist() == [0, 0]
    assert State(cluster, n1_rule=N1_UNALLOCATED).fails_n1.tolist() == [0, 1]


def test_lower_bound_holds():
    """No placement seen is below the bound."""
    for seed in range(10):
        state = State(clusters.random_cluster(seed, features=False))
        assert score.lower_bound(state) <= score.score(state)
