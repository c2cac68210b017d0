# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans that make a cluster even, that empty a group, and what still fits."""

from __future__ import annotations

import pytest
from worlds import SETTINGS, record, world

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import rebalance, room
from ansible_collections.gantry.cluster.plugins.plugin_utils.rebalance import batches
from ansible_collections.gantry.cluster.plugins.plugin_utils.rebalance.places import steps as steps_to
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan import rolling
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.pool import Pool
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import text

NAMES = ("node1", "node2", "node3", "node4")


def balanced(instances, parallel=4, settings=None, seen=None, options=None, **more):
    """The plan, and where each instance is after it."""
    nodes, records, observations = world(instances, **more)
    plan = rebalance.balance(dict(SETTINGS, **(settings or {})), nodes, records, seen or observations, options or {}, parallel)
    places = {name: [one["primary"], one["secondary"]] for name, one in records.items()}
    places.update({move["name"]: move["to"] for move in plan["moves"]})
    return plan, places


def lopsided(count=6):
    """All on one node, all mirrored on the next."""
    return [record("web%d" % number, "node1", "node2") for number in range(count)]


def test_an_uneven_cluster_becomes_even_and_stays_so():
    plan, places = balanced(lopsided())
    assert sorted(primary for primary, _secondary in places.values()) == ["node1"] * 2 + ["node2"] * 2 + ["node3"] * 2
    assert plan["groups"][0]["end"] < plan["groups"][0]["score"] / 4 and plan["groups"][0]["end"] >= plan["groups"][0]["bound"]
    again, _places = balanced([record(name, *where) for name, where in places.items()])
    assert again["moves"] == [] and again["batches"] == [] and again["instances"] == []
    assert "nothing is to be moved" in rebalance.plan_lines(again)


def test_the_steps_are_those_of_the_move():
    where = {"web1": ("node1", "node2")}
    for places, steps in (
            (("node1", "node3"), ["replace node3"]), (("node2", "node1"), ["migrate node2"]),
            (("node2", "node3"), ["migrate node2", "replace node3"]), (("node3", "node1"), ["replace node3", "migrate node3"]),
            (("node3", "node2"), ["migrate node2", "replace node3", "migrate node3"]),
            (("node3", "node4"), ["replace node3", "migrate node3", "replace node4"])):
        nodes, records, seen = world([record(name, *at) for name, at in where.items()], names=NAMES)
        found = steps_to(records["web1"], places, Pool(nodes, seen))
        assert ["%s %s" % (step["do"], step.get("target") or step.get("new_node")) for step in found] == steps
    nodes, records, seen = world([record("web1", "node1", "node2", up=False)])
    seen[0]["node_info"]["drbd_resources"].clear()
    seen[1]["node_info"]["drbd_resources"].clear()
    assert steps_to(records["web1"], ("node2", "node1"), Pool(nodes, seen)) == [
        {"do": "activate"}, {"do": "failover", "target": "node2"}]


def test_no_two_copies_of_a_batch_share_a_node_and_none_is_too_long():
    plan, _places = balanced([record("web%d" % number, *pair) for number, pair in enumerate([("node1", "node2"), ("node3", "node4")] * 6)],
                             names=NAMES + ("node5", "node6"))
    moves = {move["name"]: move for move in plan["moves"]}
    assert len(moves) > 3 and sorted(sum(plan["batches"], [])) == sorted(moves)
    for batch in plan["batches"]:
        assert len(batch) <= 4
        for name in batch:
            for other in batch:
                if other != name and (moves[name]["copy_gib"] or moves[other]["copy_gib"]):
                    assert not set(moves[name]["from"] + moves[name]["to"]) & set(moves[other]["from"] + moves[other]["to"])
    assert any(len(batch) > 1 for batch in plan["batches"])
    alone, _places = balanced(lopsided(), parallel=1)
    assert all(len(batch) == 1 for batch in alone["batches"])


