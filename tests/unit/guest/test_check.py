# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker of the test guest against disks and consoles with planted faults."""

from __future__ import annotations

import io
import json
import struct
import zlib

import pytest

from ansible_collections.gantry.cluster.lab.guest import check, evidence

DISK_ID = 0x1234ABCD
START = 1767225600  # 2026-01-01 00:00:00 UTC


def sealed(body):
    """A sector with its CRC."""
    body = body.ljust(508, b"\0")
    return body + struct.pack("<I", zlib.crc32(body))


def sum_of(sector):
    return struct.unpack_from("<I", sector, 508)[0]


def bcd(seconds):
    """The guest's clock as in a record, for a time on 2026-01-01."""
    text = "20260101{:02d}{:02d}{:02d}00".format(seconds // 3600, seconds // 60 % 60, seconds % 60)
    return bytes.fromhex(text)


class World:
    """A guest's life made up: its disk and its console, as the real one would write them."""

    def __init__(self, ring=32, disk_id=DISK_ID):
        self.ring, self.disk_id = ring, disk_id
        self.disk = bytearray((16 + ring) * 512)
        self.super = sealed(struct.pack("<8sIIQ8s", b"GNTRYSB1", disk_id, ring, 16384, bcd(0)))
        self.put(8, self.super)
        self.number, self.previous, self.time = 0, sum_of(self.super), 0.0
        self.boot, self.run = 0, 0
        self.console = ""
        self.salt = 0

    def copy(self):
        """A second copy of disk and guest, which goes its own way from here, with a console of its own."""
        other = World(self.ring, self.disk_id)
        other.__dict__.update(self.__dict__, disk=bytearray(self.disk), console="", salt=self.salt + 1)
        return other

    def put(self, lba, sector):
        self.disk[lba * 512: lba * 512 + 512] = sector

    def lba(self, number):
        return 16 + (number - 1) % self.ring

    def say(self, text):
        self.console += f"{text} line={evidence.line_sum(text):04X}\r\n"

    def start(self):
        """Boots: looks at the disk as the guest does."""
        disk = evidence.parse_disk(bytes(self.disk))
        self.number = disk.last
        record = disk.records.get(disk.last)
        self.previous = record.sum if record else sum_of(self.super)
        self.boot = record.boot + 1 if record else 1
        self.run = 0xA0000000 + self.boot + (self.salt << 8)
        self.say(
            f"B boot={self.boot:04d} run={self.run:08X} disk={self.disk_id:08X} sectors=00004000 "
            f"ring={self.ring:08X} last={self.number:08d} sum={self.previous:08X}"
        )
        return self

    def record(self, kind=1):
        """The next record and its console line, not yet written anywhere."""
        number = self.number + 1
        running, rtc, tick = int(self.time * evidence.PM_TIMER_HZ), bcd(int(self.time)), int(self.time * 18.2)
        head = struct.pack(
            "<8sIIQIIIIIIQ8sQ", b"GNTRYTK1", self.disk_id, self.ring, number, self.boot, self.run, self.previous,
            kind, tick, self.lba(number), running, rtc, self.salt,
        )  # fmt: skip
        sector = sealed(head)
        line = (
            f"T {number:08d} boot={self.boot:04d} run={self.run:08X} tick={tick:08X} running={running:012X} "
            f"rtc={rtc[:7].hex()} sum={sum_of(sector):08X}"
        )
        return sector, line

    def tick(self, count=1, written=True, said=True, kind=1):
        """Writes records; ``written=False``: the disk lied, ``said=False``: the console lost the line."""
        for _index in range(count):
            sector, line = self.record(kind)
            self.number += 1
            self.previous = sum_of(sector)
            self.time += 0.25
            if written:
                self.put(self.lba(self.number), sector)
            if said:
                self.say(line)
        return self

    def stop(self):
        self.tick(kind=2)
        self.console += f"G {self.number:08d} goodbye\r\n"
        return self

    def parsed(self, name="disk"):
        return evidence.parse_disk(bytes(self.disk), name)

    def log(self, name="console"):
        return evidence.parse_console(self.console, name)


def codes(report):
    return sorted({fault.code for fault in report.faults})


def judged(world, *others, **options):
    return check.judge(world.parsed(), [world.log("one"), *(w.log("two") for w in others)], **options)


# ------------------------------------------------------------------------------------------ lives without fault


def test_a_whole_life():
    world = World().start().tick(6)
    world.start().tick(5)
    world.stop()
    report = judged(world, torn_allowed=False, beyond=11)
    assert codes(report) == []
    assert report.disk["records"] == 12
    assert report.console["acknowledged"] == 12
    assert report.console["goodbyes"] == [12]
    assert [(boot["boot"], boot["first"], boot["last"], boot["orderly_end"]) for boot in report.disk["boots"]] == [
        (1, 1, 6, False),
        (2, 7, 12, True),
    ]


@pytest.mark.parametrize("count", [31, 32, 33, 64, 65, 100])
def test_the_ring_wraps(count):
    world = World(ring=32).start().tick(count)
    report = judged(world)
    assert codes(report) == []
    assert report.disk["first"] == max(1, count - 31)
    assert report.console["overwritten_since"] == max(0, count - 32)


def test_a_new_disk():
    report = judged(World().start())
    assert codes(report) == []
    assert report.disk["last"] == 0
    assert report.pause == {"outside": None, "inside": None}


@pytest.mark.parametrize("count", [0, 5, 32, 40])
def test_a_write_in_flight_may_be_torn_or_absent_when_nobody_was_told(count):
    world = World().start().tick(count)
    sector, _line = world.record()
    for torn in (sector[:200] + bytes(312), bytes(200) + sector[200:], b"x" * 512):
        world.put(world.lba(count + 1), torn)
        report = judged(world)
        assert codes(report) == []
        assert report.disk["torn_last"] is True
        assert codes(judged(world, torn_allowed=False)) == ["torn_last"]
    world.start().tick(3)  # the next boot writes over it
    assert codes(judged(world, torn_allowed=False)) == []


def test_a_record_nobody_was_told_of_is_no_fault():
    world = World().start().tick(4).tick(said=False)
    world.start().tick(3)
    report = judged(world)
    assert codes(report) == []
    assert report.console["not_seen"] == ((5, 5),)


def test_rubbish_of_an_earlier_owner_behind_the_last_record_is_no_fault():
    world = World().start().tick(4)
    world.put(world.lba(20), b"old data".ljust(512, b"!"))
    world.put(world.lba(21), World(disk_id=7).start().record()[0])
    assert codes(judged(world)) == []


# ------------------------------------------------------------------------------------------------ planted faults


def lose_one(world):
    world.tick(3).tick(written=False).tick(3)


def lose_the_end(world):
    world.tick(5).tick(3, written=False)


def lose_one_after_a_lap(world):
    world.tick(40).tick(written=False).tick(3)


def lose_the_end_after_a_lap(world):
    world.tick(40).tick(2, written=False)


def lose_the_end_and_go_on(world):
    lose_the_end(world)
    world.salt += 1
    world.start().tick(2)


def damage_one(world):
    world.tick(7)
    world.disk[world.lba(4) * 512 + 300] ^= 1


def damage_the_last(world):
    world.tick(7)
    world.disk[world.lba(7) * 512 + 300] ^= 1


def damage_the_superblock(world):
    world.tick(7)
    world.disk[8 * 512 + 40] ^= 1


def no_superblock(world):
    world.tick(7)
    world.put(8, bytes(512))


def swap_two(world):
    world.tick(7)
    one, two = (bytes(world.disk[world.lba(n) * 512: world.lba(n) * 512 + 512]) for n in (3, 4))
    world.put(world.lba(3), two)
    world.put(world.lba(4), one)


def start_afresh(world):
    world.tick(7)
    console = world.console
    world.__init__(disk_id=0x999)
    world.start().tick(9)
    world.console = console + world.console


def mix_histories(world):
    world.tick(7)
    other = world.copy().tick(3)
    world.tick(6)
    for number in (8, 9, 10):
        at = other.lba(number) * 512
        world.put(other.lba(number), other.disk[at: at + 512])


def damage_behind_the_end(world):
    world.tick(7)
    ahead = world.copy().tick(4)
    sector = bytearray(ahead.disk[ahead.lba(11) * 512: ahead.lba(11) * 512 + 512])
    sector[100] ^= 255
    world.put(world.lba(11), sector)


FAULTS = [
    (lose_one, {"gap": ((4, 4),), "lost": ((4, 4),)}),
    (lose_the_end, {"lost": ((6, 8),)}),
    (lose_one_after_a_lap, {"stale": ((41, 41),), "lost": ((41, 41),)}),
    (lose_the_end_after_a_lap, {"lost": ((41, 42),)}),
    (lose_the_end_and_go_on, {"lost": ((8, 8),), "fork": ((6, 7),), "went_back": ((6, 8),)}),
    (damage_one, {"bad_record": ((4, 4),), "lost": ((4, 4),)}),
    (damage_the_last, {"lost": ((7, 7),)}),
    (damage_the_superblock, {"superblock": (), "lost": ((1, 7),)}),
    (no_superblock, {"superblock": (), "lost": ((1, 7),)}),
    (swap_two, {"bad_record": ((3, 3),), "lost": ((3, 4),)}),
    (start_afresh, {"lost": ((1, 7),), "fork": ((1, 7),), "other_disk": ()}),
    (mix_histories, {"fork": ((11, 11),), "lost": ((8, 10),)}),
    (damage_behind_the_end, {"bad_record": ((11, 11),)}),
]


@pytest.mark.parametrize(("plant", "expected"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_planted_faults_are_found(plant, expected):
    world = World().start()
    plant(world)
    report = judged(world)
    assert not report.ok
    assert codes(report) == sorted(expected)
    for code, numbers in expected.items():
        assert numbers in [fault.numbers for fault in report.faults if fault.code == code]
    assert check.as_text(report).startswith("NOT OK: ")


def test_faults_are_found_without_a_console():
    found = {}
    for plant, _expected in FAULTS:
        world = World().start()
        plant(world)
        found[plant.__name__] = codes(check.judge(world.parsed()))
    assert found["lose_one"] == ["gap"]
    assert found["lose_one_after_a_lap"] == ["stale"]
    assert found["mix_histories"] == ["fork"]
    assert found["lose_the_end"] == []  # only the console knows


def test_any_flipped_byte_of_an_acknowledged_record_is_a_fault():
    world = World(ring=8).start().tick(6)
    good = bytes(world.disk)
    log = world.log()
    for offset in range(512):
        disk = bytearray(good)
        disk[world.lba(3) * 512 + offset] ^= 0x10
        assert "lost" in codes(check.judge(evidence.parse_disk(disk), [log])), offset


# ---------------------------------------------------------------------------------------------- two copies


def test_two_copies_that_both_ran_are_found_by_their_consoles_alone():
    world = World().start().tick(5)
    other = world.copy().tick(3)
    world.tick(4)
    report = check.judge(None, [world.log("one"), other.log("two")])
    assert codes(report) == ["fork"]
    assert report.faults[0].numbers == ((6, 8),)
    assert "one" in report.faults[0].message and "two" in report.faults[0].message


def test_two_copies_that_both_booted_are_found():
    world = World().start().tick(5)
    other = world.copy().start().tick(3)
    world.start().tick(4)
    report = judged(world, other)
    assert codes(report) == ["fork", "lost"]


def test_replicas():
    world = World().start().tick(5)
    behind = world.copy()
    world.tick(3)
    report = check.judge(world.parsed("a"), [world.log()], [behind.parsed("b")])
    assert report.ok and report.replicas[0]["behind"] == 3
    behind.tick(2)
    report = check.judge(world.parsed("a"), [world.log()], [behind.parsed("b")])
    assert codes(report) == ["fork"]
    assert report.faults[0].numbers == ((6, 7),)
    report = check.judge(world.parsed("a"), [], [World(disk_id=5).start().tick(2).parsed("b")])
    assert codes(report) == ["other_disk"]


def test_a_console_of_another_disk():
    world = World().start().tick(5)
    stranger = World(disk_id=5).start().tick(2)
    assert "other_disk" in codes(check.judge(world.parsed(), [stranger.log()]))


# ------------------------------------------------------------------------------------------------- consoles


def test_a_line_cut_in_two_by_a_migration_counts():
    world = World().start().tick(20)
    text = world.console
    begin = text.index("T 00000010")
    for cut in range(begin, text.index("T 00000011") + 1):
        logs = [evidence.parse_console(text[:cut], "source"), evidence.parse_console(text[cut:], "target")]
        report = check.judge(world.parsed(), logs)
        assert report.ok and report.console["acknowledged"] == 20, cut
        world_lost = World().start().tick(9).parsed()
        assert ((10, 20),) in [f.numbers for f in check.judge(world_lost, logs).faults], cut


def test_pieces_that_do_not_belong_together_are_no_line():
    world = World().start().tick(40)
    first = world.console[: world.console.index("T 00000012") + 50]
    last = world.console[world.console.index("T 00000034") + 50:]
    assert evidence.TICK_LINE.search((first + last).split("\r\n")[12])  # it looks like one
    report = check.judge(world.parsed(), [evidence.parse_console(first + last, "node1")])
    assert report.ok and report.console["garbled"] == 1
    assert report.console["not_seen"] == ((12, 34),)
    logs = [evidence.parse_console(first, "node1"), evidence.parse_console(last, "node2")]
    assert check.judge(world.parsed(), logs).console["not_seen"] == ((12, 34),)


def test_other_text_on_the_console_does_not_matter():
    world = World().start().tick(3)
    text = "\x1bcSeaBIOS (version 1.16.2)\r\nBooting from Hard Disk...\r\nT 0000" + world.console + "E write failed\r\n"
    console = evidence.parse_console(text)
    assert [ack.number for ack in console.acks] == [1, 2, 3]
    assert len(console.boots) == 1
    report = check.judge(world.parsed(), [console])
    assert report.ok
    assert report.console["errors"] == ["console: E write failed"]
    assert any("1 errors" in note for note in report.notes)


def test_a_log_given_twice_is_noted():
    world = World().start().tick(3)
    report = check.judge(world.parsed(), [world.log("one"), world.log("two")])
    assert report.ok and any("more than one console" in note for note in report.notes)


def test_stamp():
    times = iter([START + 0.1, START + 0.35])
    target = io.StringIO()
    check.stamp(io.BytesIO(b"one\r\ntwo"), target, clock=lambda: next(times))
    assert target.getvalue() == f"{START}.100 one\r\n{START}.350 two"


# --------------------------------------------------------------------------------------------------- pauses


def stamped(text, times):
    return "".join(f"{START + at:.3f} {line}\r\n" for at, line in zip(times, text.split("\r\n")))


def test_the_pause_from_outside_spans_consoles():
    world = World().start().tick(8)
    lines = world.console.split("\r\n")[1:]
    source = evidence.parse_console(stamped("\r\n".join(lines[:4]), [0, 0.2, 0.4, 0.6]), "source")
    target = evidence.parse_console(stamped("\r\n".join(lines[4:8]), [1.3, 1.5, 1.7, 1.9]), "target")
    report = check.judge(world.parsed(), [target, source], max_pause=0.8)
    assert report.ok
    assert report.pause["outside"] == {"seconds": 0.7, "after": 4, "before": 5, "usual": 0.2}
    assert codes(check.judge(world.parsed(), [target, source], max_pause=0.5)) == ["pause"]


def test_the_pause_from_inside():
    world = World().start().tick(8)
    world.time += 9
    world.start().tick(8)
    report = judged(world, max_pause=9.5)
    assert report.ok
    assert report.pause["inside"] == {"at_least": 9.0, "at_most": 11.0, "after": 8, "before": 9}
    world.time += 20  # the same run: the running clock saw it exactly
    world.tick(3)
    report = judged(world, max_pause=10)
    assert codes(report) == ["pause"]
    assert report.pause["inside"]["at_least"] == 20.25


def test_the_time_before_the_consoles_is_no_pause():
    world = World().start().tick(8).stop()
    world.console = ""
    world.time += 300
    world.start().tick(8)
    assert judged(world).pause["inside"]["at_least"] == 0.25
    assert check.judge(world.parsed()).pause["inside"]["at_least"] == 299.0


def test_a_broken_clock_is_no_pause():
    world = World().start().tick(4)
    sector = bytearray(world.disk[world.lba(4) * 512: world.lba(4) * 512 + 512])
    sector[56:64] = b"\xff" * 8
    world.put(world.lba(4), sealed(bytes(sector[:508])))
    assert check.judge(world.parsed()).pause["inside"] == {"at_least": 0.25, "at_most": 1.0, "after": 1, "before": 2}


def test_stuck():
    world = World().start().tick(4)
    assert codes(judged(world, beyond=4)) == ["stuck"]
    assert codes(judged(world, beyond=3)) == []
    assert codes(check.judge(None, [World().log()], max_pause=1)) == ["pause"]


# ------------------------------------------------------------------------------------------ numbers and files


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([3, 1, 2, 9], "1-3, 9"), (range(0, 40, 2), "0, 2, 4, 6, 8, 10, 12, 14, ...")],
)
def test_ranges(numbers, text):
    assert check.spell(check.ranges(numbers)) == text


@pytest.mark.parametrize("size", [0, 100, 16 * 512 + 5])
def test_a_short_disk_is_said_so(size):
    world = World().start().tick(4)
    report = check.judge(evidence.parse_disk(bytes(world.disk[:size])))
    assert codes(report) == ["superblock"]
    assert f"only {size} bytes" in report.faults[0].message


def test_command_line(tmp_path, capsys):
    world = World().start().tick(8)
    (tmp_path / "disk").write_bytes(world.disk)
    (tmp_path / "log").write_text(world.console, newline="")
    arguments = ["check", str(tmp_path / "disk"), "--console", str(tmp_path / "log")]
    assert check.main(arguments) == 0
    assert capsys.readouterr().out.startswith("OK: nothing is missing\n")
    assert check.main([*arguments, "--json", "--beyond", "100"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False and report["faults"][0]["code"] == "stuck"
    assert check.main(["check", str(tmp_path / "none")]) == 1
    assert "none: No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        check.main(["check"])


def test_reading_past_the_page_cache(tmp_path):
    world = World(ring=16368).start().tick(8)
    (tmp_path / "disk").write_bytes(world.disk)
    assert evidence.read_direct(tmp_path / "disk") == bytes(world.disk)
    (tmp_path / "disk").write_bytes(world.disk + b"more" * 4096)
    assert evidence.read_direct(tmp_path / "disk") == bytes(world.disk)
    (tmp_path / "disk").write_bytes(world.disk[: 3 << 19])
    assert evidence.read_direct(tmp_path / "disk") == bytes(world.disk[: 3 << 19])
