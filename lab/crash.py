# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The crash matrix: the controller is killed at every task boundary of a verb and inside every call on a node.

Each time the same command is run again, after instance_repair if it refuses; then the audit must be clean and no number
of the guest lost. Nothing is done by hand on a node. The whole matrix takes hours; ``--sample`` takes a seeded part.
Started by ``script/test --crash``.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time

from lab.driver import Cluster, prepare

NAME = "crash1.example.com"
VERBS = ("add", "migrate", "failover", "replace_disks", "stop", "start", "remove")
#: A task this short has no inside worth hitting, seconds.
SHORT = 1.0


class Matrix:
    """Points tried and what became of them."""

    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.random = random.Random(seed)
        self.rows = []
        self.violations = 0

    # -- the instance in the state a verb begins with -----------------------------------------------------------

    def options(self, verb):
        """The command's options, from the state that is now: always a move, never a second run."""
        record = self.cluster.instance(NAME)
        if verb in ("migrate", "failover"):
            return {"target_node": record["secondary"]}
        if verb == "replace_disks":
            used = (record["primary"], record["secondary"])
            return {"new_secondary": next(node for node in self.cluster.nodes if node not in used)}
        return {}

    def arrange(self, verb):
        """Make the state the verb begins with."""
        record = self.cluster.instance(NAME)
        if verb == "add":
            if record:
                self.must("remove")
            for node in self.cluster.nodes:
                self.cluster.ssh(node, "rm -f /var/log/libvirt/qemu/%s-console.log*" % NAME)
            return
        if record is None:
            self.must("add")
            record = self.cluster.instance(NAME)
        if verb == "start":
            self.must("stop")
        elif record["admin_state"] != "up":
            self.must("start")

    def must(self, verb):
        """A verb that is no part of the trial."""
        run = self.cluster.play("instance_" + verb, NAME)
        if not run.ok:
            raise RuntimeError("instance_%s failed outside of a trial:\n%s" % (verb, run.text))

    # -- trials -------------------------------------------------------------------------------------------------

    def boundaries(self, verb):
        """The verb's tasks in the order they begin, with how long each took: a run that is left alone."""
        self.arrange(verb)
        marks = []

        def follow(line):
            found = re.match(r"TASK \[(.+?)\] \*", line)
            if found:
                marks.append((found.group(1), time.monotonic()))

        run = self.cluster.play("instance_" + verb, NAME, follow=follow, **self.options(verb))
        if not run.ok or self.check():
            raise RuntimeError("instance_%s failed when left alone:\n%s" % (verb, run.text))
        ends = [when for _title, when in marks[1:]] + [time.monotonic()]
        return [(title, end - when) for (title, when), end in zip(marks, ends)]

    def points(self, verb):
        """Where to kill: at the beginning of each task, and inside those that take a while."""
        found = []
        seen = {}
        for title, seconds in self.boundaries(verb):
            seen[title] = seen.get(title, 0) + 1
            found.append((verb, title, seen[title], 0.0))
            if seconds > SHORT:
                found.append((verb, title, seen[title], round(self.random.uniform(0.2, 0.95) * seconds, 2)))
        return found

    def check(self):
        """The audit; printed when there is something."""
        found = self.cluster.violations()
        for line in found:
            print("  VIOLATION: %s" % line, flush=True)
        self.violations += len(found)
        return found

    def trial(self, point):
        """One kill, and what the same command makes of it."""
        verb, title, occurrence, delay = point
        self.arrange(verb)
        options = self.options(verb)
        self.cluster.play_killed("instance_" + verb, NAME, "TASK [%s]" % title, delay, occurrence=occurrence, **options)
        run = self.cluster.play("instance_" + verb, NAME, **options)
        how = "finished"
        if not run.ok:
            repaired = self.cluster.play("instance_repair", NAME)
            run = self.cluster.play("instance_" + verb, NAME, **options)
            how = "repaired, then finished" if repaired.ok and run.ok else "FAILED"
            if how == "FAILED":
                self.violations += 1
                print(run.text, flush=True)
        if self.check():
            how = "VIOLATION"
        self.rows.append((verb, title.rpartition(" : ")[2], delay, how))
        print("%-14s %-62s %+6.2f s  %s" % self.rows[-1], flush=True)

    def table(self):
        """The matrix in few lines."""
        lines = []
        for verb in VERBS:
            rows = [row for row in self.rows if row[0] == verb]
            if rows:
                words = sorted({row[3] for row in rows})
                counts = ", ".join("%d %s" % (sum(row[3] == word for row in rows), word) for word in words)
                lines.append("%-14s %3d points: %s" % (verb, len(rows), counts))
        return "\n".join(lines)


def main(arguments=None):
    """Entry point; the exit code is 0 only when nothing was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--sample", type=int, help="try only so many points, chosen by the seed")
    parser.add_argument("--verbs", default=",".join(VERBS))
    parser.add_argument("--lab", default="crash")
    parser.add_argument("--keep", action="store_true", help="leave the lab running")
    given = parser.parse_args(arguments)
    cluster = Cluster(given.lab)
    if not given.keep:
        cluster.down_all()
    cluster.up()
    matrix = Matrix(cluster, given.seed)
    try:
        image = prepare(cluster)
        cluster.declare(NAME, primary="node1", secondary="node2", memory="32MiB", disks=[{"size": "16MiB"}], image=image)
        points = [point for verb in given.verbs.split(",") for point in matrix.points(verb)]
        if given.sample and given.sample < len(points):
            points = sorted(matrix.random.sample(points, given.sample), key=lambda point: VERBS.index(point[0]))
        for point in points:
            matrix.trial(point)
        if cluster.instance(NAME):
            matrix.must("remove")
        matrix.check()
    finally:
        print(matrix.table())
        if not given.keep:
            cluster.down_all()
    print("crash: %d points, %d violations, seed %d" % (len(matrix.rows), matrix.violations, given.seed))
    return 1 if matrix.violations else 0


if __name__ == "__main__":
    sys.exit(main())
