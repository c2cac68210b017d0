# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions that are tried again when somebody else was faster."""

from __future__ import annotations

import secrets
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: Tries of an optimistic transaction before giving up.
_TRIES = 50


def retry(attempt, what):
    """Run an optimistic transaction until it succeeds; ``attempt`` returns None to be tried again."""
    for number in range(_TRIES):
        result = attempt()
        if result is not None:
            return result
        time.sleep(min(0.2, 0.002 * (number + 1)) * (0.5 + secrets.randbelow(100) / 100))
    raise GantryError(
        "%s did not come through" % what, found="%d lost races against other runs" % _TRIES,
        mend="run the same command again", code="contention",
    )
