# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes of one flavour, which GANTRY_LAB_FLAVOUR names (kvm, xen or lxc; kvm if it does not), and the ledger of the matrix.

kvm,kvm,xen,xen names one for each node: a mixed cluster, with a node group for each flavour (test_4_mixed.py).

The other fixtures are those of every lab test. GANTRY_LAB_KEEP=1 leaves the lab running, as there.
"""

from __future__ import annotations

import contextlib
import time

import pytest

from lab import matrix
from lab.driver import FLAVOUR, Cluster
from lab.fixtures import lab_of


@pytest.fixture(name="cluster", scope="session")
def _cluster_of_the_flavour(capture_off):
    name, nodes = ("mixed", FLAVOUR.count(",") + 1) if "," in FLAVOUR else (FLAVOUR, 2)
    with lab_of(Cluster("matrix-" + name, nodes=nodes, flavour=FLAVOUR), capture_off) as cluster:
        yield cluster


class Row:
    """The results of one hypervisor with one disk template."""

    def __init__(self, hypervisor, template, suite):
        self.common = {"hypervisor": hypervisor, "template": template, "suite": suite, "date": time.strftime("%Y-%m-%d")}
        self.found = []
        #: What there is to say of the cell that is being run.
        self.note = None

    @contextlib.contextmanager
    def cell(self, verb):
        """Run one cell; what it ends with is its result."""
        refusal = matrix.refusal(self.common["hypervisor"], self.common["template"], verb)
        self.note = refusal.reason if refusal else None
        outcome = matrix.FAILED
        try:
            yield refusal
            outcome = matrix.IMPOSSIBLE if refusal else matrix.RAN
        finally:
            note = None if outcome == matrix.FAILED else self.note
            self.found.append(dict(self.common, verb=verb, outcome=outcome, note=note))


@pytest.fixture(name="ledger")
def _ledger(cluster):
    """Begins rows; they are kept in the repository's matrix when the test ends, however it ends."""
    rows = []

    def begin(hypervisor, template):
        rows.append(Row(hypervisor, template, cluster.suite))
        return rows[-1]

    yield begin
    found = [one for row in rows for one in row.found]
    if found:
        matrix.record(found, cluster.folder / "matrix.json", cluster.folder / "matrix.md")
        matrix.record(found)
