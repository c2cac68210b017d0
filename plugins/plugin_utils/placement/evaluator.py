# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All moves of many instances scored at once, from one placement: tables of instances by targets.

:func:`.moves.apply` follows a move step by step; :class:`Evaluator` answers the same for every instance and every
target in a few matrix products. The score is a sum of square roots of variances and of counts. An instance changes a
node's share by ``need * 1/size``; so the change of a variance is a product of figures of the instance and figures of
the node, and all of them together are one matrix product of rank four. Tests compare the two.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.acceptance import Acceptance
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.moves import (
    FAILOVER, FAILOVER_AND_REPLACE, REPLACE_AND_FAILOVER, REPLACE_PRIMARY, REPLACE_SECONDARY, Options,
)
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.score import WEIGHTS, counted, inverse
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.spread import spreads_of, tables


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
        #: Are all nodes targets? Then tables need no picking of columns.
        self.whole = len(self.targets) == len(self.online)
        self.column = np.full(len(self.online), -1)
        self.column[self.targets] = np.arange(len(self.targets))
        self.per_memory = inverse(state.cluster.nodes.total_memory) * self.online
        self.real = state.real.astype(float)
        self.offline_nodes = (state.scope & state.offline).astype(float)
        #: Those that only the primary counts for, and those that primary and secondary count for alike.
        self.primary_spreads, self.both_spreads = spreads_of(state, self.targets)
        self.rules = Acceptance(state, self.targets)
        self.exclusion = self.rules.exclusion
        self.desired = None
        if any(state.desired):
            self.desired = np.zeros((len(state.desired), len(state.cluster.location_names)))
            for index, tags in enumerate(state.desired):
                for tag in tags:
                    self.desired[index, state.cluster.location_names[tag]] = 1.0
        self.refresh()

    def refresh(self):
        """Take in the state as it is now."""
        state = self.state
        if not len(self.targets):
            return
        count = len(self.targets)
        for spread in self.primary_spreads + self.both_spreads:
            spread.refresh(state, self.online, self.targets)
        reserved = state.reserved * self.per_memory
        self.reserved_mean = reserved[self.online].mean()
        self.reserved_y = np.where(self.online, reserved - self.reserved_mean, 0.0)
        self.reserved_sum = float(self.reserved_y.sum())
        self.reserved_squares = float(self.reserved_y @ self.reserved_y)
        self.base_primary = sum(one.present(count) for one in self.primary_spreads)
        self.base_both = sum(one.present(count) for one in self.both_spreads)
        self.base_reserved = (max(self.reserved_squares / count - (self.reserved_sum / count) ** 2, 0) ** 0.5
                              * WEIGHTS["reserved_mem_cv"])
        self.count = state.primaries + state.secondaries
        self.n1 = state.fails_n1 * self.count * self.online
        #: All that is no spread, and stays unless a move says otherwise.
        self.rest = counted(state, self.online, self.per_memory)
        self.score = self.rest + self.base_primary + self.base_both + self.base_reserved
        self.rules.refresh(state)

    # --- parts of the score ----------------------------------------------------------------------------------------

    def _of_targets(self, table):
        """The columns of the targets."""
        return table if self.whole else table[:, self.targets]

    @staticmethod
    def _outer(rows, columns):
        """rows[:, None] + columns[None, :], which a matrix product makes soonest."""
        left = np.ones((len(rows), 2))
        left[:, 0] = rows
        right = np.ones((2, len(columns)))
        right[1] = columns
        return left @ right

    def kept_for(self, peer, need):
        """(instances, targets): memory in MiB each target keeps free as the secondary of a primary on ``peer``."""
        table = self._of_targets(self.state.reserved_for.take(peer, axis=0))
        table += need[:, None]
        return np.maximum(table, self.state.reserved[self.targets], out=table)

    def _kept_by(self, node, need, before):
        """(instances, targets): memory in MiB ``node`` keeps free as the secondary of a primary on each target."""
        table = self._of_targets(self.state.reserves.take(node, axis=0))
        table += need[:, None]
        return np.maximum(table, before[:, None], out=table)

    def _reserved_one(self, new, old, less_sum, less_squares):
        """Spread and total of the reservations when one node's share changes from ``old`` to ``new``."""
        count = len(self.targets)
        change = less_sum + new - old
        spread = (less_squares + new * new - old * old) / count - (change / count) ** 2
        return (WEIGHTS["reserved_mem_cv"] * np.sqrt(np.maximum(spread, 0))
                + WEIGHTS["reserved_mem_rtotal"] * (change - self.reserved_sum))

    def add_kept_by_targets(self, table, kept, less_sum, less_squares):
        """Add spread and total of the reservations when each target keeps ``kept``, which is used up.

        :param less_sum: the sum of the shares kept without the instance, of each instance.
        :param less_squares: likewise the sum of their squares.
        """
        count, old = len(self.targets), self.reserved_y[self.targets]
        per = self.per_memory[self.targets]
        total = WEIGHTS["reserved_mem_rtotal"]
        if count < 2:
            kept *= per * total
            kept += self._outer(total * (less_sum - self.reserved_sum - self.reserved_mean), -total * old)
            table += kept
            return
        # The variance is a * (y - c)**2 + k with c and k sums of one part by instance and one by target.
        root = (count - 1) ** 0.5 / count * WEIGHTS["reserved_mem_cv"]
        scale = per * root
        kept *= scale[0] if (scale == scale[0]).all() else scale
        table += kept * (total / root)
        kept += self._outer((-self.reserved_mean - less_sum / (count - 1)) * root, old * (root / (count - 1)))
        kept *= kept
        weight = WEIGHTS["reserved_mem_cv"] ** 2 / count
        rows, columns = np.empty((len(less_sum), 3)), np.empty((3, count))
        rows[:, 0] = (less_squares - less_sum * less_sum / (count - 1)) * weight
        rows[:, 1] = less_sum * (2 / (count - 1) * weight)
        rows[:, 2] = 1.0
        columns[0] = 1.0
        columns[1] = old
        columns[2] = old * old * (-(1 + 1 / (count - 1)) * weight)
        kept += rows @ columns
        np.abs(kept, out=kept)
        table += np.sqrt(kept, out=kept)
        table += self._outer(total * (less_sum - self.reserved_sum - self.reserved_mean), -total * old)

    def _add_kept_by_one(self, table, kept, node, old, less_sum, less_squares):
        """The same when ``node`` of each instance keeps ``kept``, by target; ``old`` is its share without the instance.

        :returns: what is to be added to each row beside it.
        """
        count = len(self.targets)
        mean = self.reserved_mean * self.online[node]
        total = WEIGHTS["reserved_mem_rtotal"]
        less_sum = less_sum - old
        row = total * (less_sum - self.reserved_sum - mean)
        if count < 2:
            kept *= (self.per_memory[node] * total)[:, None]
            table += kept
            return row
        root = (count - 1) ** 0.5 / count * WEIGHTS["reserved_mem_cv"]
        scale = self.per_memory[node] * root
        kept *= scale[0] if (scale == scale[0]).all() else scale[:, None]
        table += kept * (total / root)
        kept -= ((mean + less_sum / (count - 1)) * root)[:, None]
        kept *= kept
        weight = WEIGHTS["reserved_mem_cv"] ** 2 / count
        kept += ((less_squares - old * old - less_sum * less_sum / (count - 1)) * weight)[:, None]
        np.abs(kept, out=kept)
        table += np.sqrt(kept, out=kept)
        return row

    def add_n1_of_targets(self, table, i, kept):
        """Add the change of the count of instances on targets that do not survive a loss, the instances as secondaries.

        :param kept: (instances, targets): memory in MiB the targets keep free then.
        """
        rules = self.rules
        tight = np.flatnonzero((rules.spare <= rules.need[i].max(initial=-np.inf)) | rules.fails)
        if len(tight):
            self._add_n1(table, i, tight, rules.limits["memory"][0][tight] <= kept[:, tight])

    def add_n1_of_primaries(self, table, i):
        """The same with the instances as primaries."""
        rules = self.rules
        held = rules.memory[i]
        tight = np.flatnonzero((rules.spare <= held.max(initial=-np.inf)) | rules.fails)
        if len(tight):
            self._add_n1(table, i, tight, rules.spare[tight] <= held[:, None])

    def _add_n1(self, table, i, columns, fails):
        real = self.state.real[i]
        if not real.all():
            fails = np.where(real[:, None], fails, self.rules.fails[columns])
        nodes = self.targets[columns]
        table[:, columns] += fails * (self.count[nodes] + self.real[i][:, None]) - self.n1[nodes]

    def _add_n1_of_one(self, table, i, node, memory, kept, most):
        """The same of one node of each instance that stays with it and keeps another amount.

        :param most: the most it could come to keep.
        :returns: what is to be added to each row beside it.
        """
        real = self.state.real[i]
        number = self.count[node] * self.online[node]
        rows = np.flatnonzero((memory <= most) & real & (number > 0))
        if len(rows):
            table[rows] += (memory[rows, None] <= kept[rows]) * number[rows, None]
        return np.where(real, 0.0, self.state.fails_n1[node] > 0) * number - self.n1[node]

    @staticmethod
    def _closed(table, ok, rows, fixed, columns):
        """Add what is the same for each row, and make infinite where refused.

        :param ok: (instances, targets), or None where all is taken.
        :param rows: for each instance whether it may make the move at all.
        :param columns: the columns of the instance's own nodes, -1 where they are no targets.
        """
        table += fixed[:, None]
        if ok is not None and not ok.all():
            np.putmask(table, ~ok, np.inf)
        if not rows.all():
            table[~rows] = np.inf
        row = np.arange(len(table))
        for column in columns:
            if column.min(initial=0) >= 0:
                table[row, column] = np.inf
            else:
                there = column >= 0
                table[row[there], column[there]] = np.inf
        return table

    # --- all moves of DRBD instances -------------------------------------------------------------------------------

    def drbd(self, i, kinds=None):
        """Scores after every move of some DRBD instances; infinite where a move is refused.

        :param i: positions of the instances.
        :param kinds: only these kinds; default: what the options allow.
        :returns: ``{kind: array}``: (instances, targets), and (instances,) for :data:`FAILOVER`.
        """
        out = {}
        for those in self.chunks(i):
            for kind, table in self._drbd(those, kinds).items():
                out.setdefault(kind, []).append(table)
        return {kind: found[0] if len(found) == 1 else np.concatenate(found) for kind, found in out.items()}

    def chunks(self, i):
        """The instances in parts that are worked on at a time."""
        step = max(1, self.CHUNK // max(1, len(self.targets)))
        return [i[start:start + step] for start in range(0, len(i), step)]

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
        state, rules = self.state, self.rules
        p, s = state.primary[i], state.secondary[i]
        allowed = {kind: np.ones(len(i), dtype=bool) for kind in kinds} if kinds else self.kinds(p, s)
        wanted = {kind for kind, which in allowed.items() if which.any()}
        size = len(self.targets)
        real = self.real[i]
        isreal = state.real[i]
        held, need = state.memory_need[i], state.reserve_need[i]
        memory, reserved, online = state.memory, state.reserved, self.online
        on_p, on_s = online[p], online[s]
        ignore = self.options.ignore_soft_errors
        force_p, force_s, soft = state.offline[p] | ignore, state.offline[s] | ignore, np.full(len(i), ignore)
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
        leaves_p = self.rest - off_p * (w_all + w_pri)
        turns_p = self.rest - off_p * w_pri
        leaves_s = -off_s * w_all
        location = self._location(i, p, s) if state.cluster.location_names else None
        tag_p = tag_s = 0.0
        if self.exclusion is not None:
            tags = self.exclusion[i]
            tag_p = -2 * on_p * (tags * (state.tags_on[:, p].T >= 2)).sum(axis=1)
            tag_s = 2 * on_s * (tags * (state.tags_on[:, s].T >= 1)).sum(axis=1)
        may = state.cluster.may_migrate
        to_s = np.ones(len(i), dtype=bool) if may is None else may[p, s]
        # Disks that stay must lie on nodes with disk left.
        p_hard = ((memory[p] > 0) & (state.disk[p] > 0)) | ~isreal
        if state.any_exclusive:
            bad = np.isnan(state.disk_spindles[i]) | (state.spindles_free[p] < 0)
            p_hard &= ~(bad & state.exclusive[p]) | ~isreal
        s_runs = rules.stays_primary(i, s, kept, force_p) & to_s & ((state.disk[s] > 0) | ~isreal)
        columns = (self.column[p], self.column[s])
        swap = sum(one.single([a + b for a, b in zip(one.change(i, p, -1), one.change(i, s, 1))], size)
                   for one in self.primary_spreads)
        both_s = both_p = pri_t = None
        if wanted & {REPLACE_SECONDARY, REPLACE_AND_FAILOVER}:
            both_s = tables(self.both_spreads, i, [one.change(i, s, -1) for one in self.both_spreads], size)
        if wanted & {REPLACE_PRIMARY, FAILOVER_AND_REPLACE}:
            both_p = tables(self.both_spreads, i, [one.change(i, p, -1) for one in self.both_spreads], size)
        if wanted & {REPLACE_AND_FAILOVER, REPLACE_PRIMARY}:
            pri_t = tables(self.primary_spreads, i, [one.change(i, p, -1) for one in self.primary_spreads], size)
            self.add_n1_of_primaries(pri_t, i)
            if self.exclusion is not None:
                pri_t += 2 * (tags @ rules.tagged)
        out = {}
        if FAILOVER in wanted:
            r = np.maximum(reserved[p], state.reserves[p, s] + need)
            y = np.where(on_p, r * self.per_memory[p] - self.reserved_mean, 0.0)
            f = turns_p + self.base_both + swap + tag_p + tag_s + self._reserved_one(y, y_p, less_sum, less_squares)
            f += n1(gone_p <= r, 0, p, n1_p) + n1(gone_s <= kept, 0, s, n1_s)
            f += off_s * w_pri
            if location is not None:
                f += location["f"]
            hard, stays = rules.stays_secondary(i, p, gone_p, force_p, state.offline[p])
            stays &= (r < gone_p) | (gone_p <= reserved[p]) | ~isreal | force_p
            out[FAILOVER] = np.where(allowed[FAILOVER] & s_runs & hard & stays, f, np.inf)
        if REPLACE_SECONDARY in wanted:
            r = self.kept_for(p, need)
            table = both_s.copy() if REPLACE_AND_FAILOVER in wanted else both_s
            fixed = self.rest + self.base_primary + without_s + leaves_s + n1(memory[p] <= reserved[p], 0, p, n1_p)
            self.add_n1_of_targets(table, i, r)
            ok = rules.secondary(i, r, force_s)
            self.add_kept_by_targets(table, r, less_sum, less_squares)
            if location is not None:
                table += location["r"]
            out[REPLACE_SECONDARY] = self._closed(table, ok, allowed[REPLACE_SECONDARY] & p_hard, fixed, columns)
        if REPLACE_AND_FAILOVER in wanted:
            r = self._kept_by(p, need, reserved[p])
            table = both_s
            table += pri_t
            fixed = turns_p + without_s + leaves_s + tag_p
            # Primary before, secondary after: its number of instances stays.
            fixed += self._add_n1_of_one(table, i, p, gone_p, r, reserved[p] + need)
            hard, stays = rules.stays_secondary(i, p, gone_p, force_s)
            ok = self._survives(rules.primary(i, soft), r, gone_p, reserved[p], need, force_s | ~isreal)
            if may is not None:
                ok = self._and(ok, self._of_targets(may[p]))
            fixed += self._add_kept_by_one(table, r, p, y_p, less_sum, less_squares)
            if location is not None:
                table += location["rf"]
            out[REPLACE_AND_FAILOVER] = self._closed(table, ok, allowed[REPLACE_AND_FAILOVER] & hard & stays, fixed, columns)
        if REPLACE_PRIMARY in wanted:
            # The secondary stays, but keeps memory for another node.
            r = self._kept_by(s, need, kept)
            table = pri_t
            table += both_p
            fixed = leaves_p + n1(gone_p <= reserved[p], -1, p, n1_p) + tag_p
            fixed += self._add_n1_of_one(table, i, s, memory[s], r, np.maximum(kept, reserved[s]) + need)
            hard, stays = rules.stays_secondary(i, s, memory[s], force_p)
            ok = self._survives(rules.primary(i, force_p), r, memory[s], kept, need, force_p | ~isreal)
            if may is not None:
                ok = self._and(ok, self._of_targets(may[s]))
            # Its own reservation changes from what it is without the instance.
            fixed += self._add_kept_by_one(table, r, s, kept_y, less_sum, less_squares)
            if location is not None:
                table += location["frf"]
            out[REPLACE_PRIMARY] = self._closed(table, ok, allowed[REPLACE_PRIMARY] & s_runs & hard & stays, fixed, columns)
        if FAILOVER_AND_REPLACE in wanted:
            r = self.kept_for(s, need)
            table = both_p
            fixed = (leaves_p + swap + n1(gone_p <= reserved[p], -1, p, n1_p) + n1(gone_s <= kept, 0, s, n1_s) + tag_p + tag_s
                     + off_s * w_pri)
            self.add_n1_of_targets(table, i, r)
            ok = rules.secondary(i, r, force_p)
            self.add_kept_by_targets(table, r, less_sum, less_squares)
            if location is not None:
                table += location["fr"]
            out[FAILOVER_AND_REPLACE] = self._closed(table, ok, allowed[FAILOVER_AND_REPLACE] & s_runs, fixed, columns)
        return out

    @staticmethod
    def _and(ok, table):
        return table.copy() if ok is None else np.logical_and(ok, table, out=ok)

    def _survives(self, ok, kept, memory, before, need, waived):
        """``ok`` and whether a node of each instance still has more memory than it would keep free.

        :param before: memory in MiB it keeps free without the instance; where that is too much already, anything goes.
        """
        rows = np.flatnonzero((memory <= before + need) & (memory > before) & ~waived)
        # It may also keep more than that for a node that is a target.
        if len(rows):
            enough = kept[rows] < memory[rows, None]
            if not enough.all():
                if ok is None:
                    ok = np.ones(kept.shape, dtype=bool)
                ok[rows] &= enough
        return ok

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
        out = [self._external(those) for those in self.chunks(i)]
        return out[0] if len(out) == 1 else np.concatenate(out)

    def _external(self, i):
        state = self.state
        p = state.primary[i]
        real = self.real[i]
        # They have no local disks, but load disks where they run.
        spreads = self.primary_spreads + self.both_spreads
        table = tables(spreads, i, [one.change(i, p, -1) for one in spreads], len(self.targets))
        self.add_n1_of_primaries(table, i)
        fails_p = np.where(state.real[i], state.memory[p] + state.memory_need[i] <= state.reserved[p], state.fails_n1[p] > 0)
        fixed = self.rest + self.base_reserved + fails_p * (self.count[p] - real) * self.online[p] - self.n1[p]
        fixed = fixed - self.offline_nodes[p] * real * (WEIGHTS["offline_all_cnt"] + WEIGHTS["offline_pri_cnt"])
        if self.exclusion is not None:
            tags = self.exclusion[i]
            fixed = fixed - 2 * self.online[p] * (tags * (state.tags_on[:, p].T >= 2)).sum(axis=1)
            table += 2 * (tags @ self.rules.tagged)
        if state.cluster.location_names:
            table += self._location(i, p, np.full(len(i), -1))["fa"]
        ok = self.rules.primary(i, state.offline[p] | self.options.ignore_soft_errors)
        if state.cluster.may_migrate is not None:
            ok = self._and(ok, self._of_targets(state.cluster.may_migrate[p]))
        return self._closed(table, ok, np.ones(len(i), dtype=bool), fixed, (self.column[p],))
