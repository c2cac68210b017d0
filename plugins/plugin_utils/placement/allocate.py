# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a new instance goes: every node, or every pair of nodes, scored at once.

The choice is the smallest cluster score of those that the nodes take, that the policy allows and that leave the
cluster able to lose any node (unless that check is waived). Groups are compared by allocation policy, then score.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import state as s
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.evaluator import Evaluator
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import ALLOC_POLICIES, np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.moves import Options
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.policy import refuses
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.redundancy import Redundancy
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.spread import tables


@dataclasses.dataclass
class Choice:
    """Where one instance goes, or why nowhere.

    :ivar nodes: positions: ``[primary]`` or ``[primary, secondary]``; empty when refused.
    :ivar score: cluster score with it.
    :ivar fitting: number of placements that would do.
    :ivar failures: ``{reason: number of placements refused for it}``.
    :ivar log: sentences, as hail's.
    :ivar rejected: ``{name of a node: reason it cannot be the primary}``, when asked to explain.
    :ivar best: the best placements with their scores, ``[(score, nodes)]``, when asked to explain.
    """

    nodes: list
    score: float = 0.0
    fitting: int = 0
    failures: dict = dataclasses.field(default_factory=dict)
    log: list = dataclasses.field(default_factory=list)
    rejected: dict = dataclasses.field(default_factory=dict)
    best: list = dataclasses.field(default_factory=list)


