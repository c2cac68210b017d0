# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance's record with its mirror on another node. Pure."""

from __future__ import annotations


def with_secondary(record, node):
    """The record with this node as the secondary.

    DRBD minors are unique in the cluster, so the disk keeps its number; port and secret stay as well: what the old node
    has of the disk refers to the old pair of addresses, and no longer meets anybody.

    :param node: the node's record in the registry: ``name``, ``hostname``, ``address``.
    """
    place = {"hostname": node["hostname"], "address": node["address"]}
    primary = record["primary"]
    disks = []
    for disk in record["disks"]:
        minor = disk["nodes"][primary]["minor"]
        disks.append(dict(disk, nodes={primary: disk["nodes"][primary], node["name"]: dict(place, minor=minor)}))
    moved = dict(record, secondary=node["name"], disks=disks)
    if "nodes" in record:
        moved["nodes"] = {primary: record["nodes"][primary], node["name"]: place}
    return moved
