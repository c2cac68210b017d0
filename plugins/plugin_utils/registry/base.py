# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every registry backend offers: keys with revisions, compare-and-swap transactions, leases, a journal.

The model is etcd's, cut down to what fits an embedded file as well. Bad input is refused here, before a
backend sees it, so all backends refuse the same. Every backend passes ``tests/unit/registry/contract.py``.
"""

from __future__ import annotations

import abc
import json
import math
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: Longest key in characters.
MAX_KEY = 512
#: Largest value in bytes of JSON; etcd refuses requests above 1.5 MiB.
MAX_VALUE = 1024 * 1024
#: Deepest nesting of a value.
MAX_DEPTH = 50
#: Most compares, and most writes, of one transaction; etcd's default.
MAX_OPERATIONS = 128
#: Longest lease in seconds: a day. A lock that lives longer than its holder blocks everybody.
MAX_TTL = 86400

#: Where the journal lives.
OPERATIONS = "operations/"

_KEY = re.compile(r"[!-.0-~]+(?:/[!-.0-~]+)*")

#: Tries of :meth:`Registry.update` before it gives up.
_TRIES = 100


@dataclass(frozen=True)
class Entry:
    """One key as it was read.

    ``mod_revision`` is what :class:`ModRevision` compares. ``version`` counts the writes since the key was
    created, from 1. ``lease`` is the lease the key dies with, or None.
    """

    key: str
    value: dict
    create_revision: int
    mod_revision: int
    version: int
    lease: int | None = None


class Listing(NamedTuple):
    """The entries of a range, sorted by key, and the registry's revision they were read at."""

    entries: list
    revision: int


@dataclass(frozen=True)
class Outcome:
    """The end of a transaction.

    ``revision`` is the registry's revision after it. ``found`` is filled only when a compare failed: the
    compared keys with what was there (an :class:`Entry` or None) at that very moment.
    """

    succeeded: bool
    revision: int
    found: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Lease:
    """A lease that has not run out. ``ttl`` is what was granted, ``remaining`` what is left, both in seconds."""

    id: int
    ttl: int
    remaining: float
    owner: dict


@dataclass(frozen=True)
class KeyAbsent:
    """Compare: the key does not exist."""

    key: str


@dataclass(frozen=True)
class ModRevision:
    """Compare: the key exists and was last written at this revision."""

    key: str
    revision: int


@dataclass(frozen=True)
class Put:
    """Write: set a key. Without a lease the key stays, even if it had one before."""

    key: str
    value: dict
    lease: int | None = None


@dataclass(frozen=True)
class Delete:
    """Write: remove a key; nothing happens when there is none."""

    key: str


@dataclass(frozen=True)
class DeletePrefix:
    """Write: remove all keys below a prefix, which ends with a slash."""

    prefix: str


def hide_password(url: str) -> str:
    """A URL fit for messages: the password, and options that look like one, become ``***``."""
    scheme, slashes, rest = url.partition("://")
    if slashes and not rest.startswith("/"):
        rest = re.sub(r"^([^/:@]*):.*@", r"\1:***@", rest, flags=re.DOTALL)
    rest = re.sub(r"(?i)((?:password|passwd|passphrase|secret|token)=)[^&]*", r"\1***", rest)
    return scheme + slashes + rest


def check_key(key: Any) -> str:
    """Refuse what is not a key: non-empty parts of printable ASCII without blanks, separated by slashes."""
    if not isinstance(key, str) or len(key) > MAX_KEY or not _KEY.fullmatch(key):
        raise GantryError(
            "The registry key %s cannot be used" % _short(key),
            expected="parts of printable ASCII without blanks between single slashes, at most %d characters" % MAX_KEY,
            mend="correct the name it was made from",
            code="bad_key",
        )
    return str(key)


def check_prefix(prefix: Any, whole: bool = True) -> str:
    """Refuse what is not a prefix: a key and a slash, so that ``nodes/node1/`` never means node10.

    :param whole: the empty prefix, meaning everything, is allowed.
    """
    if whole and prefix == "" and isinstance(prefix, str):
        return ""
    if isinstance(prefix, str) and prefix.endswith("/"):
        return check_key(prefix[:-1]) + "/"
    raise GantryError(
        "The registry prefix %s cannot be used" % _short(prefix),
        expected="a key that ends with a slash" + (", or nothing" if whole else ""),
        mend="add the slash at its end",
        code="bad_key",
    )


