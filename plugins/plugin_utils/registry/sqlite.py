# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded registry: one SQLite file on a local disk of the controller, shared by all its processes.

Every write is one ``BEGIN IMMEDIATE`` transaction in WAL mode with ``synchronous=FULL``: what was answered
survives a power cut, what was killed half way never happened. Leases end by the wall clock, at the next use
of the registry by anybody.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import secrets
import sqlite3
import threading
import time
import urllib.parse
import weakref
from collections.abc import Callable
from typing import Any

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import (
    Delete,
    Entry,
    KeyAbsent,
    Lease,
    Listing,
    Outcome,
    Put,
    Registry,
    encode,
    hide_password,
    lease_lost,
)

#: Marks the file as ours ("Gntr"), in SQLite's field for that.
APPLICATION_ID = 0x476E7472

#: What turns the schema of number n - 1 into number n; an empty file is number 0.
SCHEMAS = {
    1: (
        "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL)",
        "INSERT INTO state VALUES (1, 1)",
        "CREATE TABLE leases (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL, deadline REAL NOT NULL,"
        " owner TEXT NOT NULL)",
        "CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, create_revision INTEGER NOT NULL,"
        " mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER REFERENCES leases (id)) WITHOUT ROWID",
        "CREATE INDEX entries_lease ON entries (lease) WHERE lease IS NOT NULL",
    ),
}
SCHEMA = max(SCHEMAS)

#: File systems without the locks or the shared memory that WAL needs between hosts or processes.
NETWORK_FILESYSTEMS = frozenset((
    "9p", "afs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.cephfs", "fuse.davfs", "fuse.glusterfs",
    "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
))

_COLUMNS = "key, value, create_revision, mod_revision, version, lease"

#: All registries of this process, see :func:`_before_fork`.
_living: weakref.WeakSet = weakref.WeakSet()
_held: list = []


def path_of(url: str) -> str:
    """The file a URL means: what follows ``sqlite://``, literally, an absolute path or one that begins with ``~``.

    ``sqlite:///var/x.db`` and ``sqlite:////var/x.db`` mean the same.

    :raises GantryError: ``bad_registry_url``.
    """
    path = url[len("sqlite://"):]
    if path.startswith("/~"):
        path = path[1:]
    if path.startswith("~"):
        path = os.path.expanduser(path)
    if not path.startswith("/") or path.endswith("/") or not path.isprintable() or "?" in path or "#" in path:
        raise GantryError(
            "The registry URL cannot be used", found=repr(hide_password(url)),
            expected="sqlite:// and the absolute path of a file, or ~/ and a path, without '?' and '#'",
            mend="set gantry_registry, for example to sqlite:////var/lib/gantry/registry.db",
            code="bad_registry_url",
        )
    return "/" + path.lstrip("/")


