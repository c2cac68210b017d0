# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes for new instances and for mirrors: by the engine, by hail, and by programs that answer anything."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest
from worlds import SETTINGS, record, world

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import allocator
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_plan import explanation, plan
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_spec import parse
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan import plan as node_plan

NAMES = ("node1", "node2", "node3")


def spec(name, **variables):
    """A declared instance."""
    given = {"gantry_memory": "1GiB", "gantry_disks": ["10GiB"], "gantry_nics": ["br0"]}
    given.update({"gantry_" + key: value for key, value in variables.items()})
    return parse(name, given)


def planned(specs, instances=(), settings=None, force=False, capacity=False, **more):
    """The plan of some declared instances."""
    nodes, records, seen = world(instances, **more)
    return plan(specs, records, nodes, seen, dict(SETTINGS, **(settings or {})), capacity, force)


def places(plans):
    """Where each goes."""
    return {name: (one["record"]["primary"], one["record"]["secondary"]) for name, one in plans.items()}


def program(folder, answer):
    """A program that answers so, and keeps what it was asked. ``answer``: text of a Python expression of ``message``."""
    path = folder / "allocator"
    path.write_text("""#!%s
import json, os, sys
message = json.load(open(sys.argv[1]))
json.dump({"mode": os.stat(sys.argv[1]).st_mode & 0o777, "path": sys.argv[1], "message": message}, open(%r, "w"))
answer = %s
print(answer if isinstance(answer, str) else json.dumps(answer))
""" % (sys.executable, str(folder / "asked.json"), answer), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"iallocator": str(path)}


# -- the engine ----------------------------------------------------------------------------------------------------------


def test_instances_of_one_run_see_each_other():
    plans = planned([spec("web%d" % number) for number in range(6)])
    primaries = [primary for primary, _secondary in places(plans).values()]
    assert sorted(primaries) == ["node1", "node1", "node2", "node2", "node3", "node3"]
    assert all(primary != secondary for primary, secondary in places(plans).values())


def test_the_last_room_is_taken_once():
    specs = [spec("a", memory="9GiB", disk_template="plain"), spec("b", memory="9GiB", disk_template="plain")]
    assert len(set(places(planned(specs)).values())) == 2
    with pytest.raises(GantryError) as refusal:
        planned(specs + [spec("c", memory="9GiB", disk_template="plain"), spec("d", memory="9GiB", disk_template="plain")])
    assert refusal.value.code == "no_space" and "instance d" in str(refusal.value) and "9216 MiB of memory" in str(refusal.value)


def test_n1_is_kept_unless_forced():
    # node2 and node3 have no memory left to take over what runs on the other
    more = {"node2": {"memory_free_mib": 1500}, "node3": {"memory_free_mib": 1500}}
    instances = [record("web1", "node2", "node3"), record("web2", "node3", "node2")]
    with pytest.raises(GantryError) as refusal:
        planned([spec("new", primary="node2")], instances, node1={"memory_free_mib": 500}, **more)
    assert refusal.value.code == "no_space" and "node2" in str(refusal.value)
    forced = planned([spec("new", primary="node2")], instances, force=True, node1={"memory_free_mib": 500}, **more)
    assert places(forced)["new"][0] == "node2"


def test_nodes_that_lack_something_are_not_chosen_and_that_is_told():
    plans = planned([spec("web1")], flags={"node3": {"drained": True}}, names=NAMES + ("node4",), node2={"bridges": []})
    assert set(places(plans)["web1"]) == {"node1", "node4"}
    lines = "\n".join(explanation(plans))
    assert "rejected node3: is drained" in lines and "rejected node2: bridges: none" in lines
    assert "chosen by builtin; cluster score" in lines and "candidate node1 and node4" in lines and "score by metric: " in lines
    assert explanation(planned([spec("web1", primary="node1", secondary="node2")]))[0].startswith(
        "web1: on node1 and node2, chosen by the operator")


