# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SQLite registry: the contract, and what is its own: files, forks, locks, clocks."""

from __future__ import annotations

import os
import pathlib
import pwd
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import warnings

import pytest

from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import backends, open_registry, sqlite
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import (
    KeyAbsent,
    Put,
    hide_password,
    new_operation_id,
)

from .contract import SPAWN, RegistryContract, put, refused, run_all
from .workers import create_and_count, die_within_a_transaction


def run_python(script, *arguments):
    """Run a script in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True, text=True, timeout=60, check=False,
    )


@pytest.fixture
def path(tmp_path):
    """Where the registry of a test lies."""
    return tmp_path / "registry.db"


@pytest.fixture
def url(path):
    """The URL of a registry that exists."""
    url = "sqlite://%s" % path
    open_registry(url, create=True).close()
    return url


@pytest.fixture
def registry(url):
    """It, open."""
    with open_registry(url) as registry:
        yield registry


class TestContract(RegistryContract):
    """The contract."""

    @pytest.fixture
    def url(self, tmp_path):
        url = "sqlite://%s" % (tmp_path / "registry.db")
        open_registry(url, create=True).close()
        return url


# -- URLs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("url", "path"), [
    ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
    ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
    ("sqlite:///x%20y@z:1.db", "/x%20y@z:1.db"),
    ("sqlite:///~/x.db", os.path.expanduser("~/x.db")),
    ("sqlite://~/x.db", os.path.expanduser("~/x.db")),
    ("sqlite://~root/x.db", pwd.getpwuid(0).pw_dir + "/x.db"),
])
def test_path_of(url, path):
    assert sqlite.path_of(url) == path


@pytest.mark.parametrize("url", [
    None, 7, "", "/var/lib/x.db", "sqlite", "sqlite:/x.db", "SQLITE:///x.db", "sqlite://", "sqlite:///",
    "sqlite:///dir/",
    "sqlite://x.db", "sqlite://host/x.db", "sqlite:///x.db?mode=ro", "sqlite:///x.db#a", "sqlite:///x\n.db",
    "sqlite://~nobody-of-this-name/x.db", "base://x", "__init__://x", "nosuch://x", "../sqlite:///x",
])
@pytest.mark.parametrize("create", [False, True])
def test_bad_urls_are_refused(url, create):
    error = refused("bad_registry_url", open_registry, url, create=create)
    assert "sqlite:////var/lib/gantry/registry.db" in error.mend


@pytest.mark.parametrize(("url", "shown"), [
    ("etcd://admin:p@ss/w:ord@h1:2379,h2:2379/x", "etcd://admin:***@h1:2379,h2:2379/x"),
    ("etcd://h1:2379,h2:2379", "etcd://h1:2379,h2:2379"),
    ("etcd://h1/?password=a%20b&ca=/x", "etcd://h1/?password=***&ca=/x"),
    ("sqlite:///srv/a:b@c.db", "sqlite:///srv/a:b@c.db"),
    ("no url", "no url"),
])
def test_passwords_are_hidden(url, shown):
    assert hide_password(url) == shown


def test_a_refused_url_hides_its_password():
    for url in ("nosuch://me:s3cret@host/x", "sqlite://me:s3cret@host/x"):
        assert "s3cret" not in str(refused("bad_registry_url", open_registry, url))


def test_backends():
    assert "sqlite" in backends()
    assert "base" not in backends()


# -- the file ---------------------------------------------------------------------------------------------------


def test_a_missing_registry_is_not_made_by_looking(path):
    error = refused("no_registry", open_registry, "sqlite://%s" % path)
    assert "cluster_init" in error.mend
    assert not path.exists()


def test_an_empty_file_is_no_registry_until_created(path):
    path.touch()
    refused("no_registry", open_registry, "sqlite://%s" % path)
    with open_registry("sqlite://%s" % path, create=True) as registry:
        put(registry, "a")


def test_modes(tmp_path):
    path = tmp_path / "new" / "registry.db"
    before = os.umask(0)
    try:
        with open_registry("sqlite://%s" % path, create=True) as registry:
            put(registry, "secrets/x")
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert modes["registry.db"] == 0o600
    assert "registry.db-wal" in modes
    assert set(modes.values()) == {0o600}


def test_creating_again_changes_nothing(url, registry):
    put(registry, "a", {"n": 1})
    with open_registry(url, create=True) as again:
        assert again.get("a").value == {"n": 1}


def test_many_create_at_once(tmp_path):
    url = "sqlite://%s" % (tmp_path / "deep" / "registry.db")
    run_all(create_and_count, [(url,)] * 4)
    with open_registry(url) as registry:
        assert registry.get("counter").value == {"n": 4}


def test_durable_settings(registry):
    put(registry, "a")
    connection = registry._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


@pytest.mark.parametrize("create", [False, True])
def test_a_file_that_is_no_registry_stays_as_it_is(path, create):
    path.write_text("[defaults]\n" * 200, encoding="ascii")
    before = path.read_bytes()
    refused("registry_foreign", open_registry, "sqlite://%s" % path, create=create)
    assert path.read_bytes() == before


@pytest.mark.parametrize("create", [False, True])
def test_another_programs_database_stays_as_it_is(path, create):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    refused("registry_foreign", open_registry, "sqlite://%s" % path, create=create)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(path, url):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = %d" % (sqlite.SCHEMA + 1))
    connection.close()
    error = refused("registry_newer", open_registry, url)
    assert "schema %d" % (sqlite.SCHEMA + 1) in error.found
    refused("registry_newer", open_registry, url, create=True)


def test_a_folder_is_no_registry(tmp_path):
    refused("registry_unreachable", open_registry, "sqlite://%s" % tmp_path, create=True)
    refused("registry_unreachable", open_registry, "sqlite://%s" % tmp_path)


def test_a_file_as_folder(path):
    path.touch()
    refused("registry_unreachable", open_registry, "sqlite://%s/below" % path, create=True)
    refused("registry_unreachable", open_registry, "sqlite://%s/below" % path)


def test_damage_is_told(path, url):
    with open_registry(url) as registry:
        for number in range(100):
            put(registry, "a/%d" % number, {"text": "x" * 500})
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096:page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(data)
    with open_registry(url) as registry:
        error = refused("registry_failed", registry.range, "")
    assert "backup" in error.mend


def test_a_full_disk_is_told_and_nothing_is_written(registry):
    put(registry, "a", {"n": 1})
    connection = registry._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute("PRAGMA max_page_count = %d" % pages)
    before = registry.range("")
    error = refused("registry_failed", registry.transaction, [], [Put("a", {"n": 2}), Put("b", {"text": "x" * 100000})])
    assert "full" in error.found
    assert "df" in error.mend
    assert registry.range("") == before


def test_a_removed_file_is_told(path, registry):
    put(registry, "a")
    for each in path.parent.iterdir():
        each.unlink()
    refused("no_registry", put, registry, "a")


def test_a_replaced_file_is_noticed(path, url, registry, tmp_path):
    put(registry, "a", {"n": 1})
    other = tmp_path / "other.db"
    with open_registry("sqlite://%s" % other, create=True) as writer:
        put(writer, "a", {"n": 2})
    for suffix in ("-wal", "-shm"):
        pathlib.Path(str(path) + suffix).unlink()
    other.rename(path)
    assert registry.get("a").value == {"n": 2}
    put(registry, "a", {"n": 3})
    with open_registry(url) as again:
        assert again.get("a").value == {"n": 3}


def test_backup_by_sqlite(path, registry, tmp_path):
    put(registry, "a", {"n": 1})
    before = registry.range("")
    copy = tmp_path / "copy.db"
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    source.backup(target)
    source.close()
    target.close()
    with open_registry("sqlite://%s" % copy) as restored:
        assert restored.range("") == before
        put(restored, "a", {"n": 2})


MOUNTS = r"""/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
filer:/home /home nfs4 rw 0 0
/dev/vdb /home/local xfs rw 0 0
filer:/b /mnt/with\040blank cifs rw 0 0
tmpfs /mnt/over tmpfs rw 0 0
host:/x /mnt/over fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(("path", "kind"), [
    ("/var/lib/x.db", "ext4"), ("/home/me/x.db", "nfs4"), ("/homes/x.db", "ext4"), ("/home/local/x.db", "xfs"),
    ("/mnt/with blank/x.db", "cifs"), ("/mnt/over/x.db", "fuse.sshfs"),
])
def test_filesystem_of(path, kind):
    assert sqlite.filesystem_of(path, MOUNTS) == kind