def move(name, source, target, copy=0.0):
    """A migration, or with ``copy`` a move that copies."""
    return {"name": name, "from": source.split(), "to": target.split(), "copy_gib": copy}


def names(found):
    """The names in batches."""
    return [[one["name"] for one in batch] for batch in found]


def test_batches_keep_the_order_where_it_matters():
    first, second = move("a", "n1 n2", "n2 n1"), move("b", "n1 n2", "n2 n1")
    assert names(batches.levels([first, second])) == [["a", "b"]]
    # b needs the room that a leaves
    assert names(batches.levels([first, move("b", "n3 n1", "n1 n3")])) == [["a"], ["b"]]
    chain = [move("a", "n1 n2", "n1 n3", 1), move("b", "n3 n4", "n3 n5", 1), move("c", "n6 n7", "n6 n8", 1)]
    assert names(batches.levels(chain)) == [["a", "c"], ["b"]]
    assert names(batches.sliced([chain], 2)) == [["a", "b"], ["c"]]


def test_options_are_kept():
    assert all(one["copy_gib"] == 0 for one in balanced(lopsided(), options={"disk_moves": False})[0]["moves"])
    assert len(balanced(lopsided(), options={"limit": 1})[0]["moves"]) == 1
    assert {one["name"] for one in balanced(lopsided(), options={"only": ["web1"]})[0]["moves"]} == {"web1"}
    assert "web1" not in {one["name"] for one in balanced(lopsided(), options={"exclude": ["web1"]})[0]["moves"]}
    assert balanced(lopsided(), options={"min_gain": 50})[0]["moves"] == []
    for key, value in (("only", ["web9"]), ("exclude", ["web9"]), ("group", "rack9")):
        with pytest.raises(GantryError) as refusal:
            balanced(lopsided(), options={key: value})
        assert refusal.value.code == "unknown_name" and "gantry_balance_%s" % key in str(refusal.value)


def test_groups_are_balanced_one_by_one():
    flags = {"node3": {"group": "rack2"}, "node4": {"group": "rack2"}}
    instances = lopsided(4) + [record("db%d" % number, "node3", "node4") for number in range(4)]
    plan, places = balanced(instances, names=NAMES, flags=flags)
    assert [group["name"] for group in plan["groups"]] == ["default", "rack2"]
    assert sum(primary == "node4" for primary, _secondary in places.values()) == 2
    assert all({"node1", "node2"} == set(at) or {"node3", "node4"} == set(at) for at in places.values())
    plan, _places = balanced(instances, names=NAMES, flags=flags, options={"group": "rack2"})
    assert {move["group"] for move in plan["moves"]} == {"rack2"}


def test_a_drained_node_is_emptied_and_that_alone_if_asked():
    instances = [record("web1", "node1", "node2"), record("web2", "node2", "node3"), record("web3", "node2", "node3"),
                 record("web4", "node2", "node3")]
    plan, places = balanced(instances, names=NAMES, flags={"node1": {"drained": True}}, options={"evacuate": True})
    assert {move["name"] for move in plan["moves"]} == {"web1"} and "node1" not in places["web1"], plan
    _plan, places = balanced(instances, names=NAMES, flags={"node1": {"drained": True}})
    assert not any("node1" in at for at in places.values())


def test_what_cannot_move_now_stays_and_says_why():
    instances = lopsided(4) + [record("half", "node1", "node2", status="adding"), record("plain1", "node1"),
                               record("cut", "node1", "node2", pending={"operation": "1", "generation": 1, "verb": "repair", "params": {}})]
    nodes, records, seen = world(instances)
    seen[0]["node_info"]["drbd_resources"]["web0-disk0"]["connection"] = "Connecting"
    plan = rebalance.balance(SETTINGS, nodes, records, seen, {}, 4)
    moved = {move["name"] for move in plan["moves"]}
    assert moved and not moved & {"half", "cut", "web0", "plain1"}
    notes = "\n".join(plan["notes"])
    assert "web0 stays: disk 0 is DEGRADED" in notes and "half stays: it is adding" in notes and "cut stays: its operation repair" in notes


