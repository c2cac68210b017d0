# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock an instance and write down what is about to be done."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "name": {"type": "str"},
        "verb": {"type": "str", "required": True},
        "params": {"type": "dict", "default": {}},
        "plan": {"type": "dict"},
        "after": {"type": "int"},
        "changes": {"type": "dict"},
    }

    def act(self, arguments):
        """Return the operation."""
        name = arguments["name"] or self.host
        operation = self.state().begin(
            name, arguments["verb"], arguments["params"], arguments["plan"], self.check_mode, after=arguments["after"],
            changes=arguments["changes"])
        record = operation["instance"]
        return dict(
            operation, changed=False, primary=record["primary"], secondary=record["secondary"],
            nodes=[node for node in (record["primary"], record["secondary"]) if node],
            observe=self._observe(operation),
        )

    def _observe(self, operation):
        """The nodes whose state the decision needs: the instance's, those the verb names, and for a repair all."""
        record, params = operation["instance"], operation["params"]
        names = [record["primary"], record["secondary"]]
        named = [params.get(key) for key in ("new_node", "old_node", "returning_node")]
        if operation["verb"] == "repair":
            named += sorted(name for name, node in self.state().nodes().items() if not node.get("offline"))
        for name in named:
            # the old node of a mirror may have been taken out since
            if name and name != params.get("old_node"):
                self.state().node(name)  # refuses an unknown one
        return list(dict.fromkeys(name for name in names + named if name))
