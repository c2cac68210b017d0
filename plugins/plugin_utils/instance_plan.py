# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From declared instances and what the nodes show to records ready to be created. Pure.

All instances of a run are planned together, so that two of them do not count on the same free space, and a single
bad one is refused before anything is touched.
"""

from __future__ import annotations

import math
import re
import uuid as uuids

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import placement
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_spec import differences

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
        found.append({
            "name": name,
            "usable": _why_not(node, observation) is None,
            "why_not": _why_not(node, observation),
            "hypervisors": node.get("hypervisors", ["kvm"]),
            "vg": node["vg"],
            "memory_total_mib": info.get("memory_total_mib", 0),
            "memory_free_mib": min(info.get("memory_free_mib", 0), info.get("memory_total_mib", 0) - given),
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


def version_of(machine):
    """A versioned machine type's version as numbers: pc-i440fx-7.2 gives (7, 2)."""
    return tuple(int(number) for number in re.findall(r"\d+", machine.rpartition("-")[2]))


def choose_machine(name, wanted, nodes):
    """The versioned machine type every node of the instance knows: the newest that all have.

    :param wanted: ``pc``, ``q35`` or a versioned type.
    :param nodes: candidates of the chosen nodes.
    """
    lists = [node["info"]["libvirt"]["machine_list"] for node in nodes]
    if all(wanted in machines for machines in lists) and version_of(wanted):
        return wanted
    resolved = [node["info"]["libvirt"]["machines"].get(wanted) for node in nodes]
    usable = [machine for machine in resolved if machine and all(machine in machines for machines in lists)]
    if not usable or None in resolved:
        raise GantryError(
            "Instance %s: the machine type %s is not on every node" % (name, wanted),
            found=", ".join("%s: %s" % (node["name"], machine) for node, machine in zip(nodes, resolved)),
            expected="one versioned type that all nodes know", mend="choose another gantry_machine, or upgrade QEMU",
            code="no_machine_type",
        )
    return min(usable, key=version_of)


def _check_clashes(spec, nodes):
    """Refuse names that something else on the nodes already has."""
    for node in nodes:
        for domain in node["info"].get("domains", []):
            if domain["name"] == spec["name"]:
                raise GantryError(
                    "Instance %s: node %s has a domain of that name already" % (spec["name"], node["name"]),
                    found="domain %s, UUID %s, unknown to the registry" % (domain["name"], domain["uuid"]),
                    expected="no such domain", mend="choose another name, or remove that domain by hand", code="duplicate",
                )
        for volume in node["info"].get("volumes", []):
            if volume["name"].startswith(spec["name"] + "-disk"):
                raise GantryError(
                    "Instance %s: node %s has a volume of that name already" % (spec["name"], node["name"]),
                    found="volume %s/%s" % (volume["vg"], volume["name"]), expected="no such volume",
                    mend="look whose it is (lvs -o+tags), then choose another name or remove it by hand", code="duplicate",
                )


def _check_node_needs(spec, nodes, primary):
    for node in nodes:
        if spec["disk_template"] == "drbd" and not node["info"]["drbd"]["ok"]:
            raise GantryError(
                "Instance %s: node %s has no usable DRBD" % (spec["name"], node["name"]), found=node["info"]["drbd"].get("error"),
                expected="DRBD 8.4 or 9", mend="run node_add for %s" % node["name"], code="no_drbd",
            )
        for nic in spec["nics"]:
            if nic["bridge"] not in node["info"].get("bridges", []):
                raise GantryError(
                    "Instance %s: node %s has no bridge %s" % (spec["name"], node["name"], nic["bridge"]),
                    found="bridges: %s" % (", ".join(node["info"].get("bridges", [])) or "none"), expected=nic["bridge"],
                    mend="create the bridge, or name another in gantry_nics", code="no_bridge",
                )
        files = node["info"].get("paths", {})
        needed = [spec[key] for key in ("iso", "kernel", "initrd") if spec[key]]
        if node is primary and spec["image"]:
            needed.append(spec["image"])
        for path in needed:
            seen = files.get(path) or {"ok": False, "error": "was not looked at"}
            if not seen["ok"]:
                raise GantryError(
                    "Instance %s: %s cannot be used on node %s" % (spec["name"], path, node["name"]), found=seen["error"],
                    expected="a readable file", mend="put it on %s, readable for all" % node["name"], code="unreadable_image",
                )
    if spec["image"]:
        size = primary["info"]["paths"][spec["image"]].get("virtual_size_mib") or 0
        if size > spec["disks"][0]["size_mib"]:
            raise GantryError(
                "Instance %s: the image %s does not fit on disk 0" % (spec["name"], spec["image"]),
                found="the image is %d MiB" % size, expected="at most %d MiB" % spec["disks"][0]["size_mib"],
                mend="make gantry_disks[0].size larger", code="image_too_large",
            )