def test_a_named_primary_gets_the_best_mirror():
    plans = planned([spec("web1", primary="node2")], [record("fat", "node1", disk=150000)])
    assert places(plans)["web1"] == ("node2", "node3")


def test_a_pair_stays_in_one_group():
    plans = planned([spec("web%d" % number) for number in range(4)], names=NAMES + ("node4",),
                    flags={"node3": {"group": "rack2"}, "node4": {"group": "rack2"}})
    assert all({primary, secondary} in ({"node1", "node2"}, {"node3", "node4"}) for primary, secondary in places(plans).values())


def test_policies_tags_and_unallocable_groups_count():
    policy = {"ipolicy": {"minmax": [{"max": {"memory-size": 512}}]}}
    with pytest.raises(GantryError) as refusal:
        planned([spec("web1")], settings=policy)
    assert refusal.value.code == "no_space"
    tags = {"tags": ["htools:iextags:role"]}
    plans = planned([spec("dns2", tags=["role:dns"])], [record("dns1", "node1", "node2", tags=["role:dns"])], settings=tags)
    assert places(plans)["dns2"][0] != "node1"
    groups = {"groups": {"default": {"alloc_policy": "unallocable"}}}
    with pytest.raises(GantryError):
        planned([spec("web1")], settings=groups)
    # what the operator names is his own business
    assert places(planned([spec("web1", primary="node1")], settings=groups))["web1"][0] == "node1"


def test_the_loss_of_any_node_is_looked_at_when_asked():
    full = [record("plain%d" % number, "node%d" % number, memory=9000) for number in (1, 2, 3)]
    assert places(planned([spec("new", disk_template="plain")], full))["new"]
    with pytest.raises(GantryError) as refusal:
        planned([spec("new", disk_template="plain")], full, capacity=True)
    assert refusal.value.code == "no_space"


# -- programs --------------------------------------------------------------------------------------------------------------


def test_a_program_is_asked_and_believed(tmp_path):
    settings = program(tmp_path, '{"success": True, "info": "", "result": ["node3", "node1"]}')
    assert places(planned([spec("web1")], settings=settings)) == {"web1": ("node3", "node1")}
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert asked["mode"] == 0o600 and not os.path.exists(asked["path"])
    request = asked["message"]["request"]
    assert (request["type"], request["memory"], request["required_nodes"], request["disks"][0]["size"]) == ("allocate", 1024, 2, 10240)
    assert asked["message"]["version"] == 2 and asked["message"]["cluster_name"] == "cluster.example.com"


def test_a_program_sees_what_the_run_took_already(tmp_path):
    settings = program(tmp_path, '{"success": True, "info": "", "result": ["node1"]}')
    planned([spec("a", disk_template="plain"), spec("b", disk_template="plain")], settings=settings)
    message = json.loads((tmp_path / "asked.json").read_text())["message"]
    assert message["instances"]["a"]["nodes"] == ["node1"]
    assert message["nodes"]["node1"]["free_memory"] == 15360 and message["nodes"]["node2"]["free_memory"] == 16384
    assert message["nodes"]["node1"]["free_disk"] == 204800 - 10240


def test_a_program_is_shown_no_node_that_cannot_take_it(tmp_path):
    settings = program(tmp_path, '{"success": True, "info": "", "result": ["node2", "node1"]}')
    with pytest.raises(GantryError) as refusal:
        planned([spec("web1")], settings=settings, node2={"bridges": []})
    assert refusal.value.code == "bad_answer" and "Found: node node2" in str(refusal.value)
    assert json.loads((tmp_path / "asked.json").read_text())["message"]["nodes"]["node2"]["offline"] is True


