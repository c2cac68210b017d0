# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from a placement, node by node, and the rules by which a node takes or gives up an instance.

One row of an array for each figure, one column for each node, so that a step is taken back by copying a few columns.
Memory and disk in MiB. *Free* memory here is what is not promised: total memory minus the node's own minus what the
instances hold minus what is missing without explanation.

The rules are Ganeti's. Hard ones always hold: memory and disk left, spindles with exclusive storage, migration tags.
Soft ones are waived when an instance leaves an offline node or soft errors are ignored: N+1, processor and spindle
ratios, exclusion tags.
"""

from __future__ import annotations

import copy

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import Instances, np

#: Why a node does not take an instance; the names are those htools prints.
FAIL_MEMORY = "FailMem"
FAIL_DISK = "FailDisk"
FAIL_CPU = "FailCPU"
FAIL_N1 = "FailN1"
FAIL_TAGS = "FailTags"
FAIL_MIGRATION = "FailMig"
FAIL_DISK_COUNT = "FailDiskCount"
FAIL_SPINDLES = "FailSpindles"
FAIL_INTERNAL = "FailInternal"
FAILURES = (FAIL_MEMORY, FAIL_DISK, FAIL_CPU, FAIL_N1, FAIL_TAGS, FAIL_MIGRATION, FAIL_DISK_COUNT, FAIL_SPINDLES,
            FAIL_INTERNAL)
#: In words, for people.
FAILURE_WORDS = {
    FAIL_MEMORY: "not enough memory", FAIL_DISK: "not enough disk, or the spindle ratio would be exceeded",
    FAIL_CPU: "the ratio of virtual processors would be exceeded", FAIL_N1: "the cluster would not survive a node's loss",
    FAIL_TAGS: "an instance with the same exclusion tag runs there", FAIL_MIGRATION: "migration tags forbid the way",
    FAIL_DISK_COUNT: "the policy does not allow that many disks", FAIL_SPINDLES: "not enough spindles",
    FAIL_INTERNAL: "no minimum and maximum of the policy fit",
}

#: Which comparison says at load that a node would not survive a peer's loss. Ganeti up to 3.0 compares the memory the
#: hypervisor reports, 3.1 and later what is not promised. After a move both compare what is not promised.
N1_REPORTED = "reported"
N1_UNALLOCATED = "unallocated"

_ROWS = ("memory", "memory_forth", "disk", "disk_forth", "spindles_free", "spindles_free_forth", "cpus", "cpus_forth",
         "spindles_used", "spindles_used_forth", "primaries", "secondaries", "reserved", "reserved_other", "reserved_by",
         "fails_n1", "location", "memory_held", "load_cpu", "load_memory", "load_disk", "load_net")


class State:
    """A placement of the cluster's instances and all figures that follow from it.

    :param cluster: :class:`.model.Cluster`.
    :param group: position of the node group whose score is meant; None for the whole cluster.
    :param n1_rule: :data:`N1_REPORTED` or :data:`N1_UNALLOCATED`.

    An instance whose primary is -1 is not placed yet and counts nowhere.
    """

    def __init__(self, cluster, group=None, n1_rule=N1_REPORTED):
        self.cluster = cluster
        nodes, instances = cluster.nodes, cluster.instances
        count = len(nodes)
        self.table = np.zeros((len(_ROWS), count))
        self._bind()
        self.primary = instances.primary.copy()
        self.secondary = instances.secondary.copy()
        self.offline = nodes.offline.copy()
        self._limits()
        self._instance_figures()
        self.scope = np.ones(count, dtype=bool) if group is None else nodes.group == group
        self._load(n1_rule)

    def _bind(self):
        for index, name in enumerate(_ROWS):
            setattr(self, name, self.table[index])
        self.load = self.table[_ROWS.index("load_cpu"):_ROWS.index("load_net") + 1]

    def _limits(self):
        """What of a node never changes."""
        nodes, groups = self.cluster.nodes, self.cluster.groups
        policies = [groups[group].policy for group in nodes.group]
        ratio = np.array([policy.vcpu_ratio for policy in policies])
        #: Largest number of virtual processors; a negative ratio is none.
        self.max_cpus = np.where(ratio >= 0, ratio * nodes.total_cpus, np.inf)
        #: Where there are no processors, any is too many.
        self.max_spindles = np.array([policy.spindle_ratio for policy in policies]) * nodes.spindles
        self.exclusive = nodes.exclusive_storage
        self.any_exclusive = bool(self.exclusive.any())

    def _instance_figures(self):
        """What an instance takes, for each of them."""
        cluster = self.cluster
        instances = cluster.instances
        self.real = ~instances.forthcoming
        self.disk_need = np.where(instances.local, instances.disk, 0.0)
        self.memory_need = np.where(instances.holds_memory, instances.memory, 0.0)
        self.cpu_need = np.where(instances.counts_cpu, instances.vcpus, 0.0)
        self.spindle_need = np.where(instances.local, instances.spindle_use, 0.0)
        #: What a secondary keeps free for the primary's loss.
        self.reserve_need = np.where(instances.auto_balance & instances.counts_cpu & self.real, instances.memory, 0.0)
        self.disk_spindles = np.zeros(len(instances))
        if self.any_exclusive:
            self.disk_spindles = np.array(
                [np.nan if row.total_spindles() is None else row.total_spindles() for row in instances.rows])
        #: The same, 0 where the disks do not say.
        self.known_spindles = np.nan_to_num(self.disk_spindles)
        rows = instances.rows
        self.exclusion = [cluster.exclusion(row.tags) for row in rows] if cluster.exclusion_prefixes else [()] * len(rows)
        self.desired = [cluster.desired(row.tags) for row in rows] if cluster.desired_prefixes else [()] * len(rows)
        self.tag_names = {}
        for tags in self.exclusion:
            for tag in tags:
                self.tag_names.setdefault(tag, len(self.tag_names))
        self.exclusion = [tuple(self.tag_names[tag] for tag in tags) for tags in self.exclusion]

    # --- loading ---------------------------------------------------------------------------------------------------

    def _load(self, n1_rule):
        nodes, instances = self.cluster.nodes, self.cluster.instances
        count = len(nodes)
        primary, secondary = self.primary, self.secondary
        every = primary >= 0
        real = self.real & every
        with_secondary = np.flatnonzero((secondary >= 0) & real)

        def on_primary(values, which=real):
            return np.bincount(primary[which], weights=values[which], minlength=count)

        def on_secondary(values, which=with_secondary):
            return np.bincount(secondary[which], weights=values[which], minlength=count)

        ones = np.ones(len(instances))
        self.memory_held[:] = on_primary(self.memory_need)
        self.base_memory = self.memory_held.copy()
        recorded = np.trunc(nodes.total_memory) - nodes.node_memory - self.memory_held
        #: Memory nobody accounts for.
        self.missing = recorded - nodes.free_memory
        self.memory[:] = recorded - np.maximum(self.missing, 0)
        idle = ~instances.holds_memory & every
        self.memory_forth[:] = nodes.free_memory - on_primary(instances.memory, idle)
        self.disk[:] = nodes.free_disk
        forth = ~self.real & every
        forth_secondary = np.flatnonzero((secondary >= 0) & forth)
        self.disk_forth[:] = (nodes.free_disk - on_primary(self.disk_need, forth)
                              - on_secondary(self.disk_need, forth_secondary))
        self.spindles_free[:] = nodes.free_spindles
        self.spindles_free_forth[:] = nodes.free_spindles
        if self.any_exclusive:
            known = np.nan_to_num(self.disk_spindles)
            self.spindles_free_forth -= on_primary(known, forth) + on_secondary(known, forth_secondary)
        self.cpus[:] = nodes.node_cpus + on_primary(self.cpu_need)
        self.cpus_forth[:] = nodes.node_cpus + on_primary(self.cpu_need, every)
        all_secondary = np.flatnonzero(secondary >= 0)
        self.spindles_used[:] = np.where(
            self.exclusive, 0.0, on_primary(self.spindle_need) + on_secondary(self.spindle_need))
        self.spindles_used_forth[:] = np.where(
            self.exclusive, 0.0, on_primary(self.spindle_need, every) + on_secondary(self.spindle_need, all_secondary))
        self.primaries[:] = on_primary(ones)
        self.secondaries[:] = on_secondary(ones)
        for index in range(4):
            self.load[index] = on_primary(instances.util[:, index])
        self.load_disk += on_secondary(instances.util[:, 2])
        #: reserved_for[a, b]: memory b keeps free for a's loss; and the same with the indices swapped.
        self.reserved_for = np.bincount(
            primary[with_secondary] * count + secondary[with_secondary], weights=self.reserve_need[with_secondary],
            minlength=count * count,
        ).astype(float, copy=False).reshape(count, count) if count else np.zeros((0, 0))
        self.reserves = np.ascontiguousarray(self.reserved_for.T)
        self._largest(range(count))
        free = nodes.free_memory < self.reserved if n1_rule == N1_REPORTED else self.memory <= self.reserved
        self.fails_n1[:] = free
        self.tags_on = np.zeros((len(self.tag_names), count))
        for index in np.flatnonzero(every) if self.tag_names else ():
            for tag in self.exclusion[index]:
                self.tags_on[tag, primary[index]] += 1
        self.pairs = np.zeros((len(self.cluster.location_names), len(self.tag_names)))
        self.instance_location = np.zeros(len(instances))
        if self.cluster.location_names:
            for index in np.flatnonzero(every):
                self.instance_location[index] = self.location_of(index, primary[index], secondary[index])
                if real[index]:
                    self.location[primary[index]] += self.instance_location[index]
            self._count_all_pairs()

    def set_scope(self, group):
        """Score another node group from now on; None for the whole cluster."""
        self.scope = np.ones(len(self.scope), dtype=bool) if group is None else self.cluster.nodes.group == group
        if self.cluster.location_names:
            self._count_all_pairs()

    def _count_all_pairs(self):
        self.pairs[:] = 0
        online = self.online
        for index in np.flatnonzero(self.real & (self.primary >= 0)):
            if online[self.primary[index]]:
                self._count_pairs(index, self.primary[index], 1)

    def _largest(self, nodes):
        """Find anew the largest reservation of some nodes, whose loss it is for, and the second largest."""
        if len(nodes) > 3:
            self.reserved_by[:] = self.reserves.argmax(axis=1) if self.reserves.size else 0
            self.reserved[:] = self.reserves.max(axis=1, initial=0)
            rest = self.reserves.copy()
            rest[np.arange(len(rest)), self.reserved_by.astype(int)] = 0
            self.reserved_other[:] = rest.max(axis=1, initial=0)
            return
        for node in nodes:
            row = self.reserves[node]
            peer = int(row.argmax())
            value = row[peer]
            row[peer] = 0
            self.reserved_other[node] = row.max()
            row[peer] = value
            self.reserved[node] = value
            self.reserved_by[node] = peer

    @property
    def online(self):
        """The nodes whose figures make the score."""
        return self.scope & ~self.offline

    # --- tags and places -------------------------------------------------------------------------------------------

    def location_of(self, index, primary, secondary):
        """What an instance adds to the location score of its primary."""
        cluster = self.cluster
        shared = cluster.shared_locations[primary, secondary] if secondary >= 0 and cluster.location_names else 0
        return float(shared) + len(set(self.desired[index]) - cluster.node_locations[primary])

    def _count_pairs(self, index, node, sign):
        """Count an instance's pairs of (common-failure tag, exclusion tag)."""
        for tag in self.exclusion[index]:
            self.pairs[:, tag] += sign * self.cluster.locations[node]

    def may_migrate(self, source, target):
        """Whether migration tags let an instance go from one node to the other."""
        table = self.cluster.may_migrate
        return table is None or table[source, target]

    # --- one instance, one node ------------------------------------------------------------------------------------

    def remove_primary(self, i):
        """Take an instance off its primary."""
        node = self.primary[i]
        disk = self.disk_need[i]
        self.memory_forth[node] += self.cluster.instances.memory[i]
        self.disk_forth[node] += disk
        self.cpus_forth[node] -= self.cpu_need[i]
        exclusive = self.exclusive[node]
        if exclusive:
            self.spindles_free_forth[node] += self.known_spindles[i]
        else:
            self.spindles_used_forth[node] -= self.spindle_need[i]
        for tag in self.exclusion[i]:
            self.tags_on[tag, node] -= 1
        if not self.real[i]:
            return
        held = self.memory_need[i]
        self.memory_held[node] -= held
        self.memory[node] += held
        self.disk[node] += disk
        if exclusive:
            self.spindles_free[node] += self.known_spindles[i]
        else:
            self.spindles_used[node] -= self.spindle_need[i]
        self.cpus[node] -= self.cpu_need[i]
        self.load[:, node] -= self.cluster.instances.util[i]
        self.primaries[node] -= 1
        self.fails_n1[node] = self.memory[node] <= self.reserved[node]
        if self.cluster.location_names:
            self.location[node] -= self.instance_location[i]
            if self.scope[node] and not self.offline[node]:
                self._count_pairs(i, node, -1)

    def remove_secondary(self, i):
        """Take an instance off its secondary; its primary is still known."""
        node, peer = self.secondary[i], self.primary[i]
        disk = self.disk_need[i]
        self.disk_forth[node] += disk
        exclusive = self.exclusive[node]
        if exclusive:
            self.spindles_free_forth[node] += self.known_spindles[i]
        else:
            self.spindles_used_forth[node] -= self.spindle_need[i]
        if not self.real[i]:
            return
        self.disk[node] += disk
        if exclusive:
            self.spindles_free[node] += self.known_spindles[i]
        else:
            self.spindles_used[node] -= self.spindle_need[i]
        self.load_disk[node] -= self.cluster.instances.util[i, 2]
        self.secondaries[node] -= 1
        self._reserve(node, peer, -self.reserve_need[i])
        self.fails_n1[node] = self.memory[node] <= self.reserved[node]

    def _reserve(self, node, peer, amount):
        if amount:
            value = self.reserves[node, peer] + amount
            self.reserves[node, peer] = value
            self.reserved_for[peer, node] = value
            self._largest((node,))

    def refuses_primary(self, i, node, force=False):
        """Why a node does not take an instance as its primary; None when it does."""
        disk, real, local = self.disk_need[i], self.real[i], self.cluster.instances.local[i]
        memory = self.memory[node] - self.memory_need[i]
        exclusive = self.exclusive[node]
        if real:
            if memory <= 0:
                return FAIL_MEMORY
            if local and self.disk[node] - disk <= 0:
                return FAIL_DISK
            if local and exclusive and not self.spindles_free[node] - self.disk_spindles[i] >= 0:
                return FAIL_SPINDLES
            if force:
                return None
            if local and not exclusive and self.spindles_used[node] + self.spindle_need[i] > self.max_spindles[node]:
                return FAIL_DISK
            if memory <= self.reserved[node] and not self.fails_n1[node]:
                return FAIL_MEMORY
            if self.cpus[node] + self.cpu_need[i] > self.max_cpus[node]:
                return FAIL_CPU
            for tag in self.exclusion[i]:
                if self.tags_on[tag, node] > 0:
                    return FAIL_TAGS
        elif force:
            return None
        if self.memory_forth[node] - self.cluster.instances.memory[i] <= 0:
            return FAIL_MEMORY
        if local:
            if self.disk_forth[node] - disk <= 0:
                return FAIL_DISK
            if exclusive:
                if not self.spindles_free_forth[node] - self.disk_spindles[i] >= 0:
                    return FAIL_SPINDLES
            elif self.spindles_used_forth[node] + self.spindle_need[i] > self.max_spindles[node]:
                return FAIL_DISK
        if self.cpus_forth[node] + self.cpu_need[i] > self.max_cpus[node]:
            return FAIL_CPU
        return None

    def add_primary(self, i, node, secondary):
        """Put an instance on a node as its primary, whatever :meth:`refuses_primary` says.

        :param secondary: its secondary, or -1; matters for the location score only.
        """
        disk = self.disk_need[i]
        self.primary[i] = node
        self.memory_forth[node] -= self.cluster.instances.memory[i]
        self.disk_forth[node] -= disk
        self.cpus_forth[node] += self.cpu_need[i]
        exclusive = self.exclusive[node]
        if exclusive:
            self.spindles_free_forth[node] -= self.known_spindles[i]
        else:
            self.spindles_used_forth[node] += self.spindle_need[i]
        for tag in self.exclusion[i]:
            self.tags_on[tag, node] += 1
        if not self.real[i]:
            return
        held = self.memory_need[i]
        self.memory_held[node] += held
        self.memory[node] -= held
        self.disk[node] -= disk
        if exclusive:
            self.spindles_free[node] -= self.known_spindles[i]
        else:
            self.spindles_used[node] += self.spindle_need[i]
        self.cpus[node] += self.cpu_need[i]
        self.load[:, node] += self.cluster.instances.util[i]
        self.primaries[node] += 1
        self.fails_n1[node] = self.memory[node] <= self.reserved[node]
        if self.cluster.location_names:
            self.instance_location[i] = self.location_of(i, node, secondary)
            self.location[node] += self.instance_location[i]
            if self.scope[node] and not self.offline[node]:
                self._count_pairs(i, node, 1)

    def refuses_secondary(self, i, node, peer, force=False, ignore_disks=False):
        """Why a node does not take an instance as its secondary; None when it does.

        :param peer: the instance's primary.
        :param ignore_disks: its disks are there already.
        """
        if not self.cluster.instances.mirrored[i]:
            return FAIL_DISK
        disk, need = self.disk_need[i], self.reserve_need[i]
        exclusive = self.exclusive[node]
        if self.real[i]:
            if not ignore_disks and self.disk[node] - disk <= 0:
                return FAIL_DISK
            if not force and self.disk[node] - disk < 0:
                return FAIL_DISK
            if exclusive and not self.spindles_free[node] - self.disk_spindles[i] >= 0:
                return FAIL_SPINDLES
            if force:
                return None
            if not exclusive and self.spindles_used[node] + self.spindle_need[i] > self.max_spindles[node]:
                return FAIL_DISK
            if need >= self.memory[node]:
                return FAIL_MEMORY
            reserved = max(self.reserved[node], self.reserves[node, peer] + need)
            if self.memory[node] <= reserved and not self.fails_n1[node]:
                return FAIL_MEMORY
        elif force:
            return None
        if self.disk_forth[node] - disk <= 0:
            return FAIL_DISK
        if exclusive:
            if not self.spindles_free_forth[node] - self.disk_spindles[i] >= 0:
                return FAIL_SPINDLES
        elif self.spindles_used_forth[node] + self.spindle_need[i] > self.max_spindles[node]:
            return FAIL_DISK
        forthcoming_need = need if self.real[i] else self._reserve_if_real(i)
        if forthcoming_need >= self.memory_forth[node]:
            return FAIL_MEMORY
        return None

    def _reserve_if_real(self, i):
        instances = self.cluster.instances
        return instances.memory[i] if instances.auto_balance[i] and instances.counts_cpu[i] else 0.0

    def add_secondary(self, i, node, peer):
        """Put an instance on a node as its secondary, whatever :meth:`refuses_secondary` says."""
        disk = self.disk_need[i]
        self.secondary[i] = node
        self.disk_forth[node] -= disk
        exclusive = self.exclusive[node]
        if exclusive:
            self.spindles_free_forth[node] -= self.known_spindles[i]
        else:
            self.spindles_used_forth[node] += self.spindle_need[i]
        if not self.real[i]:
            return
        self.disk[node] -= disk
        if exclusive:
            self.spindles_free[node] -= self.known_spindles[i]
        else:
            self.spindles_used[node] += self.spindle_need[i]
        self.load_disk[node] += self.cluster.instances.util[i, 2]
        self.secondaries[node] += 1
        self._reserve(node, peer, self.reserve_need[i])
        self.fails_n1[node] = self.memory[node] <= self.reserved[node]

    # --- taking back -----------------------------------------------------------------------------------------------

    def snapshot(self, i, nodes):
        """What :meth:`restore` needs to undo any change of one instance that touches only these nodes."""
        nodes = sorted({int(node) for node in nodes if node >= 0})
        return (
            i, nodes, self.table[:, nodes], self.reserves[nodes], self.reserved_for[:, nodes],
            self.tags_on[:, nodes] if len(self.tags_on) else None, self.pairs.copy() if self.pairs.size else None,
            self.primary[i], self.secondary[i], self.instance_location[i],
        )

    def restore(self, saved):
        """Undo what happened since :meth:`snapshot`."""
        i, nodes, table, reserves, reserved_for, tags_on, pairs, primary, secondary, location = saved
        self.table[:, nodes] = table
        self.reserves[nodes] = reserves
        self.reserved_for[:, nodes] = reserved_for
        if tags_on is not None:
            self.tags_on[:, nodes] = tags_on
        if pairs is not None:
            self.pairs[:] = pairs
        self.primary[i], self.secondary[i], self.instance_location[i] = primary, secondary, location

    def only(self, row):
        """The same nodes as they are, knowing one instance only, which is not placed: for placing many of one kind.

        :param row: :class:`.model.Instance` without tags.
        """
        twin = self.copy()
        twin.cluster = copy.copy(self.cluster)
        twin.cluster.instances = Instances([row])
        twin.primary, twin.secondary = twin.cluster.instances.primary.copy(), twin.cluster.instances.secondary.copy()
        names = self.tag_names
        twin._instance_figures()  # pylint: disable=protected-access
        twin.tag_names, twin.instance_location = names, np.zeros(1)
        return twin

    def copy(self):
        """An independent copy; the cluster and the instances' needs are shared."""
        twin = object.__new__(State)
        twin.__dict__.update(self.__dict__)
        for name in ("table", "primary", "secondary", "offline", "reserves", "reserved_for", "tags_on", "pairs",
                     "instance_location"):
            setattr(twin, name, getattr(self, name).copy())
        twin._bind()  # pylint: disable=protected-access
        return twin
