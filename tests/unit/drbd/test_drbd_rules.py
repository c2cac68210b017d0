# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guards as tables: what was observed, and whether the step is refused, with which word."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import parse, rules

HEALTHY = {
    "role": "Secondary",
    "connection": "Connected",
    "volumes": [{"volume": 0, "minor": 10, "disk": "UpToDate", "size_mib": 204}],
    "peers": 1,
    "disk": "UpToDate",
    "peer_role": "Secondary",
    "peer_disk": "UpToDate",
    "replication": "Established",
    "out_of_sync_kib": 0,
    "sync_percent": 100.0,
    "suspended": False,
    "allow_two_primaries": False,
    "protocol": "C",
}
LOST = {"connection": "Connecting", "peer_role": "Unknown", "peer_disk": "DUnknown", "replication": "Off"}
SPLIT = dict(LOST, connection="StandAlone")
TARGET = {"disk": "Inconsistent", "replication": "SyncTarget", "out_of_sync_kib": 512}
SOURCE = {"peer_disk": "Inconsistent", "replication": "SyncSource", "out_of_sync_kib": 512}
NEW = {"disk": "Inconsistent", "peer_disk": "Inconsistent"}
KERNEL = (8, 4, 11)


def seen(*changes, **more):
    """A healthy resource, but for the changes."""
    state = dict(HEALTHY)
    for change in changes + (more,):
        state.update(change)
    return state


def code(refused):
    """The refusal's word, None when there is none; every refusal is complete."""
    if refused is None:
        return None
    assert set(refused) == {"code", "found", "expected", "mend"}
    assert all(isinstance(value, str) and value for value in refused.values())
    return refused["code"]


@pytest.mark.parametrize(
    "state, options, expected",
    [
        (None, {}, "not_up"),
        (seen(), {}, None),
        (seen(role="Primary"), {}, None),
        (seen(role="Primary", peer_role="Primary", allow_two_primaries=True), {}, None),
        (seen(SOURCE), {}, None),
        (seen(SOURCE, replication="PausedSyncS"), {}, None),
        (seen(replication="VerifyS"), {}, None),
        (seen(peer_disk="Diskless"), {}, None),
        # the local copy
        (seen(TARGET), {}, "disk_inconsistent"),
        (seen(TARGET, role="Primary"), {}, "disk_inconsistent"),
        (seen(disk="Diskless"), {}, "disk_diskless"),
        (seen(disk="Diskless", role="Primary"), {}, "disk_diskless"),
        (seen(disk="Failed"), {}, "disk_failed"),
        (seen(disk="Outdated"), {}, "disk_outdated"),
        (seen(disk="Consistent"), {}, "disk_consistent"),
        (seen(disk="Negotiating"), {}, "disk_negotiating"),
        (seen(suspended=True), {}, "suspended"),
        (seen(), {"new": True}, "never_initialized"),
        (seen(role="Primary"), {"new": True}, "never_initialized"),
        # before the peer has answered
        (seen(LOST), {}, "not_connected"),
        (seen(SPLIT), {}, "stand_alone"),
        (seen(LOST, connection="NetworkFailure"), {}, "not_connected"),
        (seen(LOST, connection="Unconnected"), {}, "not_connected"),
        (seen(LOST, connection="WFReportParams"), {}, "not_connected"),
        (seen(replication="WFBitMapS"), {}, "handshake"),
        (seen(replication="WFBitMapT"), {}, "handshake"),
        (seen(replication="StartingSyncS"), {}, "handshake"),
        (seen(peer_role="Unknown"), {}, "handshake"),
        # the peer has it
        (seen(peer_role="Primary"), {}, "peer_primary"),
        (seen(peer_role="Primary", allow_two_primaries=True), {}, "peer_primary"),
        (seen(SOURCE, peer_role="Primary"), {}, "peer_primary"),
        # the peer is proven dead
        (seen(LOST), {"peer_dead": True}, None),
        (seen(LOST, peer_disk="Outdated"), {"peer_dead": True}, None),
        (seen(SPLIT), {"peer_dead": True}, None),
        (seen(LOST, role="Primary"), {"peer_dead": True}, None),
        (seen(), {"peer_dead": True}, "peer_alive"),
        (seen(peer_role="Primary"), {"peer_dead": True}, "peer_alive"),
        (seen(LOST, disk="Outdated"), {"peer_dead": True}, "disk_outdated"),
        (seen(LOST, disk="Inconsistent"), {"peer_dead": True}, "disk_inconsistent"),
        (seen(LOST, disk="Consistent"), {"peer_dead": True}, "disk_consistent"),
        (seen(LOST, disk="Diskless"), {"peer_dead": True}, "disk_diskless"),
        (seen(LOST, suspended=True), {"peer_dead": True}, "suspended"),
        (seen(LOST), {"peer_dead": True, "new": True}, "never_initialized"),
        # the target of a migration
        (seen(peer_role="Primary", allow_two_primaries=True), {"dual": True}, None),
        (seen(allow_two_primaries=True), {"dual": True}, None),
        (seen(peer_role="Primary"), {"dual": True}, "window_closed"),
        (seen(TARGET, peer_role="Primary", allow_two_primaries=True), {"dual": True}, "disk_inconsistent"),
        (seen(SOURCE, peer_role="Primary", allow_two_primaries=True), {"dual": True}, "not_redundant"),
        (seen(peer_role="Primary", allow_two_primaries=True, out_of_sync_kib=4), {"dual": True}, "out_of_sync"),
        (seen(peer_role="Primary", allow_two_primaries=True, out_of_sync_kib=None), {"dual": True}, "out_of_sync"),
        (seen(peer_role="Primary", allow_two_primaries=True, replication="VerifyT"), {"dual": True}, "not_redundant"),
        (seen(LOST, allow_two_primaries=True), {"dual": True}, "not_connected"),
        (seen(SPLIT, allow_two_primaries=True), {"dual": True}, "stand_alone"),
    ],
)
def test_may_promote(state, options, expected):
    """One row, one verdict."""
    assert code(rules.may_promote(state, **options)) == expected


