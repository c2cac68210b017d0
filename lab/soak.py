# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random verbs and random faults on a cluster of real nodes, with the audit after each step.

Started by ``script/test --soak MINUTES``. The seed is printed; with the same seed the same steps are chosen, as far as the
cluster answers alike. The last line counts; the exit code is 0 only without any violation.
"""

from __future__ import annotations

import sys
import time

from lab import trial as trials
from lab.faults import Faults

GUESTS = ["soak%d.example.com" % number for number in (1, 2)]


class Soak:
    """A run: which steps there are, and what must hold after each."""

    def __init__(self, trial):
        self.trial, self.cluster, self.chance = trial, trial.cluster, trial.chance
        self.guests = [trial.guest(name) for name in GUESTS]
        self.faults = Faults(trial)
        self.steps = self.struck = 0

    def choices(self):
        """Every step that makes sense now: ``(weight, what, guest, word)``."""
        found = []
        for guest in self.guests:
            record = guest.record()
            if record is None:
                found.append((4, self.verb, guest, "add"))
                continue
            up = record["admin_state"] == "up"
            found += [(weight, self.verb, guest, verb) for weight, verb in (
                (1, "remove"), (2, "stop" if up else "start"), (2, "failover"), (2, "replace_disks"), (1, "modify"))]
            if up:
                found += [(weight, self.verb, guest, verb) for weight, verb in ((4, "migrate"), (1, "reboot"), (1, "evacuate"))]
                found += [(weight, self.killed, guest, verb) for weight, verb in ((3, "migrate"), (2, "replace_disks"))]
                found += [(1, self.fault, guest, name) for name in self.faults.of("running")]
        return found

    # -- steps --------------------------------------------------------------------------------------------------

    def verb(self, guest, verb):
        """A verb, left alone."""
        if verb == "add":
            self.cluster.forget_console(guest.name)
        elif verb == "remove":
            self.trial.data(guest)
            guest.unwatch()
        playbook, limit, options = guest.command(verb)
        if verb == "evacuate":
            # the other guest may be a mirror there for which no node is left
            options = dict(options, evacuate="primary")
        self.trial.must(self.cluster.play(playbook, limit, **options))
        if verb == "add":
            guest.follow()

    def killed(self, guest, verb):
        """The controller dies in the middle; the same command again, or repair and the same command."""
        self.struck += 1
        playbook, limit, options = guest.command(verb)
        self.cluster.play_killed(playbook, limit, "TASK [", round(self.chance.uniform(0.0, 40.0), 1), **options)
        if not self.cluster.play(playbook, limit, **options).ok:
            self.trial.must(guest.play("repair"))
            self.trial.must(self.cluster.play(playbook, limit, **options))

    def fault(self, guest, name):
        """Something breaks under the running guest, and is mended."""
        self.struck += 1
        self.faults.strike("running", name, guest)

    def step(self):
        """One random step and its audit."""
        found = self.choices()
        _weight, function, guest, word = self.chance.choices(found, [choice[0] for choice in found])[0]
        self.steps += 1
        print("step %d: %s %s %s" % (self.steps, function.__name__, guest.name, word), flush=True)
        function(guest, word)
        self.trial.audit()


def main(arguments=None):
    """Entry point."""
    parser = trials.parser(__doc__, "soak")
    parser.add_argument("minutes", type=float)
    given = parser.parse_args(arguments)
    print("soak: seed %d" % given.seed, flush=True)
    with trials.opened(given) as trial:
        soak = Soak(trial)
        end = time.monotonic() + given.minutes * 60
        while time.monotonic() < end and not trial.violations:
            soak.step()
        for guest in soak.guests:
            trial.data(guest)
    print("soak: %d steps, %d faults, %d violations, seed %d" % (soak.steps, soak.struck, trial.violations, given.seed))
    return 1 if trial.violations else 0


if __name__ == "__main__":
    sys.exit(main())
