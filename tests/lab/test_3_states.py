# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States that a verb refuses to act on; the guests that were made for it stay as they were."""

from __future__ import annotations

from lab.driver import refused

GOOD = {"memory": "32MiB", "disks": [{"size": "16MiB"}], "image": "/srv/images/test-guest.img"}


def test_refused_on_a_guest_that_exists(clean, guest):
    name = guest("state1.example.com", primary="node1", secondary="node2")
    assert clean.play("instance_add", name).ok
    before = clean.snapshot()
    # a name that is taken by another specification
    refused(clean.play("instance_add", name, memory="48MiB"), "exists already", "48 MiB")
    # a name that something else on a node has
    clean.ssh("node3", "echo \"<domain type='qemu'><name>dup2.example.com</name><memory unit='MiB'>16</memory>"
              "<os><type>hvm</type></os></domain>\" > /tmp/foreign.xml && virsh -q define /tmp/foreign.xml")
    try:
        clean.declare("dup2.example.com", **GOOD)
        refused(clean.play("instance_add", "dup2.example.com"), "dup2.example.com", "has a domain of that name already")
    finally:
        clean.ssh("node3", "virsh -q undefine dup2.example.com")
        clean.forget("dup2.example.com")
    assert clean.snapshot() == before
    # a DRBD peer that is not up to date
    resource = name + "-disk0"
    clean.ssh("node2", "drbdadm disconnect %s && drbdadm outdate %s" % (resource, resource))
    before = clean.snapshot()
    try:
        refused(clean.play("instance_migrate", name), "DEGRADED", "UpToDate on both nodes")
        assert clean.snapshot() == before
    finally:
        clean.ssh("node2", "drbdadm connect %s" % resource)
        clean.wait_redundant("node1", resource)
