# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes that the steps on the controller share."""

from __future__ import annotations


class ModuleDocFragment:
    """``gantry.cluster.controller``: every such step; ``gantry.cluster.controller.registry``: those that read it."""

    DOCUMENTATION = r"""
options: {}
notes:
  - Runs on the controller. It opens no connection to the host of the task, so it works while that host is down,
    and C(delegate_to) makes no difference to it.
"""

    REGISTRY = r"""
options: {}
notes:
  - The registry is the one named by the variable C(gantry_registry) of the task's host or, without it, by the
    controller's environment variable E(GANTRY_REGISTRY).
"""
