# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan what changes on instances that exist: check what is declared against their records and their nodes."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils import instance_change, report
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_spec import VARIABLES


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "names": {"type": "list", "elements": "str", "required": True},
        "observations": {"type": "list", "elements": "dict"},
        "force": {"type": "bool", "default": False},
    }

    def act(self, arguments):
        """Without observations: only check what is declared, and name what has to be looked at."""
        state = self.state()
        settings, records, nodes = state.cluster(), state.instances(), state.nodes()
        proposals = [instance_change.propose(name, self._declared(name), records.get(name), settings) for name in arguments["names"]]
        if arguments["observations"] is None:
            names, paths = instance_change.to_ask(proposals, nodes)
            return {"changed": False, "nodes": names, "paths": paths}
        plans = instance_change.plan(proposals, records, nodes, arguments["observations"], settings, arguments["force"])
        rows = [row for name in sorted(plans) for row in plans[name]["rows"]]
        told = {name: {key: one[key] for key in ("to_do", "changes", "generation")} for name, one in plans.items()}
        return {"changed": False, "plans": told, "table": report.change_table(rows) if rows else ""}

    def _declared(self, name):
        return {variable: self.variable_of(name, variable) for variable in VARIABLES}
