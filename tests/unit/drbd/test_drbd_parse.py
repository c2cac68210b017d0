# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DRBD's output: recorded text of 8.4, the format of 9, and broken input, which must never be half believed."""

from __future__ import annotations

import pathlib
import re

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import parse
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from hypothesis import given
from hypothesis import strategies as st

DATA = pathlib.Path(__file__).parent / "data"
NAME = "web1.example.com-disk0"


def text(name):
    """A recorded file."""
    return (DATA / name).read_text(encoding="utf-8")


EVENTS = sorted(path.name for path in DATA.glob("*.events2"))

#: file: (role, connection, peer_role, disk, peer_disk, replication, out_of_sync_kib, sync_percent)
EXPECTED = {
    "8.4-waiting.events2": ("Secondary", "Connecting", "Unknown", "Inconsistent", "DUnknown", "Off", 204544, None),
    "8.4-syncsource.events2": (
        "Primary",
        "Connected",
        "Secondary",
        "UpToDate",
        "Inconsistent",
        "SyncSource",
        204580,
        0.1,
    ),
    "8.4-synctarget.events2": (
        "Secondary",
        "Connected",
        "Primary",
        "Inconsistent",
        "UpToDate",
        "SyncTarget",
        203496,
        0.63,
    ),
    "8.4-standalone.events2": ("Secondary", "StandAlone", "Unknown", "UpToDate", "DUnknown", "Off", 0, None),
    "8.4-diskless.events2": ("Secondary", "StandAlone", "Unknown", "Diskless", "DUnknown", "Off", 0, None),
    "8.4-dual-primary.events2": ("Primary", "Connected", "Primary", "UpToDate", "UpToDate", "Established", 0, 100.0),
    "8.4-alone-with-helper.events2": ("Primary", "Connecting", "Unknown", "UpToDate", "Outdated", "Off", 0, None),
    "8.4-lone-after-boot.events2": ("Secondary", "Connecting", "Unknown", "Consistent", "DUnknown", "Off", 0, None),
    "9-healthy.events2": ("Secondary", "Connected", "Secondary", "UpToDate", "UpToDate", "Established", 0, 100.0),
    "9-two-peers.events2": ("Primary", "Connecting", "Unknown", "UpToDate", "Inconsistent", "Off", 262272, None),
}
KEYS = ("role", "connection", "peer_role", "disk", "peer_disk", "replication", "out_of_sync_kib", "sync_percent")


def test_every_recording_is_expected():
    """No recording goes unread."""
    assert set(EVENTS) == set(EXPECTED)


@pytest.mark.parametrize("name", EVENTS)
def test_recorded_states(name):
    """Each recording says what the node showed; several peers count as the worst of them."""
    states = parse.events2(text(name))
    assert len(states) == 1
    state = next(iter(states.values()))
    assert tuple(state[key] for key in KEYS) == EXPECTED[name]
    assert state["suspended"] is False
    assert state["allow_two_primaries"] is None


def test_volumes_carry_minor_and_size():
    """Sizes are MiB."""
    state = parse.events2(text("8.4-dual-primary.events2"))[NAME]
    assert state["volumes"] == [{"volume": 0, "minor": 10, "disk": "UpToDate", "size_mib": 204}]
    assert state["peers"] == 1


def test_json_of_nine_says_the_same():
    """Both outputs of one state are one dict."""
    assert parse.status_json(text("9-healthy.json")) == parse.events2(text("9-healthy.events2"))


def test_nothing_configured():
    """No resource at all is an answer, an empty output is none."""
    assert parse.events2("exists -\n") == {}
    assert parse.status_json("[]") == {}
    assert parse.show("") == {}
    with pytest.raises(GantryError):
        parse.events2("")


def test_a_zero_left_out_of_the_statistics():
    """Some versions print out-of-sync only when it is not zero; without statistics it is unknown."""
    full = text("8.4-dual-primary.events2")
    assert parse.events2(full.replace(" out-of-sync:0", ""))[NAME]["out_of_sync_kib"] == 0
    bare = re.sub(r" received:\S+ sent:\S+ out-of-sync:\S+ pending:\S+ unacked:\S+", "", full)
    state = parse.events2(bare)[NAME]
    assert state["out_of_sync_kib"] is None
    assert state["sync_percent"] is None


def test_hundred_percent_only_when_nothing_differs():
    """One differing block of a large disk must not look like none."""
    full = (
        text("8.4-dual-primary.events2")
        .replace("size:208896", "size:99999999999")
        .replace("out-of-sync:0", "out-of-sync:4")
    )
    assert parse.events2(full)[NAME]["sync_percent"] == 99.99


