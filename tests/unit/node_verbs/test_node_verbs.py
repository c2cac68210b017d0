# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of nodes, whole: on a real registry, with fence agents that are programs, and nodes that pretend."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from bench import Bench  # noqa: E402  pylint: disable=wrong-import-position

#: Whole playbooks run against stand-in nodes: too slow for script/test --fast.
pytestmark = pytest.mark.playbook


@pytest.fixture(name="bench")
def _bench(tmp_path):
    return Bench(tmp_path)


def test_migrate_goes_on_past_a_failure_and_tells_it(bench):
    bench.instance("web1", "node1", "node2")
    bench.instance("web2", "node1", "node3", running=False)
    bench.instance("web3", "node1", "node3")
    bench.instance("plain1", "node1")
    bench.fail("node2", "instance_disks", "this disk is on fire")
    run = bench.play("node_migrate", node_name="node1", parallel=1)
    assert not run.ok and "2 of 4 instances of node node1 were left" in run.words
    assert "this disk is on fire" in run.words and "plain1 left disk template plain" in run.words
    records = bench.state.instances()
    assert records["web1"]["primary"] == "node1"
    assert (records["web2"]["primary"], records["web3"]["primary"]) == ("node3", "node3")
    assert bench.state.locks() == {}


def test_a_container_stays_unless_a_failover_is_allowed(bench):
    bench.instance("c1", "node1", "node2", hypervisor="lxc")
    run = bench.play("node_migrate", node_name="node1")
    assert not run.ok and "c1 left" in run.words and "instance_failover -l c1" in run.words, run.text
    assert bench.state.instance("c1")["primary"] == "node1"
    assert {call.split()[1] for call in bench.calls()} == {"node_info"}, "it was touched"
    run = bench.play("node_migrate", node_name="node1", allow_failover=True)
    assert run.ok and bench.state.instance("c1")["primary"] == "node2", run.text
    assert "node1 domain" in bench.calls() and "node2 domain" in bench.calls()


def test_a_migration_that_may_fail_over_is_an_operation_of_each_kind(bench):
    bench.instance("c1", "node1", "node2", hypervisor="lxc")
    bench.hosts(c1={})
    run = bench.play("instance_migrate", "-l", "c1")
    assert not run.ok and "instance_failover -l c1" in run.words and run.changed == 0, run.text
    before = bench.state.instance("c1")["generation"]
    run = bench.play("instance_migrate", "-l", "c1", "--check", allow_failover=True)
    assert run.ok and bench.state.instance("c1")["primary"] == "node1", run.text
    run = bench.play("instance_migrate", "-l", "c1", allow_failover=True)
    record = bench.state.instance("c1")
    assert run.ok and run.changed > 0 and record["primary"] == "node2", run.text
    assert record["generation"] == before + 2 and not record.get("pending") and bench.state.locks() == {}
    assert "instance_disks" not in {call.split()[1] for call in bench.calls()}, "a window was opened"


def test_evacuate_moves_the_mirrors_and_is_refused_with_a_limit(bench):
    bench.instance("web1", "node1", "node2")
    bench.instance("web2", "node3", "node2", running=False)
    run = bench.play("node_evacuate", "-l", "node1", node_name="node2")
    assert not run.ok and "takes no limit" in run.words and bench.calls() == []
    run = bench.play("node_evacuate", "--check", node_name="node2", evacuate="secondary")
    assert run.ok and "web1 done its mirror goes to node3" in run.words, run.text
    assert bench.state.instance("web1")["secondary"] == "node2"
    # node1 has given half of its memory to web1's guest
    assert "web2 done its mirror goes to node1" in run.words, run.text


def test_each_instance_takes_its_own_steps_in_order(bench):
    # the first steps differ, the second ones are alike: Ansible would put these together before one of the first
    bench.instance("a-stopped", "node1", "node2", running=False)
    bench.instance("b-running", "node1", "node2")
    run = bench.play("node_evacuate", node_name="node1")
    records = bench.state.instances()
    assert (records["a-stopped"]["primary"], records["a-stopped"]["secondary"]) == ("node2", "node3"), run.text
    # where a pretended guest runs does not change, so its second step is refused; its first one came first
    assert (records["b-running"]["primary"], records["b-running"]["secondary"]) == ("node2", "node1"), run.text


def test_failover_proves_the_node_off_first(bench):
    bench.instance("web1", "node1", "node2")
    bench.instance("web2", "node1", "node3")
    bench.instance("plain1", "node1")
    run = bench.play("node_failover", node_name="node1")
    assert not run.ok and "Node node1 is not dead" in run.words and bench.power("node1") == "on"
    bench.silence("node1")
    run = bench.play("node_failover", node_name="node1")
    assert run.ok and bench.power("node1") == "off", run.text
    assert "plain1 lost is lost until node1 is back" in run.words and "s3cr3t" not in run.text
    records = bench.state.instances()
    assert (records["web1"]["primary"], records["web2"]["primary"]) == ("node2", "node3")
    assert bench.state.node("node1")["offline"] is True
    run = bench.play("node_failover", node_name="node1")
    assert run.ok and run.changed == 0, run.text


