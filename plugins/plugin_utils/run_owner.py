# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs this playbook, and whether another run that holds a lock is still alive."""

from __future__ import annotations

import getpass
import os
import socket


def _boot_id():
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _start_time(pid):
    """The process's start in clock ticks since boot, which tells it from a later one with the same number."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def this_run():
    """The playbook run this action belongs to. Ansible runs actions in workers: the run is their parent."""
    pid = os.getppid()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {"host": socket.gethostname(), "boot": _boot_id(), "pid": pid, "started": _start_time(pid), "user": user}


def same_run(owner, run):
    """True when both describe the same process."""
    return all(owner.get(key) == run.get(key) for key in ("host", "boot", "pid", "started"))


def liveness(owner, run, start_time=_start_time):
    """``alive``, ``dead`` or ``unknown`` (another machine's run: only its lease can tell).

    :param run: :func:`this_run`, to know which machine this is.
    """
    if owner.get("host") != run["host"]:
        return "unknown"
    if owner.get("boot") != run["boot"]:
        return "dead"
    started = start_time(owner["pid"])
    return "alive" if started is not None and started == owner.get("started") else "dead"


def describe(owner):
    """The run in words: root@controller, process 4711."""
    return "%s@%s, process %s" % (owner.get("user", "?"), owner.get("host", "?"), owner.get("pid", "?"))
