# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The score: equal to hbal's on random clusters, every metric seen to matter, and all moves scored as they would come out."""

from __future__ import annotations

import itertools
import random

import clusters
import hypothesis
import hypothesis.strategies as st
import numpy as np
import oracles
import pytest

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import moves as m
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import score
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.evaluator import Evaluator
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


def _instance(name="i", primary=0, secondary=-1, template="diskless", **more):
    """An instance that weighs nothing but what is named."""
    return Instance(name, more.pop("memory", 0), more.pop("disk", 0), more.pop("vcpus", 0), primary=primary, secondary=secondary,
                    template=template, spindle_use=more.pop("spindle_use", 0), disk_spindles=(None,), **more)


_TWINS = [_instance("i", 0, 1, "drbd", status="ADMIN_down"), _instance("j", 1, 0, "drbd", status="ADMIN_down")]
_POWER = ("htools:nlocation:power", "htools:iextags:service", "htools:desiredlocation:power")


@pytest.mark.parametrize("change, rows, load, tags, expected", [
    ({"node_memory": 400}, [], None, (), {"free_mem_cv": 0.2}),
    ({"free_memory": 600}, [], None, (), {"free_mem_cv": 0.2, "free_mem_cv_forth": 0.2}),
    ({}, [_instance(memory=400, forthcoming=True)], None, (), {"free_mem_cv_forth": 0.2}),
    ({"free_disk": 600}, [], None, (), {"free_disk_cv": 0.2, "free_disk_cv_forth": 0.2}),
    ({}, [_instance(disk=400, template="plain", forthcoming=True)], None, (), {"free_disk_cv_forth": 0.2}),
    ({"node_cpus": 4}, [], None, (), {"vcpu_ratio_cv": 0.2, "vcpu_ratio_cv_forth": 0.2}),
    ({}, [_instance(vcpus=4, forthcoming=True)], None, (), {"vcpu_ratio_cv_forth": 0.2}),
    ({}, [_instance(template="plain", spindle_use=64)], None, (), {"spindles_cv": 0.1, "spindles_cv_forth": 0.1}),
    ({}, [_instance(template="plain", spindle_use=64, forthcoming=True)], None, (), {"spindles_cv_forth": 0.1}),
    ({}, [row._replace(memory=200) for row in _TWINS], None, (), {"reserved_mem_rtotal": 0.4}),
    ({}, [_TWINS[0]._replace(memory=200)], None, (),
     {"reserved_mem_rtotal": 0.2, "reserved_mem_cv": 0.1, "free_mem_cv_forth": 0.1}),
    ({}, [row._replace(memory=2000) for row in _TWINS], None, (), {"n1_cnt": 4, "reserved_mem_rtotal": 4}),
    ({"offline": True}, [_instance(primary=1)], None, (), {"offline_all_cnt": 1, "offline_pri_cnt": 1}),
    ({"offline": True}, [_instance(secondary=1, template="drbd", auto_balance=False)], None, (), {"offline_all_cnt": 1}),
    ({}, [_instance()], 0, (), {"cpu_load_cv": 0.5}),
    ({}, [_instance()], 1, (), {"mem_load_cv": 0.5}),
    ({}, [_instance()], 2, (), {"disk_load_cv": 0.5}),
    ({}, [_instance()], 3, (), {"net_load_cv": 0.5}),
    ({}, [_instance("i", tags=("service:1",)), _instance("j", tags=("service:1",))], None, _POWER[1:2], {"pri_tags_score": 1}),
    ({}, [_instance(secondary=1, template="drbd", auto_balance=False)], None, _POWER[:1], {"location_score": 1}),
    ({}, [_instance(tags=("power:2",))], None, _POWER[2:], {"location_score": 1}),
    ({}, [_instance("i", tags=("service:1",)), _instance("j", 1, tags=("service:1",))], None, _POWER[:2],
     {"location_exclusion_score": 1}),
])
def test_each_metric_alone(change, rows, load, tags, expected):
    """Two equal nodes score nothing; one difference gives the value worked out by hand, and nothing else."""
    node = Node("a", 0, 1000, 0, 1000, 1000, 1000, 10, 0, spindles=10, tags=("power:1",))
    cluster = Cluster([Group("g", "u")], [node, node._replace(name="b", **change)], rows, tags)
    cluster.instances.util[:] = 0
    if load is not None:
        cluster.instances.util[:, load] = 1
    found = {name: value for name, value in score.metrics(State(cluster)).items() if abs(value) > 1e-12}
    assert found == pytest.approx(expected)


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
    evaluator = Evaluator(state, options)
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
    evaluator = Evaluator(state)
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


def _everywhere(count, mirrored):
    """All (primary, secondary) of an instance on so many nodes."""
    if not mirrored:
        return [(node, -1) for node in range(count)]
    return list(itertools.permutations(range(count), 2))


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
    sizes=st.lists(st.tuples(st.integers(1, 3000), st.booleans(), st.booleans()), min_size=1, max_size=3),
    memories=st.lists(st.integers(2000, 20000), min_size=2, max_size=3), offline=st.booleans())
def test_lower_bound_holds_for_every_placement(sizes, memories, offline):
    """Tiny clusters, all placements there are, also those no node would take: none is below the bound of any other."""
    nodes = [Node("n%d" % index, 0, memory, 0, memory, 10000, 10000, 8, offline=offline and index == 1 and len(memories) > 2)
             for index, memory in enumerate(memories)]
    bounds, scores = [], []
    choices = [_everywhere(len(nodes), mirrored) for unused, mirrored, unused_too in sizes]
    for placement in itertools.product(*choices):
        rows = [Instance("i%d" % index, memory, 100, 1, "running", balanced, *where, "drbd" if mirrored else "rbd", disks=(100,),
                         disk_spindles=(None,)) for index, ((memory, mirrored, balanced), where) in enumerate(zip(sizes, placement))]
        # As the nodes report less when more runs there, the rest stays the same.
        held = [sum(row.memory for row in rows if row.primary == index) for index in range(len(nodes))]
        state = State(Cluster([Group("g", "u")], [node._replace(free_memory=node.free_memory - less)
                                                  for node, less in zip(nodes, held)], rows))
        bounds.append(score.lower_bound(state))
        scores.append(score.score(state))
    assert max(bounds) <= min(scores) + 1e-9
    # It says something: where memory must be kept, the bound is no zero.
    assert bounds[0] > 0 or not any(mirrored and balanced for unused, mirrored, balanced in sizes)


def test_lower_bound_holds():
    """No placement seen is below the bound."""
    for seed in range(10):
        state = State(clusters.random_cluster(seed, features=False))
        assert score.lower_bound(state) <= score.score(state)
