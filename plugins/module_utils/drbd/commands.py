# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of drbd-utils: reading the node's state, and each step that changes a resource."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.drbd import parse


def status(executor):
    """The state of every resource of this node (see :func:`parse.events2`), with the options in force.

    :raises GantryError: DRBD's tools are missing or print what cannot be understood.
    """
    states = parse.events2(executor.read(["drbdsetup", "events2", "--now", "--statistics"]).out)
    if states:
        options = parse.show(executor.read(["drbdsetup", "show"]).out)
        for name, state in states.items():
            # A resource that went away between the two commands has no window any more.
            state.update(options.get(name, {"allow_two_primaries": False, "protocol": "C"}))
    return states


def versions(executor):
    """``{"kernel_version", "utils_version"}``; the kernel's is None when the module is not loaded."""
    return parse.versions(executor.read(["drbdadm", "--version"]).out)
