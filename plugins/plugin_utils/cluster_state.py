# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as the registry remembers it: nodes, instances, numbers handed out, and (from operations.py) operations on them.

Every change is one compare-and-swap transaction, so two controllers never both succeed.
"""

from __future__ import annotations

import secrets
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import allocation, run_owner
from ansible_collections.gantry.cluster.plugins.plugin_utils.operations import Operations, instance_key, lock_key
from ansible_collections.gantry.cluster.plugins.plugin_utils.optimistic import retry
from ansible_collections.gantry.cluster.plugins.plugin_utils.recover import numbers
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import (
    Delete,
    KeyAbsent,
    ModRevision,
    Put,
)

#: Writes of one transaction, below the registry's own limit.
_WRITES = 100

SCHEMA = 1
DEFAULTS = {"mac_prefix": "52:54:00", "iallocator": "builtin", "schema": SCHEMA}


def nodes_of(record):
    """Names of all nodes that hold a part of an instance, those of an interrupted operation too."""
    params = (record.get("pending") or {}).get("params") or {}
    names = {record.get("primary"), record.get("secondary"), params.get("new_node"), params.get("old_node")}
    for disk in record.get("disks", []):
        names.update(disk["nodes"])
    return names - {None}


class ClusterState(Operations):
    """Typed access to one registry.

    :param registry: an open registry (:mod:`plugin_utils.registry`).
    :param run: the playbook run acting, as :func:`run_owner.this_run` describes it.
    """

    def __init__(self, registry, run=None, clock=time.time):
        self.registry = registry
        self.run = run or run_owner.this_run()
        self.clock = clock

    # -- cluster ----------------------------------------------------------------------------------------------

    def cluster(self):
        """The cluster's settings. :raises GantryError: cluster_init has not run."""
        entry = self.registry.get("cluster")
        if entry is None:
            raise GantryError(
                "The registry holds no cluster", mend="run the playbook cluster_init", code="no_cluster",
            )
        return entry.value

    def _settings(self):
        """The cluster's settings; empty where there is no cluster."""
        entry = self.registry.get("cluster")
        return entry.value if entry else {}

    def init(self, settings, check_mode=False):
        """Create the cluster or bring its settings up to date. Returns (changed, before, after)."""
        def attempt():
            entry = self.registry.get("cluster")
            before = entry.value if entry else {}
            after = dict(DEFAULTS, **before)
            after.update(settings)
            if not entry:
                after["created"] = int(self.clock())
            if after == before:
                return False, before, after
            if check_mode:
                return True, before, after
            guard = ModRevision("cluster", entry.mod_revision) if entry else KeyAbsent("cluster")
            writes = [Put("cluster", after)]
            done = self.registry.transaction([guard], writes)
            return (True, before, after) if done.succeeded else None
        return retry(attempt, "Writing the cluster's settings")

    # -- nodes ------------------------------------------------------------------------------------------------

    def nodes(self):
        """All nodes by name."""
        return {entry.value["name"]: entry.value for entry in self._entries("nodes/")}

    def node(self, name):
        """One node. :raises GantryError: unknown."""
        entry = self.registry.get("nodes/" + name)
        if entry is None:
            raise GantryError(
                "Unknown node %s" % name, found="nodes: " + (", ".join(sorted(self.nodes())) or "none"),
                mend="run the playbook node_add with -l %s, or correct the name" % name, code="unknown_node",
            )
        return entry.value

    def put_node(self, node, check_mode=False):
        """Register a node or change its record, keeping what is not given. Returns (changed, before, after)."""
        key = "nodes/" + node["name"]

        def attempt():
            entry = self.registry.get(key)
            before = entry.value if entry else {}
            after = dict({"group": "default", "offline": False, "drained": False, "tags": []}, **before)
            after.update(node)
            if after == before or check_mode:
                return after != before, before, after
            guard = ModRevision(key, entry.mod_revision) if entry else KeyAbsent(key)
            done = self.registry.transaction([guard], [Put(key, after)])
            return (True, before, after) if done.succeeded else None
        return retry(attempt, "Registering node %s" % node["name"])

    def modify_node(self, name, changes, guard=None, check_mode=False):
        """Change fields of a node's record. Returns (changed, before, after).

        :param changes: the fields and their new values.
        :param guard: called with (before, after) right before each try to write; raises :class:`GantryError` to refuse.
        """
        key = "nodes/" + name

        def attempt():
            self.node(name)  # refuses an unknown one
            entry = self.registry.get(key)
            before = entry.value
            after = dict(before, **changes)
            if after == before:
                return False, before, after
            if guard:
                guard(before, after)
            if check_mode:
                return True, before, after
            done = self.registry.transaction([ModRevision(key, entry.mod_revision)], [Put(key, after)])
            return (True, before, after) if done.succeeded else None
        return retry(attempt, "Changing node %s" % name)

    def remove_node(self, name, check_mode=False):
        """Take a node out. Returns (changed, its record or {}).

        :raises GantryError: an instance is on it, or an interrupted operation has left a part of one there.
        """
        key = "nodes/" + name

        def attempt():
            entry = self.registry.get(key)
            if entry is None:
                return False, {}
            allocations = self.registry.get("allocations")
            self._refuse_holding(name)
            if check_mode:
                return True, entry.value
            # an instance that is made meanwhile takes numbers
            guards = [ModRevision(key, entry.mod_revision)]
            guards.append(ModRevision("allocations", allocations.mod_revision) if allocations else KeyAbsent("allocations"))
            if not self.registry.transaction(guards, [Delete(key)]).succeeded:
                return None
            try:
                # one whose mirror began to come here meanwhile has written that down, or finds no such node now
                self._refuse_holding(name)
            except GantryError:
                self.registry.transaction([KeyAbsent(key)], [Put(key, entry.value)])
                raise
            return True, entry.value
        return retry(attempt, "Removing node %s" % name)

    def _refuse_holding(self, name):
        holding = sorted(record["name"] for record in self.instances().values() if name in nodes_of(record))
        if holding:
            raise GantryError(
                "Node %s cannot be removed: it holds instances" % name, found=", ".join(holding), expected="an empty node",
                mend="empty it with node_evacuate -e gantry_node_name=%s; what has its only copy there goes with instance_remove"
                % name, code="node_in_use",
            )

    # -- instances --------------------------------------------------------------------------------------------

    def instances(self):
        """All instance records by name."""
        return {entry.value["name"]: entry.value for entry in self._entries("instances/")}

    def instance(self, name):
        """One record, or None."""
        entry = self.registry.get(instance_key(name))
        return entry.value if entry else None

    def secrets_of(self, uuid):
        """The DRBD secrets of an instance by disk index; empty when there are none."""
        entry = self.registry.get("secrets/" + uuid)
        return dict(entry.value) if entry else {}

    def secret_owners(self):
        """Who has DRBD secrets, never the secrets: disk indexes as text by the instance's UUID."""
        prefix = "secrets/"
        return {entry.key[len(prefix):]: sorted(entry.value) for entry in self._entries(prefix)}

    def allocations(self):
        """The numbers handed out: their owners (UUID/index) by ports, minors, macs and number."""
        entry = self.registry.get("allocations")
        return entry.value if entry else allocation.empty()

    def content(self):
        """What :func:`recover.merge` compares with: ``instances`` by name and ``allocations`` (None: none yet)."""
        allocations = self.registry.get("allocations")
        return {"instances": self.instances(), "allocations": allocations.value if allocations else None}

    def restore(self, record, disk_secrets):
        """Write a recovered record, with its numbers and secrets; never over anything that is there.

        :param disk_secrets: the DRBD secrets by disk index.
        :raises GantryError: the name is taken, or a number is another instance's.
        """
        retry(lambda: self._try_restore(record, disk_secrets), "Restoring instance %s" % record["name"])

    def _try_restore(self, record, disk_secrets):
        name, uuid = record["name"], record["uuid"]
        allocations = self.registry.get("allocations")
        table = {kind: dict(held) for kind, held in (allocations.value if allocations else allocation.empty()).items()}
        for kind, number, owner in numbers(record):
            holder = table[kind].setdefault(number, owner)
            if holder.split("/")[0] != uuid:
                raise GantryError(
                    "Instance %s cannot be restored" % name, found="%s %s is held by %s" % (kind, number, holder),
                    expected="a number of its own", mend="remove one of both instances", code="number_taken",
                )
        if self.registry.get(instance_key(name)) is not None:
            raise GantryError("Instance %s is in the registry already" % name, mend="run the same command again", code="duplicate")
        now = self.clock()
        operation_id = "%017d-%s" % (int(now * 1000), secrets.token_hex(4))
        writes = [
            Put(instance_key(name), record), Put("allocations", table),
            Put("operations/" + operation_id, {
                "id": operation_id, "verb": "recover", "name": name, "uuid": uuid, "generation": record["generation"],
                "owner": self.run, "started": now, "ended": now, "state": "done", "params": {}, "reason": None}),
        ]
        if disk_secrets:
            writes.append(Put("secrets/" + uuid, disk_secrets))
        guards = [
            KeyAbsent(instance_key(name)), KeyAbsent(lock_key(name)), KeyAbsent("secrets/" + uuid),
            ModRevision("allocations", allocations.mod_revision) if allocations else KeyAbsent("allocations"),
        ]
        return True if self.registry.transaction(guards, writes).succeeded else None

    def locks(self):
        """All instance locks by instance name."""
        prefix = "locks/instance/"
        return {entry.key[len(prefix):]: entry.value for entry in self._entries(prefix)}

    def operations(self, limit=None):
        """The journal, oldest first."""
        found = [entry.value for entry in self._entries("operations/")]
        return found[-limit:] if limit else found

    # -- the watcher ------------------------------------------------------------------------------------------

    def watch_history(self):
        """What the watcher's earlier runs kept: ``{"instances": {uuid: {...}}, "nodes": {name: {...}}}`` and its revisions.

        :returns: the history, and the key's revision of each entry for :meth:`put_watch_history`.
        """
        history, revisions = {"instances": {}, "nodes": {}}, {}
        for kind, kept in history.items():
            for entry in self._entries("watch/%s/" % kind):
                kept[entry.key.split("/", 2)[2]] = entry.value
                revisions[entry.key] = entry.mod_revision
        return history, revisions

    def put_watch_history(self, before, revisions, after, check_mode=False):
        """Replace the history that :meth:`watch_history` returned. Returns whether anything differed.

        :raises GantryError: another watcher has written since, so what this one decided would be done twice.
        """
        changes = []
        for kind in ("instances", "nodes"):
            for name in sorted(set(before[kind]) | set(after[kind])):
                if before[kind].get(name) != after[kind].get(name):
                    changes.append(("watch/%s/%s" % (kind, name), after[kind].get(name)))
        for start in range(0, 0 if check_mode else len(changes), _WRITES):
            part = changes[start:start + _WRITES]
            guards = [ModRevision(key, revisions[key]) if key in revisions else KeyAbsent(key) for key, _value in part]
            writes = [Delete(key) if value is None else Put(key, value) for key, value in part]
            if not self.registry.transaction(guards, writes).succeeded:
                raise GantryError(
                    "Another watcher is at work", found="it has changed the history since this one read it",
                    expected="one watcher at a time", mend="nothing was done by this one; see that only one timer runs it",
                    code="watched_twice",
                )
        return bool(changes)

    def watch_pause(self):
        """Until when the watcher rests, seconds since 1970; None when it does not, or no longer."""
        entry = self.registry.get("watch/pause")
        return entry.value["until"] if entry and entry.value["until"] > self.clock() else None

    def put_watch_pause(self, until, check_mode=False):
        """Let the watcher rest until then (None: work again). Returns (changed, before, after)."""
        before = self.watch_pause()

        def change(_value):
            return {"until": until or 0, "by": self.run}
        if until != before and not check_mode:
            self.registry.update("watch/pause", change)
        return until != before, before, until

    def _entries(self, prefix):
        return self.registry.range(prefix).entries