class Tables:
    """Scores of a new instance on every node, or on every pair, from one state.

    :param state: :class:`.state.State`; the instance is known to it and not placed.
    :param waive: N+1 of the secondary too, which hail never waives.
    """

    def __init__(self, state, ignore_soft=False, waive=False):
        self.state = state
        self.evaluator = Evaluator(state, Options(ignore_soft_errors=ignore_soft))
        self.ignore_soft = ignore_soft
        self.waive = waive

    def refresh(self):
        """Take in the state as it is now."""
        self.evaluator.refresh()

    def _primary_part(self, i, at):
        """(score of all that only the primary changes, booleans: taken) for each node of ``at``."""
        state, ev = self.state, self.evaluator
        count = len(ev.targets)
        total = sum(spread.single(spread.change(i, at, 1), count) for spread in ev.primary_spreads)
        real = float(state.real[i])
        fails = state.memory[at] - state.memory_need[i] <= state.reserved[at] if real else state.fails_n1[at] > 0
        total = total + fails * (ev.count[at] + real) - ev.n1[at]
        columns = ev.column[at]
        if ev.exclusion is not None:
            total += 2 * (ev.exclusion[i] @ ev.rules.tagged)[columns]
        ok = ev.rules.primary(np.array([i]), np.array([self.ignore_soft]))
        # A node that is offline has no column, and takes nothing.
        return total, columns >= 0 if ok is None else ok[0, columns] & (columns >= 0)

    def single(self, i, at):
        """Scores on each node of ``at``; infinite where refused."""
        state, ev = self.state, self.evaluator
        count = len(ev.targets)
        total, ok = self._primary_part(i, at)
        total = total + sum(spread.single(spread.change(i, at, 1), count) for spread in ev.both_spreads)
        total += ev.rest + ev.base_reserved
        if state.cluster.location_names:
            total += [self._location(i, node, -1) for node in at]
        return np.where(ok, total, np.inf)

    def _location(self, i, node, secondary):
        """Change of both location metrics with the instance on a node."""
        state = self.state
        change = 0.0
        if state.real[i]:
            change += state.location_of(i, node, secondary)
            for tag in state.exclusion[i]:
                change += float((state.cluster.locations[node] * (state.pairs[:, tag] >= 1)).sum())
        return change

    def pairs(self, i, primaries, secondaries):
        """(primaries, secondaries): scores on each pair; infinite where refused."""
        ev = self.evaluator
        total, ok = self._primary_part(i, primaries)
        total = total + ev.rest
        total[~ok] = np.inf
        columns = ev.column[secondaries]
        every = len(columns) == len(ev.targets) and bool((columns == np.arange(len(columns))).all())
        table = np.empty((len(primaries), len(secondaries)))
        start = 0
        for those in ev.chunks(primaries):
            part = self._pairs(i, those, total[start:start + len(those)])
            table[start:start + len(those)] = part if every else part[:, columns]
            start += len(those)
        if self.state.cluster.location_names and self.state.real[i]:
            alone = np.array([self._location(i, node, -1) for node in primaries])
            table += alone[:, None] + self.state.cluster.shared_locations[np.ix_(primaries, secondaries)]
        return table

    def _pairs(self, i, primaries, total):
        """(primaries, targets): the same without places, ``total`` being what the primary alone makes of it."""
        ev = self.evaluator
        every = np.full(len(primaries), i)
        table = tables(ev.both_spreads, every, [spread.change(i, primaries, 1) for spread in ev.both_spreads], len(ev.targets))
        kept = ev.kept_for(primaries, self.state.reserve_need[every])
        ev.add_n1_of_targets(table, every, kept)
        # hail waives nothing for the secondary unless it is told to.
        takes = ev.rules.secondary(every, kept, np.full(len(every), self.waive))
        ones = np.ones(len(every))
        ev.add_kept_by_targets(table, kept, ev.reserved_sum * ones, ev.reserved_squares * ones)
        table += total[:, None]
        if takes is not None:
            np.putmask(table, ~takes, np.inf)
        own = ev.column[primaries]
        table[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf
        return table


class Allocator:
    """Answers requests one after the other; each sees what the earlier ones took.

    :param state: :class:`.state.State` of the whole cluster; the instances asked for are in its cluster, not placed.
    :param capacity: must the cluster be able to lose any node afterwards?
    :param explain: collect for each node why it cannot be the primary, and the best placements.
    :param waive: with ``ignore_soft``, waive N+1 of the secondary too.
    """

    #: Placements that are told when asked to explain.
    BEST = 5

    def __init__(self, state, capacity=True, ignore_soft=False, explain=False, waive=False):
        self.state = state
        self.capacity = capacity
        self.ignore_soft = ignore_soft
        self.explain = explain
        self.waive = waive
        self._tables = {}

    def tables(self, group):
        """:class:`Tables` that score one group, or with None the whole cluster, in the state as it is now."""
        if group not in self._tables:
            self.state.set_scope(group)
            self._tables[group] = Tables(self.state, self.ignore_soft, self.waive)
        else:
            self.state.set_scope(group)
            self._tables[group].refresh()
        return self._tables[group]

    def allocate(self, i, required, group=None, restrict=None, secondaries=None):
        """Choose nodes for an instance and put it there.

        :param required: number of nodes, one or two.
        :param group: position of the only group to use; default: the best of all allocable ones.
        :param restrict: names of the only nodes to use; None for all.
        :param secondaries: names of the only nodes for the secondary, where they are others.
        :returns: :class:`Choice`.
        """
        cluster = self.state.cluster
        row = cluster.instances.rows[i]
        tables = self.tables(group)
        best, chosen, log, failures, rejected = None, None, [], {}, {}
        redundancy = unready = None
        present = set(cluster.nodes.group.tolist()) if group is None else {group}
        for position, one in enumerate(cluster.groups):
            if position not in present:
                continue
            missing = [network for network in row.networks if network is not None and network not in one.networks]
            if missing:
                log.append("group %s is not connected to a network required by instance %s" % (one.name, row.name))
                continue
            if self.capacity and redundancy is None:
                redundancy = Redundancy(self.state, None if group is None else cluster.nodes.group == group)
                unready = redundancy.reasons()
            choice = self._in_group(i, required, position, (restrict, secondaries), tables, redundancy, unready)
            for reason, number in choice.failures.items():
                failures[reason] = failures.get(reason, 0) + number
            rejected.update(choice.rejected)
            log += ["Group %s (%s): %s" % (one.name, one.alloc_policy, line) for line in choice.log]
            if not choice.nodes or (group is None and one.alloc_policy == "unallocable"):
                continue
            key = (ALLOC_POLICIES.index(one.alloc_policy), choice.score)
            if best is None or key < best:
                best, chosen = key, (position, choice)
        if chosen is None:
            return Choice([], failures=failures, log=log, rejected=rejected)
        position, choice = chosen
        if group is None:
            log.insert(0, "Selected group: " + cluster.groups[position].name)
        self.place(i, choice.nodes)
        return dataclasses.replace(choice, log=log, failures=failures, rejected=rejected)

    def place(self, i, nodes):
        """Put an instance on its nodes."""
        secondary = nodes[1] if len(nodes) > 1 else -1
        self.state.add_primary(i, nodes[0], secondary)
        if secondary >= 0:
            self.state.add_secondary(i, secondary, nodes[0])

    def _in_group(self, i, required, group, restrict, tables, redundancy, unready):
        state = self.state
        names = state.cluster.nodes.names
        usable = (state.cluster.nodes.group == group) & ~state.offline
        primaries, secondaries = restrict
        at = others = np.flatnonzero(usable & self._among(names, primaries))
        if secondaries is not None:
            others = np.flatnonzero(usable & self._among(names, secondaries))
        if not len(at) or len(np.union1d(at, others)) < required or (required == 2 and not len(others)):
            return Choice([], log=["Not enough online nodes" if required == 2 else "No online nodes"])
        return self.choose(i, required, at, others, tables, redundancy, unready)

    @staticmethod
    def _among(names, only):
        return np.array([only is None or name in only for name in names], dtype=bool)

    def choose(self, i, required, primaries, secondaries, tables, redundancy, unready):
        """The best of some primaries, or of their pairs with some secondaries.

        :param redundancy: :class:`.redundancy.Redundancy`, or None where it does not matter.
        :param unready: what it says of the cluster as it is.
        """
        state = self.state
        names = state.cluster.nodes.names
        row = state.cluster.instances.rows[i]
        failures, rejected = {}, {}
        table = tables.pairs(i, primaries, secondaries) if required == 2 else tables.single(i, primaries)
        policy = [self._policy(row, node) for node in primaries]
        refused = np.array([reason is not None for reason in policy], dtype=bool)
        table[refused] = np.inf
        fits = np.isfinite(table)
        each = int(np.sum(secondaries != primaries[0])) if required == 2 else 1
        self.count_failures(i, required, primaries, secondaries, policy, fits, failures, rejected, each)
        if redundancy is not None and fits.any():
            if unready:
                failures[s.FAIL_N1] = int(fits.sum())
                first = unready[min(unready)]
                reason = "the cluster cannot lose a node as it is: %s%s" % (
                    first, " (and %d more nodes)" % (len(unready) - 1) if len(unready) > 1 else "")
                return Choice([], failures=failures, rejected=rejected, log=[self._describe_none(failures), reason])
            room = redundancy.room(i, primaries, secondaries if required == 2 else None)
            lost = fits & ~room
            if lost.any():
                failures[s.FAIL_N1] = int(lost.sum())
                table[lost] = np.inf
                fits &= room
        best = self._best(required, table, primaries, secondaries) if self.explain else []
        at = self._first_that_holds(i, required, table, primaries, secondaries, redundancy, failures)
        if at is None:
            return Choice([], failures=failures, rejected=rejected, log=[self._describe_none(failures)], best=best)
        nodes = [int(primaries[at[0]])] + ([int(secondaries[at[1]])] if required == 2 else [])
        fitting = int(np.isfinite(table).sum())
        described = "score: %.8f, successes %d, failures %d (%s) for node(s) %s" % (
            table[at], fitting, sum(failures.values()), _counts(failures), "/".join(names[node] for node in nodes))
        return Choice(nodes, float(table[at]), fitting, failures, [described], rejected, best)

    def _best(self, required, table, primaries, secondaries):
        """The best placements: ``[(score, nodes)]``."""
        found = []
        for flat in np.argsort(table, axis=None, kind="stable")[:self.BEST]:
            at = np.unravel_index(int(flat), table.shape)
            if not np.isfinite(table[at]):
                break
            found.append((float(table[at]), [int(primaries[at[0]])] + ([int(secondaries[at[1]])] if required == 2 else [])))
        return found

    def _first_that_holds(self, i, required, table, primaries, secondaries, redundancy, failures):
        """Index of the best placement after which any node may be lost; the table loses those that fail."""
        while True:
            at = np.unravel_index(int(table.argmin()), table.shape)
            if not np.isfinite(table[at]):
                return None
            alone = redundancy is not None and (len(redundancy.others) or required == 1)
            if not alone:
                return at
            nodes = [int(primaries[at[0]])] + ([int(secondaries[at[1]])] if required == 2 else [])
            state = self.state
            saved = state.snapshot(i, nodes)
            self.place(i, nodes)
            held = not Redundancy(state, redundancy.nodes).stranded()
            state.restore(saved)
            if held:
                return at
            failures[s.FAIL_N1] = failures.get(s.FAIL_N1, 0) + 1
            table[at] = np.inf

    def _policy(self, row, node):
        cluster = self.state.cluster
        return refuses(row, cluster.groups[cluster.nodes.group[node]].policy, bool(self.state.exclusive[node]))

    def count_failures(self, i, required, primaries, secondaries, policy, fits, failures, rejected, each):
        """Add to ``failures`` how many placements were refused for which reason, and to ``rejected`` which nodes are out.

        :param fits: booleans of all placements.
        :param each: number of placements with the same primary.
        """
        state = self.state
        names = state.cluster.nodes.names
        whole = fits.any(axis=1) if required == 2 else fits
        for position, node in enumerate(primaries):
            reason = policy[position]
            if reason is None and not (whole[position] and fits[position].all()):
                reason = state.refuses_primary(i, node, self.ignore_soft)
            if reason is not None:
                failures[reason] = failures.get(reason, 0) + each
                if self.explain:
                    rejected[names[node]] = s.FAILURE_WORDS[reason]
            elif required == 2 and not fits[position].all():
                bad = np.flatnonzero(~fits[position])
                disk = (state.disk[secondaries[bad]] - state.disk_need[i] <= 0)
                disk |= state.disk_forth[secondaries[bad]] - state.disk_need[i] <= 0
                disk |= state.spindles_used[secondaries[bad]] + state.spindle_need[i] > state.max_spindles[secondaries[bad]]
                other = secondaries[bad] != node
                for kind, number in ((s.FAIL_DISK, int((disk & other).sum())), (s.FAIL_MEMORY, int((~disk & other).sum()))):
                    if number:
                        failures[kind] = failures.get(kind, 0) + number
                if self.explain and not whole[position]:
                    rejected[names[node]] = "no node can be its secondary"

    @staticmethod
    def _describe_none(failures):
        return "No valid allocation solutions, failure reasons: " + (_counts(failures) or "unknown reasons")


def _counts(failures):
    return ", ".join("%s: %d" % (name, failures[name]) for name in s.FAILURES if failures.get(name))