def test_filesystem_of_nothing():
    assert sqlite.filesystem_of("/x", "") == ""


def test_a_network_filesystem_is_refused(path, monkeypatch):
    monkeypatch.setattr(sqlite, "filesystem_of", lambda where, mounts: "nfs4")
    refused("registry_filesystem", open_registry, "sqlite://%s" % path, create=True)
    assert not path.exists()


# -- several processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deaths_after", [1, 2, 3])
def test_killed_between_the_writes_of_a_transaction(url, registry, deaths_after):
    put(registry, "a", {"n": 1})
    put(registry, "b")
    before = registry.range("")
    child = SPAWN.Process(target=die_within_a_transaction, args=(url, deaths_after), daemon=True)
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert registry.range("") == before
    assert put(registry, "a") == before.revision + 1


def test_held_for_too_long_by_another(path, registry):
    registry.close()
    registry.busy_seconds = 0.3
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    error = refused("registry_busy", put, registry, "a")
    assert 0.3 <= time.monotonic() - start < 3
    assert "fuser" in error.mend
    assert registry.get("a") is None
    holder.execute("ROLLBACK")
    holder.close()
    put(registry, "a")


def test_waits_for_another(path, registry):
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, holder.execute, ["COMMIT"])
    timer.start()
    put(registry, "a")
    timer.join()
    holder.close()


