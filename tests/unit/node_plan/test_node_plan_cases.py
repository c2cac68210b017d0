# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes hold and show, as data, and what a verb on a node must plan: every case of the YAML files beside this one.

A case's few words: ``nodes`` with ``memory`` and ``disk`` (free MiB; 4096 and 8192 without), flags, ``group``, ``unreachable``,
``libvirt: false``; ``instances`` as "primary secondary running memory disk" with ``more`` where that does not say it all.
"""

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan import flags, plan, rolling, to_ask

FOLDER = pathlib.Path(__file__).parent
CASES = [(path.stem, case) for path in sorted(FOLDER.glob("*.yml")) for case in yaml.safe_load(path.read_text(encoding="utf-8"))]
#: States of the two sides of a mirrored disk: connection, disk.
SIDES = {
    "good": (("Connected", "UpToDate"), ("Connected", "UpToDate")),
    "syncing": (("Connected", "UpToDate"), ("Connected", "Inconsistent")),
    "alone": (("Connecting", "UpToDate"), ("Connecting", "Outdated")),
    "split": (("StandAlone", "UpToDate"), ("StandAlone", "UpToDate")),
    "down": (None, None),
    "lost": (("Connecting", "UpToDate"), "lost"),
}


def make_record(name, given):
    """An instance's record: ``at: primary secondary`` (no secondary: plain)."""
    nodes = given["at"].split()
    template = "drbd" if len(nodes) > 1 else "plain"
    record = {
        "name": name, "uuid": "uuid-of-" + name, "status": given.get("status", "ready"), "admin_state": given.get("admin", "up"),
        "primary": nodes[0], "secondary": nodes[1] if len(nodes) > 1 else None, "disk_template": template,
        "memory_mib": given.get("memory", 512), "machine": None if given.get("hypervisor") == "lxc" else "pc-1.0",
        "domain_type": given.get("hypervisor", "kvm"), "hypervisor": given.get("hypervisor", "kvm"),
        "nics": [{"index": 0, "bridge": given.get("bridge", "br0")}], "group": "default",
        "disks": [{"index": 0, "name": name + "-disk0", "template": template, "vg": "gantry", "size_mib": given.get("disk", 64),
                   "nodes": {node: {"minor": 0} for node in nodes}}],
    }
    if "disks_active" in given:
        record["disks_active"] = given["disks_active"]
    if "pending" in given:
        record["pending"] = {"operation": "1", "generation": 2, "verb": given["pending"], "params": given.get("pending_params", {})}
    return record


def make_observation(name, given):
    """A node with nothing on it yet."""
    if given.get("unreachable"):
        return {"node": name, "reachable": False, "error": "timed out", "node_info": None}
    libvirt = given.get("libvirt", True)
    return {"node": name, "reachable": True, "error": None, "node_info": {
        "boot_id": given.get("boot", "1"), "memory_total_mib": 8192, "memory_free_mib": given.get("memory", 4096),
        "libvirt": {"ok": libvirt, "error": None if libvirt else "no socket", "machine_list": given.get("machines", ["pc-1.0"]),
                    "domain_types": ["kvm", "lxc"]},
        "drbd": {"ok": True, "kernel_version": given.get("drbd", "8.4.11")}, "bridges": given.get("bridges", ["br0"]),
        "domains": [dict({"reason": None, "job": None, "arriving": None, "memory_mib": 0}, **domain)
                    for domain in given.get("domains", [])],
        "volumes": [{"vg": "gantry", "name": volume} for volume in given.get("volumes", [])], "drbd_resources": {},
        "volume_groups": {"gantry": {"size_mib": 10240, "free_mib": given.get("disk", 8192), "extent_mib": 4}}}}


