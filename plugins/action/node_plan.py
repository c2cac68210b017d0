# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan what a verb on a node does with each of its instances, all at once, before anything is touched."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import node_plan
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan import rolling
from ansible_collections.gantry.cluster.plugins.plugin_utils.report import node_plan_table


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "verb": {"type": "str", "required": True, "choices": sorted(node_plan.VERBS) + ["check", "gate", "rebooted", "together"]},
        "node": {"type": "str"},
        "observations": {"type": "list", "elements": "dict"},
        "params": {"type": "dict", "default": {}},
        "before": {"type": "dict"},
        "nodes": {"type": "list", "elements": "str", "default": []},
        "declared": {"type": "bool", "default": False},
    }

    def act(self, arguments):
        """Without observations: check the name, and say which nodes have to be looked at."""
        verb, node, seen = arguments["verb"], arguments["node"], arguments["observations"]
        self._refuse_limit()
        state = self.state()
        settings = state.cluster()
        nodes = state.nodes()
        if node is not None:
            self._check_name(node, arguments["declared"])
            state.node(node)  # refuses an unknown one
        if verb == "check":
            return {"changed": False, "nodes": []}
        if seen is None:
            return {"changed": False, "nodes": node_plan.to_ask(verb, node, nodes)}
        if verb == "together":
            for name in arguments["nodes"]:
                state.node(name)  # refuses an unknown one
            return {"changed": False, "groups": rolling.together(state.instances(), nodes, seen, settings, arguments["nodes"])}
        if verb == "rebooted" and not self.check_mode:
            rolling.rebooted(node, arguments["before"], seen)
        if verb in ("gate", "rebooted"):
            reasons = rolling.unfit(state.instances(), nodes, seen)
            return {"changed": False, "whole": not reasons, "reasons": reasons}
        plan = node_plan.plan(verb, node or "", state.instances(), nodes, seen, dict(arguments["params"], settings=settings))
        return dict(plan, changed=False, offline=bool(nodes[node].get("offline")), table=node_plan_table(plan), msg=plan["notes"])

    def _refuse_limit(self):
        limit = self.vars.get("ansible_limit")
        if limit:
            raise GantryError(
                "A verb on a node takes no limit", found="-l %s" % limit, expected="-e gantry_node_name=NODE alone",
                mend="leave the limit out: it would hide the instances that have to move", code="limited",
            )

    def _check_name(self, node, declared):
        if not node:
            raise GantryError("No node is named", found="no gantry_node_name", expected="one node of the cluster",
                              mend="add -e gantry_node_name=NODE", code="node_unnamed")
        if declared and node not in self.vars["groups"].get("gantry_nodes", []):
            raise GantryError("Node %s is not in the inventory" % node, found="no such host in gantry_nodes",
                              expected="the host with its gantry_node_address", mend="declare it", code="undeclared_node")
