# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a plan: what brings much for little first, so that a plan cut short is a good plan.

The cost of a move is what goes over the network: its disks for each full copy, its memory for each migration.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import moves as m

#: Rounds in which moves that a node refused at their place are tried again.
ROUNDS = 8


def cost_gib(cluster, move):
    """What a move sends over the network, in GiB."""
    instances, i = cluster.instances, move.instance
    return float(instances.disk[i] * m.COPIES[move.kind] + instances.memory[i] * m.MIGRATIONS[move.kind]) / 1024


def missing_gain(cluster, steps, start):
    """How much gain is missing while the cost is being paid: GiB times score, summed; less is a better order.

    :param steps: :class:`.balance.Step`, in order, with the score after each.
    :param start: the score before the first.
    """
    missing, before = 0.0, start
    for step in steps:
        missing += cost_gib(cluster, step.move) * (before - steps[-1].score)
        before = step.score
    return missing


def cheap_first(state, steps, start, make):
    """The same moves by gain for each GiB, each instance's own in the order they have; None where nodes refuse that.

    :param state: the state before the first; it is changed.
    :param steps: :class:`.balance.Step`.
    :param start: the score before the first.
    :param make: function that makes a move on the state and returns its step, or None where it is refused.
    """
    cluster, left, before = state.cluster, [], start
    for position, step in enumerate(steps):
        worth = (before - step.score) / max(cost_gib(cluster, step.move), 1e-3)
        left.append((-worth, position, step.move))
        before = step.score
    last = {}
    earlier = []
    for step in steps:
        earlier.append(last.get(step.move.instance))
        last[step.move.instance] = len(earlier) - 1
    left.sort()
    made, done = [], set()
    for unused in range(ROUNDS):
        waiting = []
        for one in left:
            position, move = one[1], one[2]
            step = make(state, move) if earlier[position] is None or earlier[position] in done else None
            if step is None:
                waiting.append(one)
            else:
                made.append(step)
                done.add(position)
        if not waiting:
            return made
        left = waiting
    return None
