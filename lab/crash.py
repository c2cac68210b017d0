# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The crash matrix: the controller is killed at every task boundary of a verb and inside every call on a node.

Each time the same command is run again, after instance_repair if it refuses; then the audit must be clean and no number of the
guest lost. Nothing is done by hand on a node.

A verb is first run once alone, stopped at each boundary while the nodes and the registry are read. Boundaries between which nothing
was changed leave the same state behind a dead controller: one of them, chosen by the seed, is tried for all of them.
Started by ``script/test --crash``; the whole matrix takes hours.
"""

from __future__ import annotations

import math
import re
import sys
import time

from lab import audit
from lab import trial as trials

VERBS = ("add", "migrate", "failover", "replace_disks", "evacuate", "remove", "stop", "start", "modify")
#: What the matrix holds unless told otherwise.
USUAL = VERBS[:6]
#: A task this short has no inside worth hitting, seconds.
SHORT = 1.0


class Matrix:
    """Points tried and what became of them."""

    def __init__(self, trial, guest):
        self.trial, self.guest, self.cluster = trial, guest, trial.cluster
        self.rows, self.boundaries = [], {}

    # -- where to kill ------------------------------------------------------------------------------------------

    def arrange(self, verb):
        """Make the state the verb begins with. Returns the command."""
        if verb == "add":
            self.guest.gone()
        else:
            self.guest.ready(running=verb != "start")
            if verb != "remove":
                self.guest.follow()
        return self.guest.command(verb)

    def state(self):
        """The registry and all nodes, in one comparable text."""
        content, leases = audit.read_registry(self.cluster.folder / "registry.db")
        return repr((sorted(content.items()), leases, sorted(self.cluster.states().items())))

    def points(self, verb):
        """Where to kill: ``(verb, task, which one of that name, seconds after it began)``."""
        playbook, limit, options = self.arrange(verb)
        marks = []

        def follow(line):
            found = re.match(r"TASK \[(.+?)\] \*", line)
            if found:
                now = time.monotonic()
                if marks:
                    marks[-1]["seconds"] = now - marks[-1]["begun"]
                marks.append({"task": found.group(1), "state": self.state(), "begun": time.monotonic()})

        run = self.cluster.play(playbook, limit, follow=follow, stepwise=True, **options)
        if not run.ok or not self.trial.audit():
            raise RuntimeError("%s failed when left alone:\n%s" % (playbook, run.text))
        marks[-1]["seconds"] = time.monotonic() - marks[-1]["begun"]
        self.boundaries[verb] = len(marks)
        return self._choose(verb, marks)

    def _choose(self, verb, marks):
        found, alike, seen = [], [], {}
        for number, mark in enumerate(marks):
            seen[mark["task"]] = seen.get(mark["task"], 0) + 1
            alike.append((verb, mark["task"], seen[mark["task"]], 0.0))
            if number + 1 == len(marks) or marks[number + 1]["state"] != mark["state"]:
                found.append(self.trial.chance.choice(alike))
                alike = []
            if mark["seconds"] > SHORT:
                delay = round(self.trial.chance.uniform(0.2, 0.95) * mark["seconds"], 2)
                found.append((verb, mark["task"], seen[mark["task"]], delay))
        return found

    # -- trials -------------------------------------------------------------------------------------------------

    def try_chain(self, points):
        """Kill the command at each of these points, one run after the other, and see what the same command makes of it at last.

        :returns: the points that were not reached, because the command was done by then.
        """
        playbook, limit, options = self.arrange(points[0][0])
        struck = [point for point in points if self.cluster.play_killed(
            playbook, limit, "TASK [%s]" % point[1], point[3], occurrence=point[2], **options)]
        run = self.cluster.play(playbook, limit, **options)
        how = "finished" if run.ok else self.repaired(playbook, limit, options, run)
        if not self.trial.audit():
            how = "VIOLATION"
        for verb, task, _occurrence, delay in struck:
            self.rows.append((verb, task.rpartition(" : ")[2], delay, how))
            print("%-14s %-62s %+6.2f s  %s" % self.rows[-1], flush=True)
        return [point for point in points if point not in struck]

    def repaired(self, playbook, limit, options, refused):
        """The command refused: repair, then the same command."""
        repaired = self.guest.play("repair")
        run = self.cluster.play(playbook, limit, **options)
        if repaired.ok and run.ok:
            return "refused, repaired, finished"
        self.trial.violation("not even after instance_repair:\n%s\n%s\n%s" % (refused.text, repaired.text, run.text))
        return "FAILED"

    def verb(self, verb, sample, length):
        """All points of a verb, or so many chosen by the seed.

        :param length: so many points in a chain.
        """
        points = self.points(verb)
        if sample and sample < len(points):
            points = [points[number] for number in sorted(self.trial.chance.sample(range(len(points)), sample))]
        print("%s: %d boundaries, %d points are tried" % (verb, self.boundaries[verb], len(points)), flush=True)
        chains = math.ceil(len(points) / length)
        missed = []
        for chain in [points[start::chains] for start in range(chains)]:
            missed += self.try_chain(chain)
            if self.trial.violations:
                return
        for point in missed:
            # done before the time had passed, on its own or in a resumed run: sooner, and alone
            if all(self.try_chain([point[:3] + (point[3] * part,)]) for part in (1, 0.4, 0)):
                self.trial.violation("%s was never at task '%s' for the %d. time" % point[:3])
        self.trial.data(self.guest)

    def table(self):
        """The matrix in few lines."""
        lines = []
        for verb in VERBS:
            rows = [row for row in self.rows if row[0] == verb]
            if rows:
                words = sorted({row[3] for row in rows})
                counts = ", ".join("%d %s" % (sum(row[3] == word for row in rows), word) for word in words)
                lines.append("%-14s %3d boundaries, %3d points: %s" % (verb, self.boundaries[verb], len(rows), counts))
        return "\n".join(lines)


def main(arguments=None):
    """Entry point; the exit code is 0 only when nothing was violated."""
    parser = trials.parser(__doc__, "crash")
    parser.add_argument("--sample", type=int, help="try only so many points of each verb, chosen by the seed")
    parser.add_argument("--chain", type=int, default=1,
                        help="kill that many runs at later and later points before one is left alone: several times quicker")
    parser.add_argument("--verbs", default=",".join(USUAL), help="of " + ", ".join(VERBS))
    given = parser.parse_args(arguments)
    with trials.opened(given) as trial:
        matrix = Matrix(trial, trial.guest("crash1.example.com", primary="node1", secondary="node2"))
        try:
            for verb in given.verbs.split(","):
                matrix.verb(verb, given.sample, max(given.chain, 1))
                if trial.violations:
                    break  # what comes after it would begin with what is broken
            else:
                matrix.guest.gone()
                trial.audit()
        finally:
            print(matrix.table())
    print("crash: %d points, %d violations, seed %d" % (len(matrix.rows), trial.violations, given.seed))
    return 1 if trial.violations else 0


if __name__ == "__main__":
    sys.exit(main())