@pytest.mark.parametrize(
    "state, just_created, new, expected",
    [
        (seen(NEW), True, True, None),
        (None, True, True, "not_up"),
        (seen(NEW), True, False, "not_new"),
        (seen(NEW), False, True, "not_new"),
        (seen(NEW, role="Primary"), True, True, "not_new"),
        (seen(NEW, disk="UpToDate"), True, True, "not_new"),
        (seen(NEW, disk="Outdated"), True, True, "not_new"),
        (seen(NEW, disk="Diskless"), True, True, "not_new"),
        (seen(NEW, LOST), True, True, "not_connected"),
        (seen(NEW, SPLIT), True, True, "not_connected"),
        (seen(NEW, replication="WFBitMapT"), True, True, "not_connected"),
        (seen(NEW, peer_disk="UpToDate"), True, True, "peer_not_new"),
        (seen(NEW, peer_disk="Outdated"), True, True, "peer_not_new"),
        (seen(NEW, peer_disk="Diskless"), True, True, "peer_not_new"),
        (seen(NEW, peer_role="Primary"), True, True, "peer_not_new"),
        (seen(NEW, replication="SyncTarget"), True, True, "peer_not_new"),
        (seen(NEW, suspended=True), True, True, "suspended"),
    ],
)
def test_may_force_promote(state, just_created, new, expected):
    """Force is for the very first promotion only."""
    assert code(rules.may_force_promote(state, just_created, new)) == expected


@pytest.mark.parametrize(
    "state, kernel, expected",
    [
        (seen(role="Primary"), KERNEL, None),
        (seen(peer_role="Primary"), KERNEL, None),
        (seen(role="Primary", peer_role="Primary", allow_two_primaries=True), KERNEL, None),
        (seen(), (9, 1, 20), None),
        (seen(), (8, 4, 4), None),
        (None, KERNEL, "not_up"),
        (seen(), (8, 4, 3), "kernel_too_old"),
        (seen(), (8, 3, 16), "kernel_too_old"),
        (seen(), None, "kernel_too_old"),
        (seen(peers=2), KERNEL, "peers"),
        (seen(peers=0), KERNEL, "peers"),
        (seen(protocol="A"), KERNEL, "protocol"),
        (seen(protocol=None), KERNEL, "protocol"),
        (seen(SOURCE), KERNEL, "not_redundant"),
        (seen(TARGET), KERNEL, "not_redundant"),
        (seen(LOST), KERNEL, "not_redundant"),
        (seen(SPLIT), KERNEL, "not_redundant"),
        (seen(disk="Diskless"), KERNEL, "not_redundant"),
        (seen(peer_disk="Outdated"), KERNEL, "not_redundant"),
        (seen(replication="VerifyS"), KERNEL, "not_redundant"),
        (seen(replication="PausedSyncS"), KERNEL, "not_redundant"),
        (seen(replication="Ahead"), KERNEL, "not_redundant"),
        (seen(out_of_sync_kib=4), KERNEL, "out_of_sync"),
        (seen(out_of_sync_kib=None), KERNEL, "out_of_sync"),
        (seen(suspended=True), KERNEL, "suspended"),
    ],
)
def test_may_open_window(state, kernel, expected):
    """Two primaries only on two whole, equal, connected copies."""
    assert code(rules.may_open_window(state, kernel)) == expected