def check_value(value: Any, what: str = "The value") -> dict:
    """A plain copy of a JSON object; anything that JSON would change or lose on the way is refused.

    :param what: what is being stored, for the message.
    """
    if not isinstance(value, Mapping):
        raise _bad_value(what, value, "a mapping")
    plain = _plain(value, what, 1)
    size = len(encode(plain))
    if size > MAX_VALUE:
        raise GantryError(
            "%s is too large for the registry" % what, found="%d bytes" % size, expected="at most %d bytes" % MAX_VALUE,
            mend="store less in it", code="bad_value",
        )
    return plain


def encode(value: dict) -> str:
    """The one way a value is written down."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise _bad_value(where, value, "at most %d levels of nesting" % MAX_DEPTH)
    if value is None or isinstance(value, bool):
        return value
    # Subclasses, such as Ansible's marked strings, are stored as what they are made of.
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if not -2**63 <= value < 2**63:
            raise _bad_value(where, value, "a number of at most 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _bad_value(where, value, "a finite number")
        return float(value)
    if isinstance(value, list):
        return [_plain(item, "%s[%d]" % (where, number), depth + 1) for number, item in enumerate(value)]
    if isinstance(value, Mapping):
        plain = {}
        for name, item in value.items():
            if not isinstance(name, str):
                raise _bad_value("%s, name %s" % (where, _short(name)), name, "text as a name")
            plain[str(name)] = _plain(item, "%s.%s" % (where, name), depth + 1)
        return plain
    raise _bad_value(where, value, "JSON: mapping, list, text, number, true, false or null")


def _bad_value(where: str, value: Any, expected: str) -> GantryError:
    # The value itself is not shown: it may be a secret.
    return GantryError(
        "%s cannot be stored in the registry" % where, found=type(value).__name__, expected=expected,
        mend="correct the value", code="bad_value",
    )


def _short(thing: Any) -> str:
    text = repr(thing)
    return text if len(text) <= 80 else text[:77] + "..."


def _bad_transaction(what: str, found: Any = None, expected: str | None = None) -> GantryError:
    return GantryError(
        what, found=found, expected=expected, mend="report this: the caller is wrong", code="bad_transaction",
    )


def _check_number(number: Any, what: str, least: int, most: int | None = None) -> int:
    whole = isinstance(number, int) and not isinstance(number, bool)
    if not whole or number < least or (most is not None and number > most):
        expected = "a whole number of at least %d" % least
        if most is not None:
            expected += " and at most %d" % most
        raise _bad_transaction(what, found=_short(number), expected=expected)
    return int(number)


def _check_compare(compare: Any) -> KeyAbsent | ModRevision:
    if isinstance(compare, KeyAbsent):
        return KeyAbsent(check_key(compare.key))
    if isinstance(compare, ModRevision):
        revision = _check_number(compare.revision, "The revision compared with %s is none" % _short(compare.key), 1)
        return ModRevision(check_key(compare.key), revision)
    raise _bad_transaction("A compare of a transaction is none", _short(compare), "KeyAbsent or ModRevision")


def _check_write(write: Any) -> Put | Delete | DeletePrefix:
    if isinstance(write, Put):
        key = check_key(write.key)
        lease = write.lease
        if lease is not None:
            lease = _check_number(lease, "The lease of key %s is none" % key, 1)
        return Put(key, check_value(write.value, "The value of key %s" % key), lease)
    if isinstance(write, Delete):
        return Delete(check_key(write.key))
    if isinstance(write, DeletePrefix):
        return DeletePrefix(check_prefix(write.prefix, whole=False))
    raise _bad_transaction("A write of a transaction is none", _short(write), "Put, Delete or DeletePrefix")


def check_transaction(compares: Iterable, writes: Iterable) -> tuple:
    """Checked copies of both lists.

    :raises GantryError: unknown operations, too many, or two writes that touch the same key, whose order
        backends would not agree on.
    """
    compares = [_check_compare(compare) for compare in compares]
    writes = [_check_write(write) for write in writes]
    for kind, operations in (("compares", compares), ("writes", writes)):
        if len(operations) > MAX_OPERATIONS:
            most = "at most %d" % MAX_OPERATIONS
            raise _bad_transaction("A transaction has too many %s" % kind, len(operations), most)
    places = [write.prefix if isinstance(write, DeletePrefix) else write.key for write in writes]
    for number, place in enumerate(places):
        for other in places[:number]:
            if place == other or _inside(place, other) or _inside(other, place):
                raise _bad_transaction("A transaction writes twice to the same place", place, "one write for each key")
    return compares, writes


def _inside(place: str, prefix: str) -> bool:
    return prefix.endswith("/") and place.startswith(prefix)


def new_operation_id(now: float | None = None) -> str:
    """A journal id that sorts by time: UTC to the microsecond and a random part.

    :param now: seconds since the epoch; None means now.
    """
    moment = datetime.fromtimestamp(time.time() if now is None else now, timezone.utc)
    return "%s-%s" % (moment.strftime("%Y%m%dT%H%M%S.%fZ"), secrets.token_hex(4))


class Registry(abc.ABC):
    """One open registry.

    All methods raise :class:`GantryError`; its ``code`` is ``bad_key``, ``bad_value`` or ``bad_transaction``
    for input that can never work, ``registry_busy`` when nothing was done because others hold the registry,
    ``registry_unsure`` when the connection or disk failed while a transaction was being committed, so that
    only reading again tells whether it was done, and ``registry_failed`` for other faults, with nothing done.
    """

    #: The URL it was opened with, without a password.
    url: str

    @classmethod
    @abc.abstractmethod
    def open(cls, url: str, create: bool) -> Registry:
        """Open it; see :func:`registry.open_registry`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of files and connections. Closing twice is harmless."""

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *unused: Any) -> None:
        self.close()

    # -- keys -------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Entry | None:
        """One key, or None."""
        return self._get(check_key(key))

    def range(self, prefix: str, *others: str) -> Listing:
        """All keys below one or more prefixes, read at one moment.

        :param prefix: ends with a slash (``nodes/``), or is empty for everything.
        """
        return self._range(sorted({check_prefix(one) for one in (prefix, *others)}))

    def transaction(self, compares: Sequence, writes: Sequence) -> Outcome:
        """Do all writes if all compares hold, else none; nobody ever sees a part of them.

        All writes of a transaction get the same new revision. A transaction that changes nothing (only
        deletes, and nothing was there) gets none.

        :param compares: :class:`KeyAbsent` and :class:`ModRevision`; empty means always.
        :param writes: :class:`Put`, :class:`Delete`, :class:`DeletePrefix`; no key twice.
        :raises GantryError: ``lease_lost`` when all compares hold but a lease of a Put has run out or never
            was; nothing is written then.
        """
        return self._transaction(*check_transaction(compares, writes))

    def update(self, key: str, change: Callable[[dict | None], dict | None]) -> Entry | None:
        """Read, change and write one key until nobody comes between.

        :param change: gets a copy of the value, or None when there is no such key, and returns the new value,
            or None to leave everything as it is. It may be called several times. A lease of the key stays.
        :returns: the entry as written, or as found when nothing was changed.
        :raises GantryError: ``registry_conflict`` after many lost races.
        """
        for attempt in range(_TRIES):
            entry = self.get(key)
            value = change(None if entry is None else json.loads(encode(entry.value)))
            if value is None:
                return entry
            value = check_value(value, "The value of key %s" % key)
            if entry is None:
                guard, write = KeyAbsent(key), Put(key, value)
            else:
                guard, write = ModRevision(key, entry.mod_revision), Put(key, value, entry.lease)
            outcome = self.transaction([guard], [write])
            if outcome.succeeded:
                if entry is None:
                    return Entry(key, value, outcome.revision, outcome.revision, 1)
                return Entry(key, value, entry.create_revision, outcome.revision, entry.version + 1, entry.lease)
            time.sleep(secrets.randbelow(1 + min(attempt, 50)) / 1000)
        raise GantryError(
            "The registry key %s could not be changed" % key, found="%d times somebody else was faster" % _TRIES,
            mend="run it again when fewer operations are under way", code="registry_conflict",
        )

    # -- leases -----------------------------------------------------------------------------------------------

    def lease_grant(self, ttl_seconds: int, owner: dict) -> int:
        """A new lease. Keys put with its id vanish when it is not kept alive for that long.

        A lease that runs out is not proof that its holder stopped: the nodes' generation guard is.

        :param ttl_seconds: whole seconds from 1 to a day; a backend may prolong a very short one.
        :param owner: who holds it, for others to read: a mapping.
        :returns: its id, below 2**63 and never given out again.
        """
        ttl_seconds = _check_number(ttl_seconds, "The duration of a lease is none", 1, MAX_TTL)
        return self._lease_grant(ttl_seconds, check_value(owner, "The owner of a lease"))

    def lease_keepalive(self, lease: int) -> Lease:
        """Start the lease's time anew. :raises GantryError: ``lease_lost``."""
        kept = self._lease_keepalive(_check_number(lease, "The lease is none", 1))
        if kept is None:
            raise lease_lost(lease)
        return kept

    def lease_revoke(self, lease: int) -> bool:
        """End a lease and delete its keys. False when there is no such lease any more."""
        return self._lease_revoke(_check_number(lease, "The lease is none", 1))

    def lease_get(self, lease: int) -> Lease | None:
        """The lease, or None when it has run out or never was."""
        return self._lease_get(_check_number(lease, "The lease is none", 1))

    # -- journal: keys operations/<id> ------------------------------------------------------------------------

    def journal_append(self, entry: dict) -> str:
        """Note a new operation; returns its id. To do it together with other writes, put the key yourself."""
        operation = new_operation_id()
        key = OPERATIONS + operation
        self.transaction([KeyAbsent(key)], [Put(key, entry)])
        return operation

    def journal_update(self, operation: str, changes: dict) -> Entry:
        """Merge changes into a noted operation. :raises GantryError: ``unknown_operation``."""
        def change(value: dict | None) -> dict:
            if value is None:
                raise GantryError(
                    "Operation %s is not in the journal" % operation, mend="look at the journal with cluster_info",
                    code="unknown_operation",
                )
            value.update(changes)
            return value
        return self.update(OPERATIONS + operation, change)

    def journal_list(self, limit: int | None = None) -> list:
        """The noted operations, the newest first; the order is that of noting, whatever the clocks said."""
        entries = self.range(OPERATIONS).entries
        entries.sort(key=lambda entry: (entry.create_revision, entry.key), reverse=True)
        return entries if limit is None else entries[:limit]

    def journal_prune(self, keep: int) -> int:
        """Drop the oldest operations that have ended (``ended`` is set), except the newest ``keep`` of them.

        :returns: how many were dropped. One that somebody is just writing to stays until the next time.
        """
        keep = _check_number(keep, "The number of journal entries to keep is none", 0)
        ended = [entry for entry in self.journal_list() if entry.value.get("ended")]
        surplus = ended[keep:]
        dropped = 0
        for start in range(0, len(surplus), MAX_OPERATIONS):
            part = surplus[start:start + MAX_OPERATIONS]
            guards = [ModRevision(entry.key, entry.mod_revision) for entry in part]
            if self.transaction(guards, [Delete(entry.key) for entry in part]).succeeded:
                dropped += len(part)
        return dropped

    # -- what a backend does; the input is checked ------------------------------------------------------------

    @abc.abstractmethod
    def _get(self, key: str) -> Entry | None:
        """See :meth:`get`."""

    @abc.abstractmethod
    def _range(self, prefixes: list) -> Listing:
        """See :meth:`range`. The prefixes are sorted and may overlap; no entry is listed twice."""

    @abc.abstractmethod
    def _transaction(self, compares: list, writes: list) -> Outcome:
        """See :meth:`transaction`."""

    @abc.abstractmethod
    def _lease_grant(self, ttl_seconds: int, owner: dict) -> int:
        """See :meth:`lease_grant`."""

    @abc.abstractmethod
    def _lease_keepalive(self, lease: int) -> Lease | None:
        """See :meth:`lease_keepalive`; None when it has run out."""

    @abc.abstractmethod
    def _lease_revoke(self, lease: int) -> bool:
        """See :meth:`lease_revoke`."""

    @abc.abstractmethod
    def _lease_get(self, lease: int) -> Lease | None:
        """See :meth:`lease_get`."""


def lease_lost(lease: int) -> GantryError:
    """The error for a lease that is gone."""
    return GantryError(
        "Lease %d is gone" % lease, found="it ran out, was revoked, or never was", expected="a living lease",
        mend="stop what it protected and begin the operation again", code="lease_lost",
    )
