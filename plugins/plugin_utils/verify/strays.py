# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on a node and belongs to nobody: guests, volumes, DRBD resources and their files, records."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.storage.renewal import ASIDE

_MARK = "gantry.instance="


def check(case):
    """All checks for leftovers."""
    for name, facts in case.facts.items():
        if facts.info is None:
            continue
        volumes, resources, unsure = _expected(case, name)
        if facts.libvirt:
            _domains(case, name, facts.info["domains"])
        if facts.lvm:
            _volumes(case, name, facts.info["volumes"], volumes, unsure)
        if facts.told("resource_files", "resource_bindings"):
            _files(case, name, facts.info, resources, unsure)
            if facts.drbd:
                _resources(case, name, facts.info, resources)
        _records(case, name, facts.info["records"])


def _expected(case, node):
    """What the instances have on the node: volumes, resources, and the UUIDs of instances nobody can be sure about."""
    volumes, resources = set(), set()
    unsure = {uuid for uuid, name in case.uuids.items() if name not in case.instances or name in case.busy} | set(case.removed)
    for record in case.instances.values():
        for disk in record["disks"]:
            if node in disk["nodes"]:
                volumes.add((disk["vg"], disk["name"]))
                if disk["template"] == "drbd":
                    volumes.add((disk["vg"], disk["name"] + "-meta"))
                    # old copies are findings of the disk
                    volumes |= {(disk["vg"], disk["name"] + end + ASIDE) for end in ("", "-meta")}
                    resources.add(disk["name"])
    return volumes, resources, unsure


def _owner(case, uuid):
    return "%s (%s)" % (uuid, case.uuids.get(uuid, "an unknown instance")) if uuid else "nobody"


def _domains(case, node, domains):
    for domain in domains:
        if domain["uuid"] in case.uuids or domain["uuid"] in case.removed:
            continue
        words = "%s, UUID %s, %s" % (domain["name"], domain["uuid"], domain["state"])
        if domain["generation"] is not None:
            case.add("NODE_ORPHAN_INSTANCE", node, words, "an instance of the registry")
        elif domain["name"] in case.content["instances"]:
            case.add("INSTANCE_UUID", domain["name"], "UUID %s on %s" % (domain["uuid"], node),
                     next(uuid for uuid, name in _by_name(case) if name == domain["name"]), node=node)
        else:
            case.add("NODE_FOREIGN_GUEST", node, words, "guests of this cluster only")


def _by_name(case):
    """(UUID, name) of all instances, and a word for one whose record has no UUID."""
    return list(case.uuids.items()) + [("the recorded UUID", name) for name in case.content["instances"]]


def _volumes(case, node, volumes, expected, unsure):
    for volume in volumes:
        owners = [tag[len(_MARK):] for tag in volume["tags"] if tag.startswith(_MARK)]
        if (volume["vg"], volume["name"]) in expected or any(uuid in unsure for uuid in owners):
            continue
        case.add("NODE_ORPHAN_VOLUME", node, "%s/%s, %d MiB, of %s" % (
            volume["vg"], volume["name"], volume["size_mib"], _owner(case, owners[0] if owners else None)),
            "volumes of disks on this node only")


def _files(case, node, info, expected, unsure):
    for name in info["resource_files"]:
        binding = info["resource_bindings"].get(name)
        owner = binding["instance"] if binding else None
        # a file without our mark is the administrator's own
        if owner and name not in expected and owner not in unsure:
            case.add("NODE_ORPHAN_RESOURCE_FILE", node, "%s.res of %s" % (name, _owner(case, owner)), "files of disks on this node only")


def _resources(case, node, info, expected):
    for name, resource in sorted(info["drbd_resources"].items()):
        binding = info["resource_bindings"].get(name)
        if name in expected or (binding and not binding["instance"]) or _of_busy(case, name):
            continue
        minors = [str(volume["minor"]) for volume in resource["volumes"]]
        case.add("NODE_ORPHAN_RESOURCE", node, "%s, minor %s, %s" % (name, ", ".join(minors) or "none", resource["role"]),
                 "resources of disks on this node only")


def _of_busy(case, resource):
    """A resource of an instance that is being worked on, or whose record is broken, goes by its name."""
    names = set(case.busy) | set(case.removed.values()) | (set(case.content["instances"]) - set(case.instances))
    return any(resource.startswith(name + "-disk") for name in names)


def _records(case, node, records):
    for uuid, memory in sorted(records.items()):
        if memory["error"] or memory["generation"] is None:
            case.add("NODE_BROKEN_RECORD", node, "%s: %s" % (uuid, memory["error"] or "no generation"), "a generation and a record")
            continue
        name = case.uuids.get(uuid)
        if uuid in case.removed:
            continue
        record = case.instances.get(name)
        if name is None or (record and name not in case.busy and node not in case.node_names(record)):
            case.add("NODE_ORPHAN_RECORD", node, "a record of %s, generation %d" % (_owner(case, uuid), memory["generation"]),
                     "records of instances on this node only")
