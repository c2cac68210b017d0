# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies made anew while the guest counts; a split brain made on purpose; repair of what was left by hand."""

from __future__ import annotations

import pytest

from lab.driver import refused

NAME = "disks1.example.com"
RESOURCE = NAME + "-disk0"


@pytest.fixture(name="counting")
def _counting(clean, guest):
    """A guest that counts on node1, mirrored to node2, and who watches it. No number may be lost, whatever is done."""
    guest(NAME, primary="node1", secondary="node2")
    run = clean.play("instance_add", NAME)
    assert run.ok, run.text
    watch = clean.watch(NAME)
    try:
        watch.wait_beyond(5)
        yield clean, watch
        watch.wait_beyond(watch.last)
        record = clean.instance(NAME)
        minor = record["disks"][0]["nodes"][record["primary"]]["minor"]
        fine, text = watch.verdict("/dev/drbd%d" % minor, record["primary"], clean.folder)
        assert fine, text
    finally:
        watch.close()


def again(cluster, verb, **options):
    """The same command changes nothing."""
    run = cluster.play(verb, NAME, **options)
    assert run.ok and run.changed == 0, run.text


def test_copies_are_replaced_while_the_guest_counts(counting):
    cluster, watch = counting
    # the mirror goes to another node
    before = cluster.snapshot()
    run = cluster.play("instance_replace_disks", NAME, check=True, new_secondary="node3")
    assert run.ok and run.changed > 0 and cluster.snapshot() == before, run.text
    run = cluster.play("instance_replace_disks", NAME, new_secondary="node3")
    assert run.ok and cluster.violations() == [], run.text
    assert cluster.instance(NAME)["secondary"] == "node3"
    again(cluster, "instance_replace_disks", new_secondary="node3")
    # the primary's disk fails under the guest, which goes on from its peer; its copy is made anew
    watch.wait_beyond(watch.last)
    cluster.ssh("node1", "drbdadm detach --force %s" % RESOURCE)
    watch.wait_beyond(watch.last)
    run = cluster.play("instance_info", NAME)
    assert run.ok and "DISKLESS" in run.text, run.text
    refused(cluster.play("instance_migrate", NAME), "DISKLESS")
    run = cluster.play("instance_replace_disks", NAME)
    assert run.ok and cluster.violations() == [], run.text
    again(cluster, "instance_replace_disks")
    # a healthy copy only when asked for
    again(cluster, "instance_replace_disks", replace_side="secondary")
    run = cluster.play("instance_replace_disks", NAME, replace_side="secondary", force=True)
    assert run.ok and run.changed > 0 and cluster.violations() == [], run.text


def test_a_split_brain_is_shown_and_mended_by_the_named_victim(counting):
    cluster, watch = counting
    cluster.lab("link", "node2", "cluster", "off")
    try:
        watch.wait_beyond(watch.last + 20)
        # the other copy is written to as well: nothing of ours would do that
        cluster.ssh("node2", "drbdadm disconnect --force {0}; drbdadm primary --force {0} && dd if=/dev/urandom oflag=direct "
                    "of=/dev/drbd/by-res/{0}/0 bs=4096 count=1 seek=2000 && udevadm settle && drbdadm secondary {0}".format(RESOURCE))
    finally:
        cluster.lab("link", "node2", "cluster", "on")
    cluster.ssh("node2", "for i in $(seq 30); do ip -br a | grep -q 10.77.0.12 && break; sleep 1; done; drbdadm connect %s" % RESOURCE)
    cluster.ssh("node1", "for i in $(seq 60); do drbdadm cstate %s | grep -q StandAlone && exit 0; sleep 1; done; exit 1" % RESOURCE)
    run = cluster.play("instance_info", NAME)
    assert run.ok and "SPLIT-BRAIN" in run.text, run.text
    refused(cluster.play("instance_migrate", NAME), "SPLIT-BRAIN")
    # never by itself, and with both sides' evidence
    refused(cluster.play("instance_repair", NAME), "split brain", "gantry_victim_node", "node1: ", "node2: ", "generations")
    refused(cluster.play("instance_repair", NAME, victim_node="node1"), "node1, whose copy shall be given up")
    run = cluster.play("instance_repair", NAME, victim_node="node2")
    assert run.ok, run.text
    found = cluster.violations()
    assert found and all("aside" in line for line in found), found
    # the victim's old copy is there until it is dropped
    run = cluster.play("instance_replace_disks", NAME, drop_aside=True)
    assert run.ok and cluster.violations() == [], run.text


def test_what_was_done_by_hand_is_repaired(counting):
    cluster, _watch = counting
    cluster.ssh("node1", "drbdadm net-options --protocol=C --allow-two-primaries=yes %s" % RESOURCE)
    cluster.ssh("node2", "drbdadm down %s" % RESOURCE)
    assert cluster.violations()
    run = cluster.play("instance_repair", NAME)
    assert run.ok and run.changed > 0, run.text
    cluster.wait_redundant("node1", RESOURCE)
    assert cluster.violations() == []
    again(cluster, "instance_repair")


def test_disks_down_and_up(clean, guest):
    cluster = clean
    guest(NAME, start=False, primary="node1", secondary="node2")
    assert cluster.play("instance_add", NAME).ok
    run = cluster.play("instance_deactivate_disks", NAME)
    assert run.ok and run.changed > 0, run.text
    again(cluster, "instance_deactivate_disks")
    assert RESOURCE not in cluster.states()["node1"].drbd
    run = cluster.play("instance_activate_disks", NAME)
    assert run.ok and run.changed > 0 and cluster.violations() == [], run.text
    again(cluster, "instance_activate_disks")
    # every copy lost
    assert cluster.play("instance_deactivate_disks", NAME).ok
    for node in ("node1", "node2"):
        cluster.ssh(node, "lvremove -qy gantry/{0} gantry/{0}-meta".format(RESOURCE))
    run = cluster.play("instance_recreate_disks", NAME)
    assert run.ok and run.changed > 0, run.text
    cluster.wait_redundant("node1", RESOURCE)
    assert cluster.violations() == []
    again(cluster, "instance_recreate_disks")
