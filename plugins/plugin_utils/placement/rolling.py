# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolling reboots: groups of nodes that may be away at the same time, and where their instances go meanwhile.

Two nodes must not go together when one is the other's secondary, nor, as running instances fail over first, when their
instances have a secondary in common. The groups are a colouring of that graph; the fewest colours of several orders win.
Instances without a secondary are placed on other nodes by free memory, and a group is split where they find no room.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np


@dataclasses.dataclass
class Step:
    """One group of nodes.

    :ivar nodes: positions.
    :ivar moves: list of (instance, new primary, new secondary or -1) of the instances that cannot simply fail over.
    """

    nodes: list
    moves: list


def conflicts(state, chosen, offline_maintenance=False):
    """(nodes, nodes) booleans: may these two not be away together?

    :param chosen: booleans: the nodes that matter.
    :param offline_maintenance: instances are shut down, not migrated; only primary and secondary conflict then.
    """
    count = len(chosen)
    graph = np.zeros((count, count), dtype=bool)
    # What is only planned is not there to be moved.
    mirrored = np.flatnonzero(state.cluster.instances.mirrored & (state.secondary >= 0) & state.real)
    p, s = state.primary[mirrored], state.secondary[mirrored]
    graph[p, s] = graph[s, p] = True
    if not offline_maintenance:
        secondary = np.zeros((count, count), dtype=np.float32)
        on = np.flatnonzero((state.secondary >= 0) & state.real)
        secondary[state.primary[on], state.secondary[on]] = 1
        # Both have an instance whose secondary is the same node.
        graph |= (secondary @ secondary.T) > 0
    graph &= chosen[:, None] & chosen[None, :]
    np.fill_diagonal(graph, False)
    return graph


def _first_free(graph, colours, node, most):
    """The smallest colour none of the neighbours has."""
    taken = np.zeros(most + 2, dtype=bool)
    taken[colours[graph[node]]] = True
    # Nodes without a colour have -1, which is the last place.
    return int(taken[:-1].argmin())


def _in_order(graph, order):
    colours = np.full(len(graph), -1)
    most = 0
    for node in order:
        colours[node] = _first_free(graph, colours, node, most)
        most = max(most, int(colours[node]) + 1)
    return colours


def _by_saturation(graph, nodes):
    """DSATUR: next the node that sees most colours, then the one with most neighbours."""
    degree = graph.sum(axis=1).astype(float)
    colours = np.full(len(graph), -1)
    seen = np.zeros((len(graph), 1), dtype=bool)
    rank = np.full(len(graph), -np.inf)
    rank[nodes] = degree[nodes] / (len(graph) + 1.0)
    most = 0
    for unused in nodes:
        node = int(rank.argmax())
        colour = _first_free(graph, colours, node, most)
        colours[node] = colour
        rank[node] = -np.inf
        if colour >= most:
            most = colour + 1
            if most > seen.shape[1]:
                seen = np.concatenate([seen, np.zeros_like(seen)], axis=1)
        fresh = graph[node] & ~seen[:, colour]
        seen[fresh, colour] = True
        rank[fresh] += 1
    return colours


def colour(graph, chosen):
    """A colour for each chosen node, -1 for the others; the best of several orders."""
    nodes = np.flatnonzero(chosen)
    degree = graph.sum(axis=1)
    largest = nodes[np.argsort(-degree[nodes], kind="stable")]
    last = _smallest_last(graph, nodes)
    candidates = [_in_order(graph, largest), _in_order(graph, last), _by_saturation(graph, nodes)]
    return min(candidates, key=lambda colours: colours.max(initial=-1))


def _smallest_last(graph, nodes):
    """Nodes in the reverse of the order in which one with the fewest neighbours left is taken away."""
    degree = np.full(len(graph), np.inf)
    degree[nodes] = graph[nodes].sum(axis=1)
    order = []
    for unused in nodes:
        node = int(degree.argmin())
        order.append(node)
        degree[node] = np.inf
        degree[graph[node]] -= 1
    return order[::-1]


