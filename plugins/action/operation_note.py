# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write down how far an operation that goes on has come."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "operation": {"type": "dict", "required": True},
        "changes": {"type": "dict", "default": {}},
        "params": {"type": "dict", "default": {}},
    }

    def act(self, arguments):
        """Return the record as it is now."""
        return {"changed": False, "instance": self.state().note(arguments["operation"], arguments["changes"], arguments["params"])}
