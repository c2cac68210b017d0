# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which moves are made at the same time: those that share a node wait for each other, unless nothing is copied and neither needs
the room that the other leaves.
"""

from __future__ import annotations


def _shared(one, other):
    """Must these two moves wait for each other?"""
    nodes, others = set(one["from"] + one["to"]), set(other["from"] + other["to"])
    if not nodes & others:
        return False
    if one["copy_gib"] or other["copy_gib"]:
        return True
    return one["to"][0] == other["from"][0] or other["to"][0] == one["from"][0]


def levels(moves):
    """Batches of moves in the plan's order: each comes after all before it that it has to wait for."""
    levels, batches = [], []
    for number, move in enumerate(moves):
        level = max((levels[earlier] + 1 for earlier in range(number) if _shared(moves[earlier], move)), default=0)
        levels.append(level)
        while len(batches) <= level:
            batches.append([])
        batches[level].append(move)
    return batches


def sliced(batches, parallel):
    """The batches, none longer than ``parallel``."""
    size = max(int(parallel), 1)
    return [batch[start:start + size] for batch in batches for start in range(0, len(batch), size)]


def numbered(batches):
    """The batches; each of their moves knows the number of its own."""
    for number, batch in enumerate(batches, 1):
        for one in batch:
            one["batch"] = number
    return batches
