# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gives a guest with mirrored disks its TPM: a hook of libvirt that starts swtpm on a disk of the instance.

libvirt before 10.10 can put the state of its own emulator into a folder of the node only, where a failover would not find
it. So the definition names a socket as an external TPM, and who listens there is the hook's business: before a guest starts
or arrives swtpm is started, after it has left swtpm is seen to be gone, because it holds the disk open.

A hook is run for each step of every guest of the node, and one that fails ends the guest. So there are two files: a script of
the shell that ends at once with success unless the step is one of those two and the definition names a socket of ours; and
the program behind it, beside the hooks because there AppArmor lets the daemon run it.
"""

from __future__ import annotations

#: libvirt runs what stands in this folder for each guest of its QEMU driver, if the folder held something when it started.
PATH = "/etc/libvirt/hooks/qemu.d/gantry-tpm"
PROGRAM_PATH = "/etc/libvirt/hooks/gantry-tpm"

#: Where the sockets are. Not below /run/gantry, which is root's alone, because QEMU has to reach them.
FOLDER = "/run/gantry-tpm"

#: What has to be on a node, by the package that brings it.
PROGRAMS = {"/usr/bin/swtpm": "swtpm", "/usr/bin/swtpm_setup": "swtpm-tools"}


def socket_of(uuid):
    """The socket of a guest's TPM; the program knows the guest by it."""
    return "%s/%s.sock" % (FOLDER, uuid)


TEXT = """#!/bin/sh
# Written by gantry.cluster. libvirt runs it for each step of every guest: GUEST STEP STAGE, and the definition on standard input.
# Nothing is done, and success told, but for guests with a TPM of gantry.cluster, before QEMU starts and after it has ended.
case "$2/$3" in
    start/begin | release/end) ;;
    *) exit 0 ;;
esac
definition=$(cat)
case $definition in
    *"'%(folder)s/"*) ;;
    *) exit 0 ;;
esac
printf '%%s\\n' "$definition" | %(program)s "$@"
""" % {"folder": FOLDER, "program": PROGRAM_PATH}

