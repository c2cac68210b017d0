# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes as people write them, always in MiB inside."""

from __future__ import annotations

import re

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

_FACTORS = {"mib": 1, "gib": 1024, "tib": 1024 * 1024}
#: QEMU's and Ganeti's short forms mean powers of 1024, and so they do here.
_FACTORS.update({"m": 1, "g": 1024, "t": 1024 * 1024})
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*$")


def parse_mib(text, what):
    """A size such as ``512 MiB``, ``1.5GiB`` or ``2T`` in MiB (int).

    :param what: the name of the setting, for the error.
    :raises GantryError: no unit, unknown unit, zero, negative or no whole number of MiB.
    """
    match = _SIZE.match(str(text)) if not isinstance(text, bool) else None
    factor = _FACTORS.get(match.group(2).lower()) if match else None
    if factor is None:
        raise GantryError(
            "%s is no size" % what, found=repr(text), expected="a number with a unit: MiB, GiB or TiB",
            mend="write for example %s: 10GiB" % what.split(" ")[0], code="bad_size",
        )
    size = float(match.group(1)) * factor
    if size <= 0 or size != int(size):
        raise GantryError(
            "%s must be a whole number of MiB above zero" % what, found=repr(text), expected="at least 1MiB",
            code="bad_size",
        )
    return int(size)


def show_mib(mib):
    """A size in MiB as people read it: 512 MiB, 1.5 GiB, 2 TiB."""
    for unit, factor in (("TiB", 1024 * 1024), ("GiB", 1024)):
        if mib >= factor:
            return "%s %s" % (("%.1f" % (mib / factor)).rstrip("0").rstrip("."), unit)
    return "%d MiB" % mib
