# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both formats: what is written is read again, and broken input is refused with its place, never with a traceback."""

from __future__ import annotations

import json

import clusters
import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import iallocator, text

SAMPLE = text.render(clusters.random_cluster(8, nodes=4, instances=8))
REQUEST = {"type": "node-evacuate", "instances": [], "evac_mode": "all"}
MESSAGE = iallocator.render(clusters.random_cluster(8, nodes=4, instances=8), REQUEST)


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_text_round_trip(seed):
    """parse and render are inverse."""
    cluster = clusters.random_cluster(seed)
    written = text.render(cluster)
    read = text.parse(written)
    assert text.render(read) == written
    assert read.instances.rows == cluster.instances.rows


def test_short_lines_have_defaults():
    """The last fields of nodes and instances, and the policies, may be missing; a question mark is an offline node."""
    read = text.parse(
        "g|u|preferred|\n\na|100|1|99|100|50|4|N|u\nb|?|1|99|100|50|4|N|u\n\n"
        "i|10|10|1|running|Y|a|b|drbd|\n\nhtools:iextags:x\n")
    assert (read.nodes.spindles.tolist(), read.nodes.offline.tolist()) == ([1, 0], [False, True])
    assert (read.instances.rows[0].spindle_use, read.tags) == (1, ["htools:iextags:x"])
    assert read.nodes.cpu_speed.tolist() == [1, 1]


@pytest.mark.parametrize("old, new, words", [
    ("|running|", "|walking|", "status"),
    ("node00|", "node00|x", "number"),
    ("|drbd|", "|floppy|", "disk template"),
    ("uuid-0|preferred", "uuid-0|never", "allocation policy"),
    ("inst000|", "inst001|", "names 'inst001' again"),
    ("|node00|", "|node99|", "node99"),
    ("group0|uuid-0|preferred||", "group0|uuid-0", "at least 4"),
    ("\n\n", "\n", "sections"),
])
def test_broken_text_is_refused_with_its_place(old, new, words):
    """The line or the section, what was found, what was expected."""
    broken = SAMPLE.replace(old, new)
    assert broken != SAMPLE
    with pytest.raises(GantryError, match=words) as caught:
        text.parse(broken)
    assert caught.value.expected and caught.value.mend and (" line " in (" " + str(caught.value).lower()) or "sections" in words)


@hypothesis.settings(max_examples=40)
@hypothesis.given(data=st.data())
def test_fuzzed_text_never_breaks_the_reader(data):
    """Pieces of a good file exchanged for anything: it is read, or refused as a GantryError."""
    start = data.draw(st.integers(0, len(SAMPLE)))
    end = data.draw(st.integers(start, min(len(SAMPLE), start + 40)))
    piece = data.draw(st.one_of(st.text(max_size=12), st.sampled_from(
        ["|", "||", "\n", "\n\n", "?", "-1", "1e400", "nan", "inf", "9" * 30, "9" * 5000, "٣", "1_0", ";", ",", "Y", "", " "])))
    _read_or_refuse(SAMPLE[:start] + piece + SAMPLE[end:])


@hypothesis.given(anything=st.text())
def test_any_text_is_read_or_refused(anything):
    """Whatever comes."""
    _read_or_refuse(anything)


def _read_or_refuse(written):
    try:
        cluster = text.parse(written)
    except GantryError as error:
        assert error.found is not None and error.expected and error.code == "bad_input"
        return
    # What was read can be written, and scored.
    text.render(cluster)
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.score import score
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State
    assert score(State(cluster)) >= 0


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-10 ** 20, 10 ** 20), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)), max_leaves=6)


def _paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], path + (key,))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from _paths(value[index], path + (index,))


_NEW = clusters.bench_cluster(3, 2).instances.rows[0]._replace(name="new", primary=-1, secondary=-1)
_REQUESTS = [
    dict(iallocator.describe(_NEW), type="allocate", name="new", required_nodes=2),
    {"type": "multi-allocate", "instances": [dict(iallocator.describe(_NEW), name="new", required_nodes=2)]},
    {"type": "relocate", "name": "inst000", "required_nodes": 1, "relocate_from": ["node01"]},
    {"type": "node-evacuate", "instances": ["inst000", "inst001"], "evac_mode": "all"},
    {"type": "change-group", "instances": ["inst000"], "target_groups": []},
    {"type": "allocate-secondary", "name": "inst000"},
]


@hypothesis.settings(max_examples=40, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@hypothesis.given(data=st.data())
def test_fuzzed_messages_never_break_the_allocator(data):
    """One value anywhere in a good message exchanged for anything, or left out: answered, or refused as a GantryError."""
    message = json.loads(json.dumps(dict(MESSAGE, request=data.draw(st.sampled_from(_REQUESTS)))))
    path = data.draw(st.sampled_from(list(_paths(message))))
    if not path:
        message = data.draw(_JSON)
    else:
        inner = message
        for key in path[:-1]:
            inner = inner[key]
        if data.draw(st.booleans()):
            inner[path[-1]] = data.draw(_JSON)
        else:
            del inner[path[-1]]
    try:
        answer = iallocator.answer(iallocator.Message(json.dumps(message)))
    except GantryError as error:
        assert error.expected and error.code == "bad_input"
        return
    assert set(answer) == {"success", "info", "result"} and isinstance(answer["success"], bool)
    json.dumps(answer)


@hypothesis.given(anything=st.one_of(st.text(), st.binary()))
def test_what_is_no_json_is_refused(anything):
    """Text and bytes that are no message."""
    with pytest.raises(GantryError, match="request"):
        iallocator.Message(anything)
