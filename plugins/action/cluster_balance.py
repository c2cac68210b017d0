# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the moves that make the cluster even, or that empty a node group."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils import rebalance
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.report_file import write_file


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "observations": {"type": "list", "elements": "dict", "required": True},
        "limit": {"type": "int", "default": -1},
        "min_gain": {"type": "float", "default": 0.01},
        "disk_moves": {"type": "bool", "default": True},
        "only": {"type": "list", "elements": "str", "default": []},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "group": {"type": "str"},
        "evacuate": {"type": "bool", "default": False},
        "leave_group": {"type": "str"},
        "target_groups": {"type": "list", "elements": "str", "default": []},
        "force": {"type": "bool", "default": False},
        "allow_failover": {"type": "bool", "default": False},
        "parallel": {"type": "int", "default": 4},
        "file": {"type": "path"},
    }

    def act(self, arguments):
        """Plan; in check mode say that there is something to do."""
        state = self.state()
        picture = (state.cluster(), state.nodes(), state.instances(), arguments["observations"])
        if arguments["leave_group"]:
            plan = rebalance.leave_group(
                *picture, arguments["leave_group"], arguments["target_groups"], arguments["parallel"], arguments["force"],
                arguments["allow_failover"])
        else:
            options = {key: arguments[key] for key in (
                "limit", "min_gain", "disk_moves", "only", "exclude", "group", "evacuate", "force", "allow_failover")}
            plan = rebalance.balance(*picture, options, arguments["parallel"])
        text = plan.pop("text")
        if arguments["file"] and text:
            write_file(arguments["file"], text, "The cluster's data", "gantry_placement_file")
        moving = [entry for entry in plan["instances"] if entry["steps"]]
        left = ["%s: %s" % (entry["name"], entry["left"]) for entry in plan["instances"] if entry["left"]]
        return dict(plan, changed=bool(moving) and self.check_mode, lines=rebalance.plan_lines(plan),
                    explanation=rebalance.plan_lines(plan, verbose=True), left=left,
                    msg="%d instances are to be moved" % len(moving) if moving else "nothing is to be moved")
