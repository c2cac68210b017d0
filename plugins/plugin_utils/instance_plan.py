# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From declared instances and what the nodes show to records ready to be created. Pure.

All instances of a run are planned together, so that two of them do not count on the same free space, and a single
bad one is refused before anything is touched.
"""

from __future__ import annotations

import re
import uuid as uuids

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import cpu_baseline, hvparams, suitability
from ansible_collections.gantry.cluster.plugins.plugin_utils.allocator import Chooser
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_spec import differences
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_space import candidates, disk_request, refusals, reserve


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


def _in_group(spec, node, settings):
    """The specification as if it were an instance of the node's group, with its effective hypervisor parameters."""
    one = dict(spec, group=node["node"].get("group", "default"))
    return one, hvparams.effective(one, settings)


def groups_of(settings, nodes=None):
    """The node groups that have settings, and those that nodes are in."""
    return sorted({"default"} | set(settings.get("groups") or {}) | {node.get("group", "default") for node in (nodes or {}).values()})


def paths_of(spec, settings, nodes=None):
    """Files on the nodes that the instance needs, in whichever group it may come to be."""
    found = {spec["image"]} - {None}
    for group in groups_of(settings, nodes):
        found.update(hvparams.files(hvparams.effective(dict(spec, group=group), settings)))
    return sorted(found)


def _own_disks(spec, settings, groups):
    """The specification with the disks that it may come to need for the variables of its firmware and the state of its TPM."""
    wanted = []
    for group in groups:
        wanted += hvparams.own_disks(spec, hvparams.effective(dict(spec, group=group), settings))
    first = len(spec["disks"])
    own = [{"index": first + number, "size_mib": size, "vg": spec["disks"][0]["vg"], "purpose": purpose}
           for number, (purpose, size) in enumerate(sorted(set(wanted)))]
    return dict(spec, disks=spec["disks"] + own)


def _check_node_needs(spec, nodes, primary, settings):
    for node in nodes:
        if spec["disk_template"] == "drbd" and not node["info"]["drbd"]["ok"]:
            raise GantryError(
                "Instance %s: node %s has no usable DRBD" % (spec["name"], node["name"]), found=node["info"]["drbd"].get("error"),
                expected="DRBD 8.4 or 9", mend="run node_add for %s" % node["name"], code="no_drbd",
            )
        one, values = _in_group(spec, node, settings)
        types = node["info"]["libvirt"]["domain_types"]
        kinds = [kind for kind in hypervisors.backend(spec["hypervisor"]).domain_types if kind in types]
        asked = dict(one, domain_type=kinds[0] if kinds else hypervisors.backend(spec["hypervisor"]).domain_types[-1], machine=None,
                     hvparams_effective=values)
        for lack in suitability.lacks(asked, suitability.facts(node["info"]))[:1]:
            raise GantryError(
                "Instance %s: node %s cannot run it: %s" % (spec["name"], node["name"], lack["what"]),
                found=_shown(lack, node["info"]), expected=lack["expected"],
                mend="on %s: %s; or choose another node or setting" % (node["name"], lack["mend"]), code=lack["code"],
            )
        extent = node["extent_mib"].get(spec["disks"][-1]["vg"] or node["vg"], 4) if spec["disks"] else 4
        if hvparams.needs_nvram(one, values) and extent > hvparams.NVRAM_MIB:
            raise GantryError(
                "Instance %s: the volume group of node %s cannot hold a disk for UEFI variables" % (spec["name"], node["name"]),
                found="extents of %g MiB" % extent, expected="at most %d MiB: QEMU takes 8 MiB of flash altogether" % hvparams.NVRAM_MIB,
                mend="use a volume group with small extents ('vgchange -s 4m'), or firmware=bios", code="large_extents",
            )
        needed = hvparams.files(values)
        if node is primary and spec["image"]:
            needed.append(spec["image"])
        refuse_unreadable(spec["name"], node["name"], node["info"], needed)
    if spec["image"] and primary is not None:
        size = primary["info"]["paths"][spec["image"]].get("virtual_size_mib") or 0
        if size > spec["disks"][0]["size_mib"]:
            raise GantryError(
                "Instance %s: the image %s does not fit on disk 0" % (spec["name"], spec["image"]),
                found="the image is %d MiB" % size, expected="at most %d MiB" % spec["disks"][0]["size_mib"],
                mend="make gantry_disks[0].size larger", code="image_too_large",
            )


