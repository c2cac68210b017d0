# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real power cuts and cut links: only what is proven dead is failed over, and nothing acknowledged is lost."""

from __future__ import annotations

import pytest

NAME = "power1.example.com"


@pytest.fixture(name="power1")
def _power1(clean, guest):
    guest(NAME, primary="node1", secondary="node2")
    assert clean.play("instance_add", NAME).ok
    return clean


def returned(cluster, name):
    """Bring a dead node's copy back to redundancy."""
    run = cluster.play("instance_start", name)
    assert run.ok, run.text
    record = cluster.instance(name)
    cluster.wait_redundant(record["primary"], name + "-disk0")
    cluster.degraded.discard(name)


def test_power_cut_fencing_and_return(power1, counted):
    cluster = power1
    watch = cluster.watch(NAME)
    try:
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
        fine, text = watch.verdict("/dev/drbd%d" % cluster.instance(NAME)["disks"][0]["nodes"]["node2"]["minor"], "node2", cluster.folder)
        assert fine, text

        cluster.power_on("node1")
        returned(cluster, NAME)
        assert cluster.violations() == []
        watch.wait_beyond(watch.last)
    finally:
        watch.close()


def test_only_unreachable_is_not_dead(power1):
    cluster = power1
    unfenced = {"fence": []}
    cluster.lab("link", "node1", "control", "off")
    try:
        run = cluster.play("instance_failover", NAME, **unfenced)
        assert not run.ok and "only unreachable" in run.text and "gantry_dead_node=node1" in run.text
        run = cluster.play("instance_failover", NAME, dead_node="node1", **unfenced)
        assert not run.ok and "is not dead" in run.text, "the replication link is up, so the operator is wrong"
    finally:
        cluster.lab("link", "node1", "control", "on")
    assert cluster.violations() == []


def test_the_operator_names_the_dead_node(power1):
    cluster = power1
    cluster.power_off("node1")
    cluster.degraded.add(NAME)
    run = cluster.play("instance_failover", NAME, dead_node="node1", fence=[])
    assert run.ok and run.changed > 0 and cluster.violations() == [], run.text
    assert cluster.instance(NAME)["primary"] == "node2"
    cluster.power_on("node1")
    returned(cluster, NAME)
