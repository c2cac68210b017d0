# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TPM of a guest goes where the guest goes: by a migration as by a failover, it stays the same one, and both copies are the same.

Which TPM it is, the TPM itself is asked, on a copy of its disk: no other has its endorsement key. What the guest runs is the
firmware, which measures into the TPM, and the test guest, which has no use for it.
"""

from __future__ import annotations

import re

import pytest

from lab import tpm

NAME = "tpm.example.com"
SIZE = 4 * 1024 * 1024


def disk(cluster):
    """The disk that holds the TPM's state, as the record has it."""
    return next(disk for disk in cluster.instance(NAME)["disks"] if disk.get("purpose") == "tpm")


def identity(cluster, node):
    """The TPM as a node sees it. swtpm writes through the node's page cache, so it is read through it."""
    return tpm.identity(cluster.read(node, "dd if=/dev/drbd%d bs=1M status=none" % disk(cluster)["nodes"][node]["minor"]))


def emulators(cluster, node):
    """The processes of swtpm on a node."""
    return cluster.read(node, "pgrep -x swtpm || true").split()


def runs_on(cluster, node, other):
    """The guest's swtpm is where the guest is, and nowhere else; QEMU speaks to it."""
    assert len(emulators(cluster, node)) == 1 and emulators(cluster, other) == []
    uuid = cluster.instance(NAME)["uuid"]
    owner, mode = cluster.read(node, "stat -c '%%U %%a' /run/gantry-tpm/%s.sock" % uuid).split()
    assert owner != b"root" and mode == b"600"
    assert cluster.read(other, "ls /run/gantry-tpm/%s.sock 2>/dev/null || true" % uuid) == b""


@pytest.mark.flavour("kvm")
def test_the_tpm_goes_where_the_guest_goes(clean, guest):
    cluster = clean
    guest(NAME, primary="node1", secondary="node2", hvparams={"tpm": "2.0"})
    run = cluster.play("instance_add", NAME)
    assert run.ok and cluster.violations() == [], run.text
    try:
        runs_on(cluster, "node1", "node2")
        first = identity(cluster, "node1")
        cluster.wait_redundant("node1", disk(cluster)["name"])
        run = cluster.play("instance_migrate", NAME, target_node="node2")
        assert run.ok and cluster.violations() == [], run.text
        runs_on(cluster, "node2", "node1")
        assert identity(cluster, "node2") == first
        run = cluster.play("instance_failover", NAME, target_node="node1", force=True)
        assert run.ok and cluster.violations() == [], run.text
        runs_on(cluster, "node1", "node2")
        assert identity(cluster, "node1") == first
        # the definition is no other than the wanted one, and what a healthy cluster has is no finding
        run = cluster.play("instance_start", NAME)
        assert run.ok and run.changed == 0 and cluster.violations() == [], run.text
        run = cluster.play("cluster_verify", output="text")
        assert not re.search(r"\b(ERROR|WARNING):\S*" + re.escape(NAME), run.text), run.text
    finally:
        run = cluster.play("instance_stop", NAME, shutdown_timeout=60, force=True)
    assert run.ok and cluster.violations() == [], run.text
    assert emulators(cluster, "node1") == emulators(cluster, "node2") == []
    here, there = (cluster.disk(node, "/dev/gantry/" + disk(cluster)["name"], SIZE) for node in ("node1", "node2"))
    assert here == there, "the two copies differ"
    assert tpm.identity(here) == first
