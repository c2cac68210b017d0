# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How network cards are connected, and whether a node can run an instance and take it over while it runs."""

from __future__ import annotations

import json

import pytest
from records import make_record, text_of

from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition, libvirt_facts, nic_script
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor import xen
from ansible_collections.gantry.cluster.plugins.plugin_utils import cpu_baseline, nic_spec, suitability
from ansible_collections.gantry.cluster.plugins.plugin_utils.domain_xml import render

MAC = "52:54:00:aa:bb:cc"


def card(hypervisor="kvm", **settings):
    """One parsed card, connected."""
    return nic_spec.connect(nic_spec.parse("web1", hypervisor, [dict({"mac": MAC}, **settings)])[0])


def interface(nic, kind="kvm"):
    """Its element in the domain."""
    more = {"hvparams": {"kernel_path": "/k"}} if kind == "xen-pv" else {}
    return domain_definition.parse(text_of(make_record(kind, nics=[nic], **more))).find("devices/interface")


BAD = [
    ("kvm", {"bridge": "br0\n"}), ("kvm", {"bridge": "-br0"}), ("kvm", {"bridge": "br0", "mode": "magic"}), ("kvm", {"mode": "routed"}),
    ("kvm", {"mode": "routed", "ip": "10.0.0.0/8"}), ("kvm", {"bridge": "br0", "vlan": 4095}), ("kvm", {"bridge": "br0", "vlan": "1:1"}),
    ("kvm", {"mode": "routed", "ip": "10.0.0.1", "vlan": 5}), ("kvm", {"bridge": "br0", "vlan": True}),
    ("kvm", {"bridge": "br0", "mac": MAC + "\n"}), ("kvm", {"bridge": "br0", "model": "ne2k"}), ("kvm", {"bridge": "br0", "x": 1}),
    ("lxc", {"bridge": "br0", "vlan": 5}), ("lxc", {"mode": "routed", "ip": "10.0.0.1"}), ("lxc", {"bridge": "br0", "model": "virtio"}),
    ("xen-pv", {"bridge": "br0", "vlan": 5}), ("xen-pv", {"bridge": "sw", "mode": "openvswitch", "vlan": ":1:2"}),
    ("xen-pv", {"mode": "routed", "ip": "10.0.0.1"}), ("xen-hvm", {"bridge": "br0", "model": "virtio"}),
]


@pytest.mark.parametrize(("hypervisor", "settings"), BAD)
def test_bad_cards_are_refused(hypervisor, settings):
    with pytest.raises(GantryError) as refused:
        card(hypervisor, **settings)
    assert refused.value.code == "bad_nic" and refused.value.expected


def test_more_than_eight_cards_are_refused():
    with pytest.raises(GantryError):
        nic_spec.parse("web1", "kvm", ["br0"] * 9)


def test_a_bridged_card_is_libvirt_s_own():
    one = interface(card(bridge="br0", model="virtio"))
    assert one.get("type") == "bridge" and one.find("source").get("bridge") == "br0" and one.find("script") is None


def test_open_vswitch():
    one = interface(card(bridge="sw", mode="openvswitch", vlan=".100:200:300", model="virtio"))
    assert one.find("virtualport").get("type") == "openvswitch" and one.find("vlan").get("trunk") == "yes"
    assert [(tag.get("id"), tag.get("nativeMode")) for tag in one.iterfind("vlan/tag")] == [
        ("100", "untagged"), ("200", None), ("300", None)]
    one = interface(card(bridge="sw", mode="openvswitch", vlan=100, model="virtio"))
    assert [tag.get("id") for tag in one.iterfind("vlan/tag")] == ["100"] and one.find("vlan").get("trunk") is None
    one = interface(card("xen-pv", bridge="sw", mode="openvswitch", vlan=100), "xen-pv")
    assert one.find("source").get("bridge") == "sw.100" and one.find("script").get("path").endswith("vif-openvswitch")


