# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a guest lives, as data: what both daemons show, and the verdict."""

from __future__ import annotations

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import migration_verdict
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError


def side(text):
    """A side from words: ``"running booted"``, ``"paused user arriving"``, ``"running booted job=backup"``, ``"none"``, ``"down"``."""
    words = text.split()
    job = [word.partition("=")[2] for word in words if word.startswith("job=")]
    seen = {
        "reachable": words[0] != "down", "error": "no answer" if words[0] == "down" else None,
        "exists": words[0] not in ("down", "none"), "id": 1, "state": None, "reason": None, "persistent": True,
        "job": {"type": job[0]} if job else None, "generation": None, "name_taken": None,
        "arriving": "arriving" in words, "stale": "stale" in words,
    }
    if seen["exists"]:
        seen.update(state=words[0], reason=words[1])
    return seen


RESUME = "resume_target"

#: source, target, outcome, case, settled, what is left to do.
CASES = [
    # the good ends
    ("none", "running migrated", "target", "runs_at_target", True, []),
    ("none", "running booted", "target", "runs_at_target", True, []),
    ("none", "running unpaused arriving", "target", "runs_at_target", True, []),
    ("none", "running migrated job=backup", "target", "runs_at_target", True, []),
    ("shutoff migrated", "running unpaused", "target", "runs_at_target", True, ["undefine_source"]),
    ("shutoff destroyed", "running unpaused", "target", "runs_at_target", True, ["undefine_source"]),
    ("running booted", "none", "source", "runs_at_source", True, []),
    ("running migration_canceled", "none", "source", "runs_at_source", True, []),
    ("running migration_canceled", "shutoff failed", "source", "runs_at_source", True, []),
    ("running unpaused arriving", "none", "source", "runs_at_source", True, []),
    ("running booted job=backup", "none", "source", "runs_at_source", True, []),
    # it has come, and waits for us
    ("none", "paused user arriving", "target", "arrived", True, [RESUME]),
    ("shutoff migrated", "paused user arriving", "target", "arrived", True, [RESUME, "undefine_source"]),
    ("none", "paused user arriving stale", "unclear", "arrived_unproven", True, []),
    ("shutoff migrated", "paused user arriving stale", "unclear", "arrived_unproven", True, []),
    ("shutoff unknown", "paused user arriving", "unclear", "arrived_unproven", True, []),
    ("shutoff shutdown", "paused user arriving", "unclear", "arrived_unproven", True, []),
    ("shutoff crashed", "paused user arriving", "unclear", "arrived_unproven", True, []),
    ("shutoff destroyed", "paused user arriving", "unclear", "arrived_unproven", True, []),
    ("none", "paused user", "unclear", "target_not_running", True, []),
    # it has come, and the source was not told
    ("paused migration", "running unpaused", "target", "unconfirmed", False, ["end_source"]),
    ("paused migration arriving", "running unpaused", "target", "unconfirmed", False, ["end_source"]),
    ("paused migration arriving", "paused user arriving", "target", "unconfirmed", False, ["end_source", RESUME]),
    # it has come, and the source thinks that it has not
    ("running migration_canceled arriving", "paused user arriving", "source", "not_taken_over", True, ["end_target"]),
    ("running booted", "paused user arriving stale", "source", "not_taken_over", True, ["end_target"]),
    ("running migration_canceled arriving", "paused migration", "source", "not_taken_over", False, ["end_target"]),
    ("running migration_canceled", "paused migration", "unclear", "incoming_at_target", False, []),
    ("running booted", "paused migration", "unclear", "incoming_at_target", False, []),
    ("running booted arriving", "paused postcopy_failed", "unclear", "incoming_at_target", False, []),
    # it was stopped for a switch-over that never came
    ("paused migration arriving", "none", "source", "halted_at_source", False, ["resume_source"]),
    ("paused migration arriving", "shutoff failed", "source", "halted_at_source", False, ["resume_source"]),
    ("paused migration", "none", "unclear", "halted_at_source", False, []),
    ("paused postcopy arriving", "none", "unclear", "halted_at_source", False, []),
    ("paused postcopy_failed", "running migrated", "unclear", "halted_at_source", False, []),
    # the target does not answer
    ("running booted arriving", "down", "source", "target_unknown", True, []),
    ("running migration_canceled arriving", "down", "source", "target_unknown", True, []),
    ("running booted", "down", "unclear", "target_unknown", False, []),
    ("running migration_canceled", "down", "unclear", "target_unknown", False, []),
    ("running booted arriving job=migration_out", "down", "unclear", "target_unknown", False, []),
    ("paused migration arriving", "down", "unclear", "target_unknown", False, []),
    ("paused ioerror arriving", "down", "unclear", "target_unknown", False, []),
    ("none", "down", "unclear", "target_unknown", False, []),
    ("shutoff migrated", "down", "unclear", "target_unknown", False, []),
    # the source does not answer: that the target runs is no proof that the source does not
    ("down", "running migrated", "unclear", "source_unknown", False, []),
    ("down", "paused user arriving", "unclear", "source_unknown", False, []),
    ("down", "none", "unclear", "source_unknown", False, []),
    ("down", "paused migration", "unclear", "source_unknown", False, []),
    ("down", "down", "unclear", "source_unknown", False, []),
    # something is still under way
    ("running booted arriving job=migration_out", "none", "unclear", "job", False, []),
    ("running booted arriving job=migration_out", "paused migration job=migration_in", "unclear", "job", False, []),
    ("running booted job=unknown", "none", "unclear", "job", False, []),
    ("paused migration arriving job=migration_out", "paused user arriving", "unclear", "job", False, []),
    ("paused migration arriving job=migration_out", "none", "unclear", "job", False, []),
    ("running booted arriving", "paused migration job=migration_in", "unclear", "incoming_at_target", False, []),
    ("none", "paused migration job=migration_in", "unclear", "incoming_at_target", False, []),
    ("none", "paused user arriving job=migration_in", "unclear", "incoming_at_target", False, []),
    ("none", "running migrated job=migration_in", "unclear", "incoming_at_target", False, []),
    ("none", "running postcopy job=migration_in", "unclear", "incoming_at_target", False, []),
    ("none", "running postcopy", "unclear", "incoming_at_target", False, []),
    ("none", "running postcopy_failed", "unclear", "incoming_at_target", False, []),
    ("paused postcopy", "running postcopy", "unclear", "incoming_at_target", False, []),
    ("none", "running migrated job=unknown", "unclear", "incoming_at_target", False, []),
    ("shutdown user", "none", "unclear", "changing", False, []),
    ("none", "shutdown user", "unclear", "changing", False, []),
    ("paused starting_up", "none", "unclear", "changing", False, []),
    # stopped in the middle, and nobody works on it any more
    ("paused migration", "paused migration", "unclear", "halted_at_both", False, []),
    ("paused migration arriving", "paused migration", "unclear", "halted_at_both", False, []),
    ("none", "paused migration", "unclear", "halted_at_target", False, []),
    ("shutoff migrated", "paused migration", "unclear", "halted_at_target", False, []),
    ("none", "paused postcopy_failed", "unclear", "halted_at_target", False, []),
    # twice, nowhere, or for a reason of its own
    ("running booted", "running migrated", "unclear", "both_running", False, []),
    ("running migration_canceled arriving", "running migrated", "unclear", "both_running", False, []),
    ("none", "none", "unclear", "off_everywhere", True, []),
    ("shutoff shutdown", "none", "unclear", "off_everywhere", True, []),
    ("shutoff crashed", "shutoff failed", "unclear", "off_everywhere", True, []),
    ("none", "shutoff crashed", "unclear", "off_everywhere", True, []),
    ("paused user", "none", "unclear", "source_not_running", True, []),
    ("paused user arriving", "none", "unclear", "source_not_running", True, []),
    ("paused user arriving", "paused user arriving", "unclear", "source_not_running", True, []),
    ("paused ioerror", "none", "unclear", "source_not_running", True, []),
    ("paused ioerror", "running migrated", "unclear", "source_not_running", True, []),
    ("crashed panicked", "none", "unclear", "source_not_running", True, []),
    ("pmsuspended unknown", "none", "unclear", "source_not_running", True, []),
    ("none", "paused ioerror arriving", "unclear", "target_not_running", True, []),
    ("none", "crashed panicked", "unclear", "target_not_running", True, []),
    ("running booted", "paused user", "unclear", "target_not_running", True, []),
    ("running booted arriving", "paused ioerror", "unclear", "target_not_running", True, []),
]


