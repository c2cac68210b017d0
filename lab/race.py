# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers act on the same instance at once, round after round, with random timing.

Each time one of them migrates it and the other stops it. One wins, the other refuses with the reason; or, when the second comes
late enough, it acts on what the first has left. The audit must be clean each time. Started by ``script/test --race ROUNDS``.
"""

from __future__ import annotations

import sys
import threading
import time

from lab import trial as trials

#: What a loser may say.
REASONS = ("is locked by", "was interrupted", "Another operation", "does not run, so it cannot migrate live", "newer than this one")


def both_at_once(trial, guest):
    """One round. Returns how each ended."""
    commands = {verb: guest.command(verb) for verb in ("migrate", "stop")}
    pauses = {verb: trial.chance.uniform(0, 8) for verb in commands}
    runs = {}

    def play(verb):
        playbook, limit, options = commands[verb]
        time.sleep(pauses[verb])
        runs[verb] = trial.cluster.play(playbook, limit, **options)

    threads = [threading.Thread(target=play, args=(verb,)) for verb in commands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    losers = [verb for verb, run in runs.items() if not run.ok]
    if len(losers) == 2:
        trial.violation("both were refused:\n" + "\n".join(run.text for run in runs.values()))
    for verb in losers:
        text = runs[verb].words
        if not any(reason in text for reason in REASONS):
            trial.violation("instance_%s failed for another reason:\n%s" % (verb, runs[verb].text))
    trial.audit()
    return ", ".join("%s %s" % (verb, "done" if runs[verb].ok else "refused") for verb in sorted(runs))


def main(arguments=None):
    """Entry point; the exit code is 0 only without any violation."""
    parser = trials.parser(__doc__, "race")
    parser.add_argument("rounds", type=int)
    given = parser.parse_args(arguments)
    ends = {}
    with trials.opened(given) as trial:
        guest = trial.guest("race1.example.com", primary="node1", secondary="node2")
        for number in range(1, given.rounds + 1):
            guest.ready()
            how = both_at_once(trial, guest)
            ends[how] = ends.get(how, 0) + 1
            print("round %d: %s" % (number, how), flush=True)
        guest.gone()
    print("; ".join("%s: %d times" % item for item in sorted(ends.items())))
    print("race: %d rounds, %d violations, seed %d" % (sum(ends.values()), trial.violations, given.seed))
    return 1 if trial.violations else 0


if __name__ == "__main__":
    sys.exit(main())
