# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable as the collection, whether or not it lies in an ansible_collections folder."""

from __future__ import annotations

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = ROOT / "collections" / "ansible_collections" / "gantry" / "cluster"

if ROOT.parent.parent.name != "ansible_collections":
    LINK.parent.mkdir(parents=True, exist_ok=True)
    if not LINK.exists():
        LINK.symlink_to("../../..")
    sys.path.insert(0, str(ROOT / "collections"))
