# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module domain_migrate for an operation, with the target's addresses filled in from the registry."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep


class ActionModule(NodeStep):
    """See the module of the same name."""

    MODULE = "gantry.cluster.domain_migrate"

    def prepare(self, arguments, operation):
        """Turn the target node's name into what the source node has to know of it."""
        super().prepare(arguments, operation)
        record = operation["instance"]
        arguments.setdefault("hypervisor", record.get("hypervisor", "kvm"))
        backend = hypervisors.backend(arguments["hypervisor"])
        target = arguments.get("target")
        if isinstance(target, str):
            node = self.state().node(target)
            arguments["target"] = {
                "node": target, "hostname": node["hostname"], "address": node["address"],
                "uri": backend.remote_uri(node.get("migration_user", "gantry-migrate"), node["address"]),
                "migrate_uri": "tcp://%s" % ("[%s]" % node["address"] if ":" in node["address"] else node["address"]),
            }
