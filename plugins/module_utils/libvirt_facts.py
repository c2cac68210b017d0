# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's libvirt knows, read in bulk by a child process that can be killed.

A daemon that hangs (stopped, swapping, stuck on a dead disk) accepts connections and never answers, and a call
into it cannot be interrupted. So a forked child does the asking and sends what it learns line by line; when
the time is up the parent keeps what has arrived and kills the child. Meanwhile the parent reads the rest of the node.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time

#: Xen's driver lists the node itself as a domain.
DOM0 = "00000000-0000-0000-0000-000000000000"

#: Seconds libvirt has for everything.
TIMEOUT = 60


class Reader:
    """Starts reading at once; :meth:`finish` waits for the answer.

    :param drivers: a :class:`hypervisor.base.Hypervisor` for each libvirt driver of the node, the main one first.
    :param architecture: as in ``uname -m``.
    :param wanted: UUIDs or names to limit the domains to; None for all.
    :param timeout: seconds from now.
    """

    def __init__(self, drivers, architecture, wanted=None, timeout=TIMEOUT):
        self.uris = [driver.uri for driver in drivers]
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self.pipe, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            status = 1
            try:
                with os.fdopen(writing, "w", encoding="utf-8") as stream:
                    for driver in drivers:
                        _child(stream, driver, architecture, wanted)
                status = 0
            finally:
                os._exit(status)  # nothing of the module may run twice
        os.close(writing)

    def finish(self):
        """What libvirt told in time: ``(libvirt, domains)`` as in the module's result. Never raises, never hangs."""
        text = self._receive()
        self._end_child()
        return merge(text, self.uris, self.timeout)

    def _receive(self):
        parts = []
        while True:
            left = self.deadline - time.monotonic()
            ready = select.select([self.pipe], [], [], max(0.0, left))[0]
            if not ready:
                break
            part = os.read(self.pipe, 65536)
            if not part:
                break
            parts.append(part)
        os.close(self.pipe)
        return b"".join(parts).decode("utf-8", "replace")

    def _end_child(self):
        """Kill and reap the child; one that cannot die at once (stuck in the kernel) is left to init."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for _try in range(20):
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return
            time.sleep(0.01)


def merge(text, uris, timeout):
    """The child's lines as ``(libvirt, domains)``. Pure.

    :param text: what arrived, perhaps cut off in the middle of a line.
    :param uris: the drivers that were asked; what all of them can run is one list, and only when all have answered the node's
        libvirt is "ok": a guest of a driver that is silent is unknown, not gone.
    """
    drivers = {uri: {
        "ok": False, "error": "libvirt gave no answer within %s s" % timeout, "version": None, "qemu_version": None,
        "uri": uri, "domain_types": [], "machines": {}, "machine_list": [], "cpu_models": [], "virt_caps": None,
    } for uri in uris}
    domains, jobs, complete = [], {}, set()
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        part = json.loads(line)
        drivers[part["uri"]].update(part.get("libvirt", {}))
        domains.extend(dict(domain, uri=part["uri"]) for domain in part.get("domains", []))
        jobs.update(part.get("jobs", {}))
        if part.get("complete"):
            complete.add(part["uri"])
    for domain in domains:
        active = domain["state"] != "shutoff"
        # a domain whose job could not be asked in time is busy with something
        domain["job"] = jobs.get(domain["uuid"], {"type": "unknown"} if active and domain["uri"] not in complete else None)
        del domain["uri"]
    return _as_one(list(drivers.values())), sorted(domains, key=lambda domain: domain["name"])


def _as_one(drivers):
    """The drivers of a node as one libvirt: the main one's, with what the others can run as well."""
    whole = dict(drivers[0], drivers={driver["uri"]: driver["ok"] for driver in drivers})
    whole["memory"] = next((one["memory"] for one in drivers if one.get("memory")), None)
    for other in drivers[1:]:
        if whole["ok"] and not other["ok"]:
            whole.update(ok=False, error="%s: %s" % (other["uri"], other["error"]))
        for key in ("domain_types", "machine_list", "cpu_models"):
            whole[key] = whole[key] + [value for value in other[key] if value not in whole[key]]
        whole["machines"] = dict(other["machines"], **whole["machines"])
        for key in ("version", "qemu_version", "virt_caps"):
            whole[key] = whole[key] or other[key]
    return whole


