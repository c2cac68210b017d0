# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes can be powered down while every node left keeps room, and which must come up again.

Nodes with local disks hold data, so only nodes whose instances are all on shared storage may go.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import moves as m
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.balance import balance
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import STANDBY_PREFIX, np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State


@dataclasses.dataclass
class Squeeze:
    """What to do.

    :ivar action: ``offline``, ``online`` or ``none``.
    :ivar nodes: positions.
    :ivar enough: with ``online``: is there room enough once they are up?
    :ivar plan: :class:`.balance.Plan` that empties or fills them, or None.
    """

    action: str
    nodes: list
    enough: bool = True
    plan: object = None


class _Room:
    """Has every online node room for an instance of the standard spec times a factor?"""

    def __init__(self, cluster, factor):
        spec = cluster.policy.std
        self.memory = int(factor * spec.memory)
        self.cpus = int(factor * spec.cpus)

    def everywhere(self, state):
        at = ~state.offline
        memory = state.memory[at] - self.memory
        ok = (memory > 0) & ((memory > state.reserved[at]) | (state.fails_n1[at] > 0))
        ok &= state.cpus[at] + self.cpus <= state.max_cpus[at]
        ok &= state.memory_forth[at] - self.memory > 0
        ok &= state.cpus_forth[at] + self.cpus <= state.max_cpus[at]
        return bool(ok.all())


def _with(cluster, nodes, offline):
    """State and plan after nodes went off or on and the cluster was balanced."""
    state = State(cluster)
    state.offline[nodes] = offline
    # Ganeti's tool takes any gain; so does this, or a node might not become empty.
    plan = balance(state, m.Options(min_gain=0.0, min_gain_limit=0.0), effort=0.0)
    return state, plan


def _emptied(state):
    return not state.offline[state.primary[state.primary >= 0]].any()


def squeeze(cluster, target=2.5, least=2.0):
    """Find nodes to power down or up.

    :param target: nodes go down only while every node left has room for a standard instance times this.
    :param least: nodes come up when a node has less room than a standard instance times this.
    """
    state = State(cluster)
    if not _Room(cluster, least).everywhere(state):
        return _grow(cluster, state, _Room(cluster, least))
    instances = cluster.instances
    busy = np.zeros(len(cluster.nodes), dtype=bool)
    busy[state.primary[instances.local]] = True
    busy[state.secondary[state.secondary >= 0]] = True
    candidates = [int(node) for node in np.flatnonzero(~busy & ~state.offline & ~cluster.nodes.master)]
    candidates.sort(key=lambda node: -int(state.primaries[node]))
    down, plan = [], None
    room = _Room(cluster, target)
    for node in reversed(candidates):
        trial, its_plan = _with(cluster, [node] + down, True)
        if _emptied(trial) and room.everywhere(trial):
            down, plan = [node] + down, its_plan
    return Squeeze("offline", down, plan=plan) if down else Squeeze("none", [])


def _grow(cluster, state, room):
    """The fewest standby nodes, in order, with which every node has room."""
    standby = [index for index, tags in enumerate(cluster.nodes.tags)
               if state.offline[index] and any(tag.startswith(STANDBY_PREFIX) for tag in tags)]
    plan = None
    for number in range(len(standby) + 1):
        trial, plan = _with(cluster, standby[:number], False)
        if _emptied(trial) and room.everywhere(trial):
            return Squeeze("online", standby[:number], True, plan)
    return Squeeze("online", standby, False, plan)
