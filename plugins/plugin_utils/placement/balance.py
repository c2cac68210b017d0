# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Balancing: a sequence of moves, each of which the nodes take, that brings the score down.

Two phases. The first is hbal's: the best single move, again and again, until none gains enough. The second looks
further: it takes back moves that later ones made pointless, sends instances that are moved anyway to a better place,
and makes pairs of moves of which the first alone would not pay. It never makes a plan longer than the limit. Last, what
brings much for little to copy comes first, as far as the nodes take the moves in that order.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import moves as m
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.evaluator import Evaluator
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.order import cheap_first, missing_gain
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.score import lower_bound, metrics, score

#: Two scores closer than this are one: the difference is rounding.
EQUAL = 1e-11
#: Above this many (instances × nodes) one evaluation serves several moves of different nodes.
BATCH_ABOVE = 8000
#: Rounds after which all are looked at again in any case.
LAZY_ROUNDS = 12
#: Above this many an evaluation of the most promising instances serves between two of all.
LAZY_ABOVE = 40000


@dataclasses.dataclass
class Step:
    """One line of a plan."""

    move: m.Move
    #: Placement before and after: (primary, secondary).
    before: tuple
    after: tuple
    #: Score after it.
    score: float


@dataclasses.dataclass
class Plan:
    """What :func:`balance` found."""

    start: float
    end: float
    bound: float
    steps: list
    start_metrics: dict
    end_metrics: dict

    def moves(self):
        """The moves alone."""
        return [step.move for step in self.steps]


def movable(state, options):
    """Positions of the instances that may be moved: mirrored inside the group, and shared storage.

    :raises GantryError: a selected or excluded name is not an instance.
    """
    cluster = state.cluster
    instances = cluster.instances
    names = set(instances.names)
    unknown = sorted((set(options.select) | set(options.exclude)) - names)
    if unknown:
        raise GantryError(
            "Instances to select or exclude are not in the cluster", found=", ".join(unknown),
            expected="names of instances", mend="correct the names", code="unknown_instance",
        )
    which = instances.balanced & instances.auto_balance & state.scope[state.primary]
    group = cluster.nodes.group
    split = (state.secondary >= 0) & (group[state.primary] != group[state.secondary])
    which &= ~split
    if options.select:
        chosen = set(options.select)
        which &= np.array([name in chosen for name in instances.names], dtype=bool)
    if options.exclude:
        chosen = set(options.exclude)
        which &= np.array([name not in chosen for name in instances.names], dtype=bool)
    if options.evacuate:
        offline = state.offline
        which &= offline[state.primary] | ((state.secondary >= 0) & instances.mirrored & offline[state.secondary])
    mirrored = np.flatnonzero(which & instances.mirrored & (state.secondary >= 0))
    external = np.flatnonzero(which & instances.external) if options.instance_moves else np.array([], dtype=int)
    return mirrored, external


