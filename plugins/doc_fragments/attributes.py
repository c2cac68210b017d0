# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes of every module; a module adds ``support`` (and ``details``) to the first three."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment ``gantry.cluster.attributes``."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled or queried by the module has not changed in a relevant way.
  action_group:
    description: Use C(group/gantry.cluster.cluster) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - gantry.cluster.cluster
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
"""
