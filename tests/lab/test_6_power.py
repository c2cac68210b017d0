# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real power cuts and cut links: only what is proven dead is failed over, and nothing acknowledged is lost."""

from __future__ import annotations

NAME = "power1.example.com"


def returned(cluster, name):
    """Bring a dead node's copy back to redundancy."""
    run = cluster.play("instance_start", name)
    assert run.ok, run.text
    record = cluster.instance(name)
    cluster.wait_redundant(record["primary"], name + "-disk0")
    cluster.degraded.discard(name)


def test_unreachable_dead_and_returned(clean, guest, counted):
    cluster = clean
    guest(NAME, primary="node1", secondary="node2")
    assert cluster.play("instance_add", NAME).ok
    only_unreachable_is_not_dead(cluster)
    watch = cluster.watch(NAME)
    try:
        # the fence device proves the node off
        watch.wait_beyond(10)
        cluster.power_off("node1")
        cluster.degraded.add(NAME)
        last = watch.last
        run = cluster.play("instance_failover", NAME, count=True)
        assert run.ok and run.changed > 0, run.text
        counted("instance_failover (dead primary, fenced)", run.calls, 5)
        assert cluster.violations() == [] and cluster.instance(NAME)["primary"] == "node2"
        watch.wait_beyond(last)
        run = cluster.play("instance_failover", NAME, dead_node="node1")
        assert run.ok and run.changed == 0, run.text
        minor = cluster.instance(NAME)["disks"][0]["nodes"]["node2"]["minor"]
        fine, text = watch.verdict("/dev/drbd%d" % minor, "node2", cluster.folder)
        assert fine, text
        cluster.power_on("node1")
        returned(cluster, NAME)
        assert cluster.violations() == []

        # the operator names the dead node
        last = watch.last
        cluster.power_off("node2")
        cluster.degraded.add(NAME)
        run = cluster.play("instance_failover", NAME, dead_node="node2", fence=[])
        assert run.ok and run.changed > 0 and cluster.violations() == [], run.text
        assert cluster.instance(NAME)["primary"] == "node1"
        cluster.power_on("node2")
        returned(cluster, NAME)
        assert cluster.violations() == []
    finally:
        watch.close()


def only_unreachable_is_not_dead(cluster):
    """Neither silence nor the operator's word moves a guest whose node still replicates."""
    cluster.lab("link", "node1", "control", "off")
    try:
        run = cluster.play("instance_failover", NAME, fence=[])
        assert not run.ok and "only unreachable" in run.words and "gantry_dead_node=node1" in run.words, run.text
        run = cluster.play("instance_failover", NAME, dead_node="node1", fence=[])
        assert not run.ok and "is not dead" in run.words, run.text
    finally:
        cluster.lab("link", "node1", "control", "on")
    cluster.ssh("node1", "true")
    assert cluster.violations() == []
