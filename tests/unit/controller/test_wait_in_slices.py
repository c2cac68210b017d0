# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A long synchronisation is waited for in slices, and no longer than it is of use."""

from __future__ import annotations

import types

import pytest
from ansible_collections.gantry.cluster.plugins.action.instance_disks import SLICE, ActionModule
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep

DISK = {"index": 0, "replication": "SyncSource", "connection": "Connected", "sync_percent": 40.0, "out_of_sync_kib": 2048}
SYNCING = {"changed": False, "disks": [DISK], "synced": False, "stuck": None}
SYNCED = {"changed": False, "disks": [dict(DISK, sync_percent=100.0)], "synced": True, "stuck": None}
STUCK = {"changed": False, "disks": [DISK], "synced": False, "stuck": "disk 0 on node node1: the other node's disk is gone (Diskless)"}


@pytest.fixture(name="step")
def _step(monkeypatch):
    """Runs the step with what its module answers, call by call; returns the result, the calls and what was told."""
    def run(*answers):
        left, calls, told = list(answers), [], []

        def on_node(_self, arguments):
            calls.append(arguments)
            return left.pop(0)

        monkeypatch.setattr(NodeStep, "on_node", on_node)
        monkeypatch.setattr(ActionModule, "check_mode", False)
        action = ActionModule.__new__(ActionModule)
        action._display = types.SimpleNamespace(display=told.append)
        result = action.on_node({"name": "web1", "state": "present", "renew": True, "wait_sync": 14400})
        assert not left
        return result, calls, told

    return run


def test_until_the_copies_are_the_same(step):
    """The first answer says what was changed, the last one how it ended; what follows the first only waits."""
    result, calls, told = step(dict(SYNCING, changed=True), SYNCING, SYNCED)
    assert result["changed"] and result["synced"] and result["disks"] == SYNCED["disks"] and len(told) == 2
    assert [call["wait_sync"] for call in calls] == [SLICE] * 3
    assert "renew" in calls[0] and not any("renew" in call or "state" in call for call in calls[1:])


@pytest.mark.parametrize("before", [[], [dict(SYNCING, changed=True)]])
def test_what_cannot_be_is_not_waited_for(step, before):
    result, calls, _told = step(*before, STUCK)
    assert result["stuck"] == STUCK["stuck"] and result["synced"] is False and len(calls) == len(before) + 1
    assert result["changed"] is bool(before)
