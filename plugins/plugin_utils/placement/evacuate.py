# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances off their nodes: relocation, evacuation of nodes, change of group; one instance after the other.

Each instance goes where the score of the node group it goes to is smallest. DRBD instances whose primary is to be left
fail over to their secondary; whose secondary is to be left get a new one; whose both are to be left get a new pair.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import moves as m
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import state as s
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.allocate import Tables
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.evaluator import Evaluator
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import ALLOC_POLICIES, np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.redundancy import Redundancy

PRIMARY_ONLY = "primary-only"
SECONDARY_ONLY = "secondary-only"
ALL = "all"
MODES = (PRIMARY_ONLY, SECONDARY_ONLY, ALL)


class Refused(Exception):
    """One instance cannot go; the text says why. Never leaves this module's callers."""


@dataclasses.dataclass
class Evacuation:
    """What became of the instances.

    :ivar moved: list of (instance, group, [nodes], [moves]).
    :ivar failed: list of (instance, reason).
    """

    moved: list = dataclasses.field(default_factory=list)
    failed: list = dataclasses.field(default_factory=list)


class Evacuator:
    """Works on one state, which every instance that goes changes.

    :param state: :class:`.state.State`.
    :param capacity: an instance must not change to a group that could lose each of its nodes, and then no longer can.
    """

    def __init__(self, state, ignore_soft=False, capacity=True):
        self.state = state
        self.ignore_soft = ignore_soft
        self.capacity = capacity

    def nodes(self, instances, mode, only=None):
        """Evacuate instances off the nodes the mode names.

        :param instances: positions.
        :param mode: one of :data:`MODES`.
        :param only: positions of the only nodes to go to; None for all of the group.
        :returns: :class:`Evacuation`.
        """
        state = self.state
        left = set(np.flatnonzero(state.offline).tolist())
        for i in instances:
            if mode != SECONDARY_ONLY:
                left.add(int(state.primary[i]))
            if mode != PRIMARY_ONLY and state.cluster.instances.mirrored[i]:
                left.add(int(state.secondary[i]))
        result = Evacuation()
        for i in instances:
            group = int(state.cluster.nodes.group[state.primary[i]])
            closed = left | {int(state.primary[i])}
            nodes = [node for node in self._open(group, closed) if only is None or node in only]
            self._try(result, i, lambda i=i, group=group, nodes=nodes: self._one(i, mode, group, nodes))
        return result

    def change_group(self, instances, targets):
        """Move instances to other groups.

        :param targets: positions of the groups to choose from; empty for all but those the instances are in.
        """
        state = self.state
        cluster = state.cluster
        present = {int(cluster.nodes.group[state.primary[i]]) for i in instances}
        wanted = [group for group in (targets or range(len(cluster.groups))) if group not in present]
        offline = set(np.flatnonzero(state.offline).tolist())
        result = Evacuation()
        for i in instances:
            self._try(result, i, lambda i=i: self._to_best_group(i, wanted, offline))
        return result

    def _try(self, result, i, action):
        try:
            made = action()
        except Refused as error:
            result.failed.append((i, str(error)))
            return
        state = self.state
        nodes = [int(state.primary[i])]
        if state.cluster.instances.mirrored[i]:
            nodes.append(int(state.secondary[i]))
        result.moved.append((i, int(state.cluster.nodes.group[state.primary[i]]), nodes, made))

    def _open(self, group, closed):
        return [int(node) for node in np.flatnonzero(self.state.cluster.nodes.group == group) if int(node) not in closed]

    def _one(self, i, mode, group, nodes):
        """Evacuate one instance to some nodes of a group; returns the moves made."""
        instances = self.state.cluster.instances
        template = instances.templates[i]
        if instances.mirrored[i]:
            if self.state.secondary[i] < 0:
                raise Refused("it has no secondary")
            if mode == PRIMARY_ONLY:
                reason = m.apply(self.state, m.Move(i, m.FAILOVER, -1), self.ignore_soft)
                if reason is not None:
                    raise Refused("failover to its secondary is refused: %s (%s)" % (s.FAILURE_WORDS[reason], reason))
                return [m.Move(i, m.FAILOVER, -1)]
            return self._one_node(i, group, nodes, m.REPLACE_SECONDARY) if mode == SECONDARY_ONLY else (
                self._pair(i, group, nodes))
        if not instances.external[i]:
            raise Refused("Instances of type %s cannot be relocated" % template)
        if mode == SECONDARY_ONLY:
            raise Refused("Instances with disk template '%s' can't execute change secondary" % template)
        return self._one_node(i, group, nodes, m.FAILOVER_TO_ANY)

    def _one_node(self, i, group, nodes, kind):
        state = self.state
        state.set_scope(group)
        evaluator = Evaluator(state, m.Options(ignore_soft_errors=self.ignore_soft))
        at = [node for node in nodes if evaluator.column[node] >= 0]
        best = None
        if at:
            columns = evaluator.column[at]
            table = evaluator.external(np.array([i])) if kind == m.FAILOVER_TO_ANY else (
                evaluator.drbd(np.array([i]), (kind,))[kind])
            values = table[0, columns]
            if np.isfinite(values).any():
                best = at[int(values.argmin())]
        if best is None:
            names = state.cluster.nodes.names
            why = m.reasons(state, i, kind, nodes, self.ignore_soft)
            raise Refused("Can't find any good node: %s" % (
                "; ".join("Node %s failed: %s" % (names[node], reason) for node, reason in why.items()) or "none is left"))
        move = m.Move(i, kind, best)
        if m.apply(state, move, self.ignore_soft) is not None:
            raise AssertionError("a move scored as possible was refused")
        return [move]

    def _pair(self, i, group, nodes):
        """A new primary and a new secondary, each step of the way checked."""
        state = self.state
        if len(nodes) < 2:
            raise Refused("Can't find any good nodes for relocation: %d of two nodes are left" % len(nodes))
        at = np.array(nodes)
        origin = int(state.primary[i]), int(state.secondary[i])
        saved = state.snapshot(i, origin)
        state.set_scope(group)
        state.remove_secondary(i)
        state.remove_primary(i)
        tables = Tables(state, True)
        online = at[tables.evaluator.column[at] >= 0]
        table = tables.pairs(i, online, online) if len(online) > 1 else np.full((1, 1), np.inf)
        # The last node is asked by the book below, with all its rules; here only what is out of the question falls out.
        state.restore(saved)
        order = np.argsort(table, axis=None, kind="stable")
        hopeless, last = set(), "no node takes it"
        for flat in order:
            first, second = divmod(int(flat), table.shape[1])
            if not np.isfinite(table[first, second]):
                break
            if first in hopeless:
                continue
            step, made = self._by_the_book(i, origin, int(online[first]), int(online[second]))
            if step is None:
                return made
            last = made
            if step < 2:
                hopeless.add(first)
        raise Refused("Can't find any good nodes for relocation: %s" % last)

    def _by_the_book(self, i, origin, primary, secondary):
        """Make the moves; (None, moves), or (number of the step refused, reason) and nothing changed."""
        state = self.state
        saved = state.snapshot(i, origin + (primary, secondary))
        made = [m.Move(i, m.FAILOVER, -1)] if state.offline[origin[0]] else []
        steps = made + [m.Move(i, m.REPLACE_SECONDARY, primary), m.Move(i, m.FAILOVER, -1),
                        m.Move(i, m.REPLACE_SECONDARY, secondary)]
        words = (["failing over to the secondary"] if made else []) + [
            "changing secondary to new primary", "failing over to new primary", "changing secondary to final secondary"]
        for position, move in enumerate(steps):
            reason = m.apply(state, move, self.ignore_soft)
            if reason is not None:
                state.restore(saved)
                return position - len(made), "%s: %s" % (words[position], reason)
        return None, steps

    def _to_best_group(self, i, wanted, offline):
        """Choose the group a new instance like it would go to, then move it there."""
        state = self.state
        cluster = state.cluster
        row = cluster.instances.rows[i]
        best, why = None, []
        for group in wanted:
            one = cluster.groups[group]
            missing = [network for network in row.networks if network is not None and network not in one.networks]
            if missing:
                why.append("group %s is not connected to network %s" % (one.name, missing[0]))
                continue
            nodes = self._open(group, offline)
            if one.alloc_policy == "unallocable":
                why.append("group %s is unallocable" % one.name)
                continue
            twin = state.copy()
            evacuator = Evacuator(twin, self.ignore_soft)
            inside = cluster.nodes.group == group
            try:
                evacuator._one(i, ALL, group, nodes)  # pylint: disable=protected-access
            except Refused as error:
                why.append("group %s: %s" % (one.name, error))
                continue
            if self.capacity and Redundancy(twin, inside).reasons().keys() - Redundancy(state, inside).reasons().keys():
                why.append("group %s could no longer lose any of its nodes" % one.name)
                continue
            twin.set_scope(None)
            key = (ALLOC_POLICIES.index(one.alloc_policy), Tables(twin).evaluator.score)
            if best is None or key < best[0]:
                best = (key, group, nodes)
        if best is None:
            raise Refused(", ".join(why) or "no groups to go to")
        return self._one(i, ALL, best[1], best[2])


