# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes have left for instances, and what an instance needs of a node: pure functions on observations and records."""

from __future__ import annotations

import math

from ansible_collections.gantry.cluster.plugins.plugin_utils import suitability

#: Extent size assumed when a node did not say, MiB.
EXTENT_MIB = 4


def candidates(nodes, observations):
    """The nodes as placement wants them, from the registry's nodes and what was observed.

    Free memory is the smaller of what the kernel calls available and what is left when every guest of the node
    uses all it was given.
    """
    seen = {observation["node"]: observation for observation in observations}
    found = []
    for name, node in sorted(nodes.items()):
        observation = seen.get(name)
        info = (observation or {}).get("node_info") or {}
        given = sum(domain["memory_mib"] for domain in info.get("domains", []) if domain["state"] != "shutoff")
        groups = info.get("volume_groups") or {}
        total = info.get("memory_total_mib") or 0
        found.append({
            "name": name,
            "usable": _why_not(node, observation) is None,
            "why_not": _why_not(node, observation),
            "hypervisors": node.get("hypervisors", ["kvm"]),
            "vg": node["vg"],
            "memory_total_mib": total,
            "memory_free_mib": min(info.get("memory_free_mib") or 0, total - given),
            "disk_free_mib": {group: sizes["free_mib"] for group, sizes in groups.items()},
            "disk_total_mib": {group: sizes["size_mib"] for group, sizes in groups.items()},
            "extent_mib": {group: sizes.get("extent_mib", EXTENT_MIB) for group, sizes in groups.items()},
            "node": node,
            "info": info,
        })
    return found


def _why_not(node, observation):
    if node.get("offline"):
        return "is marked offline"
    if node.get("drained"):
        return "is drained"
    return silent(observation)


def silent(observation):
    """Why nothing can be known of a node now, or None."""
    if observation is None:
        return "was not asked"
    if not observation.get("reachable"):
        return "does not answer: %s" % observation.get("error")
    libvirt = observation["node_info"]["libvirt"]
    if not libvirt["ok"]:
        return "its libvirtd does not answer: %s" % libvirt.get("error")
    return None


def metadata_mib(size_mib):
    """DRBD's external metadata for a disk of this size, MiB: one bit per 4 KiB, and 1 MiB of log and superblock."""
    return math.ceil(size_mib * 1024 * 1024 / 32768 / (1024 * 1024)) + 1


def disk_request(spec, extent_mib=EXTENT_MIB):
    """MiB needed on each node by volume group ("" is the node's own), in whole extents."""
    need = {}
    for disk in spec["disks"]:
        parts = [disk["size_mib"]]
        if spec["disk_template"] == "drbd":
            parts.append(metadata_mib(disk["size_mib"]))
        group = disk["vg"] or ""
        need[group] = need.get(group, 0) + sum(math.ceil(part / extent_mib) * extent_mib for part in parts)
    return need


def refusals(request, node, role):
    """Why a node cannot take the role, as a list of sentences; empty when it can.

    :param request: ``{"memory_mib", "disk_mib": {vg or "": MiB}, "hypervisor"}``.
    :param node: one of :func:`candidates`.
    :param role: ``primary`` or ``secondary``; both need the disks, the primary also the memory.
    """
    if not node["usable"]:
        return [node["why_not"]]
    reasons = []
    if request["hypervisor"] not in node["hypervisors"]:
        reasons.append("does not run %s" % request["hypervisor"])
    if role == "primary" and request["memory_mib"] > node["memory_free_mib"]:
        reasons.append("%d MiB of memory needed, %d MiB free" % (request["memory_mib"], node["memory_free_mib"]))
    for group, size in sorted(request["disk_mib"].items()):
        group = group or node["vg"]
        free = node["disk_free_mib"].get(group)
        if free is None:
            reasons.append("no volume group %s" % group)
        elif size > free:
            reasons.append("%d MiB of disk needed in volume group %s, %d MiB free" % (size, group, free))
    return reasons


def unsuited(record, node):
    """What a node lacks to run an instance, beside space: sentences."""
    info = node["info"]
    reasons = [lack["what"] for lack in suitability.lacks(record, suitability.facts(info))]
    if record["disk_template"] == "drbd" and not (info.get("drbd") or {}).get("ok"):
        reasons.append("no usable DRBD")
    return reasons


def reserve(request, nodes, chosen):
    """Take the request's memory and disks off the chosen nodes, so that the next request of the run sees them gone."""
    for position, name in enumerate(chosen):
        node = next(node for node in nodes if node["name"] == name)
        if position == 0:
            node["memory_free_mib"] -= request["memory_mib"]
        for group, size in request["disk_mib"].items():
            node["disk_free_mib"][group or node["vg"]] -= size