@pytest.mark.parametrize(("settings", "wanted"), [
    ({"bridge": "br0", "vlan": 100}, ["ip link set dev T master br0", "bridge vlan del dev T vid 1",
                                      "bridge vlan add dev T vid 100 pvid untagged", "ip link set dev T up"]),
    ({"bridge": "br0", "vlan": ".100:200"}, ["ip link set dev T master br0", "bridge vlan del dev T vid 1",
                                             "bridge vlan add dev T vid 100 pvid untagged", "bridge vlan add dev T vid 200",
                                             "ip link set dev T up"]),
    ({"bridge": "br0", "vlan": ":7"}, ["ip link set dev T master br0", "bridge vlan del dev T vid 1", "bridge vlan add dev T vid 7",
                                       "ip link set dev T up"]),
    ({"mode": "routed", "ip": "192.0.2.9"}, [
        "ip link set dev T up", "sysctl -q -w net.ipv4.conf.T.proxy_arp=1 net.ipv4.conf.T.forwarding=1",
        "ip -4 route replace 192.0.2.9 dev T"]),
    ({"mode": "routed", "ip": "2001:db8::9", "link": "guests"}, [
        "ip link set dev T up", "sysctl -q -w net.ipv6.conf.T.proxy_ndp=1 net.ipv6.conf.T.forwarding=1",
        "ip -6 route replace 2001:db8::9 dev T table guests"]),
])
def test_the_script_connects_the_rest(settings, wanted, tmp_path):
    nic = card(model="virtio", **settings)
    one = interface(nic)
    assert one.get("type") == "ethernet" and one.find("script").get("path") == nic_script.PATH
    tap = one.find("target").get("dev")
    assert len(tap) <= 15
    script = {"__name__": "script"}
    exec(compile(nic_script.TEXT, "script", "exec"), script)
    (tmp_path / "a.json").write_text("{", encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps({"record": {"nics": [nic]}}), encoding="utf-8")
    found = script["find"](tap, str(tmp_path))
    assert [" ".join(argv).replace(tap, "T") for argv, _may_fail in script["commands"](found, tap)] == wanted
    assert script["find"]("vnet0", str(tmp_path)) is None


def node(**more):
    """What a node shows that has everything."""
    return dict({
        "machines": ["pc-i440fx-7.2"], "domain_types": ["kvm", "qemu"], "cpu_models": ["Nehalem"], "bridges": ["br0", "br1"],
        "ovs_bridges": ["sw"], "vlan_bridges": ["br1"], "pci_devices": ["0000:03:00.0"], "cpus": 4, "cpu": {"model": "X", "features": "1"},
        "libvirt_version": "9.0.0", "qemu_version": "7.2.22", "tpm": {"lacking": [], "hook": True}}, **more)


LACKS = [
    ({}, {}, None), ({"machine": "pc-i440fx-8.0"}, {}, "no_machine_type"), ({"domain_type": "xen"}, {}, "no_domain_type"),
    ({"nics": [card(bridge="br9")]}, {}, "no_bridge"), ({"nics": [card(bridge="br0", vlan=5)]}, {}, "no_bridge"),
    ({"nics": [card(bridge="br1", vlan=5)]}, {}, None), ({"nics": [card(bridge="br0", mode="openvswitch")]}, {}, "no_bridge"),
    ({"nics": [card(bridge="sw", mode="openvswitch")]}, {}, None), ({"nics": [card(mode="routed", ip="192.0.2.1")]}, {}, None),
    ({"hvparams": {"cpu_type": "EPYC"}}, {}, "no_cpu_model"), ({"hvparams": {"cpu_type": "Nehalem"}}, {}, None),
    ({"cpu_model": "Haswell"}, {}, "no_cpu_model"), ({"hvparams": {"cpu_type": "EPYC"}}, {"cpu_models": []}, None),
    ({"hvparams": {"pci_devices": ["0000:04:00.0"]}}, {}, "no_pci_device"), ({"hvparams": {"pci_devices": ["0000:03:00.0"]}}, {}, None),
    ({"hvparams": {"tpm": "2.0"}}, {}, None), ({"hvparams": {"tpm": "2.0"}}, {"tpm": {"lacking": [], "hook": False}}, "no_tpm"),
    ({"hvparams": {"tpm": "2.0"}}, {"tpm": {"lacking": ["swtpm"], "hook": True}}, "no_tpm"), ({}, {"tpm": {"lacking": ["swtpm"]}}, None),
    ({"hvparams": {"tpm": "2.0"}}, {"libvirt_version": "8.10.0"}, "no_tpm"),
    ({"hvparams": {"tpm": "2.0"}}, {"libvirt_version": None}, None),
    ({"hvparams": {"tpm": "2.0"}}, {"tpm": None}, None), ({"hvparams": {"tpm": "2.0"}, "disk_template": "plain"}, {"tpm": {}}, None),
    ({"hvparams": {"cpu_mask": "0-4"}}, {}, "no_cpu"), ({"hvparams": {"cpu_mask": "0-3:all"}}, {}, None),
]


@pytest.mark.parametrize(("record", "changes", "code"), LACKS)
def test_what_a_node_lacks(record, changes, code):
    found = suitability.lacks(make_record(**record), node(**changes))
    assert [one["code"] for one in found] == ([code] if code else [])


