# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules by which nodes take instances, for many instances and all targets at once.

The same rules, one instance and one node at a time, are ``refuses_primary`` and ``refuses_secondary`` of
:class:`.state.State`; tests compare the two. Each rule but two says that a need is below a limit. A rule that the
largest need keeps on every target costs nothing more; in most clusters most rules do.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np


class Acceptance:
    """Which targets take which instances.

    :param state: :class:`.state.State`; read anew by :meth:`refresh`.
    :param targets: positions of the nodes instances may come to.
    """

    def __init__(self, state, targets):
        self.targets = targets
        instances = state.cluster.instances
        real, local = state.real, instances.local
        none = -np.inf

        def of_real(need):
            """A need that no limit refuses where an instance is only planned."""
            return np.where(real, need, none)

        self.real = real
        self.memory, self.own_memory = of_real(state.memory_need), instances.memory
        self.disk = state.disk_need
        self.local_disk = np.where(local, state.disk_need, none)
        self.cpu = state.cpu_need
        self.used = state.spindle_need
        self.local_used = np.where(local, state.spindle_need, none)
        self.need = of_real(state.reserve_need)
        self.forth_need = np.where(instances.auto_balance & instances.counts_cpu, instances.memory, 0.0)
        self.real_disk, self.real_local_disk = of_real(self.disk), of_real(self.local_disk)
        self.real_cpu = of_real(self.cpu)
        self.real_used, self.real_local_used = of_real(self.used), of_real(self.local_used)
        #: Spindles of the disks: where they do not say, no node with exclusive storage takes them.
        self.spindles = self.local_spindles = None
        if state.any_exclusive:
            self.spindles = np.nan_to_num(state.disk_spindles, nan=np.inf)
            self.local_spindles = np.where(local, self.spindles, none)
            self.real_spindles, self.real_local_spindles = of_real(self.spindles), of_real(self.local_spindles)
        self.exclusion = None
        if state.tag_names:
            self.exclusion = np.zeros((len(instances), len(state.tag_names)))
            for index, tags in enumerate(state.exclusion):
                for tag in tags:
                    self.exclusion[index, tag] += 1
        self.state = self.limits = self.fails = self.tagged = None
        self.refresh(state)

    def refresh(self, state):
        """Take in the state as it is now: the largest need each target still takes, hard and soft rules apart."""
        self.state, at = state, self.targets
        self.fails = state.fails_n1[at] > 0
        memory = state.memory[at]
        #: Memory left beyond what is kept for the loss of a peer.
        self.spare = memory - state.reserved[at]
        exclusive = state.exclusive[at]
        limits = {
            "memory": memory, "memory_n1": np.where(self.fails, np.inf, self.spare), "memory_forth": state.memory_forth[at],
            "disk": state.disk[at], "disk_forth": state.disk_forth[at],
            "cpu": state.max_cpus[at] - state.cpus[at], "cpu_forth": state.max_cpus[at] - state.cpus_forth[at],
            "used": np.where(exclusive, np.inf, state.max_spindles[at] - state.spindles_used[at]),
            "used_forth": np.where(exclusive, np.inf, state.max_spindles[at] - state.spindles_used_forth[at]),
        }
        if state.any_exclusive:
            limits["spindles"] = np.where(exclusive, state.spindles_free[at], np.inf)
            limits["spindles_forth"] = np.where(exclusive, state.spindles_free_forth[at], np.inf)
        #: Each limit and the smallest of it.
        self.limits = {name: (limit, float(limit.min(initial=np.inf))) for name, limit in limits.items()}
        self.tagged = (state.tags_on[:, at] > 0).astype(float) if self.exclusion is not None else None

    def _below(self, ok, need, name, equal=False):
        """``ok`` and whether the need is below the limit; None stands for: everywhere."""
        limit, least = self.limits[name]
        most = need.max(initial=-np.inf)
        if most < least or (equal and most <= least):
            return ok
        table = need[:, None] <= limit if equal else need[:, None] < limit
        return table if ok is None else np.logical_and(ok, table, out=ok)

    def primary(self, i, force):
        """(instances, targets): does the target take the instance as its primary? None: all do.

        :param force: for each instance whether soft rules are waived.
        """
        ok = self._below(None, self.memory[i], "memory")
        ok = self._below(ok, self.real_local_disk[i], "disk")
        if self.spindles is not None:
            ok = self._below(ok, self.real_local_spindles[i], "spindles", True)
        waived = force.any()
        if waived and force.all():
            return ok

        def soft(need):
            return np.where(force, -np.inf, need[i]) if waived else need[i]

        ok = self._below(ok, soft(self.memory), "memory_n1")
        ok = self._below(ok, soft(self.real_cpu), "cpu", True)
        ok = self._below(ok, soft(self.real_local_used), "used", True)
        ok = self._below(ok, soft(self.own_memory), "memory_forth")
        ok = self._below(ok, soft(self.local_disk), "disk_forth")
        ok = self._below(ok, soft(self.cpu), "cpu_forth", True)
        ok = self._below(ok, soft(self.local_used), "used_forth", True)
        if self.spindles is not None:
            ok = self._below(ok, soft(self.local_spindles), "spindles_forth", True)
        if self.tagged is not None:
            clash = self.exclusion[i] @ self.tagged > 0
            clash &= (self.real[i] & ~force)[:, None]
            if clash.any():
                ok = ~clash if ok is None else ok & ~clash
        return ok

    def secondary(self, i, reserved, force):
        """(instances, targets): does the target take the instance as its secondary? None: all do.

        :param reserved: (instances, targets): the memory in MiB the target would keep free then.
        """
        ok = self._below(None, self.real_disk[i], "disk")
        if self.spindles is not None:
            ok = self._below(ok, self.real_spindles[i], "spindles", True)
        waived = force.any()
        if waived and force.all():
            return ok

        def soft(need):
            return np.where(force, -np.inf, need[i]) if waived else need[i]

        ok = self._below(ok, soft(self.real_used), "used", True)
        ok = self._below(ok, soft(self.need), "memory")
        ok = self._below(ok, soft(self.disk), "disk_forth")
        ok = self._below(ok, soft(self.used), "used_forth", True)
        ok = self._below(ok, soft(self.forth_need), "memory_forth")
        if self.spindles is not None:
            ok = self._below(ok, soft(self.spindles), "spindles_forth", True)
        tight = np.flatnonzero((self.spare <= self.need[i].max(initial=-np.inf)) & ~self.fails)
        if len(tight):
            enough = reserved[:, tight] < self.limits["memory"][0][tight]
            enough |= (force | ~self.real[i])[:, None]
            if not enough.all():
                if ok is None:
                    ok = np.ones(reserved.shape, dtype=bool)
                ok[:, tight] &= enough
        return ok

    def _keeps_disks(self, i, node, forthcoming):
        """Has a node that holds the disks of an instance no fewer spindles than none left?"""
        state = self.state
        free = state.spindles_free_forth if forthcoming else state.spindles_free
        return ~state.exclusive[node] | ((free[node] >= 0) & ~np.isnan(state.disk_spindles[i]))

    def stays_primary(self, i, node, kept, force):
        """Does an instance's secondary take it as its primary? Its disks are there.

        :param node: the secondary of each instance.
        :param kept: memory in MiB it keeps free without the instance.
        """
        state = self.state
        memory = state.memory[node] - state.memory_need[i]
        ok = memory > 0
        if state.any_exclusive:
            ok &= self._keeps_disks(i, node, False)
        soft = (memory > kept) | (state.memory[node] <= kept)
        soft &= state.cpus[node] + state.cpu_need[i] <= state.max_cpus[node]
        inclusive = ~state.exclusive[node]
        soft &= ~(inclusive & (state.spindles_used[node] > state.max_spindles[node]))
        if self.exclusion is not None:
            soft &= ~(self.exclusion[i] * (state.tags_on[:, node].T > 0)).any(axis=1)
        planned = ~self.real[i]
        ok |= planned
        soft |= planned
        soft &= state.memory_forth[node] - self.own_memory[i] > 0
        soft &= state.disk_forth[node] > 0
        soft &= state.cpus_forth[node] + state.cpu_need[i] <= state.max_cpus[node]
        soft &= ~(inclusive & (state.spindles_used_forth[node] > state.max_spindles[node]))
        if state.any_exclusive:
            soft &= self._keeps_disks(i, node, True)
        return ok & (soft | force)

    def stays_secondary(self, i, node, memory, force, ignore_disks=None):
        """(hard, soft) for each instance: does a node that holds its disks become, or stay, its secondary, N+1 apart?

        :param memory: the node's free memory in MiB then.
        :param ignore_disks: for each instance whether the disks may be where no disk is left.
        """
        state = self.state
        planned = ~self.real[i]
        hard = state.disk[node] > 0
        if ignore_disks is not None:
            hard |= ignore_disks
        if state.any_exclusive:
            hard &= self._keeps_disks(i, node, False)
        hard |= planned
        inclusive = ~state.exclusive[node]
        soft = ~(inclusive & (state.spindles_used[node] > state.max_spindles[node])) & (state.reserve_need[i] < memory)
        if ignore_disks is not None:
            soft &= state.disk[node] >= 0
        soft |= planned
        soft &= state.disk_forth[node] > 0
        soft &= ~(inclusive & (state.spindles_used_forth[node] > state.max_spindles[node]))
        if state.any_exclusive:
            soft &= self._keeps_disks(i, node, True)
        # A primary that turns into the secondary gives its memory back first.
        back = np.where(state.primary[i] == node, self.own_memory[i], 0)
        soft &= self.forth_need[i] < state.memory_forth[node] + back
        return hard, soft | force
