# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks, generations, the journal and the numbers handed out, on a real registry file."""

from __future__ import annotations

import pytest

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import run_owner
from ansible_collections.gantry.cluster.plugins.plugin_utils.cluster_state import ClusterState
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry

HERE = run_owner.this_run()
#: A run of this machine that has ended: its process number now belongs to nobody who started then.
DEAD = dict(HERE, started=1)
#: A run on another machine: nobody here can tell whether it lives.
ELSEWHERE = dict(HERE, host="elsewhere")


@pytest.fixture(name="url")
def _url(tmp_path):
    url = "sqlite://%s/registry.db" % tmp_path
    ClusterState(open_registry(url, create=True)).init({"name": "test.example.com"})
    return url


def state(url, run=None):
    """A controller's view of the registry."""
    return ClusterState(open_registry(url), run=run or HERE)


def make_plan(name="web1", nodes=("node1", "node2"), disks=1, nics=0, mac=None):
    """A plan as instance_plan makes it."""
    where = {node: {"hostname": node, "address": "10.0.0.%d" % number} for number, node in enumerate(nodes)}
    return {
        "name": name, "uuid": "uuid-of-" + name, "primary": nodes[0], "secondary": nodes[1], "admin_state": "up",
        "disk_template": "drbd", "nics": [{"index": index, "bridge": "br0", "mac": mac, "model": "virtio"} for index in range(nics)],
        "disks": [{"index": index, "name": "%s-disk%d" % (name, index), "template": "drbd", "size_mib": 64, "vg": "gantry",
                   "nodes": where} for index in range(disks)],
        "in_use": {"minors": [0], "ports": []},
    }


def add(url, name="web1", **options):
    """Create an instance's record whole."""
    mine = state(url)
    operation = mine.begin(name, "add", plan=make_plan(name, **options))
    return mine.end(operation, "done", {"status": "ready"})


def code(function, *args, **kwargs):
    """The code of the refusal."""
    with pytest.raises(GantryError) as refusal:
        function(*args, **kwargs)
    return refusal.value.code


def test_add_hands_out_numbers_no_other_has(url):
    first, second = add(url, disks=2, nics=1), add(url, "web2", disks=1, nics=1)
    disks = first["disks"] + second["disks"]
    assert len({disk["port"] for disk in disks}) == 3
    minors = [disk["nodes"]["node1"]["minor"] for disk in disks]
    assert minors == [disk["nodes"]["node2"]["minor"] for disk in disks] and len(set(minors)) == 3
    assert 0 not in minors, "minor 0 is in use on a node"
    assert first["nics"][0]["mac"] != second["nics"][0]["mac"]
    assert len(set(state(url).secrets_of(first["uuid"]).values())) == 2


def test_the_record_holds_no_secret(url):
    record = add(url)
    secret = state(url).secrets_of(record["uuid"])["0"]
    content = open_registry(url).range("")
    holders = [entry.key for entry in content.entries if secret in repr(entry.value)]
    assert holders == ["secrets/" + record["uuid"]]


def test_removal_gives_everything_back(url):
    record = add(url, nics=1)
    mine = state(url)
    operation = mine.begin("web1", "remove")
    mine.end(operation, "done", remove=True)
    assert mine.instance("web1") is None and mine.secrets_of(record["uuid"]) == {} and mine.locks() == {}
    assert mine.registry.get("allocations").value == {"ports": {}, "minors": {}, "macs": {}}


def test_a_wanted_mac_is_given_once(url):
    add(url, nics=1, mac="52:54:00:00:00:01")
    assert code(state(url).begin, "web2", "add", plan=make_plan("web2", nics=1, mac="52:54:00:00:00:01")) == "mac_taken"
    assert state(url).instance("web2") is None and state(url).locks() == {}


