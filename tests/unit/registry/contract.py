# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every registry backend must do. A backend's tests subclass :class:`RegistryContract` and provide ``url``."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import (
    MAX_KEY,
    MAX_OPERATIONS,
    MAX_VALUE,
    Delete,
    DeletePrefix,
    Entry,
    KeyAbsent,
    Lease,
    ModRevision,
    Put,
)

from .workers import acquire, count_up, lock_and_wait, take_turns, write_twins

#: Spawned, not forked: children share nothing but the registry.
SPAWN = multiprocessing.get_context("spawn")

BAD_KEYS = ["", "/", "/a", "a/", "a//b", "a b", "a\n", "a\x00", "é", "a" * (MAX_KEY + 1), None, 7, b"a"]
BAD_VALUES = [
    None, 1, "text", [], (), {"a": {1}}, {"a": (1,)}, {1: "a"}, {"a": {2: 3}}, {"a": float("nan")},
    {"a": float("inf")}, {"a": object()}, {"a": b"bytes"}, {"a": 2**63}, {"a": "x" * MAX_VALUE},
]


def run_all(target, arguments, timeout=60):
    """Run one process for each tuple of arguments; all must end well."""
    children = [SPAWN.Process(target=target, args=each, daemon=True) for each in arguments]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout)
        assert child.exitcode == 0


def put(registry, key, value=None, lease=None):
    """Put without conditions; returns the revision."""
    outcome = registry.transaction([], [Put(key, {} if value is None else value, lease)])
    assert outcome.succeeded
    return outcome.revision


def refused(code, call, *arguments, **named):
    """The call must raise a GantryError with this code; returns it."""
    with pytest.raises(GantryError) as caught:
        call(*arguments, **named)
    assert caught.value.code == code, str(caught.value)
    return caught.value


# -- the model of the property test: a dict ---------------------------------------------------------------------

KEYS = ["a", "a/b", "a/b/c", "a/c", "ab", "b/x", "b/y"]
PREFIXES = ["", "a/", "a/b/", "b/", "c/"]

compare_plans = st.one_of(
    st.tuples(st.just("absent"), st.sampled_from(KEYS)),
    # The revision is the key's own at that time, plus this.
    st.tuples(st.just("revision"), st.sampled_from(KEYS), st.sampled_from([0, 0, 0, 1, -1])),
)
values = st.dictionaries(st.text(max_size=3), st.recursive(
    st.none() | st.booleans() | st.integers(-2**63, 2**63 - 1) | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
), max_size=2)
write_plans = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS), values, st.sampled_from([None, None, 0, 1])),
    st.tuples(st.just("delete"), st.sampled_from(KEYS)),
    st.tuples(st.just("delete_prefix"), st.sampled_from(PREFIXES[1:])),
)
steps = st.one_of(
    st.tuples(st.just("transaction"), st.lists(compare_plans, max_size=2), st.lists(write_plans, max_size=3)),
    st.tuples(st.just("grant"), st.integers(0, 1)),
    st.tuples(st.just("revoke"), st.integers(0, 1)),
)


class Model:
    """The registry as a dict: what the property test expects of a backend."""

    def __init__(self, revision):
        self.revision = revision
        self.entries = {}
        self.leases = {}

    def transaction(self, compares, writes):
        """(succeeded, revision) or "lease_lost"."""
        for compare in compares:
            entry = self.entries.get(compare.key)
            if isinstance(compare, KeyAbsent) != (entry is None):
                return False, self.revision
            if entry is not None and entry.mod_revision != compare.revision:
                return False, self.revision
        leases = {write.lease for write in writes if isinstance(write, Put)} - {None}
        if not leases <= set(self.leases.values()):
            return "lease_lost"
        changed = False
        for write in writes:
            changed = self._write(write, self.revision + 1) or changed
        self.revision += changed
        return True, self.revision

    def _write(self, write, revision):
        if isinstance(write, Put):
            old = self.entries.get(write.key)
            created, version = (old.create_revision, old.version + 1) if old else (revision, 1)
            self.entries[write.key] = Entry(write.key, write.value, created, revision, version, write.lease)
            return True
        if isinstance(write, Delete):
            gone = [key for key in self.entries if key == write.key]
        else:
            gone = [key for key in self.entries if key.startswith(write.prefix)]
        for key in gone:
            del self.entries[key]
        return bool(gone)

    def revoke(self, slot):
        """True when there was such a lease."""
        lease = self.leases.pop(slot, None)
        gone = [key for key, entry in self.entries.items() if lease is not None and entry.lease == lease]
        for key in gone:
            del self.entries[key]
        self.revision += bool(gone)
        return lease is not None


