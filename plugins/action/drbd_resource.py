# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module drbd_resource for an operation."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep


class ActionModule(NodeStep):
    """See the module of the same name."""

    MODULE = "gantry.cluster.drbd_resource"