def relocate(state, i, leave, ignore_soft=False, only=None):
    """A new secondary for a DRBD instance, a new primary for one on shared storage.

    :param leave: positions of the nodes to leave: exactly the one that is to be replaced.
    :param only: positions of the only nodes to go to; None for all of the group.
    :returns: position of the new node.
    :raises GantryError: it cannot be done.
    """
    instances = state.cluster.instances
    names = state.cluster.nodes.names
    name = instances.names[i]
    if instances.mirrored[i]:
        mode, present, word = SECONDARY_ONLY, int(state.secondary[i]), "secondary"
    elif instances.external[i]:
        mode, present, word = PRIMARY_ONLY, int(state.primary[i]), "primary"
    else:
        raise GantryError(
            "Instance %s cannot be relocated" % name, found="disk template %s" % instances.templates[i],
            expected="a mirrored one", mend="export it and import it elsewhere", code="not_mirrored",
        )
    if list(leave) != [present]:
        raise GantryError(
            "Instance %s can only be relocated off its %s" % (name, word),
            found=", ".join(names[node] for node in leave) or "no node", expected=names[present],
            mend="name that node in relocate_from", code="bad_request",
        )
    result = Evacuator(state, ignore_soft).nodes([i], mode, only)
    if result.failed:
        raise GantryError(
            "Instance %s cannot leave node %s" % (name, names[present]), found=result.failed[0][1],
            expected="a node of the group with room for it", mend="free space, or add a node to the group", code="no_space",
        )
    return int(state.secondary[i] if instances.mirrored[i] else state.primary[i])
