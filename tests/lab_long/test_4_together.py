# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several guests in one run."""

from __future__ import annotations

NAMES = ["many%d.example.com" % number for number in (1, 2, 3)]


def test_three_guests_made_and_migrated_at_once(clean, guest):
    for name in NAMES:
        guest(name, primary="node1", secondary="node2")
    limit = ",".join(NAMES)
    run = clean.play("instance_add", limit, forks=10)
    assert run.ok and clean.violations() == [], run.text
    numbers = [clean.instance(name)["disks"][0]["port"] for name in NAMES]
    assert len(set(numbers)) == 3
    watches = {name: clean.watch(name) for name in NAMES}
    try:
        for watch in watches.values():
            watch.wait_beyond(5)
        run = clean.play("instance_migrate", "gantry_primary_node1", forks=10, target_node="node2")
        assert run.ok and clean.violations() == [], run.text
        assert {clean.instance(name)["primary"] for name in NAMES} == {"node2"}
        for name, watch in watches.items():
            watch.wait_beyond(watch.last)
            minor = clean.instance(name)["disks"][0]["nodes"]["node2"]["minor"]
            fine, text = watch.verdict("/dev/drbd%d" % minor, "node2", clean.folder)
            assert fine, text
    finally:
        for watch in watches.values():
            watch.close()
