# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as the registry remembers it: nodes, instances, numbers handed out, locks and operations.

Every change is one compare-and-swap transaction, so two controllers never both succeed.
"""

from __future__ import annotations

import secrets
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import allocation, hvparams, nic_spec, run_owner
from ansible_collections.gantry.cluster.plugins.plugin_utils.recover import numbers
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import (
    Delete,
    KeyAbsent,
    ModRevision,
    Put,
)

#: Seconds a lock outlives the last step of its run when nobody can tell whether the run still lives.
LOCK_TTL = 1800
#: Tries of an optimistic transaction before giving up.
_TRIES = 50
#: Writes of one transaction, below the registry's own limit.
_WRITES = 100

SCHEMA = 1
DEFAULTS = {"mac_prefix": "52:54:00", "iallocator": "builtin", "schema": SCHEMA}


def instance_key(name):
    """The registry key of an instance."""
    return "instances/" + name


def lock_key(name):
    """The registry key of an instance's lock."""
    return "locks/instance/" + name


def nodes_of(record):
    """Names of all nodes that hold a part of an instance, those of an interrupted operation too."""
    params = (record.get("pending") or {}).get("params") or {}
    names = {record.get("primary"), record.get("secondary"), params.get("new_node"), params.get("old_node")}
    for disk in record.get("disks", []):
        names.update(disk["nodes"])
    return names - {None}


def _retry(attempt, what):
    """Run an optimistic transaction until it succeeds; ``attempt`` returns None to be tried again."""
    for number in range(_TRIES):
        result = attempt()
        if result is not None:
            return result
        time.sleep(min(0.2, 0.002 * (number + 1)) * (0.5 + secrets.randbelow(100) / 100))
    raise GantryError(
        "%s did not come through" % what, found="%d lost races against other runs" % _TRIES,
        mend="run the same command again", code="contention",
    )


