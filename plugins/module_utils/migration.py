# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live migration, run on the source: look at both daemons, migrate, look again, do the after-work.

libvirt's peer-to-peer migration goes on inside the source's daemon whatever becomes of this process. So the
module may be run again at any time: it adopts a job that still runs, and what it does depends on what both
daemons show (see :mod:`migration_verdict`), never on what the migration call returned.
"""

from __future__ import annotations

import threading
import time

from ansible_collections.gantry.cluster.plugins.module_utils import (
    departure, domain_definition, domain_state, generation, libvirt_connection, migration_verdict,
)
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.libvirt_connection import ask

#: Seconds both sides may take to come to rest after an attempt: a daemon that died is restarted by systemd.
SETTLE_TIMEOUT = 60

#: Seconds the connection to the target may take to open (SSH, then the daemon).
REMOTE_TIMEOUT = 60

#: Seconds an aborted migration may take to end.
ABORT_TIMEOUT = 60


#: The steps that may be left to do, in words.
STEPS = {
    "end_source": "end the paused remainder of domain %(name)s on node %(node)s",
    "end_target": "remove the unused copy of domain %(name)s from node %(target)s",
    "resume_source": "resume domain %(name)s on node %(node)s",
    "resume_target": "resume domain %(name)s on node %(target)s",
    "undefine_source": "undefine domain %(name)s on node %(node)s",
}


class Side:
    """One daemon and what it shows of one domain.

    :param uri: libvirt's URI of the daemon.
    :param timeout: seconds a connection may take.
    :param goal: name of the node the migration goes to.
    """

    def __init__(self, uri, uuid, name, timeout, goal):
        self.uri = uri
        self.uuid = uuid
        self.name = name
        self.timeout = timeout
        self.goal = goal
        #: The generation of the departure from the source, see :mod:`departure`.
        self.departed = None
        self.connection = None

    def domain(self):
        """libvirt's object of the domain, or None."""
        if self.connection is None:
            self.connection = libvirt_connection.open_connection(self.uri, self.timeout)
        return domain_state.look_up(self.connection, self.uuid)

    def read(self, fresh=False):
        """Plain data for the verdict; a daemon that does not answer is a finding, not an error.

        :param fresh: over a new connection.
        """
        seen = {
            "reachable": True, "error": None, "exists": False, "id": None, "state": None, "reason": None,
            "persistent": False, "job": None, "generation": None, "arriving": False, "stale": False, "name_taken": None,
        }
        if fresh:
            self._disconnect()
        try:
            domain = self.domain()
            facts = domain_state.read(domain) if domain else None
            if facts:
                for key in ("id", "state", "reason", "persistent", "generation"):
                    seen[key] = facts[key]
                seen["exists"] = True
                seen["arriving"] = facts["arriving"] == self.goal
                seen["stale"] = self.departed is None or facts["generation"] != self.departed
                if facts["active"]:
                    seen["job"] = self._job(domain)
            else:
                other = domain_state.look_up_name(self.connection, self.name)
                seen["name_taken"] = other.UUIDString() if other else None
        except GantryError as error:
            self._disconnect()
            seen.update(reachable=False, error=error.found or error.what)
        return seen

    def versions(self):
        """The versions of the hypervisor and of libvirt, as numbers."""
        if self.connection is None:
            self.domain()
        what = "The versions of the daemon at %s could not be read" % self.uri.partition("?")[0]
        return {"hypervisor": ask(what, self.connection.getVersion), "libvirt": ask(what, self.connection.getLibVersion)}

    def refused_processor(self, guest):
        """Why this node cannot give a guest the processor it has now, or None.

        :param guest: see :func:`domain_definition.processor`.
        """
        binding = libvirt_connection.library()

        def compare():
            try:
                self.connection.compareHypervisorCPU(
                    None, guest["arch"], guest["machine"], guest["type"], guest["cpu"],
                    binding.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE)
            except binding.libvirtError as error:
                if libvirt_connection.is_error(error, "VIR_ERR_CPU_INCOMPATIBLE"):
                    return error.get_error_message()
                raise
            return None

        if self.connection is None:
            self.domain()
        return ask("The target could not compare the guest's processor with its own", compare)

    def _disconnect(self):
        if self.connection is not None:
            libvirt_connection.let_go(self.connection)
            self.connection = None

    @staticmethod
    def _job(domain):
        """The job; one that cannot be read in time is a job too."""
        try:
            return domain_state.read_job(domain)
        except GantryError:
            return {"type": "unknown"}