def overlap(writes):
    """True when two writes touch the same place, which the registry refuses."""
    places = [write.prefix if isinstance(write, DeletePrefix) else write.key for write in writes]
    for number, place in enumerate(places):
        for other in places[:number] + places[number + 1:]:
            if place == other or (other.endswith("/") and place.startswith(other)):
                return True
    return False


class RegistryContract:
    """The tests. ``url`` is the URL of a fresh registry that has been created."""

    #: The shortest lease of the backend in seconds.
    shortest_ttl = 1

    @pytest.fixture
    def url(self):
        """Overridden by every backend."""
        raise NotImplementedError

    @pytest.fixture
    def registry(self, url):
        """It, open."""
        with open_registry(url) as registry:
            yield registry

    # -- keys -------------------------------------------------------------------------------------------------

    def test_a_fresh_registry_is_empty(self, registry):
        listing = registry.range("")
        assert listing.entries == []
        assert listing.revision >= 1
        assert registry.get("nodes/node1") is None

    def test_put_and_get(self, registry):
        value = {"text": "é\u2028\U0001f600\ud800", "n": 1, "f": 0.1, "l": [1, None, True], "m": {"": {}}}
        before = registry.range("").revision
        revision = put(registry, "nodes/node1", value)
        assert revision == before + 1
        entry = registry.get("nodes/node1")
        assert entry == Entry("nodes/node1", value, revision, revision, 1, None)
        assert entry.value["l"][2] is True

    def test_revisions_and_versions(self, registry):
        first = put(registry, "a", {"n": 1})
        second = put(registry, "a", {"n": 1})
        put(registry, "b")
        entry = registry.get("a")
        assert second > first
        assert (entry.create_revision, entry.mod_revision, entry.version) == (first, second, 2)
        registry.transaction([], [Delete("a")])
        third = put(registry, "a", {"n": 3})
        entry = registry.get("a")
        assert (entry.create_revision, entry.mod_revision, entry.version) == (third, third, 1)

    def test_entries_are_copies(self, registry):
        value = {"l": [1]}
        put(registry, "a", value)
        value["l"].append(2)
        registry.get("a").value["l"].append(3)
        assert registry.get("a").value == {"l": [1]}

    def test_subclasses_become_plain(self, registry):
        class Text(str):
            """As Ansible's marked strings are."""

        class Number(int):
            """As Ansible's marked numbers are."""

        put(registry, Text("a"), {Text("k"): Text("v"), "n": Number(3)})
        value = registry.get("a").value
        assert value == {"k": "v", "n": 3}
        assert {type(part) for part in (*value, *value.values())} == {str, int}

    def test_range(self, registry):
        for key in ("nodes/node10", "nodes/node1", "nodes", "nodesx/a", "nodes/node1/x", "instances/a", "~/z"):
            put(registry, key)

        def keys(*prefixes):
            return [entry.key for entry in registry.range(*prefixes).entries]

        assert keys("nodes/") == ["nodes/node1", "nodes/node1/x", "nodes/node10"]
        assert keys("nodes/node1/") == ["nodes/node1/x"]
        assert keys("none/") == []
        assert keys("nodes/", "instances/") == ["instances/a", "nodes/node1", "nodes/node1/x", "nodes/node10"]
        assert keys("nodes/node1/", "nodes/") == keys("nodes/")
        assert keys("") == ["instances/a", "nodes", "nodes/node1", "nodes/node1/x", "nodes/node10", "nodesx/a", "~/z"]
        assert registry.range("none/").revision == registry.range("").revision

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_keys_are_refused(self, registry, key):
        before = registry.range("")
        refused("bad_key", registry.get, key)
        refused("bad_key", registry.transaction, [], [Put("a", {}), Put(key, {})])
        refused("bad_key", registry.transaction, [], [Delete(key)])
        refused("bad_key", registry.transaction, [KeyAbsent(key)], [])
        refused("bad_key", registry.transaction, [ModRevision(key, 1)], [])
        assert registry.range("") == before

    @pytest.mark.parametrize("prefix", ["/", "//", "a", "a//", " /", None])
    def test_bad_prefixes_are_refused(self, registry, prefix):
        put(registry, "a")
        refused("bad_key", registry.range, prefix)
        refused("bad_key", registry.transaction, [], [DeletePrefix(prefix)])

    def test_deleting_everything_is_refused(self, registry):
        refused("bad_key", registry.transaction, [], [DeletePrefix("")])

    @pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: repr(value)[:20])
    def test_bad_values_are_refused(self, registry, value):
        before = registry.range("")
        error = refused("bad_value", registry.transaction, [], [Put("a", {}), Put("secrets/x", value)])
        assert "secrets/x" in str(error)
        assert "xxx" not in str(error)
        refused("bad_value", registry.lease_grant, 10, value)
        assert registry.range("") == before

    def test_endless_values_are_refused(self, registry):
        loop = {}
        loop["a"] = loop
        refused("bad_value", put, registry, "a", loop)

    def test_longest_key_and_largest_value(self, registry):
        key = "k" * MAX_KEY
        put(registry, key, {"v": "x" * (MAX_VALUE - 8)})
        assert len(registry.get(key).value["v"]) == MAX_VALUE - 8

    # -- transactions -----------------------------------------------------------------------------------------

    def test_key_absent(self, registry):
        assert registry.transaction([KeyAbsent("a")], [Put("a", {"n": 1})]).succeeded
        outcome = registry.transaction([KeyAbsent("a")], [Put("a", {"n": 2})])
        assert not outcome.succeeded
        assert outcome.found == {"a": registry.get("a")}
        assert registry.get("a").value == {"n": 1}

    def test_mod_revision(self, registry):
        old = put(registry, "a", {"n": 1})
        new = put(registry, "a", {"n": 2})
        outcome = registry.transaction([ModRevision("a", old)], [Put("a", {"n": 3})])
        assert not outcome.succeeded
        assert outcome.found["a"].mod_revision == new
        outcome = registry.transaction([ModRevision("a", new)], [Put("a", {"n": 3})])
        assert (outcome.succeeded, outcome.revision, outcome.found) == (True, new + 1, {})
        assert registry.get("a").mod_revision == outcome.revision

    def test_mod_revision_of_a_missing_key(self, registry):
        outcome = registry.transaction([ModRevision("a", 1)], [Put("a", {})])
        assert not outcome.succeeded
        assert outcome.found == {"a": None}

    def test_one_failed_compare_stops_all_writes(self, registry):
        put(registry, "a", {"n": 1})
        before = registry.range("")
        outcome = registry.transaction(
            [KeyAbsent("c"), KeyAbsent("a")], [Put("a", {}), Put("b", {}), Delete("a2"), DeletePrefix("x/")],
        )
        assert not outcome.succeeded
        assert outcome.revision == before.revision
        assert outcome.found == {"a": before.entries[0], "c": None}
        assert registry.range("") == before

    def test_all_writes_share_one_revision(self, registry):
        put(registry, "x/1")
        put(registry, "x/2")
        last = put(registry, "old")
        outcome = registry.transaction([], [Put("a", {}), Put("b", {}), Delete("old"), DeletePrefix("x/")])
        assert outcome.revision == last + 1
        entries = registry.range("").entries
        assert [(entry.key, entry.mod_revision) for entry in entries] == [("a", last + 1), ("b", last + 1)]

    def test_delete_prefix_keeps_neighbours(self, registry):
        for key in ("n/1", "n/10", "n/1/a", "n/1/b/c", "n/1x"):
            put(registry, key)
        registry.transaction([], [DeletePrefix("n/1/")])
        assert [entry.key for entry in registry.range("").entries] == ["n/1", "n/10", "n/1x"]

    def test_nothing_changed_keeps_the_revision(self, registry):
        revision = put(registry, "a")
        for writes in ([], [Delete("none")], [DeletePrefix("none/")]):
            outcome = registry.transaction([], writes)
            assert (outcome.succeeded, outcome.revision) == (True, revision)

    @pytest.mark.parametrize("writes", [
        [Put("a", {}), Put("a", {})],
        [Put("a", {}), Delete("a")],
        [Put("a/b", {}), DeletePrefix("a/")],
        [DeletePrefix("a/"), Put("a/b", {})],
        [DeletePrefix("a/"), DeletePrefix("a/b/")],
        [DeletePrefix("a/b/"), DeletePrefix("a/")],
        ["not a write"],
        [None],
        [Put("n/%d" % number, {}) for number in range(MAX_OPERATIONS + 1)],
        [Put("a", {}, lease="7")],
        [Put("a", {}, lease=0)],
        [Put("a", {}, lease=True)],
    ])
    def test_bad_writes_are_refused(self, registry, writes):
        before = registry.range("")
        refused("bad_transaction", registry.transaction, [], writes)
        assert registry.range("") == before

    @pytest.mark.parametrize("compares", [
        ["a"], [Put("a", {})], [ModRevision("a", 0)], [ModRevision("a", None)], [ModRevision("a", "1")],
        [KeyAbsent("a")] * (MAX_OPERATIONS + 1),
    ])
    def test_bad_compares_are_refused(self, registry, compares):
        refused("bad_transaction", registry.transaction, compares, [])

    def test_neighbouring_writes_are_fine(self, registry):
        registry.transaction([], [Put("a", {}), DeletePrefix("a/"), Put("ab", {}), Put("b/a", {})])
        assert [entry.key for entry in registry.range("").entries] == ["a", "ab", "b/a"]

    def test_largest_transaction(self, registry):
        keys = ["n/%03d" % number for number in range(MAX_OPERATIONS)]
        outcome = registry.transaction([KeyAbsent(key) for key in keys], [Put(key, {}) for key in keys])
        assert outcome.succeeded
        assert [entry.key for entry in registry.range("n/").entries] == keys

    def test_update(self, registry):
        assert registry.update("a", lambda value: value) is None
        created = registry.update("a", lambda value: {"n": 1} if value is None else None)
        assert created == registry.get("a")
        changed = registry.update("a", lambda value: dict(value, n=value["n"] + 1))
        assert changed == registry.get("a")
        assert changed.value == {"n": 2}
        assert registry.update("a", lambda value: None) == changed

    def test_update_sees_what_came_between(self, registry):
        put(registry, "a", {"n": 1})
        seen = []

        def change(value):
            seen.append(value["n"])
            if len(seen) == 1:
                put(registry, "a", {"n": 10})
            return {"n": value["n"] + 1}

        assert registry.update("a", change).value == {"n": 11}
        assert seen == [1, 10]

    def test_update_keeps_the_lease(self, registry):
        lease = registry.lease_grant(60, {})
        put(registry, "a", {"n": 1}, lease)
        registry.update("a", lambda value: {"n": 2})
        assert registry.get("a").lease == lease

    def test_two_openings_see_each_other(self, registry, url):
        with open_registry(url) as other:
            revision = put(registry, "a", {"n": 1})
            assert other.get("a").value == {"n": 1}
            assert other.range("").revision == revision
            assert not other.transaction([KeyAbsent("a")], [Put("a", {})]).succeeded

    def test_everything_is_there_after_reopening(self, registry, url):
        lease = registry.lease_grant(60, {"who": "me"})
        put(registry, "a", {"n": 1}, lease)
        before = registry.range("")
        registry.close()
        registry.close()
        with open_registry(url) as again:
            assert again.range("") == before
            assert again.lease_get(lease).owner == {"who": "me"}

    # -- leases -----------------------------------------------------------------------------------------------

    def test_lease(self, registry):
        lease = registry.lease_grant(60, {"who": "me"})
        other = registry.lease_grant(60, {})
        assert 0 < lease < 2**63
        assert lease != other
        held = registry.lease_get(lease)
        assert isinstance(held, Lease)
        assert (held.id, held.ttl, held.owner) == (lease, 60, {"who": "me"})
        assert 50 < held.remaining <= 60
        assert registry.lease_keepalive(lease).owner == {"who": "me"}

    def test_a_lease_is_no_key(self, registry):
        before = registry.range("")
        registry.lease_grant(60, {"who": "me"})
        assert registry.range("") == before

    def test_revoke_deletes_the_keys_at_once(self, registry):
        lease = registry.lease_grant(60, {})
        put(registry, "a", {}, lease)
        put(registry, "b/c", {}, lease)
        revision = put(registry, "kept")
        assert registry.get("a").lease == lease
        assert registry.lease_revoke(lease) is True
        listing = registry.range("")
        assert [entry.key for entry in listing.entries] == ["kept"]
        assert listing.revision == revision + 1
        assert registry.lease_get(lease) is None
        assert registry.lease_revoke(lease) is False
        refused("lease_lost", registry.lease_keepalive, lease)

    def test_put_with_an_unknown_lease_writes_nothing(self, registry):
        lease = registry.lease_grant(60, {})
        registry.lease_revoke(lease)
        before = registry.range("")
        refused("lease_lost", registry.transaction, [], [Put("a", {}), Put("b", {}, lease)])
        assert registry.range("") == before
        put(registry, "a")
        assert not registry.transaction([KeyAbsent("a")], [Put("a", {}, lease)]).succeeded

    def test_a_key_leaves_its_lease(self, registry):
        first, second = registry.lease_grant(60, {}), registry.lease_grant(60, {})
        for key in ("moved", "freed", "dropped"):
            put(registry, key, {}, first)
        put(registry, "moved", {}, second)
        put(registry, "freed", {})
        registry.transaction([], [Delete("dropped")])
        put(registry, "dropped", {})
        registry.lease_revoke(first)
        assert {entry.key: entry.lease for entry in registry.range("").entries} == {
            "dropped": None, "freed": None, "moved": second,
        }

    @pytest.mark.parametrize("ttl", [0, -1, 0.5, "60", None, True, 86401])
    def test_bad_durations_are_refused(self, registry, ttl):
        refused("bad_transaction", registry.lease_grant, ttl, {})

    @pytest.mark.parametrize("lease", [0, -1, "7", None, True])
    def test_bad_lease_ids_are_refused(self, registry, lease):
        for call in (registry.lease_get, registry.lease_keepalive, registry.lease_revoke):
            refused("bad_transaction", call, lease)

    def test_expiry_in_real_time(self, registry):
        ttl = self.shortest_ttl
        kept, left = registry.lease_grant(ttl, {}), registry.lease_grant(ttl, {})
        put(registry, "kept", {}, kept)
        revision = put(registry, "left", {}, left)
        end = time.monotonic() + ttl + 0.3
        while time.monotonic() < end:
            registry.lease_keepalive(kept)
            time.sleep(ttl / 8)
        self.wait_until(lambda: registry.get("left") is None)
        assert registry.lease_get(left) is None
        refused("lease_lost", registry.lease_keepalive, left)
        refused("lease_lost", put, registry, "left", {}, left)
        assert registry.lease_revoke(left) is False
        registry.lease_keepalive(kept)
        assert registry.get("kept").lease == kept
        assert registry.range("").revision == revision + 1

    def wait_until(self, condition):
        """Until the condition holds, for as long as a slow backend may take to notice that a lease ran out."""
        end = time.monotonic() + 3 * self.shortest_ttl + 2
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.05)

    # -- journal ----------------------------------------------------------------------------------------------

    def test_journal(self, registry):
        first = registry.journal_append({"verb": "start", "ended": None})
        second = registry.journal_append({"verb": "stop", "ended": None})
        assert [entry.key for entry in registry.journal_list()] == ["operations/" + second, "operations/" + first]
        assert [entry.key for entry in registry.journal_list(limit=1)] == ["operations/" + second]
        registry.journal_update(first, {"ended": 12.5, "outcome": "done"})
        assert registry.get("operations/" + first).value == {"verb": "start", "ended": 12.5, "outcome": "done"}
        refused("unknown_operation", registry.journal_update, "none", {"ended": 1})

    def test_journal_order_does_not_trust_clocks(self, registry):
        put(registry, "operations/9", {"n": 1})
        put(registry, "operations/1", {"n": 2})
        put(registry, "operations/9", {"n": 3})
        assert [entry.key for entry in registry.journal_list()] == ["operations/1", "operations/9"]

    def test_journal_prune_keeps_running_operations(self, registry):
        running = registry.journal_append({"ended": None})
        ended = [registry.journal_append({"ended": number}) for number in range(1, 6)]
        assert registry.journal_prune(2) == 3
        left = [entry.key for entry in registry.journal_list()]
        assert left == ["operations/" + one for one in (ended[4], ended[3], running)]
        assert registry.journal_prune(2) == 0
        assert registry.journal_prune(0) == 2

    def test_journal_prune_of_many(self, registry):
        for start in range(0, 150, 50):
            keys = ["operations/%03d" % number for number in range(start, start + 50)]
            registry.transaction([], [Put(key, {"ended": 1}) for key in keys])
        assert registry.journal_prune(5) == 145
        assert len(registry.journal_list()) == 5

    # -- as a dict --------------------------------------------------------------------------------------------

    @hypothesis.settings(
        max_examples=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
    )
    @hypothesis.given(plan=st.lists(steps, max_size=12))
    def test_behaves_like_a_dict(self, registry, plan):
        left_over = registry.range("").entries
        registry.transaction([], [Delete(entry.key) for entry in left_over])
        model = Model(registry.range("").revision)
        for step in plan:
            self._step(registry, model, step)
            listing = registry.range("")
            assert listing.revision == model.revision
            assert listing.entries == [model.entries[key] for key in sorted(model.entries)]
        for prefix in PREFIXES:
            expected = [model.entries[key] for key in sorted(model.entries) if key.startswith(prefix)]
            assert registry.range(prefix).entries == expected
        for key in KEYS:
            assert registry.get(key) == model.entries.get(key)
        for lease in model.leases.values():
            assert registry.lease_revoke(lease)

    @staticmethod
    def _step(registry, model, step):
        if step[0] == "grant":
            if step[1] not in model.leases:
                model.leases[step[1]] = registry.lease_grant(3600, {"slot": step[1]})
        elif step[0] == "revoke":
            lease = model.leases.get(step[1])
            if lease is not None:
                assert registry.lease_revoke(lease) is model.revoke(step[1])
        else:
            compares = []
            for kind, key, *shift in step[1]:
                entry = model.entries.get(key)
                revision = max(1, (entry.mod_revision if entry else model.revision) + (shift[0] if shift else 0))
                compares.append(KeyAbsent(key) if kind == "absent" else ModRevision(key, revision))
            # Slots without a lease stand for one that is gone: no backend gives out the id 1 or 2.

            def lease_in(slot):
                return None if slot is None else model.leases.get(slot, slot + 1)

            makers = {
                "put": lambda key, value, slot: Put(key, value, lease_in(slot)),
                "delete": Delete,
                "delete_prefix": DeletePrefix,
            }
            writes = [makers[kind](*rest) for kind, *rest in step[2]]
            if overlap(writes):
                refused("bad_transaction", registry.transaction, compares, writes)
                return
            expected = model.transaction(compares, writes)
            if expected == "lease_lost":
                refused("lease_lost", registry.transaction, compares, writes)
            else:
                outcome = registry.transaction(compares, writes)
                assert (outcome.succeeded, outcome.revision) == expected

    # -- several processes ------------------------------------------------------------------------------------

    def test_no_count_is_lost_between_processes(self, registry, url):
        start = put(registry, "counter", {"n": 0})
        run_all(count_up, [(url, 50)] * 4)
        entry = registry.get("counter")
        assert (entry.value, entry.version, entry.mod_revision) == ({"n": 200}, 201, start + 200)

    def test_a_lock_has_one_holder(self, registry, url, tmp_path):
        log = tmp_path / "log"
        run_all(take_turns, [(url, "p%d" % number, 8, str(log), 45) for number in range(4)])
        lines = log.read_text(encoding="ascii").splitlines()
        assert len(lines) == 64
        for enter, leave in zip(lines[::2], lines[1::2], strict=True):
            assert (enter.split()[0], leave.split()[0]) == ("in", "out")
            assert enter.split()[1] == leave.split()[1]
        assert registry.get("locks/test/one") is None

    def test_the_lock_of_a_killed_holder_ends(self, registry, url):
        ours, theirs = SPAWN.Pipe()
        child = SPAWN.Process(target=lock_and_wait, args=(url, self.shortest_ttl, theirs), daemon=True)
        child.start()
        assert ours.poll(30)
        assert ours.recv() == "locked"
        os.kill(child.pid, signal.SIGKILL)
        child.join(10)
        outcome = registry.transaction([KeyAbsent("locks/test/one")], [Put("locks/test/one", {})])
        assert not outcome.succeeded
        assert outcome.found["locks/test/one"].value == {"holder": "victim"}
        acquire(registry, "heir", 60, 3 * self.shortest_ttl + 5)
        assert registry.get("locks/test/one").value == {"holder": "heir"}

    @pytest.mark.parametrize("after", [1, 7, 20])
    def test_a_killed_writer_leaves_whole_transactions(self, registry, url, after):
        ours, theirs = SPAWN.Pipe(duplex=False)
        child = SPAWN.Process(target=write_twins, args=(url, theirs), daemon=True)
        child.start()
        theirs.close()
        answered = 0
        while answered < after:
            assert ours.poll(30)
            answered = ours.recv()
        time.sleep(random.uniform(0, 0.005))
        os.kill(child.pid, signal.SIGKILL)
        child.join(10)
        try:
            while True:
                answered = ours.recv()
        except EOFError:
            pass
        one, other = registry.range("twins/").entries
        assert one.value == other.value
        assert one.mod_revision == other.mod_revision
        assert answered <= one.value["n"] <= answered + 1
        put(registry, "twins/c")
