# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is called, and what it is: names, addresses, numbers. Nothing here starts or asks anything."""

from __future__ import annotations

import hashlib

from . import config
from .config import Paths

# Cable -> the network card's name in the node (and in QEMU).
LINKS = {"control": "eth0", "cluster": "eth1"}


def names(count: int) -> list:
    """node1 to node<count>."""
    return [f"node{number}" for number in range(1, count + 1)]


def number(node: str) -> int:
    """The number in the node's name."""
    return int(node.removeprefix("node"))


def address(node: str) -> str:
    """The node's address in the cluster network."""
    return f"{config.CLUSTER_NET}.{10 + number(node)}"


def machine_id(paths: Paths, node: str) -> str:
    """A number (32 hex digits) that this node keeps, and no other node has; libvirt compares them."""
    return hashlib.md5(f"{paths.state}/{node}".encode(), usedforsecurity=False).hexdigest()


def mac(paths: Paths, node: str, card: int) -> str:
    """The hardware address of the node's card number 0 or 1."""
    return f"52:54:00:{paths.key[:2]}:{card:02x}:{number(node):02x}"


def flavour(lab: dict, node: str) -> str:
    """What the node runs guests with: kvm, lxc or xen."""
    return lab["nodes"][node].get("flavour", "kvm")


def kind(lab: dict, node: str) -> str:
    """What the node itself is: a virtual machine of QEMU's, or User-Mode Linux, which cannot be a hypervisor's guest."""
    return "uml" if lab["accelerator"] == "uml" and config.FLAVOURS[flavour(lab, node)] == "linux" else "qemu"


def words(paths: Paths, node: str) -> str:
    """What the kernel of every node is told."""
    return (
        "TERM=dumb quiet loglevel=4 systemd.show_status=1 panic=10 "
        f"net.ifnames=0 systemd.hostname={node} systemd.machine_id={machine_id(paths, node)}"
    )