def test_failover_without_proof_touches_nothing(bench):
    bench.instance("web1", "node1", "node2")
    bench.silence("node1")
    bench.variables("node1", gantry_fence=[])
    run = bench.play("node_failover", node_name="node1")
    assert not run.ok and "only unreachable" in run.words
    bench.variables("node1", gantry_fence=[{"agent": "manual"}])
    run = bench.play("node_failover", node_name="node1")
    assert not run.ok and "only unreachable" in run.words
    assert bench.state.node("node1")["offline"] is False and bench.state.instance("web1")["primary"] == "node1"
    run = bench.play("node_failover", node_name="node1", dead_node="node1")
    assert run.ok and bench.state.instance("web1")["primary"] == "node2", run.text


def test_a_living_node_is_not_marked_offline_and_flags_are_idempotent(bench):
    bench.instance("web1", "node1", "node2")
    run = bench.play("node_modify", node_name="node1", offline=True)
    assert not run.ok and "it is alive" in run.words and bench.state.node("node1")["offline"] is False
    run = bench.play("node_modify", "--check", "--diff", node_name="node1", drained=True)
    assert run.ok and run.changed == 1 and "drained: true" in run.text and bench.state.node("node1")["drained"] is False
    for changed in (1, 0):
        run = bench.play("node_modify", node_name="node1", drained="true", group="rack1", set_tags="a,b")
        assert run.ok and run.changed == changed, run.text
    node = bench.state.node("node1")
    assert (node["drained"], node["group"], node["tags"]) == (True, "rack1", ["a", "b"])


def test_a_returning_node_is_trusted_only_when_its_copies_are_good(bench):
    bench.instance("web1", "node2", "node1")
    bench.state.modify_node("node1", {"offline": True})
    bench.domain("node1", "web1", "shutoff")
    run = bench.play("node_modify", node_name="node1", offline=False)
    assert not run.ok and "web1 is defined here, but belongs on node2" in run.words
    # the pretended node keeps its definition whatever is done
    run = bench.play("node_readd", node_name="node1")
    assert not run.ok and "stays offline" in run.words and bench.state.node("node1")["offline"] is True
    assert "node1 domain" in bench.calls() and "node1 node_prepare" in bench.calls()
    bench.shown["node1"]["domains"].clear()
    run = bench.play("node_readd", node_name="node1")
    assert run.ok and bench.state.node("node1")["offline"] is False, run.text


def test_a_node_leaves_only_when_it_is_empty(bench):
    bench.instance("web1", "node1", "node2")
    run = bench.play("node_remove", node_name="node2")
    assert not run.ok and "it holds instances" in run.words and "web1" in run.words
    run = bench.play("node_remove", node_name="node3")
    assert run.ok and sorted(bench.state.nodes()) == ["node1", "node2"], run.text
    assert {"node1 node_prepare", "node2 node_prepare", "node3 node_prepare"} <= set(bench.calls())


def test_fence_devices_are_asked_and_switched(bench):
    bench.instance("web1", "node1", "node2")
    run = bench.play("node_power", power="status")
    assert run.ok and run.changed == 0 and run.words.count("says on") == 3, run.text
    run = bench.play("node_power", power="off", node_name="node1")
    assert not run.ok and "primary of instances that should run" in run.words and bench.power("node1") == "on"
    run = bench.play("node_power", power="off", node_name="node3")
    assert run.ok and run.changed == 1 and bench.power("node3") == "off", run.text
    run = bench.play("node_power", power="cycle", node_name="node3")
    assert run.ok and bench.power("node3") == "on", run.text
    bench.variables("node2", gantry_fence=[{"agent": str(bench.folder / "none")}])
    run = bench.play("node_power", power="status")
    assert not run.ok and "fence device of node node2 does not answer" in run.words
    run = bench.play("node_power", power="off")
    assert not run.ok and "No node is named" in run.words


def test_rolling_reboot_stops_before_the_first_node_of_a_cluster_that_is_not_whole(bench):
    bench.instance("web1", "node1", "node2")
    run = bench.play("node_rolling_reboot")
    assert not run.ok and "unasked" in run.words
    bench.shown["node2"]["drbd_resources"]["web1-disk0"]["volumes"][0]["disk"] = "Inconsistent"
    run = bench.play("node_rolling_reboot", node_name="node3,node2")
    assert not run.ok and "the cluster is not whole" in run.words and "disk 0 is SYNCING" in run.words, run.text
    assert {call.split()[1] for call in bench.calls()} == {"node_info"}
