# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many more instances fit: of the standard spec, and tiered, from the largest spec down to the smallest.

Tiered: the largest spec is placed as often as it fits; then the resource that refused most often shrinks to the
largest size that fits again, in units of 64 MiB of memory, 256 MiB of disk or one processor, down to the policy's
minimum; where shrinking it does not help, the next resource does, and where none helps alone, several together.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import state as s
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.acceptance import Acceptance
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.allocate import Allocator, Tables
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import TEMPLATES, Instance, np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.policy import refuses
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.redundancy import Redundancy
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.score import score
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State

#: Field of an instance and smallest step by which it shrinks (MiB, MiB, processors), by the reason to shrink it.
SHRINK = {s.FAIL_MEMORY: ("memory", 64), s.FAIL_DISK: ("disk", 256), s.FAIL_CPU: ("vcpus", 1)}
#: One placement at a time for each so many nodes is made between two looks at all scores.
BATCH_NODES = 4
#: Instances without a secondary placed between two looks at the loss of nodes, at first.
BIG_STEP = 64


@dataclasses.dataclass
class Capacity:
    """What was found.

    :ivar tiers: list of (memory, disk, vcpus, number of instances), as placed.
    :ivar failures: ``{reason: placements refused for it}`` of the last, failed try.
    :ivar start: cluster score before.
    :ivar end: cluster score with all of them.
    :ivar state: the state with all of them.
    :ivar placed: list of (memory, disk, vcpus, primary, secondary or -1).
    """

    tiers: list
    failures: dict
    start: float
    end: float
    state: State
    placed: list

    @property
    def count(self):
        """Number of instances that fit."""
        return sum(tier[3] for tier in self.tiers)


def template_of(cluster, template=None):
    """The disk template to plan with: the named one, else the first the cluster's policy allows."""
    if template is None:
        if not cluster.policy.templates:
            raise GantryError(
                "The cluster's instance policy allows no disk template", found="an empty list", expected="at least one",
                mend="name one: --disk-template drbd", code="bad_input",
            )
        return cluster.policy.templates[0]
    if template not in TEMPLATES:
        raise GantryError(
            "Disk template %s is not known" % template, found=template, expected="one of " + ", ".join(TEMPLATES),
            mend="name one of them", code="bad_input",
        )
    return template


