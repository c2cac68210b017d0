# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes: emptied, lost with their power, trusted again, rebooted one at a time, while guests count."""

from __future__ import annotations

from lab.driver import refused

RUNS, STOPPED, PLAIN = "nodes1.example.com", "nodes2.example.com", "nodes3.example.com"


def add(cluster, *names):
    """Create declared instances."""
    run = cluster.play("instance_add", ",".join(names))
    assert run.ok and cluster.violations() == [], run.text


def intact(cluster, watch, name):
    """The guest counts on, and every number it acknowledged is on its disk."""
    watch.wait_beyond(watch.last)
    record = cluster.instance(name)
    minor = record["disks"][0]["nodes"][record["primary"]]["minor"]
    fine, text = watch.verdict("/dev/drbd%d" % minor, record["primary"], cluster.folder)
    assert fine, text


def node(cluster, name):
    """A node's record."""
    return cluster.registry()["nodes/" + name]


def test_a_node_is_emptied(clean, guest):
    cluster = clean
    guest(RUNS, primary="node1", secondary="node2")
    guest(STOPPED, start=False, primary="node1", secondary="node2")
    guest(PLAIN, disk_template="plain", primary="node1")
    add(cluster, RUNS, STOPPED, PLAIN)
    refused(cluster.play("node_evacuate", "node1", node_name="node1"), "takes no limit")
    refused(cluster.play("node_remove", node_name="node1"), "it holds instances")
    watch = cluster.watch(RUNS)
    try:
        watch.wait_beyond(5)
        before = cluster.snapshot()
        run = cluster.play("node_evacuate", check=True, node_name="node1")
        assert not run.ok and PLAIN in run.text and cluster.snapshot() == before, run.text
        run = cluster.play("node_evacuate", node_name="node1")
        # the plain one cannot leave, and says so; the others are gone all the same
        assert not run.ok and "its only copy is on node1" in run.words, run.text
        for name in (RUNS, STOPPED):
            record = cluster.instance(name)
            assert (record["primary"], record["secondary"]) == ("node2", "node3"), record
        assert cluster.violations() == []
        run = cluster.play("node_evacuate", node_name="node1")
        assert not run.ok and run.changed == 0 and "1 of 1 instances" in run.words, run.text
        run = cluster.play("node_migrate", node_name="node2")
        assert run.ok and cluster.instance(RUNS)["primary"] == "node3" and cluster.violations() == [], run.text
        intact(cluster, watch, RUNS)
    finally:
        watch.close()


def test_a_drained_node_takes_nothing(clean, guest):
    cluster = clean
    run = cluster.play("node_modify", node_name="node3", drained=True)
    assert run.ok and run.changed == 1, run.text
    try:
        run = cluster.play("node_modify", node_name="node3", drained=True)
        assert run.ok and run.changed == 0, run.text
        refused(cluster.play("node_modify", node_name="node3", offline=True), "it is alive")
        guest(RUNS, primary="node1", secondary="node2")
        add(cluster, RUNS)
        run = cluster.play("node_evacuate", node_name="node2", evacuate="secondary")
        assert not run.ok and "node3: is drained" in run.words, run.text
        assert cluster.instance(RUNS)["secondary"] == "node2" and cluster.violations() == []
    finally:
        run = cluster.play("node_modify", node_name="node3", drained=False)
        assert run.ok, run.text


def test_a_lost_node_is_failed_over_and_comes_back(clean, guest):
    cluster = clean
    guest(RUNS, primary="node1", secondary="node2")
    guest(STOPPED, primary="node1", secondary="node3")
    add(cluster, RUNS, STOPPED)
    refused(cluster.play("node_failover", node_name="node1"), "is not dead")
    run = cluster.play("node_power", power="status")
    assert run.ok and run.changed == 0, run.text
    watch = cluster.watch(RUNS)
    try:
        watch.wait_beyond(10)
        cluster.power_off("node1")
        cluster.degraded.update((RUNS, STOPPED))
        last = watch.last
        run = cluster.play("node_failover", node_name="node1")
        assert run.ok and run.changed > 0 and cluster.violations() == [], run.text
        assert (cluster.instance(RUNS)["primary"], cluster.instance(STOPPED)["primary"]) == ("node2", "node3")
        assert node(cluster, "node1")["offline"] is True
        watch.wait_beyond(last)
        run = cluster.play("node_failover", node_name="node1")
        assert run.ok and run.changed == 0, run.text
        cluster.power_on("node1")
        refused(cluster.play("node_modify", node_name="node1", offline=False), "stays offline")
        run = cluster.play("node_readd", node_name="node1")
        assert run.ok, run.text
        cluster.degraded.clear()
        assert cluster.violations() == [] and node(cluster, "node1")["offline"] is False
        run = cluster.play("node_readd", node_name="node1")
        assert run.ok and run.changed == 0, run.text
        intact(cluster, watch, RUNS)
    finally:
        watch.close()


def test_a_node_is_rebooted_while_its_guest_counts(clean, guest):
    cluster = clean
    guest(RUNS, primary="node1", secondary="node2")
    add(cluster, RUNS)
    boot = cluster.ssh("node1", "cat /proc/sys/kernel/random/boot_id")
    watch = cluster.watch(RUNS)
    try:
        watch.wait_beyond(5)
        cluster.ssh("node2", "drbdadm disconnect %s-disk0" % RUNS)
        refused(cluster.play("node_rolling_reboot", node_name="node1", hold=5), "the cluster is not whole")
        run = cluster.play("instance_repair", RUNS)
        assert run.ok, run.text
        cluster.wait_redundant("node1", RUNS + "-disk0")
        run = cluster.play("node_rolling_reboot", node_name="node1", hold=5)
        assert run.ok, run.text
        assert cluster.ssh("node1", "cat /proc/sys/kernel/random/boot_id") != boot
        assert cluster.instance(RUNS)["primary"] == "node2" and cluster.violations() == []
        intact(cluster, watch, RUNS)
    finally:
        watch.close()


def test_a_node_s_group_stays_when_it_is_added_again(clean):
    cluster = clean
    run = cluster.play("node_modify", node_name="node3", group="rack2")
    assert run.ok and run.changed == 1, run.text
    try:
        run = cluster.play("node_add", "node3")
        assert run.ok and run.changed == 0 and node(cluster, "node3")["group"] == "rack2", run.text
    finally:
        run = cluster.play("node_modify", node_name="node3", group="default")
        assert run.ok, run.text