def test_a_connection_never_crosses_a_fork(url):
    """As Ansible does: open in the parent, fork workers, both go on."""
    script = """
import os, sys
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import Put
registry = open_registry(sys.argv[1])
registry.transaction([], [Put("counter", {"n": 0})])
def files():
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink("/proc/self/fd/" + number))
        except FileNotFoundError:
            pass
    return [link for link in links if "registry.db" in link]
assert files()
children = []
for worker in range(3):
    pid = os.fork()
    if pid == 0:
        inherited = files()
        for number in range(20):
            registry.update("counter", lambda value: {"n": value["n"] + 1})
        os._exit(1 if inherited else 0)
    children.append(pid)
    for number in range(20):
        registry.update("counter", lambda value: {"n": value["n"] + 1})
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
assert registry.get("counter").value == {"n": 120}, registry.get("counter")
registry.close()
"""
    done = run_python(script, url)
    assert done.returncode == 0, done.stderr


def test_a_fork_waits_for_the_transaction_of_another_thread(registry):
    inside, go_on = threading.Event(), threading.Event()

    def clock():
        inside.set()
        go_on.wait(5)
        return time.time()

    registry.clock = clock
    thread = threading.Thread(target=put, args=(registry, "a", {"n": 1}))
    thread.start()
    inside.wait(5)
    threading.Timer(0.1, go_on.set).start()
    with warnings.catch_warnings():
        # Newer Pythons warn of forks beside threads: that they are safe here is what this test is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        # No thread of the child may run into a lock that nobody will ever release.
        seen = []
        reader = threading.Thread(target=lambda: seen.append(registry.get("a").value), daemon=True)
        reader.start()
        reader.join(10)
        os._exit(0 if seen == [{"n": 1}] else 1)
    thread.join(10)
    assert os.waitpid(pid, 0)[1] == 0
    assert registry.get("a").value == {"n": 1}


