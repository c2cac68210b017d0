# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's processes of QEMU: found by their -pidfile argument, ended for certain."""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import signal

from .config import LabError


def alive(pidfile: pathlib.Path) -> int | None:
    """The process id in the file, or None. A process id that something else has got by now does not count."""
    try:
        pid = int(pidfile.read_text())
    except (OSError, ValueError):
        return None
    return pid if _pidfile_of(pid) == pidfile else None


def _pidfile_of(pid: int) -> pathlib.Path | None:
    """The -pidfile argument of a process, or None if it has none, is a zombie or is gone."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    for one, other in zip(words, words[1:]):
        if one == b"-pidfile":
            return pathlib.Path(os.fsdecode(other))
    return None


def strays(folder: pathlib.Path) -> list:
    """Process ids of every QEMU whose -pidfile lies below the folder, whatever the lab itself remembers."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        pidfile = _pidfile_of(int(entry.name))
        if pidfile and folder in pidfile.parents:
            found.append(int(entry.name))
    return found


def kill(folder: pathlib.Path, pid: int, timeout: float = 10.0) -> None:
    """Ends a QEMU whose -pidfile lies below the folder, at once, and waits until it is gone. Raises LabError."""
    try:
        # The handle stays with this process even if its number is given to another one.
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        pidfile = _pidfile_of(pid)
        if not pidfile or folder not in pidfile.parents:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        # The handle becomes readable when the process ends, whether or not its parent has noticed.
        if not select.select([handle], [], [], timeout)[0]:
            raise LabError(f"QEMU (process {pid}) is still there {timeout:g} s after it was killed")
    finally:
        os.close(handle)


def frozen(pid: int) -> bool:
    """Whether somebody stopped the process with a signal (SIGSTOP): it neither runs nor answers, and still exists."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except OSError:
        return False
