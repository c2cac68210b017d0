# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers no two disks or NICs may share: DRBD ports and minors, MAC addresses. Pure, on the registry's table.

A minor is unique in the whole cluster, not only on its node: a disk then has the same device path on both
nodes, so a guest's live definition needs no rewriting when it migrates.
"""

from __future__ import annotations

import secrets

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

PORTS = range(11000, 15000)
MINORS = range(0, 1 << 20)
KINDS = ("ports", "minors", "macs")


def empty():
    """A table with nothing handed out."""
    return {kind: {} for kind in KINDS}


def _first_free(numbers, table, in_use, what):
    for number in numbers:
        if str(number) not in table and number not in in_use:
            return number
    raise GantryError(
        "No free %s left" % what, found="%d in use" % len(table), expected="one between %d and %d" % (numbers[0], numbers[-1]),
        mend="remove instances that are no longer needed", code="exhausted",
    )


def take_port(table, owner, in_use=frozenset()):
    """Hand out a DRBD port. ``in_use``: ports seen on the nodes that the registry does not know of."""
    port = _first_free(PORTS, table["ports"], in_use, "DRBD port")
    table["ports"][str(port)] = owner
    return port


def take_minor(table, owner, in_use=frozenset()):
    """Hand out a DRBD minor."""
    minor = _first_free(MINORS, table["minors"], in_use, "DRBD minor")
    table["minors"][str(minor)] = owner
    return minor


def take_mac(table, owner, prefix="52:54:00", wanted=None):
    """Hand out a MAC address: the wanted one, or a random one with the cluster's prefix. What is the instance's own already stays so."""
    if wanted:
        if table["macs"].get(wanted, owner).split("/")[0] != owner.split("/")[0]:
            raise GantryError(
                "The MAC address %s is taken" % wanted, found="owned by %s" % table["macs"][wanted],
                expected="an address no other NIC has", code="mac_taken",
            )
        table["macs"][wanted] = owner
        return wanted
    for _try in range(1000):
        tail = secrets.token_bytes(3)
        mac = prefix + "".join(":%02x" % byte for byte in tail)
        if mac not in table["macs"]:
            table["macs"][mac] = owner
            return mac
    raise GantryError("No free MAC address with the prefix %s" % prefix, code="exhausted")


def release(table, uuid):
    """Give back everything the instance with this UUID holds."""
    for kind in KINDS:
        for number in [n for n, owner in table[kind].items() if owner.split("/")[0] == uuid]:
            del table[kind][number]


def keep_macs(table, uuid, nics):
    """Give back the MAC addresses of the instance that are not those of its network cards."""
    owners = {nic["mac"]: "%s/%d" % (uuid, nic["index"]) for nic in nics}
    for mac in [mac for mac, owner in table["macs"].items() if owner.split("/")[0] == uuid]:
        if mac in owners:
            table["macs"][mac] = owners[mac]
        else:
            del table["macs"][mac]


def new_secret():
    """A DRBD shared secret: 160 bits as hexadecimal text (DRBD takes at most 64 characters)."""
    return secrets.token_hex(20)
