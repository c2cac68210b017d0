# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One guest through every verb; after every step the audit, after every verb the same verb again."""

from __future__ import annotations

import re

import pytest

from lab.driver import refused

NAME = "web1.example.com"


#: What is changed while it runs.
CHANGED = {"memory": "48MiB", "vcpus": 2, "hvparams": {"rng": True}}


def defined(cluster, node):
    """Memory (KiB) and processors of its definition on a node."""
    text = cluster.ssh(node, "virsh dumpxml --inactive %s" % NAME)
    return tuple(int(re.search(r"<%s\b[^>]*>(\d+)</" % tag, text).group(1)) for tag in ("memory", "vcpu"))


def again(cluster, verb, limit, **options):
    """The same command changes nothing."""
    run = cluster.play(verb, limit, **options)
    assert run.ok and run.changed == 0, run.text


@pytest.fixture(name="web1")
def _web1(clean, guest):
    guest(NAME, primary="node1", secondary="node2")
    return clean


def test_every_verb(web1, counted):
    cluster = web1
    before = cluster.snapshot()
    run = cluster.play("instance_add", NAME, check=True)
    assert run.ok and run.changed > 0 and "create volume gantry/web1.example.com-disk0" in run.text, run.text
    assert cluster.snapshot() == before, "check mode changed something"

    run = cluster.play("instance_add", NAME, count=True)
    assert run.ok and run.changed > 0, run.text
    counted("instance_add (drbd, nodes named)", run.calls, 8)
    assert cluster.violations() == []
    again(cluster, "instance_add", NAME)

    watch = cluster.watch(NAME)
    try:
        watch.wait_beyond(10)
        run = cluster.play("instance_info", NAME, count=True)
        assert run.ok and "running" in run.text and "REDUNDANT" in run.text, run.text
        counted("instance_info", run.calls, 3)

        refused(cluster.play("instance_modify", NAME, hvparams={"firmware": "efi"}), "firmware cannot be changed")
        before = cluster.snapshot()
        run = cluster.play("instance_modify", NAME, check=True, **CHANGED)
        assert run.ok and run.changed > 0 and "%s memory 32 MiB 48 MiB" % NAME in run.words, run.text
        assert cluster.snapshot() == before, "check mode changed something"
        run = cluster.play("instance_modify", NAME, count=True, **CHANGED)
        assert run.ok and run.changed > 0 and "For its next start (instance_reboot) wait" in run.words, run.text
        counted("instance_modify (it grows)", run.calls, 4)
        assert cluster.violations() == [] and defined(cluster, "node1") == (32 * 1024, 1), "it was changed while it ran"
        again(cluster, "instance_modify", NAME, **CHANGED)

        run = cluster.play("instance_migrate", NAME, check=True, target_node="node2")
        assert run.ok and run.changed > 0, run.text
        assert cluster.violations() == [] and cluster.instance(NAME)["primary"] == "node1"
        run = cluster.play("instance_migrate", NAME, count=True, target_node="node2")
        assert run.ok and run.changed > 0, run.text
        counted("instance_migrate", run.calls, 6)
        assert cluster.violations() == [] and cluster.instance(NAME)["primary"] == "node2"
        again(cluster, "instance_migrate", NAME, target_node="node2")
        watch.wait_beyond(watch.last)
        run = cluster.play("instance_info", NAME)
        assert run.ok and "settings wait for the next start" in run.words, "what waits was lost on the way: " + run.text

        run = cluster.play("instance_reboot", NAME)
        assert run.ok and cluster.violations() == [] and defined(cluster, "node2") == (48 * 1024, 2), run.text
        watch.wait_beyond(watch.last)

        run = cluster.play("instance_stop", NAME, count=True)
        assert run.ok and run.changed > 0, run.text
        counted("instance_stop", run.calls, 2)
        assert cluster.violations() == []
        again(cluster, "instance_stop", NAME)
        # as its inventory declares it, which says nothing of a second processor
        run = cluster.play("instance_modify", NAME)
        assert run.ok and run.changed > 0 and cluster.violations() == [] and defined(cluster, "node2") == (32 * 1024, 2), run.text

        run = cluster.play("instance_start", NAME, count=True)
        assert run.ok and run.changed > 0, run.text
        counted("instance_start", run.calls, 2)
        assert cluster.violations() == []
        again(cluster, "instance_start", NAME)
        watch.wait_beyond(watch.last)

        run = cluster.play("instance_failover", NAME, count=True, target_node="node1")
        assert run.ok and run.changed > 0, run.text
        counted("instance_failover (planned)", run.calls, 5)
        assert cluster.violations() == [] and cluster.instance(NAME)["primary"] == "node1"
        again(cluster, "instance_failover", NAME, target_node="node1")
        watch.wait_beyond(watch.last)
        fine, text = watch.verdict(device(cluster), "node1", cluster.folder)
        assert fine, text
    finally:
        watch.close()

    before = cluster.snapshot()
    run = cluster.play("instance_remove", NAME, check=True)
    assert run.ok and run.changed > 0 and "remove volume gantry/web1.example.com-disk0" in run.text, run.text
    assert cluster.snapshot() == before, "check mode changed something"
    run = cluster.play("instance_remove", NAME, count=True)
    assert run.ok and run.changed > 0, run.text
    counted("instance_remove", run.calls, 6)
    assert cluster.violations() == [] and cluster.instance(NAME) is None
    again(cluster, "instance_remove", NAME)


def device(cluster, name=NAME):
    """The guest's disk on its nodes."""
    return "/dev/drbd%d" % cluster.instance(name)["disks"][0]["nodes"]["node1"]["minor"]
