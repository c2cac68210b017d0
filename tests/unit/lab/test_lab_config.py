# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's places, names, locks, ports and package lists."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import pytest

from ansible_collections.gantry.cluster.lab import config, host, ports, sources
from ansible_collections.gantry.cluster.lab.config import LabError, Paths


@pytest.fixture(name="paths")
def _paths(tmp_path, monkeypatch):
    monkeypatch.setenv("GANTRY_LAB_STATE", str(tmp_path / "labs"))
    monkeypatch.setenv("GANTRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANTRY_LAB_NAME", raising=False)
    return Paths.of("one")


@pytest.mark.parametrize("name", ["lab", "a", "t-1", "x_2", "0" * 32])
def test_good_names(name):
    assert config.check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "..", "a b", "a,b", "x" * 33, "a\n"])
def test_bad_names_are_refused(name):
    with pytest.raises(LabError, match="no name for a lab"):
        config.check_name(name)


def test_name_comes_from_argument_then_environment(paths, monkeypatch):
    assert Paths.of().name == "lab"
    monkeypatch.setenv("GANTRY_LAB_NAME", "other")
    assert Paths.of().name == "other"
    assert Paths.of("mine").name == "mine"
    assert Paths.at(paths.state) == paths


def test_sockets_fit_however_deep_the_checkout_lies(tmp_path):
    deep = Paths("x" * 32, tmp_path.joinpath(*["very-long-folder-name"] * 20, "x" * 32))
    assert len(os.fsencode(deep.qmp("node9"))) < 108
    # ssh writes to a temporary name with 17 more characters, and %C stands for 40.
    assert len(os.fsencode(deep.run)) + 1 + 40 + 17 < 108


def test_labs_in_other_places_have_other_sockets(tmp_path):
    assert Paths.at(tmp_path / "a" / "lab").run != Paths.at(tmp_path / "b" / "lab").run


def test_write_is_whole_and_narrow(tmp_path):
    target = tmp_path / "deep" / "key"
    config.write(target, "secret", 0o600)
    assert target.read_text() == "secret"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["key"]


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "lab.json").write_text("{")
    with pytest.raises(LabError, match="lab.json"):
        config.read_json(tmp_path / "lab.json")
    assert config.read_json(tmp_path / "none.json", 7) == 7


def test_lock_keeps_others_out(tmp_path):
    path = tmp_path / "lock"
    script = (
        "import fcntl, os, sys; handle = os.open(sys.argv[1], os.O_RDWR)\n"
        "try: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: sys.exit(3)"
    )
    with config.lock(path, "test"):
        assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 3
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 0


def test_lock_is_taken_anew_when_its_file_was_deleted(tmp_path):
    path = tmp_path / "lock"
    order = []
    inside = threading.Event()

    def second():
        inside.wait(10)
        with config.lock(path, "test"):
            order.append(("second", path.exists()))

    thread = threading.Thread(target=second)
    thread.start()
    with config.lock(path, "test"):
        inside.set()
        threading.Event().wait(0.3)
        order.append("first")
        path.unlink()
    thread.join(10)
    assert order == ["first", ("second", True)]


def test_ports_are_kept_and_differ(paths):
    paths.state.mkdir(parents=True)
    first = ports.reserve(paths, ["cluster", "node1", "node2"])
    assert len(set(first.values())) == 3
    assert all(ports.FIRST <= port <= ports.LAST for port in first.values())
    grown = ports.reserve(paths, ["cluster", "node1", "node2", "node3"])
    assert {name: grown[name] for name in first} == first
    other = Paths.of("two")
    other.state.mkdir(parents=True)
    assert not set(ports.reserve(other, ["cluster", "node1"]).values()) & set(grown.values())
    assert set(ports.states()) == {paths.state, other.state}


def test_ports_of_a_lab_that_is_gone_are_forgotten(paths):
    paths.state.mkdir(parents=True)
    ports.reserve(paths, ["node1"])
    paths.state.rmdir()
    assert ports.states() == []
    paths.state.mkdir()
    ports.reserve(paths, ["node1"])
    ports.release(paths)
    assert json.loads(ports.registry().read_text()) == {}


