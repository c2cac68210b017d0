# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for every test: a test that did not run did not pass, and what does not belong to a session is left out before it begins."""

from __future__ import annotations

import os

import hypothesis
import pytest

from lab.driver import FLAVOUR

#: What the lab tests have: one lab for all their folders.
pytest_plugins = ["lab.fixtures"]

# The static checks run beside the tests, so a slow example says nothing. A red run can be repeated as it was.
hypothesis.settings.register_profile("gantry", deadline=None, derandomize=True)
hypothesis.settings.load_profile("gantry")


def _unwanted(item):
    """Whether a mark of the test says that it is for other users, or for other nodes."""
    flavour = item.get_closest_marker("flavour")
    if flavour and flavour.args != (FLAVOUR,):
        return True
    return item.get_closest_marker("loop") and not (os.geteuid() == 0 and os.path.exists("/dev/loop-control"))


def pytest_collection_modifyitems(config, items):
    """pytest counts what is left out as deselected, and says so.

    Who has no loop device of their own sees the same on nodes, in tests/lab_hypervisors/test_5_tpm.py.
    """
    out = [item for item in items if _unwanted(item)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def _refuse_skip(report):
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = "a skipped test proves nothing, so it counts as failed: %s" % reason


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that skips itself, or is expected to fail, fails."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """So does a file that skips itself while it is read."""
    report = yield
    _refuse_skip(report)
    return report
