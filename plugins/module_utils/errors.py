# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of the collection: it says what, what was found, what was expected and how to mend it."""

from __future__ import annotations


class GantryError(Exception):
    """A refusal or a failure an operator can act on.

    :param what: the object and what is wrong with it, a sentence without the final stop.
    :param found: what was seen.
    :param expected: what should have been there.
    :param mend: the command or the step that mends it.
    :param code: a short stable word for machines, e.g. ``stale_generation``.
    """

    def __init__(self, what, found=None, expected=None, mend=None, code="error"):
        self.what = what
        self.found = found
        self.expected = expected
        self.mend = mend
        self.code = code
        super().__init__(self.sentence())

    def sentence(self):
        """All parts as one text."""
        parts = [self.what.rstrip(".") + "."]
        if self.found is not None:
            parts.append("Found: %s." % str(self.found).rstrip("."))
        if self.expected is not None:
            parts.append("Expected: %s." % str(self.expected).rstrip("."))
        if self.mend is not None:
            parts.append("To mend: %s." % str(self.mend).rstrip("."))
        return " ".join(parts)

    def as_result(self):
        """The parts as a dict for a module's or an action's failed result."""
        return {
            "msg": self.sentence(),
            "error": {
                "code": self.code,
                "what": self.what,
                "found": self.found,
                "expected": self.expected,
                "mend": self.mend,
            },
        }
