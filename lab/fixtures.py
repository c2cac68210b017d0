# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab tests have (tests/lab*): one lab of three real nodes, made a cluster, taken down at the end. A plugin of pytest.

GANTRY_LAB_KEEP=1 leaves it running, and the next session uses it as it is.
"""

from __future__ import annotations

import contextlib
import os
import sys

import pytest

from lab.driver import IMAGE, Cluster, prepare
from lab.trial import Trial

_calls = []


def pytest_collection_modifyitems(items):
    """Everything in these folders needs the lab."""
    for item in items:
        if item.nodeid.startswith("tests/lab"):
            item.add_marker(pytest.mark.lab)


@pytest.fixture(name="capture_off", scope="session")
def _capture_off(request):
    """Progress goes to the terminal while the tests run: a lab test takes minutes."""
    manager = request.config.pluginmanager.getplugin("capturemanager")
    with manager.global_and_fixture_disabled():
        yield os.fdopen(os.dup(sys.__stderr__.fileno()), "w", encoding="utf-8")


@contextlib.contextmanager
def lab_of(cluster, log):
    """Boot a lab, make it a cluster, and take it down at the end unless it is to be kept.

    :param cluster: a :class:`lab.driver.Cluster`.
    :param log: where its progress is written.
    """
    cluster.log = log
    keep = os.environ.get("GANTRY_LAB_KEEP")
    if not keep:
        cluster.down_all()
    cluster.up()
    try:
        prepare(cluster)
        yield cluster
    finally:
        if not keep:
            cluster.down_all()


@pytest.fixture(name="cluster", scope="session")
def _cluster(capture_off):
    with lab_of(Cluster("test"), capture_off) as cluster:
        yield cluster


@pytest.fixture(name="clean")
def _clean(cluster):
    """The cluster before and after a test: no violation, no instance left behind."""
    assert cluster.violations() == []
    yield cluster
    assert cluster.violations() == []


@pytest.fixture(name="guest")
def _guest(cluster):
    """Makes guests that count, and removes them and their declarations."""
    made = []

    def make(name, start=True, **variables):
        settings = {"memory": "32MiB", "disks": [{"size": "32MiB"}], "image": IMAGE}
        settings.update(variables)
        cluster.forget_console(name)
        cluster.declare(name, start=start, **settings)
        made.append(name)
        return name

    yield make
    for node in sorted(cluster.down):
        cluster.power_on(node)
    cluster.degraded.clear()
    known = [name for name in made if cluster.instance(name)]
    if known:
        run = cluster.play("instance_remove", ",".join(known))
        assert run.ok, run.text
    for name in made:
        cluster.forget(name)


@pytest.fixture(name="trial")
def _trial(clean):
    """A trial, as script/test --soak and --faults make one; its guests go at the end."""
    trial = Trial(clean, IMAGE, seed=1)
    yield trial
    for one in trial.guests:
        one.gone()
        clean.forget(one.name)


@pytest.fixture(name="counted", scope="session")
def _counted():
    """Notes the remote calls of a verb; printed at the end of the session."""
    def note(verb, calls, limit):
        _calls.append((verb, calls, limit))
        assert calls <= limit, "%s takes %d remote calls, at most %d are allowed" % (verb, calls, limit)
    return note


def pytest_terminal_summary(terminalreporter):
    """The remote calls of each verb."""
    if _calls:
        terminalreporter.section("remote calls per verb (seen / allowed)")
        for verb, calls, limit in _calls:
            terminalreporter.write_line("%-40s %2d / %d" % (verb, calls, limit))
