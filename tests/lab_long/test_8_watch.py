# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watcher with real crashes: a killed QEMU, a guest that switched itself off, rebooted nodes, a dead one."""

from __future__ import annotations

import time

import pytest

NAME = "watched1.example.com"
RESOURCE = NAME + "-disk0"


@pytest.fixture(name="watched")
def _watched(clean, guest):
    """A running, redundant guest on node1, and a watcher that has seen it."""
    guest(NAME, primary="node1", secondary="node2")
    run = clean.play("instance_add", NAME)
    assert run.ok, run.text
    run = clean.play("cluster_watch")
    assert run.ok, run.text
    return clean


def state(cluster, node="node1"):
    """What libvirt says of the guest there."""
    return cluster.ssh(node, "virsh domstate --reason %s" % NAME).strip()


def wait_off(cluster, reason, node="node1"):
    """Wait until it is off for that reason."""
    for _try in range(120):
        if state(cluster, node) == "shut off (%s)" % reason:
            return
        time.sleep(1)
    raise AssertionError("it is %s, not off (%s)" % (state(cluster, node), reason))


def kill(cluster, node="node1"):
    """Kill its QEMU."""
    cluster.ssh(node, "kill -9 $(cat /run/libvirt/qemu/%s.pid)" % NAME)
    wait_off(cluster, "crashed", node)


def at_rest(cluster):
    """What the cluster shows once the call on a node has ended whose controller was killed."""
    seen = None
    for _look in range(20):
        seen, before = cluster.snapshot(), seen
        if seen == before:
            return seen
        time.sleep(3)
    raise AssertionError("it does not come to rest")


def quiet(cluster):
    """One more run finds nothing to do and changes nothing."""
    run = cluster.play("cluster_watch")
    assert run.ok and run.changed == 0 and "All is as it should be" in run.text, run.text


def test_a_healthy_cluster_is_left_alone(watched, counted):
    run = watched.play("cluster_watch", count=True)
    assert run.ok and run.changed == 0 and "All is as it should be" in run.text, run.text
    counted("cluster_watch, nothing to do, 3 nodes", run.calls, 3)


def test_a_killed_guest_is_restarted(watched):
    watch = watched.watch(NAME)
    try:
        watch.wait_beyond(5)
        kill(watched)
        before = watched.snapshot()
        run = watched.play("cluster_watch", check=True)
        assert run.ok and "start: predicted" in run.text and watched.snapshot() == before, run.text
        last = watch.last
        run = watched.play("cluster_watch")
        assert run.ok and run.changed > 0 and "start: done" in run.text and "its QEMU process died" in run.text, run.text
        assert watched.violations() == []
        watch.wait_beyond(last)
        quiet(watched)
        # the second crash within five minutes waits
        kill(watched)
        run = watched.play("cluster_watch")
        assert run.ok and "was tried once" in run.text and state(watched) == "shut off (crashed)", run.text
        run = watched.play("cluster_watch", watch_backoff=0)
        assert run.ok and "start: done" in run.text and watched.violations() == [], run.text
        # no third one, as told
        kill(watched)
        run = watched.play("cluster_watch", watch_backoff=0, watch_tries=2)
        assert run.ok and "given up after 2 tries" in run.text and state(watched) == "shut off (crashed)", run.text
        # an operator's start makes it count anew
        assert watched.play("instance_start", NAME).ok
        kill(watched)
        run = watched.play("cluster_watch", watch_tries=2)
        assert run.ok and "start: done" in run.text and watched.violations() == [], run.text
    finally:
        watch.close()


