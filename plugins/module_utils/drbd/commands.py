# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of drbd-utils: reading the node's state, and each step that changes a resource.

A step only runs its command and reads back what it did; whether it may be done is for :mod:`rules` to say before.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time

from ansible_collections.gantry.cluster.plugins.module_utils import tpm_hook
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import helper, parse
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text

#: The kernel's number of DRBD among block devices.
MAJOR = 147

#: Lines of the kernel's log that say why a connection was given up.
_REASONS = re.compile(
    r"split-brain detected|unrelated data|incompatible|authentication of peer failed|peer failed to authenticate",
    re.IGNORECASE)

#: The kernel's error code SS_PRIMARY_NOP: it does not know what became of the peer.
_PEER_LOST = "State change failed: (-7)"


def status(executor):
    """The state of every resource of this node (see :func:`parse.events2`), with the options in force.

    :raises GantryError: DRBD's tools are missing or print what cannot be understood.
    """
    states = parse.events2(executor.read(["drbdsetup", "events2", "--now", "--statistics"]).out)
    if states:
        options = parse.show(executor.read(["drbdsetup", "show"]).out)
        for name, state in states.items():
            # A resource that went away between the two commands has no window any more.
            state.update(options.get(name, {"allow_two_primaries": False, "protocol": "C"}))
    return states


def versions(executor):
    """``{"kernel_version", "utils_version"}``; the kernel's is None when the module is not loaded."""
    return parse.versions(executor.read(["drbdadm", "--version"]).out)


def kernel_version(executor):
    """The kernel module's version as a tuple, None when there is none."""
    text = read_text("/sys/module/drbd/version")
    return parse.version_tuple(text.strip() if text else versions(executor)["kernel_version"])


def just_created(executor, name):
    """True when the resource's metadata never had data. The resource must be configured and its metadata valid."""
    return parse.generation_flags(_quietly(executor.read, ["drbdadm", "get-gi", name]).out)["just_created"]


def generations(executor, name, minor):
    """The generation identifiers of a resource that is up, as DRBD writes them (current:bitmap:history...); None without."""
    # drbdadm would read the files of all resources for each
    ask = ["drbdsetup", "get-gi", str(minor)] if (kernel_version(executor) or (9,)) < (9,) else ["drbdadm", "get-gi", name]
    answer = executor.read(ask, ok=None)
    return answer.out.strip() or None if answer.rc == 0 else None


def has_metadata(executor, name):
    """True when valid metadata is on the metadata volume of a resource that is not up."""
    answer = executor.read(["drbdadm", "dump-md", name], ok=None)
    if answer.rc == 0:
        return True
    if "No valid meta data found" in answer.out + answer.err:
        return False
    # Some versions call metadata that needs its activity log replayed an error: it is metadata all the same.
    if "apply-al" in answer.out + answer.err:
        return True
    raise GantryError(
        "The metadata of DRBD resource %s cannot be read" % name,
        found=redact(answer.err.strip() or answer.out.strip())[-500:], expected="metadata, or none",
        mend="run 'drbdadm dump-md %s' on the node" % name, code="unreadable_metadata",
    )


def create_metadata(executor, name):
    """Write fresh metadata."""
    change(executor, "create DRBD metadata of %s" % name, ["drbdadm", "create-md", "--force", name])


def adjust(executor, name, what):
    """Make the kernel's configuration that of the resource file: bring up, attach, connect, as needed."""
    change(executor, what, ["drbdadm", "adjust", name])


def primary(executor, name, alone=False, sleep=time.sleep):
    """Make primary. The kernel refuses a second primary and a disk that is not current.

    :param alone: the peer is dead. Else it must be there when the kernel asks for its consent.
    """
    executor.call("make DRBD resource %s primary" % name, _primary_now, executor, name, alone, sleep)


def _primary_now(executor, name, alone, sleep):
    argv = ["drbdadm", "primary", name]
    # the kernel may refuse once while it is still learning that the peer is gone
    tries = 3 if alone else 1
    while True:
        with contextlib.nullcontext() if alone else helper.together(name):
            answer = executor.read(argv, ok=None)
        if answer.rc == 0:
            return
        tries -= 1
        if tries < 1:
            raise _peer_lost(name, answer) if not alone and _PEER_LOST in answer.err + answer.out else _failed(argv, answer)
        sleep(1.0)


def _peer_lost(name, answer):
    return GantryError(
        "DRBD resource %s was not made primary: its peer was lost in the middle of it" % name,
        found=redact(answer.err.strip() or answer.out.strip()), expected="the peer's consent",
        mend="look at the other node and at the link between the two, then run the verb again", code="peer_lost")


def force_primary(executor, name):
    """Declare the local copy the good one and make primary."""
    change(
        executor, "make DRBD resource %s primary for the first time (full synchronisation)" % name,
        ["drbdadm", "primary", "--force", name],
    )


