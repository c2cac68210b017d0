# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One test for each tool of static_checks.py."""

from __future__ import annotations

import pytest
from static_checks import CHECKS


@pytest.mark.parametrize("check", CHECKS)
def test_check(check, check_output):
    """The tool has nothing to say against the collection."""
    code, output, seconds = check_output
    print("%s took %.0f s" % (check, seconds))
    if code != 0:
        pytest.fail("%s (%.0f s) ended with %d:\n%s" % (check, seconds, code, output), pytrace=False)
