# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switch a node on or off through its fence devices, or check that every device answers."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import fencing
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "node": {"type": "str", "required": True},
        "methods": fencing.METHODS_SPEC,
        "power": {"type": "str", "choices": ["on", "off", "cycle", "status"], "default": "status"},
        "force": {"type": "bool", "default": False},
    }

    def act(self, arguments):
        """Switch, or ask, and return what the devices say."""
        node, power = arguments["node"], arguments["power"]
        methods = [method for method in arguments["methods"] if method["agent"] != fencing.MANUAL]
        self.state().node(node)
        if not methods:
            raise GantryError(
                "Node %s has no fence device" % node, found="gantry_fence names no agent", expected="an agent such as fence_ipmilan",
                mend="set gantry_fence for %s" % node, code="no_fence_device",
            )
        fencing.check_methods(node, methods)
        if power in ("off", "cycle"):
            self._refuse_in_use(node, arguments["force"])
        before = fencing.survey(methods)
        if power == "status":
            return dict(self._answered(node, before), changed=False)
        if self.check_mode:
            said = [entry["power"] for entry in before]
            return {"changed": power == "cycle" or power not in said, "devices": before, "msg": "node %s: %s" % (node, _words(before))}
        changed, method = False, None
        for wanted in {"on": ["on"], "off": ["off"], "cycle": ["off", "on"]}[power]:
            proof = (fencing.power_off if wanted == "off" else fencing.power_on)(node, methods)
            changed, method = changed or proof["changed"], proof["method"]
        return {"changed": changed, "devices": fencing.survey(methods),
                "msg": "node %s is %s: %s says so" % (node, "off" if power == "off" else "on", method)}

    def _refuse_in_use(self, node, force):
        """A cut of the power kills the guests: refuse it while any should run there."""
        running = sorted(name for name, record in self.state().instances().items()
                         if record["primary"] == node and record["admin_state"] == "up")
        if running and not force:
            raise GantryError(
                "Node %s is not switched off: it is the primary of instances that should run" % node, found=", ".join(running),
                expected="none", mend="move them with node_migrate, or with node_failover if it is dead already; "
                "gantry_force=true cuts the power all the same", code="node_in_use",
            )

    @staticmethod
    def _answered(node, devices):
        """The devices' answers. :raises GantryError: one gave none, or they contradict each other."""
        said = {entry["power"] for entry in devices}
        if "unknown" in said or len(said) > 1:
            raise GantryError(
                "The fence devices of node %s do not all answer the same" % node if "unknown" not in said
                else "A fence device of node %s does not answer" % node,
                found=_words(devices), expected="on or off, the same from each",
                mend="correct gantry_fence of %s, or repair the device: without it a dead node cannot be proven off" % node,
                code="fence_device_silent",
            )
        return {"devices": devices, "power": said.pop(), "msg": "node %s: %s" % (node, _words(devices))}


def _words(devices):
    return "; ".join("%s says %s" % (entry["method"], entry["power"]) + (
        " (%s)" % entry["message"] if entry["power"] == "unknown" else "") for entry in devices)
