# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a node may be marked offline, and when that may be taken back. Pure; see :mod:`node_plan`."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.leaving import still_connected
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.pool import Pool
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.returning import open_points


def refuse_offline(node, records, nodes, observations):
    """Offline means: nobody asks it any more, and failover may count on its silence. So it must be silent.

    :raises GantryError: its libvirt answers, its DRBD has resources up, or a peer's DRBD is connected to it.
    """
    pool = Pool(nodes, observations)
    if node not in pool.seen:
        raise GantryError("Node %s was not looked at" % node, found="no observation", expected="one, made now",
                          mend="run the playbook node_modify", code="not_observed")
    info = pool.seen[node].get("node_info") or {}
    signs = []
    if (info.get("libvirt") or {}).get("ok"):
        signs.append("its libvirtd answers")
    up = sorted(info.get("drbd_resources") or {})
    if up:
        signs.append("its DRBD answers, with %s up" % ", ".join(up))
    signs += list(still_connected(node, records, pool))
    if signs:
        raise GantryError(
            "Node %s is not marked offline: it is alive" % node, found="; ".join(signs), expected="a node that does not answer",
            mend="to keep new instances away, -e gantry_drained=true; to take it out of use, empty it with node_evacuate and "
            "switch it off", code="node_alive",
        )


def refuse_online(node, records, nodes, observations):
    """:raises GantryError: a copy on it is not up to date, or it shows a guest that belongs elsewhere."""
    points = open_points(node, records, nodes, observations)
    if points:
        raise GantryError(
            "Node %s stays offline: it is not to be trusted yet" % node, found="; ".join(points),
            expected="it answers, its copies are up to date, and nothing of the past is on it",
            mend="run node_readd -e gantry_node_name=%s" % node, code="quarantined",
        )
