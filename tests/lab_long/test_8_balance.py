# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement on real nodes: an uneven cluster is balanced while its guests count, and what still fits is counted."""

from __future__ import annotations

import collections
import re

from lab.driver import refused

MIRRORED = ["even%d.example.com" % number for number in (1, 2)]
PLAIN = "even3.example.com"


def test_an_uneven_cluster_is_balanced_while_its_guests_count(clean, guest, counted):
    cluster = clean
    for name in MIRRORED:
        guest(name, primary="node1", secondary="node2")
    guest(PLAIN, disk_template="plain", primary="node1")
    run = cluster.play("instance_add", ",".join(MIRRORED + [PLAIN]), forks=10)
    assert run.ok, run.text
    refused(cluster.play("cluster_balance", "node1"), "takes no limit")
    watches = {name: cluster.watch(name) for name in MIRRORED}
    try:
        for watch in watches.values():
            watch.wait_beyond(5)
        before = cluster.snapshot()
        run = cluster.play("cluster_balance", check=True, count=True)
        assert run.ok and run.changed == 1 and cluster.snapshot() == before, run.text
        assert "lower bound" in run.text and "free_mem_cv" in run.text, run.text
        counted("cluster_balance, the plan, 3 nodes", run.calls, 3)

        run = cluster.play("cluster_balance")
        assert run.ok and run.changed > 0, run.text
        assert cluster.violations() == []
        records = {name: cluster.instance(name) for name in MIRRORED + [PLAIN]}
        # each node runs one: one mirrored guest migrated, the other got a copy on node3 and went there
        assert sorted(record["primary"] for record in records.values()) == ["node1", "node2", "node3"], records
        copies = collections.Counter(node for record in records.values() for node in record["disks"][0]["nodes"])
        assert set(copies) == set(cluster.nodes), copies
        for name, watch in watches.items():
            watch.wait_beyond(watch.last)
            record = records[name]
            minor = record["disks"][0]["nodes"][record["primary"]]["minor"]
            fine, text = watch.verdict("/dev/drbd%d" % minor, record["primary"], cluster.folder)
            assert fine, text

        run = cluster.play("cluster_balance")
        assert run.ok and run.changed == 0 and "nothing is to be moved" in run.text, run.text
    finally:
        for watch in watches.values():
            watch.close()


def test_balance_refuses_a_silent_node_and_leaves_the_rest_alone(clean, guest):
    cluster = clean
    for name in MIRRORED:
        guest(name, primary="node1", secondary="node2", start=False)
    run = cluster.play("instance_add", ",".join(MIRRORED), forks=10)
    assert run.ok, run.text
    cluster.power_off("node3")
    try:
        refused(cluster.play("cluster_balance"), "not every node answers", "node3")
    finally:
        cluster.power_on("node3")
    run = cluster.play("cluster_balance", balance_disk_moves=False)
    assert run.ok and {cluster.instance(name)["primary"] for name in MIRRORED} == {"node1", "node2"}, run.text


def test_a_drained_node_is_emptied(clean, guest):
    cluster = clean
    guest(MIRRORED[0], primary="node1", secondary="node2")
    run = cluster.play("instance_add", MIRRORED[0])
    assert run.ok, run.text
    run = cluster.play("node_modify", node_name="node1", drained=True)
    assert run.ok, run.text
    try:
        run = cluster.play("cluster_balance", balance_evacuate=True)
        assert run.ok and cluster.violations() == [], run.text
        record = cluster.instance(MIRRORED[0])
        assert {record["primary"], record["secondary"]} == {"node2", "node3"}, record
    finally:
        run = cluster.play("node_modify", node_name="node1", drained=False)
        assert run.ok, run.text


def test_capacity_is_what_can_be_added(clean, guest, counted):
    cluster = clean
    size = {"capacity_memory": "256MiB", "capacity_disk": "64MiB"}
    run = cluster.play("cluster_capacity", count=True, **size)
    assert run.ok and run.changed == 0, run.text
    counted("cluster_capacity, 3 nodes", run.calls, 3)
    before = _fitting(run)
    assert before > 0
    guest(MIRRORED[0], memory="256MiB", disks=[{"size": "64MiB"}], start=False)
    run = cluster.play("instance_add", MIRRORED[0])
    assert run.ok, run.text
    run = cluster.play("cluster_capacity", **size)
    assert 0 < _fitting(run) < before, run.text


def _fitting(run):
    """How many more cluster_capacity says there is room for."""
    found = re.search(r"(\d+) more instances of the standard size fit: 256 MiB, disk 64 MiB", run.text)
    assert found, run.text
    return int(found.group(1))