@pytest.mark.parametrize(("source", "target", "outcome", "case", "settled", "todo"), CASES)
def test_verdict(source, target, outcome, case, settled, todo):
    verdict = migration_verdict.verdict(side(source), side(target))
    assert (verdict["outcome"], verdict["case"], verdict["settled"], verdict["todo"]) == (outcome, case, settled, todo)
    assert verdict["why"]
    assert verdict["mend"] or outcome != "unclear"


_PLAIN = (
    "none", "down", "running booted", "running migrated", "running migration_canceled", "running unpaused", "running postcopy",
    "running booted job=migration_out", "running migrated job=migration_in", "running booted job=unknown",
    "running booted job=backup", "paused migration", "paused migration job=migration_in", "paused migration job=migration_out",
    "paused user", "paused ioerror", "paused postcopy", "paused postcopy_failed", "paused starting_up", "shutdown user",
    "shutoff shutdown", "shutoff migrated", "shutoff saved", "crashed panicked", "pmsuspended unknown", "nostate unknown",
)
SIDES = _PLAIN + tuple(text + more for text in _PLAIN if " " in text for more in (" arriving", " arriving stale"))


@pytest.mark.parametrize("source", SIDES)
def test_every_pair_keeps_the_promises(source):
    """Whatever both show: the guest is never resumed, and no owner named, but where it cannot run twice."""
    here = migration_verdict.word(side(source))
    for target in SIDES:
        there = migration_verdict.word(side(target))
        verdict = migration_verdict.verdict(side(source), side(target))
        pair = (here, there, source, target, verdict)
        if verdict["outcome"] == "unclear":
            assert verdict["mend"] and not verdict["todo"], pair
        if verdict["outcome"] == "target":
            assert there in (migration_verdict.RUNNING, migration_verdict.ARRIVED), pair
            assert here in (migration_verdict.GONE, migration_verdict.HALTED), pair
        if verdict["outcome"] == "source":
            assert there in (
                migration_verdict.GONE, migration_verdict.ARRIVED, migration_verdict.HALTED, migration_verdict.UNKNOWN), pair
            assert here == migration_verdict.RUNNING or here == migration_verdict.HALTED and "arriving" in source, pair
        if "resume_target" in verdict["todo"]:
            assert there == migration_verdict.ARRIVED, pair
            assert here == migration_verdict.GONE or verdict["todo"][0] == "end_source", pair
            assert "stale" not in target or here == migration_verdict.HALTED, pair
        if "resume_source" in verdict["todo"]:
            assert there == migration_verdict.GONE, pair
        if "end_source" in verdict["todo"]:
            assert here == migration_verdict.HALTED and there in (migration_verdict.RUNNING, migration_verdict.ARRIVED), pair
        if "end_target" in verdict["todo"]:
            assert here == migration_verdict.RUNNING and there in (migration_verdict.ARRIVED, migration_verdict.HALTED), pair


