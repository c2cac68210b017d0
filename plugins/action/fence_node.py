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
        "methods": fencing.METHODS_SPEC,
        "confirmed": {"type": "bool", "default": False},
    }

    def act(self, arguments):
        """Return the proof. In check mode the devices are only asked."""
        node, methods = arguments["node"], arguments["methods"]
        if self.check_mode:
            fencing.check_methods(node, methods)
            power = [fencing.status(method) for method in methods]
            word = arguments["confirmed"] and any(method["agent"] == fencing.MANUAL for method in methods)
            return {"changed": "off" not in power and not word, "power": power, "fenced": False}
        proof = fencing.power_off(node, methods, confirmed=arguments["confirmed"])
        who = "the operator" if proof["method"] == fencing.MANUAL else proof["method"]
        return dict(proof, fenced=True, msg="node %s is off: %s says so" % (node, who))
