# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watcher's history and its actions, on a real registry and through real playbooks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fake_nodes import PLAYBOOKS, FakeNodes

from ansible_collections.gantry.cluster.plugins.action import watch_decide, watch_report
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.cluster_state import ClusterState
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry

#: Whole playbooks run against stand-in nodes: too slow for script/test --fast.
pytestmark = pytest.mark.playbook

WATCH = PLAYBOOKS / "cluster_watch.yml"


@pytest.fixture(name="place")
def _place(tmp_path):
    """Three nodes that do not answer, and a registry with two instances."""
    url = "sqlite://%s/registry.db" % tmp_path
    state = ClusterState(open_registry(url, create=True))
    state.init({"name": "test.example.com"})
    for name in ("node1", "node2", "node3"):
        state.put_node({"name": name, "hostname": name, "address": "10.0.0.1", "vg": "gantry"})
    where = {node: {"hostname": node, "address": "10.0.0.1"} for node in ("node1", "node2")}
    for number, name in enumerate(("web1", "web2")):
        plan = {"name": name, "uuid": "uuid-of-" + name, "primary": "node1", "secondary": "node2", "admin_state": "up", "nics": [],
                "disk_template": "drbd", "hypervisor": "kvm", "memory_mib": 32, "machine": "pc", "domain_type": "qemu",
                "vcpus": 1, "image": None, "iso": None, "kernel": None, "initrd": None, "kernel_args": "", "tags": [],
                "disks": [{"index": 0, "name": name + "-disk0", "template": "drbd", "size_mib": 64, "vg": "gantry", "nodes": where}],
                "in_use": {"minors": [number]}}
        state.end(state.begin(name, "add", plan=plan), "done", {"status": "ready"})
    fences = {"node1": [{"agent": "/bin/false", "options": {}}]}
    return FakeNodes(tmp_path, url, {name: {"gantry_fence": fences.get(name, [])} for name in state.nodes()})


def state_of(place):
    """The registry."""
    return ClusterState(open_registry(place.url))


def action(plugin, place, check_mode=False):
    """An action plugin as Ansible runs it, on that registry and inventory."""
    made = plugin.ActionModule.__new__(plugin.ActionModule)
    made._task = SimpleNamespace(check_mode=check_mode)
    made.vars = {"hostvars": place.hosts}
    made.state = lambda: state_of(place)
    return made


def decide(place, observations, check_mode=False):
    """What watch_decide and watch_report return."""
    state = state_of(place)
    arguments = {key: value["default"] for key, value in watch_decide.ActionModule.SPEC.items() if "default" in value}
    content = {"nodes": state.nodes(), "instances": state.instances(), "locks": state.locks()}
    arguments.update(content=content, observations=observations, failover=True, unreachable_runs=1)
    decided = action(watch_decide, place, check_mode).act(arguments)
    return {"decided": decided, "report": action(watch_report, place, check_mode).act({"decided": decided})}


def observed(node, states=None, boot="boot-1"):
    """A node that answers; ``states`` are the domains' (state, reason) by name."""
    role = "Primary" if states else "Secondary"
    resources = {
        name + "-disk0": {"role": role, "connection": "Connected", "peer_disk": "UpToDate", "volumes": [{"disk": "UpToDate"}]}
        for name in ("web1", "web2")
    }
    domains = [{"name": name, "uuid": "uuid-of-" + name, "state": state, "reason": reason}
               for name, (state, reason) in (states or {}).items()]
    return {"node": node, "reachable": True, "error": None, "node_info": {
        "boot_id": boot, "libvirt": {"ok": True}, "drbd": {"ok": True}, "domains": domains, "drbd_resources": resources}}


RUNNING = {"web1": ("running", "booted"), "web2": ("running", "booted")}
CRASHED = {"web1": ("shutoff", "crashed"), "web2": ("running", "booted")}


def test_a_healthy_cluster_changes_only_once(place):
    seen = [observed("node1", RUNNING), observed("node2"), observed("node3")]
    first = decide(place, seen)
    assert first["decided"]["todo"] == [] and first["decided"]["changed"], "the nodes' boots are written down"
    second = decide(place, seen)
    assert not second["decided"]["changed"] and second["report"]["table"] == "All is as it should be."