def secondary(executor, name, minor, patience=10.0, sleep=time.sleep):
    """Make secondary. A process that is ending, or udev's look at a device just closed, is waited for.

    :param patience: seconds to wait for a device that is held open.
    :raises GantryError: it stays held open; the error names the holders as far as they can be seen.
    """
    executor.call("make DRBD resource %s secondary" % name, _secondary_now, executor, name, minor, patience, sleep)


def _secondary_now(executor, name, minor, patience, sleep):
    argv = ["drbdadm", "secondary", name]
    end = time.monotonic() + patience
    while True:
        answer = executor.read(argv, ok=None)
        if answer.rc == 0:
            return
        if "held open" not in answer.out + answer.err:
            raise _failed(argv, answer)
        if time.monotonic() >= end:
            held = ", ".join(holders(minor)) or "a holder inside the kernel (LVM, multipath, a loop device)"
            raise GantryError(
                "DRBD resource %s cannot be made secondary: its device /dev/drbd%d is held open" % (name, minor),
                found=held, expected="nobody has it open",
                mend="end what holds it ('fuser -v /dev/drbd%d', 'lsblk /dev/drbd%d'); LVM, multipath and backup"
                     " tools on the node must not look at guests' disks" % (minor, minor),
                code="held_open",
            )
        sleep(0.25)


def allow_two_primaries(executor, name, allow):
    """Open or close the window on the running resource; the file keeps saying no."""
    change(
        executor, "%s two primaries of DRBD resource %s" % ("allow" if allow else "forbid", name),
        ["drbdadm", "net-options", "--protocol=C", "--allow-two-primaries=" + ("yes" if allow else "no"), name],
    )


def down(executor, name):
    """Take down: works without the resource file."""
    change(executor, "take DRBD resource %s down" % name, ["drbdsetup", "down", name])


def detach(executor, name):
    """Let go of the local volumes; a primary lives off its peer from then on."""
    change(executor, "detach the disk of DRBD resource %s" % name, ["drbdadm", "detach", name])


def holders(minor, proc="/proc", sys="/sys"):
    """Who holds /dev/drbd<minor> open: ``["qemu-system-x86 (pid 1234)", "device dm-7"]``, as far as can be seen."""
    found = []
    block = os.path.join(sys, "block", "drbd%d" % minor)
    try:
        found += ["device " + name for name in sorted(os.listdir(os.path.join(block, "holders")))]
    except OSError:
        pass
    device = "/dev/drbd%d" % minor
    for pid in sorted((name for name in _listing(proc) if name.isdigit()), key=int):
        folder = os.path.join(proc, pid, "fd")
        for descriptor in _listing(folder):
            try:
                target = os.readlink(os.path.join(folder, descriptor))
            except OSError:
                continue
            if target == device or _is_own_node(target, os.path.join(folder, descriptor), minor):
                found.append("%s (pid %s)" % (_command(proc, pid), pid))
                break
    mounts = os.path.join(proc, "mounts")
    try:
        with open(mounts, encoding="utf-8", errors="replace") as stream:
            found += ["mounted on %s" % line.split()[1] for line in stream if line.split()[:1] == [device]]
    except OSError:
        pass
    return found


def _is_own_node(target, path, minor):
    """Whether a process has the device open by the node that the hook of guests' TPMs made for it, which only it can see."""
    if not target.startswith(tpm_hook.FOLDER + "/"):
        return False
    try:
        seen = os.stat(path)
    except OSError:
        return False
    return stat.S_ISBLK(seen.st_mode) and seen.st_rdev == os.makedev(MAJOR, minor)


def _listing(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _command(proc, pid):
    try:
        with open(os.path.join(proc, pid, "comm"), encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return "process"


def reasons(executor, name, minor):
    """The kernel's last words on why the resource's connection was given up; empty when it says nothing."""
    answer = executor.read(["dmesg"], ok=None)
    ours = re.compile(r"drbd (?:%s|drbd%d)[: /]|block drbd%d:" % (re.escape(name), minor, minor))
    lines = [line.strip() for line in answer.out.splitlines() if ours.search(line) and _REASONS.search(line)]
    return "; ".join(lines[-2:])


def redact(text):
    """drbdadm repeats a failed command with its arguments: leave the shared secret out."""
    return re.sub(r"(shared-secret[= \t]+\"?)[^\s\";]+", r"\1***", text)


def change(executor, what, argv):
    """A changing command whose failure never shows a secret."""
    return _quietly(executor.change, what, argv)


def _quietly(function, *args):
    try:
        return function(*args)
    except GantryError as error:
        raise GantryError(
            redact(error.what), found=None if error.found is None else redact(str(error.found)),
            expected=error.expected, mend=error.mend, code=error.code,
        ) from None


def _failed(argv, answer):
    return GantryError(
        "The command '%s' failed with exit code %s" % (" ".join(argv), answer.rc),
        found=redact(answer.err.strip() or answer.out.strip() or "no message"), code="command_failed",
    )
