# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""More of the lifecycle: force, plain disks, a survey."""

from __future__ import annotations


def test_a_guest_that_does_not_listen_is_stopped_only_by_force(clean, guest):
    # without a bootable disk the firmware waits for ever and never hears the power button
    name = guest("deaf.example.com", primary="node1", disk_template="diskless", disks=[], image=None)
    assert clean.play("instance_add", name).ok
    run = clean.play("instance_stop", name, shutdown_timeout=5)
    assert not run.ok and "gantry_force=true" in run.text
    assert clean.violations() == [], "a refused stop leaves the guest running"
    run = clean.play("instance_stop", name, shutdown_timeout=5, force=True)
    assert run.ok and clean.violations() == [], run.text


def test_plain_from_a_survey_with_the_node_chosen(clean, guest, counted):
    name = "plain1.example.com"
    run = clean.play("instance_add", count=True, instance_name=name, memory="32MiB", disks="16MiB", vcpus="1",
                     disk_template="plain", tags="shop,test", image="/srv/images/test-guest.img")
    assert run.ok and run.changed > 0, run.text
    counted("instance_add (plain, node chosen)", run.calls, 8)
    assert clean.violations() == []
    record = clean.instance(name)
    assert record["tags"] == ["shop", "test"] and record["secondary"] is None
    guest(name)
    run = clean.play("instance_migrate", name)
    assert not run.ok and "drbd" in run.text and clean.violations() == []