PROGRAM = '''#!/usr/bin/python3
# Written by gantry.cluster. The hook qemu.d/gantry-tpm runs it: GUEST STEP STAGE, and the guest's definition on standard input.
import fcntl
import json
import mmap
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from xml.etree import ElementTree

FOLDER = "/run/gantry-tpm"
MEMORY = "/var/lib/gantry/instances"
AUTHORITY = "/var/lib/swtpm-localca"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a state of swtpm on a device begins with.
MAGIC = b"nilmptws"
BLOCK = 4096
# Seconds: swtpm may need to start and to end; several guests may want a new TPM at once.
START, LEAVE, MAKE = 60, 5, 240
# swtpm gets a node of its own for the one device, in a tmpfs that only it sees, over the folder of the sockets: udev sets the
# permissions of the nodes in /dev back, and who is in the group of the disks can read every guest's.
INSIDE = """
mount -t tmpfs -o mode=0711,nosuid,noexec,size=64k gantry-tpm "$1" &&
mknod -m 0600 "$2" b "$3" "$4" && chown "$5:$6" "$2" || exit 1
user=$5 group=$6
shift 6
exec setpriv --reuid "$user" --regid "$group" --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


class Refused(Exception):
    """Why the guest cannot have its TPM."""


def wanted(definition):
    """The guest's TPM as its definition has it, or None when it has none of ours. Pure."""
    tree = ElementTree.fromstring(definition)
    uuid = (tree.findtext("uuid") or "").strip()
    for source in tree.iterfind("devices/tpm/backend[@type='external']/source"):
        if re.fullmatch("[0-9a-f-]{36}", uuid) and source.get("path") == "%s/%s.sock" % (FOLDER, uuid):
            break
    else:
        return None
    marks = [one for one in tree.iterfind("metadata/*") if one.tag.rpartition("}")[2] == "instance"]
    label = re.fullmatch("[+]?([0-9]+):[+]?([0-9]+)", tree.findtext("seclabel[@model='dac']/label") or "")
    return {
        "name": tree.findtext("name"), "uuid": uuid,
        # a guest that comes by a migration brings the state along, and its other node has the disk in use
        "arriving": any(one.get("arriving") for one in marks),
        # who QEMU runs as; libvirt settles it before it asks the hook
        "qemu": (int(label.group(1)), int(label.group(2))) if label else None,
    }


def device_of(record, host):
    """The device of the disk that holds the state. Pure. :raises Refused: the record has none for this node."""
    for disk in (record or {}).get("disks") or []:
        if disk.get("purpose") == "tpm":
            for place in disk["nodes"].values():
                if place.get("hostname") == host:
                    return "/dev/drbd%d" % place["minor"]
    raise Refused("its record on this node has no disk for a TPM here")


def content(head):
    """What a device holds by its beginning: "new", "state" or "other". Pure."""
    return "state" if head.startswith(MAGIC) else "other" if head.strip(bytes(1)) else "new"


def record_of(uuid):
    """The node's memory of the instance."""
    path = "%s/%s.json" % (MEMORY, uuid)
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream).get("record")
    except (OSError, ValueError) as error:
        raise Refused("its record %s cannot be read: %s" % (path, error))


def head_of(device):
    """The beginning of the device, past the page cache: the other node may have written it."""
    descriptor = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, BLOCK) as aligned:
            return bytes(aligned[:os.readv(descriptor, [aligned])])
    finally:
        os.close(descriptor)


def owner():
    """Whom swtpm runs as: the user that Debian's package makes, who may also sign new TPMs with the node's local authority."""
    try:
        found = os.stat(AUTHORITY)
        if found.st_uid:
            return found.st_uid, pwd.getpwuid(found.st_uid).pw_gid
        user = pwd.getpwnam("tss")
        return user.pw_uid, user.pw_gid
    except (OSError, KeyError):
        raise Refused("there is no user for swtpm; apt install swtpm-tools")


def run(argv, seconds):
    """Run a command to its end. :raises Refused: it fails."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                              errors="replace", check=False, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused("%s" % error)
    if done.returncode:
        raise Refused("%s: %s" % (" ".join(argv), " / ".join(done.stdout.split("\\n")[-6:]).strip(" /")))


def manufacture(guest, device, user):
    """A new TPM, made aside and written to the device with its beginning last: half of one is never taken for a whole one."""
    folder = tempfile.mkdtemp(prefix="gantry-tpm-", dir=os.path.dirname(FOLDER))
    try:
        os.chown(folder, *user)
        path = folder + "/state"
        with open(FOLDER + "/.lock", "w", encoding="utf-8") as lock:
            # the local authority numbers what it signs, and is made by the first one
            fcntl.flock(lock, fcntl.LOCK_EX)
            run(["setpriv", "--reuid", str(user[0]), "--regid", str(user[1]), "--clear-groups",
                 "swtpm_setup", "--tpm2", "--tpmstate", "file://" + path, "--createek", "--create-ek-cert", "--create-platform-cert",
                 "--lock-nvram", "--not-overwrite", "--vmid", "%s:%s" % (guest["name"], guest["uuid"])], MAKE)
        with open(path, "rb") as stream:
            state = stream.read()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if content(state) != "state":
        raise Refused("swtpm_setup made something else than a TPM")
    with open(device, "r+b") as stream:
        for start, end in ((BLOCK, len(state)), (0, BLOCK)):
            stream.seek(start)
            stream.write(state[start:end])
            stream.flush()
            os.fsync(stream.fileno())


def listen(guest):
    """A socket that QEMU can connect to and nobody else. swtpm need not be able to make one."""
    path = "%s/%s.sock" % (FOLDER, guest["uuid"])
    if os.path.lexists(path):
        os.unlink(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listening.bind(path)
    finally:
        os.umask(mask)
    os.chown(path, *guest["qemu"])
    listening.listen(1)
    return listening


def start(guest, device, user):
    """Start swtpm. It opens the device when QEMU powers the TPM on; for a guest that arrives that is when all of it is here."""
    number, node, log = os.stat(device).st_rdev, "%s/%s" % (FOLDER, guest["uuid"]), "%s/%s.log" % (FOLDER, guest["uuid"])
    with listen(guest) as listening, open(log, "w", encoding="utf-8") as output:
        os.fchmod(output.fileno(), 0o600)
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", INSIDE, "gantry-tpm", FOLDER, node,
             str(os.major(number)), str(os.minor(number)), str(user[0]), str(user[1]),
             "swtpm", "socket", "--tpm2", "--tpmstate", "backend-uri=file://" + node, "--ctrl", "type=unixio,fd=%d" % listening.fileno(),
             "--terminate"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[listening.fileno()], start_new_session=True, cwd="/")
    end = time.monotonic() + START
    while process.poll() is None and time.monotonic() < end:
        try:
            with open("/proc/%d/comm" % process.pid, encoding="utf-8") as stream:
                if stream.read().strip() == "swtpm":
                    return
        except OSError:
            pass
        time.sleep(0.01)
    leave(guest["uuid"], 0)
    with open(log, encoding="utf-8", errors="replace") as stream:
        raise Refused("swtpm did not start: %s" % (stream.read().strip()[-500:] or "no message"))


def processes(uuid):
    """The processes that have the guest's state in use: swtpm, or one on its way to be it."""
    found, word = [], ("backend-uri=file://%s/%s" % (FOLDER, uuid)).encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/cmdline" % name, "rb") as stream:
                    if word in stream.read().split(bytes(1)):
                        found.append(int(name))
            except OSError:
                pass  # it has just ended
    return found


def leave(uuid, patience):
    """See to it that no swtpm of the guest is left. It ends by itself when QEMU has; one that QEMU never met does not.

    :raises Refused: it is still there.
    """
    for sign, seconds in ((None, patience), (signal.SIGTERM, LEAVE), (signal.SIGKILL, LEAVE)):
        end, left = time.monotonic() + seconds, processes(uuid)
        if sign is not None:
            for process in left:
                try:
                    os.kill(process, sign)
                except ProcessLookupError:
                    pass
        while left and time.monotonic() < end:
            time.sleep(0.02)
            left = processes(uuid)
        if not left:
            break
    else:
        raise Refused("swtpm does not end: process %s" % ", ".join(str(one) for one in left))
    try:
        os.unlink("%s/%s.sock" % (FOLDER, uuid))
    except OSError:
        pass


def begin(guest):
    """Before the guest starts, or arrives."""
    device, user = device_of(record_of(guest["uuid"]), os.uname().nodename), owner()
    if guest["qemu"] is None:
        raise Refused("libvirt does not say whom QEMU runs as; let qemu.conf have its security driver for users (dac)")
    if not stat.S_ISBLK(os.stat(device).st_mode):
        raise Refused("%s is no block device" % device)
    os.makedirs(FOLDER, exist_ok=True)
    os.chown(FOLDER, 0, guest["qemu"][1])
    os.chmod(FOLDER, 0o710)
    leave(guest["uuid"], 0)
    found = content(head_of(device))
    if found == "other":
        raise Refused("%s holds something that is no TPM's state; it is left as it is" % device)
    if found == "new" and guest["arriving"]:
        raise Refused("%s is empty, and the guest arrives with a TPM: the copies of that disk differ" % device)
    if found == "new":
        manufacture(guest, device, user)
    start(guest, device, user)


def main():
    name, step, stage = sys.argv[1:4]
    guest = wanted(sys.stdin.read())
    if guest is None:
        return
    os.environ["PATH"] = PATH
    try:
        if (step, stage) == ("start", "begin"):
            begin(guest)
        elif (step, stage) == ("release", "end"):
            leave(guest["uuid"], LEAVE)
    except (Refused, OSError) as error:
        sys.exit("gantry-tpm: the TPM of %s: %s" % (name, error))


if __name__ == "__main__":
    main()
'''
