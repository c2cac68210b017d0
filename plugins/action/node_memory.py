# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module node_memory; a node that does not answer is told, no failure. The result is never shown."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep


class ActionModule(NodeStep):
    """See the module of the same name."""

    MODULE = "gantry.cluster.node_memory"
    DISKS = False

    def on_node(self, arguments):
        """Read; say whether the node answered."""
        if not self._task.no_log:
            raise GantryError(
                "The task '%s' would show the DRBD secrets" % self._task.get_name(), expected="no_log: true",
                mend="add 'no_log: true' to the task", code="not_secret",
            )
        try:
            result = super().on_node(arguments)
        except GantryError as failure:
            return {"changed": False, "reachable": False, "error": failure.found, "memory": None}
        # the reason of a failure would be hidden with the secrets, so it is told as an answer
        broken = bool(result.get("failed"))
        return dict(result, failed=False, reachable=not broken, error=str(result.get("msg")) if broken else None,
                    memory=None if broken else result["memory"])
