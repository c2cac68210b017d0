# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook cluster_recover with stand-ins for nodes: a lost registry comes back whole, once, and tells no secret."""

from __future__ import annotations

import copy

import pytest
from fake_nodes import PLAYBOOKS, FakeNodes

from ansible_collections.gantry.cluster.plugins.module_utils import generation, node_memory
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import resource_file
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.files import Files
from ansible_collections.gantry.cluster.plugins.plugin_utils import allocation, recover
from ansible_collections.gantry.cluster.plugins.plugin_utils.cluster_state import ClusterState
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry

#: Whole playbooks run against stand-in nodes: too slow for script/test --fast.
pytestmark = pytest.mark.playbook

RECOVER = PLAYBOOKS / "cluster_recover.yml"
NAME = ("-e", "gantry_cluster_name=test.example.com")
OWN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6VMC1cp32Teynkeg8Mu+D1qf2IoH9BMgBl3b7ZxNtl"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDeBNXguVA5XJJchjLoin6pwwL/68SwHomnsmfnie7Nj"
NODES = {"node1": "10.0.0.1", "node2": "10.0.0.2"}


def make_cluster(folder):
    """A cluster of two nodes and two instances in a registry; returns its state."""
    state = ClusterState(open_registry("sqlite://%s/old.db" % folder, create=True))
    state.init({"name": "test.example.com"})
    for name, address in NODES.items():
        state.put_node(dict(node_of(name), address=address))
    where = {node: {"hostname": node, "address": address} for node, address in NODES.items()}
    for number, name in enumerate(("web1", "web2")):
        plan = {"name": name, "uuid": "uuid-of-" + name, "primary": "node1", "secondary": "node2", "admin_state": "up", "tags": [],
                "disk_template": "drbd", "hypervisor": "kvm", "memory_mib": 32, "machine": "pc", "domain_type": "qemu", "nodes": where,
                "nics": [{"index": 0, "bridge": "br0", "mac": None, "model": "virtio"}], "group": "default", "vcpus": 1,
                "disks": [{"index": 0, "name": name + "-disk0", "template": "drbd", "size_mib": 64, "vg": "gantry", "nodes": where}],
                "in_use": {"minors": [number]}}
        operation = state.begin(name, "add", plan=plan)
        state.end(operation, "done", {"status": "ready"})
    return state


def node_of(name):
    """A node's record as node_register writes it."""
    return {"name": name, "hostname": name, "address": NODES[name], "vg": "gantry", "group": "default", "tags": [],
            "migration_user": "gantry-migrate", "migration_public_key": "ssh-ed25519 AAAA" + name,
            "ssh_host_keys": ["ssh-ed25519 BBBB" + name], "hypervisors": ["kvm"], "offline": False, "drained": False}


def held_by(state, node):
    """What a node of that cluster holds: the records as a claim of the last operation stored them."""
    memory = {
        "hostname": node, "migration_public_key": "ssh-ed25519 AAAA" + node, "ssh_host_keys": ["ssh-ed25519 BBBB" + node],
        "records": {}, "domains": [], "volumes": [], "drbd_resources": {}, "resource_secrets": {},
        "lvm": {"ok": True}, "libvirt": {"ok": True},
    }
    for name, record in state.instances().items():
        uuid, disk = record["uuid"], record["disks"][0]
        # a creation is written down on the nodes before it has ended
        stored = dict(record, status="creating")
        memory["records"][uuid] = {"generation": record["generation"], "record": stored}
        if node == "node1":
            memory["domains"].append({"name": name, "uuid": uuid, "state": "running", "reason": "booted"})
        memory["volumes"] += [{"vg": "gantry", "name": disk["name"] + tail, "tags": ["gantry", "gantry.instance=" + uuid]}
                              for tail in ("", "-meta")]
        text = resource_file.render(disk, state.secrets_of(uuid)["0"], uuid)
        memory["resource_secrets"][disk["name"]] = dict(resource_file.describe(text, "test")[disk["name"]], uuid=uuid)
    return memory


