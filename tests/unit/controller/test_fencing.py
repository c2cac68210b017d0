# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fence agents: what is believed, with agents that are real programs."""

from __future__ import annotations

import pytest

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import fencing

AGENT = """#!/bin/sh
# A power switch with a memory: the file says on or off.
folder=%s
input=$(cat)
echo "$input" >> $folder/calls
case "$input" in
  *action=status*) [ "$(cat $folder/state)" = on ]; [ $? = 0 ] && exit 0; exit 2 ;;
  *action=off*) %s ;;
esac
"""


def make_agent(folder, off, state="on"):
    """An agent whose action off does what is given."""
    folder.mkdir(exist_ok=True)
    (folder / "state").write_text(state)
    path = folder / "agent"
    path.write_text(AGENT % (folder, off))
    path.chmod(0o755)
    return {"agent": str(path), "options": {"plug": "node1", "password": "hidden"}}


def test_off_is_proven(tmp_path):
    method = make_agent(tmp_path / "a", "echo off > $folder/state; exit 0")
    assert fencing.power_off("node1", [method], pause=0) == {"changed": True, "method": method["agent"], "tries": 1}
    assert "password=hidden" in (tmp_path / "a" / "calls").read_text()


def test_off_already_is_no_change(tmp_path):
    method = make_agent(tmp_path / "a", "exit 1", state="off")
    assert fencing.power_off("node1", [method], pause=0)["changed"] is False


def test_a_lying_agent_is_not_believed(tmp_path):
    method = make_agent(tmp_path / "a", "exit 0")
    with pytest.raises(GantryError) as refusal:
        fencing.power_off("node1", [method], pause=0)
    assert refusal.value.code == "fencing_failed"
    assert (tmp_path / "a" / "calls").read_text().count("action=off") == fencing.TRIES, "tries are bounded"


def test_the_second_method_is_tried(tmp_path):
    broken = {"agent": str(tmp_path / "missing"), "options": {}}
    good = make_agent(tmp_path / "b", "echo off > $folder/state; exit 0")
    assert fencing.power_off("node1", [broken, good], pause=0)["method"] == good["agent"]


def test_a_hanging_agent_ends(tmp_path):
    code, message = fencing.call(make_agent(tmp_path / "a", "sleep 20")["agent"], {}, "off", timeout=0.5)
    assert code == 124 and "no answer" in message
