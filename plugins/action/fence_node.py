# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switch a node off through its fence devices and prove it."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils import fencing
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "node": {"type": "str", "required": True},
        "methods": {"type": "list", "elements": "dict", "required": True, "options": {
            "agent": {"type": "str", "required": True},
            "options": {"type": "dict", "default": {}, "no_log": True},
        }},
    }

    def act(self, arguments):
        """Return the proof. In check mode the device is only asked."""
        node, methods = arguments["node"], arguments["methods"]
        if self.check_mode:
            power = [fencing.status(method) for method in methods]
            return {"changed": "off" not in power, "power": power, "fenced": False}
        proof = fencing.power_off(node, methods)
        return dict(proof, fenced=True, msg="node %s is off: %s says so" % (node, proof["method"]))
