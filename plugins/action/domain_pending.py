# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module domain_pending; a node that does not answer any more tells nothing, which is no failure of a report."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep


class ActionModule(NodeStep):
    """See the module of the same name."""

    MODULE = "gantry.cluster.domain_pending"
    DISKS = False

    def on_node(self, arguments):
        """Compare; say which node it was."""
        try:
            result = super().on_node(arguments)
        except GantryError as failure:
            result = {"failed": True, "msg": failure.found}
        if result.get("failed"):
            return {"changed": False, "node": self.node, "waiting": {}, "error": str(result.get("msg"))}
        return dict(result, node=self.node, error=None)
