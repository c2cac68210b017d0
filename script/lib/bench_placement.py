# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our placement beside Ganeti's: same input, same run, processor seconds of whole programs, interpreter start included.

Outcomes are compared, not exit codes. Where Ganeti's tool takes minutes or more memory than there is, the figure
measured once of htools 3.0.2 stands in its place, marked with an m; it was measured on another cluster of that size.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import pathlib
import re
import resource
import signal
import statistics
import subprocess
import tempfile

import bench_plot
import clusters

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import iallocator, text
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import Cluster, Instance

ROOT = pathlib.Path(__file__).resolve().parents[2]
HAIL = "/usr/lib/ganeti/iallocators/hail"
TASKS = ("balance", "allocate", "unchecked", "refuse", "multi10", "multi100", "capacity", "rolling")
GROWTH = "balance,allocate,capacity,rolling"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: a task, a size, and what is asked.

    :ivar measured: processor seconds of Ganeti's tool as measured once, or None where it did not end.
    :ivar note: what that figure is of.
    :ivar beside: run Ganeti's tool too?
    :ivar ratio: so many times quicker is asked.
    :ivar seconds: processor seconds that must not be reached.
    :ivar mib: peak memory in MiB that must not be reached.
    """

    task: str
    nodes: int
    instances: int
    measured: float | None = None
    note: str = ""
    beside: bool = False
    ratio: float | None = None
    seconds: float | None = None
    mib: float | None = None


ROWS = (
    Row("balance", 40, 400, 227, "161 moves there", beside=True, ratio=200),
    Row("balance", 80, 1000, 12.7, "one move", seconds=12.7),
    Row("balance", 200, 4000, 384, "one move", seconds=96),
    Row("balance", 1000, 10000, 828, "no move found", seconds=828, mib=1024),
    Row("allocate", 200, 4000, 1.4, beside=True, ratio=3),
    Row("allocate", 1000, 10000, 23, beside=True, ratio=10, mib=500),
    Row("refuse", 200, 4000, 45, beside=True, ratio=100),
    Row("unchecked", 1000, 10000, 9, beside=True, ratio=6, mib=500),
    Row("multi10", 1000, 10000, None, "killed at 23 GiB", mib=500),
    Row("multi100", 1000, 10000, None, "killed at 23 GiB", mib=500),
    Row("capacity", 80, 1000, 102, beside=True, ratio=100),
    Row("rolling", 1000, 10000, 157, beside=True, ratio=100),
)


class Run:
    """One run of a program: processor seconds, peak memory in MiB, output; ``ended`` is False where it was stopped."""

    def __init__(self, argv, limit):
        def one_process_limit():
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))

        with tempfile.TemporaryFile() as output:
            # The limit is set between fork and exec; nothing else happens there.
            process = subprocess.Popen(  # pylint: disable=subprocess-popen-preexec-fn
                argv, stdout=output, stderr=subprocess.DEVNULL, preexec_fn=one_process_limit)
            unused, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            self.output = output.read().decode("utf-8", "replace")
        self.seconds = usage.ru_utime + usage.ru_stime
        self.memory = usage.ru_maxrss / 1024
        self.ended = process.returncode not in (-signal.SIGXCPU, -signal.SIGKILL)


def _prepare(folder, nodes, instances):
    """Write the inputs of all tasks; in a process of its own, whose memory is not counted for the programs measured."""
    cluster = clusters.bench_cluster(nodes, instances)
    (folder / "cluster.data").write_text(text.render(cluster), encoding="utf-8")
    row = Instance("new.example.com", 2048, 20480, 2, disks=(20480,), disk_spindles=(None,))
    one = dict(iallocator.describe(row), type="allocate", name=row.name, required_nodes=2)

    def message(name, request, given=cluster):
        data = iallocator.render(given, request)
        # On KVM both would take 4 GiB for each node itself, and not all clusters made here have that to spare.
        data["enabled_hypervisors"] = ["xen-pvm"]
        (folder / (name + ".json")).write_text(json.dumps(data), encoding="utf-8")

    message("allocate", one)
    rows = [cluster.nodes.row(index) for index in range(nodes)]
    rows[-1] = rows[-1]._replace(free_memory=1.0)
    message("refuse", one, Cluster(cluster.groups, rows, cluster.instances.rows, cluster.tags, cluster.policy))
    for number in (10, 100):
        asked = [dict(one, name="new%d" % index) for index in range(number)]
        message("multi%d" % number, {"type": "multi-allocate", "instances": asked})


def _programs(task, folder):
    """(our program, Ganeti's program, function from both outputs to a short word on the outcomes)."""
    place, data = str(ROOT / "script/place"), str(folder / "cluster.data")
    if task == "balance":
        return [place, "balance", "-t", data, "--json"], ["hbal", "-t", data], _balanced
    if task == "capacity":
        return [place, "capacity", "-t", data, "--json"], ["hspace", "-t", data, "--machine-readable"], _counted
    if task == "rolling":
        return [place, "rolling", "-t", data, "--json"], ["hroller", "-t", data, "--no-headers"], _grouped
    path = str(folder / ({"unchecked": "allocate"}.get(task, task) + ".json"))
    more = [] if task in ("allocate", "refuse") else ["--no-capacity-checks"]
    return [place, "allocate", path, *more], [HAIL, path, *more], _answered


def _balanced(ours, theirs):
    answer = json.loads(ours)
    end = re.search(r"improved from [\d.]+ to ([\d.]+)\nSolution length=(\d+)", theirs)
    theirs = " / %.4f in %s" % (float(end[1]), end[2]) if end else ""
    return "%.2f to %.4f in %d moves%s" % (answer["start"], answer["end"], len(answer["moves"]), theirs)


def _answered(ours, theirs):
    def word(output):
        try:
            answer = json.loads(output)
        except ValueError:
            return "none"
        if not answer["success"]:
            return "no"
        return "%d placed" % len(answer["result"][0]) if isinstance(answer["result"][0], list) else "yes"
    return "%s / %s" % (word(ours), word(theirs)) if theirs else word(ours)


def _counted(ours, theirs):
    answer = json.loads(ours)
    found = re.search(r"HTS_ALLOC_INSTANCES='?(\d+)", theirs)
    return "%d tiered, %d standard%s" % (answer["tiered"]["count"], answer["standard"]["count"],
                                         " / %s" % found[1] if found else "")


def _grouped(ours, theirs):
    return "%d groups%s" % (len(json.loads(ours)["groups"]), " / %d" % len(theirs.splitlines()) if theirs else "")


def _asked(row):
    """What is asked, in words."""
    words = ["%dx" % row.ratio] if row.ratio else []
    words += ["< %g s" % row.seconds] if row.seconds else []
    words += ["< %d MiB" % row.mib] if row.mib else []
    return ", ".join(words) or "done"


def verdict(row, seconds, memory, theirs, outcome):
    """``reached`` or what is not.

    :param row: :class:`Row`.
    :param seconds: ours, processor seconds.
    :param memory: ours, MiB.
    :param theirs: processor seconds of Ganeti's, or None where there is no figure.
    :param outcome: the word on the outcomes.
    """
    missed = []
    if row.ratio and (theirs is None or theirs / seconds < row.ratio):
        missed.append("ratio")
    if row.seconds and seconds >= row.seconds:
        missed.append("time")
    if row.mib and memory >= row.mib:
        missed.append("memory")
    wrong = {"allocate": "no", "unchecked": "no", "refuse": "yes", "multi10": "0 placed", "multi100": "0 placed"}
    if outcome.partition(" / ")[0] in (wrong.get(row.task), "none"):
        missed.append("outcome")
    return "MISSED: " + ", ".join(missed) if missed else "reached"


HEAD = "%-10s %-11s %9s %10s %9s %8s %6s  %-16s %-16s %s"


def _line(row, folder, arguments):
    """Run one row and print it; returns (median of our seconds, whether all that is asked was reached)."""
    ours, theirs, compare = _programs(row.task, folder)
    times = arguments.times if row.nodes * row.instances <= 1e6 or row.task != "balance" else 1
    runs = [Run(ours, 3600) for unused in range(times)]
    seconds, memory = statistics.median(run.seconds for run in runs), max(run.memory for run in runs)
    their_seconds, their_memory, output, mark = row.measured, "", "", "m"
    if row.beside and not arguments.ours_only:
        run = Run(theirs, arguments.limit)
        their_seconds, their_memory, mark = run.seconds, "%d" % run.memory, "" if run.ended else ">"
        output = run.output if run.ended else ""
    outcome = compare(runs[-1].output, output)
    said = verdict(row, seconds, memory, their_seconds, outcome)
    shown = "-" if their_seconds is None else "%s%s%.1f" % (mark, " " if mark else "", their_seconds)
    ratio = "-" if their_seconds is None else "%s%.0fx" % ("> " if mark == ">" else "", their_seconds / seconds)
    print(HEAD % (row.task, "%d/%d" % (row.nodes, row.instances), "%.2f" % seconds, shown, ratio, "%d" % memory, their_memory,
                  _asked(row), said, outcome + (" (%s)" % row.note if row.note else "")), flush=True)
    return seconds, said == "reached"


def main():
    """Run, and print the table and the growth."""
    parser = argparse.ArgumentParser(prog="script/bench placement", description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", default=",".join(TASKS), help="rows of the table: some of " + ",".join(TASKS))
    parser.add_argument("--most", type=int, default=10 ** 7, metavar="N", help="only rows of N instances x nodes at most")
    parser.add_argument("--limit", type=int, default=120, metavar="S", help="processor seconds a run of Ganeti's tools may take")
    parser.add_argument("--times", type=int, default=3, metavar="N", help="runs of ours; the median counts")
    parser.add_argument("--ours-only", action="store_true", help="compare with the figures measured once only")
    parser.add_argument("--growth", default="10/60,20/150,40/400,80/1000,200/4000", metavar="SIZES",
                        help="nodes/instances of the growth, separated by commas; empty for none")
    parser.add_argument("--growth-tasks", default=GROWTH, help="tasks of the growth")
    parser.add_argument("--svg", metavar="FILE", help="draw the growth into this file too")
    arguments = parser.parse_args()
    chosen, points, held = arguments.tasks.split(","), {}, True
    rows = [row for row in ROWS if row.task in chosen and row.nodes * row.instances <= arguments.most]
    sizes = [tuple(int(number) for number in size.split("/")) for size in arguments.growth.split(",") if size]
    with tempfile.TemporaryDirectory() as name:
        def inputs(nodes, instances):
            folder = pathlib.Path(name) / ("%d-%d" % (nodes, instances))
            if not folder.exists():
                folder.mkdir()
                process = multiprocessing.Process(target=_prepare, args=(folder, nodes, instances))
                process.start()
                process.join()
            return folder

        if rows:
            print(HEAD % ("task", "size", "ours s", "Ganeti s", "ratio", "our MiB", "theirs", "asked", "verdict", "outcome"))
        for row in rows:
            seconds, reached = _line(row, inputs(row.nodes, row.instances), arguments)
            points.setdefault(row.task, {})[row.nodes * row.instances] = seconds
            held = held and reached
        for task in arguments.growth_tasks.split(",") if sizes else ():
            for nodes, instances in sizes:
                if nodes * instances not in points.setdefault(task, {}):
                    run = Run(_programs(task, inputs(nodes, instances))[0], 3600)
                    points[task][nodes * instances] = run.seconds
    drawn = {task: sorted(of_task.items()) for task, of_task in points.items() if len(of_task) > 2}
    if drawn:
        print("\n" + bench_plot.as_text(drawn))
        if arguments.svg:
            pathlib.Path(arguments.svg).write_text(bench_plot.as_svg(drawn), encoding="utf-8")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
