# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may change on an instance that exists, and whether its nodes can take it: as data."""

from __future__ import annotations

import pathlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import instance_change, instance_spec

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "allocator"))

from worlds import SETTINGS, record, world  # noqa: E402  pylint: disable=wrong-import-position

NIC = {"index": 0, "mode": "bridged", "bridge": "br0", "vlan": None, "ip": None, "mac": "52:54:00:00:00:01", "model": "virtio"}
WHOLE = {"image": None, "iso": None, "kernel": None, "initrd": None, "kernel_args": "", "generation": 3, "nics": [NIC], "hvparams": {},
         "hvparams_settled": {"firmware": "bios", "nic_type": "paravirtual", "pci_devices": [], "tpm": "none"}, "cpu_model": None}


def web(**more):
    """A guest that runs on node1, its mirror on node2."""
    return record("web1", "node1", "node2", **dict(WHOLE, **more))


def run(declared, one=None, others=(), settings=None, force=False, **more):
    """The plan of one instance: what is declared, against a small cluster."""
    one = one or web()
    settings = dict(SETTINGS, **(settings or {}))
    nodes, records, observations = world([one, *others], **more)
    proposal = instance_change.propose("web1", declared, records["web1"], settings)
    return instance_change.plan([proposal], records, nodes, observations, settings, force)["web1"]


def code(declared, *args, **more):
    """The code of the refusal."""
    with pytest.raises(GantryError) as refusal:
        run(declared, *args, **more)
    assert refusal.value.expected, "nothing says what would be right"
    return refusal.value.code


def test_what_is_not_declared_says_nothing():
    plan = run({})
    assert plan == {"to_do": False, "changes": {}, "generation": 3, "rows": []}
    plan = run({"gantry_memory": "1GiB", "gantry_vcpus": "1", "gantry_nics": ["br0"], "gantry_machine": "pc", "gantry_disks": "10GiB",
                "gantry_primary": "node9", "gantry_start": False, "gantry_tags": [], "gantry_hvparams": {}, "gantry_kernel_args": ""})
    assert not plan["to_do"], plan


@given(st.sampled_from(["kvm", "lxc", "xen-pv", "xen-pvh", "xen-hvm", "fake"]), st.integers(1, 64), st.integers(1, 8), st.booleans(),
       st.lists(st.sampled_from(["br0", "br1"]), max_size=3), st.lists(st.sampled_from(["a", "b"]), unique=True))
def test_a_record_declares_itself(kind, memory, vcpus, args, bridges, tags):
    """Whatever an instance was made of, declared as it is it does not change."""
    backend = hypervisors.backend(kind)
    kernel = "/boot/k" if "kernel_path" in backend.parameters else None
    spec = instance_spec.parse("web1", {
        "gantry_memory": "%dMiB" % memory, "gantry_vcpus": vcpus, "gantry_hypervisor": kind, "gantry_disks": "1GiB", "gantry_nics": bridges,
        "gantry_kernel": kernel, "gantry_kernel_args": "ro" if args and "kernel_args" in backend.parameters else "", "gantry_tags": tags})
    one = dict(record("web1", "node1", "node2"), **{key: spec[key] for key in (
        "memory_mib", "vcpus", "hypervisor", "disk_template", "nics", "image", "iso", "kernel", "initrd", "kernel_args", "tags",
        "hvparams", "domain_template")}, machine="pc-1.0" if backend.versioned_machines else backend.machine, disks=[
            {"index": 0, "name": "web1-disk0", "template": "drbd", "vg": "gantry", "size_mib": 1024, "nodes": {}}])
    one["nics"] = [dict(nic, mac="52:54:00:00:00:0%d" % nic["index"], model=backend.nic_model(backend.defaults())) for nic in one["nics"]]
    again = instance_spec.parse("web1", instance_spec.declared_as(one))
    assert instance_spec.differences(again, one) == []
    assert instance_change.changes(instance_change.propose("web1", instance_spec.declared_as(one), one, SETTINGS)) == {}