def plan(state, group=None, tags=None, offline_maintenance=False, skip_non_redundant=False, ignore_non_redundant=False):
    """Groups of nodes to reboot one after the other, the largest first, the master's last.

    :param state: :class:`.state.State`; is not changed.
    :param group: position of the only node group.
    :param tags: only nodes with one of these tags.
    :param skip_non_redundant: leave out nodes with instances that have no secondary.
    :param ignore_non_redundant: leave such instances where they are.
    :returns: list of :class:`Step`.
    :raises GantryError: instances without a secondary find no room anywhere.
    """
    cluster = state.cluster
    nodes = cluster.nodes
    masters = [name for name, master in zip(nodes.names, nodes.master) if master]
    if len(masters) > 1:
        raise GantryError(
            "More than one node is marked as the master", found=", ".join(masters), expected="one at most",
            mend="correct the cluster's data", code="bad_input",
        )
    chosen = ~state.offline
    if group is not None:
        chosen &= nodes.group == group
    if tags is not None:
        chosen &= np.array([bool(set(own) & set(tags)) for own in nodes.tags], dtype=bool)
    alone = np.flatnonzero(~cluster.instances.mirrored & state.real)
    if skip_non_redundant:
        chosen[state.primary[alone]] = False
    colours = colour(conflicts(state, chosen, offline_maintenance), chosen)
    steps = []
    for number in range(colours.max(initial=-1) + 1):
        together = np.flatnonzero(colours == number).tolist()
        steps += [Step(together, [])] if ignore_non_redundant else _split(state, together, alone)
    return _ordered(steps, nodes.master)


def _split(state, together, alone):
    """One or more steps of the nodes, each of which finds room for the instances without a secondary."""
    steps, left = [], list(together)
    while left:
        step, remaining = Step([], []), []
        away = set(left)
        memory, disk = state.memory.copy(), state.disk.copy()
        for node in left:
            moves = _room(state, node, away, alone, memory, disk)
            if moves is None:
                remaining.append(node)
                # It stays, so others may come to it.
                away.discard(node)
            else:
                step.nodes.append(node)
                step.moves += moves
        if not step.nodes:
            raise GantryError(
                "Instances without a secondary find no room while their node reboots",
                found="node %s" % state.cluster.nodes.names[left[0]], expected="other nodes of the group with memory and disk",
                mend="free space, or leave them where they are: --ignore-non-redundant", code="no_space",
            )
        steps.append(step)
        left = remaining
    return steps


def _room(state, node, away, alone, memory, disk):
    """Moves of a node's instances without a secondary to nodes that stay, or None; takes the room it finds."""
    group = state.cluster.nodes.group
    those = [int(i) for i in alone if state.primary[i] == node] if len(alone) else []
    if not those:
        return []
    stays = (group == group[node]) & ~state.offline
    stays[list(away)] = False
    moves, taken = [], []
    for i in sorted(those, key=lambda i: -state.memory_need[i]):
        need, space = state.memory_need[i], state.disk_need[i]
        ok = stays & (memory - need > 0)
        if space:
            ok &= disk - space > 0
        if not ok.any():
            for target, one, other in taken:
                memory[target] += one
                disk[target] += other
            return None
        target = int(np.where(ok, memory, -np.inf).argmax())
        memory[target] -= need
        disk[target] -= space
        taken.append((target, need, space))
        moves.append((i, target, -1))
    return moves


def _ordered(steps, master):
    """The largest first; the step with the master last, and in it the master last."""
    for step in steps:
        step.nodes.sort(key=lambda node: bool(master[node]))
    steps = [step for step in steps if step.nodes]
    steps.sort(key=lambda step: -len(step.nodes))
    steps.sort(key=lambda step: bool(master[step.nodes[-1]]))
    return steps
