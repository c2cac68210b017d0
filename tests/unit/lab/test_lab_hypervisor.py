# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Building the Xen that sends paravirtual guests live: what is run, and what is said when it cannot be."""

from __future__ import annotations

import pytest

from lab import hypervisor, sources
from lab.config import LabError


@pytest.fixture(name="builder")
def _builder(tmp_path, monkeypatch):
    """Stands in for APT and make: notes the commands down and leaves the files that they would."""
    monkeypatch.setenv("GANTRY_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "host_entries", lambda: [("http://mirror.example.com/debian", "bookworm", ["main"])])
    monkeypatch.setattr(hypervisor.host, "find", lambda program: "/usr/bin/" + program)
    ran = []

    def run(command, work, _output):
        ran.append(command)
        tree = work / "xen-4.17"
        if "source" in command:
            for folder in ("debian", "xen"):
                (tree / folder).mkdir(parents=True)
            (tree / "debian" / "xen-kconfig").write_text("CONFIG_DEBUG=n")
            ran.append((work / "sources.list").read_text())
        if command[-1] == "build":
            ran.append((tree / "xen" / ".config").read_text())
            (tree / "xen" / "xen").write_bytes(b"hypervisor")

    monkeypatch.setattr(hypervisor, "_run", run)
    return ran


def test_debians_source_is_built_once_with_shadow_paging(builder):
    path = hypervisor.ensure("bookworm")
    assert path.read_bytes() == b"hypervisor"
    (sources_list,) = [one for one in builder if isinstance(one, str) and one.startswith("deb-src")]
    assert "http://mirror.example.com/debian bookworm main" in sources_list and "security" not in sources_list
    assert "CONFIG_DEBUG=n\nCONFIG_SHADOW_PAGING=y\n" in builder
    count = len(builder)
    assert hypervisor.ensure("bookworm") == path and len(builder) == count
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".build-")] == []


def test_missing_compilers_are_named_before_anything_is_fetched(builder, monkeypatch):
    monkeypatch.setattr(hypervisor.host, "find", lambda program: None if program in ("flex", "dpkg-source") else program)
    with pytest.raises(LabError, match="apt-get install -y dpkg-dev flex"):
        hypervisor.ensure("bookworm")
    assert builder == []


def test_a_configuration_that_does_not_take_it_is_no_success(builder, monkeypatch):
    run = hypervisor._run

    def deaf(command, work, output):
        run(command, work, output)
        if command[-1] == "olddefconfig":
            (work / "xen-4.17" / "xen" / ".config").write_text("# CONFIG_SHADOW_PAGING is not set\n")

    monkeypatch.setattr(hypervisor, "_run", deaf)
    with pytest.raises(LabError, match="CONFIG_SHADOW_PAGING"):
        hypervisor.ensure("bookworm")


def test_a_failed_step_names_its_log(tmp_path):
    with (tmp_path / "build.log").open("w") as output, pytest.raises(LabError, match=r"false \(exit status 1\): see .*build.log"):
        hypervisor._run(["false"], tmp_path, output)
    assert (tmp_path / "build.log").read_text() == "$ false\n"