def test_an_instance_that_takes_no_number_is_seen_by_who_removes_its_node(url):
    add(url)

    def revision():
        return open_registry(url).get("allocations").mod_revision
    before = revision()
    add(url, "bare1", disks=0)
    assert revision() > before, "remove_node would not see that it was made meanwhile"
    before = revision()
    mine = state(url)
    mine.end(mine.begin("web1", "stop"), "done")
    assert revision() == before, "verbs on other instances would have to wait for each other"


def test_each_operation_has_a_higher_generation(url):
    add(url)
    seen = []
    for verb in ("start", "stop", "start"):
        mine = state(url)
        operation = mine.begin("web1", verb)
        seen.append(operation["generation"])
        mine.end(operation, "done")
    assert seen == [2, 3, 4]
    assert [entry["state"] for entry in state(url).operations()] == ["done"] * 4


def test_a_living_run_keeps_its_lock(url):
    add(url)
    state(url).begin("web1", "start")
    assert code(state(url).begin, "web1", "stop") == "locked"
    assert code(state(url, ELSEWHERE).begin, "web1", "stop") == "locked"


def test_a_dead_run_s_operation_is_taken_over_by_its_verb(url):
    add(url)
    first = state(url, DEAD).begin("web1", "migrate", {"target": "node2"})
    assert code(state(url).begin, "web1", "stop") == "interrupted"
    second = state(url).begin("web1", "migrate", {"target": None})
    assert second["resumed"]["operation"] == first["id"]
    assert second["params"] == {"target": "node2"}, "where it was going is remembered"
    assert second["generation"] == first["generation"] + 1
    journal = {entry["id"]: entry["state"] for entry in state(url).operations()}
    assert journal[first["id"]] == "interrupted"


@pytest.mark.parametrize("verb", ["migrate", "failover"])
def test_what_was_cut_off_without_a_word_of_its_target_goes_on_to_the_other_node(url, verb):
    """The guest may be there already: from there the other node is the one it came from."""
    record = add(url)
    state(url, DEAD).begin("web1", verb)
    assert state(url).begin("web1", verb)["params"]["target"] == record["secondary"]


def test_a_lock_that_is_taken_over_takes_its_lease_with_it(url):
    add(url)
    first = state(url, DEAD).begin("web1", "migrate")
    second = state(url).begin("web1", "migrate")
    registry = state(url).registry
    assert registry.lease_get(first["lease"]) is None and registry.lease_get(second["lease"]) is not None
    state(url).keep(second)


def test_progress_is_noted_for_the_next_run(url):
    add(url)
    first = state(url, DEAD).begin("web1", "replace_disks", {"new_node": "node3"})
    state(url, DEAD).note(first, {"secondary": "node3"}, {"old_node": "node2"})
    assert state(url).instance("web1")["secondary"] == "node3"
    second = state(url).begin("web1", "replace_disks", {"new_node": None})
    assert second["params"] == {"new_node": "node3", "old_node": "node2"}
    assert code(state(url, DEAD).note, first, {"secondary": "node2"}) == "lost_lock"
    state(url).end(second, "done")
    assert "pending" not in state(url).instance("web1")


def test_a_repair_takes_over_from_what_it_can_end(url):
    add(url)
    state(url, DEAD).begin("web1", "replace_disks", {"new_node": "node3"})
    state(url).end(state(url).begin("web1", "repair"), "done")
    assert "pending" not in state(url).instance("web1")


def test_the_old_run_cannot_go_on_after_a_takeover(url):
    add(url)
    dead = state(url, DEAD)
    first = dead.begin("web1", "migrate")
    state(url).begin("web1", "migrate")
    assert code(dead.keep, first) == "lost_lock"
    assert code(dead.end, first, "done") == "lost_lock"


def test_a_run_on_a_rebooted_machine_is_dead(url):
    add(url)
    state(url, dict(HERE, boot="another boot")).begin("web1", "start")
    assert state(url).begin("web1", "start")["resumed"] is not None


