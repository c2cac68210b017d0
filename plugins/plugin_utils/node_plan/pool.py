# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The space of all nodes while a plan is made: what is promised to one instance is gone for the next. Pure."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils import node_space
from ansible_collections.gantry.cluster.plugins.plugin_utils.allocator import Chooser
from ansible_collections.gantry.cluster.plugins.plugin_utils.operations import FINISHERS
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_space import EXTENT_MIB, candidates, disk_request, unsuited
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.view import view


class Pool:
    """Nodes as placement sees them, with memory and disk that shrink as the plan grows.

    :param nodes: node records by name; ``observations``: see :mod:`node_plan`.
    """

    def __init__(self, nodes, observations):
        self.seen = {observation["node"]: observation for observation in observations}
        self.nodes = {entry["name"]: entry for entry in candidates(nodes, observations)}
        #: MiB that a node needs for the guests of another one, should that die: {(primary, secondary): MiB}.
        self.standing_by = {}
        self.chooser = None

    def picture(self, record, more=()):
        """The instance as its nodes show it; ``more`` are further nodes to look at."""
        names = [name for name in (record["primary"], record["secondary"]) if name]
        names += [name for name in more if name not in names]
        return view(record, [self.observation(name) for name in names])

    def observation(self, name):
        """What was seen of a node. One that was not asked is unknown."""
        offline = name in self.nodes and self.nodes[name]["node"].get("offline")
        return self.seen.get(name) or {
            "node": name, "reachable": False, "error": "is marked offline" if offline else "was not asked", "node_info": None}

    def stand_by(self, layout):
        """Count the mirrors that nobody moves. ``layout``: (record, primary, secondary) of each instance."""
        for record, primary, secondary in layout:
            self.promise_standby(record, primary, secondary)

    def promise_standby(self, record, primary, secondary):
        """The secondary must be able to take the guest over, if it is one that should run."""
        if secondary and record["admin_state"] == "up":
            self.standing_by[primary, secondary] = self.standing_by.get((primary, secondary), 0) + record["memory_mib"]

    def short_of_memory(self, name, mib):
        """Why a guest of so many MiB does not fit on the node now, or None."""
        free = self.nodes[name]["memory_free_mib"]
        if mib > free:
            return "%d MiB of memory needed, %d MiB free beside what is planned already" % (mib, max(free, 0))
        return None

    def take_memory(self, name, mib):
        """Promise memory of a node to a guest."""
        self.nodes[name]["memory_free_mib"] -= mib

    def refusals(self, record, name, primary):
        """Why a node cannot be the secondary of an instance, as ``(hard, soft)``: lists of sentences.

        Soft is what an operator may take upon himself: that the guests of one node would not all fit if it died (N+1).
        """
        node = self.nodes[name]
        request = {"memory_mib": record["memory_mib"], "disk_mib": self._disk_mib(record, node), "hypervisor": record["hypervisor"]}
        hard = node_space.refusals(request, node, "secondary")
        if not node["usable"]:
            return hard, []
        hard += unsuited(record, node)
        home = self.nodes[primary]["node"].get("group", "default") if primary in self.nodes else record.get("group", "default")
        group = node["node"].get("group", "default")
        if group != home:
            hard.append("is in node group %s, its primary in %s" % (group, home))
        soft = []
        if record["admin_state"] == "up":
            needed = self.standing_by.get((primary, name), 0) + record["memory_mib"]
            if needed > node["memory_free_mib"]:
                soft.append("N+1: %d MiB of memory needed should %s die, %d MiB free" % (needed, primary, max(node["memory_free_mib"], 0)))
        return hard, soft

    def choosing(self, settings, nodes, records, observations):
        """From now on nodes can be chosen (:meth:`choose_secondary`); who chooses sees the same nodes."""
        self.chooser = Chooser(settings, nodes, records, observations)

    def choose_secondary(self, record, primary, without, force=False):
        """Choose a node for the mirror and promise it. Returns ``(name or None, rejected, soft reasons taken)``.

        Which nodes can is said here; which of them is best, by the engine or the cluster's own allocator. ``without`` names
        nodes that are no choice at all.
        """
        fitting, rejected = {}, {}
        for name in sorted(self.nodes):
            if name in without or name == primary:
                continue
            hard, soft = self.refusals(record, name, primary)
            if hard or (soft and not force):
                rejected[name] = hard + soft
            else:
                fitting[name] = soft
        # those that need no force come first
        for names in ([name for name, soft in fitting.items() if not soft], [name for name, soft in fitting.items() if soft]):
            self.chooser.put(record["name"], primary, record["secondary"] if record["secondary"] != primary else record["primary"])
            name = self.chooser.new_secondary(record["name"], names) if names else None
            if name is not None:
                self.take_mirror(record, primary, name)
                return name, rejected, fitting[name]
        for name in fitting:
            rejected.setdefault(name, ["too little is left for what is there already"])
        return None, rejected, []

    def take_mirror(self, record, primary, name):
        """Promise a node's disk space, and its memory for a failover, to an instance."""
        node = self.nodes[name]
        for group, mib in self._disk_mib(record, node).items():
            group = group or node["vg"]
            node["disk_free_mib"][group] = node["disk_free_mib"].get(group, 0) - mib
        self.promise_standby(record, primary, name)

    @staticmethod
    def _disk_mib(record, node):
        groups = {disk["vg"] or node["vg"] for disk in record["disks"]}
        extent = max((node["extent_mib"].get(group, EXTENT_MIB) for group in groups), default=EXTENT_MIB)
        return disk_request(record, extent)


def interrupted(record, verb):
    """Why a verb may not begin on an instance whose last operation was cut off, or None."""
    pending = record.get("pending")
    if not pending or pending["verb"] == verb or verb in FINISHERS.get(pending["verb"], ()):
        return None
    return "its operation %s was interrupted: run instance_%s for it again first" % (pending["verb"], pending["verb"])


def entry(record, why, steps=(), left=None, lost=False, rejected=None):
    """One instance's part of a plan; see :mod:`node_plan`."""
    return {"name": record["name"], "steps": list(steps), "why": why, "left": left, "lost": lost, "rejected": rejected or {}}