@pytest.mark.parametrize(
    "state, expected",
    [
        (None, None),
        (seen(), None),
        (seen(allow_two_primaries=True), None),
        (seen(allow_two_primaries=True, role="Primary"), None),
        (seen(allow_two_primaries=True, peer_role="Primary"), None),
        (seen(allow_two_primaries=True, role="Primary", peer_role="Primary"), "both_primary"),
        (seen(LOST, allow_two_primaries=True, role="Primary"), None),
        (seen(role="Primary", peer_role="Primary"), None),
    ],
)
def test_may_close_window(state, expected):
    """Only two primaries keep it open."""
    assert code(rules.may_close_window(state)) == expected


@pytest.mark.parametrize(
    "state, expected",
    [
        (None, None),
        (seen(), None),
        (seen(role="Primary"), None),
        (seen(LOST, role="Primary"), None),
        (seen(role="Primary", peer_role="Primary", allow_two_primaries=True), None),
        (seen(role="Primary", suspended=True), "suspended"),
        (seen(suspended=True), None),
    ],
)
def test_may_demote(state, expected):
    """A demotion is safe, but for writes that wait."""
    assert code(rules.may_demote(state)) == expected


@pytest.mark.parametrize(
    "state, expected",
    [
        (None, None),
        (seen(), None),
        (seen(LOST), None),
        (seen(TARGET, peer_role="Primary"), None),
        (seen(peer_role="Primary"), None),
        (seen(SOURCE), None),
        (seen(role="Primary"), "primary"),
        (seen(SOURCE, peer_role="Primary"), "last_copy"),
        (seen(peer_role="Primary", peer_disk="Diskless"), "last_copy"),
        (seen(peer_role="Primary", peer_disk="Diskless", disk="Outdated"), None),
    ],
)
def test_may_take_down(state, expected):
    """Not while it is used here, nor while the peer's guest lives off it."""
    assert code(rules.may_take_down(state)) == expected


@pytest.mark.parametrize(
    "state, new, expected",
    [
        (seen(SOURCE, role="Primary"), True, None),
        (seen(role="Primary"), True, None),
        (seen(role="Primary"), False, "not_new"),
        (seen(), True, "role"),
        (seen(role="Primary", peer_role="Primary"), True, "role"),
        (seen(role="Primary", disk="Diskless"), True, "disk_diskless"),
        (seen(NEW), True, "disk_inconsistent"),
        (None, True, "not_up"),
    ],
)
def test_may_write_image(state, new, expected):
    """An image goes only to a disk that never held data."""
    assert code(rules.may_write_image(state, new)) == expected


@pytest.mark.parametrize(
    "state, data_new, meta_new, expected",
    [
        (None, True, True, None),
        (None, True, False, "not_new"),
        (None, False, True, "not_new"),
        (None, False, False, "not_new"),
        (seen(), True, True, "up"),
        (seen(NEW), True, True, "up"),
    ],
)
def test_may_create_metadata(state, data_new, meta_new, expected):
    """Metadata is written only where none ever was, on a disk that never held data."""
    assert code(rules.may_create_metadata(state, data_new, meta_new)) == expected