def _child(stream, hypervisor, architecture, wanted):
    """Ask libvirt and write a line of JSON for each thing learnt, the slow and blockable things last."""
    # imported here: the parent, which may have other work, does not wait for it
    from ansible_collections.gantry.cluster.plugins.module_utils import domain_state, libvirt_connection
    from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

    def tell(**part):
        stream.write(json.dumps(dict(part, uri=hypervisor.uri)) + "\n")
        stream.flush()

    try:
        binding = libvirt_connection.library()
        connection = hypervisor.open(binding)
        found = read_domains(connection, binding, wanted)
        # only when all that matters has been told is libvirt "ok"
        tell(libvirt=read_daemon(connection, hypervisor, architecture), domains=[domain for domain, _handle in found])
    except GantryError as error:
        tell(libvirt={"error": error.sentence()})
        return
    except Exception as error:  # pylint: disable=broad-exception-caught
        # the module reports whatever it was; the rest of the node is still worth reading
        tell(libvirt={"error": "%s: %s" % (type(error).__name__, error)})
        return
    for domain, handle in found:
        if domain["state"] in domain_state.ACTIVE:
            try:
                tell(jobs={domain["uuid"]: domain_state.read_job(handle)})
            except GantryError:
                tell(jobs={domain["uuid"]: {"type": "unknown"}})
    tell(complete=True)


def read_daemon(connection, hypervisor, architecture):
    """Version and abilities of the daemon."""
    from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.base import version_text

    seen = {
        "ok": True, "error": None, "version": version_text(connection.getLibVersion()),
        "qemu_version": version_text(connection.getVersion()) if hypervisor.name == "kvm" else None,
    }
    seen.update(hypervisor.abilities(connection, architecture))
    return seen


def read_domains(connection, binding, wanted=None):
    """All domains, by a handful of calls for all and one for each one's mark.

    :returns: a list of ``(plain data, libvirt's object)``.
    """
    from ansible_collections.gantry.cluster.plugins.module_utils import domain_state

    sets = {}
    for key, flag in (
        ("persistent", binding.VIR_CONNECT_LIST_DOMAINS_PERSISTENT),
        ("autostart", binding.VIR_CONNECT_LIST_DOMAINS_AUTOSTART),
        ("managed_save", binding.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE),
    ):
        sets[key] = {domain.UUIDString() for domain in connection.listAllDomains(flag)}
    kinds = (
        binding.VIR_DOMAIN_STATS_STATE | binding.VIR_DOMAIN_STATS_BALLOON | binding.VIR_DOMAIN_STATS_VCPU
        | binding.VIR_DOMAIN_STATS_CPU_TOTAL
    )
    found = []
    for handle, stats in _all_stats(connection, binding, kinds):
        if handle.UUIDString() == DOM0:
            continue
        if wanted is not None and handle.name() not in wanted and handle.UUIDString() not in wanted:
            continue
        domain = domain_facts(handle.name(), handle.UUIDString(), stats, sets)
        mark = domain_state.read_mark(handle) or {}
        for key in ("generation", "digest", "arriving"):
            domain[key] = mark.get(key)
        found.append((domain, handle))
    return found


def _all_stats(connection, binding, kinds):
    """The statistics of all domains at once; where the driver has no such call (LXC, Xen), from each domain's own."""
    try:
        return connection.getAllDomainStats(kinds, binding.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
    except binding.libvirtError as error:
        if error.get_error_code() != binding.VIR_ERR_NO_SUPPORT:
            raise
    found = []
    for handle in connection.listAllDomains(0):
        try:
            state, reason = handle.state()
            _state, most, memory, vcpus, cpu_time = handle.info()
        except binding.libvirtError as error:
            if error.get_error_code() == binding.VIR_ERR_NO_DOMAIN:
                continue  # it ended meanwhile
            raise
        found.append((handle, {
            "state.state": state, "state.reason": reason, "balloon.current": memory, "balloon.maximum": most, "vcpu.current": vcpus,
            "vcpu.maximum": vcpus, "cpu.time": cpu_time}))
    return found


def domain_facts(name, uuid, stats, sets):
    """One domain's plain data from libvirt's statistics. Pure.

    :param sets: ``persistent``, ``autostart`` and ``managed_save``: the UUIDs of which that is true.
    """
    from ansible_collections.gantry.cluster.plugins.module_utils import domain_state

    state, reason = domain_state.state_words(stats.get("state.state", 0), stats.get("state.reason", 0))
    current, maximum = stats.get("balloon.current"), stats.get("balloon.maximum")
    return {
        "name": name, "uuid": uuid, "state": state, "reason": reason,
        "persistent": uuid in sets["persistent"], "autostart": uuid in sets["autostart"],
        "managed_save": uuid in sets["managed_save"],
        "memory_mib": None if current is None else current // 1024,
        "memory_max_mib": None if maximum is None else maximum // 1024,
        "vcpus": stats.get("vcpu.current"), "vcpus_max": stats.get("vcpu.maximum"),
        "cpu_time_ns": stats.get("cpu.time"),
    }
