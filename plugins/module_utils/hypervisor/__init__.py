# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypervisors, found by name. A new one is a file beside kvm.py, its line here and its domain template.

The imports stand here in full because Ansible sends to a node what it finds imported, nothing else.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor import fake, kvm, lxc, xen

BACKENDS = {kind.name: kind for kind in (kvm.Kvm, xen.XenPv, xen.XenPvh, xen.XenHvm, lxc.Lxc, fake.Fake)}


def names():
    """The hypervisors there are."""
    return sorted(BACKENDS)


def backend(name):
    """The hypervisor of that name.

    :raises GantryError: there is none.
    """
    if name not in BACKENDS:
        raise GantryError(
            "There is no hypervisor named %s" % name, found=name, expected="one of: %s" % ", ".join(names()),
            code="unknown_hypervisor",
        )
    return BACKENDS[name]()


def drivers(wanted):
    """The different libvirt drivers that some hypervisors need: one hypervisor for each, in their order.

    The three kinds of Xen guest are one driver's.
    """
    found = {}
    for name in wanted:
        one = backend(name)
        found.setdefault(one.uri, one)
    return list(found.values())
