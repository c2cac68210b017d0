# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test guest of Xen and LXC: the counting program as the first process of a PID name space, its initrd, its file system."""

from __future__ import annotations

import lzma
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from ansible_collections.gantry.cluster.lab import config, host
from ansible_collections.gantry.cluster.lab.guest import check, evidence, initrd

BUILD = config.ROOT / "lab" / "guest" / "build"
PATIENCE = 30
MODULE = b"\x7fELF" + bytes(range(250))


def build(*arguments):
    return subprocess.run([BUILD, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture
def folder():
    """On the file system of the checkout: the one of /tmp may be in memory, where no write goes past a cache."""
    base = config.ROOT / ".cache"
    base.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as path:
        yield pathlib.Path(path)


@pytest.fixture(name="image")
def _image(folder):
    """A container's file system with the guest in it."""
    path = folder / "guest.img"
    done = build("--kind", "lxc", "--ticks", 1, path)
    assert done.returncode == 0, done.stderr
    return path


def debugfs(image, *requests):
    for request in requests:
        subprocess.run([host.find("debugfs"), "-w", "-R", request, str(image)], capture_output=True, check=True)


class Container:
    """The guest as the first process of a PID name space, in a folder as its root."""

    def __init__(self, image, root):
        self.root = root
        if not (root / "sbin").exists():
            for name in ("sbin", "dev"):
                (root / name).mkdir(parents=True)
            debugfs(image, f"dump /sbin/init {root}/sbin/init", f"dump /disk {root}/disk")
            (root / "sbin" / "init").chmod(0o755)
        # There is no /dev/console: the program takes its standard output.
        self.log = root / "log"
        with self.log.open("ab") as stream:
            user = ["--user", "--map-root-user"] if os.geteuid() else []
            self.process = subprocess.Popen(
                ["unshare", *user, "--pid", "--fork", "--kill-child", "chroot", str(root), "/sbin/init"], stdout=stream
            )

    def first(self):
        """The first process of the name space, as this one knows it."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(tasks.read_text().split()[0])

    def console(self):
        return evidence.read_console(self.log)

    def wait(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition(self.console()):
            assert time.monotonic() < end, self.log.read_text()[-1000:]
            time.sleep(0.05)

    def end(self, number):
        """Sends the first process a signal, waits until all is gone."""
        os.kill(self.first(), number)
        self.process.wait(PATIENCE)

    def verdict(self, **options):
        return check.judge(evidence.read_disk(self.root / "disk"), [self.console()], **options)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGRTMIN + 3])
def test_goes_on_after_a_kill_and_ends_in_order_when_asked(image, folder, stop):
    guest = Container(image, folder / "root")
    guest.wait(lambda console: len(console.acks) >= 5)
    guest.end(signal.SIGKILL)
    guest = Container(image, folder / "root")
    guest.wait(lambda console: sum(ack.boot == 2 for ack in console.acks) >= 5)
    guest.end(stop)
    report = guest.verdict(torn_allowed=False, beyond=9)
    assert report.ok, check.as_text(report)
    first, second = report.disk["boots"]
    assert (first["orderly_end"], second["orderly_end"]) == (False, True)
    assert report.console["goodbyes"] == [second["last"]] and report.console["power_buttons"] == 1
    assert not report.console["garbled"] and not report.console["errors"]
    disk = evidence.read_disk(guest.root / "disk")
    for record in (disk.records[1], disk.records[disk.last]):
        # The clock of the record is the one of this machine, in UTC.
        assert abs(record.rtc - time.time()) < PATIENCE * 2
        assert abs(record.tick - record.rtc % 86400 * 18.2065) < 40
    assert disk.records[disk.last].running > disk.records[disk.last - 1].running


def test_a_request_on_the_pipe_of_init_ends_it_too(image, folder):
    guest = Container(image, folder / "root")
    guest.wait(lambda console: len(console.acks) >= 2)
    with (guest.root / "dev" / "initctl").open("wb") as pipe:
        pipe.write(bytes(384))
    guest.process.wait(PATIENCE)
    report = guest.verdict(torn_allowed=False)
    assert report.ok and report.disk["boots"][0]["orderly_end"]


def test_a_record_changed_behind_its_back_is_seen(image, folder):
    guest = Container(image, folder / "root")
    guest.wait(lambda console: len(console.acks) >= 5)
    guest.end(signal.SIGTERM)
    with (guest.root / "disk").open("r+b") as stream:
        stream.seek((evidence.RING_LBA + 2) * evidence.SECTOR + 100)
        stream.write(b"x")
    assert {fault.code for fault in guest.verdict().faults} >= {"bad_record", "lost"}


def test_somebody_else_who_runs_it_only_asks_the_first_process_to_end(image, folder):
    guest = Container(image, folder / "root")
    guest.wait(lambda console: len(console.acks) >= 2)
    user = ["--user", "--preserve-credentials"] if os.geteuid() else []
    subprocess.run(["nsenter", "--target", str(guest.first()), *user, "--pid", str(folder / "root/sbin/init")], check=True)
    guest.process.wait(PATIENCE)
    assert guest.console().goodbyes


def test_the_disk_is_found_in_a_container_s_file_system(image, folder):
    guest = Container(image, folder / "root")
    guest.wait(lambda console: len(console.acks) >= 5)
    guest.end(signal.SIGTERM)
    assert "never ran" in evidence.read_disk(image).problem
    debugfs(image, "rm /disk", f"write {guest.root}/disk disk")
    report = check.judge(evidence.read_disk(image), [guest.console()], torn_allowed=False)
    assert report.ok and report.disk["last"] >= 5
    debugfs(image, "rm /disk")
    assert "no test guest" in evidence.read_disk(image).problem


def test_a_damaged_file_system_is_a_fault(image):
    debugfs(image, "clri <2>")
    assert "damaged" in evidence.read_disk(image).problem


def members(archive):
    """What a cpio archive holds: {name: (mode, content)}."""
    found, position = {}, 0
    while position < len(archive):
        fields = [int(archive[position + 6 + 8 * i: position + 14 + 8 * i], 16) for i in range(13)]
        assert archive[position: position + 6] == b"070701"
        name = archive[position + 110: position + 110 + fields[11] - 1].decode()
        position += -(-(110 + fields[11]) // 4) * 4
        found[name] = (fields[1], archive[position: position + fields[6]], (fields[9], fields[10]))
        position += -(-fields[6] // 4) * 4
    return found


@pytest.mark.parametrize("content", [MODULE, lzma.compress(MODULE)])
def test_initrd(tmp_path, content):
    (tmp_path / "module").write_bytes(content)
    done = build("--kind", "xen", "--module", tmp_path / "module", tmp_path / "initrd")
    assert done.returncode == 0, done.stderr
    found = members((tmp_path / "initrd").read_bytes())
    assert list(found)[-1] == "TRAILER!!!"
    assert found["init"][0] == 0o100755 and found["init"][1].startswith(b"\x7fELF") and b"/dev/xvda" in found["init"][1]
    assert found["sbin/poweroff"][1] == b"/init"
    assert found["xen-blkfront.ko"][1] == MODULE
    assert found["dev/console"][2] == (5, 1)


def test_what_is_no_module_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no kernel module"):
        initrd.unpacked(b"\x28\xb5\x2f\xfd")
    (tmp_path / "module").write_text("text")
    done = build("--kind", "xen", "--module", tmp_path / "module", tmp_path / "initrd")
    assert done.returncode == 1 and "no kernel module" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["module"]


@pytest.mark.parametrize(
    "words,text",
    [
        (["--kind", "vmware"], "kvm, xen or lxc"),
        (["--kind", "xen"], "needs --module"),
        (["--kind", "xen", "--module", BUILD, "--size", "8"], "not for an initrd"),
        (["--kind", "lxc", "--size", "8"], "12 to"),
        (["--module", BUILD], "for --kind xen"),
    ],
)
def test_wrong_words_are_refused(tmp_path, words, text):
    done = build(*words, tmp_path / "out")
    assert done.returncode == 1 and text in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_program_needs_no_library(image, folder):
    debugfs(image, f"dump /sbin/init {folder}/init")
    content = (folder / "init").read_bytes()
    assert len(content) < 4096 and b"ld-linux" not in content
    assert shutil.which("nasm")