def test_old_name_of_waiting():
    """8.4 has another word for it in places."""
    assert (
        parse.events2(text("8.4-waiting.events2").replace("Connecting", "WFConnection"))[NAME]["connection"]
        == "Connecting"
    )


@pytest.mark.parametrize(
    "line, found",
    [
        ("exists resource name:a role:Primary", "'suspended' is missing"),
        ("exists resource name:a role:Prinary suspended:no", "unknown word 'Prinary'"),
        ("exists resource name:a role:Primary suspended:no role:Primary", "'role' appears twice"),
        ("exists resource name: role:Primary suspended:no", "not key:value"),
        ("exists resource name:a role Primary suspended:no", "not key:value"),
        ("exist resource name:a role:Primary suspended:no", "not an 'exists' line"),
        ("change resource name:a role:Primary suspended:no", "not an 'exists' line"),
        ("exists resurce name:a role:Primary suspended:no", "unknown kind"),
        ("exists device name:a volume:0 minor:1 disk:UpToDate", "its resource is not listed"),
        ("exists", "unknown kind"),
    ],
)
def test_broken_lines_are_named(line, found):
    """The error shows the line and what is wrong with it."""
    with pytest.raises(GantryError) as caught:
        parse.events2(line + "\nexists -\n")
    assert found in caught.value.sentence()
    assert line in caught.value.sentence()
    assert caught.value.code == "unreadable_drbd"


@pytest.mark.parametrize(
    "old, new",
    [
        ("volume:0 minor:10", "volume:0 minor:x"),
        ("disk:UpToDate size", "disk:Uptodate size"),
        ("size:208896", "size:-1"),
        ("replication:Established", "replication:Establisht"),
        ("peer-disk:UpToDate", "peer-disk:"),
        ("out-of-sync:0", "out-of-sync:none"),
        ("connection:Connected", "connection:Conected"),
        ("volume:0 replication", "volume:1 replication"),
        ("exists -", "exists -\nexists resource name:b role:Primary suspended:no"),
    ],
)
def test_broken_words_are_refused(old, new):
    """A wrong word anywhere spoils the whole answer."""
    full = text("8.4-dual-primary.events2")
    assert old in full
    with pytest.raises(GantryError):
        parse.events2(full.replace(old, new))


@pytest.mark.parametrize("name", EVENTS)
def test_a_cut_output_is_refused(name):
    """Whatever is missing at the end, it is noticed."""
    full = text(name)
    for end in range(len(full) - 1):
        with pytest.raises(GantryError):
            parse.events2(full[:end])


@pytest.mark.parametrize("name", EVENTS)
def test_a_doubled_line_is_refused(name):
    """The same object twice could hide another one."""
    lines = text(name).splitlines(keepends=True)
    for number, line in enumerate(lines):
        if " path " not in line:
            with pytest.raises(GantryError):
                parse.events2("".join(lines[:number] + [line] + lines[number:]))


@pytest.mark.parametrize("name", [name for name in EVENTS if "standalone" not in name and "diskless" not in name])
def test_a_lost_line_never_looks_healthier(name):
    """Without one of its lines a resource is refused, or never looks redundant."""
    lines = text(name).splitlines(keepends=True)
    for number in range(len(lines)):
        try:
            states = parse.events2("".join(lines[:number] + lines[1 + number:]))
        except GantryError:
            continue
        if " path " in lines[number]:
            continue
        for state in states.values():
            assert (state["peer_disk"], state["replication"]) == ("DUnknown", "Off")


@given(
    st.text(
        alphabet=st.sampled_from('exists resource name:a role Primary-\n:0 device volume minor disk\t"{};#'),
        max_size=200,
    )
)
def test_any_text_is_read_or_refused(garbage):
    """Nothing but GantryError ever comes out."""
    for function in (
        parse.events2,
        parse.show,
        parse.status_json,
        parse.versions,
        parse.generation_flags,
        parse.configuration,
    ):
        try:
            function(garbage)
        except GantryError as error:
            assert error.code == "unreadable_drbd"