@pytest.fixture(name="lost")
def _lost(tmp_path):
    """The old registry's state, and nodes that hold what it held, with a new registry's URL."""
    old = make_cluster(tmp_path)
    nodes = FakeNodes(tmp_path, "sqlite://%s/new.db" % tmp_path, {
        name: {"gantry_node_address": address} for name, address in NODES.items()})
    for name in NODES:
        nodes.answer(name, node_memory={"changed": False, "memory": held_by(old, name)})
    return old, nodes


def new_state(nodes):
    """The recovered registry."""
    return ClusterState(open_registry(nodes.url))


def test_a_lost_registry_comes_back(lost):
    old, nodes = lost
    code, text = nodes.play(RECOVER, *NAME, "--check", "--diff")
    assert code == 0 and "+    web1:" in text and "changed=2" in text, text
    with pytest.raises(GantryError) as missing:
        new_state(nodes)
    assert missing.value.code == "no_registry", "check mode made a registry"

    code, text = nodes.play(RECOVER, *NAME, "--diff", "-vvv")
    assert code == 0 and text.count("restored") >= 4, text
    new = new_state(nodes)
    assert new.instances() == old.instances() and new.nodes() == old.nodes()
    assert new.content()["allocations"] == old.content()["allocations"]
    for name in ("web1", "web2"):
        secrets = old.secrets_of("uuid-of-" + name)
        assert new.secrets_of("uuid-of-" + name) == secrets
        assert secrets["0"] not in text, "a secret is told"
    assert nodes.calls().count("node1 node_memory") == 2 and len(nodes.calls()) == 4, "one call for each node and run"

    revision = new.registry.range("").revision
    code, text = nodes.play(RECOVER, *NAME)
    assert code == 0 and "changed=1" not in text and text.count("known") == 4, text
    assert new.registry.range("").revision == revision, "the second run wrote"

    # verbs go on: the next generation is above what the nodes have seen, the numbers are not handed out again
    operation = new.begin("web1", "stop")
    assert operation["generation"] == old.instance("web1")["generation"] + 1
    new.end(operation, "done")


def test_only_what_is_missing_is_added(lost):
    old, nodes = lost
    assert nodes.play(RECOVER, *NAME)[0] == 0
    new = new_state(nodes)
    new.end(new.begin("web1", "stop"), "done", {"admin_state": "down"})
    new.end(new.begin("web2", "remove"), "done", remove=True)
    new.put_node({"name": "node2", "drained": True})
    kept = new.instance("web1")
    code, text = nodes.play(RECOVER, *NAME)
    assert code == 0, text
    assert new.instance("web1") == kept and new.nodes()["node2"]["drained"] is True
    assert new.instance("web2") == old.instance("web2")


def test_a_silent_node_leaves_its_instances_out(lost):
    _old, nodes = lost
    nodes.silence("node2")
    code, text = nodes.play(RECOVER, *NAME)
    assert code == 2 and "Left out" in text and "newer record" in text, text
    assert new_state(nodes).instances() == {} and list(new_state(nodes).nodes()) == ["node1"]
    code, text = nodes.play(RECOVER, *NAME, "-e", '{"gantry_recover_accept": {"web1": "node1"}}')
    assert code == 2 and list(new_state(nodes).instances()) == ["web1"], text


def test_a_node_that_never_was_one_is_left_out(lost):
    old, nodes = lost
    nodes.answer("node2", node_memory={"changed": False, "memory": dict(held_by(old, "node2"), migration_public_key=None)})
    code, text = nodes.play(RECOVER, *NAME)
    assert code == 2 and "run node_add for it" in " ".join(text.split()) and list(new_state(nodes).nodes()) == ["node1"], text


