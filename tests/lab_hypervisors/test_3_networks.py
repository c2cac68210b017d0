# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of network card on real nodes: a VLAN-aware bridge, a route, Open vSwitch; where a guest goes they are looked for first."""

from __future__ import annotations

import json

import pytest

from lab.driver import refused

NAME = "cards.example.com"
BRIDGE, SWITCH, ADDRESS = "lanv", "sw0", "192.0.2.77"
CARDS = [
    {"bridge": BRIDGE, "vlan": 100},
    {"bridge": BRIDGE, "vlan": ".100:200:300"},
    {"mode": "routed", "ip": ADDRESS},
    {"mode": "openvswitch", "link": SWITCH, "vlan": ".10:20:30"},
]


@pytest.fixture(name="switches")
def _switches(clean):
    """Starts Open vSwitch; what the test makes of networks is taken away again."""
    for node in clean.nodes:
        clean.ssh(node, "systemctl start openvswitch-switch")
    yield
    for node in clean.nodes:
        clean.ssh(node, "ip link delete %s; ovs-vsctl --if-exists del-br %s; systemctl stop openvswitch-switch; true" % (BRIDGE, SWITCH))


def filtering(cluster, node):
    """Make a bridge that knows VLANs, as docs/hypervisors.md says it."""
    cluster.ssh(node, "ip link set %s type bridge vlan_filtering 1 vlan_default_pvid 0" % BRIDGE)


def shown(cluster, node):
    """What connects the guest's cards on a node, as the kernel and the switch tell it, in the order of the cards."""
    ports = [nic.get("tap") for nic in cluster.instance(NAME)["nics"]]
    found = []
    for port in ports[:2]:
        told = json.loads(cluster.ssh(node, "bridge -j vlan show dev %s 2>/dev/null" % port, check=False) or "[]")
        link = json.loads(cluster.ssh(node, "ip -j link show dev %s 2>/dev/null" % port, check=False) or "[]")
        found.append([(one["vlan"], "PVID" in one.get("flags", [])) for one in told[0]["vlans"]] + [link[0]["master"]] if told else None)
    route = json.loads(cluster.ssh(node, "ip -j route show %s" % ADDRESS) or "[]")
    found.append([one["dev"] == ports[2] for one in route] + [cluster.ssh(
        node, "cat /proc/sys/net/ipv4/conf/%s/proxy_arp" % ports[2]).strip()] if route else None)
    names = cluster.ssh(node, "ovs-vsctl list-ports %s 2>/dev/null" % SWITCH, check=False).split()
    tags = [cluster.ssh(node, "ovs-vsctl get port %s %s" % (name, key)).strip() for name in names for key in ("tag", "trunks", "vlan_mode")]
    found.append(tags or None)
    return found


#: What has to be shown for :data:`CARDS`.
CONNECTED = [
    [(100, True), BRIDGE],
    [(100, True), (200, False), (300, False), BRIDGE],
    [True, "1"],
    ["10", "[10, 20, 30]", "native-untagged"],
]


@pytest.mark.flavour("kvm")
def test_cards_are_connected_where_the_guest_is(clean, guest, switches):
    cluster = clean
    guest(NAME, primary="node1", secondary="node2", nics=CARDS)
    refused(cluster.play("instance_add", NAME), "no bridge " + BRIDGE)
    for node in cluster.nodes:
        cluster.ssh(node, "ip link add %s type bridge && ip link set %s up" % (BRIDGE, BRIDGE))
    refused(cluster.play("instance_add", NAME), "bridge %s does not know VLANs" % BRIDGE)
    for node in cluster.nodes:
        filtering(cluster, node)
    refused(cluster.play("instance_add", NAME), "no Open vSwitch bridge " + SWITCH)
    for node in cluster.nodes:
        cluster.ssh(node, "ovs-vsctl add-br " + SWITCH)
    run = cluster.play("instance_add", NAME)
    assert run.ok and cluster.violations() == [], run.text
    prefix = cluster.registry()["cluster"]["mac_prefix"]
    macs = [nic["mac"] for nic in cluster.instance(NAME)["nics"]]
    taps = [nic.get("tap") for nic in cluster.instance(NAME)["nics"]]
    assert all(mac.startswith(prefix + ":") for mac in macs) and len(set(macs)) == len(CARDS), (prefix, macs)
    assert shown(cluster, "node1") == CONNECTED
    assert shown(cluster, "node2") == [None] * len(CARDS)

    # the target has lost what the cards need: nothing is sent
    watch = cluster.watch(NAME)
    try:
        watch.wait_beyond(5)
        cluster.ssh("node2", "ip link delete " + BRIDGE)
        refused(cluster.play("instance_migrate", NAME, target_node="node2"), "no bridge " + BRIDGE, "node2")
        cluster.ssh("node2", "ip link add %s type bridge && ip link set %s up" % (BRIDGE, BRIDGE))
        filtering(cluster, "node2")
        cluster.ssh("node2", "ovs-vsctl del-br " + SWITCH)
        refused(cluster.play("instance_migrate", NAME, target_node="node2"), "no Open vSwitch bridge " + SWITCH, "node2")
        cluster.ssh("node2", "ovs-vsctl add-br " + SWITCH)

        before = watch.last
        run = cluster.play("instance_migrate", NAME, target_node="node2")
        assert run.ok and cluster.violations() == [], run.text
        watch.wait_beyond(before)
        assert shown(cluster, "node2") == CONNECTED
        assert shown(cluster, "node1") == [None] * len(CARDS)
        run = cluster.play("instance_failover", NAME, target_node="node1")
        assert run.ok and cluster.violations() == [], run.text
        assert shown(cluster, "node1") == CONNECTED

        # cards that change do so at the next start, and keep the addresses that they have
        refused(cluster.play("instance_modify", NAME, nics=CARDS + [{"bridge": "none0"}]), "no bridge none0")
        run = cluster.play("instance_modify", NAME, nics=[CARDS[1], CARDS[0], CARDS[2]])
        assert run.ok and cluster.violations() == [] and "For its next start" in run.words, run.text
        assert cluster.play("instance_modify", NAME, nics=[CARDS[1], CARDS[0], CARDS[2]]).changed == 0
        nics = cluster.instance(NAME)["nics"]
        assert [nic["mac"] for nic in nics] == macs[:3] and nics[2]["tap"] == taps[2]
        run = cluster.play("instance_reboot", NAME)
        assert run.ok and cluster.violations() == [], run.text
        watch.wait_beyond(watch.last)
        assert shown(cluster, "node1") == [CONNECTED[1], CONNECTED[0], CONNECTED[2], None]
    finally:
        watch.close()
