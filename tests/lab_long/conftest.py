# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures of tests/lab, for tests that take too long for every run.

``script/test --long`` runs them after those of tests/lab.
"""

from __future__ import annotations

import importlib.util
import pathlib

_path = pathlib.Path(__file__).parents[1] / "lab" / "conftest.py"
_spec = importlib.util.spec_from_file_location("lab_fixtures", _path)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
globals().update({name: value for name, value in vars(_module).items() if not name.startswith("__")})