def test_each_setting_that_can_change_does():
    plan = run({"gantry_memory": "2GiB", "gantry_vcpus": 2, "gantry_hvparams": "vga=virtio,cpu_type=host", "gantry_iso": "/srv/a.iso",
                "gantry_tags": ["shop"], "gantry_domain_template": "own.xml.j2"}, node1={"paths": {"/srv/a.iso": {"ok": True}}},
               node2={"paths": {"/srv/a.iso": {"ok": True}}})
    assert plan["to_do"] and plan["changes"] == {
        "memory_mib": 2048, "vcpus": 2, "hvparams": {"vga": "virtio", "cpu_type": "host"}, "iso": "/srv/a.iso", "tags": ["shop"],
        "domain_template": "own.xml.j2"}
    assert ["web1", "memory", "1 GiB", "2 GiB"] in plan["rows"] and ["web1", "vga", "-", "virtio"] in plan["rows"]


def test_declared_empty_is_taken_away():
    one = web(hvparams={"vga": "cirrus"}, iso="/srv/a.iso", tags=["shop"], domain_template="own.xml.j2")
    assert run({}, one)["changes"] == {}
    plan = run({"gantry_hvparams": "", "gantry_iso": "", "gantry_tags": "", "gantry_domain_template": "", "gantry_nics": ""}, one)
    assert plan["changes"] == {"hvparams": {}, "iso": None, "tags": [], "domain_template": None, "nics": []}


@pytest.mark.parametrize(("declared", "expected"), [
    ({"gantry_hypervisor": "lxc"}, "not_changeable"),
    ({"gantry_disk_template": "plain"}, "not_changeable"),
    ({"gantry_disks": ["20GiB"]}, "not_changeable"),
    ({"gantry_disks": ["10GiB", "1GiB"]}, "not_changeable"),
    ({"gantry_image": "/srv/other.img"}, "not_changeable"),
    ({"gantry_hvparams": {"firmware": "efi"}}, "not_changeable"),
    ({"gantry_hvparams": {"pci_devices": ["0000:03:00.0"]}}, "not_changeable"),
    ({"gantry_hvparams": {"disk_cache": "writeback"}}, "bad_hvparam"),
    ({"gantry_hvparams": {"vga": "none such"}}, "bad_hvparam"),
    ({"gantry_nics": [{"bridge": "br0"}, {"bridge": "br0", "mac": NIC["mac"]}]}, "bad_nic"),
    ({"gantry_memory": "much"}, "bad_size"),
    ({"gantry_nics": ["br7"]}, "no_bridge"),
    ({"gantry_hvparams": {"cpu_mask": "0-63"}}, "no_cpu"),
    ({"gantry_iso": "/srv/none.iso"}, "unreadable_image"),
    ({"gantry_machine": "q35"}, "no_machine_type"),
    ({"gantry_memory": "64GiB"}, "no_space"),
])
def test_what_cannot_be_is_refused(declared, expected):
    assert code(declared) == expected


def test_what_was_lacking_before_is_not_held_against_a_change():
    one = web(nics=[dict(NIC, bridge="gone0")], iso="/srv/gone.iso")
    assert run({"gantry_memory": "512MiB"}, one)["changes"] == {"memory_mib": 512}
    assert code({"gantry_nics": ["gone0", "gone1"]}, one) == "no_bridge"


def test_cards_keep_what_is_their_own():
    plan = run({"gantry_nics": [{"bridge": "br0", "model": "e1000"}, "br0"]})
    first, second = plan["changes"]["nics"]
    assert first == dict(NIC, model="e1000") and second["mac"] is None and second["model"] == "virtio"
    assert ["web1", "NIC 1", "-", "bridged br0 virtio a new MAC address"] in plan["rows"]


def test_an_older_record_s_card_is_the_same_card():
    old = {"index": 0, "bridge": "br0", "mac": NIC["mac"], "model": "virtio"}
    assert run({"gantry_nics": ["br0"]}, web(nics=[old]))["changes"] == {}


