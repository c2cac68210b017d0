# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test guest leaves behind: its disk and its consoles, read and parsed. Nothing is judged here; see check.py.

The formats are described field by field in guest.asm, and in short in check.py.
"""

from __future__ import annotations

import calendar
import dataclasses
import mmap
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zlib

SECTOR = 512
SUPER_LBA = 8
RING_LBA = 16
RING_MOST = 16368
SPAN = (RING_LBA + RING_MOST) * SECTOR  # bytes; nothing of the guest lies behind them
EXT_MAGIC_AT, EXT_MAGIC = 1080, b"\x53\xef"
MAGIC_SUPER = b"GNTRYSB1"
MAGIC_RECORD = b"GNTRYTK1"
PM_TIMER_HZ = 3579545
KIND_TICK = 1
KIND_STOP = 2

SUPER = struct.Struct("<8sIIQ8s")
RECORD = struct.Struct("<8sIIQIIIIIIQ8sQ")

STAMP = re.compile(r"^(\d{9,11}\.\d{3}) ")
TICK_LINE = re.compile(
    r"T (?P<number>\d{8,10}) boot=(?P<boot>\d{4,10}) run=(?P<run>[0-9A-F]{8}) tick=(?P<tick>[0-9A-F]{8})"
    r" running=(?P<running>[0-9A-F]{12}) rtc=(?P<rtc>[0-9A-F]{14}) sum=(?P<sum>[0-9A-F]{8}) line=(?P<line>[0-9A-F]{4})$"
)
BOOT_LINE = re.compile(
    r"B boot=(?P<boot>\d{4,10}) run=(?P<run>[0-9A-F]{8}) disk=(?P<disk>[0-9A-F]{8})"
    r" sectors=(?P<sectors>[0-9A-F]{8,16}) ring=(?P<ring>[0-9A-F]{8}) last=(?P<last>\d{8,10})"
    r" sum=(?P<sum>[0-9A-F]{8}) line=(?P<line>[0-9A-F]{4})$"
)
GOODBYE_LINE = re.compile(r"G (?P<number>\d{8,10}) goodbye$")
ERROR_LINE = re.compile(r"^E .+$")
POWER_LINE = re.compile(r"P power button$")


# ---------------------------------------------------------------------------------------------------- data


@dataclasses.dataclass(frozen=True)
class Record:
    """One good record of a disk. ``running`` in seconds, ``rtc`` in seconds since 1970 or None, ``sum`` its CRC."""

    number: int
    boot: int
    run: int
    previous: int
    kind: int
    tick: int
    lba: int
    running: float
    rtc: int | None
    tsc: int
    disk_id: int
    ring: int
    sum: int


@dataclasses.dataclass
class Disk:
    """What the disk holds: ``records`` by number (good ones in their own slot), ``bad`` slots with the reason."""

    name: str
    problem: str | None = None
    disk_id: int = 0
    ring: int = 0
    sectors: int = 0
    super_sum: int = 0
    records: dict = dataclasses.field(default_factory=dict)
    bad: dict = dataclasses.field(default_factory=dict)

    @property
    def last(self):
        """The highest good number, 0 when there is none."""
        return max(self.records, default=0)


@dataclasses.dataclass(frozen=True)
class Ack:
    """A record a console said was acknowledged. ``stamp``: when the line arrived (seconds since 1970) or None."""

    number: int
    boot: int
    run: int
    tick: int
    running: float
    rtc: int | None
    sum: int
    stamp: float | None
    console: str


@dataclasses.dataclass(frozen=True)
class Boot:
    """A boot line: the guest goes on after record ``last`` (whose CRC is ``sum``)."""

    boot: int
    run: int
    disk_id: int
    sectors: int
    ring: int
    last: int
    sum: int
    stamp: float | None
    console: str


@dataclasses.dataclass
class Console:
    """What one console log says, in its order. ``head``/``tail``: a first line without begin, a last without end."""

    name: str
    acks: list = dataclasses.field(default_factory=list)
    boots: list = dataclasses.field(default_factory=list)
    goodbyes: list = dataclasses.field(default_factory=list)
    errors: list = dataclasses.field(default_factory=list)
    power_buttons: int = 0
    garbled: int = 0
    head: str | None = None
    head_stamp: float | None = None
    tail: str = ""


# ------------------------------------------------------------------------------------------------ reading


def parse_rtc(digits):
    """Seconds since 1970 of ``YYYYMMDDhhmmss``, or None when that is no date."""
    try:
        return calendar.timegm(time.strptime(digits, "%Y%m%d%H%M%S"))
    except ValueError:
        return None


def parse_record(raw):
    """Reads one sector.

    :param raw: 512 bytes.
    :returns: a Record.
    :raises ValueError: says why this is no good record.
    """
    (magic, disk_id, ring, number, boot, run, previous, kind, tick, lba, running, rtc, tsc) = RECORD.unpack_from(raw)
    if magic != MAGIC_RECORD:
        raise ValueError("not a record")
    found = zlib.crc32(raw[: SECTOR - 4])
    (written,) = struct.unpack_from("<I", raw, SECTOR - 4)
    if found != written:
        raise ValueError(f"bad checksum: {found:08X} where {written:08X} is written")
    return Record(
        number=number,
        boot=boot,
        run=run,
        previous=previous,
        kind=kind,
        tick=tick,
        lba=lba,
        running=running / PM_TIMER_HZ,
        rtc=parse_rtc(rtc[:7].hex()),
        tsc=tsc,
        disk_id=disk_id,
        ring=ring,
        sum=written,
    )


def parse_disk(data, name="disk"):
    """Reads the first 8 MiB of a disk (less, if the disk is smaller).

    :param data: bytes; what comes after the guest's area is ignored.
    :returns: a Disk; ``problem`` is set when it cannot be judged at all.
    """
    disk = Disk(name)
    raw = bytes(data[SUPER_LBA * SECTOR: (SUPER_LBA + 1) * SECTOR])
    if len(raw) < SECTOR:
        disk.problem = f"only {len(data)} bytes could be read: no test guest fits in there"
        return disk
    if not any(raw):
        disk.problem = "no superblock: the guest never ran on this disk, or its first write is lost"
        return disk
    magic, disk.disk_id, disk.ring, disk.sectors, _clock = SUPER.unpack_from(raw)
    (disk.super_sum,) = struct.unpack_from("<I", raw, SECTOR - 4)
    if magic != MAGIC_SUPER or zlib.crc32(raw[: SECTOR - 4]) != disk.super_sum or not 0 < disk.ring <= RING_MOST:
        disk.problem = "the superblock is damaged, or this is not a disk of the test guest"
        return disk
    needed = (RING_LBA + disk.ring) * SECTOR
    if len(data) < needed:
        disk.problem = f"only {len(data)} bytes could be read, its records take {needed}"
        return disk
    empty = bytes(SECTOR)
    for slot in range(disk.ring):
        lba = RING_LBA + slot
        raw = bytes(data[lba * SECTOR: (lba + 1) * SECTOR])
        if raw == empty:
            continue
        try:
            record = parse_record(raw)
        except ValueError as error:
            disk.bad[slot] = str(error)
            continue
        if record.disk_id != disk.disk_id:
            disk.bad[slot] = f"a record of another disk ({record.disk_id:08X})"
        elif record.ring != disk.ring or record.lba != lba or (record.number - 1) % disk.ring != slot:
            disk.bad[slot] = f"record {record.number} belongs to sector {record.lba}, not to {lba}"
        else:
            disk.records[record.number] = record
    return disk


def line_sum(text):
    """The checksum of a console line: for each byte rotate 16 bits left by one, then add the byte."""
    total = 0
    for byte in text.encode("ascii", "replace"):
        total = (((total << 1) | (total >> 15)) + byte) & 0xFFFF
    return total


def match_line(pattern, line):
    """Finds a guest's line at the end of ``line``; None when there is none or its checksum is wrong."""
    match = pattern.search(line)
    if match and line_sum(match[0].rpartition(" line=")[0]) == int(match["line"], 16):
        return match
    return None


