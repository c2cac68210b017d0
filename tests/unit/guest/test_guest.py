# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real test guest in real QEMU processes (emulated): resets, power cuts, power button, migration, bad disks."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from ansible_collections.gantry.cluster.lab.guest import check, evidence

BUILD = pathlib.Path(check.__file__).resolve().parent / "build"
PATIENCE = 60  # seconds; a guest needs about one, on a machine that is not busy


@pytest.fixture(scope="module", autouse=True)
def tools():
    """What has to be installed; the tests are worth nothing without."""
    for tool, package in (("nasm", "nasm"), ("qemu-system-x86_64", "qemu-system-x86")):
        if not shutil.which(tool):
            pytest.fail(f"{tool} is missing: install the package {package} (see lab/host-packages.txt)")


def build(*arguments, **options):
    return subprocess.run([BUILD, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


@pytest.fixture
def image(tmp_path):
    """A new guest, 18 records a second."""
    path = tmp_path / "guest.img"
    done = build("--ticks", 1, path)
    assert done.returncode == 0, done.stderr
    return path


class Guest:
    """One QEMU process with the guest; its QMP is on its standard input and output."""

    def __init__(self, image, log, *extra, machine="pc", node=""):
        self.log = pathlib.Path(log)
        self.log.touch()
        drive = f"driver=raw,node-name=disk,cache.direct=on,file.driver=file,file.filename={image},file.locking=off"
        command = [
            "qemu-system-x86_64", "-accel", "tcg", "-machine", machine, "-m", "16", "-display", "none", "-nodefaults",
            "-blockdev", node or drive, "-device", "virtio-blk-pci,drive=disk,share-rw=on,werror=report",
            "-chardev", f"file,id=com1,path={log},append=on", "-serial", "chardev:com1",
            "-qmp", "stdio", *extra,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if not self.process.stdout.readline():
            pytest.fail(f"QEMU does not start: {self.process.stderr.read().decode()}")
        self.do("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.process.kill()
        self.process.communicate()

    def do(self, command, **arguments):
        """One QMP command; events are passed over."""
        self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self.process.stdin.flush()
        while True:
            answer = json.loads(self.process.stdout.readline())
            if "event" not in answer:
                assert "return" in answer, answer
                return answer["return"]

    def console(self):
        return evidence.read_console(self.log)

    def wait(self, condition, what):
        """Waits until ``condition`` holds for the console."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            console = self.console()
            if condition(console):
                return console
            assert self.process.poll() is None, self.process.stderr.read().decode()
            time.sleep(0.02)
        pytest.fail(f"the guest did not {what} within {PATIENCE} s; its console:\n{self.log.read_text()[-1000:]}")

    def wait_boot(self, boot, records=3):
        """Waits for so many acknowledged records of that boot."""
        return self.wait(
            lambda console: sum(ack.boot == boot for ack in console.acks) >= records, f"write {records} in boot {boot}"
        )

    def kill(self):
        """What a power cut is to the guest."""
        self.process.kill()
        self.process.wait()

    def power_off(self):
        """Presses the button; seconds until QEMU has ended."""
        begin = time.monotonic()
        self.do("system_powerdown")
        self.process.wait(PATIENCE)
        return time.monotonic() - begin


def judge(image, *logs, **options):
    consoles = [evidence.read_console(log) for log in logs]
    return check.judge(evidence.read_disk(image), consoles, **options)


def test_goes_on_after_reset_and_power_cut_and_obeys_the_button(image, tmp_path):
    log = tmp_path / "console.log"
    with Guest(image, log) as guest:
        guest.wait_boot(1, 5)
        (block,) = guest.do("query-block")
        assert block["inserted"]["cache"]["writeback"] is False  # acknowledged means flushed
        guest.do("system_reset")
        guest.wait_boot(2)
        guest.kill()
    with Guest(image, log) as guest:
        guest.wait_boot(3)
        seconds = guest.power_off()
        assert guest.process.returncode == 0
    assert seconds < 5
    report = judge(image, log, torn_allowed=False)
    assert report.faults == []
    boots = report.disk["boots"]
    assert [boot["boot"] for boot in boots] == [1, 2, 3]
    assert [boot["orderly_end"] for boot in boots] == [False, False, True]
    assert [boot["first"] for boot in boots[1:]] == [boot["last"] + 1 for boot in boots[:-1]]
    assert report.disk["first"] == 1
    assert report.console["power_buttons"] == 1
    assert report.console["goodbyes"] == [report.disk["last"]]
    assert report.console["errors"] == []


def test_live_migration_loses_nothing(image, tmp_path):
    logs = [tmp_path / "node1.log", tmp_path / "node2.log"]
    with Guest(image, logs[0]) as source, Guest(image, logs[1], "-incoming", "defer") as target:
        source.wait_boot(1, 5)
        target.do("migrate-incoming", uri="tcp:127.0.0.1:0")
        (address,) = target.do("query-migrate")["socket-address"]
        source.do("migrate", uri=f"tcp:127.0.0.1:{address['port']}")
        end = time.monotonic() + PATIENCE
        while source.do("query-migrate")["status"] != "completed":
            assert time.monotonic() < end, "the migration does not end"
            time.sleep(0.02)
        assert source.do("query-status")["status"] == "postmigrate"
        moved = max(ack.number for ack in source.console().acks)
        target.wait_boot(1, 5)
        target.power_off()
    report = judge(image, *logs, torn_allowed=False, beyond=moved)
    assert report.faults == []
    assert [boot["boot"] for boot in report.disk["boots"]] == [1]
    assert report.disk["boots"][0]["orderly_end"] is True
    assert report.console["acknowledged"] == report.disk["records"]  # also a line that was cut by the move
    assert report.pause["inside"]["at_least"] < 3


def test_two_copies_that_run_are_found(image, tmp_path):
    """What a split brain is: both go on from the same disk."""
    copy = tmp_path / "copy.img"
    logs = [tmp_path / "node1.log", tmp_path / "node2.log"]
    shutil.copy(image, copy)
    with Guest(image, logs[0]) as guest:
        guest.wait_boot(1, 3)
        guest.kill()
    shutil.copy(image, copy)
    with Guest(image, logs[0]) as one, Guest(copy, logs[1]) as two:
        one.wait_boot(2)
        two.wait_boot(2)
    report = judge(image, *logs, replicas=[evidence.read_disk(copy)])
    assert {fault.code for fault in report.faults} == {"fork", "lost"}


def test_wraps_and_goes_on_before_a_damaged_record_which_the_checker_then_finds(tmp_path):
    image, log = tmp_path / "guest.img", tmp_path / "console.log"
    assert build("--ticks", 1, "--ring", 8, "--size", 1, image).returncode == 0
    with Guest(image, log, machine="q35") as guest:
        guest.wait_boot(1, 13)
        guest.kill()
    report = judge(image, log)
    assert report.faults == []
    assert report.disk["records"] == report.disk["ring"] == 8
    last = report.disk["last"]
    with image.open("r+b") as stream:
        stream.seek((16 + (last - 1) % 8) * 512 + 100)
        stream.write(b"damage")
    with Guest(image, log, machine="q35") as guest:
        console = guest.wait_boot(2, 3)
        assert guest.power_off() < 5
    assert console.errors == [f"E bad checksum on the disk, going on before it: number={last:08d}"]
    assert console.boots[-1].last == last - 1
    report = judge(image, log)
    assert {"fork", "went_back"} <= {fault.code for fault in report.faults}


def test_says_and_repeats_a_failed_write(image, tmp_path):
    log = tmp_path / "console.log"
    node = {
        "driver": "raw",
        "node-name": "disk",
        "file": {
            "driver": "blkdebug",
            "image": {"driver": "file", "filename": str(image)},
            "inject-error": [{"event": "none", "iotype": "write", "sector": 16 + 4, "once": True, "errno": 5}],
        },
    }
    with Guest(image, log, node=json.dumps(node)) as guest:
        guest.wait_boot(1, 8)
        guest.power_off()
    report = judge(image, log, torn_allowed=False)
    assert report.faults == []
    assert len(report.console["errors"]) == 1
    assert "E write failed, trying again: number=00000005 status=" in report.console["errors"][0]


def test_build(tmp_path):
    path = tmp_path / "guest.img"
    assert build(path).returncode == 0
    assert path.stat().st_size == 8 << 20
    first = path.read_bytes()
    assert first[510:512] == b"\x55\xaa" and not any(first[446:510]) and not any(first[4096:])
    assert build("--size", 20, path).returncode == 0
    assert path.stat().st_size == 20 << 20
    assert path.read_bytes()[:4096] == first[:4096]
    assert [entry.name for entry in tmp_path.iterdir()] == ["guest.img"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "OUTPUT is missing"),
        (["a", "b"], "one OUTPUT only"),
        (["--size", "0", "a"], "--size is a number from 1"),
        (["--size", "8M", "a"], "--size is a number from 1"),
        (["--ring", "16369", "a"], "--ring is a number from 4 to 16368"),
        (["--ticks"], "--ticks needs a value"),
        (["--fast", "a"], "no option --fast"),
    ],
)
def test_build_refuses(tmp_path, arguments, said):
    done = build(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and said in done.stderr
    assert not os.listdir(tmp_path)


def test_build_without_nasm(tmp_path):
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "dirname"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    done = build(tmp_path / "guest.img", env={"PATH": str(tmp_path / "bin")})
    assert done.returncode == 1 and "nasm is missing: install the package nasm" in done.stderr