def _record(spec, chosen, in_use):
    names = [node["name"] for node in chosen]
    where = {node["name"]: {"hostname": node["node"]["hostname"], "address": node["node"]["address"]} for node in chosen}
    record = {key: spec[key] for key in (
        "name", "hypervisor", "disk_template", "memory_mib", "vcpus", "nics", "image", "iso", "kernel", "initrd", "kernel_args", "tags")}
    kvm = all("kvm" in node["info"]["libvirt"]["domain_types"] for node in chosen)
    record.update(
        uuid=str(uuids.uuid4()),
        admin_state="up" if spec["start"] else "down",
        primary=names[0],
        secondary=names[1] if len(names) > 1 else None,
        machine=choose_machine(spec["name"], spec["machine"], chosen),
        domain_type="kvm" if kvm else "qemu",
        group=chosen[0]["node"].get("group", "default"),
        nodes=where,
        disks=[{
            "index": disk["index"], "name": "%s-disk%d" % (spec["name"], disk["index"]), "template": spec["disk_template"],
            "size_mib": disk["size_mib"], "vg": disk["vg"] or chosen[0]["vg"], "nodes": where,
        } for disk in spec["disks"]],
        in_use=in_use,
    )
    return record


def _seen_numbers(nodes):
    """DRBD minors and TCP ports that the nodes use now, whoever made or opened them."""
    minors, ports = set(), set()
    for node in nodes:
        ports.update(node["info"].get("tcp_ports") or [])
        for resource in (node["info"].get("drbd_resources") or {}).values():
            minors.update(volume["minor"] for volume in resource.get("volumes", []) if volume.get("minor") is not None)
    return {"minors": sorted(minors), "ports": sorted(ports)}


def plan(specs, instances, nodes, observations):
    """Plan all instances of a run.

    :param specs: parsed specifications (:func:`instance_spec.parse`).
    :param instances: existing records by name.
    :param nodes: the registry's nodes by name.
    :returns: ``{name: {"exists": bool, "record": record or plan, "why": text}}``
    :raises GantryError: the first instance that cannot be.
    """
    pool = candidates(nodes, observations)
    if not pool:
        raise GantryError("The cluster has no node", mend="run node_add for your nodes", code="no_nodes")
    in_use = _seen_numbers(pool)
    plans = {}
    for spec in specs:
        name = spec["name"]
        if name in nodes:
            raise GantryError("Instance %s has the name of a node" % name, mend="choose another name", code="duplicate")
        record = instances.get(name)
        if record is not None:
            plans[name] = {"exists": record["status"] == "ready", "record": record, "why": _existing(spec, record)}
            continue
        count = 2 if spec["disk_template"] == "drbd" else 1
        request = {"name": name, "memory_mib": spec["memory_mib"], "disk_mib": disk_request(spec), "hypervisor": spec["hypervisor"]}
        fixed = [node for node in (spec["primary"], spec["secondary"]) if node]
        if count > len(pool):
            raise GantryError(
                "Instance %s cannot have the disk template drbd" % name, found="%d node in the cluster" % len(pool),
                expected="two nodes", mend="add a node with node_add, or set gantry_disk_template: plain", code="too_few_nodes",
            )
        _check_clashes(spec, pool)
        answer = placement.choose(request, pool, count, fixed)
        chosen = [next(node for node in pool if node["name"] == node_name) for node_name in answer["nodes"]]
        _check_node_needs(spec, chosen, chosen[0])
        placement.reserve(request, pool, answer["nodes"])
        plans[name] = {"exists": False, "record": _record(spec, chosen, in_use), "why": "on " + " and ".join(answer["nodes"])}
    return plans


def _existing(spec, record):
    if (record.get("pending") or {}).get("verb") == "remove":
        raise GantryError(
            "Instance %s is being removed" % spec["name"], found="an interrupted removal",
            mend="run instance_remove for it again, then add it", code="removing",
        )
    differing = differences(spec, record)
    if differing:
        raise GantryError(
            "Instance %s exists already and is another" % spec["name"], found="; ".join(differing),
            expected="the settings it was made with", mend="choose another name, or correct the declared settings", code="duplicate",
        )
    if record["status"] == "ready":
        return "exists already on %s" % record["primary"]
    return "was begun and is finished now"