class ClusterState:
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
        return _retry(attempt, "Writing the cluster's settings")

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
        return _retry(attempt, "Registering node %s" % node["name"])

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
        return _retry(attempt, "Changing node %s" % name)

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
        return _retry(attempt, "Removing node %s" % name)

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
        _retry(lambda: self._try_restore(record, disk_secrets), "Restoring instance %s" % record["name"])

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

    # -- operations -------------------------------------------------------------------------------------------

    def begin(self, name, verb, params=None, plan=None, check_mode=False, after=None, changes=None):
        """Lock an instance, raise its generation and write the intent down, all in one transaction.

        :param plan: for the verb ``add`` only: the planned record without numbers (see :meth:`_new_record`).
        :param after: the generation that the caller has seen; refused when another operation has begun since. None: any.
        :param changes: what this operation changes in the record, from its beginning on. What was there before is kept as ``before``
            in the params: an operation that fails ends with it.
        :returns: the operation: id, verb, generation, instance (record), params, resumed (what an interrupted
            run of the same verb had begun, or None).
        :raises GantryError: unknown instance, locked by a living run, or another verb was interrupted on it.
        """
        return _retry(lambda: self._try_begin(name, verb, params or {}, plan, check_mode, after, changes or {}),
                      "Locking instance %s" % name)

    def _try_begin(self, name, verb, params, plan, check_mode, after, changes):
        entry = self.registry.get(instance_key(name))
        lock = self.registry.get(lock_key(name))
        if entry is None and plan is None:
            raise GantryError(
                "Unknown instance %s" % name, found="no record in the registry",
                mend="run instance_add for it, or correct the name", code="unknown_instance",
            )
        if lock is not None:
            self._refuse_living(name, lock.value)
        record = dict(entry.value) if entry else None
        pending = record.get("pending") if record else None
        _refuse_other_verb(name, verb, pending)
        _refuse_overtaken(name, record, after)
        allocations = self.registry.get("allocations")
        writes = []
        guards = [
            ModRevision(instance_key(name), entry.mod_revision) if entry else KeyAbsent(instance_key(name)),
            ModRevision(lock_key(name), lock.mod_revision) if lock else KeyAbsent(lock_key(name)),
        ]
        handed_out = allocations.value if allocations else allocation.empty()
        table = {kind: dict(numbers) for kind, numbers in handed_out.items()}
        if record is None:
            record, disk_secrets = self._new_record(plan, table)
            if disk_secrets:
                writes.append(Put("secrets/" + record["uuid"], disk_secrets))
        elif changes:
            kept = pending["params"].get("before") if pending and pending["verb"] == verb else None
            params = dict(params, before=dict({key: record.get(key) for key in changes}, **(kept or {})))
            record = self._changed(record, changes, table)
        if entry is None or table != handed_out:
            # written for each new instance, whatever it takes: remove_node looks whether it was
            guards.append(ModRevision("allocations", allocations.mod_revision) if allocations else KeyAbsent("allocations"))
            writes.append(Put("allocations", table))
        # what cluster and group say now counts for this operation, in all its steps
        record = hvparams.refresh(record, self._settings())
        generation = record["generation"] + 1
        now = self.clock()
        operation_id = "%017d-%s" % (int(now * 1000), secrets.token_hex(4))
        resumed = pending if pending and pending["verb"] == verb else None
        if resumed:
            params = dict(resumed["params"], **{k: v for k, v in params.items() if v is not None})
            if verb in ("migrate", "failover") and not params.get("target"):
                # it went to the other node; without a word the guest would go back, where it has arrived already
                params["target"] = record["secondary"]
        record["generation"] = generation
        record["pending"] = {"operation": operation_id, "verb": verb, "generation": generation, "params": params}
        operation = {
            "id": operation_id, "verb": verb, "name": name, "uuid": record["uuid"], "generation": generation,
            "params": params, "resumed": resumed, "took_over": pending["verb"] if pending else None, "instance": record, "dry": check_mode,
        }
        if check_mode:
            return operation
        lease = self.registry.lease_grant(LOCK_TTL, self.run)
        operation["lease"] = lease
        journal = {"id": operation_id, "verb": verb, "name": name, "uuid": record["uuid"], "generation": generation,
                   "owner": self.run, "started": now, "ended": None, "state": "running", "params": params, "reason": None}
        held = {"operation": operation_id, "verb": verb, "generation": generation, "owner": self.run, "since": now}
        writes += [
            Put(instance_key(name), record),
            Put(lock_key(name), held, lease=lease),
            Put("operations/" + operation_id, journal),
        ]
        if pending:
            writes += self._close_journal(pending["operation"], "interrupted", "taken over by %s" % operation_id)
        done = self.registry.transaction(guards, writes)
        if not done.succeeded:
            self.registry.lease_revoke(lease)
            return None
        if lock is not None and lock.lease:
            # the dead run's: its lock is ours now, and nothing else hangs on it
            self.registry.lease_revoke(lock.lease)
        return operation

    def _refuse_living(self, name, held):
        alive = run_owner.liveness(held["owner"], self.run)
        if alive == "dead":
            return
        ours = run_owner.same_run(held["owner"], self.run)
        raise GantryError(
            "Instance %s is locked by %s" % (name, held["verb"]),
            found="operation %s of %s%s" % (held["operation"], run_owner.describe(held["owner"]), " (this run)" if ours else ""),
            expected="no running operation",
            mend="wait until it ends and run the same command again"
            + ("" if alive == "alive" else "; if that run is gone, its lock ends by itself within %d s" % LOCK_TTL),
            code="locked",
        )

    def _new_record(self, plan, table):
        """Turn a plan into a record: hand out ports, minors, MAC addresses; make secrets. Returns (record, secrets)."""
        record = {key: value for key, value in plan.items() if key not in ("in_use", "start")}
        uuid = record["uuid"]
        in_use = plan.get("in_use", {})
        disks, disk_secrets = [], {}
        for disk in record["disks"]:
            owner = "%s/%d" % (uuid, disk["index"])
            disk = dict(disk, nodes={node: dict(where) for node, where in disk["nodes"].items()})
            if disk["template"] == "drbd":
                disk["port"] = allocation.take_port(table, owner, frozenset(in_use.get("ports", ())))
                minor = allocation.take_minor(table, owner, frozenset(in_use.get("minors", ())))
                for where in disk["nodes"].values():
                    where["minor"] = minor
                disk_secrets[str(disk["index"])] = allocation.new_secret()
            disks.append(disk)
        nics = self._with_macs(uuid, record["nics"], table)
        record.update(disks=disks, nics=nics, generation=0, status="creating", created=int(self.clock()))
        return record, disk_secrets

    def _changed(self, record, changes, table):
        """The record with what changes. New network cards get a MAC address; those of cards that go stay held until the end."""
        record, uuid = dict(record, **changes), record["uuid"]
        if "nics" in changes:
            record["nics"] = self._with_macs(uuid, changes["nics"], table)
        return record

    def _with_macs(self, uuid, nics, table):
        """The network cards, each with a MAC address that is handed out to it, and what connects it."""
        prefix = self.cluster()["mac_prefix"]
        return [nic_spec.connect(dict(nic, mac=allocation.take_mac(table, "%s/%d" % (uuid, nic["index"]), prefix, nic.get("mac"))))
                for nic in nics]

    def keep(self, operation):
        """Prove that the operation still holds its lock and renew the lease.

        :raises GantryError: the lock is gone or belongs to another operation.
        """
        if operation.get("dry"):
            return
        lock = self.registry.get(lock_key(operation["name"]))
        if lock is None or lock.value["operation"] != operation["id"]:
            raise GantryError(
                "This operation on instance %s lost its lock" % operation["name"],
                found="now held by operation %s" % lock.value["operation"] if lock else "no lock",
                expected="held by operation %s" % operation["id"],
                mend="nothing was done by this step; run the same command again", code="lost_lock",
            )
        self.registry.lease_keepalive(operation["lease"])

    def note(self, operation, changes, params=None):
        """Write down how far an operation that goes on has come, so that the next run goes on from there.

        :param changes: what changed in the record.
        :param params: what the verb has to remember if it is interrupted.
        :returns: the record.
        """
        if operation.get("dry"):
            return dict(operation["instance"], **changes)
        return _retry(lambda: self._try_note(operation, changes, params or {}),
                      "Noting the progress on instance %s" % operation["name"])

    def _try_note(self, operation, changes, params):
        name = operation["name"]
        self.keep(operation)
        lock = self.registry.get(lock_key(name))
        entry = self.registry.get(instance_key(name))
        record = dict(entry.value, **changes)
        record["pending"] = dict(record["pending"], params=dict(record["pending"]["params"], **params))
        guards = [ModRevision(lock_key(name), lock.mod_revision), ModRevision(instance_key(name), entry.mod_revision)]
        done = self.registry.transaction(guards, [Put(instance_key(name), record)])
        return record if done.succeeded else None

    def end(self, operation, state, changes=None, reason=None, remove=False, keep_pending=False):
        """Write the outcome down and unlock.

        :param state: done, failed, refused or unclear.
        :param changes: what changed in the record.
        :param remove: the instance is gone: drop its record, secrets and numbers.
        :param keep_pending: the instance is left half way: the next run of the same verb must go on from here.
        """
        if operation.get("dry"):
            return dict(operation["instance"], **(changes or {}))
        return _retry(lambda: self._try_end(operation, state, changes or {}, reason, remove, keep_pending),
                      "Ending the operation on instance %s" % operation["name"])

    def _try_end(self, operation, state, changes, reason, remove, keep_pending):
        name = operation["name"]
        self.keep(operation)
        lock = self.registry.get(lock_key(name))
        entry = self.registry.get(instance_key(name))
        guards = [ModRevision(lock_key(name), lock.mod_revision), ModRevision(instance_key(name), entry.mod_revision)]
        record = dict(entry.value, **changes)
        home = self.registry.get("nodes/" + str(changes.get("primary")))
        if home is not None:
            # an instance belongs to the node group it is in
            record["group"] = home.value.get("group", "default")
        if not keep_pending:
            record.pop("pending", None)
        writes = [Delete(lock_key(name))] + self._close_journal(operation["id"], state, reason)
        if remove or "modify" in (operation["verb"], operation.get("took_over")):
            allocations = self.registry.get("allocations")
            table = {kind: dict(numbers) for kind, numbers in allocations.value.items()}
            if remove:
                allocation.release(table, record["uuid"])
            else:
                allocation.keep_macs(table, record["uuid"], record["nics"])
            if table != allocations.value:
                guards.append(ModRevision("allocations", allocations.mod_revision))
                writes.append(Put("allocations", table))
        if remove:
            writes += [Delete(instance_key(name)), Delete("secrets/" + record["uuid"])]
        else:
            writes.append(Put(instance_key(name), record))
        done = self.registry.transaction(guards, writes)
        if not done.succeeded:
            return None
        self.registry.lease_revoke(operation["lease"])
        return record

    def _close_journal(self, operation_id, state, reason):
        entry = self.registry.get("operations/" + operation_id)
        if entry is None:
            return []
        return [Put(entry.key, dict(entry.value, state=state, reason=reason, ended=self.clock()))]

    def _entries(self, prefix):
        return self.registry.range(prefix).entries