def _ack(match, stamp, console):
    return Ack(
        number=int(match["number"]),
        boot=int(match["boot"]),
        run=int(match["run"], 16),
        tick=int(match["tick"], 16),
        running=int(match["running"], 16) / PM_TIMER_HZ,
        rtc=parse_rtc(match["rtc"]),
        sum=int(match["sum"], 16),
        stamp=stamp,
        console=console,
    )


def parse_console(text, name="console"):
    """Reads a console log, with or without time stamps before the lines.

    Text before a guest's line on the same line (firmware, a killed guest's half line) does not matter.
    """
    console = Console(name)
    lines = text.replace("\r", "").split("\n")
    console.tail = STAMP.sub("", lines.pop())
    for position, line in enumerate(lines):
        found = STAMP.match(line)
        stamp = float(found[1]) if found else None
        line = line[found.end():] if found else line
        match = match_line(TICK_LINE, line)
        if match:
            console.acks.append(_ack(match, stamp, name))
            continue
        match = match_line(BOOT_LINE, line)
        if match:
            console.boots.append(
                Boot(
                    boot=int(match["boot"]),
                    run=int(match["run"], 16),
                    disk_id=int(match["disk"], 16),
                    sectors=int(match["sectors"], 16),
                    ring=int(match["ring"], 16),
                    last=int(match["last"]),
                    sum=int(match["sum"], 16),
                    stamp=stamp,
                    console=name,
                )
            )
            continue
        match = GOODBYE_LINE.search(line)
        if match:
            console.goodbyes.append(int(match["number"]))
        elif POWER_LINE.search(line):
            console.power_buttons += 1
        elif ERROR_LINE.search(line):
            console.errors.append(line)
        elif position == 0 and line:
            console.head, console.head_stamp = line, stamp
        elif line.startswith(("T ", "B ")):
            console.garbled += 1
    match = match_line(TICK_LINE, console.tail)
    if match:  # only the line's end is missing
        console.acks.append(_ack(match, None, name))
        console.tail = ""
    return console