def refuse_unreadable(name, node, info, paths):
    """:raises GantryError: a file that the instance needs on a node is not there, or not for all to read.

    :param info: the node's ``node_info``, asked with these paths.
    """
    for path in paths:
        seen = (info.get("paths") or {}).get(path) or {"ok": False, "error": "was not looked at"}
        if not seen["ok"]:
            raise GantryError(
                "Instance %s: %s cannot be used on node %s" % (name, path, node), found=seen["error"],
                expected="a readable file", mend="put it on %s, readable for all" % node, code="unreadable_image",
            )


def _shown(lack, info):
    if lack["code"] == "no_bridge":
        return "bridges: %s" % (", ".join((info.get("bridges") or []) + (info.get("ovs_bridges") or [])) or "none")
    return lack["what"]


def _disk(spec, disk, vg, where):
    """A disk of the record."""
    made = {
        "index": disk["index"], "name": "%s-disk%d" % (spec["name"], disk["index"]), "template": spec["disk_template"],
        "size_mib": disk["size_mib"], "vg": disk["vg"] or vg, "nodes": where,
    }
    if disk.get("purpose"):
        made["purpose"] = disk["purpose"]
    return made


def _needed(spec, values):
    """The disks without those that the group it came to does without."""
    own = [purpose for purpose, _size in hvparams.own_disks(spec, values)]
    return [disk for disk in spec["disks"] if not disk.get("purpose") or disk["purpose"] in own]


def _record(spec, chosen, in_use, pool, settings):
    names = [node["name"] for node in chosen]
    where = {node["name"]: {"hostname": node["node"]["hostname"], "address": node["node"]["address"]} for node in chosen}
    record = {key: spec[key] for key in (
        "name", "hypervisor", "disk_template", "memory_mib", "vcpus", "nics", "image", "iso", "kernel", "initrd", "kernel_args", "tags",
        "hvparams", "domain_template")}
    record["group"] = chosen[0]["node"].get("group", "default")
    backend = hypervisors.backend(spec["hypervisor"])
    record["hvparams_settled"] = hvparams.settle(record, settings)
    record = hvparams.refresh(record, settings)
    values = record["hvparams_effective"]
    kinds = [kind for kind in backend.domain_types if all(kind in node["info"]["libvirt"]["domain_types"] for node in chosen)]
    record.update(
        uuid=str(uuids.uuid4()),
        admin_state="up" if spec["start"] else "down",
        primary=names[0],
        secondary=names[1] if len(names) > 1 else None,
        machine=choose_machine(spec["name"], spec["machine"], chosen) if backend.versioned_machines else backend.machine,
        domain_type=kinds[0] if kinds else backend.domain_types[-1],
        nics=[dict(nic, model=nic["model"] or backend.nic_model(values)) for nic in spec["nics"]],
        nodes=where,
        disks=[_disk(spec, dict(disk, index=index), chosen[0]["vg"], where) for index, disk in enumerate(_needed(spec, values))],
        in_use=in_use,
    )
    if "cpu_type" in values:
        record["cpu_model"] = pinned_model(record, values, chosen, pool)
    hvparams.refuse_conflicts(record, values)
    return record


def pinned_model(record, values, chosen, pool):
    """The cluster's baseline, pinned: the best model that all nodes can give which run this hypervisor and were seen.

    In emulation QEMU's own default stays, which any node can play.
    """
    if values["cpu_type"] != "baseline" or record["domain_type"] != "kvm":
        return None
    runs = [node for node in pool if node in chosen or (node["usable"] and record["hypervisor"] in node["hypervisors"])]
    return cpu_baseline.best([models for models in (node["info"]["libvirt"].get("cpu_models") for node in runs) if models])


