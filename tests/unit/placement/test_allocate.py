# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Allocation and evacuation: the same answers as hail's, and where they differ, ours shown right."""

from __future__ import annotations

import json
import random
import re

import clusters
import oracles
import pytest

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import iallocator
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import Cluster, Instance
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.redundancy import Redundancy
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State


def _wanted(rng):
    template = rng.choice(("drbd", "drbd", "plain", "rbd", "diskless"))
    disk = rng.randint(1, 400) * 256
    return Instance("new", rng.randint(4, 128) * 64, disk, rng.randint(1, 4), template=template, disks=(disk,),
                    disk_spindles=(None,), tags=rng.choice(((), ("service:1",))))


def _request(row, **more):
    return dict(iallocator.describe(row), type="allocate", name=row.name, required_nodes=2 if row.template == "drbd" else 1,
                **more)


def _ours(cluster, request, **options):
    return iallocator.answer(iallocator.Message(json.dumps(iallocator.render(cluster, request))), **options)


def _score(info):
    return float(re.search(r"score: ([\d.]+)", info)[1])


@pytest.mark.parametrize("capacity", [True, False])
def test_allocate_as_hail(tmp_path, capacity):
    """Yes where hail says yes, with a score no worse; no where hail says no."""
    answered = {True: 0, False: 0}
    for seed in range(clusters.sample(16)):
        cluster = clusters.random_cluster(seed)
        request = _request(_wanted(random.Random(seed)))
        theirs = oracles.hail(tmp_path, cluster, request, *(() if capacity else ("--no-capacity-checks",)))
        ours = _ours(cluster, request, capacity=capacity)
        assert ours["success"] == theirs["success"], (seed, theirs, ours)
        answered[ours["success"]] += 1
        if ours["success"]:
            chosen = ours["info"].partition("Selected group: ")[2].partition(",")[0]
            pattern = r"Group %s \(\w+\): score: ([\d.]+)" % chosen
            assert float(re.search(pattern, ours["info"])[1]) <= float(re.search(pattern, theirs["info"])[1]) + 1e-6, seed
    assert answered[True] > 4 and (answered[False] > 4 or not capacity)


@pytest.mark.parametrize("kind", ["primary-only", "secondary-only", "all", "relocate"])
def test_evacuations_as_hail(tmp_path, kind):
    """The same instances go to the same nodes by the same opcodes; the same ones stay."""
    went = 0
    for seed in range(clusters.sample(12)):
        rng = random.Random(seed)
        cluster = clusters.random_cluster(seed)
        if not len(cluster.instances):
            continue
        if kind == "relocate":
            row = rng.choice(cluster.instances.rows)
            leave = row.secondary if row.template == "drbd" else row.primary
            request = {"type": "relocate", "name": row.name, "required_nodes": 1, "disk_space_total": int(row.disk),
                       "relocate_from": [cluster.nodes.names[leave]]}
        else:
            names = rng.sample(cluster.instances.names, min(4, len(cluster.instances)))
            request = {"type": "node-evacuate", "instances": names, "evac_mode": kind}
        theirs, ours = oracles.hail(tmp_path, cluster, request), _ours(cluster, request)
        assert ours["success"] == theirs["success"], seed
        if kind == "relocate":
            assert ours["result"] == theirs["result"], seed
            went += ours["success"]
            continue
        assert ours["result"][0] == theirs["result"][0], seed
        assert [name for name, why in ours["result"][1]] == [name for name, why in theirs["result"][1]], seed
        assert ours["result"][2] == theirs["result"][2], seed
        went += len(ours["result"][0])
    assert went > 4


def test_change_group_where_hail_does(tmp_path):
    """Where the whole cluster can lose any node hail moves, and so do we, to the same nodes."""
    moved = 0
    for seed in range(120):
        cluster = clusters.random_cluster(seed)
        state = State(cluster)
        if len(cluster.groups) < 2 or not len(cluster.instances) or Redundancy(state).reasons():
            continue
        names = cluster.instances.names[:3]
        request = {"type": "change-group", "instances": names, "target_groups": []}
        theirs, ours = oracles.hail(tmp_path, cluster, request), _ours(cluster, request)
        went = {name: nodes for name, unused, nodes in ours["result"][0]}
        for name, unused, nodes in theirs["result"][0]:
            assert went[name] == nodes, (seed, theirs, ours)
            moved += 1
    assert moved > 3


