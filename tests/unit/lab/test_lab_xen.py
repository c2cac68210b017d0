# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Building the Xen that sends paravirtual guests live: what is run, and what is said when it cannot be."""

from __future__ import annotations

import pytest

from lab import image, sources, xen
from lab.config import LabError


@pytest.fixture(name="builder")
def _builder(tmp_path, monkeypatch):
    """Stands in for APT and make: notes the commands down and leaves the files that they would."""
    monkeypatch.setenv("GANTRY_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "host_entries", lambda: [("http://mirror.example.com/debian", "bookworm", ["main"])])
    monkeypatch.setattr(xen.host, "find", lambda program: "/usr/bin/" + program)
    ran = []

    def run(command, log, _started, cwd=None):
        ran.append(command)
        assert log.parent == tmp_path / "hypervisors"
        work = cwd or next(log.parent.glob(".build-*"))
        tree = work / "xen-4.17"
        if "source" in command:
            for folder in ("debian", "xen"):
                (tree / folder).mkdir(parents=True)
            (tree / "debian" / "xen-kconfig").write_text("CONFIG_DEBUG=n")
            ran.append((work / "sources.list").read_text())
        if command[-1] == "build":
            ran.append((tree / "xen" / ".config").read_text())
            (tree / "xen" / "xen").write_bytes(b"hypervisor")

    monkeypatch.setattr(image, "run", run)
    return ran


def test_debians_source_is_built_once_with_shadow_paging(builder):
    path = xen.ensure("bookworm")
    assert path.read_bytes() == b"hypervisor"
    (sources_list,) = [one for one in builder if isinstance(one, str) and one.startswith("deb-src")]
    assert "http://mirror.example.com/debian bookworm main" in sources_list and "security" not in sources_list
    assert "CONFIG_DEBUG=n\nCONFIG_SHADOW_PAGING=y\n" in builder
    count = len(builder)
    assert xen.ensure("bookworm") == path and len(builder) == count
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".build-")] == []


def test_missing_compilers_are_named_before_anything_is_fetched(builder, monkeypatch):
    monkeypatch.setattr(xen.host, "find", lambda program: None if program in ("flex", "dpkg-source") else program)
    with pytest.raises(LabError, match="apt-get install -y dpkg-dev flex"):
        xen.ensure("bookworm")
    assert builder == []


def test_a_configuration_that_does_not_take_it_is_no_success(builder, monkeypatch):
    run = image.run

    def deaf(command, log, started, cwd=None):
        run(command, log, started, cwd)
        if command[-1] == "olddefconfig":
            (settings,) = log.parent.glob(".build-*/xen-4.17/xen/.config")
            settings.write_text("# CONFIG_SHADOW_PAGING is not set\n")

    monkeypatch.setattr(image, "run", deaf)
    with pytest.raises(LabError, match="CONFIG_SHADOW_PAGING"):
        xen.ensure("bookworm")


def test_a_failed_step_shows_the_end_of_its_log(tmp_path):
    with pytest.raises(LabError, match="sh failed with status 3:\nno such thing"):
        image.run(["sh", "-c", "echo no such thing; exit 3"], tmp_path / "build.log", 0.0, tmp_path)
    assert (tmp_path / "build.log").read_text() == "no such thing\n"
