# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The moves of one instance: what they are, one applied by the book, and all of them scored at once.

:func:`apply` follows a move step by step, as the nodes would. :class:`Evaluator` answers the same for every instance
and every target in a few matrix products. The score is a sum of square roots of variances and of counts. An instance
changes a node's share by ``need * 1/size``; so the change of a variance is a product of figures of the instance and
figures of the node, and all of them together are one matrix product of rank four. Tests compare the two.
"""

from __future__ import annotations

import typing as t

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.score import WEIGHTS, counted, free_disk, inverse
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import FAIL_DISK, FAIL_INTERNAL, FAIL_MIGRATION

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


class _Spread:
    """One spread metric, or several that are the same but for a factor: the figures of nodes and instances.

    :param weight: its weight.
    :param values: function of the state to the nodes' values.
    :param parts: list of (what an instance adds, what one unit of it is of each node).
    """

    def __init__(self, weight, values, parts):
        self.weight = weight
        self.values = values
        self.parts = parts
        self.y = self.sum = self.squares = self.number = None

    def refresh(self, state, online):
        """Take in the nodes' present values, centred so that nothing is lost to cancellation."""
        if self.number is None:
            self.number = int(online.sum())
        values = self.values(state)
        values = values - float(values @ online) / self.number
        values *= online
        self.y = values
        self.sum = float(values.sum())
        self.squares = float(values @ values)

    def factor_of(self, other, online):
        """The factor by which this metric is another one for ever, or None."""
        if len(self.parts) != 1 or len(other.parts) != 1:
            return None
        (need, unit), (other_need, other_unit) = self.parts[0], other.parts[0]
        of_need, of_unit = _ratio(need, other_need), _ratio(unit[online], other_unit[online])
        if of_need is None or of_unit is None:
            return None
        if np.allclose(self.y, of_need * of_unit * other.y, rtol=1e-12, atol=1e-12):
            return abs(of_need * of_unit)
        return None


def _ratio(ours, theirs):
    """c where ours = c * theirs, or None."""
    at = np.flatnonzero(theirs)
    if not len(at):
        return None if ours.any() else 0.0
    c = ours[at[0]] / theirs[at[0]]
    return float(c) if c and np.allclose(ours, c * theirs, rtol=1e-13, atol=0) else None


