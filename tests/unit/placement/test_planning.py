# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity, check, rolling reboots and squeeze, beside hspace, hcheck and hroller."""

from __future__ import annotations

import clusters
import numpy as np
import oracles
import pytest

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import capacity, check, rolling
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import Cluster, Group, Instance, Node
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.squeeze import squeeze
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State


def test_capacity_is_no_less_than_hspaces(tmp_path):
    """As many instances of the standard spec as hspace finds, and tiers with as much memory."""
    compared = placed = 0
    # hspace takes a second and more for many others.
    for seed in (1, 3, 4):
        cluster = clusters.random_cluster(seed, nodes=3, instances=12, templates=("drbd",))
        keys = oracles.hspace(tmp_path, cluster)
        if "HTS_ALLOC_INSTANCES" not in keys:
            # hspace stops with an internal inconsistency where instances are forthcoming.
            assert cluster.instances.forthcoming.any()
            continue
        ours = capacity.standard(cluster)
        assert ours.count >= int(keys["HTS_ALLOC_INSTANCES"]), seed
        tiers = capacity.tiered(cluster)
        theirs = [one.replace("=", ",").split(",") for one in keys["HTS_TSPEC"].split()]
        assert sum(tier[0] * tier[3] for tier in tiers.tiers) >= sum(int(one[0]) * int(one[4]) for one in theirs), seed
        compared += 1
        placed += ours.count
    assert compared and placed > 20


def test_capacity_fills_without_overcommitting():
    """What is placed is there, and nothing is promised twice."""
    cluster = clusters.bench_cluster(6, 20)
    for found in (capacity.standard(cluster), capacity.tiered(cluster)):
        state = found.state
        assert found.count == len(found.placed) > 0
        assert (state.memory > state.reserved).all() and (state.disk > 0).all()
        assert (state.cpus <= state.max_cpus).all()
        held = np.zeros(6)
        for memory, unused, unused_cpus, primary, unused_secondary in found.placed:
            held[primary] += memory
        assert State(cluster).memory - held == pytest.approx(state.memory)
    assert capacity.standard(cluster, limit=3).count == 3


def test_capacity_of_plain_instances_leaves_room_for_the_loss_of_a_node():
    """Plain instances are made anew elsewhere when their node is lost, so a node's worth of memory stays free."""
    cluster = clusters.bench_cluster(3, 6)
    kept, all_of_it = capacity.standard(cluster, "plain"), capacity.standard(cluster, "plain", capacity=False)
    assert 0 < kept.count < all_of_it.count


def test_check_counts_as_hcheck(tmp_path):
    """Every count and every group's score, before balancing."""
    wrong = 0
    for seed in range(clusters.sample(12)):
        cluster = clusters.random_cluster(seed)
        theirs = oracles.hcheck(tmp_path, cluster)
        ours = check.check(cluster, simulate=False)
        for key, value in ours["initial"].items():
            # hcheck counts offline nodes where it says it counts instances with an offline secondary.
            if key != "OFFLINE_SEC":
                assert value == int(theirs["HCHECK_INIT_CLUSTER_" + key]), (seed, key)
        for group in ours["groups"]:
            assert group["score"] == pytest.approx(float(theirs["HCHECK_INIT_GROUP_%d_SCORE" % group["index"]]), abs=1e-6)
        wrong += not ours["healthy"]
    assert 0 < wrong


def test_check_mends_by_balancing():
    """An instance on an offline node is found, and balancing moves it."""
    cluster = clusters.bench_cluster(5, 20)
    nodes = [cluster.nodes.row(index)._replace(offline=index == 2) for index in range(5)]
    found = check.check(Cluster(cluster.groups, nodes, cluster.instances.rows, cluster.tags, cluster.policy))
    assert found["initial"]["OFFLINE_PRI"] > 0 and not found["healthy"]
    assert found["final"]["OFFLINE_PRI"] == 0 and found["groups"][0]["moves"] > 0


