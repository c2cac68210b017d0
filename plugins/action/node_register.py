# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a node into the registry."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "name": {"type": "str"},
        "hostname": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "vg": {"type": "str", "required": True},
        "group": {"type": "str"},
        "migration_user": {"type": "str", "default": "gantry-migrate"},
        "migration_public_key": {"type": "str", "required": True},
        "ssh_host_keys": {"type": "list", "elements": "str", "required": True},
        "hypervisors": {"type": "list", "elements": "str", "default": ["kvm"]},
        "tags": {"type": "list", "elements": "str"},
    }

    def act(self, arguments):
        """Return the node's record."""
        state = self.state()
        state.cluster()
        node = {key: value for key, value in arguments.items() if value is not None}
        node["name"] = arguments["name"] or self.host
        changed, before, after = state.put_node(node, self.check_mode)
        return {"changed": changed, "node_record": after, "diff": {"before": before, "after": after}}