@given(st.sampled_from(EVENTS), st.integers(0, 2000), st.integers(0, 40), st.text(max_size=12))
def test_mutations_are_read_or_refused(name, start, length, instead):
    """A damaged recording is refused, or still has every word from DRBD's vocabulary."""
    full = text(name)
    try:
        states = parse.events2(full[:start] + instead + full[start + length:])
    except GantryError:
        return
    for state in states.values():
        assert state["role"] in parse.ROLES
        assert state["connection"] in parse.CONNECTIONS
        assert state["disk"] in parse.DISK_STATES
        assert state["replication"] in parse.REPLICATIONS
        if state["sync_percent"] == 100.0:
            assert state["out_of_sync_kib"] == 0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "role", "suspended", "devices", "connections", "volume"]), inner, max_size=4
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(document):
    """JSON of another shape is refused, whatever it is."""
    import json

    try:
        parse.status_json(json.dumps(document))
    except GantryError as error:
        assert error.code == "unreadable_drbd"


@pytest.mark.parametrize(
    "old, new",
    [
        ('"suspended": false', '"suspended": "no"'),
        ('"minor": 10', '"minor": true'),
        ('"role": "Secondary"', '"role": 1'),
        ('"out-of-sync": 0', '"out-of-sync": -1'),
        ('"volume": 0', '"volume": "0"'),
        ('"devices"', '"device"'),
        ("]\n", ""),
    ],
)
def test_broken_json_is_refused(old, new):
    """A value of another type spoils the whole answer."""
    full = text("9-healthy.json")
    assert old in full
    with pytest.raises(GantryError):
        parse.status_json(full.replace(old, new))


@pytest.mark.parametrize(
    "name, allow",
    [("8.4-closed.show", False), ("8.4-open.show", True), ("8.4-standalone.show", False), ("9-open.show", True)],
)
def test_options_in_force(name, allow):
    """The window is read from the configuration in force, wherever the version puts it."""
    assert parse.show(text(name)) == {NAME: {"allow_two_primaries": allow, "protocol": "C"}}


def test_another_protocol_shows():
    """Only what is not the default is printed."""
    changed = text("8.4-open.show").replace("allow-two-primaries\tyes", "protocol A; allow-two-primaries\tyes")
    assert parse.show(changed)[NAME]["protocol"] == "A"


@pytest.mark.parametrize(
    "old, new",
    [
        ("yes;", "perhaps;"),
        ("yes;", "yes"),
        ("    net {", "    net "),
        ("resource web", "resurce web"),
        ('"sha256"', '"sha256'),
    ],
)
def test_broken_options_are_refused(old, new):
    """An unreadable option is no closed window."""
    with pytest.raises(GantryError):
        parse.show(text("8.4-open.show").replace(old, new, 1))


def test_cut_options_are_refused():
    """A cut configuration is noticed wherever it was cut."""
    full = text("8.4-open.show").rstrip()
    for end in range(1, len(full)):
        with pytest.raises(GantryError):
            parse.show(full[:end])


def test_configuration_tree():
    """Words, quotes, comments and blocks."""
    tree = parse.configuration('# c\nresource "a b" {\n  on x { address ipv4 1.2.3.4:5; } # d\n  s "q\\"q";\n}\n')
    assert tree == [
        (
            ["resource", "a b"],
            [(["on", "x"], [(["address", "ipv4", "1.2.3.4:5"], None, 3)], 3), (["s", 'q"q'], None, 4)],
            2,
        )
    ]


def test_versions():
    """The kernel's version is None when there is no module."""
    full = text("8.4.version")
    assert parse.versions(full) == {"kernel_version": "8.4.11", "utils_version": "9.22.0"}
    assert parse.versions(full.replace("0x08040b", "0x000000"))["kernel_version"] is None
    assert parse.version_tuple("8.4.11") == (8, 4, 11)
    assert parse.version_tuple(None) is None


@pytest.mark.parametrize(
    "line, just_created",
    [
        ("0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:1:0:1:0", True),
        ("0000000000000005:0000000000000000:0000000000000000:0000000000000000:0:0:0:1:0:1:0", True),
        ("7F51D4FD04C9878C:0000000000000000:0000000000000000:0000000000000000:0:0:0:1:0:0:0", False),
        ("0000000000000000:0000000000000000:0000000000000000:0000000000000000:0:0:0:1:0:0:0", False),
    ],
)
def test_generation_flags(line, just_created):
    """The reserved identifier says that no data was ever there; the lowest bit is the role."""
    assert parse.generation_flags(line + "\n")["just_created"] is just_created


@pytest.mark.parametrize(
    "broken", ["", "0004:0", "x\n", "0000000000000004:0000000000000000:\n7F51D4FD04C9878C:0000000000000000:\n"]
)
def test_broken_generation_is_refused(broken):
    """Several volumes of different generations have no one answer."""
    with pytest.raises(GantryError):
        parse.generation_flags(broken)
