# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the registry and the nodes to the engine's model, and on to htools' text format."""

from __future__ import annotations

import subprocess

import pytest
from worlds import SETTINGS, record, world

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_spec import parse
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import model as m
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import registry, text
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State


def loaded(*args, settings=None, **more):
    """The model of a world."""
    nodes, records, seen = world(*args, **more)
    return registry.load(dict(SETTINGS, **(settings or {})), nodes, records, seen)


def test_nodes_and_instances_are_what_is_there():
    found = loaded([record("web1", "node1", "node2"), record("plain1", "node3", up=False)], settings={"tags": ["htools:iextags:x"]})
    rows = {row.name: row for row in found.cluster.instances.rows}
    assert (rows["web1"].template, rows["web1"].primary, rows["web1"].secondary, rows["web1"].status) == ("drbd", 0, 1, "running")
    assert (rows["plain1"].template, rows["plain1"].secondary, rows["plain1"].status) == ("plain", -1, "ADMIN_down")
    # the mirror's metadata is a part of what it needs
    assert rows["web1"].disk == 10240 + 4 and rows["plain1"].disk == 10240
    first = found.cluster.nodes.row(0)
    assert (first.total_memory, first.free_memory, first.total_disk, first.free_disk) == (16384, 15360, 204800, 194556)
    assert first.total_cpus == 8 and found.cluster.tags == ["htools:iextags:x"] and found.nodes["node3"] == 2
    state = State(found.cluster)
    assert state.memory.tolist() == [15360.0, 16384.0, 16384.0] and state.reserved.tolist() == [0.0, 1024.0, 0.0]


def test_what_is_promised_and_not_shown_yet_is_gone():
    nodes, records, seen = world([record("web1", "node1", "node2")])
    for one in seen:
        one["node_info"]["domains"].clear()
        one["node_info"]["volumes"].clear()
        one["node_info"].update(memory_free_mib=16384)
        one["node_info"]["volume_groups"]["gantry"]["free_mib"] = 204800
    cluster = registry.load(SETTINGS, nodes, records, seen).cluster
    assert [cluster.nodes.row(index).free_memory for index in range(3)] == [15360, 16384, 16384]
    assert [cluster.nodes.row(index).free_disk for index in range(3)] == [194556, 194556, 204800]


def test_drained_offline_and_silent_nodes_take_nothing():
    found = loaded([], flags={"node1": {"drained": True}, "node2": {"offline": True}},
                   names=("node1", "node2", "node3", "node4"), node3=None)
    assert found.cluster.nodes.offline.tolist() == [True, True, True, False]
    # a drained one is still what it is: instances can be moved off it
    assert found.cluster.nodes.row(0).total_memory == 16384


def test_groups_policies_and_tags():
    settings = {"ipolicy": {"vcpu-ratio": 2, "std": {"memory-size": 512},
                            "minmax": [{"min": {"memory-size": 64}, "max": {"cpu-count": 4}}]},
                "groups": {"rack2": {"alloc_policy": "last_resort", "ipolicy": {"vcpu-ratio": "8"}}}}
    found = loaded([], flags={"node2": {"group": "rack2", "tags": ["fast"]}}, settings=settings).cluster
    assert [(group.name, group.alloc_policy, group.policy.vcpu_ratio) for group in found.groups] == [
        ("default", "preferred", 2.0), ("rack2", "last_resort", 8.0)]
    low, high = found.groups[1].policy.pairs[0]
    assert (low.memory, high.cpus, low.disk, found.policy.std.memory, found.policy.std.cpus) == (64, 4, 0, 512, 1)
    assert found.nodes.tags[1] == ("fast",) and found.nodes.group.tolist() == [0, 1, 0]


BAD = [
    ({"ipolicy": {"vcpu-ratios": 1}}, "vcpu-ratios"),
    ({"ipolicy": {"vcpu-ratio": "many"}}, "'many'"),
    ({"ipolicy": {"std": {"memory-size": 1.5}}}, "1.5"),
    ({"ipolicy": {"std": {"memory": 1}}}, "memory"),
    ({"ipolicy": {"std": {"memory-size": True}}}, "True"),
    ({"ipolicy": {"minmax": [{"min": {"cpu-count": 9}, "max": {"cpu-count": 8}}]}}, "above its maximum"),
    ({"ipolicy": {"minmax": {"min": {}}}}, "a list of pairs"),
    ({"ipolicy": {"disk-templates": ["floppy"]}}, "'floppy'"),
    ({"ipolicy": []}, "a dictionary"),
    ({"groups": {"default": {"alloc_policy": "best"}}}, "'best'"),
    ({"groups": {"default": {"colour": "red"}}}, "colour"),
    ({"groups": ["default"]}, "a dictionary of node groups"),
    ({"tags": ["a,b"]}, "'a,b'"),
    ({"tags": "a"}, "a list"),
]


@pytest.mark.parametrize(("settings", "says"), BAD)
def test_settings_that_cannot_be_used_are_refused(settings, says):
    with pytest.raises(GantryError) as refusal:
        registry.check_settings(settings)
    assert refusal.value.code == "bad_policy" and says in str(refusal.value)


def test_an_instance_on_an_unknown_node_is_refused():
    nodes, records, seen = world([record("web1", "node1", "node9")])
    with pytest.raises(GantryError) as refusal:
        registry.load(SETTINGS, nodes, records, seen)
    assert refusal.value.code == "unknown_node" and "web1" in str(refusal.value) and "node9" in str(refusal.value)


def test_without_numpy_it_says_so(monkeypatch):
    monkeypatch.setattr(m, "np", None)
    with pytest.raises(GantryError) as refusal:
        loaded([])
    assert refusal.value.code == "no_numpy" and "pip install numpy" in str(refusal.value)


def test_asked_instances_follow_without_a_place():
    nodes, records, seen = world([record("web1", "node1", "node2")])
    spec = parse("web2", {"gantry_memory": "2GiB", "gantry_disks": ["1GiB", {"size": "1GiB", "vg": "other"}], "gantry_tags": "a"})
    found = registry.load(SETTINGS, nodes, records, seen, [spec])
    row = found.cluster.instances.rows[found.instances["web2"]]
    # a disk elsewhere is none of the node's own volume group
    assert (row.primary, row.memory, row.disk, row.disks, row.tags) == (-1, 2048, 1028, (1024, 1024), ("a",))


def test_the_text_is_read_back_and_by_ganeti_s_tools(tmp_path):
    found = loaded([record("web1", "node1", "node2"), record("plain1", "node1"), record("web2", "node1", "node2", up=False)]).cluster
    again = text.parse(text.render(found))
    assert again.instances.rows == [row._replace(disks=(row.disk,)) for row in found.instances.rows]
    path = tmp_path / "cluster.data"
    path.write_text(text.render(found), encoding="utf-8")
    done = subprocess.run(["hbal", "-t", str(path), "-l", "2"], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Loaded 3 nodes, 3 instances" in done.stdout, done.stdout + done.stderr
    assert "web1" in done.stdout.split("improved")[0], done.stdout
