# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters in a few words, as the registry and the nodes show them."""

from __future__ import annotations

SETTINGS = {"name": "cluster.example.com"}


def node(name, **more):
    """A node's record."""
    return dict({"name": name, "hostname": name, "address": "10.0.0.1", "vg": "gantry", "group": "default", "offline": False,
                 "drained": False, "tags": [], "hypervisors": ["kvm"]}, **more)


def record(name, primary, secondary=None, memory=1024, disk=10240, up=True, **more):
    """An instance's record; without a secondary it is plain."""
    template = "drbd" if secondary else "plain"
    found = {
        "name": name, "uuid": "uuid-of-" + name, "status": "ready", "admin_state": "up" if up else "down", "primary": primary,
        "secondary": secondary, "disk_template": template, "memory_mib": memory, "vcpus": 1, "machine": "pc-1.0", "domain_type": "kvm",
        "hypervisor": "kvm", "nics": [{"index": 0, "bridge": "br0"}], "group": "default", "tags": [],
        "disks": [{"index": 0, "name": name + "-disk0", "template": template, "vg": "gantry", "size_mib": disk,
                   "nodes": {one: {"minor": 0} for one in (primary, secondary) if one}}]}
    found.update(more)
    return found


def show(names, records, memory=16384, disk=204800, **more):
    """What the nodes show when all instances are where their records say; ``more``: differences by node, None for a silent one."""
    found = []
    for name in names:
        info = {
            "boot_id": "1", "memory_total_mib": memory, "memory_free_mib": memory, "cpus": 8, "bridges": ["br0"], "tcp_ports": [],
            "libvirt": {"ok": True, "error": None, "machine_list": ["pc-1.0"], "domain_types": ["kvm"], "machines": {"pc": "pc-1.0"}},
            "drbd": {"ok": True, "kernel_version": "8.4.11"}, "drbd_resources": {}, "domains": [], "volumes": [], "paths": {},
            "volume_groups": {"gantry": {"size_mib": disk, "free_mib": disk, "extent_mib": 4}}}
        for one in records.values():
            if name not in (one["primary"], one["secondary"]):
                continue
            runs = name == one["primary"] and one["admin_state"] == "up"
            for each in one["disks"]:
                info["volumes"].append({"vg": "gantry", "name": each["name"]})
                mib = each["size_mib"]
                info["volume_groups"]["gantry"]["free_mib"] -= mib + (4 * -(-(1 + -(-mib // 32768)) // 4) if one["secondary"] else 0)
                if one["secondary"]:
                    info["drbd_resources"][each["name"]] = {
                        "role": "Primary" if runs else "Secondary", "connection": "Connected", "peer_disk": "UpToDate",
                        "volumes": [{"volume": 0, "minor": 0, "disk": "UpToDate"}], "out_of_sync_kib": 0, "sync_percent": None,
                        "allow_two_primaries": False, "generations": None}
            if name == one["primary"]:
                info["memory_free_mib"] -= one["memory_mib"] if runs else 0
                info["domains"].append({"name": one["name"], "uuid": one["uuid"], "state": "running" if runs else "shutoff", "reason": None,
                                        "job": None, "arriving": None, "memory_mib": one["memory_mib"]})
        given = more.get(name, {})
        if given is None:
            found.append({"node": name, "reachable": False, "error": "timed out", "node_info": None})
        else:
            info.update(given)
            found.append({"node": name, "reachable": True, "error": None, "node_info": info})
    return found


def world(instances, names=("node1", "node2", "node3"), flags=None, **more):
    """(nodes, records, observations) of instances given as records."""
    records = {one["name"]: one for one in instances}
    nodes = {name: node(name, **(flags or {}).get(name, {})) for name in names}
    asked = [name for name in names if not nodes[name]["offline"]]
    return nodes, records, show(asked, records, **more)
