# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain's state as plain data: libvirt's numbers in words, and one domain read whole."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition, libvirt_connection
from ansible_collections.gantry.cluster.plugins.module_utils.libvirt_connection import ask, is_error

#: virDomainState. A blocked domain runs and waits (Xen, LXC): for everyone but a scheduler it runs.
STATES = {
    0: "nostate", 1: "running", 2: "running", 3: "paused", 4: "shutdown", 5: "shutoff", 6: "crashed", 7: "pmsuspended",
}

#: The reasons of each state, virDomain*Reason.
REASONS = {
    1: ("unknown", "booted", "migrated", "restored", "from_snapshot", "unpaused", "migration_canceled", "save_canceled",
        "wakeup", "crashed", "postcopy", "postcopy_failed"),
    3: ("unknown", "user", "migration", "save", "dump", "ioerror", "watchdog", "from_snapshot", "shutting_down",
        "snapshot", "crashed", "starting_up", "postcopy", "postcopy_failed", "api_error"),
    4: ("unknown", "user"),
    5: ("unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from_snapshot", "daemon"),
    6: ("unknown", "panicked"),
}

#: virDomainJobType: a job that is over is no job.
JOB_TYPES = {0: None, 1: "bounded", 2: "unbounded", 3: None, 4: None, 5: None}

#: virDomainJobOperation.
OPERATIONS = (
    "unknown", "start", "save", "restore", "migration_in", "migration_out", "snapshot", "snapshot_revert", "dump", "backup",
    "snapshot_delete",
)

#: States in which the domain has a process, and its memory exists.
ACTIVE = ("running", "paused", "shutdown", "crashed", "pmsuspended", "nostate")

#: Seconds to wait for what a domain's job is: libvirt waits itself when another call holds the domain.
JOB_TIMEOUT = 10


def state_words(state, reason):
    """libvirt's pair of numbers as ``(state, reason)`` in words."""
    reasons = REASONS.get(state, ())
    return STATES.get(state, "unknown"), reasons[reason] if 0 <= reason < len(reasons) else "unknown"


def job_words(stats):
    """libvirt's job statistics as plain data, None for no job.

    :param stats: the dict of ``virDomainGetJobStats``.
    :returns: ``type`` (the operation), ``elapsed_ms``, ``memory_total_mib``, ``memory_processed_mib``,
        ``memory_remaining_mib``, ``iteration``, ``downtime_ms``; what libvirt did not say is None.
    """
    if JOB_TYPES.get(stats.get("type", 0)) is None:
        return None
    return dict(job_numbers(stats), type=operation_word(stats))


def operation_word(stats):
    """The operation a job's statistics are about."""
    number = stats.get("operation", 0)
    return OPERATIONS[number] if 0 <= number < len(OPERATIONS) else "unknown"


def job_numbers(stats):
    """The numbers of a job, running or completed."""
    return {
        "elapsed_ms": stats.get("time_elapsed"),
        "downtime_ms": stats.get("downtime"),
        "memory_total_mib": _mebibytes(stats.get("memory_total")),
        "memory_processed_mib": _mebibytes(stats.get("memory_processed")),
        "memory_remaining_mib": _mebibytes(stats.get("memory_remaining")),
        "iteration": stats.get("memory_iteration"),
    }


def _mebibytes(number):
    return None if number is None else number // 1024 ** 2


def look_up(connection, uuid):
    """The domain of that UUID, or None."""
    return _find("Domain %s could not be looked up" % uuid, connection.lookupByUUIDString, uuid)


def look_up_name(connection, name):
    """The domain of that name, or None."""
    return _find("Domain %s could not be looked up" % name, connection.lookupByName, name)


def _find(what, function, key):
    def find():
        try:
            return function(key)
        except libvirt_connection.library().libvirtError as error:
            if is_error(error, "VIR_ERR_NO_DOMAIN"):
                return None
            raise

    return ask(what, find)


def read_job(domain):
    """The domain's job as plain data, None for none. Not part of :func:`read`, because it may have to wait."""
    binding = libvirt_connection.library()

    def read():
        try:
            return job_words(domain.jobStats())
        except binding.libvirtError as error:
            if is_error(error, "VIR_ERR_NO_SUPPORT", "VIR_ERR_NO_DOMAIN"):
                return None
            # the receiving side of a migration has no statistics and says so with this code
            if is_error(error, "VIR_ERR_OPERATION_INVALID"):
                return {"type": "migration_in"} if domain.isActive() else None
            raise

    return ask("The job of domain %s could not be read" % domain.name(), read, seconds=JOB_TIMEOUT)


def read(domain):
    """Everything a decision needs about one domain, in one bounded step; None when it vanished meanwhile.

    :returns: ``name``, ``uuid``, ``id`` (-1 when not active), ``state``, ``reason``, ``active``, ``persistent``,
        ``autostart``, ``managed_save``, and of our mark (None without it) ``generation``, ``digest`` and ``arriving``.
    """
    binding = libvirt_connection.library()

    def collect():
        try:
            state, reason = state_words(*domain.state())
            return {
                "name": domain.name(), "uuid": domain.UUIDString(), "id": domain.ID(),
                "state": state, "reason": reason, "active": state in ACTIVE,
                "persistent": bool(domain.isPersistent()),
                "autostart": bool(domain.autostart()),
                "managed_save": bool(domain.isPersistent() and has_saved_memory(domain)),
            }
        except binding.libvirtError as error:
            if is_error(error, "VIR_ERR_NO_DOMAIN"):
                return None
            raise

    seen = ask("Domain %s could not be read" % domain.name(), collect)
    if seen is not None:
        mark = ask("The metadata of domain %s could not be read" % domain.name(), read_mark, domain) or {}
        for key in ("generation", "digest", "arriving"):
            seen[key] = mark.get(key)
    return seen


def kept_definition(domain):
    """The XML that libvirt keeps of a domain for its next start."""
    return ask("Domain %s could not be read" % domain.name(), domain.XMLDesc, libvirt_connection.library().VIR_DOMAIN_XML_INACTIVE)


def has_saved_memory(domain):
    """Whether libvirt keeps a saved memory of the domain; some drivers have no such notion and say so."""
    try:
        return bool(domain.hasManagedSaveImage())
    except libvirt_connection.library().libvirtError as error:
        if is_error(error, "VIR_ERR_NO_SUPPORT"):
            return False
        raise


def read_mark(domain):
    """Our mark on the domain, see :func:`domain_definition.read_mark`; None when it has none."""
    binding = libvirt_connection.library()
    try:
        text = domain.metadata(binding.VIR_DOMAIN_METADATA_ELEMENT, domain_definition.NAMESPACE, 0)
    except binding.libvirtError as error:
        # the last one: it is off and undefined, and libxl has not let go of it yet
        if is_error(error, "VIR_ERR_NO_DOMAIN_METADATA", "VIR_ERR_NO_DOMAIN", "VIR_ERR_OPERATION_INVALID"):
            return None
        raise
    return domain_definition.read_mark(text)
