# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of a UEFI guest go where the guest goes: by a migration as by a failover, and both copies are the same.

No system is started: the firmware itself writes variables when it first comes up, and one more is planted before that.
"""

from __future__ import annotations

import time

import pytest

from lab import uefi

NAME = "uefi.example.com"
CODE, VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
#: The variables that the guest begins with.
START = "/srv/images/uefi-vars.fd"
OWNER, PLANTED, VALUE = "5a1f6e0c-6f3b-4c53-9d0e-6b7f1f0c9a11", "GantryLab", b"goes where the guest goes"

#: Seconds that the firmware may need under two emulators until it has written its first variables, and between two looks at them.
PATIENCE, PAUSE = 1800, 20


def store(cluster, node):
    """The guest's variables as a node sees them. QEMU writes them through the node's page cache, so they are read through it."""
    disk = next(disk for disk in cluster.instance(NAME)["disks"] if disk.get("purpose") == "nvram")
    return uefi.variables(cluster.read(node, "dd if=/dev/drbd%d bs=1M status=none" % disk["nodes"][node]["minor"]))


def settled(cluster, node):
    """The variables once the firmware has added its own and writes no more."""
    deadline, before = time.monotonic() + PATIENCE, {}
    while True:
        found = store(cluster, node)
        assert found.get((OWNER, PLANTED)) == VALUE, sorted(found)
        if len(found) > 1 and found == before:
            return found
        assert time.monotonic() < deadline, "the firmware wrote no variables: %s" % sorted(found)
        before = found
        time.sleep(PAUSE)


def kept(cluster, node, before):
    """What was there before a move is there after it."""
    found = store(cluster, node)
    assert found.get((OWNER, PLANTED)) == VALUE and set(before) <= set(found), (sorted(before), sorted(found))
    return found


@pytest.mark.flavour("kvm")
def test_the_variables_go_where_the_guest_goes(clean, guest):
    cluster = clean
    start = cluster.folder / "uefi-vars.fd"
    start.write_bytes(uefi.planted(cluster.read("node1", "cat " + VARS), OWNER, PLANTED, VALUE))
    for node in cluster.nodes:
        cluster.put(node, start, START)
    guest(NAME, primary="node1", secondary="node2", memory="128MiB",
          hvparams={"firmware": "efi", "firmware_code": CODE, "firmware_vars": START})
    run = cluster.play("instance_add", NAME)
    assert run.ok and cluster.violations() == [], run.text
    try:
        before = settled(cluster, "node1")
        run = cluster.play("instance_migrate", NAME, target_node="node2")
        assert run.ok and cluster.violations() == [], run.text
        before = kept(cluster, "node2", before)
        # the firmware has nothing to start, and does not hear the power button
        run = cluster.play("instance_failover", NAME, target_node="node1", shutdown_timeout=1, force=True)
        assert run.ok and cluster.violations() == [], run.text
        kept(cluster, "node1", before)
    finally:
        run = cluster.play("instance_stop", NAME, shutdown_timeout=1, force=True)
    assert run.ok and cluster.violations() == [], run.text
    name = next(disk["name"] for disk in cluster.instance(NAME)["disks"] if disk.get("purpose") == "nvram")
    here, there = (cluster.disk(node, "/dev/gantry/" + name, 4 * 1024 * 1024) for node in ("node1", "node2"))
    assert here == there, "the two copies differ"
    assert uefi.variables(here)[OWNER, PLANTED] == VALUE
