# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster of nodes with different hypervisors: each guest finds its own, nobody else is asked to run it, nothing is wrong with that.

GANTRY_LAB_FLAVOUR=kvm,kvm,xen,xen script/test tests/lab_hypervisors
"""

from __future__ import annotations

import pytest

from lab.driver import XEN_GUEST, refused

KVM, XEN = "mixed-kvm.example.com", "mixed-xen.example.com"
PATIENCE = 600


@pytest.mark.flavour("kvm,kvm,xen,xen")
def test_each_guest_finds_its_own_nodes(clean, guest):
    cluster = clean
    groups = {node: cluster.registry()["nodes/" + node]["group"] for node in cluster.nodes}
    assert groups == {"node1": "kvm", "node2": "kvm", "node3": "xen", "node4": "xen"}
    guest(KVM)
    guest(XEN, hypervisor="xen-pv", **XEN_GUEST)
    run = cluster.play("instance_add", "%s,%s" % (KVM, XEN))
    assert run.ok and cluster.violations() == [], run.text
    places = {name: {cluster.instance(name)[key] for key in ("primary", "secondary")} for name in (KVM, XEN)}
    assert places == {KVM: {"node1", "node2"}, XEN: {"node3", "node4"}}, places
    watches = {name: cluster.watch(name) for name in (KVM, XEN)}
    try:
        for watch in watches.values():
            watch.wait_beyond(5, PATIENCE)
        run = cluster.play("cluster_verify", output="text")
        assert run.ok, run.text
        # nodes of another hypervisor are no place for it, whoever asks
        refused(cluster.play("instance_replace_disks", KVM, new_secondary="node3"), "node3")
        run = cluster.play("cluster_balance", check=True)
        assert run.ok and "node group kvm" in run.text and "node group xen" in run.text, run.text
        refused(cluster.play("group_evacuate", leave_group="kvm"), KVM)
        before = watches[KVM].last
        target = cluster.instance(KVM)["secondary"]
        run = cluster.play("instance_migrate", KVM, target_node=target)
        assert run.ok and cluster.violations() == [], run.text
        watches[KVM].wait_beyond(before, PATIENCE)
        before = watches[XEN].last
        run = cluster.play("instance_failover", XEN, target_node=cluster.instance(XEN)["secondary"], shutdown_timeout=300)
        assert run.ok and cluster.violations() == [], run.text
        watches[XEN].wait_beyond(before, PATIENCE)
    finally:
        for watch in watches.values():
            watch.close()
