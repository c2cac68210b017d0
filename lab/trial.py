# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the long trials (crash, faults, race, soak) share: a lab made ready, guests that count, what was violated."""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import subprocess
import time

from lab.driver import Cluster, prepare


def parser(description, lab):
    """The options every trial has.

    :param lab: name of the lab it makes unless told otherwise.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seed", type=int, default=int(time.time()), help="chooses the same again (default: the time)")
    made.add_argument("--lab", default=lab)
    made.add_argument("--keep", action="store_true", help="use the lab that is there, and leave it running")
    return made


@contextlib.contextmanager
def opened(given):
    """A lab made ready for a trial, and taken down after it.

    :param given: the parsed options of :func:`parser`.
    """
    cluster = Cluster(given.lab)
    if not given.keep:
        cluster.down_all()
    cluster.up()
    trial = None
    try:
        trial = Trial(cluster, prepare(cluster), given.seed)
        yield trial
    finally:
        for guest in trial.guests if trial else ():
            guest.unwatch()
        if trial and trial.violations and not given.keep:
            kept = cluster.folder.parent / (cluster.name + "-runs")
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(cluster.folder / "runs", kept)
            print("what each run said is kept in %s" % kept, flush=True)
        if not given.keep:
            cluster.down_all()


class Trial:
    """One run on a lab: its guests, its chances, and how often something was violated."""

    def __init__(self, cluster, image, seed):
        self.cluster, self.image, self.seed = cluster, image, seed
        self.chance = random.Random(seed)
        self.guests = []
        self.violations = 0

    def guest(self, name, **settings):
        """Declare a guest with a small mirrored disk; it is not made yet."""
        self.cluster.declare(name, **dict({"memory": "32MiB", "disks": [{"size": "16MiB"}], "image": self.image}, **settings))
        self.guests.append(Guest(self.cluster, name))
        return self.guests[-1]

    def violation(self, text):
        """Count and show."""
        self.violations += 1
        print("VIOLATION: %s" % text, flush=True)

    def audit(self):
        """The cluster's audit, and every guest that should run counts on. Returns whether all is well."""
        found = self.cluster.violations()
        for guest in self.guests:
            record = guest.record()
            if record and record["admin_state"] == "up" and guest.watch:
                try:
                    guest.watch.wait_beyond(guest.watch.last)
                except TimeoutError as error:
                    found.append(str(error))
        for text in found:
            self.violation(text)
        return not found

    def data(self, guest):
        """No number the guest has said is missing on its disk. Returns whether all is well."""
        record = guest.record()
        if not record or record["admin_state"] != "up" or not guest.watch:
            return True
        try:
            fine, text = guest.watch.verdict(guest.device(record), record["primary"], self.cluster.folder)
        except subprocess.CalledProcessError as error:
            fine, text = False, str(error)
        if not fine:
            self.violation("the data of %s:\n%s" % (guest.name, text))
        return fine

    def must(self, run):
        """A run that has to succeed. Returns whether it did."""
        if not run.ok:
            self.violation("it failed:\n%s" % run.text)
        return run.ok


class Guest:
    """One guest of a trial."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.resource = name + "-disk0"
        self.watch = None

    def record(self):
        """Its record in the registry, or None."""
        return self.cluster.instance(self.name)

    @staticmethod
    def device(record):
        """Its disk on either node."""
        return "/dev/drbd%d" % record["disks"][0]["nodes"][record["primary"]]["minor"]

    def third(self):
        """The node that has no part of it."""
        record = self.record()
        return next(node for node in self.cluster.nodes if node not in (record["primary"], record["secondary"]))

    def command(self, verb):
        """What is typed for a verb so that it really moves something now: ``(playbook, limit, options)``."""
        if verb == "evacuate":
            return "node_evacuate", None, {"node_name": self.record()["primary"]}
        options = {}
        if verb in ("migrate", "failover"):
            options = {"target_node": self.record()["secondary"]}
        elif verb == "replace_disks":
            options = {"new_secondary": self.third()}
        elif verb == "modify":
            options = {"vcpus": 3 - self.record()["vcpus"]}
        elif verb == "stop":
            options = {"force": True, "shutdown_timeout": 60}
        return "instance_" + verb, self.name, options

    def play(self, verb, **options):
        """Run a verb on it."""
        return self.cluster.play("instance_" + verb, self.name, **options)

    def follow(self):
        """Watch it from now on."""
        self.watch = self.watch or self.cluster.watch(self.name)

    def unwatch(self):
        """Watch it no more."""
        if self.watch:
            self.watch.close()
        self.watch = None

    def ready(self, running=True):
        """Make the state a verb begins with: it is there, and it runs or not.

        :raises RuntimeError: that failed.
        """
        if self.record() is None:
            self.cluster.forget_console(self.name)
            self._must("add")
        if (self.record()["admin_state"] == "up") != running:
            self._must("start" if running else "stop")

    def gone(self):
        """Remove it if it is there. :raises RuntimeError: that failed."""
        self.unwatch()
        if self.record():
            self._must("remove")
        self.cluster.forget_console(self.name)

    def _must(self, verb):
        run = self.play(verb)
        if not run.ok:
            raise RuntimeError("instance_%s failed outside of a trial:\n%s" % (verb, run.text))
