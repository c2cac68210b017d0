# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write an operation's outcome down and unlock the instance."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "operation": {"type": "dict", "required": True},
        "outcome": {"type": "str", "choices": ["done", "failed", "refused", "unclear"], "default": "done"},
        "changes": {"type": "dict", "default": {}},
        "reason": {"type": "str"},
        "remove": {"type": "bool", "default": False},
        "keep_pending": {"type": "bool", "default": False},
        "changed": {"type": "bool", "default": False},
    }

    def act(self, arguments):
        """Return the record as it is now."""
        record = self.state().end(
            arguments["operation"], arguments["outcome"], arguments["changes"], arguments["reason"],
            remove=arguments["remove"], keep_pending=arguments["keep_pending"],
        )
        return {"changed": arguments["changed"], "instance": record}