def every_state():
    """Every combination of what matters, also those that DRBD never shows."""
    for role, connection, peer_role, disk, peer_disk, replication, two in itertools.product(
        ("Primary", "Secondary"),
        ("StandAlone", "Connecting", "Connected"),
        ("Primary", "Secondary", "Unknown"),
        parse.DISK_STATES,
        ("DUnknown", "Inconsistent", "Outdated", "UpToDate"),
        parse.REPLICATIONS,
        (True, False),
    ):
        yield seen(
            role=role,
            connection=connection,
            peer_role=peer_role,
            disk=disk,
            peer_disk=peer_disk,
            replication=replication,
            allow_two_primaries=two,
        )


def test_no_state_at_all_lets_a_copy_that_is_not_current_be_promoted():
    """Over every combination: local UpToDate; alone only with a dead peer; beside a primary only in a window."""
    for state in every_state():
        for peer_dead, dual in ((False, False), (True, False), (False, True)):
            if rules.may_promote(state, peer_dead=peer_dead, dual=dual) is not None:
                continue
            assert state["disk"] == "UpToDate"
            if state["role"] == "Primary":
                continue
            assert peer_dead == (state["connection"] != "Connected")
            if not peer_dead:
                assert state["replication"] not in rules.HANDSHAKE
                assert state["peer_role"] == "Secondary" or (
                    dual
                    and state["allow_two_primaries"]
                    and state["peer_disk"] == "UpToDate"
                    and state["replication"] == "Established"
                )


def test_no_state_at_all_is_forced_over_data():
    """Over every combination: force only between two empty, connected copies."""
    allowed = [state for state in every_state() if rules.may_force_promote(state, True, True) is None]
    assert allowed
    for state in allowed:
        assert (state["disk"], state["peer_disk"], state["replication"]) == (
            "Inconsistent",
            "Inconsistent",
            "Established",
        )
        assert (state["role"], state["peer_role"], state["connection"]) == ("Secondary", "Secondary", "Connected")


def test_settled():
    """Waiting ends when nothing will change by itself."""
    assert rules.settled(seen()) and rules.settled(seen(LOST)) and rules.settled(seen(SPLIT))
    assert not rules.settled(None)
    for change in (
        {"disk": "Negotiating"},
        {"disk": "Attaching"},
        {"replication": "WFBitMapT"},
        {"peer_role": "Unknown"},
        {"connection": "WFReportParams"},
    ):
        assert not rules.settled(seen(change))


def test_in_words():
    """One line for errors."""
    assert rules.in_words(None) == "not up"
    words = "Secondary, Connected, disk UpToDate, peer Secondary with disk UpToDate, Established"
    assert rules.in_words(seen()) == words


@pytest.mark.parametrize(
    "state, give_up, expected",
    [
        (None, False, None),
        (seen(), False, None),
        (seen(role="Primary"), False, None),
        (seen(disk="Diskless", role="Primary"), False, None),
        (seen(disk="Diskless"), False, None),
        (seen(TARGET), False, None),
        (seen(LOST, disk="Outdated"), False, None),
        (seen(LOST, disk="Inconsistent"), False, None),
        (seen(LOST), False, "last_copy"),
        (seen(LOST, disk="Consistent"), False, "last_copy"),
        (seen(LOST, role="Primary"), False, "last_copy"),
        (seen(LOST, role="Primary"), True, "last_copy"),
        (seen(SPLIT), False, "last_copy"),
        (seen(SPLIT), True, None),
        (seen(SPLIT, role="Primary"), True, "last_copy"),
        (seen(SOURCE), False, "last_copy"),
        (seen(SOURCE), True, "last_copy"),
        (seen(SOURCE, role="Primary"), True, "last_copy"),
        (seen(replication="WFBitMapS"), False, "last_copy"),
        (seen(peer_disk="Diskless"), False, "last_copy"),
        (seen(suspended=True), True, "suspended"),
    ],
)
def test_may_renew(state, give_up, expected):
    """A copy is set aside only beside another good one, or by the operator's word; a guest's only copy never."""
    assert code(rules.may_renew(state, give_up)) == expected


def test_metadata_for_a_new_copy_of_a_resource_that_is_up():
    """Only where it has no disk."""
    assert code(rules.may_create_metadata(seen(disk="Diskless", role="Primary"), True, True, replacing=True)) is None
    assert code(rules.may_create_metadata(seen(role="Primary"), True, True, replacing=True)) == "up"
    assert code(rules.may_create_metadata(seen(disk="Diskless"), True, True)) == "up"
    assert code(rules.may_create_metadata(None, False, True, replacing=True)) == "not_new"
