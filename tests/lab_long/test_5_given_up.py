# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller is killed with SIGKILL in mid-verb, and another verb is the way out."""

from __future__ import annotations


def test_add_killed_and_given_up(clean, guest):
    name = guest("killed1.example.com", primary="node1", secondary="node2")
    assert clean.play_killed("instance_add", name, "Create the disks on the primary", 2.0)
    run = clean.play("instance_remove", name)
    assert run.ok and clean.instance(name) is None and clean.violations() == [], run.text