def test_busy_ports_are_passed_over():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not ports.tcp_free(taken.getsockname()[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        assert not ports.udp_free(taken.getsockname()[1])
    first, second = list(ports.candidates("seed"))[:2]
    assert ports.choose("seed", set(), lambda port: port != first) == second
    assert ports.choose("seed", {first}, lambda port: True) == second
    with pytest.raises(LabError, match="no port"):
        ports.choose("seed", set(), lambda port: False)


def test_candidates_are_the_whole_range_once():
    assert sorted(ports.candidates("x")) == list(range(ports.FIRST, ports.LAST + 1))


ONE_LINE = """
# deb http://no.example/debian bookworm main
deb http://one.example/debian bookworm main contrib # words
deb [arch=amd64 signed-by=/k] http://sec.example/debian-security bookworm-security main
deb-src http://src.example/debian bookworm main
deb http://tool.example/apt bookworm main-tools
"""
DEB822 = """
# comment
Types: deb deb-src
URIs: http://two.example/debian
Suites: bookworm
  bookworm-updates
Components: main
Signed-By: /k

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://src.example/debian
Suites: bookworm
Components: main
"""


def test_one_line_sources():
    found = sources.parse_one_line(ONE_LINE)
    assert found == [
        ("http://one.example/debian", "bookworm", ["main", "contrib"]),
        ("http://sec.example/debian-security", "bookworm-security", ["main"]),
        ("http://tool.example/apt", "bookworm", ["main-tools"]),
    ]
    assert sources.mirrors(found) == ("http://one.example/debian", "http://sec.example/debian-security")


def test_deb822_sources():
    assert sources.parse_deb822(DEB822) == [
        ("http://two.example/debian", "bookworm", ["main"]),
        ("http://two.example/debian", "bookworm-updates", ["main"]),
    ]


def test_sources_of_both_kinds_are_found(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d" / "old.list.disabled").write_text("deb http://off.example/ bookworm main\n")
    assert len(sources.host_entries(tmp_path)) == 5


def test_other_suite_from_the_same_mirror():
    text = sources.sources_list("trixie", sources.parse_one_line(ONE_LINE), "")
    assert text.splitlines() == [
        f"deb [signed-by={sources.KEYRING}] http://one.example/debian trixie main",
        f"deb [signed-by={sources.KEYRING}] http://one.example/debian trixie-updates main",
        f"deb [signed-by={sources.KEYRING}] http://sec.example/debian-security trixie-security main",
    ]
    assert sources.sources_list("trixie", [], "http://mine.example/d").count("\n") == 1


def test_no_debian_mirror_says_what_to_set():
    with pytest.raises(LabError, match="GANTRY_LAB_MIRROR"):
        sources.sources_list("bookworm", [("http://ubuntu.example/", "noble", ["main"])], "")


def test_apt_options_are_those_of_the_transport():
    dump = 'APT "";\nAcquire::http "";\nAcquire::http::Proxy "http://p.example:1";\nAcquire::Languages "none";\n'
    dump += 'Acquire::Check-Date "false";\nAcquire::AllowInsecureRepositories "1";\n'
    assert sources.apt_options(dump) == ['Acquire::http::Proxy "http://p.example:1";', 'Acquire::Check-Date "false";']


def test_every_host_package_has_its_proof():
    names = host.packages(config.ROOT / "lab" / "host-packages.txt")
    assert set(names) == set(host.PROOF)
    assert host.NOT_FOR_ROOT < set(names)


def test_missing_packages_are_one_line(monkeypatch):
    monkeypatch.setattr(host, "find", lambda program: None if program in ("qemu-img", "mke2fs") else program)
    with pytest.raises(LabError, match=r"apt-get install -y --no-install-recommends qemu-utils e2fsprogs\n"):
        host.require()


def test_package_lists_may_have_comments(tmp_path):
    (tmp_path / "list").write_text("# head\n\na\nb  # why\n")
    assert host.packages(tmp_path / "list") == ["a", "b"]


def test_find_looks_in_sbin(tmp_path):
    assert host.find(str(tmp_path)) == str(tmp_path)
    assert host.find(str(tmp_path / "none")) is None
    assert host.find("no-such-program-anywhere") is None
    assert pathlib.Path(host.find("sh")).exists()