class _Search:
    """Both phases on one state."""

    def __init__(self, state, options, limit):
        self.state = state
        self.options = options
        self.limit = limit
        self.evaluator = Evaluator(state, options)
        self.bound = lower_bound(state)
        self.steps = []
        self.evaluations = 0

    def allowed(self, now):
        """May another step be made at this score?"""
        return (self.limit < 0 or len(self.steps) < self.limit) and now > self.bound + self.options.min_score

    def pays(self, before, after):
        """Is the gain enough?"""
        return after < before and (before > self.options.min_gain_limit or before - after >= self.options.min_gain)

    def candidates(self, mirrored, external):
        """The best move of each instance: (scores, kinds, targets, instances), instance by instance.

        Of equal moves the first in hbal's order is taken: failover first, then target by target.
        """
        evaluator = self.evaluator
        evaluator.refresh()
        self.evaluations += 1
        if self.options.evacuate:
            mirrored, external = self.still_to_evacuate(mirrored), self.still_to_evacuate(external)
        found = []
        if len(mirrored):
            tables = evaluator.drbd(mirrored)
            best = np.full(len(mirrored), np.inf)
            kinds = np.zeros(len(mirrored), dtype=int)
            columns = np.zeros(len(mirrored), dtype=int)
            failover = tables.pop(m.FAILOVER, None)
            row = np.arange(len(mirrored))
            for kind, table in sorted(tables.items()):
                at = table.argmin(axis=1)
                value = table[row, at]
                better = (value < best - EQUAL) | ((value <= best + EQUAL) & (at < columns))
                best[better], kinds[better], columns[better] = value[better], kind, at[better]
            targets = evaluator.targets[columns]
            if failover is not None:
                better = failover <= best + EQUAL
                best[better], kinds[better], targets[better] = failover[better], m.FAILOVER, -1
            found.append((best, kinds, targets, mirrored))
        if len(external):
            table = evaluator.external(external)
            at = table.argmin(axis=1)
            found.append((table[np.arange(len(external)), at], np.full(len(external), m.FAILOVER_TO_ANY),
                          evaluator.targets[at], external))
        if not found:
            return np.array([]), None, None, None
        if len(found) == 1:
            return found[0]
        merged = [np.concatenate(parts) for parts in zip(*found)]
        order = np.argsort(merged[3], kind="stable")
        return tuple(part[order] for part in merged)

    def still_to_evacuate(self, those):
        """Those of the instances that have a node that is offline."""
        state = self.state
        which = state.offline[state.primary[those]]
        secondary = state.secondary[those]
        which |= (secondary >= 0) & state.offline[secondary] & state.cluster.instances.mirrored[those]
        return those[which]

    def make(self, move, after):
        """Make a move and note it."""
        i = move.instance
        before = (int(self.state.primary[i]), int(self.state.secondary[i]))
        reason = m.apply(self.state, move, self.options.ignore_soft_errors)
        if reason is not None:
            return False
        self.steps.append(Step(move, before, (int(self.state.primary[i]), int(self.state.secondary[i])), after))
        return True

    def greedy(self, mirrored, external):
        """Phase one; returns the score it ends with.

        Small clusters: every instance in every round, as hbal does. Large ones: between two rounds over all
        instances only the most promising are looked at, until one of the others may be better; and one round serves
        several moves of different nodes.
        """
        now = score(self.state)
        count = len(self.evaluator.targets)
        everyone = len(mirrored) + len(external)
        size = everyone * count
        if not size:
            return now
        batch = 1 if size <= BATCH_ABOVE else max(1, min(count // 8, size // BATCH_ABOVE))
        keep = everyone if size <= LAZY_ABOVE else max(60, everyone // 8)
        some, least, rounds = None, 0.0, 0
        while self.allowed(now):
            if some is None:
                scores, kinds, targets, instances = self.candidates(mirrored, external)
                if not len(scores):
                    break
                if keep < len(scores):
                    order = np.argpartition(scores, keep)
                    chosen = np.sort(instances[order[:keep]])
                    least = now - float(scores[order[keep]])
                    is_mirrored = self.state.cluster.instances.mirrored[chosen]
                    some, rounds = (chosen[is_mirrored], chosen[~is_mirrored]), 0
            else:
                rounds += 1
                scores, kinds, targets, instances = self.candidates(*some)
                if rounds > LAZY_ROUNDS or not len(scores) or now - scores.min() < least or not self.pays(now, scores.min()):
                    some = None
                    continue
            best = scores.min()
            if not self.pays(now, best):
                break
            first = int(np.flatnonzero(scores <= best + EQUAL)[0])
            if not self.make(m.Move(int(instances[first]), int(kinds[first]), int(targets[first])), float(best)):
                raise AssertionError("a move scored as possible was refused")
            if batch == 1:
                now = float(best)
                continue
            now = self._more(scores, kinds, targets, instances, first, now, batch)
        return now

    def _more(self, scores, kinds, targets, instances, first, before, batch):
        """Make further moves of one evaluation, of nodes that no earlier one touched, as long as they still pay."""
        state = self.state
        touched = set(self.steps[-1].before + self.steps[-1].after)
        now = score(state)
        self.steps[-1].score = now
        hoped = before - scores
        order = np.argsort(-hoped, kind="stable")[:batch * 20]
        made = 1
        least = 0.3 * hoped[first]
        for position in order:
            if made >= batch or hoped[position] < least or not self.allowed(now):
                break
            i = int(instances[position])
            nodes = {int(state.primary[i]), int(state.secondary[i]), int(targets[position])} - {-1}
            if nodes & touched or position == first:
                continue
            saved = state.snapshot(i, nodes)
            if not self.make(m.Move(i, int(kinds[position]), int(targets[position])), 0.0):
                continue
            after = score(state)
            if not self.pays(now, after) or now - after < 0.5 * hoped[position]:
                state.restore(saved)
                self.steps.pop()
                continue
            self.steps[-1].score = now = after
            touched |= nodes
            made += 1
        return now


class _Improver:
    """Phase two: the plan of phase one made better without making it longer than the limit allows.

    :param search: :class:`_Search` after phase one.
    :param initial: the state before it.
    :param budget: number of evaluations of all moves that may be spent.
    """

    #: First moves of a pair that are tried.
    PAIRS = 8

    def __init__(self, search, initial, mirrored, external, budget):
        self.search = search
        self.initial = initial
        self.mirrored = mirrored
        self.external = external
        self.budget = budget

    def run(self):
        """Improve until nothing helps or the budget is spent."""
        search = self.search
        now = score(search.state)
        while self.budget > 0:
            before, length = now, len(search.steps)
            now = self.retarget(now)
            now = self.more(now)
            now = self.pair(now)
            if now > before - 1e-9 and len(search.steps) >= length:
                break

    def more(self, now):
        """Phase one again, from where we are."""
        search = self.search
        before = search.evaluations
        if search.allowed(now):
            now = search.greedy(self.mirrored, self.external)
        self.budget -= search.evaluations - before
        return now

    def _sequence(self, moves):
        """The state after a sequence of moves, or None where one of them is refused."""
        state = self.initial.copy()
        for move in moves:
            if m.apply(state, move, self.search.options.ignore_soft_errors) is not None:
                return None
        return state

    def _take(self, moves, state):
        search = self.search
        search.state = search.evaluator.state = state
        search.steps = [Step(move, (), (), 0.0) for move in moves]

    def _one(self, i):
        """The best single move of one instance from the present state: (score, move)."""
        scores, kinds, targets, unused = self.search.candidates(
            np.array([i]) if self.initial.cluster.instances.mirrored[i] else np.array([], dtype=int),
            np.array([], dtype=int) if self.initial.cluster.instances.mirrored[i] else np.array([i]),
        )
        return float(scores[0]), m.Move(i, int(kinds[0]), int(targets[0]))

    def retarget(self, now):
        """Give each moved instance, seen from where it was at first, the best move it can have now."""
        search = self.search
        for i in list(dict.fromkeys(step.move.instance for step in reversed(search.steps))):
            if self.budget <= 0:
                break
            self.budget -= 0.3
            state = search.state
            own = sum(step.move.instance == i for step in search.steps)
            origin = int(self.initial.primary[i]), int(self.initial.secondary[i])
            saved = state.snapshot(i, (state.primary[i], state.secondary[i]) + origin)
            put(state, i, origin)
            best, move = self._one(i)
            without = search.evaluator.score
            state.restore(saved)
            rest = [step.move for step in search.steps if step.move.instance != i]
            if without <= now + EQUAL and without <= best + EQUAL:
                trial = rest
            elif best < now - 1e-9 or (own > 1 and best <= now + EQUAL):
                trial = rest + [move]
            else:
                continue
            self.budget -= len(trial) / 100
            changed = self._sequence(trial)
            if changed is not None:
                after = score(changed)
                if after <= now + EQUAL:
                    self._take(trial, changed)
                    now = after
        return now

    def pair(self, now):
        """Make two moves at once of which the first alone would not pay."""
        search = self.search
        while self.budget > 0 and (search.limit < 0 or len(search.steps) + 2 <= search.limit) and search.allowed(now):
            scores, kinds, targets, instances = search.candidates(self.mirrored, self.external)
            if not len(scores):
                return now
            self.budget -= 1
            least = max(2e-6, search.options.min_gain / 5 if search.limit < 0 else 0)
            if now <= search.options.min_gain_limit:
                least = max(least, 2 * search.options.min_gain)
            best = (now - least, None, None)
            for position in np.argsort(scores, kind="stable")[:self.PAIRS]:
                if not np.isfinite(scores[position]) or self.budget <= 0:
                    break
                self.budget -= 1
                first = m.Move(int(instances[position]), int(kinds[position]), int(targets[position]))
                state = search.state
                i = first.instance
                saved = state.snapshot(i, (state.primary[i], state.secondary[i], first.target))
                if m.apply(state, first, search.options.ignore_soft_errors) is not None:
                    raise AssertionError("a move scored as possible was refused")
                after, its_kinds, its_targets, its_instances = search.candidates(self.mirrored, self.external)
                at = int(after.argmin()) if len(after) else -1
                if at >= 0 and after[at] < best[0]:
                    best = (float(after[at]), first, m.Move(int(its_instances[at]), int(its_kinds[at]), int(its_targets[at])))
                state.restore(saved)
            if best[1] is None:
                return now
            search.make(best[1], 0.0)
            search.make(best[2], best[0])
            now = self.more(best[0])
        return now


def put(state, i, placement):
    """Put an instance on other nodes without asking them."""
    state_has_secondary = state.secondary[i] >= 0
    if state_has_secondary:
        state.remove_secondary(i)
    state.remove_primary(i)
    primary, secondary = placement
    state.add_primary(i, primary, secondary)
    if secondary >= 0:
        state.add_secondary(i, secondary, primary)


def replay(state, moves, ignore_soft=False):
    """Make moves one by one.

    :returns: list of :class:`Step`.
    :raises GantryError: a node refuses one.
    """
    steps = []
    for move in moves:
        step = _made(state, move, ignore_soft)
        if not isinstance(step, Step):
            raise GantryError(
                "Move %d of the plan cannot be made: instance %s" % (len(steps) + 1, state.cluster.instances.names[move.instance]),
                found=step, expected="nodes that take it", mend="plan anew", code="move_refused",
            )
        steps.append(step)
    return steps


def _made(state, move, ignore_soft):
    """The step of a move made, or why it is refused."""
    i = move.instance
    before = (int(state.primary[i]), int(state.secondary[i]))
    reason = m.apply(state, move, ignore_soft)
    return reason or Step(move, before, (int(state.primary[i]), int(state.secondary[i])), score(state))


def _in_order(initial, moves, start, ignore_soft):
    """(steps, state after them): the moves in the better of two orders: as they were found, or the cheap ones first."""
    state, other = initial.copy(), initial
    steps = replay(state, moves, ignore_soft)

    def make(given, move):
        step = _made(given, move, ignore_soft)
        return step if isinstance(step, Step) else None

    turned = cheap_first(other, steps, start, make) if len(steps) > 1 else None
    if turned is None or missing_gain(state.cluster, turned, start) >= missing_gain(state.cluster, steps, start):
        return steps, state
    return turned, other


def balance(state, options=m.Options(), limit=-1, effort=1.0):
    """Find moves that bring the state's score down; the state ends where the plan does.

    :param options: :class:`.moves.Options`.
    :param limit: largest number of moves; negative for no limit.
    :param effort: how much of phase one's work phase two may spend; 0 leaves it out.
    :returns: :class:`Plan`.
    """
    for name in options.offline:
        if name not in state.cluster.nodes.names:
            raise GantryError(
                "Node %s to treat as offline is not in the cluster" % name, found="no such node", expected="a node's name",
                mend="correct the name", code="unknown_node",
            )
        state.offline[state.cluster.nodes.names.index(name)] = True
    start_metrics = metrics(state)
    start = score(state)
    initial = state.copy()
    search = _Search(state, options, limit)
    mirrored, external = movable(state, options)
    search.greedy(mirrored, external)
    if effort > 0 and search.steps:
        size = (len(mirrored) + len(external)) * len(search.evaluator.targets)
        # Small clusters can afford a longer look.
        budget = effort * max(search.evaluations * 0.3, min(200, 400000 / max(size, 1)))
        _Improver(search, initial.copy(), mirrored, external, budget).run()
    moves = [step.move for step in search.steps]
    if effort > 0:
        steps, initial = _in_order(initial, moves, start, options.ignore_soft_errors)
    else:
        steps = replay(initial, moves, options.ignore_soft_errors)
    state.__dict__.update(initial.__dict__)
    return Plan(start, score(state), search.bound, steps, start_metrics, metrics(state))