def test_rolling_needs_no_more_groups_than_hroller(tmp_path):
    """And no group holds two nodes that need each other."""
    compared = 0
    for seed in range(clusters.sample(12)):
        cluster = clusters.random_cluster(seed)
        theirs = oracles.hroller(tmp_path, cluster)
        if theirs is None:
            continue
        state = State(cluster)
        steps = rolling.plan(state)
        assert len(steps) <= len(theirs), seed
        assert sorted(node for step in steps for node in step.nodes) == np.flatnonzero(~state.offline).tolist()
        graph = rolling.conflicts(state, ~state.offline)
        for step in steps:
            assert not graph[np.ix_(step.nodes, step.nodes)].any()
            assert not {target for unused, target, unused_too in step.moves} & set(step.nodes)
        assert cluster.nodes.master[steps[-1].nodes[-1]]
        compared += 1
    assert compared > 8


def test_rolling_does_not_mind_what_is_only_planned():
    """Two nodes share nothing but an instance that is not there yet."""
    nodes = [Node(name, 0, 10000, 500, 5000, 100000, 50000, 8) for name in ("a", "b")]
    for forthcoming, groups in ((True, 1), (False, 2)):
        rows = [Instance("i", 1000, 1000, 1, primary=0, secondary=1, template="drbd", disks=(1000,), disk_spindles=(None,),
                         forthcoming=forthcoming)]
        assert len(rolling.plan(State(Cluster([Group("g", "u")], nodes, rows)))) == groups


def test_rolling_stops_where_an_instance_finds_no_room():
    """The only other node is full."""
    nodes = [Node(name, 0, 10000, 500, free, 100000, 50000, 8) for name, free in (("a", 1000), ("b", 300))]
    rows = [Instance("i", 8000, 1000, 1, primary=0, template="plain", disks=(1000,), disk_spindles=(None,))]
    state = State(Cluster([Group("g", "u")], nodes, rows))
    with pytest.raises(GantryError, match="no room"):
        rolling.plan(state)
    assert len(rolling.plan(state, ignore_non_redundant=True)) == 1


def _shared_cluster(instances, **settings):
    nodes = [Node("node%d" % index, 0, 16384, 512, 15872 - 2048 * sum(one == index for one in instances), 1000, 900, 8,
                  master=index == 0, **settings) for index in range(4)]
    rows = [Instance("i%d" % number, 2048, 1024, 1, primary=node, template="rbd", disks=(1024,), disk_spindles=(None,))
            for number, node in enumerate(instances)]
    return Cluster([Group("g", "u")], nodes, rows)


def test_squeeze_powers_down_what_is_not_needed():
    """Four nodes with four small instances: the master and enough others stay."""
    cluster = _shared_cluster([0, 1, 2, 3])
    found = squeeze(cluster)
    assert found.action == "offline" and found.nodes and 0 not in found.nodes
    moved = {step.move.instance for step in found.plan.steps}
    assert moved >= {index for index, node in enumerate([0, 1, 2, 3]) if node in found.nodes}


def test_squeeze_leaves_local_disks_alone():
    """A node with a plain instance is not powered down."""
    cluster = clusters.bench_cluster(4, 12)
    assert squeeze(cluster).action == "none"


def test_squeeze_powers_up_standby_nodes():
    """Full nodes, and one on standby."""
    busy = [0] * 7 + [1] * 7 + [2] * 7
    nodes = [Node("node%d" % index, 0, 16384, 512, 15872 - 2048 * busy.count(index), 1000, 900, 8, offline=index == 3,
                  tags=("htools:standby:auto",) if index == 3 else ()) for index in range(4)]
    rows = [Instance("i%d" % number, 2048, 1024, 1, primary=node, template="rbd", disks=(1024,), disk_spindles=(None,))
            for number, node in enumerate(busy)]
    found = squeeze(Cluster([Group("g", "u")], nodes, rows), 12.0, 12.0)
    assert (found.action, found.nodes) == ("online", [3])
