# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spread metrics of the score, in the form in which all moves can be scored at once.

The variance after a move is a polynomial in what the instance adds (``need``) and what one unit of it is on a node
(``unit``), so the variances after all moves of all instances are one matrix product per metric.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.score import WEIGHTS, free_disk, inverse


class Spread:
    """One spread metric, or several that are the same but for a factor: the figures of nodes and instances.

    :param weight: its weight.
    :param values: function of the state to the nodes' values.
    :param parts: list of (what an instance adds, what one unit of it is of each node).
    """

    def __init__(self, weight, values, parts):
        self.weight = weight
        self.values = values
        self.parts = parts
        self.y = self.sum = self.squares = self.columns = None

    def refresh(self, state, online, targets):
        """Take in the nodes' present values, centred so that nothing is lost to cancellation."""
        count = len(targets)
        values = self.values(state)
        values = values - float(values @ online) / count
        values *= online
        self.y = values
        self.sum = float(values.sum())
        self.squares = float(values @ values)
        columns = [np.ones(count)]
        for unused, unit in self.parts:
            d = unit[targets]
            columns += [values[targets] * d, d, d * d]
        self.columns = np.array(columns)

    def present(self, count):
        """The weighted spread as it is, over ``count`` nodes."""
        return self.weight * max(self.squares / count - (self.sum / count) ** 2, 0) ** 0.5

    def change(self, i, nodes, sign):
        """Change of the sum and of the squares when instances come to nodes (sign 1) or leave them (-1)."""
        v = 0.0
        for need, unit in self.parts:
            v = v + need[i] * unit[nodes]
        return sign * v, v * (v + sign * 2 * self.y[nodes])

    def table(self, i, change, count):
        """(instances, targets): the weighted spread when instances come to each target.

        :param change: of the sum and of the squares by what else happens to each instance.
        """
        weight = self.weight ** 2 / count
        total = self.sum + change[0]
        rows = np.empty((len(i), len(self.columns)))
        rows[:, 0] = (self.squares + change[1] - total * total / count) * weight
        for index, (need, unused) in enumerate(self.parts):
            a = need[i] * weight
            rows[:, 3 * index + 1] = 2 * a
            rows[:, 3 * index + 2] = (-2 / count) * total * a
            rows[:, 3 * index + 3] = need[i] * a * (1 - 1 / count)
        product = rows @ self.columns
        # What is below 0 is so by rounding only; turning the sign is quicker than cutting off, and as exact.
        np.abs(product, out=product)
        return np.sqrt(product, out=product)

    def single(self, change, count):
        """The weighted spread after changes of the sum and of the squares, one value each."""
        total = (self.sum + change[0]) / count
        return self.weight * np.sqrt(np.maximum((self.squares + change[1]) / count - total * total, 0))

    def factor_of(self, other, online):
        """The factor by which this metric is another one for ever, or None."""
        if len(self.parts) != 1 or len(other.parts) != 1:
            return None
        (need, unit), (other_need, other_unit) = self.parts[0], other.parts[0]
        of_need, of_unit = _ratio(need, other_need), _ratio(unit[online], other_unit[online])
        if of_need is None or of_unit is None:
            return None
        if _close(self.y, of_need * of_unit * other.y, 1e-12):
            return abs(of_need * of_unit)
        return None


def _close(ours, theirs, absolute):
    return bool((np.abs(ours - theirs) <= absolute + 1e-12 * np.abs(theirs)).all())


def _ratio(ours, theirs):
    """c where ours = c * theirs, or None."""
    at = np.flatnonzero(theirs)
    if not len(at):
        return None if ours.any() else 0.0
    c = ours[at[0]] / theirs[at[0]]
    return float(c) if c and _close(ours, c * theirs, 0.0) else None


def tables(spreads, i, changes, count):
    """The sum of :meth:`Spread.table` over several spreads."""
    total = None
    for spread, change in zip(spreads, changes):
        table = spread.table(i, change, count)
        total = table if total is None else np.add(total, table, out=total)
    return total


def spreads_of(state, targets):
    """(spreads that only an instance's primary counts for, those that primary and secondary count for alike).

    Refreshed, and merged where two say the same: without forthcoming instances half of them do.
    """
    nodes, instances = state.cluster.nodes, state.cluster.instances
    online = state.online
    real = state.real.astype(float)
    whole = inverse(nodes.total_memory), inverse(nodes.total_cpus * nodes.cpu_speed), inverse(state.max_spindles)
    per_memory, per_cpu = whole[0] * online, whole[1] * online
    per_spindle = whole[2] * online * ~state.exclusive
    per_disk = inverse(nodes.total_disk) * online * ~state.exclusive
    exclusive = inverse(nodes.spindles) * online * state.exclusive
    ones = online.astype(float)
    util = instances.util * real[:, None]
    spindles = state.known_spindles

    def disk(need, spindle_need):
        parts = [(-need, per_disk)]
        return parts + [(-spindle_need, exclusive)] if state.any_exclusive else parts

    w = WEIGHTS
    primary = [
        Spread(w["free_mem_cv"], lambda s: s.memory * whole[0], [(-state.memory_need, per_memory)]),
        Spread(w["free_mem_cv_forth"], lambda s: s.memory_forth * whole[0], [(-instances.memory, per_memory)]),
        Spread(w["vcpu_ratio_cv"], lambda s: s.cpus * whole[1], [(state.cpu_need * real, per_cpu)]),
        Spread(w["vcpu_ratio_cv_forth"], lambda s: s.cpus_forth * whole[1], [(state.cpu_need, per_cpu)]),
        Spread(w["cpu_load_cv"], lambda s: s.load_cpu.copy(), [(util[:, 0], ones)]),
        Spread(w["mem_load_cv"], lambda s: s.load_memory.copy(), [(util[:, 1], ones)]),
        Spread(w["net_load_cv"], lambda s: s.load_net.copy(), [(util[:, 3], ones)]),
    ]
    both = [
        Spread(w["free_disk_cv"], free_disk, disk(state.disk_need * real, spindles * real)),
        Spread(w["free_disk_cv_forth"], lambda s: free_disk(s, True), disk(state.disk_need, spindles)),
        Spread(w["disk_load_cv"], lambda s: s.load_disk.copy(), [(util[:, 2], ones)]),
        Spread(w["spindles_cv"], lambda s: s.spindles_used * whole[2], [(state.spindle_need * real, per_spindle)]),
        Spread(w["spindles_cv_forth"], lambda s: s.spindles_used_forth * whole[2], [(state.spindle_need, per_spindle)]),
    ]
    return _merged(primary, state, online, targets), _merged(both, state, online, targets)


def _merged(spreads, state, online, targets):
    """Fewer spreads with the same sum."""
    kept = []
    for spread in spreads:
        if len(targets):
            spread.refresh(state, online, targets)
        for other in kept if len(targets) else ():
            factor = spread.factor_of(other, online)
            if factor is not None:
                other.weight += spread.weight * factor
                break
        else:
            kept.append(spread)
    return kept
