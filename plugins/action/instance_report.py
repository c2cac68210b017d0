# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances and nodes as a table and as data."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils import report
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "content": {"type": "dict", "required": True},
        "observations": {"type": "list", "elements": "dict", "required": True},
        "names": {"type": "list", "elements": "str"},
    }

    def act(self, arguments):
        """Return rows and tables."""
        content, observations = arguments["content"], arguments["observations"]
        instances = report.instances(content["instances"], observations, content["locks"], arguments["names"], content.get("cluster"))
        nodes = report.nodes(content["nodes"], observations, content["instances"])
        result = {
            "changed": False, "table": report.instance_table(instances), "nodes": nodes, "node_table": report.node_table(nodes),
        }
        result["instances"] = [{k: v for k, v in row.items() if not k.startswith("_")} for row in instances]
        return result
