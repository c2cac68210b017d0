# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's memory: only newer operations act, one step at a time, and check mode leaves no trace."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.gantry.cluster.plugins.module_utils import generation
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor

UUID = "6f2d1a9e-2d0f-4b8c-9a3e-0d8f6a3b1c42"


@pytest.fixture(name="place")
def _place(tmp_path):
    return {"folder": str(tmp_path / "instances"), "locks": str(tmp_path / "locks")}


def test_older_operations_are_refused(place):
    generation.claim(Executor(), UUID, 7, {"name": "web1"}, **place)
    generation.claim(Executor(), UUID, 7, **place)
    with pytest.raises(GantryError) as refusal:
        generation.claim(Executor(), UUID, 6, **place)
    assert refusal.value.code == "stale_generation"
    assert generation.load(UUID, place["folder"]) == {"generation": 7, "record": {"name": "web1"}}


def test_the_memory_is_private_and_no_change_of_its_own(place):
    executor = Executor()
    generation.claim(executor, UUID, 1, {"name": "web1"}, **place)
    assert executor.changes == [] and os.stat(generation.path_of(UUID, place["folder"])).st_mode & 0o777 == 0o600


def test_check_mode_writes_nothing(place, tmp_path):
    generation.claim(Executor(check_mode=True), UUID, 1, {"name": "web1"}, **place)
    assert os.listdir(tmp_path) == []


def test_forgetting_needs_the_newest_operation(place):
    generation.claim(Executor(), UUID, 7, **place)
    with pytest.raises(GantryError):
        generation.forget(Executor(), UUID, 6, place["folder"])
    generation.forget(Executor(), UUID, 7, place["folder"])
    assert generation.load_all(place["folder"]) == {}


def test_a_broken_memory_is_named_and_does_not_hide_others(place):
    generation.claim(Executor(), UUID, 7, **place)
    with open(generation.path_of("broken", place["folder"]), "w", encoding="utf-8") as stream:
        stream.write("{")
    memories = generation.load_all(place["folder"])
    assert memories[UUID]["generation"] == 7 and "cannot be read" in memories["broken"]["error"]


HOLDER = """
import sys
from ansible_collections.gantry.cluster.plugins.module_utils import generation
generation.take_lock(%r, folder=%r)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_step_of_a_killed_run_is_waited_for(place):
    with subprocess.Popen([sys.executable, "-c", HOLDER % (UUID, place["locks"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(GantryError) as refusal:
            generation.take_lock(UUID, wait=0.3, folder=place["locks"])
        assert refusal.value.code == "node_busy"
        holder.stdin.close()
        generation.take_lock(UUID, wait=20, folder=place["locks"])