class Evaluator:
    """Scores of all moves of many instances from one placement.

    :param state: :class:`.state.State`; read anew by :meth:`refresh`.
    :param options: :class:`Options`.
    """

    #: Instances × targets worked on at a time: few enough to stay in the processor's cache.
    CHUNK = 60000

    def __init__(self, state, options=Options()):
        self.state = state
        self.options = options
        self.online = state.online
        self.targets = np.flatnonzero(self.online)
        self.column = np.full(len(self.online), -1)
        self.column[self.targets] = np.arange(len(self.targets))
        nodes, instances = state.cluster.nodes, state.cluster.instances
        self.per_memory = inverse(nodes.total_memory) * self.online
        self.real = state.real.astype(float)
        self.offline_nodes = (state.scope & state.offline).astype(float)
        self.any_offline = bool(self.offline_nodes.any())
        self._spreads(nodes, instances)
        self.exclusion = None
        if state.tag_names:
            self.exclusion = np.zeros((len(instances), len(state.tag_names)))
            for index, tags in enumerate(state.exclusion):
                for tag in tags:
                    self.exclusion[index, tag] += 1
        self.desired = None
        if any(state.desired):
            self.desired = np.zeros((len(instances), len(state.cluster.location_names)))
            for index, tags in enumerate(state.desired):
                for tag in tags:
                    self.desired[index, state.cluster.location_names[tag]] = 1.0
        self.refresh()

    def _spreads(self, nodes, instances):
        state, online = self.state, self.online
        real = self.real
        per_memory = self.per_memory
        per_cpu = inverse(nodes.total_cpus * nodes.cpu_speed) * online
        per_disk = inverse(nodes.total_disk) * online * ~state.exclusive
        per_spindle = inverse(state.max_spindles) * online * ~state.exclusive
        whole = inverse(nodes.total_memory), inverse(nodes.total_cpus * nodes.cpu_speed), inverse(state.max_spindles)
        ones = online.astype(float)
        util = instances.util * real[:, None]
        spindles = np.nan_to_num(state.disk_spindles)
        exclusive = inverse(nodes.spindles) * online * state.exclusive

        def disk(need, spindle_need):
            parts = [(-need, per_disk)]
            return parts + [(-spindle_need, exclusive)] if state.any_exclusive else parts

        w = WEIGHTS
        primary = [
            _Spread(w["free_mem_cv"], lambda s: s.memory * whole[0], [(-state.memory_need, per_memory)]),
            _Spread(w["free_mem_cv_forth"], lambda s: s.memory_forth * whole[0], [(-instances.memory, per_memory)]),
            _Spread(w["vcpu_ratio_cv"], lambda s: s.cpus * whole[1], [(state.cpu_need * real, per_cpu)]),
            _Spread(w["vcpu_ratio_cv_forth"], lambda s: s.cpus_forth * whole[1], [(state.cpu_need, per_cpu)]),
            _Spread(w["cpu_load_cv"], lambda s: s.load_cpu.copy(), [(util[:, 0], ones)]),
            _Spread(w["mem_load_cv"], lambda s: s.load_memory.copy(), [(util[:, 1], ones)]),
            _Spread(w["net_load_cv"], lambda s: s.load_net.copy(), [(util[:, 3], ones)]),
        ]
        both = [
            _Spread(w["free_disk_cv"], free_disk, disk(state.disk_need * real, spindles * real)),
            _Spread(w["free_disk_cv_forth"], lambda s: free_disk(s, True), disk(state.disk_need, spindles)),
            _Spread(w["disk_load_cv"], lambda s: s.load_disk.copy(), [(util[:, 2], ones)]),
            _Spread(w["spindles_cv"], lambda s: s.spindles_used * whole[2], [(state.spindle_need * real, per_spindle)]),
            _Spread(w["spindles_cv_forth"], lambda s: s.spindles_used_forth * whole[2], [(state.spindle_need, per_spindle)]),
        ]
        #: Those that only the primary counts for, and those that primary and secondary count for alike.
        self.primary_spreads = self._merged(primary)
        self.both_spreads = self._merged(both)

    def _merged(self, spreads):
        """Fewer spreads with the same sum: without forthcoming instances half of them say the same."""
        kept = []
        for spread in spreads:
            if len(self.targets):
                spread.refresh(self.state, self.online)
            for other in kept if len(self.targets) else ():
                factor = spread.factor_of(other, self.online)
                if factor is not None:
                    other.weight += spread.weight * factor
                    break
            else:
                kept.append(spread)
        return kept

    def refresh(self):
        """Take in the state as it is now."""
        state = self.state
        if not len(self.targets):
            return
        count = len(self.targets)
        for spread in self.primary_spreads + self.both_spreads:
            spread.refresh(state, self.online)
        reserved = state.reserved * self.per_memory
        self.reserved_mean = reserved[self.online].mean()
        self.reserved_y = np.where(self.online, reserved - self.reserved_mean, 0.0)
        self.reserved_sum = float(self.reserved_y.sum())
        self.reserved_squares = float(self.reserved_y @ self.reserved_y)
        self.base_primary = sum(one.weight * max(one.squares / count - (one.sum / count) ** 2, 0) ** 0.5
                                for one in self.primary_spreads)
        self.base_both = sum(one.weight * max(one.squares / count - (one.sum / count) ** 2, 0) ** 0.5 for one in self.both_spreads)
        self.base_reserved = (max(self.reserved_squares / count - (self.reserved_sum / count) ** 2, 0) ** 0.5
                              * WEIGHTS["reserved_mem_cv"])
        self.count = state.primaries + state.secondaries
        self.n1 = state.fails_n1 * self.count * self.online
        #: All that is no spread, and stays unless a move says otherwise.
        self.rest = counted(state, self.online, self.per_memory)
        self.score = self.rest + self.base_primary + self.base_both + self.base_reserved
        self._limits()

    def _limits(self):
        """The largest need each target still takes, hard and soft rules apart."""
        state, at = self.state, self.targets
        fails = state.fails_n1[at] > 0
        memory = state.memory[at]
        self.hard_memory = memory
        self.soft_memory = np.where(fails, np.inf, memory - state.reserved[at])
        self.forth_memory = state.memory_forth[at]
        self.hard_disk = state.disk[at]
        self.forth_disk = state.disk_forth[at]
        self.soft_cpu = state.max_cpus[at] - state.cpus[at]
        self.forth_cpu = state.max_cpus[at] - state.cpus_forth[at]
        exclusive = state.exclusive[at]
        self.soft_spindles = np.where(exclusive, np.inf, state.max_spindles[at] - state.spindles_used[at])
        self.forth_spindles = np.where(exclusive, np.inf, state.max_spindles[at] - state.spindles_used_forth[at])
        self.hard_spindles = np.where(exclusive, state.spindles_free[at], np.inf)
        self.forth_free_spindles = np.where(exclusive, state.spindles_free_forth[at], np.inf)
        self.target_fails = fails
        self.tagged = (state.tags_on[:, at] > 0).astype(float) if self.exclusion is not None else None

    # --- spreads ---------------------------------------------------------------------------------------------------

    def _losing(self, spread, i, nodes):
        """Change of sum and of squares when instances leave the nodes."""
        v = 0.0
        for need, unit in spread.parts:
            v = v + need[i] * unit[nodes]
        return -v, v * (v - 2 * spread.y[nodes])

    def _table(self, spreads, i, nodes, out):
        """Add to ``out`` the weighted spreads when instances leave ``nodes`` and come to each target."""
        count = len(self.targets)
        at = self.targets
        for spread in spreads:
            less, squares = self._losing(spread, i, nodes)
            total = spread.sum + less
            weight = spread.weight ** 2 / count
            rows = [(spread.squares + squares - total * total / count) * weight]
            columns = [np.ones(count)]
            for need, unit in spread.parts:
                a, d = need[i] * weight, unit[at]
                rows += [2 * a, (-2 / count) * total * a, need[i] * a * (1 - 1 / count)]
                columns += [spread.y[at] * d, d, d * d]
            product = np.column_stack(rows) @ np.stack(columns)
            np.maximum(product, 0, out=product)
            np.sqrt(product, out=product)
            out += product
        return out

    def _swap(self, spreads, i, loses, gains):
        """Weighted spreads when instances leave one node each and come to another one each."""
        count = len(self.targets)
        total = np.zeros(len(i))
        for spread in spreads:
            less, squares = self._losing(spread, i, loses)
            u = 0.0
            for need, unit in spread.parts:
                u = u + need[i] * unit[gains]
            s = spread.sum + less + u
            q = spread.squares + squares + u * (u + 2 * spread.y[gains])
            total += spread.weight * np.sqrt(np.maximum(q / count - (s / count) ** 2, 0))
        return total

    def _reserved_spread(self, s, q):
        count = len(self.targets)
        s /= count
        s *= s
        q /= count
        q -= s
        np.maximum(q, 0, out=q)
        np.sqrt(q, out=q)
        return q

    # --- rules -----------------------------------------------------------------------------------------------------

    def takes_primary(self, i, force):
        """(instances, targets): does the target take the instance as its primary?

        :param force: for each instance whether soft rules are waived.
        """
        state = self.state
        real = state.real[i]
        local = state.cluster.instances.local[i]
        memory = state.memory_need[i][:, None]
        disk = np.where(local, state.disk_need[i], -np.inf)[:, None]
        ok = memory < self.hard_memory
        ok &= disk < self.hard_disk
        if not real.all():
            ok |= ~real[:, None]
        spindles = None
        if state.any_exclusive:
            spindles = np.where(local, np.nan_to_num(state.disk_spindles[i], nan=np.inf), -np.inf)[:, None]
            ok &= (spindles <= self.hard_spindles) | ~real[:, None]
        if force.all():
            return ok
        cpu = state.cpu_need[i][:, None]
        used = np.where(local, state.spindle_need[i], -np.inf)[:, None]
        soft = memory < self.soft_memory
        soft &= cpu <= self.soft_cpu
        soft &= used <= self.soft_spindles
        if self.tagged is not None:
            soft &= ~(self.exclusion[i] @ self.tagged > 0)
        if not real.all():
            soft |= ~real[:, None]
        soft &= state.cluster.instances.memory[i][:, None] < self.forth_memory
        soft &= disk < self.forth_disk
        soft &= cpu <= self.forth_cpu
        soft &= used <= self.forth_spindles
        if spindles is not None:
            soft &= spindles <= self.forth_free_spindles
        if force.any():
            soft |= force[:, None]
        ok &= soft
        return ok

    def takes_secondary(self, i, reserved, force):
        """(instances, targets): does the target take the instance as its secondary?

        :param reserved: (instances, targets): the memory the target would keep free then.
        """
        state = self.state
        real = state.real[i]
        disk = state.disk_need[i][:, None]
        ok = disk < self.hard_disk
        if not real.all():
            ok |= ~real[:, None]
        spindles = None
        if state.any_exclusive:
            spindles = np.nan_to_num(state.disk_spindles[i], nan=np.inf)[:, None]
            ok &= (spindles <= self.hard_spindles) | ~real[:, None]
        if force.all():
            return ok
        used = state.spindle_need[i][:, None]
        need = state.reserve_need[i][:, None]
        soft = reserved < self.hard_memory
        soft |= self.target_fails
        soft &= used <= self.soft_spindles
        soft &= need < self.hard_memory
        if not real.all():
            soft |= ~real[:, None]
            instances = state.cluster.instances
            need = np.where(instances.auto_balance[i] & instances.counts_cpu[i], instances.memory[i], 0)[:, None]
        soft &= disk < self.forth_disk
        soft &= used <= self.forth_spindles
        soft &= need < self.forth_memory
        if spindles is not None:
            soft &= spindles <= self.forth_free_spindles
        if force.any():
            soft |= force[:, None]
        ok &= soft
        return ok

    # --- all moves of DRBD instances -------------------------------------------------------------------------------

    def drbd(self, i, kinds=None):
        """Scores after every move of some DRBD instances; infinite where a move is refused.

        :param i: positions of the instances.
        :param kinds: only these kinds; default: what the options allow.
        :returns: ``{kind: array}``: (instances, targets), and (instances,) for :data:`FAILOVER`.
        """
        out = {}
        step = max(1, self.CHUNK // max(1, len(self.targets)))
        for start in range(0, len(i), step):
            part = self._drbd(i[start:start + step], kinds)
            for kind, table in part.items():
                out.setdefault(kind, []).append(table)
        return {kind: tables[0] if len(tables) == 1 else np.concatenate(tables) for kind, tables in out.items()}

    def kinds(self, p, s):
        """For each kind of move of DRBD instances which of them may make it: arrays of booleans."""
        options, state = self.options, self.state
        every = np.ones(len(p), dtype=bool)
        moves, disks = options.instance_moves, options.disk_moves
        # The secondary takes over only where it is online and of the group. Restricted migration still lets an instance
        # change places with its secondary, as hbal's manual has it; only ways over a third node are closed.
        usable = self.online[s] & moves
        restricted = every & options.restricted_migration
        drained = state.offline[p]
        return {
            FAILOVER: usable,
            REPLACE_SECONDARY: every & disks,
            REPLACE_AND_FAILOVER: (every & disks & moves) & (~restricted | drained),
            REPLACE_PRIMARY: usable & disks & ~restricted,
            FAILOVER_AND_REPLACE: usable & disks & (~restricted | drained),
        }

    def _drbd(self, i, kinds):
        state, at = self.state, self.targets
        p, s = state.primary[i], state.secondary[i]
        allowed = {kind: np.ones(len(i), dtype=bool) for kind in kinds} if kinds else self.kinds(p, s)
        wanted = {kind for kind, which in allowed.items() if which.any()}
        real = self.real[i]
        held, need = state.memory_need[i], state.reserve_need[i]
        memory, reserved, online = state.memory, state.reserved, self.online
        on_p, on_s = online[p], online[s]
        ignore = self.options.ignore_soft_errors
        force_p, force_s, soft = state.offline[p] | ignore, state.offline[s] | ignore, np.full(len(i), ignore)
        isreal = state.real[i]
        # The secondary without the instance.
        kept = np.where(state.reserved_by[s] == p, np.maximum(state.reserved_other[s], state.reserves[s, p] - need), reserved[s])
        y_p, y_s = self.reserved_y[p], self.reserved_y[s]
        kept_y = np.where(on_s, kept * self.per_memory[s] - self.reserved_mean, 0.0)
        less_sum = self.reserved_sum + kept_y - y_s
        less_squares = self.reserved_squares + kept_y * kept_y - y_s * y_s
        count = self.count
        n1_p, n1_s = self.n1[p], self.n1[s]

        def n1(fails, number, node, old):
            """Change of the count of instances on nodes that do not survive a loss."""
            new = np.where(isreal, fails, state.fails_n1[node] > 0) * (count[node] + number * real)
            return new * online[node] - old

        gone_p, gone_s = memory[p] + held, memory[s] - held
        without_s = n1(memory[s] <= kept, -1, s, n1_s)
        # Offline nodes count what is on them.
        w_all, w_pri = WEIGHTS["offline_all_cnt"] * real, WEIGHTS["offline_pri_cnt"] * real
        off_p, off_s = self.offline_nodes[p], self.offline_nodes[s]
        rest = np.full(len(i), self.rest)
        leaves_p = rest - off_p * (w_all + w_pri)
        turns_p = rest - off_p * w_pri
        leaves_s = -off_s * w_all
        tables = {}
        unknown = None
        if state.any_exclusive:
            unknown = np.isnan(state.disk_spindles[i])
        column_p, column_s = self.column[p], self.column[s]
        row = np.arange(len(i))
        location = self._location(i, p, s) if state.cluster.location_names else None
        tag_p = tag_s = tag_t = 0.0
        if self.exclusion is not None:
            tags = self.exclusion[i]
            tag_p = -2 * on_p * (tags * (state.tags_on[:, p].T >= 2)).sum(axis=1)
            tag_s = 2 * on_s * (tags * (state.tags_on[:, s].T >= 1)).sum(axis=1)
            tag_t = 2 * (tags @ self.tagged)
        else:
            tag_t = None
        weight_sum = WEIGHTS["reserved_mem_rtotal"]

        def reserved_score(new_y, old_y, table):
            """Spread and total of the reservations, added to a table."""
            change = new_y - old_y
            total = change + less_sum[:, None]
            new_y *= new_y
            new_y += less_squares[:, None]
            new_y -= old_y * old_y
            table += (less_sum - self.reserved_sum)[:, None] * weight_sum
            change *= weight_sum
            table += change
            table += self._reserved_spread(total, new_y)

        may = state.cluster.may_migrate
        to_s = np.ones(len(i), dtype=bool) if may is None else may[p, s]
        # Disks that stay must lie on nodes with disk left.
        p_hard = (((memory[p] > 0) & (state.disk[p] > 0)) | ~isreal)
        s_disk = (state.disk[s] > 0) | ~isreal
        p_disk = (state.disk[p] > 0) | ~isreal
        if unknown is not None:
            bad = unknown & state.exclusive[p]
            p_hard &= ~(bad | (state.exclusive[p] & (state.spindles_free[p] < 0))) | ~isreal
        s_runs = self._stays_primary(i, s, kept, force_p) & to_s & s_disk
        both_s = both_p = pri_t = None
        if wanted & {REPLACE_SECONDARY, REPLACE_AND_FAILOVER}:
            both_s = self._table(self.both_spreads, i, s, np.zeros((len(i), len(at))))
        if wanted & {REPLACE_PRIMARY, FAILOVER_AND_REPLACE}:
            both_p = self._table(self.both_spreads, i, p, np.zeros((len(i), len(at))))
        if wanted & {REPLACE_AND_FAILOVER, REPLACE_PRIMARY}:
            pri_t = self._table(self.primary_spreads, i, p, np.zeros((len(i), len(at))))
            # The target as primary: its count of instances without a spare node.
            fails = memory[at] - held[:, None] <= reserved[at]
            if not isreal.all():
                fails = np.where(isreal[:, None], fails, self.target_fails)
            pri_t += fails * (count[at] + real[:, None]) - self.n1[at]
            if tag_t is not None:
                pri_t += tag_t
        swap = self._swap(self.primary_spreads, i, p, s)
        reserved_t, y_t = reserved[at], self.reserved_y[at]
        per_t = self.per_memory[at]

        def secondary_on_target(peer):
            """Reservation of each target as secondary of a primary on ``peer``."""
            table = state.reserved_for[peer][:, at]
            table += need[:, None]
            np.maximum(table, reserved_t, out=table)
            return table

        def n1_target(r):
            fails = memory[at] <= r
            if not isreal.all():
                fails = np.where(isreal[:, None], fails, self.target_fails)
            return fails * (count[at] + real[:, None]) - self.n1[at]

        if FAILOVER in wanted:
            r = np.maximum(reserved[p], state.reserves[p, s] + need)
            y = np.where(on_p, r * self.per_memory[p] - self.reserved_mean, 0.0)
            spread = self._reserved_spread(less_sum + y - y_p, less_squares + y * y - y_p * y_p)
            f = turns_p + self.base_both + swap + spread + tag_p + tag_s
            f += weight_sum * (less_sum + y - y_p - self.reserved_sum)
            f += n1(gone_p <= r, 0, p, n1_p) + n1(gone_s <= kept, 0, s, n1_s)
            f += off_s * w_pri
            if location is not None:
                f += location["f"]
            ok = allowed[FAILOVER] & s_runs & self._stays_secondary(i, p, gone_p, r, held, force_p, state.offline[p])
            tables[FAILOVER] = np.where(ok, f, np.inf)
        if REPLACE_SECONDARY in wanted:
            r = secondary_on_target(p)
            table = both_s
            if REPLACE_AND_FAILOVER in wanted:
                table = both_s.copy()
            fixed = rest + self.base_primary + without_s + leaves_s + n1(memory[p] <= reserved[p], 0, p, n1_p)
            table += fixed[:, None]
            table += n1_target(r)
            ok = self.takes_secondary(i, r, force_s)
            ok &= (allowed[REPLACE_SECONDARY] & p_hard)[:, None]
            r *= per_t
            r -= self.reserved_mean
            reserved_score(r, y_t, table)
            if location is not None:
                table += location["r"]
            tables[REPLACE_SECONDARY] = self._closed(table, ok, row, column_p, column_s)
        if wanted & {REPLACE_AND_FAILOVER, REPLACE_PRIMARY}:
            if REPLACE_AND_FAILOVER in wanted:
                r = state.reserves[p][:, at]
                r += need[:, None]
                np.maximum(r, reserved[p][:, None], out=r)
                table = both_s
                table += pri_t
                fixed = turns_p + without_s + leaves_s + tag_p
                table += fixed[:, None]
                fails = gone_p[:, None] <= r
                if not isreal.all():
                    fails = np.where(isreal[:, None], fails, (state.fails_n1[p] > 0)[:, None])
                # Primary before, secondary after: its number of instances stays.
                table += fails * (count[p] * on_p)[:, None] - n1_p[:, None]
                ok = self._stays_secondary_table(i, p, gone_p, r, force_s, held)
                ok &= self.takes_primary(i, soft)
                ok &= (allowed[REPLACE_AND_FAILOVER])[:, None]
                if may is not None:
                    ok &= may[p][:, at]
                r *= self.per_memory[p][:, None]
                r -= (self.reserved_mean * on_p)[:, None]
                reserved_score(r, y_p[:, None], table)
                if location is not None:
                    table += location["rf"]
                tables[REPLACE_AND_FAILOVER] = self._closed(table, ok, row, column_p, column_s)
            if REPLACE_PRIMARY in wanted:
                # The secondary stays, but keeps memory for another node.
                r = state.reserves[s][:, at]
                r += need[:, None]
                np.maximum(r, kept[:, None], out=r)
                table = pri_t
                table += both_p
                fixed = leaves_p + n1(gone_p <= reserved[p], -1, p, n1_p) + tag_p
                table += fixed[:, None]
                fails = memory[s][:, None] <= r
                if not isreal.all():
                    fails = np.where(isreal[:, None], fails, (state.fails_n1[s] > 0)[:, None])
                table += fails * (count[s] * on_s)[:, None] - n1_s[:, None]
                ok = self._stays_secondary_table(i, s, memory[s], r, force_p, np.zeros(len(i)), kept)
                ok &= self.takes_primary(i, force_p)
                ok &= (allowed[REPLACE_PRIMARY] & s_runs)[:, None]
                if may is not None:
                    ok &= may[s][:, at]
                r *= self.per_memory[s][:, None]
                r -= (self.reserved_mean * on_s)[:, None]
                # Its own reservation changes from what it is without the instance.
                reserved_score(r, kept_y[:, None], table)
                if location is not None:
                    table += location["frf"]
                tables[REPLACE_PRIMARY] = self._closed(table, ok, row, column_p, column_s)
        if FAILOVER_AND_REPLACE in wanted:
            r = secondary_on_target(s)
            table = both_p
            fixed = (leaves_p + swap + n1(gone_p <= reserved[p], -1, p, n1_p) + n1(gone_s <= kept, 0, s, n1_s) + tag_p + tag_s
                     + off_s * w_pri)
            table += fixed[:, None]
            table += n1_target(r)
            ok = self.takes_secondary(i, r, force_p)
            ok &= (allowed[FAILOVER_AND_REPLACE] & s_runs)[:, None]
            r *= per_t
            r -= self.reserved_mean
            reserved_score(r, y_t, table)
            if location is not None:
                table += location["fr"]
            tables[FAILOVER_AND_REPLACE] = self._closed(table, ok, row, column_p, column_s)
        return tables

    @staticmethod
    def _closed(table, ok, row, column_p, column_s):
        """Infinite where refused, and where the target is one of the instance's nodes."""
        for column in (column_p, column_s):
            there = column >= 0
            ok[row[there], column[there]] = False
        table[~ok] = np.inf
        return table

    def _stays_primary(self, i, node, kept, force):
        """Does an instance's secondary take it as its primary? Its disks are there."""
        state = self.state
        memory = state.memory[node] - state.memory_need[i]
        real = state.real[i]
        ok = memory > 0
        disk_spindles = np.ones(len(i), dtype=bool)
        if state.any_exclusive:
            unknown = np.isnan(state.disk_spindles[i])
            disk_spindles = ~state.exclusive[node] | ((state.spindles_free[node] >= 0) & ~unknown)
        ok &= disk_spindles
        failed = state.memory[node] <= kept
        soft = (memory > kept) | failed
        soft &= state.cpus[node] + state.cpu_need[i] <= state.max_cpus[node]
        inclusive = ~state.exclusive[node]
        soft &= ~(inclusive & (state.spindles_used[node] > state.max_spindles[node]))
        if self.exclusion is not None:
            soft &= ~(self.exclusion[i] * (state.tags_on[:, node].T > 0)).any(axis=1)
        ok |= ~real
        soft |= ~real
        soft &= state.memory_forth[node] - state.cluster.instances.memory[i] > 0
        soft &= state.disk_forth[node] > 0
        soft &= state.cpus_forth[node] + state.cpu_need[i] <= state.max_cpus[node]
        soft &= ~(inclusive & (state.spindles_used_forth[node] > state.max_spindles[node]))
        if state.any_exclusive:
            soft &= ~state.exclusive[node] | ((state.spindles_free_forth[node] >= 0) & ~unknown)
        return ok & (soft | force)

    def _stays_secondary(self, i, node, memory, reserved, held, force, ignore_disks):
        """Does a node that holds the disks become the secondary?

        :param memory: its free memory then.
        :param reserved: what it would keep free.
        """
        return self._stays_secondary_table(i, node, memory, reserved[:, None], force, held, None, ignore_disks)[:, 0]

    def _stays_secondary_table(self, i, node, memory, reserved, force, held, kept=None, ignore_disks=None):
        state = self.state
        real = state.real[i]
        hard = state.disk[node] > 0
        if ignore_disks is not None:
            hard |= ignore_disks
        if state.any_exclusive:
            unknown = np.isnan(state.disk_spindles[i])
            hard &= ~state.exclusive[node] | ((state.spindles_free[node] >= 0) & ~unknown)
        hard |= ~real
        if force.all():
            return np.repeat(hard[:, None], reserved.shape[1], axis=1)
        need = state.reserve_need[i]
        before = state.reserved[node] if kept is None else kept
        failed = memory <= before
        inclusive = ~state.exclusive[node]
        soft = ~(inclusive & (state.spindles_used[node] > state.max_spindles[node])) & (need < memory)
        if ignore_disks is not None:
            soft &= state.disk[node] >= 0
        soft |= ~real
        forth = state.disk_forth[node] > 0
        forth &= ~(inclusive & (state.spindles_used_forth[node] > state.max_spindles[node]))
        if state.any_exclusive:
            forth &= ~state.exclusive[node] | ((state.spindles_free_forth[node] >= 0) & ~unknown)
        instances = state.cluster.instances
        need_forth = np.where(instances.auto_balance[i] & instances.counts_cpu[i], instances.memory[i], 0)
        # A primary that turns into the secondary gives its memory back first.
        back = np.where(state.primary[i] == node, instances.memory[i], 0)
        forth &= need_forth < state.memory_forth[node] + back
        soft &= forth
        table = reserved < memory[:, None]
        table |= (failed | ~real)[:, None]
        table &= soft[:, None]
        table |= force[:, None]
        table &= hard[:, None]
        return table

    # --- places ----------------------------------------------------------------------------------------------------

    def _location(self, i, p, s):
        """Change of the two location metrics by kind of move."""
        state, at = self.state, self.targets
        cluster = state.cluster
        shared = cluster.shared_locations
        real = self.real[i]
        on_p, on_s = self.online[p] * real, self.online[s] * real
        own = np.where(s >= 0, shared[p, s], 0.0)
        locations = cluster.locations

        def unmet(nodes):
            if self.desired is None:
                return np.zeros(len(i))
            wish = self.desired[i]
            return wish.sum(axis=1) - (wish * locations[nodes]).sum(axis=1)

        unmet_t = np.zeros((len(i), len(at)))
        if self.desired is not None:
            wish = self.desired[i]
            unmet_t = wish.sum(axis=1)[:, None] - wish @ locations[at].T
        unmet_p = unmet(p)
        old = on_p * (own + unmet_p)
        r = real[:, None]
        pairs_t = self._pairs(i, p)
        out = {"fa": r * (unmet_t + np.where(s >= 0, own, 0.0)[:, None]) - old[:, None] + pairs_t}
        if (s >= 0).all():
            unmet_s = unmet(s)
            pairs_s = self._pairs_one(i, p, s)
            out["f"] = on_s * (own + unmet_s) - old + pairs_s
            out["r"] = on_p[:, None] * (shared[p][:, at] + unmet_p[:, None]) - old[:, None]
            out["rf"] = r * (shared[p][:, at] + unmet_t) - old[:, None] + pairs_t
            out["frf"] = r * (shared[s][:, at] + unmet_t) - old[:, None] + pairs_t
            out["fr"] = on_s[:, None] * (shared[s][:, at] + unmet_s[:, None]) - old[:, None] + pairs_s[:, None]
        return out

    def _weights(self, i, p):
        """For each instance and common-failure tag: what one pair more, and one less, changes."""
        state = self.state
        locations = state.cluster.locations
        real = self.real[i][:, None]
        from_p = locations[p] * (self.online[p] * self.real[i])[:, None]
        tags = self.exclusion[i]
        more = (tags @ (state.pairs >= 1).T) * real
        less = (tags @ (state.pairs >= 2).T) * real
        return from_p, more, less

    def _pairs(self, i, p):
        """Change of the duplicates of (common-failure tag, exclusion tag) when the primary goes to each target."""
        if self.exclusion is None:
            return 0.0
        from_p, more, less = self._weights(i, p)
        to = self.state.cluster.locations[self.targets]
        return (more * (1 - from_p)) @ to.T - (less * from_p) @ (1 - to).T

    def _pairs_one(self, i, p, s):
        """The same when the primary goes to one node each."""
        if self.exclusion is None:
            return np.zeros(len(i))
        from_p, more, less = self._weights(i, p)
        to = self.state.cluster.locations[s] * self.online[s][:, None]
        return (more * (1 - from_p) * to).sum(axis=1) - (less * from_p * (1 - to)).sum(axis=1)

    # --- shared storage --------------------------------------------------------------------------------------------

    def external(self, i):
        """Scores after every move of instances on shared storage: (instances, targets)."""
        out = []
        step = max(1, self.CHUNK // max(1, len(self.targets)))
        for start in range(0, len(i), step):
            out.append(self._external(i[start:start + step]))
        return out[0] if len(out) == 1 else np.concatenate(out)

    def _external(self, i):
        state, at = self.state, self.targets
        p = state.primary[i]
        real = self.real[i]
        isreal = state.real[i]
        held = state.memory_need[i]
        # They have no local disks, but load disks where they run.
        table = self._table(self.primary_spreads, i, p, np.zeros((len(i), len(at))))
        table = self._table(self.both_spreads, i, p, table)
        fails = state.memory[at] - held[:, None] <= state.reserved[at]
        if not isreal.all():
            fails = np.where(isreal[:, None], fails, self.target_fails)
        table += fails * (self.count[at] + real[:, None]) - self.n1[at]
        fails_p = np.where(isreal, state.memory[p] + held <= state.reserved[p], state.fails_n1[p] > 0)
        fixed = self.rest + self.base_reserved + fails_p * (self.count[p] - real) * self.online[p] - self.n1[p]
        fixed = fixed - self.offline_nodes[p] * real * (WEIGHTS["offline_all_cnt"] + WEIGHTS["offline_pri_cnt"])
        if self.exclusion is not None:
            tags = self.exclusion[i]
            fixed = fixed - 2 * self.online[p] * (tags * (state.tags_on[:, p].T >= 2)).sum(axis=1)
            table += 2 * (tags @ self.tagged)
        if state.cluster.location_names:
            table += self._location(i, p, np.full(len(i), -1))["fa"]
        table += fixed[:, None]
        ok = self.takes_primary(i, state.offline[p] | self.options.ignore_soft_errors)
        if state.cluster.may_migrate is not None:
            ok &= state.cluster.may_migrate[p][:, at]
        column = self.column[p]
        return self._closed(table, ok, np.arange(len(i)), column, column)


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


__all__ = ["COPIES", "FAIL_DISK", "Evaluator", "LETTERS", "MIGRATIONS", "Move", "Options", "apply", "placement_after", "reasons"]
