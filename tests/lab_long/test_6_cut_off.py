# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failover from a dead node whose controller dies too, once the guest runs on its new node and the record does not say so yet."""

from __future__ import annotations

NAME = "cut-off.example.com"


def test_a_failover_from_a_dead_node_is_finished(clean, guest):
    cluster = clean
    guest(NAME, primary="node1", secondary="node2")
    run = cluster.play("instance_add", NAME)
    assert run.ok, run.text
    watch = cluster.watch(NAME)
    try:
        watch.wait_beyond(5)
        cluster.power_off("node1")
        cluster.degraded.add(NAME)
        last = watch.last
        assert cluster.play_killed("instance_failover", NAME, "changed: [%s -> node2" % NAME)
        assert cluster.instance(NAME)["primary"] == "node1"
        assert cluster.states()["node2"].domains[NAME]["state"] == "running"
        run = cluster.play("instance_failover", NAME)
        assert run.ok and run.changed > 0 and cluster.violations() == [], run.text
        assert cluster.instance(NAME)["primary"] == "node2"
        watch.wait_beyond(last)
        # without the dead node's name it would be the way back
        run = cluster.play("instance_failover", NAME, dead_node="node1")
        assert run.ok and run.changed == 0, run.text
        cluster.power_on("node1")
        run = cluster.play("instance_repair", NAME)
        assert run.ok, run.text
        cluster.wait_redundant("node2", NAME + "-disk0")
        cluster.degraded.discard(NAME)
        assert cluster.violations() == []
        disk = cluster.instance(NAME)["disks"][0]
        fine, text = watch.verdict("/dev/drbd%d" % disk["nodes"]["node2"]["minor"], "node2", cluster.folder)
        assert fine, text
    finally:
        watch.close()