def _seen_numbers(nodes):
    """DRBD minors and TCP ports that the nodes use now, whoever made or opened them."""
    minors, ports = set(), set()
    for node in nodes:
        ports.update(node["info"].get("tcp_ports") or [])
        for resource in (node["info"].get("drbd_resources") or {}).values():
            minors.update(volume["minor"] for volume in resource.get("volumes", []) if volume.get("minor") is not None)
    return {"minors": sorted(minors), "ports": sorted(ports)}


def plan(specs, instances, nodes, observations, settings=None, capacity=False, force=False):
    """Plan all instances of a run.

    :param specs: parsed specifications (:func:`instance_spec.parse`).
    :param instances: existing records by name.
    :param nodes: the registry's nodes by name.
    :param settings: the cluster's settings.
    :param capacity: must the cluster be able to lose any node afterwards?
    :param force: go where not all mirrors could be started if a node died.
    :returns: ``{name: {"exists": bool, "record": record or plan, "why": text, "choice": how the nodes were chosen or None}}``
    :raises GantryError: the first instance that cannot be.
    """
    pool = candidates(nodes, observations)
    if not pool:
        raise GantryError("The cluster has no node", mend="run node_add for your nodes", code="no_nodes")
    in_use, settings = _seen_numbers(pool), settings or {}
    specs = [_own_disks(spec, settings, groups_of(settings, nodes)) for spec in specs]
    new = [spec for spec in specs if spec["name"] not in instances]
    chooser, plans = None, {}
    for spec in specs:
        name = spec["name"]
        if name in nodes:
            raise GantryError("Instance %s has the name of a node" % name, mend="choose another name", code="duplicate")
        record = instances.get(name)
        if record is not None:
            plans[name] = {"exists": record["status"] == "ready", "record": record, "why": _existing(spec, record), "choice": None}
            continue
        _check_clashes(spec, pool)
        if chooser is None:
            chooser = Chooser(settings, nodes, instances, observations, new, capacity, force)
        request = {"name": name, "memory_mib": spec["memory_mib"], "disk_mib": disk_request(spec), "hypervisor": spec["hypervisor"]}
        choice = _choose(spec, request, pool, chooser, settings)
        chosen = [next(node for node in pool if node["name"] == node_name) for node_name in choice["nodes"]]
        _check_node_needs(spec, chosen, chosen[0], settings)
        reserve(request, pool, choice["nodes"])
        plans[name] = {"exists": False, "record": _record(spec, chosen, in_use, pool, settings),
                       "why": "on " + " and ".join(choice["nodes"]), "choice": choice}
    return plans


def _choose(spec, request, pool, chooser, settings):
    """The nodes of one instance: ``{"nodes", "rejected": {node: [reasons]}, "candidates", "score", "metrics"}``.

    :raises GantryError: a named node cannot take it, or too few nodes can.
    """
    roles = ("primary", "secondary")[:2 if spec["disk_template"] == "drbd" else 1]
    if len(roles) > len(pool):
        raise GantryError(
            "Instance %s cannot have the disk template drbd" % spec["name"], found="%d node in the cluster" % len(pool),
            expected="two nodes", mend="add a node with node_add, or set gantry_disk_template: plain", code="too_few_nodes",
        )
    fixed = [node for node in (spec["primary"], spec["secondary"]) if node]
    for role, name in zip(roles, fixed):
        _check_named(request, pool, role, name)
    before, rejected = chooser.score(), {}
    if len(fixed) == len(roles):
        chooser.put(spec["name"], *fixed)
        found = {"nodes": fixed, "candidates": [], "fitting": None, "why": "named"}
    else:
        fitting = {}
        for position, role in enumerate(roles):
            fitting[role] = [fixed[position]] if position < len(fixed) else _fitting(
                spec, request, pool, role, fixed, rejected, settings)
        found = chooser.place(spec["name"], fitting["primary"], fitting.get("secondary"))
        for name, reason in found.pop("rejected").items():
            rejected.setdefault(name, [reason])
        if not found["nodes"]:
            _refuse(spec["name"], roles[-1] if fixed else roles[0], rejected, found["why"])
    after = chooser.score()
    return dict(found, rejected=rejected, by=chooser.name, score_before=round(float(before["score"]), 6),
                score=round(float(after["score"]), 6), metrics={key: round(float(value), 6) for key, value in after["metrics"].items()})


