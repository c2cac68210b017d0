# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our placement beside Ganeti's: same input, same run, processor seconds of whole programs, interpreter start included.

Outcomes are compared, not exit codes. A tool of Ganeti's that does not end within the limit is shown as "> limit".
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import re
import resource
import signal
import statistics
import subprocess
import tempfile

import clusters

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import iallocator, text
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import Cluster, Instance

ROOT = pathlib.Path(__file__).resolve().parents[2]
HAIL = "/usr/lib/ganeti/iallocators/hail"
TASKS = ("balance", "allocate", "refuse", "multi", "capacity", "rolling")


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


def median_run(argv, limit, times):
    """(median seconds, peak memory, last run) of several runs."""
    runs = [Run(argv, limit) for unused in range(times)]
    return statistics.median(run.seconds for run in runs), max(run.memory for run in runs), runs[-1]


def _place(*argv):
    return [str(ROOT / "script/place"), *argv]


def tasks(folder, cluster, chosen):
    """(name, our program, Ganeti's program, function from both outputs to a short word on the outcomes)."""
    data = folder / "cluster.data"
    data.write_text(text.render(cluster), encoding="utf-8")
    row = Instance("new.example.com", 2048, 20480, 2, disks=(20480,), disk_spindles=(None,))
    one = dict(iallocator.describe(row), type="allocate", name=row.name, required_nodes=2)

    def message(name, request, given=cluster):
        path = folder / (name + ".json")
        path.write_text(json.dumps(iallocator.render(given, request)), encoding="utf-8")
        return str(path)

    if "balance" in chosen:
        yield "balance", _place("balance", "-t", str(data), "--json"), ["hbal", "-t", str(data)], _balanced
    if "allocate" in chosen:
        path = message("allocate", one)
        yield "allocate", _place("allocate", path), [HAIL, path], _answered
        yield ("allocate, no capacity checks", _place("allocate", path, "--no-capacity-checks"),
               [HAIL, path, "--no-capacity-checks"], _answered)
    if "refuse" in chosen:
        nodes = [cluster.nodes.row(index) for index in range(len(cluster.nodes))]
        nodes[-1] = nodes[-1]._replace(free_memory=1.0)
        tight = Cluster(cluster.groups, nodes, cluster.instances.rows, cluster.tags, cluster.policy)
        path = message("refuse", one, tight)
        yield "allocate, to be refused", _place("allocate", path), [HAIL, path], _answered
    if "multi" in chosen:
        for number in (10, 100):
            request = {"type": "multi-allocate", "instances": [dict(one, name="new%d" % index) for index in range(number)]}
            path = message("multi%d" % number, request)
            yield ("multi-allocate %d" % number, _place("allocate", path, "--no-capacity-checks"),
                   [HAIL, path, "--no-capacity-checks"], _answered)
    if "capacity" in chosen:
        yield "capacity", _place("capacity", "-t", str(data), "--json"), ["hspace", "-t", str(data), "--machine-readable"], _counted
    if "rolling" in chosen:
        yield "rolling", _place("rolling", "-t", str(data), "--json"), ["hroller", "-t", str(data), "--no-headers"], _grouped


def _balanced(ours, theirs):
    answer = json.loads(ours)
    end = re.search(r"improved from [\d.]+ to ([\d.]+)\nSolution length=(\d+)", theirs)
    return "%.4f in %d moves / %s" % (
        answer["end"], len(answer["moves"]), "%.4f in %s" % (float(end[1]), end[2]) if end else "%d moves" % theirs.count(" a="))


def _answered(ours, theirs):
    def word(output):
        try:
            answer = json.loads(output)
        except ValueError:
            return "none"
        if not answer["success"]:
            return "no"
        return "%d placed" % len(answer["result"][0]) if isinstance(answer["result"][0], list) else "yes"
    return "%s / %s" % (word(ours), word(theirs))


def _counted(ours, theirs):
    answer = json.loads(ours)
    found = re.search(r"HTS_ALLOC_INSTANCES='?(\d+)", theirs)
    return "%d+%d / %s" % (answer["tiered"]["count"], answer["standard"]["count"], found[1] if found else "none")


def _grouped(ours, theirs):
    return "%d / %d groups" % (len(json.loads(ours)["groups"]), len(theirs.splitlines()))


def main():
    """Run, and print the table and the growth."""
    parser = argparse.ArgumentParser(prog="script/bench placement", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default="10/50,20/150,40/400", help="nodes/instances, separated by commas")
    parser.add_argument("--tasks", default=",".join(TASKS), help="some of " + ",".join(TASKS))
    parser.add_argument("--limit", type=int, default=60, metavar="S", help="processor seconds a run of Ganeti's tools may take")
    parser.add_argument("--times", type=int, default=3, metavar="N", help="runs of ours; the median counts")
    parser.add_argument("--ours-only", action="store_true", help="for sizes Ganeti's tools take hours for")
    arguments = parser.parse_args()
    sizes = [tuple(int(number) for number in size.split("/")) for size in arguments.sizes.split(",")]
    chosen = arguments.tasks.split(",")
    growth = {}
    print("%-30s %12s %10s %10s %9s %9s %9s  %s" % (
        "task", "size", "ours s", "Ganeti s", "ratio", "our MiB", "their MiB", "outcome ours / Ganeti"))
    for nodes, instances in sizes:
        cluster = clusters.bench_cluster(nodes, instances)
        with tempfile.TemporaryDirectory() as name:
            for task, our_program, their_program, compare in tasks(pathlib.Path(name), cluster, chosen):
                seconds, memory, ours = median_run(our_program, 3600, arguments.times)
                growth.setdefault(task, []).append((nodes * instances, seconds))
                if arguments.ours_only:
                    theirs, ratio, their_seconds, their_memory = "", "", "not run", ""
                else:
                    run = Run(their_program, arguments.limit)
                    theirs, their_memory = run.output, "%d" % run.memory
                    their_seconds = ("" if run.ended else "> ") + "%.2f" % run.seconds
                    ratio = ("" if run.ended else "> ") + "%.0fx" % (run.seconds / seconds)
                print("%-30s %12s %10.3f %10s %9s %9d %9s  %s" % (
                    task, "%d/%d" % (nodes, instances), seconds, their_seconds, ratio, memory, their_memory,
                    compare(ours.output, theirs)), flush=True)
    if len(sizes) > 1:
        print("\nGrowth: seconds ~ (nodes x instances)^exponent")
        for task, points in growth.items():
            print("%-30s %.2f" % (task, _exponent(points)))


def _exponent(points):
    """Slope of the straight line through the logarithms."""
    x = [math.log(size) for size, unused in points]
    y = [math.log(seconds) for unused, seconds in points]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    width = sum((one - mean_x) ** 2 for one in x)
    return sum((one - mean_x) * (other - mean_y) for one, other in zip(x, y)) / width if width else float("nan")


if __name__ == "__main__":
    main()
