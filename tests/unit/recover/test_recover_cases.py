# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes hold, as data, and what is restored: every case of cases.yml."""

from __future__ import annotations

import copy
import pathlib

import pytest
import yaml

from ansible_collections.gantry.cluster.plugins.plugin_utils import recover

CASES = yaml.safe_load((pathlib.Path(__file__).parent / "cases.yml").read_text(encoding="utf-8"))
#: A node of web1 when nothing is said of it; node3 holds nothing.
WHOLE = {"record": {}, "volumes": ["web1-disk0", "web1-disk0-meta"], "secret": "s1"}
NODE1 = dict(WHOLE, guest="running", disk="Connected Primary UpToDate UpToDate")
NODE2 = dict(WHOLE, disk="Connected Secondary UpToDate UpToDate")


def make_record(given, name="web1", number=0):
    """A node's record from the case's few words."""
    template = given.get("template", "drbd")
    nodes = {"drbd": ["node1", "node2"], "plain": ["node1"], "diskless": []}[template]
    record = {
        "name": name, "uuid": "uuid-of-" + name, "generation": 7, "status": "ready", "admin_state": "up", "disk_template": template,
        "primary": "node1", "secondary": "node2" if template == "drbd" else None, "memory_mib": 512,
        "nics": [{"index": 0, "mac": "52:54:00:00:00:0%d" % number, "bridge": "br0"}],
        "disks": [] if template == "diskless" else [
            dict({"index": 0, "name": name + "-disk0", "template": template, "vg": "gantry", "size_mib": 64,
                  "nodes": {node: dict({"hostname": node}, **({"minor": number} if template == "drbd" else {})) for node in nodes}},
                 **({"port": 11000 + number} if template == "drbd" else {}))],
    }
    record.update({key: value for key, value in given.items() if key != "template"})
    return record


def make_memory(node, given):
    """What a node holds, from the case's few words."""
    if given.get("unreachable"):
        return {"reachable": False, "error": "timed out", "memory": None}
    memory = {
        "records": {}, "domains": [], "volumes": [], "drbd_resources": {}, "resource_secrets": {},
        "lvm": {"ok": given.get("lvm", True)}, "libvirt": {"ok": given.get("libvirt", True), "error": "no socket"},
    }
    if "record" in given:
        record = given["record"] if given["record"] is None else make_record(given["record"])
        memory["records"]["uuid-of-web1"] = {"generation": given.get("generation", 7), "record": record}
    if "broken" in given:
        memory["records"]["uuid-of-web1"] = {"error": "cannot be read"}
    if given.get("guest"):
        memory["domains"].append({
            "name": "web1", "uuid": given.get("domain_uuid", "uuid-of-web1"), "state": given["guest"],
            "reason": given.get("reason"), "arriving": given.get("arriving")})
    for name in given.get("volumes", []):
        tags = ["gantry", "gantry.instance=" + given.get("volumes_of", "uuid-of-web1")]
        tags += ["gantry.new"] if given.get("new") else []
        memory["volumes"].append({"vg": "gantry", "name": name, "size_mib": 64, "tags": tags})
    if given.get("disk"):
        connection, role, disk, peer_disk = given["disk"].split()
        memory["drbd_resources"]["web1-disk0"] = {
            "role": role, "connection": connection, "volumes": [{"disk": disk}], "peer_disk": peer_disk,
            "allow_two_primaries": given.get("window", False)}
    if given.get("secret"):
        memory["resource_secrets"]["web1-disk0"] = {
            "uuid": given.get("file_of", "uuid-of-web1"), "secret": given["secret"],
            "hosts": {node: {"ports": [given.get("port", 11000)], "minors": [given.get("minor", 0)]}}}
    if given.get("file_broken"):
        memory["resource_secrets"]["web1-disk0"] = {"error": "not understood"}
    for name, number in given.get("others", {}).items():
        # another instance whole on this node: plain and off
        record = make_record({"template": "plain", "primary": node}, name, number)
        record["disks"][0]["nodes"] = {node: {"hostname": node}}
        memory["records"]["uuid-of-" + name] = {"generation": 3, "record": record}
        memory["volumes"].append({"vg": "gantry", "name": name + "-disk0", "tags": ["gantry.instance=uuid-of-" + name]})
    return {"reachable": True, "error": None, "memory": memory}


def run(case):
    """Merge a case."""
    shown = {"node1": NODE1, "node2": NODE2, "node3": {}}
    for node, given in case.get("nodes", {}).items():
        base = shown.get(node, {}) if given.get("else", "as usual") == "as usual" else {}
        shown[node] = {key: value for key, value in {**base, **given}.items() if key != "else" and value != "none"}
    memories = {node: make_memory(node, given) for node, given in shown.items()}
    existing = {"instances": {}, "allocations": None}
    if "registry" in case:
        record = make_record({key: value for key, value in case["registry"].items() if key != "numbers"},
                             case["registry"].get("name", "web1"))
        existing["instances"][record["name"]] = record
        existing["allocations"] = {"ports": {}, "minors": {}, "macs": {}}
        for kind, number in case["registry"].get("numbers", {}).items():
            existing["allocations"][kind][number] = record["uuid"] + "/0"
    before = copy.deepcopy((memories, existing))
    found = recover.merge(memories, existing, case.get("accept"), new_secret=lambda: "new secret")
    assert (memories, existing) == before, "the merge changed what it was given"
    return found


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_case(case):
    """What becomes of the instance, what is told, and what its record is."""
    expected = case["expect"]
    found = run(case)
    entry = next((entry for entry in found if entry["name"] == expected.get("name", "web1")), None)
    assert entry is not None, [one["name"] for one in found]
    assert entry["result"] == expected["result"], entry["notes"]
    text = "; ".join(entry["notes"])
    for word in expected.get("says", []):
        assert word in text
    for other, result in expected.get("others", {}).items():
        assert {one["name"]: one["result"] for one in found}[other] == result
    if entry["result"] != recover.RESTORED:
        assert "record" not in entry and "secrets" not in entry
        return
    for key, value in expected.get("record", {}).items():
        assert entry["record"].get(key) == value
    assert entry["record"].get("pending", {}).get("verb") == expected.get("pending")
    if "secrets" in expected:
        assert entry["secrets"] == expected["secrets"]
    assert "s1" not in text and "new secret" not in text, "a secret is told"


def test_an_empty_cluster_gives_nothing():
    assert recover.merge({"node1": make_memory("node1", {})}, {"instances": {}, "allocations": None}) == []
