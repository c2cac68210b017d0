# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on instances: the lock, the generation, the intent in the record, the entry in the journal.

Each step of an operation is one compare-and-swap transaction of the registry.
"""

from __future__ import annotations

import secrets

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import allocation, hvparams, nic_spec, run_owner
from ansible_collections.gantry.cluster.plugins.plugin_utils.optimistic import retry
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import Delete, KeyAbsent, ModRevision, Put

#: Seconds a lock outlives the last step of its run when nobody can tell whether the run still lives.
LOCK_TTL = 1800


def instance_key(name):
    """The registry key of an instance."""
    return "instances/" + name


def lock_key(name):
    """The registry key of an instance's lock."""
    return "locks/instance/" + name


class Operations:
    """The part of :class:`cluster_state.ClusterState` that begins, keeps and ends operations; the rest of it is what they need."""

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
        return retry(lambda: self._try_begin(name, verb, params or {}, plan, check_mode, after, changes or {}),
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
        return retry(lambda: self._try_note(operation, changes, params or {}),
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
        return retry(lambda: self._try_end(operation, state, changes or {}, reason, remove, keep_pending),
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