def show(record, given, seen):
    """Put an instance onto the nodes that answer."""
    nodes = given["at"].split()
    sides = SIDES[given.get("mirror", "good")]
    guest = given.get("guest", nodes[0])
    for number, node in enumerate(nodes):
        info = seen[node]["node_info"]
        side = sides[number] if record["disk_template"] == "drbd" else None
        if info is None:
            continue
        if side != "lost":
            info["volumes"].append({"vg": "gantry", "name": record["disks"][0]["name"]})
        if side and side != "lost":
            info["drbd_resources"][record["disks"][0]["name"]] = {
                "role": "Primary" if guest == node else "Secondary", "connection": side[0], "out_of_sync_kib": 0,
                "peer_disk": "UpToDate", "sync_percent": 50.0 if "Inconsistent" in (sides[0][1], sides[1][1]) else None,
                "volumes": [{"volume": 0, "minor": 0, "disk": side[1]}], "allow_two_primaries": False}
        # what runs has taken its memory from what is free already
        if guest == node:
            info["domains"].append({"name": record["name"], "uuid": record["uuid"], "state": "running", "reason": None, "job": None,
                                    "arriving": None, "memory_mib": 0})


def world(case):
    """The case's records, node records and observations."""
    given_nodes = {name: given or {} for name, given in case["nodes"].items()}
    nodes = {name: {"name": name, "hostname": name, "address": name, "vg": "gantry", "group": given.get("group", "default"),
                    "offline": given.get("offline", False), "drained": given.get("drained", False)} for name, given in given_nodes.items()}
    seen = {name: make_observation(name, given) for name, given in given_nodes.items()}
    records = {}
    for name, given in (case.get("instances") or {}).items():
        records[name] = make_record(name, given)
        show(records[name], given, seen)
    asked = to_ask(case.get("verb", "gate"), case.get("node", "node1"), nodes)
    return records, nodes, [seen[name] for name in sorted(seen) if name in asked or case.get("ask_all")]


def answer(verb, case):
    """What the code under test says."""
    records, nodes, observations = world(dict(case, verb=verb))
    node = case.get("node", "node1")
    if verb == "gate":
        return {"reasons": rolling.unfit(records, nodes, observations)}
    if verb == "rebooted":
        return {"ok": rolling.rebooted(node, case["before"], observations) is None}
    if verb in ("offline", "online"):
        return {"ok": (flags.refuse_offline if verb == "offline" else flags.refuse_online)(node, records, nodes, observations) is None}
    return plan(verb, node, records, nodes, observations, case.get("params"))


def words(step):
    """A step in a few words: ``migrate node2``."""
    return " ".join([step["do"]] + [step[key] for key in ("target", "new_node", "side") if step.get(key)])


@pytest.mark.parametrize(("verb", "case"), CASES, ids=["%s: %s" % (verb, case["case"]) for verb, case in CASES])
def test_case(verb, case):
    """The plan is the expected one, or the refusal."""
    expected = case["expect"]
    if "refuse" in expected:
        with pytest.raises(GantryError) as refusal:
            answer(verb, case)
        assert refusal.value.code == expected["refuse"]
        for word in expected.get("says", []):
            assert word in str(refusal.value)
        return
    found = answer(verb, case)
    for key, value in expected.items():
        if key in ("steps", "left"):
            entries = {one["name"]: one for one in found["instances"]}
            for name, wanted in value.items():
                if key == "steps":
                    assert [words(step) for step in entries[name]["steps"]] == wanted, entries[name]
                    assert name in expected.get("left", {}) or entries[name]["left"] is None, entries[name]
                else:
                    assert entries[name]["left"] and wanted in entries[name]["left"], entries[name]
        elif key == "lost":
            assert [one["name"] for one in found["instances"] if one["lost"]] == value
        elif key == "names":
            assert [one["name"] for one in found["instances"]] == value
        elif key in ("notes", "reasons"):
            assert len(found[key]) == len(value) and all(word in text for word, text in zip(value, found[key])), found[key]
        else:
            assert found[key] == value


def test_there_are_enough_cases():
    """A folder that was not read would test nothing."""
    assert len(CASES) >= 40