ANSWERS = [
    ('{"success": False, "info": "go away", "result": []}', "no_space", "go away"),
    ('{"success": True, "info": "", "result": ["node9", "node1"]}', "bad_answer", "node node9"),
    ('{"success": True, "info": "", "result": ["node1"]}', "bad_answer", "2 different nodes"),
    ('{"success": True, "info": "", "result": ["node1", "node1"]}', "bad_answer", "2 different nodes"),
    ('{"success": True, "info": "", "result": "node1"}', "bad_answer", "2 different nodes"),
    ('{"success": True, "info": "", "result": [1, 2]}', "bad_answer", "2 different nodes"),
    ('{"success": "yes", "info": "", "result": []}', "bad_answer", "true or false"),
    ('{"success": True, "result": []}', "bad_answer", "a text"),
    ('[]', "bad_answer", "an object"),
    ('"surprise"', "bad_answer", "no JSON"),
    ('sys.exit("no licence")', "bad_answer", "no licence"),
]


@pytest.mark.parametrize(("answer", "code", "says"), ANSWERS)
def test_a_program_s_answer_is_not_just_believed(tmp_path, answer, code, says):
    with pytest.raises(GantryError) as refusal:
        planned([spec("web1")], settings=program(tmp_path, answer))
    assert refusal.value.code == code and says in str(refusal.value)
    assert not os.path.exists(json.loads((tmp_path / "asked.json").read_text())["path"])


def test_what_is_no_program_is_refused(tmp_path):
    (tmp_path / "text").write_text("")
    for name in ("bin/allocator", str(tmp_path), str(tmp_path / "none"), str(tmp_path / "text"), ""):
        with pytest.raises(GantryError) as refusal:
            allocator.check_program(name)
        assert refusal.value.code == "bad_iallocator"
    assert allocator.check_program("builtin") == "builtin" and allocator.check_program(sys.executable) == sys.executable
    assert allocator.check_program("hail") == "hail"


def test_hail_answers_for_instances_and_mirrors():
    big = {"memory": 65536, "disk": 1048576}
    settings = {"iallocator": "hail"}
    plans = planned([spec("web1"), spec("web2"), spec("web3", primary="node2")], settings=settings, **big)
    assert sorted(primary for primary, _secondary in places(plans).values()) == ["node1", "node2", "node3"], plans
    nodes, records, seen = world([record("web1", "node1", "node2"), record("web2", "node2", "node1")], **big)
    found = node_plan("evacuate", "node2", records, nodes, seen, {"settings": dict(SETTINGS, **settings)})
    steps = {one["name"]: one["steps"] for one in found["instances"]}
    assert steps == {"web1": [{"do": "replace", "new_node": "node3"}],
                     "web2": [{"do": "migrate", "target": "node1"}, {"do": "replace", "new_node": "node3"}]}


# -- mirrors ---------------------------------------------------------------------------------------------------------------


def evacuated(node, instances, settings=None, **more):
    """The steps of an evacuation."""
    nodes, records, seen = world(instances, **more)
    found = node_plan("evacuate", node, records, nodes, seen, {"evacuate": "secondary", "settings": dict(SETTINGS, **(settings or {}))})
    return {one["name"]: [step["new_node"] for step in one["steps"]] or one["left"] for one in found["instances"]}


def test_mirrors_are_spread_over_the_nodes_that_are_left():
    instances = [record("web%d" % number, "node1", "node2") for number in range(4)]
    found = evacuated("node2", instances, names=NAMES + ("node4",))
    assert sorted(new for (new,) in found.values()) == ["node3", "node3", "node4", "node4"]


def test_mirrors_go_where_a_program_says_if_they_can(tmp_path):
    instances, names = [record("web1", "node1", "node2")], NAMES + ("node4",)
    settings = program(tmp_path, '{"success": True, "info": "", "result": ["node4"]}')
    assert evacuated("node2", instances, settings, names=names) == {"web1": ["node4"]}
    asked = json.loads((tmp_path / "asked.json").read_text())["message"]
    assert asked["request"] == {"type": "relocate", "name": "web1", "disk_space_total": 10244, "required_nodes": 1,
                                "relocate_from": ["node2"]}
    with pytest.raises(GantryError) as refusal:
        evacuated("node2", instances, settings, names=names, flags={"node4": {"drained": True}})
    assert refusal.value.code == "bad_answer"
