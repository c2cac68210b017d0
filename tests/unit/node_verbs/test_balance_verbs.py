# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that place instances, whole: on a real registry and nodes that pretend."""

from __future__ import annotations

import json
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


def test_balance_shows_its_plan_moves_and_stops_after_a_failure(bench, tmp_path):
    for name in ("web1", "web2", "web3", "web4"):
        bench.instance(name, "node1", "node2")
    run = bench.play("cluster_balance", "-l", "node1")
    assert not run.ok and "takes no limit" in run.words and bench.calls() == []
    run = bench.play("cluster_balance", "--check", placement_file=str(tmp_path / "cluster.data"))
    assert run.ok and run.changed == 1 and "lower bound" in run.words and "free_mem_cv" in run.words, run.text
    assert sorted(bench.calls()) == ["node1 node_info", "node2 node_info", "node3 node_info"]
    assert "web4|512|" in (tmp_path / "cluster.data").read_text()
    assert {record["primary"] for record in bench.state.instances().values()} == {"node1"}

    # one after the other: the first fails, so no other is begun
    bench.fail("node2", "instance_disks", "this disk is on fire")
    run = bench.play("cluster_balance", balance_disk_moves=False, parallel=1)
    assert not run.ok and "2 of 2 instances of the plan were left" in run.words and "this disk is on fire" in run.words, run.text
    assert run.words.count("left its steps were not taken") == 1, run.text
    assert {record["primary"] for record in bench.state.instances().values()} == {"node1"} and bench.state.locks() == {}


def test_balance_moves_everything_and_then_nothing(bench):
    for name, secondary in (("web1", "node2"), ("web2", "node3"), ("web3", "node2")):
        bench.instance(name, "node1", secondary)
    run = bench.play("cluster_balance", balance_disk_moves=False)
    assert run.ok and run.changed > 0, run.text
    records = bench.state.instances()
    assert sorted(record["primary"] for record in records.values()) == ["node1", "node2", "node3"], run.text
    assert "WARNING" not in run.text, run.text
    # the nodes that pretend now show what was done
    for shown in bench.shown.values():
        shown.update(domains=[], drbd_resources={}, volumes=[])
    for name, record in records.items():
        bench.show(name, record["primary"], record["secondary"])
    run = bench.play("cluster_balance", balance_disk_moves=False)
    assert run.ok and run.changed == 0 and "nothing is to be moved" in run.words, run.text


def test_capacity_is_counted_with_one_call_for_each_node(bench):
    bench.instance("web1", "node1", "node2")
    run = bench.play("cluster_capacity", capacity_memory="512MiB", capacity_disk="1GiB")
    assert run.ok and run.changed == 0 and "more instances of the standard size fit: 512 MiB, disk 1 GiB" in run.words, run.text
    assert sorted(bench.calls()) == ["node1 node_info", "node2 node_info", "node3 node_info"]
    run = bench.play("cluster_capacity", capacity_memory="512")
    assert not run.ok and "is no size" in run.words


def test_a_group_is_emptied(bench):
    bench.state.put_node(dict(bench.state.node("node3"), group="rack2"))
    bench.instance("plain1", "node3")
    bench.instance("web1", "node1", "node2")
    run = bench.play("group_evacuate")
    assert not run.ok and "gantry_leave_group" in run.words and bench.calls() == []
    run = bench.play("group_evacuate", leave_group="rack2")
    assert not run.ok and "1 of 1 instances of node group rack2 were left" in run.words and run.changed == 0, run.text
    run = bench.play("group_evacuate", leave_group="default")
    assert not run.ok and "1 of 1 instances of node group default were left" in run.words, run.text


def test_the_allocator_is_a_setting_and_is_asked(bench, tmp_path):
    run = bench.play("cluster_init", cluster_name="test.example.com", iallocator="bin/allocator")
    assert not run.ok and "no absolute path" in run.words, run.text
    run = bench.play("cluster_init", cluster_name="test.example.com", ipolicy={"vcpu-ratios": 1})
    assert not run.ok and "vcpu-ratios" in run.words, run.text
    program = tmp_path / "allocator"
    program.write_text('#!/bin/sh\necho \'{"success": true, "info": "", "result": ["node3"]}\'\n')
    program.chmod(0o755)
    for changed in (1, 0):
        run = bench.play("cluster_init", cluster_name="test.example.com", iallocator=str(program))
        assert run.ok and run.changed == changed and bench.state.cluster()["iallocator"] == str(program), run.text
    new = {"instance_name": "new1", "memory": "256MiB", "disks": "64MiB", "disk_template": "plain", "machine": "pc-1.0", "nics": "br0"}
    run = bench.play("instance_add", "--check", **new)
    assert "new1: on node3, chosen by %s" % program in run.words, run.text
    program.write_text('#!/bin/sh\necho \'{"success": false, "info": "all full", "result": []}\'\n')
    run = bench.play("instance_add", **new)
    assert not run.ok and "all full" in run.words and bench.state.instance("new1") is None, run.text
    assert json.loads(json.dumps(bench.state.locks())) == {}


def test_nodes_are_rebooted_together_as_far_as_they_share_nothing(bench):
    bench.instance("web1", "node1", "node2")
    # a local connection is never rebooted, so the first group fails, and no node of the second is touched
    run = bench.play("node_rolling_reboot", node_name="node1,node2,node3", reboot_together=True)
    assert not run.ok and "- node1, node3 - node2" in run.words, run.text
    assert run.words.count("would reboot the control node") >= 2 and "fatal: [node2]" not in run.text, run.text
    assert bench.state.instance("web1")["primary"] == "node2"