def test_a_module_that_fails_on_a_node_says_why(lost):
    _old, nodes = lost
    nodes.answer("node2", node_memory={"failed": True, "msg": "no permission"})
    code, text = nodes.play(RECOVER, *NAME)
    assert code == 2 and "no permission" in text, text


def test_reading_without_no_log_is_refused(lost):
    _old, nodes = lost
    (nodes.folder / "open.yml").write_text("- hosts: node1\n  gather_facts: false\n  tasks:\n    - gantry.cluster.node_memory:\n")
    code, text = nodes.play(nodes.folder / "open.yml")
    assert code == 2 and "no_log: true" in text and nodes.calls() == [], text


def test_two_instances_of_one_name_are_left_out(lost):
    old, _nodes = lost
    memories = {name: {"reachable": True, "memory": held_by(old, name)} for name in NODES}
    for memory in memories.values():
        twin = copy.deepcopy(memory["memory"]["records"]["uuid-of-web2"])
        twin["record"].update(name="web1")
        memory["memory"]["records"]["uuid-of-web2"] = twin
    found = recover.merge(memories, {"instances": {}, "allocations": None})
    assert [entry["result"] for entry in found] == [recover.LEFT_OUT, recover.LEFT_OUT]


def test_a_record_is_never_written_over_another(lost):
    old, nodes = lost
    assert nodes.play(RECOVER, *NAME)[0] == 0
    new, record = new_state(nodes), old.instance("web1")
    with pytest.raises(GantryError) as refusal:
        new.restore(record, {})
    assert refusal.value.code == "duplicate"
    with pytest.raises(GantryError) as refusal:
        new.restore(dict(record, name="web3", uuid="uuid-of-web3"), {})
    assert refusal.value.code == "number_taken" and new.instance("web3") is None
    assert set(new.content()["allocations"]) == set(allocation.KINDS)


def test_what_a_node_holds_is_read(tmp_path, monkeypatch):
    """The module's reading, on a folder in place of the node's root."""
    old = make_cluster(tmp_path)
    root = tmp_path / "root"
    record = old.instance("web1")
    for folder in ("etc/drbd.d", "etc/gantry/migration", "etc/ssh"):
        (root / folder).mkdir(parents=True)
    secret = old.secrets_of("uuid-of-web1")["0"]
    (root / "etc/drbd.d/web1-disk0.res").write_text(resource_file.render(record["disks"][0], secret, "uuid-of-web1"))
    (root / "etc/drbd.d/foreign.res").write_text('resource "foreign" { net { shared-secret "theirs"; } }\n')
    (root / "etc/drbd.d/broken.res").write_text('# gantry.instance=uuid-of-web9\nresource "broken" { net { shared-secret "%s\n' % secret)
    (root / "etc/gantry/migration/id_ed25519.pub").write_text(OWN_KEY + " node1\n")
    (root / "etc/ssh/ssh_host_ed25519_key.pub").write_text(HOST_KEY + " root\n")
    monkeypatch.setattr(node_memory.node_facts, "collect", lambda *_args, **_more: {"records": generation.load_all(str(tmp_path / "no"))})
    memory = node_memory.collect(Executor(), [], 5, Files(str(root)))
    assert memory["migration_public_key"] == OWN_KEY
    assert memory["ssh_host_keys"] == [HOST_KEY]
    assert sorted(memory["resource_secrets"]) == ["broken", "web1-disk0"], "foreign secrets are none of ours"
    entry = memory["resource_secrets"]["web1-disk0"]
    assert entry["secret"] == secret and entry["uuid"] == "uuid-of-web1"
    assert entry["hosts"]["node1"] == {"minors": [record["disks"][0]["nodes"]["node1"]["minor"]], "ports": [record["disks"][0]["port"]]}
    assert secret not in memory["resource_secrets"]["broken"]["error"]


def test_a_plain_node_holds_nothing(tmp_path):
    assert node_memory.resource_secrets(str(tmp_path / "none")) == {}
    assert node_memory.public_key(Files(str(tmp_path))) is None