def joined_acks(consoles):
    """The acknowledged records of lines that were cut in two, one part in one log and one in another."""
    acks = []
    for source in consoles:
        for target in consoles:
            if source is target or not source.tail or not target.head:
                continue
            match = match_line(TICK_LINE, source.tail + target.head)
            if match:
                acks.append(_ack(match, target.head_stamp, target.name))
    return acks


# -------------------------------------------------------------------------------------------------- files


def read_direct(path):
    """The first 8 MiB of a file or device, past the page cache.

    DRBD writes below the page cache of the volume it lies on and keeps that volume open, so that cache is never
    dropped: an ordinary second read of a logical volume shows what was there at the first.

    :raises OSError: when it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, SPAN) as buffer, memoryview(buffer) as view:
            done = 0
            while done < SPAN:
                with view[done: done + (1 << 20)] as part:
                    count = os.preadv(descriptor, [part], done)
                done += count
                if count < 1 << 20:
                    break
            return bytes(view[:done])
    finally:
        os.close(descriptor)


def read_disk(path):
    """Reads a raw image, a block device, or (``-``) standard input, and parses it.

    :raises OSError: when it cannot be read.
    """
    if path == "-":
        return parse_disk(sys.stdin.buffer.read(SPAN), "disk")
    if stat.S_ISBLK(os.stat(path).st_mode):
        return parse_disk(read_direct(path), path)
    with open(path, "rb") as stream:
        head = stream.read(SPAN)
    return read_container(path) if is_file_system(head) else parse_disk(head, path)


def is_file_system(head):
    """Whether a disk that begins so holds an ext4 file system."""
    return head[EXT_MAGIC_AT: EXT_MAGIC_AT + 2] == EXT_MAGIC


def read_container(path):
    """Reads the container's file /disk out of an image of its file system.

    :returns: a Disk; ``problem`` is set when the file system is damaged.
    :raises OSError: when the image cannot be read, or e2fsprogs is not there.
    """
    environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    with tempfile.TemporaryDirectory() as folder:
        image, disk = os.path.join(folder, "image"), os.path.join(folder, "disk")
        subprocess.run(["cp", "--sparse=always", path, image], check=True, env=environment)
        # It replays the journal, as a mount does, and mends what a mount mends; 4 and more: there is something else.
        checked = subprocess.run(["e2fsck", "-fp", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                                 errors="replace", check=False, env=environment)
        if checked.returncode >= 4:
            return Disk(path, problem="its file system is damaged: " + " ".join(checked.stdout.replace(image, "").split()))
        subprocess.run(["debugfs", "-R", "dump /disk " + disk, image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=False, env=environment)
        if not os.path.exists(disk):
            return Disk(path, problem="there is no file /disk in its file system: it is no test guest's")
        with open(disk, "rb") as stream:
            return parse_disk(stream.read(SPAN), path)


def read_console(path):
    """Reads and parses a console log. :raises OSError: when it cannot be read."""
    with open(path, "rb") as stream:
        return parse_console(stream.read().decode("ascii", "replace"), path)