def test_threads_share_a_registry(registry):
    put(registry, "counter", {"n": 0})

    def count():
        for _round in range(10):
            registry.update("counter", lambda value: {"n": value["n"] + 1})

    threads = [threading.Thread(target=count) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert registry.get("counter").value == {"n": 40}


# -- leases and the wall clock ----------------------------------------------------------------------------------


class Clock:
    """A clock that stands until told."""

    now = 1000000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(registry):
    """The registry's clock."""
    registry.clock = Clock()
    return registry.clock


def test_expiry_to_the_second(registry, clock):
    lease = registry.lease_grant(10, {})
    revision = put(registry, "a", {}, lease)
    clock.now += 9.9
    assert registry.lease_get(lease).remaining == pytest.approx(0.1)
    assert registry.get("a").lease == lease
    clock.now += 0.1
    assert registry.lease_get(lease) is None
    assert registry.range("") == ([], revision + 1)


@pytest.mark.parametrize("first", [
    lambda registry: registry.get("a") is None,
    lambda registry: registry.range("").entries == [],
    lambda registry: registry.transaction([KeyAbsent("a")], [Put("b", {})]).succeeded,
    lambda registry: registry.lease_grant(10, {}) > 0,
])
def test_whoever_comes_first_ends_the_lease(registry, clock, first):
    lease = registry.lease_grant(10, {})
    put(registry, "a", {}, lease)
    clock.now += 10
    assert first(registry)
    assert registry._connection.execute("SELECT count(*) FROM entries WHERE key = 'a'").fetchone() == (0,)


def test_each_lease_ends_with_a_revision_of_its_own(registry, clock):
    for number in (1, 2):
        put(registry, "a/%d" % number, {}, registry.lease_grant(10, {}))
    registry.lease_grant(10, {"without": "keys"})
    revision = registry.range("").revision
    clock.now += 10
    assert registry.range("").revision == revision + 2


def test_keepalive_starts_the_time_anew(registry, clock):
    lease = registry.lease_grant(10, {})
    clock.now += 9
    assert registry.lease_keepalive(lease).remaining == 10
    clock.now += 9
    assert registry.lease_get(lease).remaining == 1


def test_a_clock_set_back_blocks_nobody_for_long(registry, clock):
    lease = registry.lease_grant(10, {})
    put(registry, "a", {}, lease)
    clock.now -= 365 * 86400
    assert registry.lease_get(lease).remaining == 10
    clock.now += 10
    assert registry.get("a") is None


def test_a_clock_set_forward_ends_leases(registry, clock):
    lease = registry.lease_grant(10, {})
    clock.now += 3600
    refused("lease_lost", registry.lease_keepalive, lease)


def test_operation_ids_sort_by_time():
    ids = [new_operation_id(moment) for moment in (0, 0.000001, 999999999.5, 1767225600, 1767225600.25)]
    assert ids == sorted(ids)
    assert ids[3].startswith("20260101T000000.000000Z-")
    assert new_operation_id(0) != new_operation_id(0)


def test_without_libvirt():
    """The registry knows nothing of hypervisors, nor of Ansible's own code."""
    script = (
        "import sys\n"
        "from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry, sqlite\n"
        "bad = [name for name in sys.modules if name.split('.')[0] in ('libvirt', 'ansible')]\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    done = run_python(script)
    assert done.returncode == 0, done.stderr


def test_without_permission(url, path):
    """Somebody who may not open the file is told so, and where to look."""
    path.chmod(0)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                # Modes do not stop root.
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            text = str(refused("registry_unreachable", open_registry, url))
        except BaseException as error:
            text = repr(error)
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    assert "cannot be opened" in text
    assert "ls -ld" in text
