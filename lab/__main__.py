# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of script/lab and lab/fence_lab."""

from __future__ import annotations

import pathlib
import sys

if __package__ in (None, ""):
    # Started by its path: "lab" must be importable, and this folder must not hide standard modules.
    here = pathlib.Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent)] + [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != here]

if __name__ == "__main__":
    if sys.argv[1:2] == ["fence-agent"]:
        from lab.fence import main

        sys.exit(main(sys.argv[2:]))
    from lab.cli import main

    sys.exit(main())
