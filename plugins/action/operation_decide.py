# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide from what the nodes show whether an operation may go on, and how."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.relocation import with_secondary
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.decide import decide
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.view import view


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "operation": {"type": "dict", "required": True},
        "observations": {"type": "list", "elements": "dict", "required": True},
        "params": {"type": "dict", "default": {}},
    }

    def act(self, arguments):
        """Return the picture and the decision, or fail with the refusal."""
        operation = arguments["operation"]
        picture = view(operation["instance"], arguments["observations"])
        params = dict(operation["params"], **{k: v for k, v in arguments["params"].items() if v is not None})
        decision = decide(operation["verb"], operation["instance"], picture, params)
        if decision["do"] in ("move", "finish") and "old" in decision:
            record, nodes = operation["instance"], self.state()
            decision = dict(
                decision, record=with_secondary(record, nodes.node(decision["new"])),
                old_disks=with_secondary(record, nodes.node(decision["old"]))["disks"])
        if decision.get("strays"):
            nodes = self.state()
            decision = dict(decision, stray_disks={
                name: with_secondary(operation["instance"], nodes.node(name))["disks"] for name in decision["strays"]})
        return dict(decision, changed=False, picture=picture, msg="%s: %s" % (operation["name"], decision["why"]))