def test_an_interrupted_add_goes_on_with_its_own_numbers(url):
    first = state(url, DEAD).begin("web1", "add", plan=make_plan())
    second = state(url).begin("web1", "add", plan=dict(make_plan(), uuid="another"))
    assert second["instance"]["uuid"] == first["instance"]["uuid"]
    assert second["instance"]["disks"] == first["instance"]["disks"]


def test_an_interrupted_add_can_be_removed_and_a_stop_cannot_hide_a_migration(url):
    state(url, DEAD).begin("web1", "add", plan=make_plan())
    mine = state(url)
    mine.end(mine.begin("web1", "remove"), "done", remove=True)
    assert mine.instances() == {}


def test_an_unclear_end_leaves_the_intent(url):
    add(url)
    mine = state(url)
    mine.end(mine.begin("web1", "migrate", {"target": "node2"}), "unclear", reason="both silent", keep_pending=True)
    assert mine.locks() == {}
    assert code(mine.begin, "web1", "stop") == "interrupted"
    assert mine.begin("web1", "failover")["resumed"] is None


def test_check_mode_writes_nothing(url):
    add(url)
    before = [(entry.key, entry.mod_revision) for entry in open_registry(url).range("").entries]
    mine = state(url)
    for operation in (mine.begin("web1", "stop", check_mode=True), mine.begin("web9", "add", plan=make_plan("web9"), check_mode=True)):
        mine.keep(operation)
        mine.end(operation, "done", {"status": "ready"})
    assert [(entry.key, entry.mod_revision) for entry in open_registry(url).range("").entries] == before


def test_unknown_things_are_named(url):
    assert code(state(url).begin, "nobody", "start") == "unknown_instance"
    assert code(state(url).node, "node9") == "unknown_node"


def test_an_empty_registry_has_no_cluster(tmp_path):
    assert code(ClusterState(open_registry("sqlite://%s/r.db" % tmp_path, create=True)).cluster) == "no_cluster"


def test_a_node_keeps_what_is_not_given_again(url):
    mine = state(url)
    mine.put_node({"name": "node1", "address": "10.0.0.1", "tags": ["ssd"]})
    assert mine.put_node({"name": "node1", "address": "10.0.0.1"})[0] is False
    changed, before, after = mine.put_node({"name": "node1", "address": "10.0.0.2"})
    assert changed and before["tags"] == after["tags"] == ["ssd"]


def register(url, *names):
    """Nodes in the registry."""
    for name in names:
        state(url).put_node({"name": name, "hostname": name, "address": "10.0.0.1", "vg": "gantry"})


def test_a_node_that_holds_an_instance_is_not_removed(url):
    register(url, "node1", "node2", "node3", "node4")
    add(url)
    assert code(state(url).remove_node, "node2") == "node_in_use"
    state(url, DEAD).begin("web1", "replace_disks", {"new_node": "node3"})
    assert code(state(url).remove_node, "node3") == "node_in_use", "a part of the new copy may be there"
    assert state(url).remove_node("node4", check_mode=True)[0] is True and "node4" in state(url).nodes()
    assert state(url).remove_node("node4")[0] is True
    assert state(url).remove_node("node4") == (False, {}) and sorted(state(url).nodes()) == ["node1", "node2", "node3"]


def test_a_mirror_that_comes_while_its_node_is_removed_keeps_the_node(url):
    register(url, "node1", "node2", "node3")
    add(url)
    mine = state(url)
    plain = mine.registry.transaction

    def meanwhile(guards, writes):
        mine.registry.transaction = plain
        state(url, DEAD).begin("web1", "replace_disks", {"new_node": "node3"})
        return plain(guards, writes)

    mine.registry.transaction = meanwhile
    assert code(mine.remove_node, "node3") == "node_in_use"
    assert "node3" in state(url).nodes()


