# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the cluster, its nodes, instances, locks and journal from the registry."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {"operations": {"type": "int", "default": 10}}

    def act(self, arguments):
        """Return everything a report needs."""
        state = self.state()
        return {
            "changed": False,
            "cluster": state.cluster(),
            "nodes": state.nodes(),
            "instances": state.instances(),
            "locks": state.locks(),
            "allocations": state.allocations(),
            "secrets": state.secret_owners(),
            "operations": state.operations(arguments["operations"]),
        }
