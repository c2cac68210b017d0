# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a node out of the registry. One that holds a part of an instance stays."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {"name": {"type": "str", "required": True}}

    def act(self, arguments):
        """Return the record that went, and the nodes that stay."""
        name, state = arguments["name"], self.state()
        state.cluster()
        changed, before = state.remove_node(name, self.check_mode)
        stay = {one: node for one, node in state.nodes().items() if one != name}
        return {"changed": changed, "node_record": before, "peers": [stay[one] for one in sorted(stay)],
                "diff": {"before": before, "after": {}},
                "msg": "node %s is removed" % name if changed else "node %s is not in the registry" % name}
