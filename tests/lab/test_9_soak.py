# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short share of script/test --soak: some random steps, with the audit after each."""

from __future__ import annotations

from lab.soak import Soak


def test_some_random_steps(trial):
    soak = Soak(trial)
    for _step in range(3):
        soak.step()
    assert soak.steps == 3 and trial.violations == 0
