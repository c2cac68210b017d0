# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The moves of one instance: what they are, and one of them applied by the book.

:func:`apply` follows a move step by step, as the nodes would. ``evaluator.py`` scores all of them at once.
"""

from __future__ import annotations

import typing as t

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import FAIL_INTERNAL, FAIL_MIGRATION

#: The kinds of move. The comments are htools' letters: f is a migration, r:n a new secondary on n.
FAILOVER = 0                # f
REPLACE_SECONDARY = 1       # r:n
REPLACE_AND_FAILOVER = 2    # r:n f
REPLACE_PRIMARY = 3         # f r:n f
FAILOVER_AND_REPLACE = 4    # f r:n
FAILOVER_TO_ANY = 5         # fa:n, shared storage
#: Number of migrations and of full copies of the disks each takes.
MIGRATIONS = (1, 0, 1, 2, 1, 1)
COPIES = (0, 1, 1, 1, 1, 0)
LETTERS = ("f", "r:{0}", "r:{0} f", "f r:{0} f", "f r:{0}", "fa:{0}")


class Move(t.NamedTuple):
    """One move of one instance."""

    instance: int
    kind: int
    #: The node that comes in; -1 for a failover.
    target: int


class Options(t.NamedTuple):
    """What a balancer may do."""

    disk_moves: bool = True
    instance_moves: bool = True
    restricted_migration: bool = False
    ignore_soft_errors: bool = False
    evacuate: bool = False
    #: Score below which a step must gain ``min_gain`` to be made.
    min_gain_limit: float = 0.1
    min_gain: float = 0.01
    #: Stop when the score is within this of the lower bound.
    min_score: float = 1e-9
    #: Names of the only instances to move; empty for all.
    select: tuple = ()
    exclude: tuple = ()
    #: Names of nodes to treat as offline.
    offline: tuple = ()


def placement_after(primary, secondary, move):
    """(primary, secondary) once a move is made."""
    kind, target = move.kind, move.target
    if kind == FAILOVER:
        return secondary, primary
    if kind == REPLACE_SECONDARY:
        return primary, target
    if kind == REPLACE_AND_FAILOVER:
        return target, primary
    if kind == REPLACE_PRIMARY:
        return target, secondary
    if kind == FAILOVER_AND_REPLACE:
        return secondary, target
    return target, secondary


def apply(state, move, ignore_soft=False):
    """Make a move, checking each step as it is taken.

    :returns: None, or why it cannot be made; the state is then as it was.
    """
    i, target = move.instance, move.target
    saved = state.snapshot(i, (state.primary[i], state.secondary[i], target))
    reason = _STEPS[move.kind](state, i, int(state.primary[i]), int(state.secondary[i]), target, ignore_soft)
    if reason is not None:
        state.restore(saved)
    return reason


def _failover(state, i, p, s, unused_target, soft):
    force = soft or bool(state.offline[p])
    if not state.may_migrate(p, s):
        return FAIL_MIGRATION
    state.remove_secondary(i)
    state.remove_primary(i)
    reason = state.refuses_primary(i, s, force)
    if reason is None:
        reason = state.refuses_secondary(i, p, s, force, ignore_disks=bool(state.offline[p]))
    if reason is None:
        state.add_primary(i, s, p)
        state.add_secondary(i, p, s)
    return reason


def _replace_secondary(state, i, p, s, target, soft):
    state.remove_secondary(i)
    state.remove_primary(i)
    reason = state.refuses_secondary(i, target, p, soft or bool(state.offline[s]))
    if reason is None:
        # It stays where it is, but a node without memory or disk left must not be touched.
        reason = state.refuses_primary(i, p, force=True)
    if reason is None:
        state.add_primary(i, p, target)
        state.add_secondary(i, target, p)
    return reason


def _replace_and_failover(state, i, p, s, target, soft):
    if not state.may_migrate(p, target):
        return FAIL_MIGRATION
    state.remove_secondary(i)
    state.remove_primary(i)
    reason = state.refuses_primary(i, target, soft)
    if reason is None:
        reason = state.refuses_secondary(i, p, target, soft or bool(state.offline[s]))
    if reason is None:
        state.add_primary(i, target, p)
        state.add_secondary(i, p, target)
    return reason


def _replace_primary(state, i, p, s, target, soft):
    force = soft or bool(state.offline[p])
    if not (state.may_migrate(p, s) and state.may_migrate(s, target)):
        return FAIL_MIGRATION
    state.remove_secondary(i)
    state.remove_primary(i)
    # It runs on its secondary meanwhile.
    reason = state.refuses_primary(i, s, force)
    if reason is None:
        state.add_primary(i, s, target)
        state.remove_primary(i)
        reason = state.refuses_primary(i, target, force)
    if reason is None:
        reason = state.refuses_secondary(i, s, target, force)
    if reason is None:
        state.add_primary(i, target, s)
        state.add_secondary(i, s, target)
    return reason


def _failover_and_replace(state, i, p, s, target, soft):
    force = soft or bool(state.offline[p])
    if not state.may_migrate(p, s):
        return FAIL_MIGRATION
    state.remove_secondary(i)
    state.remove_primary(i)
    reason = state.refuses_primary(i, s, force)
    if reason is None:
        reason = state.refuses_secondary(i, target, s, force)
    if reason is None:
        state.add_primary(i, s, target)
        state.add_secondary(i, target, s)
    return reason


def _failover_to_any(state, i, p, s, target, soft):
    if not state.may_migrate(p, target):
        return FAIL_MIGRATION
    reason = state.refuses_primary(i, target, soft or bool(state.offline[p]))
    if reason is None:
        state.remove_primary(i)
        state.add_primary(i, target, s)
    return reason


_STEPS = (_failover, _replace_secondary, _replace_and_failover, _replace_primary, _failover_and_replace, _failover_to_any)


def reasons(state, i, kind, targets, ignore_soft=False):
    """For each target the reason why a move is refused, or None: for explaining, one by one."""
    out = {}
    for target in targets:
        saved = state.snapshot(i, (state.primary[i], state.secondary[i], target))
        if target in (state.primary[i], state.secondary[i]):
            out[target] = FAIL_INTERNAL
            continue
        out[target] = apply(state, Move(i, kind, target), ignore_soft)
        state.restore(saved)
    return out