def test_a_guest_that_switched_itself_off_stays_off(watched):
    watched.ssh("node1", "virsh shutdown %s" % NAME)
    wait_off(watched, "shutdown")
    for _run in range(2):
        run = watched.play("cluster_watch")
        assert run.ok and "switched itself off" in run.text and state(watched) == "shut off (shutdown)", run.text
    # libvirtd forgets why; the watcher does not
    watched.ssh("node1", "systemctl restart libvirtd")
    wait_off(watched, "unknown")
    run = watched.play("cluster_watch")
    assert run.ok and "switched itself off" in run.text and state(watched) == "shut off (unknown)", run.text
    assert watched.instance(NAME)["admin_state"] == "up"
    run = watched.play("cluster_watch", watch_user_shutdown="restart")
    assert run.ok and "start: done" in run.text and watched.violations() == [], run.text


def test_disks_come_up_after_the_secondary_was_rebooted(watched):
    watched.power_off("node2")
    run = watched.play("cluster_watch")
    assert run.ok and "node2" in run.text and "does not answer" in run.text and state(watched).startswith("running"), run.text
    watched.power_on("node2")
    run = watched.play("cluster_watch")
    assert run.ok and "activate: done" in run.text and "was rebooted" in run.text, run.text
    watched.wait_redundant("node1", RESOURCE)
    assert watched.violations() == []
    run = watched.play("cluster_watch")
    assert run.ok and run.changed == 0, run.text


def test_a_guest_comes_back_with_its_rebooted_node(watched):
    watched.power_off("node1")
    run = watched.play("cluster_watch")
    assert run.ok and "gantry_watch_failover is false" in run.text, run.text
    watched.power_on("node1")
    run = watched.play("cluster_watch")
    assert run.ok and "start: done" in run.text and "was rebooted" in run.text, run.text
    watched.wait_redundant("node1", RESOURCE)
    assert watched.violations() == []


def test_failover_from_a_dead_node(watched):
    watch = watched.watch(NAME)
    try:
        watch.wait_beyond(5)
        watched.power_off("node1")
        watched.degraded.add(NAME)
        last = watch.last
        run = watched.play("cluster_watch", watch_failover=True, watch_unreachable_runs=2)
        assert run.ok and watched.instance(NAME)["primary"] == "node1" and "1. run of 2" in run.text, run.text
        # runs within a minute count as one
        time.sleep(61)
        run = watched.play("cluster_watch", watch_failover=True, watch_unreachable_runs=2)
        assert run.ok and "failover: done" in run.text and watched.violations() == [], run.text
        assert watched.instance(NAME)["primary"] == "node2"
        watch.wait_beyond(last)
        watched.power_on("node1")
        run = watched.play("cluster_watch")
        assert run.ok and "activate: done" in run.text, run.text
        watched.wait_redundant("node2", RESOURCE)
        watched.degraded.discard(NAME)
        assert watched.violations() == []
    finally:
        watch.close()


def test_only_the_control_link_is_cut(watched):
    watched.lab("link", "node1", "control", "off")
    try:
        run = watched.play("cluster_watch", watch_failover=True, watch_unreachable_runs=1)
        assert run.ok and "so it lives" in run.text and watched.instance(NAME)["primary"] == "node1", run.text
    finally:
        watched.lab("link", "node1", "control", "on")
    watched.ssh("node1", "true")
    assert watched.violations() == []


def test_what_others_work_on_is_left_alone(watched):
    marker = "Allow both nodes to be primary, on the target"
    assert watched.play_killed("instance_migrate", NAME, marker, 1.5, target_node="node2")
    before = at_rest(watched)
    run = watched.play("cluster_watch")
    assert run.ok and "migrate was interrupted" in run.text and "instance_migrate" in run.text, run.text
    assert watched.snapshot() == before
    run = watched.play("instance_migrate", NAME)
    assert run.ok and watched.violations() == [], run.text


def test_it_rests_when_told(watched):
    assert watched.play("cluster_watch", watch_pause="1h").ok
    kill(watched)
    run = watched.play("cluster_watch")
    assert run.ok and run.changed == 0 and "rests until" in run.text and state(watched) == "shut off (crashed)", run.text
    assert watched.play("cluster_watch", watch_pause="off").ok
    run = watched.play("cluster_watch")
    assert run.ok and "start: done" in run.text and watched.violations() == [], run.text
