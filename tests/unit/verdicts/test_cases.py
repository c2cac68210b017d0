# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes show, as data, and what must be decided: one YAML file for each case, in a folder for each verb."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.decide import decide
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.settle import settle
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.view import view

FOLDER = pathlib.Path(__file__).parent
CASES = [(path.parent.name, yaml.safe_load(path.read_text(encoding="utf-8"))) for path in sorted(FOLDER.glob("*/*.yml"))]
UUID = "6f2d1a9e-2d0f-4b8c-9a3e-0d8f6a3b1c42"


def make_record(given):
    """A record from the case's few words."""
    template = given.get("template", "drbd")
    primary, secondary = given.get("primary", "node1"), None if template == "plain" else given.get("secondary", "node2")
    nodes = [node for node in (primary, secondary) if node]
    return {
        "name": "web1", "uuid": UUID, "admin_state": given.get("admin_state", "up"), "disk_template": template,
        "primary": primary, "secondary": secondary, "memory_mib": given.get("memory", 512),
        "machine": given.get("machine", "pc-i440fx-7.2"), "domain_type": given.get("domain_type", "qemu"), "nics": given.get("nics", []),
        "hypervisor": given.get("hypervisor", "kvm"), "hvparams": given.get("hvparams", {}),
        "disks": [] if template == "diskless" else [
            {"index": 0, "name": "web1-disk0", "template": template, "vg": "gantry", "size_mib": 64,
             "nodes": {node: {"minor": 0} for node in nodes}}],
    }


def make_observation(node, given):
    """An observation from the case's few words: ``disk: Connected Primary UpToDate UpToDate``."""
    if given.get("unreachable"):
        return {"node": node, "reachable": False, "error": "timed out", "node_info": None}
    resources, volumes = {}, []
    if given.get("disk"):
        connection, role, disk, peer_disk = given["disk"].split()
        resources["web1-disk0"] = {
            "role": role, "connection": connection, "volumes": [{"volume": 0, "minor": 0, "disk": disk}],
            "peer_role": given.get("peer_role"), "peer_disk": peer_disk, "out_of_sync_kib": given.get("out_of_sync", 0),
            "sync_percent": given.get("percent"), "allow_two_primaries": given.get("window", False),
            "generations": given.get("generations"),
        }
    # a resource that is up has its volumes, unless the case says otherwise
    if given.get("volume", bool(given.get("disk"))):
        volumes.append({"vg": "gantry", "name": "web1-disk0", "size_mib": 64, "tags": [], "active": True})
    domains = []
    if given.get("guest"):
        domains.append({"name": "web1", "uuid": UUID, "state": given["guest"], "reason": given.get("reason"), "job": given.get("job"),
                        "arriving": given.get("arriving")})
    libvirt = given.get("libvirt", True)
    return {"node": node, "reachable": True, "error": None, "node_info": {
        "libvirt": {"ok": libvirt, "error": None if libvirt else "no socket", "machine_list": given.get("machines", ["pc-i440fx-7.2"]),
                    "domain_types": given.get("domain_types", ["qemu"]), "version": given.get("libvirt_version"),
                    "qemu_version": given.get("qemu"), "virt_caps": given.get("virt_caps")},
        "memory_free_mib": given.get("memory", 1024), "bridges": given.get("bridges", ["br0"]), "domains": domains if libvirt else [],
        "drbd_resources": resources, "volumes": volumes}}


@pytest.mark.parametrize(("verb", "case"), CASES, ids=["%s: %s" % (verb, case["case"]) for verb, case in CASES])
def test_case(verb, case):
    """The picture and the decision are the expected ones."""
    record = make_record(case.get("record", {}))
    picture = view(record, [make_observation(node, given) for node, given in case["nodes"].items()])
    expected = case["expect"]
    if "worst" in expected:
        assert picture["worst"] == expected["worst"]
    for key in ("owner", "waiting"):
        # settle's own answer has an owner too, compared below
        if key in expected and verb != "settle":
            assert picture[key] == expected[key]
    if verb == "settle":
        answer = settle(record, picture)
        assert {key: answer[key] for key in expected if key in answer} == {k: v for k, v in expected.items() if k in answer}
        return
    if "refuse" in expected:
        with pytest.raises(GantryError) as refusal:
            decide(verb, record, picture, case.get("params", {}))
        assert refusal.value.code == expected["refuse"]
        for word in expected.get("says", []):
            assert word in str(refusal.value)
        return
    if "do" in expected:
        decision = decide(verb, record, picture, case.get("params", {}))
        wanted = {key: value for key, value in expected.items() if key not in ("worst", "owner", "waiting", "left")}
        assert {key: decision[key] for key in wanted} == wanted
        for word in expected.get("left", []):
            assert word in " ".join(decision["left"])
