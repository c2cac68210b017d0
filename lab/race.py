# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers act on the same instance at once, round after round, with random timing.

Each time one of them migrates it and the other stops it. One wins, the other refuses with the reason; or, when the second comes
late enough, it acts on what the first has left. The audit must be clean each time. Started by ``script/test --race ROUNDS``.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time

from lab.driver import Cluster, prepare

NAME = "race1.example.com"
#: What a loser may say.
REASONS = ("is locked by", "was interrupted", "Another operation", "does not run, so it cannot migrate live", "newer than this one")


def play(cluster, verb, pause, options, results):
    """One controller: waits, then runs its verb."""
    time.sleep(pause)
    results[verb] = cluster.play("instance_" + verb, NAME, **options)


def one_round(cluster, chance):
    """Both at once; returns what is wrong with it, empty when nothing is."""
    record = cluster.instance(NAME)
    results = {}
    work = [
        ("migrate", chance.uniform(0, 8), {"target_node": record["secondary"]}),
        ("stop", chance.uniform(0, 8), {"force": True, "shutdown_timeout": 60}),
    ]
    threads = [threading.Thread(target=play, args=(cluster, verb, pause, options, results)) for verb, pause, options in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = []
    losers = [verb for verb, run in results.items() if not run.ok]
    if len(losers) == 2:
        wrong.append("both were refused:\n" + "\n".join(run.text for run in results.values()))
    for verb in losers:
        text = " ".join(results[verb].text.split())
        if not any(reason in text for reason in REASONS):
            wrong.append("instance_%s failed for another reason:\n%s" % (verb, results[verb].text))
    wrong += cluster.violations()
    print("round: %s" % (", ".join("%s %s" % (verb, "done" if results[verb].ok else "refused") for verb in sorted(results))), flush=True)
    if cluster.instance(NAME)["admin_state"] == "down":
        run = cluster.play("instance_start", NAME)
        if not run.ok:
            wrong.append("instance_start after it failed:\n" + run.text)
    return wrong


def main(arguments=None):
    """Entry point; the exit code is 0 only without any violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--lab", default="race")
    parser.add_argument("--keep", action="store_true", help="leave the lab running")
    given = parser.parse_args(arguments)
    chance = random.Random(given.seed)
    cluster = Cluster(given.lab)
    if not given.keep:
        cluster.down_all()
    cluster.up()
    violations = done = 0
    try:
        image = prepare(cluster)
        cluster.declare(NAME, primary="node1", secondary="node2", memory="32MiB", disks=[{"size": "16MiB"}], image=image)
        run = cluster.play("instance_add", NAME)
        if not run.ok:
            raise RuntimeError(run.text)
        for done in range(1, given.rounds + 1):
            for line in one_round(cluster, chance):
                violations += 1
                print("VIOLATION: %s" % line, flush=True)
        cluster.play("instance_remove", NAME)
    finally:
        if not given.keep:
            cluster.down_all()
    print("race: %d rounds, %d violations, seed %d" % (done, violations, given.seed))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
