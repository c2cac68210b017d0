# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance's domain on one node: defined, running, stopped, rebooted, absent; its disks follow it.

The disks' role goes with the guest: they are promoted before it starts, and demoted when it is proven off.
A guest whose libvirt does not answer is neither on nor off, and nothing is done to its disks then.
"""

from __future__ import annotations

import time

from ansible_collections.gantry.cluster.plugins.module_utils import (
    departure, domain_compare, domain_definition, domain_state, generation, libvirt_connection,
)
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.libvirt_connection import ask, is_error

#: Seconds between two presses of the power button: a guest that is still booting misses the first.
PRESS_EVERY = 5

#: Seconds a start may take inside libvirt.
START_TIMEOUT = 300

#: Seconds a domain that is already going down is given before it counts as stuck.
SETTLE_TIMEOUT = 30

#: What mends a domain that is there but not running, by state and reason; then by state.
NOT_RUNNING = {
    ("paused", "migration"): "a migration is under way or was cut off: run instance_migrate again",
    ("paused", "postcopy_failed"): "the network failed in a post-copy migration and each side holds half of the guest: "
                                   "try to resume the migration, destroy neither side before",
    ("paused", "ioerror"): "a disk failed: look at its state with cluster_info, mend it, then 'virsh resume %(name)s'",
    ("paused", "user"): "somebody paused it: 'virsh resume %(name)s'",
    "paused": "'virsh resume %(name)s'",
    "pmsuspended": "the guest put itself to sleep: 'virsh dompmwakeup %(name)s'",
    "crashed": "look at its console, then instance_stop with -e gantry_force=true",
}


class Domain:
    """The domain of one instance, for one module run.

    :param executor: makes and notes the changes.
    :param hypervisor: a :class:`hypervisor.base.Hypervisor`.
    :param instance: ``name``, ``uuid``, ``generation``, ``record``, ``node``, ``disks``, ``secrets``.
    :param storage: operations on a list of disks; by default ``storage.stack``, needed only when there are disks.
    :param folder: where the node keeps its memory of instances; ``locks``: its locks.
    """

    def __init__(
        self, executor, hypervisor, instance, storage=None, folder=generation.FOLDER, locks=generation.LOCKS,
    ):
        self.executor = executor
        self.hypervisor = hypervisor
        self.name = instance["name"]
        self.uuid = instance["uuid"]
        self.generation = instance["generation"]
        self.record = instance.get("record")
        self.node = instance["node"]
        self.disks = instance.get("disks") or []
        self.secrets = instance.get("secrets") or {}
        self.memory = {"folder": folder, "locks": locks}
        self._storage = storage
        self.connection = None
        self.connect()

    # -- what callers ask for ------------------------------------------------------------------------------------

    def running(self, xml, peer_dead=False, wait_connect=30):
        """See to it that the guest runs here, on primary disks.

        :param xml: the wanted definition; applied when the guest is off.
        :param peer_dead: the other node is proven dead: promotion without it is allowed.
        :param wait_connect: seconds to wait for the disks' connection.
        :returns: ``domain`` (as :func:`domain_state.read`), ``pending`` (the definition changed since the start) and
            ``pending_changes`` (how, as sentences).
        """
        self._check(xml)
        self._claim()
        seen = self._see_own()
        if seen and seen["state"] == "shutdown":
            seen = self._settle()
        if seen and peer_dead and seen["state"] == "paused" and seen["arriving"] == self.node:
            seen = self._end_arrival()
        if seen and seen["active"]:
            self._expect_running(seen)
            self._expect_primary()
            self._no_autostart(seen)
            return self._result(xml)
        self._start(xml, seen, self._primary(), peer_dead, wait_connect)
        return self._result(xml)

    def defined(self, xml):
        """See to it that the definition is there, and the disks of a guest that is off are secondary.

        One that runs keeps its own until it is next off.
        """
        self._check(xml)
        self._claim()
        seen = self._see_own()
        if not (seen and seen["active"]):
            self._define(xml, seen)
            # their image was written while they were primary
            self._demote()
        if seen:
            self._no_autostart(seen)
        return self._result(xml)

    def stopped(self, timeout, force=False):
        """Shut the guest down, then make its disks secondary.

        :param timeout: seconds the guest has to obey the power button; 0 with ``force`` cuts the power at once.
        :param force: cut the power of a guest that does not obey.
        """
        self._claim()
        self._stop(self.see(), timeout, force)
        self._demote()
        return self._result()

    def rebooted(self, xml, hard=False, timeout=120, force=False, peer_dead=False, wait_connect=30):
        """Stop and start the guest; its disks stay primary meanwhile. One that is off is started.

        A stop and a start, and not libvirt's reboot, because its end can be seen, and a changed definition counts.
        """
        self._check(xml)
        self._claim()
        seen = self._see_own()
        primary = self._primary()
        if seen and seen["active"]:
            primary = set()  # a failed start leaves them secondary
            self._stop(seen, 0 if hard else timeout, hard or force)
        self._start(xml, self.see(), primary, peer_dead, wait_connect)
        return self._result(xml)

    def absent(self, timeout, force=False, give_up=False):
        """Stop the guest, forget its definition, make its disks secondary. The disks stay.

        :param give_up: the operator named this copy of the guest as the one to end, even if it is an end of a migration.
        """
        self._claim()
        seen = self.see()
        if give_up and force and seen and seen["active"]:
            self.executor.call("end the copy of domain %s that was given up" % self.name, self._destroy_now, self._own())
            seen = seen if self.executor.check_mode else self.see()
        else:
            self._stop(seen, timeout, force)
        if seen and seen["persistent"]:
            self.executor.call("undefine domain %s" % self.name, self._undefine_now)
        self._demote()
        return self._result()

    def standby(self):
        """Be the instance's other node: no guest, no definition that could be started by mistake, secondary disks.

        :raises GantryError: the guest is active here; which node it belongs to is not for one node to decide.
        """
        self._claim()
        seen = self.see()
        if seen and seen["active"]:
            raise GantryError(
                "Instance %s is active on node %s, which should only stand by for it" % (self.name, self.node),
                found="%s (%s)" % (seen["state"], seen["reason"]), expected="no active domain of it",
                mend="look at it with cluster_info; the guest is where it runs, so move it with instance_migrate or stop it there",
                code="active_here",
            )
        if seen and seen["persistent"]:
            self.executor.call("undefine domain %s" % self.name, self._undefine_now, True)
        if self.disks:
            self._stack().activate(self.executor, self.uuid, self.node, self.disks, secrets=self.secrets)
            self._demote()
        return self._result()

    # -- seeing --------------------------------------------------------------------------------------------------

    def connect(self):
        """A fresh connection to this node's daemon."""
        if self.connection is not None:
            libvirt_connection.let_go(self.connection)
        self.connection = libvirt_connection.open_local(self.hypervisor)

    def see(self):
        """The domain of our UUID as :func:`domain_state.read` tells it, or None.

        :raises GantryError: the UUID is there under another name.
        """
        domain = domain_state.look_up(self.connection, self.uuid)
        seen = domain_state.read(domain) if domain else None
        if seen and seen["name"] != self.name:
            raise GantryError(
                "Instance %s has a domain of another name on node %s" % (self.name, self.node),
                found="domain %s with UUID %s" % (seen["name"], self.uuid), expected="the name %s" % self.name,
                mend="'virsh domrename %s %s' on that node, while it is off" % (seen["name"], self.name),
                code="uuid_taken",
            )
        return seen

    def _see_own(self):
        """As :meth:`see`; refuses when the name belongs to another domain."""
        seen = self.see()
        if seen is None:
            other = domain_state.look_up_name(self.connection, self.name)
            if other is not None:
                raise GantryError(
                    "The name of instance %s is taken on node %s" % (self.name, self.node),
                    found="a domain of that name with UUID %s" % other.UUIDString(),
                    expected="UUID %s or no such domain" % self.uuid,
                    mend="find out whose it is ('virsh dumpxml %s'); 'virsh undefine' or rename it" % self.name,
                    code="name_taken",
                )
        return seen

    def _result(self, xml=None):
        seen = self.see()
        result = {"domain": seen}
        if xml is not None:
            waiting = domain_compare.sentences(self._differences(xml)) if seen and seen["active"] else []
            result["pending"], result["pending_changes"] = bool(waiting), waiting
        return result

    def _differences(self, xml):
        """How the definition that is here differs from the wanted one, see :mod:`domain_compare`."""
        return domain_compare.differences(xml, domain_state.kept_definition(self._own()))

    # -- guards --------------------------------------------------------------------------------------------------

    def _check(self, xml):
        replicated = [
            "/dev/drbd%d" % disk["nodes"][self.node]["minor"]
            for disk in self.disks if disk["template"] == "drbd" and self.node in disk["nodes"]
        ]
        domain_definition.check(xml, self.name, self.uuid, replicated)

    def _claim(self):
        generation.claim(self.executor, self.uuid, self.generation, record=self.record, **self.memory)
        departure.erase(self.executor, self.uuid, self.memory["locks"])

    def _expect_running(self, seen):
        if seen["state"] == "running":
            return
        mend = NOT_RUNNING.get((seen["state"], seen["reason"])) or NOT_RUNNING.get(seen["state"])
        if seen["state"] == "paused" and seen["arriving"] == self.node:
            mend = NOT_RUNNING[("paused", "migration")]
        raise GantryError(
            "Instance %s is on node %s but does not run" % (self.name, self.node),
            found="%s (%s)" % (seen["state"], seen["reason"]), expected="running",
            mend=mend % {"name": self.name} if mend else None, code="domain_%s" % seen["state"],
        )

    def _expect_primary(self):
        """A guest that runs holds its disks open, so this only fails when something is very wrong."""
        wrong = [disk for disk in self._status() if not _is_primary(disk)]
        if wrong:
            raise GantryError(
                "Instance %s runs on node %s but not all its disks are primary there" % (self.name, self.node),
                found=", ".join("%s is %s" % (disk["name"], disk["role"]) for disk in wrong), expected="Primary",
                mend="compare 'virsh domblklist %s' with 'drbdadm status' on that node" % self.name,
                code="disk_not_primary",
            )

    def _refuse_migration(self, domain, seen):
        """A guest in migration belongs to two nodes: one of them must not decide alone, not even by force."""
        job = domain_state.read_job(domain)
        moving = job is not None and job["type"] in ("migration_in", "migration_out")
        if moving or (seen["state"] == "paused" and seen["reason"] in ("migration", "postcopy", "postcopy_failed")):
            raise GantryError(
                "Instance %s is in migration on node %s" % (self.name, self.node),
                found="%s (%s), job %s" % (seen["state"], seen["reason"], job["type"] if job else "none"),
                expected="no migration", mend=NOT_RUNNING[("paused", "migration")], code="in_migration",
            )

    # -- steps ---------------------------------------------------------------------------------------------------

    def _start(self, xml, seen, primary, peer_dead, wait_connect):
        """Promote the disks, define, start; take back what this run did when it fails.

        :param primary: indexes of the disks that were primary before.
        """
        try:
            if self.disks:
                stack = self._stack()
                stack.activate(self.executor, self.uuid, self.node, self.disks, secrets=self.secrets)
                stack.promote(
                    self.executor, self.uuid, self.node, self.disks, peer_dead=peer_dead, wait_connect=wait_connect)
            self._define(xml, seen)
            if seen:
                self._no_autostart(seen)
                if seen["managed_save"]:
                    self.executor.call("remove the saved memory of domain %s" % self.name, self._drop_save_now)
            self.executor.call("start domain %s" % self.name, self._start_now, xml)
        except GantryError as error:
            if self.executor.check_mode:
                raise
            raise self._after_failed_start(error, seen, primary) from error

    def _after_failed_start(self, error, before, primary):
        """Leave the node as it was when the guest is proven off, and say what is left. Returns the error to raise."""
        if error.code == "libvirt_timeout":
            return _with_note(error, "the start may still go on; the disks were left as they are")
        try:
            self.connect()
            seen = self.see()
            if seen and seen["active"]:
                return _with_note(
                    error, "the domain is %s (%s) all the same; nothing was taken back" % (seen["state"], seen["reason"]))
            if seen and seen["persistent"] and before is None:
                self.executor.call("undefine domain %s again" % self.name, self._undefine_now, True)
            promoted = [disk for disk in self._status() if _is_primary(disk) and disk["index"] not in primary]
            if promoted:
                indexes = [disk["index"] for disk in promoted]
                self._stack().demote(
                    self.executor, self.uuid, self.node, [disk for disk in self.disks if disk["index"] in indexes])
                return _with_note(error, "the disks were made secondary again")
        except GantryError as second:
            return _with_note(error, "taking back what was done failed as well: %s" % second.sentence())
        return error

    def _define(self, xml, seen):
        """Note and make a new definition, when there is none or one of its options differs."""
        if seen and not self._differences(xml):
            return
        before = ""
        if seen:
            before = domain_definition.summary(domain_state.kept_definition(self._own()))
        self.executor.diffs.append({
            "before_header": "domain %s" % self.name, "before": before,
            "after_header": "domain %s" % self.name, "after": domain_definition.summary(xml),
        })
        self.executor.call("define domain %s" % self.name, self._define_now, xml)

    def _define_now(self, xml):
        binding = libvirt_connection.library()
        return ask(
            "Domain %s could not be defined on node %s" % (self.name, self.node), self.connection.defineXMLFlags,
            domain_definition.with_mark(xml, self.uuid, self.generation), self.hypervisor.define_flags(binding),
        )

    def _start_now(self, xml):
        # defined anew each time: the mark gets this generation, and an edit by hand does not survive silently
        domain = self._define_now(xml)
        ask("Instance %s could not be started on node %s" % (self.name, self.node), domain.create, seconds=START_TIMEOUT)
        seen = self.see()
        if seen is None or seen["state"] != "running":
            raise GantryError(
                "Instance %s was started on node %s and stopped again at once" % (self.name, self.node),
                found="%s (%s)" % (seen["state"], seen["reason"]) if seen else "no domain", expected="running",
                mend="look at its log on that node (for kvm /var/log/libvirt/qemu/%s.log)" % self.name,
                code="stopped_at_once",
            )

    def _end_arrival(self):
        """A copy arrived here and never ran, and its source is proven dead: the guest may have gone on there and written
        after this memory was taken, so only a fresh start on the disks is safe. Returns what is seen then."""
        self.executor.call("end the copy of domain %s that arrived and never ran" % self.name, self._destroy_now, self._own())
        return None if self.executor.check_mode else self.see()

    def _stop(self, seen, timeout, force):
        """Bring the guest down; the disks are not touched."""
        if seen is None or not seen["active"]:
            return
        domain = self._own()
        self._refuse_migration(domain, seen)
        obeys = seen["state"] in ("running", "shutdown")
        if obeys and timeout > 0:
            if self.executor.call("shut down domain %s" % self.name, self._press_until_off, domain, timeout):
                return
            if self.executor.check_mode:
                return
        if not force:
            state = self.see() or seen
            raise GantryError(
                "Instance %s did not shut down on node %s" % (self.name, self.node) if obeys
                else "Instance %s cannot shut down on node %s" % (self.name, self.node),
                found="%s (%s) after %s s" % (state["state"], state["reason"], timeout if obeys else 0),
                expected="shut off: the guest has to act on %s" % self.hypervisor.power_button,
                mend="look at its console, give it longer (-e gantry_shutdown_timeout=SECONDS), "
                     "or cut its power with -e gantry_force=true",
                code="still_running",
            )
        self.executor.call("cut the power of domain %s" % self.name, self._destroy_now, domain)

    def _press_until_off(self, domain, timeout):
        """Press the power button every few seconds. Returns whether the guest is off within ``timeout`` seconds."""
        binding = libvirt_connection.library()
        what = "The power button of domain %s could not be pressed" % self.name
        values = self.hypervisor.values_of(self.record)

        def press():
            try:
                self.hypervisor.ask_to_stop(binding, domain, values, presses)
            except binding.libvirtError as error:
                # off meanwhile, or on its way down
                if not is_error(error, "VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_DOMAIN"):
                    raise

        start = time.monotonic()
        presses = 0
        pause = 0.05
        while True:
            passed = time.monotonic() - start
            if not self._is_active(domain):
                return True
            if passed >= timeout:
                return False
            if passed >= presses * PRESS_EVERY:
                ask(what, press)
                presses += 1
            time.sleep(min(pause, max(0.0, timeout - passed)))
            pause = min(pause * 1.5, 1.0)

    def _settle(self):
        """Wait for a guest that is going down already. Returns what is seen then."""
        end = time.monotonic() + SETTLE_TIMEOUT
        seen = self.see()
        while seen and seen["state"] == "shutdown" and time.monotonic() < end:
            time.sleep(0.2)
            seen = self.see()
        return seen

    def _is_active(self, domain):
        binding = libvirt_connection.library()

        def active():
            try:
                return bool(domain.isActive())
            except binding.libvirtError as error:
                if is_error(error, "VIR_ERR_NO_DOMAIN"):
                    return False
                raise

        return ask("The state of domain %s could not be read" % self.name, active)

    def _destroy_now(self, domain):
        binding = libvirt_connection.library()

        def destroy():
            try:
                domain.destroy()
            except binding.libvirtError as error:
                if not is_error(error, "VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_DOMAIN"):
                    raise

        ask("The power of domain %s could not be cut on node %s" % (self.name, self.node), destroy)
        if self._is_active(domain):
            raise GantryError(
                "Instance %s still runs on node %s after its power was cut" % (self.name, self.node),
                mend="look at 'virsh list' and the emulator's process on that node", code="still_running",
            )

    def _undefine_now(self, keep_firmware=False):
        """:param keep_firmware: keep the firmware's variables; always done when they are on a device of the instance,
        whose node in /dev libvirt would remove."""
        domain = self._own()
        if domain is not None:
            binding = libvirt_connection.library()
            flags = self.hypervisor.undefine_flags(
                binding, keep_firmware=keep_firmware or domain_definition.firmware_on_device(domain_state.kept_definition(domain)))
            ask("Domain %s could not be undefined on node %s" % (self.name, self.node), domain.undefineFlags, flags)
            if domain_state.look_up(self.connection, self.uuid) is not None:
                raise GantryError(
                    "Domain %s is still there on node %s after it was undefined" % (self.name, self.node),
                    mend="look at 'virsh list --all' on that node", code="still_defined",
                )

    def _drop_save_now(self):
        """A saved memory belongs to the disks as they were then; resumed on disks that went on it destroys them."""
        ask("The saved memory of domain %s could not be removed" % self.name, self._own().managedSaveRemove, 0)

    def _no_autostart(self, seen):
        """libvirt must not start a guest by itself on a node that comes back."""
        if seen["autostart"]:
            self.executor.call("switch off autostart of domain %s" % self.name, ask,
                               "Autostart of domain %s could not be switched off" % self.name,
                               self._own().setAutostart, 0)

    def _demote(self):
        if self.disks:
            self._stack().demote(self.executor, self.uuid, self.node, self.disks)

    # -- small things --------------------------------------------------------------------------------------------

    def _own(self):
        return domain_state.look_up(self.connection, self.uuid)

    def _stack(self):
        if self._storage is None:
            from ansible_collections.gantry.cluster.plugins.module_utils.storage import stack
            self._storage = stack
        return self._storage

    def _status(self):
        return self._stack().status(self.executor, self.node, self.disks) if self.disks else []

    def _primary(self):
        return {disk["index"] for disk in self._status() if _is_primary(disk)}


def _is_primary(disk):
    return (disk["role"] or "").lower() == "primary"


def _with_note(error, note):
    """The same error with what was done about it."""
    found = "%s; %s" % (error.found, note) if error.found else note
    return GantryError(error.what, found=found, expected=error.expected, mend=error.mend, code=error.code)