class _Filler:
    """A state into which instances of one size after the other are placed.

    All of them are one instance of the model, placed again and again: its figures add up on the nodes.
    """

    def __init__(self, cluster, template, capacity, accept_existing):
        spec = cluster.policy.std
        row = Instance(
            name="new", memory=spec.memory, disk=spec.disk, vcpus=spec.cpus, template=template, spindle_use=spec.spindles,
            disks=(spec.disk,), disk_spindles=(spec.spindles,),
        )
        self.cluster = cluster
        self.i = 0
        whole = State(cluster)
        self.redundancy = Redundancy(whole) if capacity else None
        self.state = whole.only(row)
        if self.redundancy is not None:
            self.redundancy.state = self.state
        self.row = row
        self.tables = None
        self.required = 2 if template == "drbd" else 1
        self.capacity = capacity
        self.placed, self.tiers, self.failures = [], [], {}
        online = ~self.state.offline
        self.nodes = {
            index: np.flatnonzero((self.cluster.nodes.group == index) & online)
            for index, group in enumerate(cluster.groups) if group.alloc_policy != "unallocable"
        }
        self.nodes = {index: at for index, at in self.nodes.items() if len(at) >= self.required}
        self.stopped = not accept_existing and bool((self.state.fails_n1[online] > 0).any())
        if self.stopped or not self.nodes:
            self.failures = {s.FAIL_N1: 1} if self.stopped else {s.FAIL_INTERNAL: 1}
            self.stopped = True

    def shape(self, row):
        """Make ``row`` the instance to place."""
        i, state, instances = self.i, self.state, self.state.cluster.instances
        self.row = instances.rows[i] = row
        for name in ("memory", "disk", "vcpus"):
            getattr(instances, name)[i] = getattr(row, name)
        state.memory_need[i] = state.reserve_need[i] = row.memory
        state.disk_need[i] = row.disk if instances.local[i] else 0.0
        state.cpu_need[i] = row.vcpus
        state.disk_spindles[i] = state.known_spindles[i] = row.disk_spindles[0]
        self.tables = None
        self.refused = {index: self._policy(row, at) for index, at in self.nodes.items()}

    def _policy(self, row, at):
        """The policy's refusal of each node of ``at``, or None."""
        policy = self.cluster.groups[int(self.cluster.nodes.group[at[0]])].policy
        plain, exclusive = refuses(row, policy, False), refuses(row, policy, True)
        return [exclusive if self.state.exclusive[node] else plain for node in at]

    def table(self, group):
        """Scores of all placements in a group; infinite where refused."""
        at = self.nodes[group]
        table = self.tables.pairs(self.i, at, at) if self.required == 2 else self.tables.single(self.i, at)
        refused = self.refused[group]
        if any(refused):
            table[[reason is not None for reason in refused]] = np.inf
        return table

    def best(self, number):
        """The nodes of the best placements, ``number`` at most, none of which shares a node with another.

        What one of them takes changes nothing of what the nodes of the others may take.
        """
        if self.tables is None:
            self.tables = Tables(self.state)
        self.tables.refresh()
        found = []
        for group, at in self.nodes.items():
            table = self.table(group)
            least = table.min(axis=1) if self.required == 2 else table
            taken = set()
            for first in np.argsort(least, kind="stable").tolist():
                if len(taken) >= self.required * number or least[first] == np.inf:
                    break
                if first in taken:
                    continue
                value, nodes = float(least[first]), [first]
                if self.required == 2:
                    # The best secondary that is still free, as earlier ones may have taken the best of all.
                    nodes.append(int(table[first].argmin()))
                    value = float(table[first, nodes[1]])
                    if value == np.inf:
                        continue
                    table[:, nodes] = np.inf
                taken.update(nodes)
                found.append((value, [int(at[node]) for node in nodes]))
        found.sort(key=lambda one: one[0])
        return [nodes for unused, nodes in found[:number]]

    def possible(self):
        """Is there any placement at all? The same rules without scores."""
        every = np.zeros(1, dtype=bool)
        for group, at in self.nodes.items():
            rules = Acceptance(self.state, at)
            ok = rules.primary(np.array([self.i]), every)
            ok = np.ones(len(at), dtype=bool) if ok is None else ok[0]
            ok &= np.array([reason is None for reason in self.refused[group]], dtype=bool)
            if self.required == 1:
                if ok.any():
                    return True
                continue
            first = np.flatnonzero(ok)
            kept = self.state.reserved_for[np.ix_(at[first], at)] + self.state.reserve_need[self.i]
            np.maximum(kept, self.state.reserved[at], out=kept)
            takes = rules.secondary(np.full(len(first), self.i), kept, np.zeros(len(first), dtype=bool))
            takes = np.ones(kept.shape, dtype=bool) if takes is None else takes
            takes[np.arange(len(first)), first] = False
            if takes.any():
                return True
        return False

    def put(self, nodes):
        """Place one more."""
        secondary = nodes[1] if len(nodes) > 1 else -1
        self.state.add_primary(self.i, nodes[0], secondary)
        if secondary >= 0:
            self.state.add_secondary(self.i, secondary, nodes[0])
        if self.redundancy is not None:
            self.redundancy.note(nodes[0], secondary, self.i)
        row = self.row
        self.placed.append((row.memory, row.disk, row.vcpus, nodes[0], secondary))

    def fill(self, row, limit):
        """Place as many of ``row`` as fit, ``limit`` at most (negative: any); returns their number."""
        if self.stopped:
            return 0
        self.shape(row)
        # The nodes' own N+1 rule keeps the memory for the loss of a DRBD instance's primary.
        count = self._fill_checked(limit) if self.capacity and self.required == 1 else self._fill(limit)
        if limit < 0 or count < limit:
            self.failures = self.count_failures() or {s.FAIL_N1: 1}
        if count:
            self.tiers.append((row.memory, row.disk, row.vcpus, count))
        return count

    def _fill(self, limit):
        count, batch = 0, max(1, sum(len(at) for at in self.nodes.values()) // BATCH_NODES)
        while limit < 0 or count < limit:
            chosen = self.best(batch if limit < 0 else min(batch, limit - count))
            if not chosen:
                break
            for nodes in chosen:
                self.put(nodes)
            count += len(chosen)
        return count

    def _fill_checked(self, limit):
        """The same, keeping the cluster able to lose any node: steps that are halved when they go too far."""
        if self.redundancy.reasons():
            return 0
        count, step = 0, BIG_STEP
        while step and (limit < 0 or count < limit):
            saved = self.state.copy(), self.redundancy.copy(), len(self.placed)
            made = self._fill(step if limit < 0 else min(step, limit - count))
            if made and not self.redundancy.reasons():
                count += made
                if made < step:
                    break
                continue
            self.state.__dict__.update(saved[0].__dict__)
            self.redundancy = saved[1]
            self.redundancy.state = self.state
            del self.placed[saved[2]:]
            step = step // 2 if made else 0
        return count

    def fits(self, row):
        """Would one of ``row`` fit now?"""
        self.shape(row)
        if not self.possible():
            return False
        if not self.capacity or self.required == 2:
            return True
        (nodes,) = self.best(1)
        saved = self.state.snapshot(self.i, nodes), self.redundancy.copy()
        self.put(nodes)
        held = not self.redundancy.reasons()
        self.state.restore(saved[0])
        self.redundancy = saved[1]
        self.placed.pop()
        return held

    def count_failures(self):
        """``{reason: number of placements refused for it}``."""
        failures = {}
        allocator = Allocator(self.state)
        self.tables = self.tables or Tables(self.state)
        self.tables.refresh()
        for group, at in self.nodes.items():
            table = self.table(group)
            each = len(at) - 1 if self.required == 2 else 1
            allocator.count_failures(self.i, self.required, at, at, self.refused[group], np.isfinite(table), failures, {}, each)
        return failures


def standard(cluster, template=None, limit=-1, capacity=True, accept_existing=False):
    """Fill the cluster with instances of the policy's standard spec.

    :param template: disk template; default the first the policy allows.
    :param limit: largest number of instances; negative for no limit.
    :param capacity: keep the cluster able to lose any node.
    :param accept_existing: plan although nodes fail N+1 already.
    :returns: :class:`Capacity`.
    """
    filler = _Filler(cluster, template_of(cluster, template), capacity, accept_existing)
    start = score(filler.state)
    filler.fill(filler.row, limit)
    return Capacity(filler.tiers, filler.failures, start, score(filler.state), filler.state, filler.placed)


def tiered(cluster, template=None, limit=-1, capacity=True, accept_existing=False):
    """Fill the cluster from the largest spec of each of the policy's pairs down; see :func:`standard`."""
    filler = _Filler(cluster, template_of(cluster, template), capacity, accept_existing)
    start = score(filler.state)
    base = filler.row
    for unused, spec in cluster.policy.pairs:
        row = base._replace(memory=spec.memory, disk=spec.disk, vcpus=spec.cpus, disks=(spec.disk,),
                            disk_spindles=(spec.spindles,))
        while row is not None and not filler.stopped:
            left = -1 if limit < 0 else limit - len(filler.placed)
            if left == 0:
                break
            filler.fill(row, left)
            row = _smaller(filler, row)
    return Capacity(filler.tiers, filler.failures, start, score(filler.state), filler.state, filler.placed)


def _smaller(filler, row):
    """The row with one resource as large as fits again, or None."""
    order = sorted((name for name in SHRINK if filler.failures.get(name)), key=lambda name: -filler.failures[name])
    order += [name for name in SHRINK if name not in order]
    for reason in order:
        field, unit = SHRINK[reason]
        # The size that fits is found by halving: what is refused at one size is refused at any larger one.
        least, most = 1, int((getattr(row, field) - unit) // unit)
        if most < 1 or not filler.fits(_shrunk(row, field, most * unit)):
            floor = _floor(filler, row, field, unit)
            if floor < 1 or not filler.fits(_shrunk(row, field, floor * unit)):
                continue
            most = floor
        while least < most:
            middle = (least + most) // 2
            if filler.fits(_shrunk(row, field, middle * unit)):
                most = middle
            else:
                least = middle + 1
        return _shrunk(row, field, least * unit)
    return _smaller_in_all(filler, row, order)


def _smaller_in_all(filler, row, order):
    """The row with several resources smaller where one alone does not help: those that failed least stay largest."""
    floors = {reason: max(0, _floor(filler, row, *SHRINK[reason])) for reason in SHRINK}
    if not any(floors.values()):
        return None

    def sized(units):
        changed = row
        for reason, number in units.items():
            field, unit = SHRINK[reason]
            changed = _shrunk(changed, field, number * unit)
        return changed

    units = dict(floors)
    if not filler.fits(sized(units)):
        return None
    for reason in reversed(order):
        least, most = 0, units[reason]
        while least < most:
            middle = (least + most) // 2
            if filler.fits(sized(dict(units, **{reason: middle}))):
                most = middle
            else:
                least = middle + 1
        units[reason] = least
    return sized(units)


def _floor(filler, row, field, unit):
    """Units by which a field can shrink until the smallest size the policies of the groups allow."""
    name = {"memory": "memory", "disk": "disk", "vcpus": "cpus"}[field]
    sizes = [getattr(low, name) for index in filler.nodes for low, high in filler.cluster.groups[index].policy.pairs]
    return int((getattr(row, field) - min(sizes)) // unit) if sizes else 0


def _shrunk(row, field, by):
    changed = row._replace(**{field: getattr(row, field) - by})
    return changed._replace(disks=(changed.disk,))
