# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage modules from their options to their result, on two nodes in memory."""

from __future__ import annotations

import importlib
import json
import os

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gantry.cluster.plugins.module_utils import image, lvm, node_module
from storage_node import OTHER, SECRETS, UUID, Cluster, drbd_disk, plain_disk

RECORD = {"name": "web1.example.com", "primary": "node1", "secondary": "node2", "status": "ready"}


class Ended(Exception):
    """The module has exited; its result is the only argument."""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two empty nodes."""
    monkeypatch.setattr(image, "flush", lambda device: None)
    return Cluster(tmp_path, monkeypatch)


@pytest.fixture
def run(cluster, monkeypatch):
    """Run a module on a node; returns its result with ``failed``."""

    def end(failed):
        def leave(_module, **result):
            raise Ended(dict(result, failed=failed))
        return leave

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", end(False))

    def fail(_module, msg, **result):
        raise Ended(dict(result, msg=msg, failed=True))

    monkeypatch.setattr(basic.AnsibleModule, "fail_json", fail)

    def run_module(name, node, check_mode=False, diff=False, **options):
        arguments = {"uuid": UUID, "generation": 1}
        if name != "volume":
            arguments.update(
                name="web1.example.com", node=node, disks=[drbd_disk(0)], secrets=SECRETS, record=RECORD, wait_connect=0
            )
        arguments.update(options)
        arguments.update(_ansible_check_mode=check_mode, _ansible_diff=diff)
        monkeypatch.setattr(node_module, "Executor", lambda check_mode: cluster.on(node, check_mode))
        module = importlib.import_module("ansible_collections.gantry.cluster.plugins.modules." + name)
        with patch_module_args(arguments), pytest.raises(Ended) as ended:
            module.main()
        return ended.value.args[0]

    return run_module


def test_life_of_a_disk(cluster, run):
    """Created, in use, moved, removed; each second run changes nothing."""
    for node, options in (
        ("node2", {"state": "present"}),
        ("node1", {"state": "present", "role": "primary", "initialize": True}),
        ("node1", {"role": "secondary"}),
        ("node2", {"role": "primary"}),
        ("node2", {"window": "open"}),
        ("node1", {"window": "open", "role": "primary"}),
        ("node2", {"window": "closed", "role": "secondary"}),
        ("node1", {"window": "closed", "role": "primary"}),
        ("node2", {"state": "inactive"}),
        ("node2", {}),
        ("node1", {"state": "absent"}),
        ("node2", {"state": "absent"}),
    ):
        predicted = run("instance_disks", node, check_mode=True, **options)
        first = run("instance_disks", node, diff=True, **options)
        cluster.sync()
        second = run("instance_disks", node, **options)
        assert not predicted["failed"] and not first["failed"] and not second["failed"], (options, first)
        assert first["changed"] == bool(first["actions"]) and predicted["changed"] == first["changed"]
        assert (second["changed"], second["actions"]) == (False, [])
        assert all(secret not in json.dumps(first) for secret in SECRETS.values())
        if first["changed"]:
            assert "".join(action + "\n" for action in first["actions"]) == first["diff"][-1]["after"]
    assert cluster.nodes["node1"].volumes == {} == cluster.nodes["node2"].volumes
    assert os.listdir(cluster.nodes["node1"].path("instances")) == []


def test_what_is_tidied_is_not_brought_up(cluster, run):
    """Role and window, where there are any: a node without its disks, or with a failed one, is left as it is."""
    run("instance_disks", "node2", state="present")
    run("instance_disks", "node1", state="present", role="primary", initialize=True)
    cluster.sync()
    for node, options in (("node1", {}), ("node2", {"role": "primary"})):
        run("instance_disks", node, window="open", **options)
    tidy = {"state": "as_is", "role": "secondary", "window": "closed"}
    assert run("instance_disks", "node2", check_mode=True, **tidy)["changed"] is True
    result = run("instance_disks", "node2", **tidy)
    assert result["changed"] and (result["disks"][0]["role"], result["disks"][0]["allow_two_primaries"]) == ("Secondary", False)
    assert run("instance_disks", "node2", **tidy)["changed"] is False
    run("instance_disks", "node1", state="as_is", window="closed")
    cluster.on("node2").change("fail", ["drbdadm", "detach", "web1.example.com-disk0"])
    result = run("instance_disks", "node2", **tidy)
    assert not result["failed"] and result["changed"] is False and result["disks"][0]["disk"] == "Diskless", result
    run("instance_disks", "node2", state="inactive")
    result = run("instance_disks", "node2", **tidy)
    assert not result["failed"] and result["changed"] is False and result["disks"][0]["role"] is None, result


def test_result_of_disks(cluster, run):
    """Synced says whether the copies are the same; the record is kept on the node."""
    run("instance_disks", "node2", state="present")
    result = run("instance_disks", "node1", state="present", role="primary", initialize=True)
    assert result["synced"] is False and result["disks"][0]["replication"] == "SyncSource"
    cluster.sync()
    assert run("instance_disks", "node1")["synced"] is True
    with open(cluster.nodes["node1"].path("instances", UUID + ".json"), encoding="utf-8") as stream:
        assert json.load(stream) == {"generation": 1, "record": RECORD}


def test_an_older_operation_is_refused(cluster, run):
    """Whatever it wants, and before anything is touched."""
    run("instance_disks", "node2", state="present", generation=7)
    for name, options in (
        ("instance_disks", {"state": "absent"}), ("instance_disks", {}), ("drbd_resource", {"state": "down"}),
        ("volume", {"vg": "gantry", "volumes": [{"name": "x", "size_mib": 4}]}),
    ):
        result = run(name, "node2", generation=6, **options)
        assert result["failed"] and result["error"]["code"] == "stale_generation"
        assert result["changed"] is False
    assert run("instance_disks", "node2", generation=7)["changed"] is False


@pytest.mark.parametrize("options", [
    {"state": "absent", "role": "primary"}, {"state": "inactive", "window": "closed"}, {"initialize": True},
    {"state": "present", "initialize": True}, {"images": {"0": {"path": "/x"}}}, {"peer_dead": True},
    {"role": "primary", "peer_dead": True, "window": "open"}, {"role": "secondary", "window": "open"},
    {"state": "as_is", "role": "primary"}, {"state": "as_is", "window": "open"}, {"state": "as_is", "drop_aside": True},
    {"state": "as_is", "initialize": True}, {"state": "as_is", "peer_dead": True},
    {"wait_sync": -1}, {"state": "present", "role": "primary", "initialize": True, "images": {"5": {"path": "/x"}}},
    {"state": "present", "role": "primary", "initialize": True, "images": {"0": "/x"}},
    {"state": "present", "role": "primary", "initialize": True, "peer_dead": True},
])
def test_contradictions(cluster, run, options):
    """Refused before the node is touched; not even the generation is stored."""
    result = run("instance_disks", "node1", **options)
    assert result["failed"] and result["error"]["code"] == "bad_options"
    assert os.listdir(cluster.nodes["node1"].path("instances")) == []


def test_a_refused_image_leaves_nothing(cluster, run):
    """It is looked at before volumes are made."""
    result = run(
        "instance_disks", "node1", state="present", role="primary", initialize=True, images={"0": {"path": "/none"}})
    assert result["error"]["code"] == "no_image"
    assert cluster.nodes["node1"].volumes == {}
    assert os.listdir(cluster.nodes["node1"].path("instances")) == []


def test_zeros(cluster, run, monkeypatch):
    """A disk may begin as zeros: written once, before it counts as initialised."""
    written = []
    monkeypatch.setattr(image, "_write_zeros_now", written.append)
    options = {"state": "present", "role": "primary", "initialize": True, "images": {"0": {"zeros": True}}}
    run("instance_disks", "node2", state="present")
    foreseen = run("instance_disks", "node1", check_mode=True, **options)
    assert any(action.startswith("write zeros to /dev/drbd") for action in foreseen["actions"]) and written == []
    done = run("instance_disks", "node1", **options)
    assert not done["failed"] and len(written) == 1 and "write zeros to %s" % written[0] in done["actions"], done
    assert run("instance_disks", "node1", **options)["changed"] is False and len(written) == 1


def test_nameless(cluster, run):
    """An instance must be named."""
    result = run("instance_disks", "node1", uuid=None)
    assert result["failed"] and "uuid" in result["msg"]


def test_drbd_resource(cluster, run):
    """On volumes that are there; its volumes stay."""
    assert run("drbd_resource", "node1", state="present")["error"]["code"] == "missing_volume"
    run("instance_disks", "node2", state="present")
    run("instance_disks", "node1", state="present", role="primary", initialize=True)
    cluster.sync()
    for options in ({"state": "present"}, {"role": "secondary"}, {"role": "primary"}, {"window": "open"},
                    {"window": "closed"}, {"state": "down"}, {"state": "absent"}, {"state": "up"}):
        before = run("drbd_resource", "node1", check_mode=True, **options)
        result = run("drbd_resource", "node1", **options)
        assert not result["failed"], result
        assert before["changed"] == result["changed"]
        assert run("drbd_resource", "node1", **options)["changed"] is False
    assert len(cluster.nodes["node1"].volumes) == 2
    assert run("drbd_resource", "node1", state="down", role="primary")["error"]["code"] == "bad_options"
    assert run("drbd_resource", "node1", disks=[plain_disk(0)])["error"]["code"] == "bad_disk"


def volumes(*names, **more):
    """Options of volume."""
    return dict({"vg": "gantry", "volumes": [{"name": name, "size_mib": 10} for name in names]}, **more)


def test_volume(cluster, run):
    """Made, grown, never shrunk, removed."""
    predicted = run("volume", "node1", check_mode=True, **volumes("a", "b"))
    assert predicted["changed"] and predicted["volumes"] == [] and cluster.nodes["node1"].volumes == {}
    result = run("volume", "node1", **volumes("a", "b"))
    assert [entry["name"] for entry in result["volumes"]] == ["a", "b"]
    assert result["volumes"][0]["size_mib"] == 12 and result["volumes"][0]["tags"] == ["gantry", lvm.tag_of(UUID)]
    assert run("volume", "node1", **volumes("a", "b"))["changed"] is False
    grown = {"vg": "gantry", "volumes": [{"name": "a", "size_mib": 17, "tags": ["x"]}, {"name": "b", "size_mib": 1}]}
    result = run("volume", "node1", **grown)
    assert result["actions"] == ["extend volume gantry/a to 17 MiB", "add tag x: volume gantry/a"]
    assert run("volume", "node1", **grown)["changed"] is False
    assert cluster.nodes["node1"].volumes["b"]["size_mib"] == 12
    cluster.nodes["node1"].volumes["b"]["active"] = False
    assert run("volume", "node1", **grown)["actions"] == ["activate volume gantry/b"]
    cluster.nodes["node1"].opened.add("b")
    assert run("volume", "node1", **volumes("a", "b", state="absent"))["error"]["code"] == "held_open"
    assert set(cluster.nodes["node1"].volumes) == {"a", "b"}
    cluster.nodes["node1"].opened.clear()
    assert run("volume", "node1", **volumes("a", "b", state="absent"))["volumes"] == []
    assert run("volume", "node1", **volumes("a", "b", state="absent"))["changed"] is False


@pytest.mark.parametrize("options, code", [
    (volumes("a", "a"), "bad_options"), (volumes("-a"), "bad_name"), (volumes("a", vg="a/b"), "bad_name"),
    (volumes("a", uuid="x"), "bad_uuid"), ({"vg": "gantry", "volumes": [{"name": "a"}]}, "bad_options"),
    ({"vg": "gantry", "volumes": [{"name": "a", "size_mib": 0}]}, "bad_options"),
    ({"vg": "gantry", "volumes": [{"name": "a", "size_mib": 4, "tags": ["a b"]}]}, "bad_tag"),
    ({"vg": "gantry", "volumes": [{"name": "a", "size_mib": 4}, {"name": "b", "size_mib": 9999}]}, "no_space"),
    (volumes("a", vg="other"), "no_volume_group"),
])
def test_volume_refusals(cluster, run, options, code):
    """Before anything is made."""
    result = run("volume", "node1", **options)
    assert result["failed"] and result["error"]["code"] == code
    assert cluster.nodes["node1"].volumes == {}


@pytest.mark.parametrize("state", ["present", "absent"])
def test_volume_of_another_instance(cluster, run, state):
    """Never touched, and the volumes beside it neither."""
    run("volume", "node1", uuid=OTHER, **volumes("b"))
    result = run("volume", "node1", **volumes("a", "b", state=state))
    assert result["error"]["code"] == "foreign_volume"
    assert set(cluster.nodes["node1"].volumes) == {"b"}
