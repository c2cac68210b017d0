# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module instance_disks for an operation; a long synchronisation is waited for in slices, each told."""

from __future__ import annotations

import time

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep
from ansible_collections.gantry.cluster.plugins.plugin_utils.report import sync_progress

#: Seconds one call of the module waits for the synchronisation.
SLICE = 30

#: What later slices are asked for: only what they need to wait.
_WAITING = ("name", "uuid", "generation", "record", "node", "disks", "secrets")


class ActionModule(NodeStep):
    """See the module of the same name."""

    MODULE = "gantry.cluster.instance_disks"

    def prepare(self, arguments, operation):
        """New disks that the guest does not see have a content of their own."""
        super().prepare(arguments, operation)
        if boolean(arguments.get("initialize", False)):
            arguments["images"] = dict(arguments.get("images") or {}, **hvparams.first_contents(operation["instance"]))

    def on_node(self, arguments):
        """Run the module; as long as the copies differ and there is time, wait on and tell how far it is."""
        wait = int(arguments.get("wait_sync") or 0)
        end = time.monotonic() + wait
        first = result = super().on_node(dict(arguments, wait_sync=min(wait, SLICE)))
        while wait > SLICE and not result.get("failed") and not result.get("synced", True) and not result.get("stuck") \
                and time.monotonic() < end and not self.check_mode:
            self._display.display("%s: %s" % (arguments.get("name"), sync_progress(result["disks"])))
            waiting = {key: arguments[key] for key in _WAITING if key in arguments}
            result = super().on_node(dict(waiting, wait_sync=int(max(1, min(SLICE, end - time.monotonic())))))
        if result is first or result.get("failed"):
            return result
        return dict(first, disks=result["disks"], synced=result["synced"], stuck=result["stuck"])