def test_a_node_that_lacks_something_is_planned_around():
    plan, places = balanced(lopsided(), node3={"bridges": []})
    assert not any("node3" in at for at in places.values()) and plan["moves"]
    assert all(move["copy_gib"] == 0 for move in plan["moves"]) and sum(at[0] == "node2" for at in places.values()) == 3
    assert "only changes places with its mirror: node3: no bridge br0" in "\n".join(plan["notes"])


def test_a_silent_node_stops_everything():
    with pytest.raises(GantryError) as refusal:
        balanced(lopsided(), node3=None)
    assert refusal.value.code == "unreachable" and "node3 does not answer: timed out" in str(refusal.value)
    # one that is marked offline is known to be away: mirrors leave it, what was started there is failover's business
    plan, places = balanced([record("web1", "node3", "node1"), record("web2", "node1", "node3")], names=NAMES,
                            flags={"node3": {"offline": True}})
    assert places["web1"] == ["node3", "node1"] and "node3" not in places["web2"]
    assert "node_failover" in "\n".join(plan["notes"])


def test_a_move_that_was_cut_off_is_finished_first():
    pending = {"operation": "1", "generation": 1, "verb": "replace_disks", "params": {"new_node": "node3"}}
    plan, _places = balanced(lopsided() + [record("cut", "node1", "node2", pending=pending)])
    assert plan["batches"][0] == ["cut"] and "cut" not in {move["name"] for move in plan["moves"]}
    (entry,) = [one for one in plan["instances"] if one["name"] == "cut"]
    assert entry["steps"] == [{"do": "replace", "new_node": "node3"}] and "was interrupted and is finished" in entry["why"]


def test_the_plan_is_told():
    plan, _places = balanced(lopsided())
    lines = "\n".join(rebalance.plan_lines(plan))
    assert "node group default: score" in lines and "BATCH" in lines and "migrate node2" in lines and "GiB to copy" in lines
    assert "free_mem_cv" not in lines and "free_mem_cv" in "\n".join(rebalance.plan_lines(plan, verbose=True))
    assert len(text.parse(plan["text"]).instances) == 6


def test_a_group_is_emptied():
    flags = {"node3": {"group": "rack2"}, "node4": {"group": "rack2"}}
    instances = [record("web1", "node1", "node2"), record("web2", "node2", "node1"), record("plain1", "node1"),
                 record("db1", "node3", "node4")]
    nodes, records, seen = world(instances, names=NAMES, flags=flags)
    plan = rebalance.leave_group(SETTINGS, nodes, records, seen, "default", [])
    assert {move["name"]: sorted(move["to"]) for move in plan["moves"]} == {"web1": ["node3", "node4"], "web2": ["node3", "node4"]}
    assert {tuple(move["to"]) for move in plan["moves"]} == {("node3", "node4"), ("node4", "node3")}
    assert [step["do"] for step in plan["moves"][0]["steps"]] == ["replace", "migrate", "replace"]
    left = {one["name"]: one["left"] for one in plan["instances"]}
    assert "its only copy is on node1" in left["plain1"] and left["web1"] is None and "db1" not in left
    assert len(plan["batches"]) == 2
    # what a run that was cut off has left: one half is over
    nodes, records, seen = world([record("web1", "node1", "node3"), record("web2", "node4", "node2")], names=NAMES, flags=flags)
    plan = rebalance.leave_group(SETTINGS, nodes, records, seen, "default", [])
    found = {move["name"]: (move["to"], move["actions"]) for move in plan["moves"]}
    assert found == {"web1": (["node3", "node4"], "f r:node4"), "web2": (["node4", "node3"], "r:node3")}
    for group, targets in (("rack9", []), ("default", ["rack9"]), ("default", ["default"])):
        with pytest.raises(GantryError) as refusal:
            rebalance.leave_group(SETTINGS, nodes, records, seen, group, targets)
        assert refusal.value.code == "unknown_group"


