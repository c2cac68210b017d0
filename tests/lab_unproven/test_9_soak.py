# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short share of the long trials: some random steps, and a fault in the middle of a migration."""

from __future__ import annotations

import pytest

from lab.driver import IMAGE
from lab.faults import Faults
from lab.soak import Soak
from lab.trial import Trial


@pytest.fixture(name="trial")
def _trial(clean):
    trial = Trial(clean, IMAGE, seed=1)
    yield trial
    for guest in trial.guests:
        guest.gone()
        clean.forget(guest.name)


def test_some_random_steps(trial):
    soak = Soak(trial)
    for _step in range(4):
        soak.step()
    assert soak.steps == 4 and trial.violations == 0


def test_the_target_of_a_migration_loses_its_power(trial):
    guest = trial.guest("faults1.example.com", primary="node1", secondary="node2")
    guest.ready()
    faults = Faults(trial)
    faults.strike("migrate", "power of the target", guest)
    assert len(faults.rows) == 1 and trial.violations == 0, faults.table()
