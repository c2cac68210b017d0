# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves of many instances: what is to be done so that the cluster is even, or so that a node group is empty. Pure.

The engine says where instances should be. This says which of them may move now, by which verbs, and which of them at the same
time. The plan is one as :mod:`..node_plan` has it.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.rebalance.even import balance
from ansible_collections.gantry.cluster.plugins.plugin_utils.rebalance.group import leave_group
from ansible_collections.gantry.cluster.plugins.plugin_utils.rebalance.text import plan_lines

__all__ = ["balance", "leave_group", "plan_lines"]
