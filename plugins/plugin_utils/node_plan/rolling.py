# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of a rolling reboot: what must be whole before and after, and who may be away at the same time. Pure."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.pool import Pool, interrupted
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views


def unfit(records, nodes, observations):
    """Why no node may be taken away now, as sentences: the gate of a rolling reboot. Empty: the cluster is whole."""
    pool = Pool(nodes, observations)
    reasons = []
    for name, record in sorted(nodes.items()):
        seen = pool.observation(name)
        info = seen.get("node_info") or {}
        if record.get("offline"):
            continue
        if not seen["reachable"]:
            reasons.append("node %s does not answer: %s" % (name, seen["error"]))
        elif not info["libvirt"]["ok"]:
            reasons.append("libvirtd on node %s does not answer: %s" % (name, info["libvirt"].get("error")))
    for name, record in sorted(records.items()):
        if record["disk_template"] != "drbd" or not record.get("disks_active", True):
            continue
        if record.get("pending"):
            reasons.append("%s: %s" % (name, interrupted(record, None)))
        reasons += ["%s: disk %d is %s (%s)" % (name, disk["index"], disk["verdict"], disk["detail"])
                    for disk in pool.picture(record)["disks"] if disk["verdict"] != views.REDUNDANT]
    return reasons


def together(records, nodes, observations, settings, names):
    """Which of these nodes may be rebooted at the same time: lists of names, the largest first.

    Not together: the two nodes of an instance, and nodes whose guests would go to the same third one.
    """
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import rolling
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import registry
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State
    model = registry.load(settings, nodes, records, observations)
    chosen = np.array([name in names for name in model.cluster.nodes.names], dtype=bool)
    colours = rolling.colour(rolling.conflicts(State(model.cluster), chosen), chosen)
    found = {}
    for name, colour in zip(model.cluster.nodes.names, colours.tolist()):
        if colour >= 0:
            found.setdefault(colour, []).append(name)
    return sorted(found.values(), key=lambda group: (-len(group), group))


def rebooted(node, before, observations):
    """See that a node came back another and the same: booted anew, with the same DRBD.

    :raises GantryError: it did not boot, or DRBD's module has another version than before.
    """
    seen = next((one for one in observations if one["node"] == node), None) or {}
    info = seen.get("node_info") or {}
    drbd = (info.get("drbd") or {}).get("kernel_version")
    if not seen.get("reachable"):
        raise GantryError("Node %s does not answer after its reboot" % node, found=seen.get("error"), expected="an answer over SSH",
                          mend="look at its console; the other nodes were not touched", code="unreachable")
    if info["boot_id"] == before["boot_id"]:
        raise GantryError("Node %s was not rebooted" % node, found="boot %s, the same as before" % info["boot_id"],
                          expected="another boot", mend="look why it refused to go down", code="not_rebooted")
    if drbd != before["drbd"]:
        raise GantryError(
            "Node %s came back with another DRBD" % node, found="version %s" % drbd, expected="%s, as before" % before["drbd"],
            mend="install the module for its new kernel, or boot the old one, and run the same command again", code="drbd_changed",
        )