DISK = {
    "index": 0, "name": "web1-disk0", "template": "drbd", "role": "Primary", "peer_role": "Primary", "connection": "Connected",
    "disk": "UpToDate", "peer_disk": "UpToDate", "allow_two_primaries": True, "sync_percent": 100.0, "out_of_sync_kib": 0,
}


def fit(source="running booted", target="none", taken=None, **disk):
    there = dict(side(target), name_taken=taken)
    migration_verdict.refuse_unfit("web1", side(source), there, [dict(DISK, **disk)])


def test_fit():
    fit()
    fit(sync_percent=None)
    fit(target="shutoff shutdown")
    migration_verdict.refuse_unfit("web1", side("running booted"), side("none"), [])


@pytest.mark.parametrize(("wrong", "code"), [
    ({"source": "none"}, "not_running"),
    ({"source": "shutoff shutdown"}, "not_running"),
    ({"source": "paused user"}, "not_running"),
    ({"source": "running booted job=migration_out"}, "not_running"),
    ({"source": "running booted job=backup"}, "job_running"),
    ({"target": "down"}, "target_unreachable"),
    ({"target": "running booted"}, "active_at_target"),
    ({"target": "paused migration"}, "active_at_target"),
    ({"target": "paused user"}, "active_at_target"),
    ({"taken": "6f2d1d6e-3bd5-4d3c-9d2f-0e6a1c6f0002"}, "name_taken"),
    ({"template": "plain"}, "not_mirrored"),
    ({"connection": "Connecting"}, "not_redundant"),
    ({"connection": "StandAlone"}, "not_redundant"),
    ({"disk": "Diskless"}, "not_redundant"),
    ({"disk": "Inconsistent"}, "not_redundant"),
    ({"peer_disk": "Outdated"}, "not_redundant"),
    ({"out_of_sync_kib": 4}, "not_redundant"),
    ({"sync_percent": 99.9}, "not_redundant"),
    ({"role": "Secondary"}, "disk_not_primary"),
    ({"peer_role": "Secondary"}, "peer_not_primary"),
    ({"allow_two_primaries": False}, "window_closed"),
])
def test_unfit(wrong, code):
    with pytest.raises(GantryError) as refused:
        fit(**wrong)
    assert refused.value.code == code
    assert refused.value.mend


def test_check_mode_leaves_out_what_earlier_steps_would_have_done():
    closed = dict(DISK, peer_role="Secondary", allow_two_primaries=False)
    migration_verdict.refuse_unfit("web1", side("running booted"), side("none"), [closed], earlier_steps_done=False)
    with pytest.raises(GantryError):
        migration_verdict.refuse_unfit(
            "web1", side("running booted"), side("none"), [dict(closed, peer_disk="Outdated")], earlier_steps_done=False)