def filesystem_of(path: str, mounts: str) -> str:
    """The type of the file system a path lies on, or an empty text.

    :param mounts: the text of /proc/self/mounts.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code.group(1), 8)), fields[1]).rstrip("/")
        # A later mount on the same place hides the earlier one.
        if (path + "/").startswith(point + "/") and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def _refuse_network_filesystem(path: str) -> None:
    try:
        mounts = pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind = filesystem_of(os.path.realpath(path), mounts)
    if kind in NETWORK_FILESYSTEMS:
        raise GantryError(
            "The registry %s cannot live on a network file system" % path, found="file system %s" % kind,
            expected="a local disk of the controller",
            mend="move it to a local disk, or use a registry made for several controllers",
            code="registry_filesystem",
        )


def _code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code, or 0 for errors of the Python module itself."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _is_busy(error: sqlite3.Error) -> bool:
    return _code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Backend(Registry):
    """A registry in one SQLite file. Threads may share it; see also :func:`_before_fork`."""

    #: Seconds to wait for other processes before giving up.
    busy_seconds = 15.0
    #: The wall clock, in seconds since the epoch.
    clock: Callable[[], float] = staticmethod(time.time)

    def __init__(self, url: str) -> None:
        self.url = hide_password(url)
        self.path = path_of(url)
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple | None = None
        _living.add(self)

    @classmethod
    def open(cls, url: str, create: bool) -> Backend:
        """Open the file, or make it: its folder with mode 0700 if there is none, the file with 0600.

        :raises GantryError: ``bad_registry_url``, ``registry_filesystem``, ``no_registry``, ``registry_unreachable``,
            ``registry_foreign`` (a file that is no registry), ``registry_newer``, ``registry_busy``.
        """
        registry = cls(url)
        _refuse_network_filesystem(registry.path)
        if create:
            registry._create_file()
        with registry._mutex:
            registry._patiently(lambda: registry._connect(create))
        return registry

    def close(self) -> None:
        with self._mutex:
            self._disconnect()

    # -- the file ---------------------------------------------------------------------------------------------

    def _create_file(self) -> None:
        folder = os.path.dirname(self.path)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            # It holds secrets: nobody else may look even for a moment.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error

    def _connect(self, create: bool = False) -> sqlite3.Connection:
        """The open connection; opened again after a fork or when the file was replaced."""
        if self._connection is not None:
            if self._identity == self._identify():
                return self._connection
            self._disconnect()
        identity = self._identify()
        uri = "file:%s?mode=rw" % urllib.parse.quote(self.path)
        try:
            connection = sqlite3.connect(
                uri, uri=True, timeout=min(1.0, self.busy_seconds), isolation_level=None, check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise self._unreachable(error) from error
        try:
            self._prepare(connection, create)
        except BaseException:
            connection.close()
            raise
        self._connection, self._identity = connection, identity
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _identify(self) -> tuple:
        try:
            status = os.stat(self.path)
        except FileNotFoundError as error:
            raise self._missing("no such file") from error
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        return status.st_dev, status.st_ino

    def _prepare(self, connection: sqlite3.Connection, create: bool) -> None:
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            found = self._schema_of(connection)
            if found == 0:
                if not create:
                    raise self._missing("an empty file")
            if found < SCHEMA:
                self._upgrade(connection)
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise
            raise self._unreachable(error) from error
        except sqlite3.DatabaseError as error:
            raise self._foreign(str(error)) from error
        if mode != "wal":
            raise GantryError(
                "The registry %s cannot live where it is" % self.path, found="SQLite journal mode %s" % mode,
                expected="WAL, which needs locks and shared memory of a local file system",
                mend="move it to a local disk", code="registry_filesystem",
            )

    def _schema_of(self, connection: sqlite3.Connection) -> int:
        """The number of the schema; 0 is an empty file. Nothing is written to a file that is not ours."""
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        number = connection.execute("PRAGMA user_version").fetchone()[0]
        if owner == 0 and number == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            return 0
        if owner != APPLICATION_ID or number < 1:
            raise self._foreign("another program's SQLite database")
        if number > SCHEMA:
            raise GantryError(
                "The registry %s was written by a newer gantry.cluster" % self.path, found="schema %d" % number,
                expected="at most schema %d" % SCHEMA, mend="install that newer version of the collection here too",
                code="registry_newer",
            )
        return number

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
            for number in range(self._schema_of(connection) + 1, SCHEMA + 1):
                for statement in SCHEMAS[number]:
                    connection.execute(statement)
            connection.execute("PRAGMA application_id = %d" % APPLICATION_ID)
            connection.execute("PRAGMA user_version = %d" % SCHEMA)
            connection.execute("COMMIT")
        except BaseException:
            self._roll_back(connection)
            raise

    # -- errors -----------------------------------------------------------------------------------------------

    def _missing(self, found: str) -> GantryError:
        return GantryError(
            "There is no registry at %s" % self.url, found=found, expected="the registry of a cluster",
            mend="run the playbook cluster_init, or correct gantry_registry", code="no_registry",
        )

    def _unreachable(self, reason: Any) -> GantryError:
        return GantryError(
            "The registry %s cannot be opened" % self.url, found=reason,
            expected="a file and a folder that user %d may write" % os.geteuid(),
            mend="look at it with ls -ld %s %s, or correct gantry_registry" % (os.path.dirname(self.path), self.path),
            code="registry_unreachable",
        )

    def _foreign(self, reason: str) -> GantryError:
        return GantryError(
            "The file behind %s is no registry" % self.url, found=reason, expected="a registry made by cluster_init",
            mend="correct gantry_registry, or put the backup of the registry in its place (docs/registry.md)",
            code="registry_foreign",
        )

    def _busy(self, reason: Any) -> GantryError:
        return GantryError(
            "The registry %s is held by another process" % self.path,
            found="%s for %g s; nothing was done" % (reason, self.busy_seconds),
            expected="a transaction takes milliseconds",
            mend="find the process with fuser -v %s; end it if it hangs, then run the same command again" % self.path,
            code="registry_busy",
        )

    def _failed(self, error: sqlite3.Error, committing: bool) -> GantryError:
        if _code_of(error) == sqlite3.SQLITE_READONLY:
            return self._unreachable(error)
        if committing:
            return GantryError(
                "The registry %s failed while a change was being stored" % self.path,
                found="%s; the change may be stored or not" % error,
                mend="mend the disk or make room on it, then run the same command again: it looks first",
                code="registry_unsure",
            )
        if _code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            mend = "restore its backup, or rebuild it from the nodes (docs/registry.md)"
        else:
            mend = "look at the disk with df %s and dmesg, then run the same command again" % self.path
        return GantryError(
            "The registry %s cannot be used" % self.path, found="%s; nothing was done" % error, mend=mend,
            code="registry_failed",
        )

    # -- transactions -----------------------------------------------------------------------------------------

    def _patiently(self, action: Callable[[], Any]) -> Any:
        """Do what changes nothing when it fails, again and again while others hold the registry."""
        deadline = time.monotonic() + self.busy_seconds
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                if time.monotonic() >= deadline:
                    raise self._busy(error) from error
            time.sleep(0.002 + secrets.randbelow(20) / 1000)

    def _begin(self, write: bool) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            due = self._due(connection)
            if due and not write:
                connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                due = self._due(connection)
            self._expire(connection, due)
        except BaseException:
            self._roll_back(connection)
            raise
        return connection

    def _run(self, work: Callable[[sqlite3.Connection], Any], write: bool) -> Any:
        """One transaction on the file.

        :param work: may be called only once and gets the connection.
        """
        with self._mutex:
            committing = False
            connection = None
            try:
                connection = self._patiently(lambda: self._begin(write))
                result = work(connection)
                committing = True
                connection.execute("COMMIT")
                return result
            except sqlite3.Error as error:
                raise self._failed(error, committing and write) from error
            finally:
                if connection is not None:
                    self._roll_back(connection)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """Leave no transaction open, whatever happened; without one this does nothing."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            # The error that led here is the one to report. Closing rolls back as well.
            self._disconnect()

    def _due(self, connection: sqlite3.Connection) -> list:
        """Leases to end, or to anchor anew because the clock was set back behind their grant."""
        now = self.clock()
        return connection.execute(
            "SELECT id, deadline > ? FROM leases WHERE deadline <= ? OR deadline > ? + ttl + 1 ORDER BY deadline, id",
            (now, now, now),
        ).fetchall()

    def _expire(self, connection: sqlite3.Connection, due: list) -> None:
        for lease, early in due:
            if early:
                # Without this, setting the clock back by a year would lock everybody out for a year.
                connection.execute("UPDATE leases SET deadline = ? + ttl WHERE id = ?", (self.clock(), lease))
            else:
                self._end_lease(connection, lease)

    def _end_lease(self, connection: sqlite3.Connection, lease: int) -> bool:
        if connection.execute("DELETE FROM entries WHERE lease = ?", (lease,)).rowcount:
            self._raise_revision(connection)
        return connection.execute("DELETE FROM leases WHERE id = ?", (lease,)).rowcount > 0

    @staticmethod
    def _revision(connection: sqlite3.Connection) -> int:
        return connection.execute("SELECT revision FROM state").fetchone()[0]

    def _raise_revision(self, connection: sqlite3.Connection) -> int:
        connection.execute("UPDATE state SET revision = revision + 1")
        return self._revision(connection)

    # -- keys -------------------------------------------------------------------------------------------------

    @staticmethod
    def _entry(row: tuple | None) -> Entry | None:
        return None if row is None else Entry(row[0], json.loads(row[1]), *row[2:])

    def _read(self, connection: sqlite3.Connection, key: str) -> Entry | None:
        return self._entry(connection.execute("SELECT %s FROM entries WHERE key = ?" % _COLUMNS, (key,)).fetchone())

    def _get(self, key: str) -> Entry | None:
        return self._run(lambda connection: self._read(connection, key), write=False)

    def _range(self, prefixes: list) -> Listing:
        def work(connection: sqlite3.Connection) -> Listing:
            entries = {}
            for prefix in prefixes:
                for row in connection.execute(
                    "SELECT %s FROM entries WHERE key >= ? AND key < ?" % _COLUMNS, (prefix, _after(prefix)),
                ):
                    entries[row[0]] = self._entry(row)
            return Listing([entries[key] for key in sorted(entries)], self._revision(connection))
        return self._run(work, write=False)

    def _transaction(self, compares: list, writes: list) -> Outcome:
        return self._run(lambda connection: self._apply(connection, compares, writes), write=True)

    def _apply(self, connection: sqlite3.Connection, compares: list, writes: list) -> Outcome:
        found = {compare.key: self._read(connection, compare.key) for compare in compares}
        revision = self._revision(connection)
        for compare in compares:
            entry = found[compare.key]
            seen = None if entry is None else entry.mod_revision
            if seen != (None if isinstance(compare, KeyAbsent) else compare.revision):
                return Outcome(False, revision, found)
        for write in writes:
            lease = getattr(write, "lease", None)
            if lease is not None and self._read_lease(connection, lease) is None:
                raise lease_lost(lease)
        changed = False
        for write in writes:
            changed = self._write(connection, write, revision + 1) or changed
        return Outcome(True, self._raise_revision(connection) if changed else revision)

    @staticmethod
    def _write(connection: sqlite3.Connection, write: Any, revision: int) -> bool:
        if isinstance(write, Put):
            connection.execute(
                "INSERT INTO entries (%s) VALUES (?, ?, ?, ?, 1, ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value, mod_revision = excluded.mod_revision,"
                " version = version + 1, lease = excluded.lease" % _COLUMNS,
                (write.key, encode(write.value), revision, revision, write.lease),
            )
            return True
        if isinstance(write, Delete):
            return connection.execute("DELETE FROM entries WHERE key = ?", (write.key,)).rowcount > 0
        limits = (write.prefix, _after(write.prefix))
        return connection.execute("DELETE FROM entries WHERE key >= ? AND key < ?", limits).rowcount > 0

    # -- leases -----------------------------------------------------------------------------------------------

    def _read_lease(self, connection: sqlite3.Connection, lease: int) -> Lease | None:
        row = connection.execute("SELECT id, ttl, deadline, owner FROM leases WHERE id = ?", (lease,)).fetchone()
        if row is None or row[2] <= self.clock():
            return None
        return Lease(row[0], row[1], row[2] - self.clock(), json.loads(row[3]))

    def _lease_grant(self, ttl_seconds: int, owner: dict) -> int:
        # Random, so that an id from before a restored backup never means somebody else's lease. 53 bits stay
        # exact in every JSON reader.
        lease = secrets.randbelow(2**53 - 1) + 1

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(
                "INSERT INTO leases (id, ttl, deadline, owner) VALUES (?, ?, ?, ?)",
                (lease, ttl_seconds, self.clock() + ttl_seconds, encode(owner)),
            )
            return lease
        return self._run(work, write=True)

    def _lease_keepalive(self, lease: int) -> Lease | None:
        def work(connection: sqlite3.Connection) -> Lease | None:
            connection.execute("UPDATE leases SET deadline = ? + ttl WHERE id = ?", (self.clock(), lease))
            return self._read_lease(connection, lease)
        return self._run(work, write=True)

    def _lease_revoke(self, lease: int) -> bool:
        return self._run(lambda connection: self._end_lease(connection, lease), write=True)

    def _lease_get(self, lease: int) -> Lease | None:
        return self._run(lambda connection: self._read_lease(connection, lease), write=False)


def _after(prefix: str) -> str:
    """The first text behind all that begin with a prefix; prefixes end with a slash or are empty."""
    return prefix[:-1] + chr(ord("/") + 1) if prefix else "\x7f"


def _before_fork() -> None:
    """Close all connections: SQLite forbids to carry one into a child. Parent and child open their own when needed."""
    _held[:] = list(_living)
    for registry in _held:
        registry._mutex.acquire()
        registry._disconnect()


def _after_fork_in_parent() -> None:
    for registry in _held:
        registry._mutex.release()
    del _held[:]


def _after_fork_in_child() -> None:
    for registry in _held:
        registry._mutex = threading.RLock()
    del _held[:]


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child,
)
