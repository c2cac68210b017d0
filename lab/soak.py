# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random verbs and random faults on a cluster of real nodes, with the audit after each step.

Started by ``script/test --soak MINUTES``. The seed is printed; with the same seed the same steps are chosen, as far as the
cluster answers alike. The last line counts; the exit code is 0 only without any violation.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from lab.driver import Cluster, prepare

GUESTS = ["soak%d.example.com" % number for number in (1, 2)]


class Soak:
    """A run: which steps there are, and what must hold after each."""

    def __init__(self, cluster, image, seed):
        self.cluster = cluster
        self.image = image
        self.random = random.Random(seed)
        self.steps = self.faults = self.violations = 0
        self.watches = {}

    # -- what may be done now -----------------------------------------------------------------------------------

    def choices(self):
        """Every step that makes sense now: ``(weight, function, arguments)``."""
        found = []
        records = {name: self.cluster.instance(name) for name in GUESTS}
        for name, record in records.items():
            if record is None:
                found.append((4, self.verb, (name, "add")))
                continue
            up = record["admin_state"] == "up"
            found += [(1, self.verb, (name, "remove")), (2, self.verb, (name, "stop" if up else "start")),
                      (2, self.verb, (name, "failover")), (2, self.verb, (name, "replace_disks"))]
            if up:
                found += [(4, self.verb, (name, "migrate")), (1, self.verb, (name, "reboot")),
                          (3, self.killed_controller, (name, "migrate")), (2, self.killed_controller, (name, "replace_disks")),
                          (2, self.killed_guest, (name,)), (3, self.power_cut, (record["primary"],)),
                          (2, self.power_cut, (record["secondary"],)), (2, self.link_cut, (record["secondary"],)),
                          (2, self.killed_daemon, (record["primary"],)), (1, self.failed_disk, (name,))]
        return found

    def options(self, name, verb):
        """Options that make the verb move something."""
        record = self.cluster.instance(name)
        if verb in ("migrate", "failover"):
            return {"target_node": record["secondary"]}
        if verb == "replace_disks":
            used = (record["primary"], record["secondary"])
            return {"new_secondary": next(node for node in self.cluster.nodes if node not in used)}
        return {"force": True, "shutdown_timeout": 60} if verb == "stop" else {}

    # -- steps --------------------------------------------------------------------------------------------------

    def play(self, verb, name, **options):
        """A command that must succeed."""
        run = self.cluster.play("instance_" + verb, name, **options)
        if not run.ok:
            self.violation("instance_%s of %s failed:\n%s" % (verb, name, run.text))
        return run.ok

    def verb(self, name, verb):
        """A verb, left alone."""
        if verb == "add":
            for node in self.cluster.nodes:
                self.cluster.ssh(node, "rm -f /var/log/libvirt/qemu/%s-console.log*" % name)
        if verb == "remove":
            self.unwatch(name)
        if self.play(verb, name, **self.options(name, verb) if verb != "add" else {}) and verb == "add":
            self.watches[name] = self.cluster.watch(name)

    def killed_controller(self, name, verb):
        """The controller dies in the middle; the same command again, or repair and the same command."""
        options = self.options(name, verb)
        delay = round(self.random.uniform(0.0, 40.0), 1)
        self.cluster.play_killed("instance_" + verb, name, "TASK [", delay, **options)
        if not self.cluster.play("instance_" + verb, name, **options).ok:
            self.play("repair", name)
            self.play(verb, name, **options)

    def killed_guest(self, name):
        """QEMU dies; the guest is started again where it was."""
        node = self.cluster.instance(name)["primary"]
        self.cluster.ssh(node, "pkill -9 -f 'guest=%s[,]' || true; sleep 3" % name)
        self.play("start", name)

    def killed_daemon(self, node):
        """libvirtd dies; its guests do not notice."""
        self.cluster.ssh(node, "systemctl kill -s KILL libvirtd; sleep 3; systemctl start libvirtd.socket libvirtd || true")

    def failed_disk(self, name):
        """A disk fails under its guest, which goes on from the other copy; the copy is made anew."""
        node = self.cluster.instance(name)["primary"]
        self.cluster.ssh(node, "drbdadm detach --force %s-disk0" % name)
        self.play("replace_disks", name)

    def link_cut(self, node):
        """The link of a node is lost for a while, and comes back."""
        self.cluster.lab("link", node, "cluster", "off")
        time.sleep(self.random.uniform(5, 40))
        self.cluster.lab("link", node, "cluster", "on")
        for name in self.on(node):
            self.play("activate_disks", name)

    def power_cut(self, node):
        """A node loses its power; what ran there is failed over; it comes back and is resynchronised."""
        names = self.on(node)
        self.cluster.power_off(node)
        self.cluster.degraded.update(names)
        for name in names:
            if self.cluster.instance(name)["primary"] == node:
                self.play("failover", name)
        self.audit()
        self.cluster.power_on(node)
        for name in names:
            self.play("start" if self.cluster.instance(name)["admin_state"] == "up" else "activate_disks", name)
            self.cluster.wait_redundant(self.cluster.instance(name)["primary"], name + "-disk0", timeout=300)
        self.cluster.degraded.clear()

    def on(self, node):
        """The guests with a copy on the node."""
        records = {name: self.cluster.instance(name) for name in GUESTS}
        return [name for name, record in records.items() if record and node in (record["primary"], record["secondary"])]

    # -- what must hold -----------------------------------------------------------------------------------------

    def violation(self, text):
        """Count and show."""
        self.violations += 1
        print("VIOLATION: %s" % text, flush=True)

    def audit(self):
        """The cluster's audit, and every living guest counts on."""
        for line in self.cluster.violations():
            self.violation(line)
        for name, watch in self.watches.items():
            record = self.cluster.instance(name)
            if record and record["admin_state"] == "up":
                try:
                    watch.wait_beyond(watch.last)
                except TimeoutError as error:
                    self.violation(str(error))

    def data(self):
        """No acknowledged write of any guest is missing."""
        for name, watch in self.watches.items():
            record = self.cluster.instance(name)
            if record is None or record["admin_state"] != "up":
                continue
            minor = record["disks"][0]["nodes"][record["primary"]]["minor"]
            fine, text = watch.verdict("/dev/drbd%d" % minor, record["primary"], self.cluster.folder)
            if not fine:
                self.violation("the data of %s:\n%s" % (name, text))

    def unwatch(self, name):
        """The guest goes: its data are checked a last time."""
        self.data()
        watch = self.watches.pop(name, None)
        if watch:
            watch.close()

    def step(self):
        """One random step and its audit."""
        found = self.choices()
        _weight, function, arguments = self.random.choices(found, [weight for weight, _function, _arguments in found])[0]
        self.steps += 1
        self.faults += function != self.verb  # pylint: disable=comparison-with-callable
        print("step %d: %s %s" % (self.steps, function.__name__, " ".join(arguments)), flush=True)
        function(*arguments)
        self.audit()


def main(arguments=None):
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--lab", default="soak")
    parser.add_argument("--keep", action="store_true", help="leave the lab running")
    given = parser.parse_args(arguments)
    print("soak: seed %d" % given.seed, flush=True)
    cluster = Cluster(given.lab)
    if not given.keep:
        cluster.down_all()
    cluster.up()
    soak = Soak(cluster, prepare(cluster), given.seed)
    for name in GUESTS:
        cluster.declare(name, memory="32MiB", disks=[{"size": "16MiB"}], image=soak.image)
    end = time.monotonic() + given.minutes * 60
    try:
        while time.monotonic() < end and not soak.violations:
            soak.step()
        soak.data()
    finally:
        for watch in soak.watches.values():
            watch.close()
        if not given.keep:
            cluster.down_all()
    print("soak: %d steps, %d faults, %d violations, seed %d" % (soak.steps, soak.faults, soak.violations, given.seed))
    return 1 if soak.violations else 0


if __name__ == "__main__":
    sys.exit(main())