def _check_named(request, pool, role, name):
    """:raises GantryError: a node that the operator named cannot take the role."""
    node = next((node for node in pool if node["name"] == name), None)
    reasons = refusals(request, node, role) if node else ["is not a node of the cluster"]
    if reasons:
        raise GantryError(
            "Instance %s cannot have node %s as its %s" % (request["name"], name, role), found="; ".join(reasons),
            expected="a node with room for it", mend="name another gantry_%s, or leave both out to have them chosen" % role,
            code="unknown_node" if node is None else "no_space" if node["usable"] else "node_unusable",
        )


def _fitting(spec, request, pool, role, taken, rejected, settings):
    """Names of the nodes that can take the role; the reasons of the others go to ``rejected``.

    :raises GantryError: there is none.
    """
    roomy = []
    for node in pool:
        reasons = refusals(request, node, role)
        if node["name"] in taken:
            continue
        if reasons:
            rejected.setdefault(node["name"], reasons)
        else:
            roomy.append(node)
    if not roomy:
        _refuse(spec["name"], role, rejected, "no other node")
    suited, lacking = [], None
    for node in roomy:
        try:
            _check_node_needs(spec, [node], node if role == "primary" else None, settings)
            suited.append(node["name"])
        except GantryError as refusal:
            lacking = lacking or refusal
            rejected.setdefault(node["name"], [refusal.found or refusal.what])
    if not suited:
        # the first one's own words say more than "no node"
        raise lacking
    return suited


def _refuse(name, role, rejected, why):
    raise GantryError(
        "No node can be the %s of instance %s" % (role, name),
        found="; ".join("%s: %s" % (node, ", ".join(reasons)) for node, reasons in sorted(rejected.items())) or why,
        expected="nodes with enough memory and disk, which could also do without one of them",
        mend="free space, add a node with node_add, or make the instance smaller; gantry_force=true does without N+1", code="no_space",
    )


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
            expected="the settings it was made with",
            mend="run instance_modify to change it (what is to be taken away is declared empty), correct the declared settings, or choose "
                 "another name", code="duplicate",
        )
    if record["status"] == "ready":
        return "exists already on %s" % record["primary"]
    return "was begun and is finished now"


def explanation(plans):
    """How the nodes of new instances were chosen, as lines. Pure."""
    lines = []
    for name, one in sorted(plans.items()):
        choice = one.get("choice")
        if not choice:
            continue
        lines.append("%s: %s, chosen by %s; cluster score %.6f -> %.6f" % (
            name, one["why"], "the operator" if choice["why"] == "named" else choice["by"], choice["score_before"], choice["score"]))
        for other in choice["candidates"]:
            lines.append("  candidate %s: score %.6f" % (" and ".join(other["nodes"]), other["score"]))
        if choice["fitting"] is not None and choice["fitting"] > len(choice["candidates"]):
            lines.append("  and %d more" % (choice["fitting"] - len(choice["candidates"])))
        lines += ["  rejected %s: %s" % (node, ", ".join(reasons)) for node, reasons in sorted(choice["rejected"].items())]
        lines.append("  score by metric: %s" % ", ".join("%s %.6f" % (key, value) for key, value in choice["metrics"].items() if value))
    return lines