OBSTACLES = [
    ("kvm", {}, {}, None), ("kvm", {"pci_devices": ["0000:03:00.0"]}, {}, "not_migratable"),
    ("kvm", {}, {"qemu_version": "7.1.0"}, "older_version"), ("kvm", {}, {"qemu_version": "7.2.1"}, None),
    ("kvm", {}, {"qemu_version": "10.0.2"}, None), ("kvm", {}, {"libvirt_version": "8.10.0"}, "older_version"),
    ("kvm", {}, {"qemu_version": None}, None), ("kvm", {"cpu_type": "host"}, {"cpu": {"model": "X", "features": "2"}}, "other_cpu"),
    ("kvm", {"cpu_type": "host"}, {}, None), ("kvm", {"cpu_type": "baseline"}, {"cpu": {"model": "Y", "features": "2"}}, None),
    ("lxc", {}, {}, "not_migratable"), ("xen-hvm", {}, {}, None), ("xen-hvm", {"pci_devices": ["0000:03:00.0"]}, {}, "not_migratable"),
]


@pytest.mark.parametrize(("kind", "values", "target", "code"), OBSTACLES)
def test_what_keeps_a_guest_where_it_is(kind, values, target, code):
    record = make_record(kind, hvparams=values, domain_type="kvm" if kind == "kvm" else kind)
    found = suitability.migration_obstacles(record, node(), node(**target))
    assert [one["code"] for one in found] == ([code] if code else [])
    assert all("failover" in one["mend"] for one in found)


@pytest.mark.parametrize(("lists", "wanted"), [
    ([["Nehalem", "Haswell", "qemu64"], ["Nehalem", "Westmere", "qemu64"]], "Nehalem"),
    ([["Skylake-Server-IBRS", "Skylake-Server-noTSX-IBRS", "Haswell"]], "Skylake-Server-noTSX-IBRS"),
    ([["EPYC", "EPYC-Rome", "EPYC-IBPB", "kvm64"], ["EPYC-IBPB", "EPYC", "kvm64"]], "EPYC-IBPB"),
    ([["Haswell", "kvm64"], ["EPYC", "kvm64"]], "kvm64"), ([["Haswell"], ["EPYC"]], None), ([], None)])
def test_the_baseline_is_the_best_that_all_have(lists, wanted):
    assert cpu_baseline.best(lists) == wanted


def test_a_user_s_template_finds_our_parts(tmp_path):
    from records import FOLDER
    own = tmp_path / "mine.xml.j2"
    own.write_text((FOLDER / "domain_kvm.xml.j2").read_text(encoding="utf-8").replace("<acpi/>", "<acpi/><pae/>"), encoding="utf-8")
    text = render(make_record(), own.read_text(encoding="utf-8"), source=str(own), folders=[tmp_path, FOLDER])
    assert domain_definition.parse(text).find("features/pae") is not None


class Dom0:
    """libvirt's connection to Xen, as far as it is asked."""

    @staticmethod
    def getCapabilities():
        return ("<capabilities><guest><os_type>xen</os_type><arch name='x86_64'><machine>xenpv</machine><domain type='xen'/></arch></guest>"
                "<guest><os_type>hvm</os_type><arch name='x86_64'><machine>xenfv</machine><domain type='xen'/></arch></guest>"
                "</capabilities>")

    @staticmethod
    def getInfo():
        return ["x86_64", 4096, 2, 2000, 1, 1, 2, 1]

    @staticmethod
    def getFreeMemory():
        return 2048 * 1024 ** 2


def test_a_xen_node_s_memory_is_the_machine_s():
    """dom0's kernel sees its own share only, and placement would think the node full."""
    found = xen.XenPv().abilities(Dom0(), "x86_64")
    assert found["domain_types"] == ["xen"] and found["machine_list"] == ["xenfv", "xenpv"]
    text = json.dumps({"uri": xen.Xen.uri, "libvirt": dict(found, ok=True, error=None)}) + "\n"
    daemon, _domains = libvirt_facts.merge(text, [xen.Xen.uri], 1)
    assert daemon["memory"] == {"memory_total_mib": 4096, "memory_free_mib": 2048}


def test_a_guest_that_its_xen_cannot_send_is_no_candidate_for_a_move():
    record = make_record("xen-pv", hvparams={"kernel_path": "/boot/vmlinuz"})
    assert suitability.bound_to_node(record, node(virt_caps=["pv"])) and not suitability.bound_to_node(record, node(virt_caps=None))
    assert suitability.bound_to_node(record) == [] == suitability.bound_to_node(
        make_record("xen-pv", hvparams={"kernel_path": "/boot/vmlinuz", "migration_mode": "non-live"}), node(virt_caps=["pv"]))
