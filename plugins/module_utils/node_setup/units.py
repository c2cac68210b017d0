# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of its units."""

from __future__ import annotations


def is_enabled(units, name):
    """Whether systemd starts the unit at boot."""
    return units.get(name, {}).get("UnitFileState", "").startswith("enabled")


def is_active(units, name):
    """Whether the unit is up."""
    return units.get(name, {}).get("ActiveState") == "active"
