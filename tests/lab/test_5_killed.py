# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller is killed with SIGKILL in mid-verb; the same command again ends well, and the audit is clean."""

from __future__ import annotations

import pytest

# A sample of what script/test --crash tries everywhere.
ADD = [
    ("Create the disks on the primary", 2.5),
]
MIGRATE = ("Migrate the guest, read both nodes", 2.0)


@pytest.mark.parametrize(("marker", "delay"), ADD)
def test_add(clean, guest, marker, delay):
    name = guest("killed1.example.com", primary="node1", secondary="node2")
    assert clean.play_killed("instance_add", name, marker, delay)
    run = clean.play("instance_add", name)
    assert run.ok and clean.violations() == [], run.text
    watch = clean.watch(name)
    try:
        watch.wait_beyond(3)
    finally:
        watch.close()


def test_migrate(clean, guest):
    name = guest("killed2.example.com", primary="node1", secondary="node2")
    assert clean.play("instance_add", name).ok
    watch = clean.watch(name)
    try:
        watch.wait_beyond(watch.last)
        assert clean.play_killed("instance_migrate", name, *MIGRATE, target_node="node2")
        run = clean.play("instance_stop", name)
        assert not run.ok and "instance_migrate" in run.text and "interrupted" in run.text, run.text
        # where it was going is remembered
        run = clean.play("instance_migrate", name)
        assert run.ok and clean.violations() == [] and clean.instance(name)["primary"] == "node2", run.text
        watch.wait_beyond(watch.last)
        record = clean.instance(name)
        device = "/dev/drbd%d" % record["disks"][0]["nodes"]["node1"]["minor"]
        fine, text = watch.verdict(device, record["primary"], clean.folder)
        assert fine, text
    finally:
        watch.close()
