# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hook that gives a guest its TPM: it lets every other guest alone, and runs swtpm on a block device for real."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

import pytest
from records import make_record, text_of

from ansible_collections.gantry.cluster.lab import tpm
from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition, tpm_hook

UUID = "6f2d1a9e-2d0f-4b8c-9a3e-0d8f6a3b1c42"
HOST = os.uname().nodename
#: Whom QEMU is said to run as.
QEMU = 65534
SIZE = 4 << 20

#: What libvirt runs hooks for.
STEPS = [("prepare", "begin"), ("start", "begin"), ("started", "begin"), ("stopped", "end"), ("release", "end"), ("migrate", "begin"),
         ("restore", "begin"), ("reconnect", "begin"), ("attach", "begin")]

DISK = {"index": 2, "name": "web1-disk2", "template": "drbd", "vg": "gantry", "size_mib": 4, "purpose": "tpm",
        "nodes": {"a": {"minor": 10, "hostname": HOST}, "b": {"minor": 10, "hostname": "other"}}}


def definition(label="+%d:+%d" % (QEMU, QEMU), arriving=None, **more):
    """A guest's definition as libvirt hands it to a hook when QEMU is about to start."""
    record = make_record(hvparams={"tpm": "2.0"}, **more)
    record["disks"] = record["disks"] + [DISK]
    text = text_of(record)
    tree = domain_definition.parse(domain_definition.with_mark(text, UUID, 3))
    if arriving:
        next(iter(tree.find("metadata"))).set("arriving", arriving)
    if label:
        tree.append(domain_definition.parse("<domain><seclabel type='dynamic' model='dac' relabel='yes'><label>%s</label></seclabel>"
                                            "</domain>" % label).find("seclabel"))
    text = domain_definition.ElementTree.tostring(tree, encoding="unicode")
    return text.replace('"', "'")  # as libvirt writes it


FOREIGN = [
    text_of(make_record()), text_of(make_record(hvparams={"tpm": "2.0"}, disk_template="plain")),
    "<domain><name>x</name><devices><tpm model='tpm-crb'><backend type='external'><source type='unix' mode='connect' path='/srv/a'/>"
    "</backend></tpm></devices></domain>",
    # speaks of our folder, and has no TPM there
    "<domain><uuid>%s</uuid><devices><disk><source file='/run/gantry-tpm/x'/></disk></devices></domain>" % UUID,
    "<domain><uuid>../../etc</uuid><devices><tpm><backend type='external'><source path='/run/gantry-tpm/../../etc.sock'/></backend></tpm>"
    "</devices></domain>",
    "",
]


def program(**values):
    """The program's functions."""
    found = dict({"__name__": "program"}, **values)
    exec(compile(tpm_hook.PROGRAM, "gantry-tpm", "exec"), found)
    return found


