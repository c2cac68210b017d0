# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module domain_migrate for an operation, with the target's addresses filled in from the registry."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep

#: What libvirt on the source opens: SSH with a key that may do nothing but this.
URI = ("qemu+ssh://{user}@{address}/system?keyfile=/etc/gantry/migration/id_ed25519"
       "&known_hosts=/etc/gantry/migration/known_hosts&proxy=native&no_tty=1")


class ActionModule(NodeStep):
    """See the module of the same name."""

    MODULE = "gantry.cluster.domain_migrate"

    def prepare(self, arguments, operation):
        """Turn the target node's name into what the source node has to know of it."""
        super().prepare(arguments, operation)
        target = arguments.get("target")
        if isinstance(target, str):
            node = self.state().node(target)
            arguments["target"] = {
                "node": target, "hostname": node["hostname"], "address": node["address"],
                "uri": URI.format(user=node.get("migration_user", "gantry-migrate"), address=node["address"]),
                "migrate_uri": "tcp://%s" % node["address"],
            }
