# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cell of the fault matrix (script/test --faults): a fault in the middle of a migration."""

from __future__ import annotations

from lab.faults import Faults


def test_the_target_of_a_migration_loses_its_power(trial):
    guest = trial.guest("faults1.example.com", primary="node1", secondary="node2")
    guest.ready()
    faults = Faults(trial)
    faults.strike("migrate", "power of the target", guest)
    assert len(faults.rows) == 1 and trial.violations == 0, faults.table()