class Attempt:
    """One call of the migration in a thread of its own, watched from outside.

    :param function: does the call; what libvirt raises is kept in ``error``.
    """

    def __init__(self, function):
        self.error = None
        self.done = threading.Event()
        self._function = function
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._function()
        except Exception as error:  # pylint: disable=broad-exception-caught
            self.error = error  # told in the result; the verdict does not depend on it
        finally:
            self.done.set()


class Migration:
    """The live migration of one instance from this node.

    :param executor: makes and notes the changes.
    :param hypervisor: a :class:`hypervisor.base.Hypervisor`.
    :param instance: ``name``, ``uuid``, ``generation``, ``record``, ``node``, ``disks``.
    :param target: ``node``, ``hostname``, ``address``, ``uri``, ``migrate_uri``.
    :param options: ``timeout`` (seconds), ``max_downtime_ms``, ``bandwidth_mib`` (MiB/s), ``auto_converge``, ``tunnelled``.
    """

    def __init__(
        self, executor, hypervisor, instance, target, options, storage=None, folder=generation.FOLDER,
        locks=generation.LOCKS,
    ):
        self.executor = executor
        self.hypervisor = hypervisor
        self.name = instance["name"]
        self.uuid = instance["uuid"]
        self.generation = instance["generation"]
        self.record = instance.get("record")
        self.values = hypervisor.values_of(self.record)
        self.node = instance["node"]
        self.disks = instance.get("disks") or []
        self.target = target
        self.options = options
        self.memory = {"folder": folder, "locks": locks}
        self.settle_timeout = SETTLE_TIMEOUT
        self._storage = storage
        self.source_side = Side(hypervisor.uri, self.uuid, self.name, libvirt_connection.OPEN_TIMEOUT, target["node"])
        self.target_side = Side(target["uri"], self.uuid, self.name, REMOTE_TIMEOUT, target["node"])
        self.returned_at = None
        self.pause_ms = None
        self.error = None
        self.window_error = None
        self.progress = None

    def run(self):
        """Bring the guest to the target, or say where it is.

        :returns: the module's result, with ``failed`` and the error's parts unless the guest is at the target.
        :raises GantryError: the migration must not begin; nothing was touched.
        """
        start = time.monotonic()
        self.hypervisor.migrate_flags(libvirt_connection.library())  # refuses where there is no live migration
        generation.claim(self.executor, self.uuid, self.generation, **self.memory)
        self.target_side.departed = departure.generation_of(self.uuid, self.target["node"], self.memory["locks"])
        source, target = self._look()
        verdict = migration_verdict.verdict(source, target)
        leaving = self._is_leaving(source)
        if not verdict["settled"] and not leaving and target["reachable"]:
            source, target, verdict = self._settle()
        if verdict["outcome"] == "source" and verdict["todo"]:
            source, target, verdict = self._finish(verdict)
        step = None
        if leaving:
            step = ("finish the migration of domain %s that an earlier run began" % self.name, self._wait_for_job)
        elif migration_verdict.word(source) == migration_verdict.RUNNING or verdict["case"] in (
                "off_everywhere", "source_not_running"):
            migration_verdict.refuse_unfit(
                self.name, source, target, self._disk_status(), earlier_steps_done=not self.executor.check_mode)
            self._refuse_incompatible()
            step = ("migrate domain %s to node %s" % (self.name, self.target["node"]), self._attempt)
        if step:
            self.executor.call(*step)
            if self.executor.check_mode:
                return self._result(None, source, target, start)
            source, target, verdict = self._settle()
            if verdict["outcome"] == "source":
                self.executor.changes.pop()  # nothing moved
        if verdict["todo"]:
            source, target, verdict = self._finish(verdict)
        if verdict["outcome"] == "target":
            self._after_work(target)
        elif verdict["outcome"] == "source" and not target["reachable"]:
            self._shut_window()
        elif verdict["outcome"] == "source" and step:
            self._forget_departure()
        return self._result(verdict, source, target, start)

    # -- looking -------------------------------------------------------------------------------------------------

    def _is_leaving(self, source):
        """Whether an earlier run's migration still works here. A driver that does not name its jobs has our mark on the guest."""
        kind = (source["job"] or {}).get("type")
        return kind == "migration_out" or not self.hypervisor.names_jobs and kind == "unknown" and source["arriving"]

    def _look(self, fresh=False):
        """Both sides, the source first: what has left it by then must be at the target."""
        return self.source_side.read(fresh), self.target_side.read(fresh)

    def _settle(self):
        """Look until what is seen cannot change by itself or the time is up.

        The guest may be waiting, paused, so the first look goes over the connections there are, unless the attempt
        had an error; what does not answer is asked again over a new one.

        :returns: source, target, verdict.
        """
        end = time.monotonic() + self.settle_timeout
        pause, fresh = 0.2, self.error is not None
        while True:
            source, target = self._look(fresh)
            verdict = migration_verdict.verdict(source, target)
            if verdict["settled"] or time.monotonic() >= end:
                return source, target, verdict
            time.sleep(pause)
            pause, fresh = min(pause * 1.5, 3.0), False

    def _finish(self, verdict):
        """Do what is left to do of a migration, one step at a time, looking again before each but the first.

        :returns: source, target, verdict as they are then.
        """
        for number, todo in enumerate(verdict["todo"]):
            if number and not self.executor.check_mode:
                source, target = self._look()
                now = migration_verdict.verdict(source, target)
                if todo not in now["todo"]:
                    raise GantryError(
                        "Instance %s changed while its migration was finished" % self.name, found=now["why"],
                        expected="a state in which to go on with: %s" % todo,
                        mend=now["mend"] or "run instance_migrate again", code="unclear")
            self.executor.call(
                STEPS[todo] % {"name": self.name, "node": self.node, "target": self.target["node"]}, getattr(self, "_" + todo))
        source, target = self._look()
        return source, target, verdict if self.executor.check_mode else migration_verdict.verdict(source, target)

    def _refuse_incompatible(self):
        """The hypervisor here, the target's versions and processor, right before the guest is sent. The guest's own, live definition
        counts: what it was started with may be another than what it would be started with now."""
        lack = self.hypervisor.obstacle(self.values, self.hypervisor.virt_caps())
        if lack:
            raise GantryError("Instance %s cannot migrate live from node %s" % (self.name, self.node), found=lack["what"],
                              expected=lack["expected"], mend=lack["mend"], code=lack["code"])
        migration_verdict.refuse_older(self.name, self.target["node"], self.source_side.versions(), self.target_side.versions())
        domain = self.source_side.domain()
        text = ask("Domain %s could not be read" % self.name, domain.XMLDesc, 0)
        guest = domain_definition.processor(text)
        reason = self.target_side.refused_processor(guest) if guest else None
        if reason:
            raise GantryError(
                "Instance %s cannot migrate: node %s cannot give it its processor" % (self.name, self.target["node"]),
                found="libvirt: %s" % reason, expected="a processor with all features the guest has seen",
                mend="give it a cpu_type that both nodes have and restart it, or move it with instance_failover", code="cpu_incompatible")

    def _disk_status(self):
        status = self._stack().status(self.executor, self.node, self.disks) if self.disks else []
        templates = {disk["index"]: disk["template"] for disk in self.disks}
        return [dict(disk, template=templates[disk["index"]]) for disk in status]

    # -- migrating -----------------------------------------------------------------------------------------------

    def _attempt(self):
        """Start the migration and watch it to its end. Nothing is decided here."""
        binding = libvirt_connection.library()
        domain = self.source_side.domain()
        flags = self.hypervisor.migrate_flags(binding, self.values)
        parameters, known = {}, self.hypervisor.migration_options
        if self.options["tunnelled"]:
            flags |= binding.VIR_MIGRATE_TUNNELLED
        else:
            parameters[binding.VIR_MIGRATE_PARAM_URI] = self.target["migrate_uri"]
            if "listen_address" in known:
                parameters[binding.VIR_MIGRATE_PARAM_LISTEN_ADDRESS] = self.target["address"]
        if self.options["auto_converge"] and "auto_converge" in known:
            flags |= binding.VIR_MIGRATE_AUTO_CONVERGE
        if self.options["bandwidth_mib"] and "bandwidth" in known:
            parameters[binding.VIR_MIGRATE_PARAM_BANDWIDTH] = self.options["bandwidth_mib"]
        departure.write(self.executor, self.uuid, self.generation, self.target["node"], self.memory["locks"])
        self.target_side.departed = self.generation
        self._mark(domain, self.target["node"])
        if self.options["max_downtime_ms"] and "downtime" in known:
            ask("The pause allowed for the migration of instance %s could not be set" % self.name,
                domain.migrateSetMaxDowntime, self.options["max_downtime_ms"], 0)
        attempt = Attempt(lambda: domain.migrateToURI3(self.target["uri"], parameters, flags))
        self._watch(domain, attempt.done.wait, attempt.done.is_set)
        self.returned_at = time.monotonic()
        if attempt.error is not None:
            self.error = self._text_of(attempt.error)
        elif not attempt.done.is_set() and self.hypervisor.aborts_jobs:
            self.error = "the migration did not end within %s s after it was aborted" % ABORT_TIMEOUT

    def _mark(self, domain, arriving):
        """Write our mark with this generation; it travels with the guest.

        :param arriving: the node the guest is about to leave for, or None. Only the living domain is told: whenever
            it is started anew it is on no way to anywhere.
        """
        binding = libvirt_connection.library()
        what = "The metadata of domain %s could not be written" % self.name
        old = ask("The metadata of domain %s could not be read" % self.name, domain_state.read_mark, domain) or {}
        for where, value in ((binding.VIR_DOMAIN_AFFECT_CONFIG, None), (binding.VIR_DOMAIN_AFFECT_LIVE, arriving)):
            text = domain_definition.mark(self.uuid, self.generation, old.get("digest") or "", value)
            ask(what, domain.setMetadata, binding.VIR_DOMAIN_METADATA_ELEMENT, text, domain_definition.PREFIX,
                domain_definition.NAMESPACE, where)

    def _wait_for_job(self):
        """A migration begun by an earlier run still works: watch it to its end."""
        domain = self.source_side.domain()
        over = threading.Event()

        def is_over():
            job = Side._job(domain)
            if job is None:
                over.set()
            return over.is_set()

        def wait(seconds):
            end = time.monotonic() + seconds
            while not is_over() and time.monotonic() < end:
                time.sleep(0.5)

        self._watch(domain, wait, is_over)

    def _watch(self, domain, wait, is_over):
        """Read the job's progress until it is over; abort it when the time is up.

        :param wait: waits for the end so many seconds at most.
        """
        end = time.monotonic() + self.options["timeout"]
        pause = 0.1
        while not is_over() and time.monotonic() < end:
            wait(min(pause, max(0.0, end - time.monotonic())))
            pause = min(pause * 1.5, 2.0)
            job = None if is_over() else Side._job(domain)
            if job and (job["type"] == "migration_out" or not self.hypervisor.names_jobs):
                self.progress = job
        if not is_over():
            self._abort(domain)
            wait(ABORT_TIMEOUT)

    def _abort(self, domain):
        """The time is up. Where the driver cannot abort, the migration goes on, and the same command takes it up again."""
        if not self.hypervisor.aborts_jobs:
            self.error = "it did not end within %s s and goes on: libvirt's driver of %s cannot abort it" % (
                self.options["timeout"], self.hypervisor.name)
            return
        self.error = "it did not end within %s s and was aborted" % self.options["timeout"]
        try:
            ask("The migration of instance %s could not be aborted" % self.name, domain.abortJob)
        except GantryError as error:
            # over in the meantime, or past the point of no return: the verdict will tell
            self.error += "; abort: %s" % error.found

    def _text_of(self, error):
        if libvirt_connection.is_error(error):
            text = error.get_error_message() or str(error)
        else:
            text = "%s: %s" % (type(error).__name__, error)
        return "%s (%s)" % (self.error, text) if self.error else text

    # -- after it ------------------------------------------------------------------------------------------------

    def _after_work(self, target):
        """The guest runs at the target and nowhere else: nothing of this instance's life stays on this node."""
        generation.claim(self.executor, self.uuid, self.generation, record=self.record, **self.memory)
        departure.erase(self.executor, self.uuid, self.memory["locks"])
        if target["arriving"] and not self.executor.check_mode:
            self._mark(self.target_side.domain(), None)
        if self.disks:
            self._stack().demote(self.executor, self.uuid, self.node, self.disks)
            self._stack().close_window(self.executor, self.uuid, self.node, self.disks)

    def _forget_departure(self):
        """The guest stayed, and nothing of it is at the target."""
        domain = self.source_side.domain()
        if domain is not None:
            self._mark(domain, None)
        departure.erase(self.executor, self.uuid, self.memory["locks"])

    def _shut_window(self):
        """The guest stayed and the target is lost: without this it could not connect when it comes back, because DRBD
        refuses a peer whose permission for two primaries is another. While it is connected and primary it stays open."""
        if self.disks:
            try:
                self._stack().close_window(self.executor, self.uuid, self.node, self.disks)
            except GantryError as error:
                self.window_error = error.sentence()

    def _resume_target(self):
        """The source is proven to be without the guest: now it may run at the target."""
        domain = self.target_side.domain()
        ask("Instance %s arrived on node %s and could not be resumed there" % (self.name, self.target["node"]), domain.resume)
        if self.returned_at is not None:
            self.pause_ms = int(1000 * (time.monotonic() - self.returned_at))
        seen = self.target_side.read()
        if migration_verdict.word(seen) != migration_verdict.RUNNING:
            raise GantryError(
                "Instance %s does not run on node %s after it was resumed there" % (self.name, self.target["node"]),
                found="%s (%s)" % (seen["state"], seen["reason"]), expected="running",
                mend="look at it with 'virsh list' on that node, then run instance_migrate again", code="unclear")

    def _resume_source(self):
        """It was stopped for a switch-over that never came."""
        ask("Instance %s could not be resumed on node %s" % (self.name, self.node), self.hypervisor.resume, self.executor,
            self.source_side.domain())

    def _end_source(self):
        """End what libvirt itself would have ended, had it learnt that the target has the guest."""
        domain = self.source_side.domain()
        ask("The paused remainder of domain %s could not be ended" % self.name, domain.destroy)
        self._undefine_source()

    def _end_target(self):
        """End a copy that arrived and never ran: the guest goes on at the source."""
        domain = self.target_side.domain()
        what = "The unused copy of domain %s could not be removed from node %s" % (self.name, self.target["node"])
        ask(what, domain.destroy)
        domain = self.target_side.domain()
        if domain is not None:
            self._undefine(what, domain)

    def _undefine_source(self):
        domain = self.source_side.domain()
        if domain is not None:
            self._undefine("Domain %s could not be undefined on node %s" % (self.name, self.node), domain)

    def _undefine(self, what, domain):
        """Remove a definition; libvirt refuses to do so quietly to a domain that is active, so that is looked at first."""
        seen = domain_state.read(domain)
        if seen is None:
            return
        if seen["active"]:
            raise GantryError(
                what, found="%s (%s)" % (seen["state"], seen["reason"]), expected="shut off",
                mend="run instance_migrate again", code="unclear")
        # what its firmware has stored is kept: here it is only an old copy, but a copy
        flags = self.hypervisor.undefine_flags(libvirt_connection.library(), keep_firmware=True)
        ask(what, domain.undefineFlags, flags)

    def _result(self, verdict, source, target, start):
        completed = self._completed() if verdict and verdict["outcome"] == "target" else {}
        result = {
            "outcome": verdict["outcome"] if verdict else None, "case": verdict["case"] if verdict else "check_mode",
            "why": verdict["why"] if verdict else "check mode: nothing was moved",
            "libvirt_error": self.error, "window_error": self.window_error, "source": source, "target": target,
            "elapsed_seconds": round(time.monotonic() - start, 3),
            "total_ms": completed.get("elapsed_ms"), "downtime_ms": self._downtime(completed),
            "memory_mib": completed.get("memory_total_mib"), "transferred_mib": completed.get("memory_processed_mib"),
            "progress": self.progress,
        }
        if verdict and verdict["outcome"] != "target":
            result.update(failed=True, **self._failure(verdict).as_result())
        if self.executor.check_mode:
            result["unchecked"] = ["the window for two primaries is open", "the disks are primary at the target"]
        return result

    def _downtime(self, completed):
        """How long the guest stood still: what libvirt measured, and what we took to resume it."""
        if completed.get("downtime_ms") is None or self.pause_ms is None:
            return completed.get("downtime_ms")
        return completed["downtime_ms"] + self.pause_ms

    def _failure(self, verdict):
        """What is told when the guest is not proven to be at the target."""
        why = "%s; libvirt: %s" % (verdict["why"], self.error) if self.error else verdict["why"]
        lack = self.hypervisor.obstacle_behind(self.values, self.error) if verdict["outcome"] == "source" and self.error else None
        if lack:
            return GantryError(
                "Instance %s was not migrated; it runs on node %s and nowhere else" % (self.name, self.node),
                found="%s; %s" % (why, lack["what"]), expected=lack["expected"], mend=lack["mend"], code=lack["code"])
        if verdict["outcome"] == "source":
            return GantryError(
                "Instance %s was not migrated; it runs on node %s and nowhere else" % (self.name, self.node),
                found=why, expected="running on node %s" % self.target["node"],
                mend="remove the cause and run instance_migrate again", code="not_migrated")
        return GantryError(
            "It is unclear where instance %s belongs after its migration; nothing was touched" % self.name,
            found=why, expected="running on exactly one of %s and %s" % (self.node, self.target["node"]),
            mend=verdict["mend"], code="unclear")

    def _completed(self):
        """libvirt's numbers of the completed migration, which the target keeps for the first to ask; empty if gone."""
        binding = libvirt_connection.library()
        try:
            stats = ask("The migration's numbers could not be read", self.target_side.domain().jobStats,
                        binding.VIR_DOMAIN_JOB_STATS_COMPLETED)
        except GantryError:
            return {}
        return domain_state.job_numbers(stats)

    def _stack(self):
        if self._storage is None:
            from ansible_collections.gantry.cluster.plugins.module_utils.storage import stack
            self._storage = stack
        return self._storage