def test_change_group_moves_out_of_a_cluster_that_is_not_redundant():
    """hail refuses every change of group as soon as any node anywhere cannot be lost; the groups left stay sound here."""
    cluster = clusters.random_cluster(28)
    names = cluster.instances.names[:1]
    ours = _ours(cluster, {"type": "change-group", "instances": names, "target_groups": []})
    assert Redundancy(State(cluster)).reasons()
    (name, group, nodes), = ours["result"][0]
    before = set(Redundancy(State(cluster)).reasons())
    position = [one.name for one in cluster.groups].index(group)
    rows = [row._replace(primary=cluster.nodes.names.index(nodes[0]),
                         secondary=cluster.nodes.names.index(nodes[1]) if len(nodes) > 1 else -1)
            if row.name == name else row for row in cluster.instances.rows]
    nodes_now = [cluster.nodes.row(index) for index in range(len(cluster.nodes))]
    after = Redundancy(State(Cluster(cluster.groups, nodes_now, rows, cluster.tags, cluster.policy)))
    assert not [node for node in set(after.reasons()) - before if cluster.nodes.group[node] == position]


def test_multi_allocate_places_what_fits(tmp_path):
    """hail fails the whole request for one instance; we place the others, and each sees what the earlier ones took."""
    partly = 0
    for seed in range(40, 40 + clusters.sample(16)):
        rng = random.Random(seed)
        cluster = clusters.random_cluster(seed)
        row = _wanted(rng)
        request = {"type": "multi-allocate", "instances": [dict(_request(row), name="new%d" % number) for number in range(4)]}
        theirs = oracles.hail(tmp_path, cluster, request, "--no-capacity-checks")
        ours = _ours(cluster, request, capacity=False)
        if theirs["success"]:
            assert ours["result"] == theirs["result"], seed
        else:
            assert ours["success"] and ours["result"][1]
            partly += bool(ours["result"][0])
    assert partly


def test_allocate_secondary_makes_a_pair(tmp_path):
    """A plain instance gets the secondary hail would give it, and none where hail finds none."""
    found = refused = 0
    for seed in range(120):
        cluster = clusters.random_cluster(seed)
        plain = [row for row in cluster.instances.rows if row.template == "plain" and not row.forthcoming]
        if not plain:
            continue
        request = {"type": "allocate-secondary", "name": plain[0].name}
        theirs, ours = oracles.hail(tmp_path, cluster, request), _ours(cluster, request)
        assert ours["success"] == theirs["success"], (seed, theirs, ours)
        if theirs["success"]:
            assert _score(ours["info"]) <= _score(theirs["info"]) + 1e-6
        found += theirs["success"]
        refused += not theirs["success"]
    assert found > 3 and refused


def test_no_secondary_where_the_primary_is_offline():
    """Nothing can be copied from a node that is away, whatever room the others have."""
    cluster = clusters.bench_cluster(4, 8)
    nodes = [cluster.nodes.row(index)._replace(offline=index == 0) for index in range(4)]
    rows = [Instance("lone", 1024, 1024, 1, primary=0, template="plain", disks=(1024,), disk_spindles=(None,))]
    ours = _ours(Cluster(cluster.groups, nodes, rows, policy=cluster.policy), {"type": "allocate-secondary", "name": "lone"})
    assert not ours["success"]


def test_refusal_says_why():
    """A cluster that cannot lose a node takes no instance, and the answer names the node and the memory."""
    cluster = clusters.bench_cluster(6, 30)
    nodes = [cluster.nodes.row(index) for index in range(6)]
    nodes[1] = nodes[1]._replace(free_memory=10)
    tight = Cluster(cluster.groups, nodes, cluster.instances.rows, cluster.tags, cluster.policy)
    row = Instance("new", 1024, 10240, 1, disks=(10240,), disk_spindles=(None,))
    answer = _ours(tight, _request(row))
    assert not answer["success"] and "FailN1" in answer["info"]
    assert "node0001.example.com needs" in answer["info"] and "MiB of memory" in answer["info"]


def test_explanation_names_rejected_nodes():
    """Every node that cannot be the primary has its reason."""
    cluster = clusters.bench_cluster(4, 12)
    nodes = [cluster.nodes.row(index) for index in range(4)]
    nodes[3] = nodes[3]._replace(free_disk=100)
    small = Cluster(cluster.groups, nodes, cluster.instances.rows, cluster.tags, cluster.policy)
    row = Instance("new", 1024, 10240, 1, disks=(10240,), disk_spindles=(None,))
    answer = _ours(small, _request(row), capacity=False, explain=True)
    assert answer["success"] and "node0003.example.com" not in answer["result"]
    assert "disk" in answer["explanation"]["rejected"]["node0003.example.com"]


def test_restricted_nodes_and_networks():
    """Only the nodes named are used; a group without the network is not."""
    cluster = clusters.bench_cluster(6, 12)
    row = Instance("new", 1024, 10240, 1, disks=(10240,), disk_spindles=(None,))
    only = cluster.nodes.names[2:4]
    answer = _ours(cluster, _request(row, **{"restrict-to-nodes": only}))
    assert sorted(answer["result"]) == only
    answer = _ours(cluster, _request(row._replace(networks=("net1",))))
    assert not answer["success"] and "not connected to a network" in answer["info"]
