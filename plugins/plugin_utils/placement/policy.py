# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does an instance keep to an instance policy: one of its (minimum, maximum) pairs, and its disk templates?"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import state as s


def refuses(row, policy, exclusive):
    """Why the policy does not allow an instance; None when it does.

    :param row: :class:`.model.Instance`.
    :param policy: :class:`.model.Policy` of the node's group.
    :param exclusive: does the node have exclusive storage? Then spindles of the disks count, else the spindle use.
    """
    reason = s.FAIL_INTERNAL if policy.pairs else None
    for pair in policy.pairs:
        reason = _outside(row, pair[0], exclusive, lambda value, bound: value < bound) or _outside(
            row, pair[1], exclusive, lambda value, bound: value > bound)
        if reason is None:
            break
    if reason is None and row.template not in policy.templates:
        reason = s.FAIL_DISK
    return reason


def _outside(row, spec, exclusive, beyond):
    if beyond(row.memory, spec.memory):
        return s.FAIL_MEMORY
    if any(beyond(size, spec.disk) for size in row.disks):
        return s.FAIL_DISK
    if beyond(row.vcpus, spec.cpus):
        return s.FAIL_CPU
    if exclusive:
        spindles = row.total_spindles()
        if spindles is None or beyond(spindles, spec.spindles):
            return s.FAIL_SPINDLES
    elif beyond(row.spindle_use, spec.spindles):
        return s.FAIL_SPINDLES
    if row.template != "diskless" and beyond(len(row.disks), spec.disks):
        return s.FAIL_DISK_COUNT
    return None
