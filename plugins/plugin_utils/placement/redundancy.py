# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Global N+1: can every node be lost and all its instances run elsewhere in its group?

DRBD instances fail over to their secondaries, which then need the memory. Instances on shared storage, and plain ones
made anew, need any other node of the group: they are placed one after the other, largest first, each where most memory
is left, then, if that fails, where it fits closest. A placement found is a proof; none found is not one of the contrary.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.policy import refuses


class Redundancy:
    """What the loss of each node asks of the others.

    :param state: :class:`.state.State`.
    :param nodes: booleans: the nodes whose loss is looked at; default all.
    """

    def __init__(self, state, nodes=None):
        self.state = state
        self.nodes = np.ones(len(state.offline), dtype=bool) if nodes is None else nodes
        count = len(state.offline)
        instances = state.cluster.instances
        placed = state.primary >= 0
        drbd = np.flatnonzero(instances.mirrored & placed & (state.secondary >= 0) & state.real)
        keys = state.primary[drbd] * count + state.secondary[drbd]
        #: takes[a, b]: memory b must find when a is lost; follows[a, b]: number of instances.
        self.takes = np.bincount(keys, weights=state.memory_need[drbd], minlength=count * count).astype(float)
        self.follows = np.bincount(keys, minlength=count * count) > 0
        self.takes, self.follows = self.takes.reshape(count, count), self.follows.reshape(count, count)
        self.others = np.flatnonzero(~instances.mirrored & placed)
        #: What each node holds that has no secondary, as cases of :meth:`_case`.
        self.alone = {}
        for i in self.others:
            if state.real[i]:
                self.alone.setdefault(int(state.primary[i]), []).append(self._case(i))
        #: Further ones that :meth:`note` was told of: (node, case).
        self.extra = []

    def _too_much(self):
        """(lost, other) booleans: the other cannot take what would come."""
        state = self.state
        bad = (state.memory - self.takes <= 0) | (state.disk <= 0)
        bad |= ((state.disk <= 0) & ~state.offline)[:, None]
        if state.any_exclusive:
            bad |= state.exclusive & (state.spindles_free < 0)
        if state.cluster.may_migrate is not None:
            bad |= ~state.cluster.may_migrate
        return bad & self.follows

    def reasons(self):
        """``{position of a node: sentence}`` for each node whose loss could not be made good."""
        bad = self._too_much()
        out = {}
        names = self.state.cluster.nodes.names
        for node in np.flatnonzero(bad.any(axis=1) & self.nodes):
            other = int(np.flatnonzero(bad[node])[0])
            out[int(node)] = "if %s is lost, %s needs %d MiB of memory for its instances and has %d MiB" % (
                names[node], names[other], self.takes[node, other], self.state.memory[other])
        out.update(self.stranded(skip=out))
        return out

    def note(self, primary, secondary, i):
        """Count one more instance of the kind of ``i``, as capacity planning places many of one kind."""
        if secondary >= 0:
            self.takes[primary, secondary] += self.state.memory_need[i]
            self.follows[primary, secondary] = True
        else:
            self.extra.append((int(primary), self._case(i)))

    def copy(self):
        """An independent copy."""
        twin = object.__new__(Redundancy)
        twin.__dict__.update(self.__dict__)
        twin.takes, twin.follows, twin.extra = self.takes.copy(), self.follows.copy(), list(self.extra)
        return twin

    def _case(self, i):
        """What placing an instance anew asks: (memory, disk, whether shared storage, row)."""
        state = self.state
        return (float(state.memory_need[i]), float(state.disk_need[i]), bool(state.cluster.instances.external[i]),
                state.cluster.instances.rows[i])

    def stranded(self, skip=()):
        """The same for the instances that have no secondary."""
        state = self.state
        out = {}
        if not self.alone and not self.extra:
            return out
        by_node = {node: list(those) for node, those in self.alone.items()}
        for node, case in self.extra:
            by_node.setdefault(node, []).append(case)
        for node, those in sorted(by_node.items()):
            if node in skip or not self.nodes[node]:
                continue
            left = self._place(node, those)
            if left is not None:
                out[node] = "if %s is lost, no other node has room for %s" % (state.cluster.nodes.names[node], left.name)
        return out

    def _place(self, node, those):
        """Find room for the instances of a lost node; returns one that finds none, or None."""
        state = self.state
        group = state.cluster.nodes.group
        at = np.flatnonzero((group == group[node]) & ~state.offline)
        at = at[at != node]
        left = None
        those = sorted(those, key=lambda case: (-case[0], -case[1]))
        for closest in (False, True):
            memory = state.memory[at] - self.takes[node][at]
            disk = state.disk[at].copy()
            left = None
            for needed, space, external, row in those:
                ok = memory - needed > 0
                if space:
                    ok &= disk - space > 0
                if not external:
                    ok &= self._policy(row, node, at)
                elif state.cluster.may_migrate is not None:
                    ok &= state.cluster.may_migrate[node, at]
                if not ok.any():
                    left = row
                    break
                chosen = int(np.where(ok, memory if closest else -memory, np.inf).argmin())
                memory[chosen] -= needed
                disk[chosen] -= space
            if left is None:
                return None
        return left

    def _policy(self, row, node, at):
        cluster = self.state.cluster
        policy = cluster.groups[cluster.nodes.group[node]].policy
        plain = refuses(row, policy, False) is None
        if not self.state.any_exclusive:
            return plain
        return np.where(self.state.exclusive[at], refuses(row, policy, True) is None, plain)

    def room(self, i, primaries, secondaries=None):
        """Booleans: would all nodes' losses still be made good with one more instance?

        Only DRBD losses are looked at; :meth:`stranded` must be asked for the rest once one is chosen.

        :param primaries: positions of nodes.
        :param secondaries: positions; the answer is then (primaries, secondaries), else (primaries,).
        """
        state = self.state
        held = state.memory_need[i]
        # What the primary must find for the loss of any of its peers, on top of the instance.
        most = np.where(self.follows & self.nodes[:, None], self.takes, -np.inf)[:, primaries].max(axis=0)
        ok = state.memory[primaries] - held > most
        if secondaries is None:
            return ok
        pair = self.state.memory[secondaries] - self.takes[np.ix_(primaries, secondaries)] - held > 0
        if state.cluster.may_migrate is not None:
            pair &= state.cluster.may_migrate[np.ix_(primaries, secondaries)]
        pair |= ~self.nodes[primaries][:, None]
        return ok[:, None] & pair
