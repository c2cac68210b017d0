# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DRBD on one node: reading (parse), the text of a resource file, the guards (rules), the commands.

``status``, ``generations`` and ``versions`` are what other parts read; the rest is used by the storage backends.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.drbd.commands import generations, status, versions

__all__ = ["generations", "status", "versions"]
