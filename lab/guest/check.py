# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges a test guest by its disk and its consoles: did anything it was promised go missing?

The guest (guest.asm, where the format is described field by field; counter.asm does the same in Xen's guests and in
containers) writes record 1, 2, 3 ... to its disk,
waits until the disk has acknowledged each, and then says the number on its console. In short:

* LBA 8 is the superblock: magic ``GNTRYSB1``, disk id, ring (records), size, clock, ..., CRC-32.
* Record n is the sector at LBA ``16 + (n - 1) mod ring``: magic ``GNTRYTK1``, disk id, ring, number, boot, run,
  CRC of record n - 1 (of the superblock for 1), kind, tick, LBA, running clock, real-time clock, TSC, filling,
  CRC-32 (last four bytes). Everything lies in the first 8 MiB of the disk.
* ``T 00000012 boot=0003 run=... tick=... running=... rtc=... sum=<CRC of record 12> line=...`` on the console is
  an acknowledged record. ``line`` guards the text before it; a line that fails it counts as garbled.

What is a fault: a record acknowledged on a console that is not on the disk, or there with other content; two
consoles (or disks) that tell different stories of one number; a gap, an old lap, a bad checksum or a broken chain
on the disk; a console that began behind what was acknowledged before. What is not: a torn or missing record
after the last good one when no console acknowledged it (a write in flight when the power went), and a record on
the disk no console speaks of (the power went between the two, or the console's line was lost).

Give the consoles of all nodes the guest ran on, in any order. A line that a live migration cut in two (its
begin in the source's log, its end in the target's) is put together again. Consoles are read before disks, so a
running guest can be checked too.

Usage::

    python3 lab/guest/check.py check DISK --console node1.log --console node2.log [--json]

DISK may also be a container's file system (ext4, whole, not mounted anywhere): its journal is replayed in a copy, and the
file /disk in it is what is judged. A damaged file system is a fault.

    ssh node1 tail -s 0.05 -c +1 -F /path/to/console.log | python3 lab/guest/check.py stamp > node1.log

``stamp`` puts the time of arrival before each line. Run it in one place for all nodes: only then can the pause of
a migration be seen to a fraction of a second, whatever the clocks of the nodes say. (``-s 0.05``: tail looks only
once a second into a file that was not there when it began.)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time

if __package__:
    from . import evidence
else:  # run as a program
    import evidence


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that must not be. ``numbers``: the records it is about, as (first, last) ranges."""

    code: str
    message: str
    numbers: tuple = ()


@dataclasses.dataclass
class Report:
    """The verdict with all that led to it; see :func:`as_json` for the names."""

    ok: bool
    faults: list
    notes: list
    disk: dict | None
    replicas: list
    console: dict
    pause: dict


# ------------------------------------------------------------------------------------------------ judging


def ranges(numbers):
    """Ascending (first, last) pairs for any numbers: [1, 2, 3, 7] gives ((1, 3), (7, 7))."""
    found = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return tuple((first, last) for first, last in found)


def spell(pairs, most=8):
    """Ranges as text: "1-3, 7", cut after ``most`` ranges."""
    words = [str(first) if first == last else f"{first}-{last}" for first, last in pairs[:most]]
    if len(pairs) > most:
        words.append("...")
    return ", ".join(words)


def oldest_expected(disk):
    """The lowest number that must still be there: the ring overwrites older ones."""
    return max(1, disk.last - disk.ring + 1)


def torn_last(disk):
    """Whether the slot after the last good record holds something that is no good record."""
    return disk.ring > 0 and disk.last % disk.ring in disk.bad


def check_disk(disk, torn_allowed=True):
    """The faults of one disk taken alone.

    :param torn_allowed: a damaged record right after the last good one is a write that was under way when the
        machine stopped. Pass False where the guest was shut down in an orderly way.
    :returns: a list of Fault.
    """
    if disk.problem:
        return [Fault("superblock", f"{disk.name}: {disk.problem}")]
    faults = []
    last, ring, first = disk.last, disk.ring, oldest_expected(disk)
    next_slot = last % ring
    torn = torn_last(disk)
    if torn and not torn_allowed:
        faults.append(
            Fault("torn_last", f"{disk.name}: record {last + 1} is torn ({disk.bad[next_slot]})", ((last + 1,) * 2,))
        )
    gaps, stale = [], []
    for number in range(first, last + 1):
        slot = (number - 1) % ring
        if number in disk.records or (torn and slot == next_slot):
            continue
        if slot in disk.bad:
            faults.append(Fault("bad_record", f"{disk.name}: record {number}: {disk.bad[slot]}", ((number, number),)))
        elif number - ring in disk.records:
            stale.append(number)
        else:
            gaps.append(number)
    if gaps:
        pairs = ranges(gaps)
        faults.append(Fault("gap", f"{disk.name}: never written: {spell(pairs)}, though {last} was", pairs))
    if stale:
        pairs = ranges(stale)
        text = f"{disk.name}: lost writes: {spell(pairs)} still hold what was there one lap of {ring} before"
        faults.append(Fault("stale", text, pairs))
    if last < ring:
        for slot in sorted(disk.bad):
            if slot > next_slot and disk.bad[slot].startswith("bad checksum"):
                number = slot + 1
                text = f"{disk.name}: record {number}: {disk.bad[slot]}, and it lies behind the last good one ({last})"
                faults.append(Fault("bad_record", text, ((number, number),)))
    for number in range(first, last + 1):
        record = disk.records.get(number)
        before = disk.records.get(number - 1)
        if record is None or (number > 1 and before is None):
            continue
        wanted = disk.super_sum if number == 1 else before.sum
        if record.previous != wanted:
            text = (
                f"{disk.name}: record {number} (boot {record.boot}, run {record.run:08X}) does not follow the record "
                f"before it on this disk: it was written after one with sum {record.previous:08X}, "
                f"here is {wanted:08X}. Two histories are mixed"
            )
            faults.append(Fault("fork", text, ((number, number),)))
    return faults


def compare_disks(disk, other):
    """Two copies of one disk: the same number must be the same record.

    :returns: (faults, how many records ``other`` is behind; negative when it is ahead).
    """
    if disk.problem or other.problem:
        return [], 0
    if disk.disk_id != other.disk_id:
        text = f"{disk.name} and {other.name} are not copies of one disk: ids {disk.disk_id:08X}, {other.disk_id:08X}"
        return [Fault("other_disk", text)], 0
    differ = [n for n in disk.records if n in other.records and disk.records[n].sum != other.records[n].sum]
    faults = []
    if differ:
        pairs = ranges(differ)
        text = f"{disk.name} and {other.name} hold different records {spell(pairs)}: each went its own way"
        faults.append(Fault("fork", text, pairs))
    return faults, disk.last - other.last


def all_acks(consoles):
    """Every acknowledged record of all consoles, cut lines put together, by number."""
    acks = [ack for console in consoles for ack in console.acks] + evidence.joined_acks(consoles)
    return sorted(acks, key=lambda ack: (ack.number, ack.stamp or 0.0))


def check_histories(consoles):
    """Faults between consoles: one number with two contents, and boots that began behind what was acknowledged."""
    faults = []
    acks = all_acks(consoles)
    by_number = {}
    for ack in acks:
        by_number.setdefault(ack.number, {}).setdefault(ack.sum, ack)
    forked = [number for number, sums in by_number.items() if len(sums) > 1]
    if forked:
        one, two = list(by_number[min(forked)].values())[:2]
        pairs = ranges(forked)
        text = (
            f"acknowledged twice with different content: {spell(pairs)}. Number {one.number}: "
            f"boot {one.boot} run {one.run:08X} on {one.console} and boot {two.boot} run {two.run:08X} on "
            f"{two.console}. Two copies of the guest ran, or an acknowledged write was lost and written again"
        )
        faults.append(Fault("fork", text, pairs))
    boots = [boot for console in consoles for boot in console.boots]
    for boot in boots:
        behind = [ack.number for ack in acks if ack.boot < boot.boot and ack.number > boot.last]
        if behind:
            pairs = ranges(behind)
            text = (
                f"boot {boot.boot} (run {boot.run:08X}, {boot.console}) found {boot.last} as the last record, but "
                f"{spell(pairs)} had been acknowledged to an earlier boot"
            )
            faults.append(Fault("went_back", text, pairs))
    ids = sorted({boot.disk_id for boot in boots})
    if len(ids) > 1:
        words = ", ".join(f"{number:08X}" for number in ids)
        faults.append(Fault("other_disk", f"the consoles speak of different disks: {words}. One was started afresh"))
    return faults


def check_acknowledged(disk, consoles):
    """The key check: what a console acknowledged is on the disk, with the same content.

    :returns: (faults, numbers that are too old to be on the disk any more).
    """
    acks = all_acks(consoles)
    faults = []
    ids = {boot.disk_id for console in consoles for boot in console.boots}
    if not disk.problem and ids and disk.disk_id not in ids:
        text = f"{disk.name} has id {disk.disk_id:08X}, the consoles speak of {', '.join(f'{i:08X}' for i in ids)}"
        faults.append(Fault("other_disk", text))
    first = oldest_expected(disk) if not disk.problem else 1
    if not disk.problem and torn_last(disk) and first not in disk.records:
        first += 1  # the torn record was being written over it
    overwritten, missing, changed = set(), set(), {}
    for ack in acks:
        record = disk.records.get(ack.number)
        if record is not None and record.sum == ack.sum:
            continue
        if ack.number < first:
            overwritten.add(ack.number)
        elif record is None:
            missing.add(ack.number)
        else:
            changed.setdefault(ack.number, (ack, record))
    if missing:
        pairs = ranges(missing)
        text = (
            f"acknowledged but lost: {spell(pairs)} ({len(missing)}); the last good record on {disk.name} is "
            f"{disk.last}"
        )
        faults.append(Fault("lost", text, pairs))
    if changed:
        pairs = ranges(changed)
        ack, record = changed[pairs[0][0]]
        text = (
            f"acknowledged but replaced: {spell(pairs)} ({len(changed)}). Number {ack.number}: {ack.console} "
            f"acknowledged it to boot {ack.boot} run {ack.run:08X}, on {disk.name} is that of boot {record.boot} "
            f"run {record.run:08X}"
        )
        faults.append(Fault("lost", text, pairs))
    return faults, sorted(overwritten)


def pause_outside(consoles):
    """The longest time between the arrival of two console lines of consecutive numbers, from the stamps.

    :returns: {"seconds", "after", "before", "usual"} (usual: the median), or None without stamps.
    """
    stamps = {}
    for ack in all_acks(consoles):
        if ack.stamp is not None:
            stamps.setdefault(ack.number, ack.stamp)
    numbers = sorted(stamps)
    steps = [(stamps[after] - stamps[before], before, after) for before, after in zip(numbers, numbers[1:])]
    if not steps:
        return None
    seconds, before, after = max(steps)
    usual = statistics.median(step[0] for step in steps)
    return {"seconds": round(seconds, 3), "after": before, "before": after, "usual": round(usual, 3)}


def pause_inside(disk, consoles):
    """The longest time between two consecutive records by the guest's own clocks.

    The running clock sees starvation and slow writes exactly, but not the time the machine was stopped; the
    real-time clock sees all, to a second (and the difference between two nodes' clocks with it). With consoles only
    the time they cover counts, from their first record to their last: a guest may have been off before.

    :returns: {"at_least", "at_most" (seconds, None if not known), "after", "before"}, or None with one record.
    """
    marks = {ack.number: (ack.run, ack.running, ack.rtc) for ack in all_acks(consoles)}
    first, last = min(marks, default=None), max(marks, default=None)
    if disk is not None:
        marks.update({n: (r.run, r.running, r.rtc) for n, r in disk.records.items()})
    numbers = sorted(number for number in marks if first is None or first <= number <= last)
    steps = []
    for before, after in zip(numbers, numbers[1:]):
        (run, running, rtc), (run2, running2, rtc2) = marks[before], marks[after]
        least = max(0.0, running2 - running) if run == run2 else 0.0
        most = None
        if rtc is not None and rtc2 is not None:
            least = max(least, rtc2 - rtc - 1.0)
            most = max(least, rtc2 - rtc + 1.0)
        steps.append((least, before, after, most))
    if not steps:
        return None
    least, before, after, most = max(steps, key=lambda step: step[0])
    return {
        "at_least": round(least, 3),
        "at_most": None if most is None else round(most, 3),
        "after": before,
        "before": after,
    }


def boots_seen(disk):
    """The boots on the disk in order: boot, run, first and last number, and whether the end was orderly."""
    boots = []
    for number in sorted(disk.records):
        record = disk.records[number]
        if not boots or (boots[-1]["boot"], boots[-1]["run"]) != (record.boot, f"{record.run:08X}"):
            boots.append({"boot": record.boot, "run": f"{record.run:08X}", "first": number})
        boots[-1]["last"] = number
        boots[-1]["orderly_end"] = record.kind == evidence.KIND_STOP
    return boots


def describe_disk(disk):
    """The facts about a disk, for the report."""
    return {
        "name": disk.name,
        "problem": disk.problem,
        "disk_id": f"{disk.disk_id:08X}",
        "ring": disk.ring,
        "sectors_at_first_boot": disk.sectors,
        "records": len(disk.records),
        "first": min(disk.records, default=0),
        "last": disk.last,
        "torn_last": not disk.problem and torn_last(disk),
        "boots": boots_seen(disk),
    }


def judge(disk=None, consoles=(), replicas=(), torn_allowed=True, beyond=None, max_pause=None):
    """All checks together.

    :param disk: the Disk the guest goes on with, or None when only consoles are compared.
    :param consoles: list of Console, of every node the guest ran on.
    :param replicas: other copies of the disk (list of Disk).
    :param torn_allowed: see :func:`check_disk`.
    :param beyond: the guest must have got past this number.
    :param max_pause: seconds; from the stamps, or, without stamps, by the guest's own clocks.
    :returns: a Report.
    """
    faults, notes, overwritten = [], [], []
    if disk is not None:
        faults += check_disk(disk, torn_allowed)
        if not disk.problem and torn_last(disk) and torn_allowed:
            notes.append(f"record {disk.last + 1} is torn: it was being written when the machine stopped")
        lost, overwritten = check_acknowledged(disk, consoles)
        faults += lost
    described = []
    for replica in replicas:
        faults += check_disk(replica, torn_allowed)
        about = describe_disk(replica)
        if disk is not None:
            differing, about["behind"] = compare_disks(disk, replica)
            faults += differing
            if about["behind"]:
                way = "behind" if about["behind"] > 0 else "ahead of"
                notes.append(f"{replica.name} is {abs(about['behind'])} records {way} {disk.name}")
        described.append(about)
    faults += check_histories(consoles)
    acks = all_acks(consoles)
    numbers = {ack.number for ack in acks}
    seen = {}
    for ack in acks:
        seen.setdefault((ack.number, ack.sum), set()).add(ack.console)
    twice = ranges(number for (number, _sum), names in seen.items() if len(names) > 1)
    if twice:
        notes.append(f"the same records on more than one console: {spell(twice)}. Logs that overlap?")
    silent = set(range(min(numbers), max(numbers))) - numbers if numbers else set()
    if silent:
        notes.append(f"no console speaks of {spell(ranges(silent))}")
    errors = [f"{console.name}: {line}" for console in consoles for line in console.errors]
    if errors:
        notes.append(f"{len(errors)} errors on the consoles, the first: {errors[0]}")
    last = max([disk.last if disk is not None else 0] + sorted(numbers))
    if beyond is not None and last <= beyond:
        faults.append(Fault("stuck", f"the guest did not get beyond {beyond}: the last record is {last}"))
    outside = pause_outside(consoles)
    inside = pause_inside(disk, consoles)
    if max_pause is not None:
        if outside is not None:
            seconds, where, how = outside["seconds"], outside, "by the console's time stamps"
        elif inside is not None:
            seconds, where, how = inside["at_least"], inside, "at least, by the guest's clocks"
        else:
            seconds, where, how = None, None, None
        if seconds is None:
            faults.append(Fault("pause", "no pause can be told: fewer than two records"))
        elif seconds > max_pause:
            text = f"a pause of {seconds} s ({how}) after record {where['after']}, allowed are {max_pause} s"
            faults.append(Fault("pause", text, ((where["after"], where["before"]),)))
    console = {
        "names": [each.name for each in consoles],
        "acknowledged": len(numbers),
        "first": min(numbers, default=0),
        "last": max(numbers, default=0),
        "overwritten_since": len(overwritten),
        "not_seen": ranges(silent),
        "boots": [
            {"boot": b.boot, "run": f"{b.run:08X}", "after": b.last, "sectors": b.sectors, "console": b.console}
            for each in consoles
            for b in each.boots
        ],
        "goodbyes": [number for each in consoles for number in each.goodbyes],
        "power_buttons": sum(each.power_buttons for each in consoles),
        "errors": errors,
        "garbled": sum(each.garbled for each in consoles),
    }
    return Report(
        ok=not faults,
        faults=faults,
        notes=notes,
        disk=None if disk is None else describe_disk(disk),
        replicas=described,
        console=console,
        pause={"outside": outside, "inside": inside},
    )


def as_json(report):
    """The report as JSON text."""
    return json.dumps(dataclasses.asdict(report), indent=2)


def as_text(report):
    """The report for people: the verdict first, then what led to it."""
    lines = [f"FAULT {fault.code}: {fault.message}" for fault in report.faults]
    lines += [f"note: {note}" for note in report.notes]
    if report.disk is not None and not report.disk["problem"]:
        about = report.disk
        lines.append(
            f"disk {about['disk_id']}: {about['records']} records, {about['first']} to {about['last']}, "
            f"ring of {about['ring']}"
        )
        for boot in about["boots"]:
            end = "orderly end" if boot["orderly_end"] else "no orderly end"
            lines.append(f"boot {boot['boot']} run {boot['run']}: {boot['first']} to {boot['last']}, {end}")
    about = report.console
    if about["names"]:
        lines.append(f"consoles: {about['acknowledged']} records acknowledged, {about['first']} to {about['last']}")
    if report.pause["outside"]:
        pause = report.pause["outside"]
        lines.append(f"longest pause: {pause['seconds']} s after record {pause['after']} (usually {pause['usual']} s)")
    if report.pause["inside"]:
        pause = report.pause["inside"]
        most = "" if pause["at_most"] is None else f", at most {pause['at_most']} s"
        least = f"at least {pause['at_least']} s"
        lines.append(f"longest pause by the guest's clocks: {least}{most}, after record {pause['after']}")
    verdict = "OK: nothing is missing" if report.ok else f"NOT OK: {len(report.faults)} faults"
    return "\n".join([verdict, *lines])


# ---------------------------------------------------------------------------------------------------- CLI


def stamp(source, target, clock=time.time):
    """Copies lines from a binary to a text stream, each with its time of arrival in front."""
    for line in iter(source.readline, b""):
        target.write(f"{clock():.3f} {line.decode('ascii', 'replace')}")
        target.flush()


def main(arguments=None):
    """The command line. :returns: 0 when nothing is missing, 1 otherwise, also when something cannot be read."""
    parser = argparse.ArgumentParser(prog="check.py", description="Judges a test guest by its disk and consoles.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("stamp", help="copy standard input, with the time of arrival before each line")
    check = commands.add_parser("check", help="check a disk, and consoles against it")
    check.add_argument("disk", nargs="?", help="raw image or block device; - for standard input (8 MiB are enough)")
    check.add_argument("--console", action="append", default=[], metavar="LOG", help="a console log; repeat per node")
    check.add_argument("--replica", action="append", default=[], metavar="DISK", help="another copy of the disk")
    check.add_argument("--no-torn", action="store_true", help="a torn last record is a fault (orderly shutdown)")
    check.add_argument("--beyond", type=int, metavar="N", help="the guest must have got past record N")
    check.add_argument("--max-pause", type=float, metavar="SECONDS", help="a longer pause is a fault")
    check.add_argument("--json", action="store_true", help="the report as JSON")
    options = parser.parse_args(arguments)
    if options.command == "stamp":
        stamp(sys.stdin.buffer, sys.stdout)
        return 0
    if options.disk is None and not options.console:
        parser.error("nothing to check: give a disk, or at least one --console")
    try:
        consoles = [evidence.read_console(path) for path in options.console]  # before the disk: see above
        disk = evidence.read_disk(options.disk) if options.disk is not None else None
        replicas = [evidence.read_disk(path) for path in options.replica]
    except OSError as error:
        print(f"check.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    report = judge(
        disk,
        consoles,
        replicas,
        torn_allowed=not options.no_torn,
        beyond=options.beyond,
        max_pause=options.max_pause,
    )
    print(as_json(report) if options.json else as_text(report))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