def test_a_try_is_counted_before_it_is_made(place):
    seen = [observed("node1", CRASHED), observed("node2"), observed("node3")]
    first = decide(place, seen, check_mode=True)
    assert [(action["name"], action["do"]) for action in first["decided"]["todo"]] == [("web1", "start")]
    assert first["decided"]["changed"] and state_of(place).watch_history()[0]["instances"] == {}, "check mode counted"
    decide(place, seen)
    assert state_of(place).watch_history()[0]["instances"]["uuid-of-web1"]["start"]["tries"] == 1
    again = decide(place, seen)
    assert again["decided"]["todo"] == [] and "was tried once" in again["report"]["table"]


def test_an_action_without_an_outcome_failed(place):
    report = decide(place, [observed("node1", CRASHED), observed("node2"), observed("node3")])["report"]
    row = next(row for row in report["watched"] if row["name"] == "web1")
    assert (row["did"], row["outcome"], row["severity"]) == ("start", "failed", "error") and "not carried out" in row["why"]


def test_a_living_run_is_left_alone(place):
    state_of(place).begin("web1", "migrate")
    answer = decide(place, [observed("node1", CRASHED), observed("node2"), observed("node3")])
    assert answer["decided"]["todo"] == [] and "migrate works on it" in answer["report"]["table"]


def test_a_run_that_ended_meanwhile_is_seen(place):
    state = state_of(place)
    operation = state.begin("web1", "stop")
    content = {"nodes": state.nodes(), "instances": state.instances(), "locks": state.locks()}
    state.end(operation, "done", {"admin_state": "down"})
    plugin = action(watch_decide, place)
    plugin._with_liveness = lambda locks: {name: dict(lock, liveness="dead") for name, lock in locks.items()}
    arguments = {key: value["default"] for key, value in watch_decide.ActionModule.SPEC.items() if "default" in value}
    decided = plugin.act(dict(arguments, content=content, observations=[
        observed("node1", {"web1": ("shutoff", "shutdown"), "web2": ("running", "booted")}), observed("node2"), observed("node3")]))
    assert [note["why"] for note in decided["actions"]] == ["left alone: another run acted on it during this one"]


def test_only_a_node_with_a_fence_device_is_failed_over_from(place):
    silent = {"node": "node1", "reachable": False, "error": "timed out", "node_info": None}
    other = observed("node2")
    for resource in other["node_info"]["drbd_resources"].values():
        resource.update(connection="Connecting", peer_disk="DUnknown")
    assert {action["do"] for action in decide(place, [silent, other, observed("node3")])["decided"]["todo"]} == {"failover"}
    del place.hosts["node1"]["gantry_fence"]
    answer = decide(place, [silent, other, observed("node3")])
    assert answer["decided"]["todo"] == [] and "no fence device" in answer["report"]["table"]


def test_two_watchers_do_not_both_act(place):
    one, other = state_of(place), state_of(place)
    history, revisions = one.watch_history()
    after = {"instances": {"uuid-of-web1": {"start": {"tries": 1}}}, "nodes": {}}
    assert other.put_watch_history(history, revisions, after) is True
    with pytest.raises(GantryError) as refusal:
        one.put_watch_history(history, revisions, after)
    assert refusal.value.code == "watched_twice"
    assert other.put_watch_history(*other.watch_history(), after) is False, "nothing differs"
    assert other.put_watch_history(*other.watch_history(), history) is True
    assert other.watch_history() == ({"instances": {}, "nodes": {}}, {})


def test_a_long_history_is_kept_whole(place):
    state = state_of(place)
    after = {"instances": {"uuid-%d" % number: {"start": {"tries": 1}} for number in range(250)}, "nodes": {}}
    assert state.put_watch_history(*state.watch_history(), after)
    assert state.watch_history()[0] == after


def test_an_action_decided_before_another_operation_is_refused(place):
    state = state_of(place)
    decided_at = state.instance("web1")["generation"]
    state.end(state.begin("web1", "stop"), "done", {"admin_state": "down"})
    with pytest.raises(GantryError) as refusal:
        state.begin("web1", "start", after=decided_at)
    assert refusal.value.code == "overtaken" and state.locks() == {}
    assert state.begin("web1", "start", after=decided_at + 1)["generation"] == decided_at + 2


