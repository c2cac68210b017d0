# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the slow tools when the tests start: they run on all cores while the unit tests go on in this process."""

from __future__ import annotations

import pytest
from static_checks import Workbench, sanity_environments_exist

_BENCH = pytest.StashKey[Workbench]()


def pytest_collection_finish(session):
    """Start the checks that were chosen, the longest first."""
    chosen = {item.callspec.params["check"] for item in session.items if "check_output" in item.fixturenames}
    if session.config.option.collectonly or not any("bench" in item.fixturenames for item in session.items):
        return
    bench = session.config.stash[_BENCH] = Workbench()
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if chosen and terminal:
        terminal.write_line("%d static checks run beside the tests" % len(chosen))
        if any(name.startswith("sanity") for name in chosen) and not sanity_environments_exist():
            terminal.write_line("first run here: ansible-test makes its environments, up to three minutes more")
    bench.start(chosen)


def pytest_unconfigure(config):
    """Leave no process and no folder, however the run ended."""
    bench = config.stash.get(_BENCH, None)
    if bench is not None:
        bench.close()


@pytest.fixture(scope="session")
def bench(request):
    """The session's :class:`Workbench`: a clean copy of the collection and the tools at work on it."""
    return request.config.stash[_BENCH]


@pytest.fixture
def check_output(bench, check):
    """What the tool named ``check`` answered: (exit code, output, seconds)."""
    return bench.result(check)