def _refuse_other_verb(name, verb, pending):
    """An interrupted operation is finished by its own verb; anything else would act on a half-done state."""
    if not pending or pending["verb"] == verb or verb in FINISHERS.get(pending["verb"], ()):
        return
    raise GantryError(
        "On instance %s the operation '%s' was interrupted" % (name, pending["verb"]),
        found="operation %s, generation %d, not ended" % (pending["operation"], pending["generation"]),
        expected="no unfinished operation",
        mend="run instance_%s for %s again: it finishes what was begun or goes back" % (pending["verb"], name),
        code="interrupted",
    )


def _refuse_overtaken(name, record, after):
    """Who decided on what was seen must not act on what has become of it since."""
    if after is None or record is None or record["generation"] == after:
        return
    raise GantryError(
        "Another operation was begun on instance %s meanwhile" % name, found="generation %d" % record["generation"],
        expected="generation %d, as it was when this was decided" % after,
        mend="nothing was done; run the same command again, and it decides anew", code="overtaken",
    )


#: Verbs that may take over from another interrupted one, because they end in a state of their own.
FINISHERS = {
    "add": ("remove",),
    # a node may die in mid-migration; failover's own guards decide what is safe then
    "migrate": ("failover", "repair"),
    "failover": ("repair",),
    "start": ("stop", "start", "reboot", "remove", "failover", "repair"),
    "stop": ("stop", "start", "reboot", "remove", "failover", "repair"),
    "reboot": ("stop", "start", "reboot", "remove", "failover", "repair"),
    "activate_disks": ("start", "stop", "remove", "failover", "deactivate_disks", "replace_disks", "repair"),
    "deactivate_disks": ("start", "remove", "activate_disks", "repair"),
    "recreate_disks": ("remove",),
    # the record says already what is wanted, and every verb goes by it
    "modify": ("start", "stop", "reboot", "migrate", "failover", "remove", "activate_disks", "deactivate_disks", "recreate_disks",
               "replace_disks", "repair"),
    # the primary may die while its mirror moves; where the old copy is still connected it takes over
    "replace_disks": ("failover", "repair"),
    "repair": ("failover", "remove"),
}