def test_nodes_that_may_be_away_together():
    def groups(instances, chosen=NAMES):
        nodes, records, seen = world(instances, names=NAMES)
        return rolling.together(records, nodes, seen, SETTINGS, list(chosen))

    assert groups([]) == [list(NAMES)]
    assert groups([record("web1", "node1", "node2")]) == [["node1", "node3", "node4"], ["node2"]]
    # the guests of node1 and node3 would both go to node2
    found = groups([record("web1", "node1", "node2"), record("web2", "node3", "node2")])
    assert not any({"node1", "node3"} <= set(group) for group in found) and len(found) == 3
    assert groups([record("web1", "node1", "node2")], ["node1", "node2"]) == [["node1"], ["node2"]]
    # one without a mirror ties nobody
    assert groups([record("plain1", "node1")]) == [list(NAMES)]


def test_capacity_counts_what_fits():
    nodes, records, seen = world([record("web1", "node1", "node2")], flags={"node3": {"drained": True}})
    spec = {"memory": 2048, "disk": 20480, "cpus": 2}
    found = room.capacity(SETTINGS, nodes, records, seen, spec)
    # 16 GiB on each of two nodes, half of which waits for the other's guests; 190 GiB of disk for nine mirrors
    assert found["nodes"] == ["node1", "node2"] and found["left_out"] == {"node3": "is drained"}
    assert found["standard"]["tiers"] == [{"memory_mib": 2048, "disk_mib": 20480, "vcpus": 2, "count": found["standard"]["count"]}]
    assert 5 <= found["standard"]["count"] <= 7 and found["standard"]["reason"]
    assert found["tiered"]["count"] >= 1 and all(tier["memory_mib"] <= 16384 for tier in found["tiered"]["tiers"])
    lines = "\n".join(room.capacity_lines(found))
    assert "more instances of the standard size fit: 2 GiB, disk 20 GiB, 2 processors" in lines
    assert "node node3 is not counted: it is drained" in lines
    plain = room.capacity(SETTINGS, nodes, records, seen, spec, template="plain")
    assert plain["standard"]["count"] > found["standard"]["count"]
    assert room.capacity(SETTINGS, nodes, records, seen, spec, limit=2)["standard"]["count"] == 2
    with pytest.raises(GantryError):
        room.capacity(SETTINGS, nodes, records, seen, template="rbd")


def test_what_cannot_move_while_it_runs_is_left_out():
    """A plan counts on each of its moves, so a container that would refuse must not be in it."""
    container = {"hypervisor": "lxc", "domain_type": "lxc", "machine": None}
    plan, places = balanced([record("web%d" % number, "node1", "node2", **(container if number else {})) for number in range(6)])
    assert all(move["name"] == "web0" for move in plan["moves"])
    assert [places["web%d" % number] for number in range(1, 6)] == [["node1", "node2"]] * 5
    assert any("gantry_allow_failover=true" in note for note in plan["notes"])


def test_what_cannot_move_while_it_runs_is_restarted_where_that_is_allowed():
    container = {"hypervisor": "lxc", "domain_type": "lxc", "machine": None}
    instances = [record("web%d" % number, "node1", "node2", **(container if number else {})) for number in range(6)]
    plan, _places = balanced(instances, options={"allow_failover": True})
    verbs = {move["name"]: {step["do"] for step in move["steps"]} - {"replace"} for move in plan["moves"]}
    assert all(found <= ({"failover"} if name != "web0" else {"migrate"}) for name, found in verbs.items()), verbs
    assert {"failover"} in verbs.values() and not any("cannot migrate live" in note for note in plan["notes"])