def hook(folder, step, text, behind="exit 9"):
    """Run the script of the shell, with another program behind it."""
    script, second = folder / "hook", folder / "behind"
    second.write_text("#!/bin/sh\n%s\n" % behind, encoding="utf-8")
    script.write_text(tpm_hook.TEXT.replace(tpm_hook.PROGRAM_PATH, str(second)), encoding="utf-8")
    for path in (script, second):
        path.chmod(0o755)
    return subprocess.run([str(script), "web1", *step, "-"], input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", range(3))
def test_other_guests_are_let_alone(step, number, tmp_path):
    """Success and not a word, whatever the program behind would do: a hook that fails ends the guest, when the daemon restarts too."""
    done = hook(tmp_path, step, FOREIGN[number])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("step", [step for step in STEPS if step not in (("start", "begin"), ("release", "end"))])
def test_other_steps_cost_nothing(step, tmp_path):
    """No program is started, not even to read the definition; nothing is said, which libvirt would take for another definition."""
    script = tmp_path / "hook"
    script.write_text(tpm_hook.TEXT, encoding="utf-8")
    done = subprocess.run(["/bin/sh", str(script), "web1", *step, "-"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={"PATH": "/nowhere"}, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("step", [("start", "begin"), ("release", "end")])
def test_our_guests_reach_the_program(step, tmp_path):
    done = hook(tmp_path, step, definition(), "echo \"$@\" >&2; cat >&2; exit 3")
    assert done.returncode == 3 and done.stderr == "web1 %s %s -\n%s\n" % (*step, definition())


@pytest.mark.parametrize("text", [text for text in FOREIGN if text])
def test_the_program_knows_them_as_well(text):
    assert program()["wanted"](text) is None


def test_what_the_program_reads_in_a_definition():
    found = program()["wanted"]
    assert found(definition()) == {"name": "web1.example.com", "uuid": UUID, "arriving": False, "qemu": (QEMU, QEMU)}
    assert found(definition(arriving="node2"))["arriving"] is True
    assert found(definition(label=None))["qemu"] is None


def test_the_device_is_the_record_s():
    parts = program()
    record = dict(make_record(), disks=make_record()["disks"] + [DISK])
    assert parts["device_of"](record, HOST) == "/dev/drbd10"
    for lacking in (None, {}, make_record(), dict(record, disks=[dict(DISK, nodes={"b": DISK["nodes"]["b"]})])):
        with pytest.raises(parts["Refused"]):
            parts["device_of"](lacking, HOST)


@pytest.mark.parametrize(("head", "kind"), [(bytes(4096), "new"), (tpm.MAGIC + bytes(9), "state"), (bytes(4095) + b"x", "other"),
                                            (b"LUKS", "other"), (b"", "new")])
def test_what_a_device_holds(head, kind):
    assert program()["content"](head) == kind


@contextlib.contextmanager
def loop_device(path):
    """A file as a block device."""
    made = subprocess.run(["losetup", "--find", "--show", str(path)], capture_output=True, text=True, check=True)
    try:
        yield made.stdout.strip()
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


class Node:
    """A node in a folder: its hook, its memory, and the disk, which is a loop device."""

    def __init__(self, folder, device):
        self.folder, self.device, self.sockets = folder, device, folder / "run" / "tpm"
        for part in ("run", "memory"):
            (folder / part).mkdir(parents=True)
        self.program = folder / "program"
        text = tpm_hook.PROGRAM
        for ours, its in (("/run/gantry-tpm", self.sockets), ("/var/lib/gantry/instances", folder / "memory"), ("/dev/drbd", "/dev/loop")):
            assert text.count('"' + ours) == 1
            text = text.replace('"' + ours, '"' + str(its))
        self.program.write_text(text, encoding="utf-8")
        disk = dict(DISK, nodes={"a": {"hostname": HOST, "minor": int(device.replace("/dev/loop", ""))}})
        self.remember({"generation": 1, "record": {"disks": [disk]}})

    def remember(self, memory):
        """What the node knows of the instance."""
        (self.folder / "memory" / (UUID + ".json")).write_text(json.dumps(memory), encoding="utf-8")

    @property
    def socket(self):
        """Where QEMU finds the TPM."""
        return self.sockets / (UUID + ".sock")

    def run(self, step, stage, **more):
        """Run the program as the hook does."""
        text = definition(**more).replace(tpm_hook.FOLDER, str(self.sockets))
        done = subprocess.run([sys.executable, str(self.program), "web1", step, stage, "-"], input=text, capture_output=True, text=True,
                              check=False, timeout=300, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
        assert done.stdout == ""
        return done

    def start(self, **more):
        """A guest is about to start."""
        done = self.run("start", "begin", **more)
        assert done.returncode == 0, done.stderr

    def refused(self, **more):
        """Why it cannot; the disk is as it was, and nothing runs."""
        before = self.data()
        done = self.run("start", "begin", **more)
        assert done.returncode == 1 and done.stderr.startswith("gantry-tpm: the TPM of web1: ") and "Traceback" not in done.stderr
        assert self.data() == before and not self.running()
        return done.stderr

    def leave(self):
        """The guest has left."""
        done = self.run("release", "end")
        assert done.returncode == 0, done.stderr
        assert not self.running() and not self.socket.exists()

    def running(self):
        """The processes of swtpm, each with the user it runs as."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if "backend-uri=file://%s" % (self.sockets / UUID) in (path / "cmdline").read_text(encoding="utf-8", errors="replace"):
                    found.append((int(path.name), pwd.getpwuid(path.stat().st_uid).pw_name))
        return found

    def opened(self):
        """Whether swtpm has the disk open."""
        folder = "/proc/%d/fd" % self.running()[0][0]
        return str(self.sockets / UUID) in [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]

    def data(self):
        """All of the disk."""
        return pathlib.Path(self.device).read_bytes()

    def write(self, data):
        """Fill the disk."""
        with open(self.device, "r+b") as stream:
            stream.write(data.ljust(SIZE, b"\0"))


@pytest.fixture(name="node")
def _node():
    """A node with an empty disk; whatever runs at the end is ended."""
    # a socket's path is short, and the user of swtpm has to come to its folder
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gantry-tpm-"))
    folder.chmod(0o755)
    (folder / "disk").write_bytes(bytes(SIZE))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        node = Node(folder / "a", stack.enter_context(loop_device(folder / "disk")))
        stack.callback(lambda: node.run("release", "end"))
        yield node


@pytest.mark.loop
def test_a_tpm_is_made_once_and_stays_the_same(node):
    node.start()
    state, owner = node.data(), pwd.getpwuid(os.stat("/var/lib/swtpm-localca").st_uid).pw_name
    first = tpm.identity(state)
    assert [user for _process, user in node.running()] == [owner]
    seen = node.socket.stat()
    assert stat.S_ISSOCK(seen.st_mode) and stat.S_IMODE(seen.st_mode) == 0o600 and seen.st_uid == QEMU
    assert stat.S_IMODE(node.sockets.stat().st_mode) == 0o710
    left = set(os.listdir(node.folder / "run")) - {"tpm"}
    assert not left, "a copy of the secrets: %s" % left
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(node.socket))
        control.sendall(struct.pack(">II", 2, 0))  # power on, as QEMU does
        assert control.recv(4) == bytes(4) and node.opened(), "swtpm does not take the device"
    node.leave()
    node.leave()
    node.start()
    assert tpm.identity(node.data()) == first
    node.leave()
    node.write(bytes(SIZE))
    node.start()
    assert tpm.identity(node.data()) != first, "another guest's TPM is another"


@pytest.mark.loop
def test_it_sees_no_other_device_and_no_other_socket(node):
    node.start()
    process, _user = node.running()[0]
    inside = pathlib.Path("/proc/%d/root" % process)
    assert os.listdir(str(inside) + str(node.sockets)) == [UUID]
    status = pathlib.Path("/proc/%d/status" % process).read_text(encoding="utf-8")
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status
    assert "Groups:\t \n" in status, "it is in no group, least of all that of the disks"


@pytest.mark.loop
def test_what_is_left_of_an_earlier_run_is_ended_first(node):
    node.start()
    before = node.running()
    node.start()
    assert len(node.running()) == 1 and node.running() != before


@pytest.mark.loop
def test_refusals_leave_the_disk_as_it_is(node):
    node.write(b"LUKS\xba\xbe")
    assert "no TPM's state" in node.refused()
    node.write(b"")
    assert "arrives" in node.refused(arriving="node2"), "the guest brings a TPM, and a new one would be written under the other node's feet"
    assert "dac" in node.refused(label=None)
    node.remember({"generation": 1, "record": make_record()})
    assert "no disk for a TPM" in node.refused()
    (node.folder / "memory" / (UUID + ".json")).unlink()
    assert "cannot be read" in node.refused()


@pytest.mark.loop
def test_half_a_tpm_is_made_again(node):
    """A run that is killed while it writes leaves the beginning of the disk empty."""
    node.write(bytes(4096) + b"half of one")
    node.start()
    assert tpm.identity(node.data())


class Qemu:
    """A machine without anything to boot, but its BIOS uses the TPM."""

    def __init__(self, node, *more):
        # A pair that is connected from the start: nobody has to wait for a path that listens.
        self.stream, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "64", "-nodefaults", "-display", "none",
                 "-chardev", "socket,id=qmp,fd=%d" % theirs.fileno(), "-mon", "chardev=qmp,mode=control",
                 "-chardev", "socket,id=tpm,path=%s" % node.socket,
                 "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0", *more],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        self.stream.settimeout(240)
        self.lines = self.stream.makefile("r", encoding="utf-8")
        self.lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        """One command of QMP."""
        self.stream.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.lines.readline())
            if "event" not in answer:
                assert "return" in answer, answer
                return answer["return"]

    def wait(self, *states):
        """Until the machine is in one of these states."""
        end = time.monotonic() + 240
        while self.ask("query-status")["status"] not in states:
            assert time.monotonic() < end, self.ask("query-status")
            time.sleep(0.1)

    def end(self):
        """Cut its power."""
        self.process.kill()
        self.process.wait()
        self.stream.close()


@pytest.fixture(name="migrated")
def _migrated(node):
    """A guest that has arrived at another node and was resumed nowhere yet: (the nodes, their QEMUs, who the TPM was)."""
    with contextlib.ExitStack() as stack:
        other = Node(node.folder.parent / "b", node.device)
        stack.callback(lambda: other.run("release", "end"))
        node.start()
        first = tpm.identity(node.data())
        source = Qemu(node)
        stack.callback(source.end)
        other.start(arriving="node2")
        target = Qemu(other, "-incoming", "unix:%s" % (other.folder / "migration"), "-S")
        stack.callback(target.end)
        assert not other.opened()
        source.ask("migrate", uri="unix:%s" % (other.folder / "migration"))
        source.wait("postmigrate")
        target.wait("paused", "prelaunch")
        yield node, other, source, target, first


@pytest.mark.loop
def test_the_tpm_goes_along_with_a_migration(migrated):
    """Both nodes have the disk open at once, as in the window of a migration; the target reads it when all of the guest is there."""
    node, other, source, target, first = migrated
    target.ask("cont")
    time.sleep(2)  # for the firmware there, which has nothing left to do
    before = node.data()
    source.ask("quit")
    source.process.wait(60)
    node.leave()
    assert other.running() and node.data() == before, "what the source writes last is older than what the target has written"
    assert tpm.identity(before) == first
    target.ask("system_reset")
    target.end()
    other.leave()
    assert tpm.identity(node.data()) == first


@pytest.mark.loop
def test_a_guest_that_stays_after_all_goes_on_with_its_tpm(migrated):
    """The copy that arrived is ended, as after a migration that failed at its end."""
    node, other, source, target, first = migrated
    target.end()
    other.leave()
    source.ask("cont")
    source.ask("system_reset")
    time.sleep(2)
    assert len(node.running()) == 1 and source.ask("query-status")["status"] == "running"
    source.ask("quit")
    source.process.wait(60)
    node.leave()
    assert tpm.identity(node.data()) == first
