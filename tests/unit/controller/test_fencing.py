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


def test_tries_and_timeout_are_the_method_s_own(tmp_path):
    lying = dict(make_agent(tmp_path / "a", "exit 0"), tries=1)
    hanging = dict(make_agent(tmp_path / "b", "sleep 20"), tries=1, timeout=1)
    with pytest.raises(GantryError) as refusal:
        fencing.power_off("node1", [lying, hanging], pause=0)
    assert (tmp_path / "a" / "calls").read_text().count("action=off") == 1
    assert "no answer within 1.0 s" in refusal.value.found


@pytest.mark.parametrize("key", ["tries", "timeout"])
def test_a_method_that_cannot_work_is_refused_before_any_is_used(tmp_path, key):
    good = make_agent(tmp_path / "a", "echo off > $folder/state; exit 0")
    with pytest.raises(GantryError) as refusal:
        fencing.power_off("node1", [good, dict(good, **{key: -1})], pause=0)
    assert refusal.value.code == "bad_fence_method" and not (tmp_path / "a" / "calls").exists()


def test_the_operator_s_word_is_the_last_method(tmp_path):
    broken = {"agent": str(tmp_path / "missing"), "options": {}, "tries": 1}
    manual = {"agent": "manual", "options": {}}
    with pytest.raises(GantryError) as refusal:
        fencing.power_off("node1", [broken, manual], pause=0)
    assert "the operator has not said" in refusal.value.found
    proof = fencing.power_off("node1", [broken, manual], pause=0, confirmed=True)
    assert proof == {"changed": False, "method": "manual", "tries": 0}
    with pytest.raises(GantryError):
        fencing.power_off("node1", [broken], pause=0, confirmed=True)


def test_no_secret_in_a_message(tmp_path):
    method = dict(make_agent(tmp_path / "a", 'echo "login with hidden failed"; exit 1'), tries=1)
    with pytest.raises(GantryError) as refusal:
        fencing.power_off("node1", [method], pause=0)
    assert "hidden" not in str(refusal.value) and "login with ******** failed" in str(refusal.value)


def test_on_is_read_back_too(tmp_path):
    method = make_agent(tmp_path / "a", "exit 0", state="off")
    with pytest.raises(GantryError) as refusal:
        fencing.power_on("node1", [dict(method, tries=1)], pause=0)
    assert refusal.value.code == "fencing_failed"
    (tmp_path / "a" / "state").write_text("on")
    assert fencing.power_on("node1", [method], pause=0)["changed"] is False
    assert fencing.survey([method, {"agent": "manual", "options": {}}])[0]["power"] == "on"
    assert fencing.status({"agent": "manual", "options": {}}) == "unknown"
