# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the nodes show to what may be done: pure functions on plain data.

:mod:`view` says what is the case (where the guest runs, how each disk is). :mod:`decide` says what a verb may do, those on disks
in :mod:`disks`, the repair in :mod:`repair`; what several of them ask is in :mod:`guards`. :mod:`settle` says what may be
tidied after a step failed.
"""

from __future__ import annotations
