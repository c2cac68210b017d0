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
    }

    def act(self, arguments):
        """Return the operation."""
        name = arguments["name"] or self.host
        operation = self.state().begin(
            name, arguments["verb"], arguments["params"], arguments["plan"], self.check_mode, after=arguments["after"])
        record = operation["instance"]
        return dict(
            operation, changed=False, primary=record["primary"], secondary=record["secondary"],
            nodes=[node for node in (record["primary"], record["secondary"]) if node],
        )