def test_the_pause_ends_by_itself(place):
    state = state_of(place)
    now = [1000.0]
    state.clock = lambda: now[0]
    assert state.put_watch_pause(1600, check_mode=True) == (True, None, 1600) and state.watch_pause() is None
    assert state.put_watch_pause(1600) == (True, None, 1600) and state.watch_pause() == 1600
    now[0] = 1601.0
    assert state.watch_pause() is None and state.put_watch_pause(None) == (False, None, None)


def test_the_playbook_rests_and_goes_on(place):
    code, text = place.play(WATCH, "-e", "gantry_watch_pause=tomorrow")
    assert code == 2 and "such as 2h" in text
    code, text = place.play(WATCH, "-e", "gantry_watch_pause=2h")
    assert code == 0 and "changed=1" in text and state_of(place).watch_pause() is not None, text
    code, text = place.play(WATCH)
    assert code == 0 and "rests until" in text and "changed=1" not in text and "Observe" not in text, text
    code, text = place.play(WATCH, "-e", "gantry_watch_pause=off")
    assert code == 0 and state_of(place).watch_pause() is None, text


def answer(place, *observations, **more):
    """Make the observed nodes answer; ``more`` is what other modules return on the first of them."""
    for number, observation in enumerate(observations):
        seen = {"node_info": {"changed": False, "node_info": observation["node_info"]}}
        place.answer(observation["node"], **seen, **({} if number else more))


def test_the_playbook_restarts_and_reports(place):
    """Both guests have crashed: both are started, through the verb's own steps; the second run finds them running."""
    off = dict(CRASHED, web2=("shutoff", "destroyed"))
    answer(place, observed("node1", off), observed("node2"), observed("node3"))
    code, text = place.play(WATCH, "--check")
    assert code == 0 and text.count("start: predicted") == 2, text
    code, text = place.play(WATCH)
    assert code == 0 and text.count("start: done") == 2 and "WARNING" not in text, text
    calls = place.calls()
    assert calls.count("node1 node_info") == 2 and calls.count("node2 domain") == 4, "one look a run; standby and start"
    assert [entry["verb"] for entry in state_of(place).operations()][-2:] == ["start", "start"]
    assert state_of(place).locks() == {}
    answer(place, observed("node1", RUNNING))
    code, text = place.play(WATCH)
    assert code == 0 and "All is as it should be" in text and "changed=1" not in text, text


def test_a_failing_instance_does_not_stop_the_others(place):
    off = dict(CRASHED, web2=("shutoff", "crashed"))
    answer(place, observed("node1", off), observed("node2"), observed("node3"), domain={"failed": True, "msg": "no such bridge"})
    state = state_of(place)
    state.begin("web1", "stop")
    code, text = place.play(WATCH)
    assert code == 2 and "start: failed" in text and "no such bridge" in text and "stop works on it" in text, text
    assert state.watch_history()[0]["instances"]["uuid-of-web2"]["start"]["tries"] == 1
    assert list(state.locks()) == ["web1"], "the failed start is unlocked, the other run keeps its lock"


def test_the_playbook_fails_over_only_with_proof(place):
    other = observed("node2")
    for resource in other["node_info"]["drbd_resources"].values():
        resource.update(connection="Connecting", peer_disk="DUnknown")
    other["node_info"].update(memory_free_mib=1000, bridges=[])
    other["node_info"]["libvirt"].update(machine_list=["pc"], domain_types=["qemu"])
    answer(place, other, observed("node3"))
    words = ["-e", "gantry_watch_failover=true", "-e", "gantry_watch_unreachable_runs=1"]
    code, text = place.play(WATCH, *words)
    assert code == 2 and text.count("failover: failed") == 2 and "could not be proven off" in text, text
    assert "node2 domain" not in place.calls(), "nothing was started without proof"
    assert state_of(place).instance("web1")["primary"] == "node1"
    # a fence device that answers "off"
    fence = place.folder / "fence"
    fence.write_text("#!/bin/sh\nexit 2\n", encoding="utf-8")
    fence.chmod(0o700)
    place.hosts["node1"]["gantry_fence"] = [{"agent": str(fence), "options": {}}]
    code, text = place.play(WATCH, *words, "-e", "gantry_watch_backoff=0")
    assert code == 0 and text.count("failover: done") == 2, text
    assert {record["primary"] for record in state_of(place).instances().values()} == {"node2"}
