# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes show and what earlier runs kept, as data, and what the watcher must do: every case of cases.yml."""

from __future__ import annotations

import copy
import pathlib

import pytest
import yaml

from ansible_collections.gantry.cluster.plugins.plugin_utils import watch

CASES = yaml.safe_load((pathlib.Path(__file__).parent / "cases.yml").read_text(encoding="utf-8"))
UUID = "6f2d1a9e-2d0f-4b8c-9a3e-0d8f6a3b1c42"
NOW = 1_000_000
#: What a node shows when nothing is said of it.
NODE1 = {"guest": "running", "disk": "Connected Primary UpToDate UpToDate"}
NODE2 = {"disk": "Connected Secondary UpToDate UpToDate"}


def make_record(given):
    """A record from the case's few words."""
    template = given.get("template", "drbd")
    nodes = ["node1", "node2"] if template == "drbd" else ["node1"]
    record = {
        "name": "web1", "uuid": UUID, "generation": 7, "status": "ready", "admin_state": "up", "disk_template": template,
        "primary": "node1", "secondary": "node2" if template == "drbd" else None,
        "disks": [] if template == "diskless" else [
            {"index": 0, "name": "web1-disk0", "template": template, "vg": "gantry", "size_mib": 64,
             "nodes": {node: {"minor": 0} for node in nodes}}],
    }
    record.update({key: value for key, value in given.items() if key != "template"})
    return record


def make_observation(node, given):
    """An observation from the case's few words."""
    if given.get("unreachable"):
        return {"node": node, "reachable": False, "error": "timed out", "node_info": None}
    resources = {}
    if given.get("disk"):
        connection, role, disk, peer_disk = given["disk"].split()
        resources["web1-disk0"] = {
            "role": role, "connection": connection, "volumes": [{"volume": 0, "minor": 0, "disk": disk}], "peer_disk": peer_disk,
            "out_of_sync_kib": given.get("out_of_sync", 0), "sync_percent": given.get("percent"),
            "allow_two_primaries": given.get("window", False),
        }
    domains = []
    if given.get("guest"):
        domains.append({"name": "web1", "uuid": UUID, "state": given["guest"], "reason": given.get("reason"), "job": None,
                        "arriving": given.get("arriving"), "managed_save": given.get("saved", False)})
    libvirt = given.get("libvirt", True)
    volumes = [{"vg": "gantry", "name": "web1-disk0"}] if given.get("volume") else []
    return {"node": node, "reachable": True, "error": None, "node_info": {
        "boot_id": given.get("boot", "boot-1"), "libvirt": {"ok": libvirt, "error": None if libvirt else "no socket"},
        "drbd": {"ok": given.get("drbd", True), "error": None}, "domains": domains if libvirt else [],
        "drbd_resources": resources, "volumes": volumes}}


def run(case):
    """Decide a case."""
    shown = {"node1": NODE1, "node2": NODE2, "node3": {}, **case.get("nodes", {})}
    record = make_record(case.get("instance", {}))
    seen = {
        "nodes": {name: {"name": name, "offline": given.get("offline", False), "drained": given.get("drained", False)}
                  for name, given in shown.items()},
        "instances": {"web1": record},
        "locks": {"web1": case["lock"]} if "lock" in case else {},
        "observations": [make_observation(name, given) for name, given in shown.items() if not given.get("offline")],
        "fenced": [name for name, given in shown.items() if given.get("fence")],
        "moved": ["web1"] if case.get("moved") else [],
    }
    history = {"nodes": {name: {"boot_id": "boot-1", "unreachable": 0} for name in shown}, "instances": {}}
    history["nodes"].update(case.get("history", {}).get("nodes", {}))
    if "instance" in case.get("history", {}):
        history["instances"][UUID] = dict(case["history"]["instance"], name="web1")
    before = copy.deepcopy((seen, history))
    answer = watch.decide(seen, history, case.get("settings", {}), case.get("now", NOW))
    assert (seen, history) == before, "the decision changed what it was given"
    return answer, history


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_case(case):
    """The one action (or none), what is noted, and what the next run will know."""
    expected = case["expect"]
    answer, history = run(case)
    acts = [action for action in answer["actions"] if action["do"] != watch.NOTE]
    assert [action["do"] for action in acts] == ([expected["do"]] if "do" in expected else [])
    text = " ".join(action["why"] for action in answer["actions"])
    for word in expected.get("says", []):
        assert word in text
    node_text = " ".join("%s %s" % (note["name"], note["why"]) for note in answer["nodes"])
    for word in expected.get("node_says", []):
        assert word in node_text
    if "severity" in expected:
        assert [action["severity"] for action in answer["actions"]] == [expected["severity"]]
    if expected.get("silent"):
        assert answer["actions"] == [] and answer["nodes"] == []
    if expected.get("same"):
        assert answer["history"] == history, "a run in which nothing happens changes nothing"
    kept = answer["history"]["instances"].get(UUID, {})
    for key, value in expected.get("keeps", {}).items():
        assert (kept.get(key) if not isinstance(value, dict) else {k: kept[key][k] for k in value}) == value
    for name, value in expected.get("node_keeps", {}).items():
        assert {key: answer["history"]["nodes"][name][key] for key in value} == value
    for action in acts:
        assert action["generation"] == make_record(case.get("instance", {}))["generation"]
