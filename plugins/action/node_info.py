# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module node_info; a node that does not answer is an observation too, not a failure."""

from __future__ import annotations

import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep


class ActionModule(NodeStep):
    """See the module of the same name."""

    MODULE = "gantry.cluster.node_info"
    DISKS = False
    #: It is marked offline: asking it would only take the time until the connection is given up.
    _offline = False
    _record = None

    def prepare(self, arguments, operation):
        """Limit the detail to the operation's instance. A node that is marked offline is not asked, unless it returns."""
        record = self._registered()
        self._offline = bool(record.get("offline")) and operation["params"].get("returning_node") != self.node
        arguments.setdefault("instances", [operation["instance"]["uuid"], operation["instance"]["name"]])

    def _registered(self):
        """The node as the registry has it; empty where it has none, or where there is no registry (yet)."""
        if self._record is None:
            try:
                self._record = self.state().nodes().get(self.node) or {}
            except GantryError as missing:
                if missing.code not in ("registry_unnamed", "no_registry"):
                    raise
                self._record = {}
        return self._record

    def on_node(self, arguments):
        """Observe; say what was found and whether the node answered."""
        if self._offline:
            return {"changed": False, "node": self.node, "reachable": False, "error": "is marked offline", "node_info": None}
        arguments = dict({"hypervisors": self._registered().get("hypervisors") or ["kvm"]}, **arguments)
        asked = time.time()
        try:
            result = super().on_node(arguments)
        except GantryError as failure:
            return {"changed": False, "node": self.node, "reachable": False, "error": failure.found, "node_info": None,
                    "asked": asked, "answered": time.time()}
        result.update(node=self.node, reachable=True, asked=asked, answered=time.time())
        return result