def test_a_machine_is_pinned_to_what_its_nodes_know():
    libvirt = {"ok": True, "error": None, "machine_list": ["pc-1.0", "pc-1.1"], "domain_types": ["kvm"], "machines": {"pc": "pc-1.1"}}
    assert run({"gantry_machine": "pc"}, node1={"libvirt": libvirt}, node2={"libvirt": libvirt})["changes"] == {}
    assert run({"gantry_machine": "pc-1.1"}, node1={"libvirt": libvirt}, node2={"libvirt": libvirt})["changes"] == {"machine": "pc-1.1"}
    assert code({"gantry_machine": "pc-1.1"}, node1={"libvirt": libvirt}) == "no_machine_type"


def test_a_processor_that_becomes_the_baseline_is_pinned():
    libvirt = {"ok": True, "error": None, "machine_list": ["pc-1.0"], "domain_types": ["kvm"], "machines": {}, "cpu_models": ["qemu64"]}
    one = web(hvparams={"cpu_type": "host"})
    plan = run({"gantry_hvparams": {}}, one, **{name: {"libvirt": libvirt} for name in ("node1", "node2", "node3")})
    assert plan["changes"] == {"hvparams": {}, "cpu_model": "qemu64"}


def test_room_is_wanted_on_the_node_and_for_its_loss():
    other = record("db1", "node2", "node1", memory=8192)
    # 16 GiB each: node2 has 8 GiB left, and would have to start web1 if node1 died
    assert run({"gantry_memory": "7GiB"}, others=[other])["changes"] == {"memory_mib": 7168}
    assert code({"gantry_memory": "9GiB"}, others=[other]) == "no_space"
    assert run({"gantry_memory": "9GiB"}, others=[other], force=True)["changes"] == {"memory_mib": 9216}
    assert run({"gantry_memory": "512MiB"}, others=[other])["to_do"], "less needs no room"


def test_one_that_is_off_must_fit_its_nodes():
    one = web(admin_state="down")
    assert run({"gantry_memory": "15GiB"}, one)["to_do"]
    assert code({"gantry_memory": "17GiB"}, one) == "no_space"


def test_a_policy_counts():
    policy = {"ipolicy": {"minmax": [{"min": {"memory-size": 128}, "max": {"memory-size": 2048}}]}}
    assert run({"gantry_memory": "2GiB"}, settings=policy)["to_do"]
    assert code({"gantry_memory": "3GiB"}, settings=policy) == "no_space"


def test_silent_and_offline_nodes():
    assert code({"gantry_vcpus": 2}, node1=None, force=True) == "unreachable", "its primary has to take the change"
    assert code({"gantry_tags": ["a"]}, node2=None) == "unreachable"
    assert run({"gantry_tags": ["a"]}, node2=None, force=True)["to_do"]
    assert run({"gantry_tags": ["a"]}, flags={"node2": {"offline": True}})["to_do"]
    assert code({"gantry_tags": ["a"]}, flags={"node1": {"offline": True}}) == "unreachable"


def test_a_guest_on_another_node_is_not_touched():
    one = web()
    domains = [{"name": "web1", "uuid": one["uuid"], "state": "running", "memory_mib": 1024}]
    assert code({"gantry_tags": ["a"]}, one, node2={"domains": domains}) == "wrong_node"


def test_only_instances_that_are_there():
    for one in (None, web(status="creating")):
        with pytest.raises(GantryError) as refusal:
            instance_change.propose("web1", {}, one, SETTINGS)
        assert refusal.value.code == ("interrupted" if one else "unknown_instance")


def test_a_run_that_was_cut_off_has_something_to_do():
    assert run({}, web(pending={"verb": "modify", "params": {}}))["to_do"]
    assert not run({}, web(pending={"verb": "migrate", "params": {}}))["to_do"]


def test_who_has_to_be_asked():
    nodes, records, _seen = world([web()])
    for declared, expected in (({}, []), ({"gantry_tags": ["a"]}, ["node1", "node2"]), ({"gantry_memory": "512MiB"}, ["node1", "node2"]),
                               ({"gantry_memory": "2GiB"}, ["node1", "node2", "node3"])):
        assert instance_change.to_ask([instance_change.propose("web1", declared, records["web1"], SETTINGS)], nodes)[0] == expected
