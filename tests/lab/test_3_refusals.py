# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input and bad states: refused with a clear message, and nothing changed on node or registry."""

from __future__ import annotations

import json

import pytest

from lab.driver import refused

NAME = "bad1.example.com"
GOOD = {"memory": "32MiB", "disks": [{"size": "16MiB"}], "image": "/srv/images/test-guest.img"}

CASES = {
    "unknown node": ({"primary": "node9", "secondary": "node1"}, "node9", "is not a node of the cluster"),
    "same node twice": ({"primary": "node1", "secondary": "node1"}, "same node", "two different nodes"),
    "no space": ({"disks": [{"size": "900GiB"}]}, "921632", "MiB of disk needed"),
    "no memory": ({"memory": "64GiB"}, "65536", "MiB of memory needed"),
    "size without unit": ({"disks": [{"size": "10"}]}, "is no size", "10GiB"),
    "zero memory": ({"memory": "0MiB"}, "above zero", "at least 1MiB"),
    "unknown template": ({"disk_template": "floppy"}, "floppy", "drbd, plain, diskless"),
    "unreadable image": ({"image": "/srv/images/none.img"}, "/srv/images/none.img", "readable"),
    "broken image": ({"image": "/srv/images/broken.qcow2"}, "/srv/images/broken.qcow2", "cannot be used"),
    "image too large": ({"disks": [{"size": "4MiB"}]}, "does not fit", "at most 4 MiB"),
    "no such bridge": ({"nics": [{"bridge": "br77"}]}, "br77", "create the bridge"),
    "unknown machine": ({"machine": "pc-i440fx-99.0"}, "pc-i440fx-99.0", "machine type"),
}


@pytest.fixture(name="untouched", scope="module")
def _untouched(cluster):
    """The cluster, which is the same after all refusals of this file together as before."""
    assert cluster.violations() == []
    before = cluster.snapshot()
    yield cluster
    assert cluster.snapshot() == before, "a refused verb changed something"


@pytest.fixture(name="declared")
def _declared(untouched):
    yield lambda name=NAME, **more: untouched.declare(name, **dict(GOOD, **more))
    untouched.forget(NAME)


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_bad_input(case, untouched, declared):
    variables, *words = CASES[case]
    untouched.ssh("node1", "printf 'QFI\\373broken' > /srv/images/broken.qcow2")
    declared(**dict({} if "primary" in variables else {"primary": "node1", "secondary": "node2"}, **variables))
    refused(untouched.play("instance_add", NAME), *words)


def test_a_name_that_is_no_host_name(untouched):
    refused(untouched.play("instance_add", instance_name="bad_name", **GOOD), "is no host name", "web1.example.com")


def test_a_limit_that_matches_nothing(untouched):
    run = untouched.play("instance_start", "nosuch.example.com")
    assert not run.ok and "leaves us with no hosts" in run.text.replace("\n", " ")
    refused(untouched.play("instance_start", "node1"), "Nothing to start", "ansible-inventory --graph gantry_instances")


def test_everything_unasked(untouched, declared):
    declared()
    refused(untouched.play("instance_start"), "unasked", "gantry_all=true")


def test_an_instance_that_was_never_made(untouched, declared):
    declared()
    refused(untouched.play("instance_start", NAME), "Unknown instance", "instance_add")


def test_a_registry_that_cannot_be_opened(untouched, declared):
    declared()
    refused(untouched.play("instance_add", NAME, registry="sqlite:///nowhere/registry.db"), "sqlite:///nowhere/registry.db", "cluster_init")
    refused(untouched.play("instance_add", NAME, registry="paper:///notebook"), "paper")
    (untouched.folder / "no.db").write_text("this is no database " * 100)
    refused(untouched.play("instance_add", NAME, registry="sqlite://%s/no.db" % untouched.folder), "no.db")
    (untouched.folder / "no.db").unlink()


def test_drbd_on_one_node(untouched, declared):
    declared()
    folder = untouched.folder / "one"
    folder.mkdir(exist_ok=True)
    url = "sqlite://%s/registry.db" % folder
    assert untouched.play("cluster_init", cluster_name="one.example.com", registry=url).ok
    node = untouched.registry()["nodes/node1"]
    script = ("from ansible_collections.gantry.cluster.plugins.plugin_utils.cluster_state import ClusterState\n"
              "from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry\n"
              "import json, sys\nClusterState(open_registry(sys.argv[1])).put_node(json.loads(sys.argv[2]))\n")
    untouched.python(script, url, json.dumps(node))
    refused(untouched.play("instance_add", NAME, registry=url), "drbd", "two nodes", "gantry_disk_template: plain")


def test_a_node_whose_libvirtd_does_not_answer(untouched, declared):
    declared(primary="node1", secondary="node2")
    untouched.ssh("node1", "systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service")
    try:
        refused(untouched.play("instance_add", NAME), "node1", "libvirtd does not answer")
    finally:
        untouched.ssh("node1", "systemctl start libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service")