def test_a_node_s_change_is_guarded_and_idempotent(url):
    register(url, "node1")

    def refuse(_before, _after):
        raise GantryError("no", code="guarded")

    assert code(state(url).modify_node, "node1", {"offline": True}, refuse) == "guarded"
    assert state(url).modify_node("node1", {"offline": False}, refuse)[0] is False, "no change is not guarded"
    assert state(url).modify_node("node1", {"drained": True}, check_mode=True)[0] is True
    assert state(url).node("node1")["drained"] is False
    assert state(url).modify_node("node1", {"drained": True})[0] is True and state(url).node("node1")["drained"] is True
    assert code(state(url).modify_node, "node9", {"drained": True}) == "unknown_node"


def modify(url, changes, **options):
    """Begin a change of web1."""
    mine = state(url)
    return mine, mine.begin("web1", "modify", changes=changes, **options)


def macs(url):
    """The MAC addresses handed out, with their owners."""
    return state(url).allocations()["macs"]


def test_a_change_stands_from_its_beginning_and_failing_goes_back(url):
    add(url, nics=1, mac="52:54:00:00:00:01")
    first = state(url).instance("web1")["nics"][0]
    cards = [dict(first, bridge="br1"), dict(first, index=1, mac=None)]
    mine, operation = modify(url, {"vcpus": 2, "nics": cards})
    record = mine.instance("web1")
    assert record["vcpus"] == 2 and record["nics"][0]["mac"] == first["mac"] and record["nics"][1]["mac"] in macs(url)
    assert record["pending"]["params"]["before"] == {"vcpus": None, "nics": [first]}
    mine.end(operation, "failed", operation["params"]["before"], reason="libvirt refused it")
    assert state(url).instance("web1")["nics"] == [first] and macs(url) == {first["mac"]: "uuid-of-web1/0"}


def test_a_card_that_goes_gives_its_address_back_at_the_end(url):
    add(url, nics=2)
    first, second = state(url).instance("web1")["nics"]
    mine, operation = modify(url, {"nics": [dict(second, index=0)]})
    assert macs(url).keys() == {first["mac"], second["mac"]}, "given away before it is certain"
    mine.end(operation, "done")
    assert macs(url) == {second["mac"]: "uuid-of-web1/0"}


def test_a_change_that_was_cut_off_remembers_what_was_first(url):
    add(url, nics=1)
    first = state(url).instance("web1")["nics"]
    state(url, DEAD).begin("web1", "modify", changes={"nics": [], "vcpus": 2})
    mine, operation = modify(url, {"vcpus": 3})
    assert operation["resumed"]["verb"] == "modify"
    assert operation["params"]["before"] == {"nics": first, "vcpus": None}
    mine.end(operation, "done")
    assert (mine.instance("web1")["vcpus"], mine.instance("web1")["nics"], macs(url)) == (3, [], {})


def test_any_verb_goes_on_after_a_change_that_was_cut_off(url):
    add(url, nics=1)
    state(url, DEAD).begin("web1", "modify", changes={"nics": []})
    mine = state(url)
    operation = mine.begin("web1", "migrate")
    assert operation["took_over"] == "modify" and operation["resumed"] is None and operation["instance"]["nics"] == []
    mine.end(operation, "done")
    assert macs(url) == {} and "pending" not in mine.instance("web1")


def test_a_change_takes_no_address_from_another(url):
    """Where two records have one address, cluster_verify tells it; a change of something else decides nothing."""
    add(url, nics=1, mac="52:54:00:00:00:01")
    mine, operation = modify(url, {"vcpus": 2})
    table = state(url).allocations()
    table["macs"]["52:54:00:00:00:01"] = "uuid-of-another/0"
    mine.registry.update("allocations", lambda _value: table)
    mine.end(operation, "done")
    assert macs(url) == {"52:54:00:00:00:01": "uuid-of-another/0"}


def test_a_predicted_change_writes_nothing(url):
    before = add(url, nics=1)
    operation = modify(url, {"nics": [], "vcpus": 2}, check_mode=True)[1]
    assert operation["instance"]["vcpus"] == 2 and state(url).instance("web1") == before
