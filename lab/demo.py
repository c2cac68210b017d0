# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, shown: a cluster of three real nodes, a guest on a mirrored disk, a live migration, a power cut.

Started by script/demo. Everything it does is an ordinary command, printed as it runs; the whole output is kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time

from lab.audit import read_registry
from lab.driver import ROOT, Cluster

GUEST = "web1.example.com"
IMAGE = "/srv/images/test-guest.img"


class Story:
    """Tells what happens: a line per step with a running clock, and in the end the whole as a table."""

    def __init__(self, log):
        self.log = log
        self.started = time.monotonic()
        self.steps = []
        self.facts = []
        self._live = sys.stdout.isatty()
        self._detail = ""
        self._done = threading.Event()

    def say(self, text):
        """A line of its own."""
        print(text, flush=True)
        self.log.write(text + "\n")

    def step(self, title, work, *args):
        """Do one step; show that it goes on; note how long it took. Returns what the work returned."""
        begun = time.monotonic()
        self._detail = ""
        self._done.clear()
        ticker = threading.Thread(target=self._tick, args=(title, begun), daemon=True)
        ticker.start()
        try:
            result = work(*args)
        except BaseException:
            self._stop(ticker)
            print("%s  FAILED  %s" % (self._clock(), title), flush=True)
            raise
        self._stop(ticker)
        seconds = time.monotonic() - begun
        self.steps.append((begun - self.started, seconds, title))
        note = result if isinstance(result, str) else ""
        print("%s  done  %-58s %6.1f s  %s" % (self._clock(), title, seconds, note), flush=True)
        return result

    def detail(self, line):
        """What the step is at just now: the task of a playbook, or a line of progress."""
        self.log.write(line if line.endswith("\n") else line + "\n")
        line = line.strip()
        if line.startswith("TASK ["):
            line = line[6:].partition("]")[0].rpartition(" : ")[2]
        elif not line or line[0] in "*=" or line.startswith(("PLAY", "ok:", "changed:", "skipping:", "included:")):
            return
        self._detail = line[:70]

    def _clock(self):
        return time.strftime("%M:%S", time.gmtime(time.monotonic() - self.started))

    def _tick(self, title, begun):
        shown = ""
        while not self._done.wait(0.5 if self._live else 5):
            seconds = time.monotonic() - begun
            if self._live:
                print("\r\033[K%s  ...   %s  (%d s) %s" % (self._clock(), title, seconds, self._detail), end="", flush=True)
            elif self._detail != shown or seconds > 20:
                shown = self._detail
                print("%s  ...   %s  (%d s) %s" % (self._clock(), title, seconds, shown), flush=True)

    def _stop(self, ticker):
        self._done.set()
        ticker.join()
        if self._live:
            print("\r\033[K", end="", flush=True)

    def timeline(self):
        """Every step as a bar on one time axis."""
        total = max(time.monotonic() - self.started, 1)
        width = 46
        lines = ["", "Timeline (%d min %02d s)" % divmod(int(total), 60), ""]
        for begun, seconds, title in self.steps:
            left = int(begun / total * width)
            length = max(1, round(seconds / total * width))
            lines.append("  %-58s |%s%s%s| %6.1f s" % (
                title[:58], " " * left, "#" * min(length, width - left), " " * max(0, width - left - length), seconds))
        return "\n".join(lines)

    def table(self):
        """What was shown, as a table."""
        width = max(len(name) for name, _value in self.facts)
        lines = ["", "What was seen", ""]
        lines += ["  %s  %s" % (name.ljust(width), value) for name, value in self.facts]
        return "\n".join(lines)


class Demo:
    """The steps."""

    def __init__(self, name, keep, log):
        self.cluster = Cluster(name)
        self.keep = keep
        self.story = Story(log)
        self.folder = self.cluster.folder / "demo"
        self.watch = None

    def play(self, verb, limit=None, **options):
        """A verb that must succeed."""
        run = self.cluster.play(verb, limit, follow=self.story.detail, **options)
        if not run.ok:
            print(run.text[-3000:])
            raise RuntimeError("%s failed" % verb)
        return "%d changed" % run.changed

    def boot(self):
        """Boot the nodes, showing the lab's own progress."""
        process = subprocess.Popen([str(ROOT / "script" / "lab"), "--name", self.cluster.name, "up", "--nodes", "3"],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
        lines = []
        for line in process.stdout:
            lines.append(line)
            self.story.detail(line)
        if process.wait():
            raise RuntimeError("the lab did not come up:\n" + "".join(lines[-30:]))

    def image(self):
        """Build the test guest and put it on the nodes."""
        path = self.cluster.folder / "test-guest.img"
        subprocess.run([str(ROOT / "lab" / "guest" / "build"), str(path)], check=True, stdout=subprocess.DEVNULL)
        for node in self.cluster.nodes:
            self.cluster.put(node, path, IMAGE)

    def count(self):
        """Watch the guest until it counts."""
        self.watch = self.cluster.watch(GUEST)
        number = self.watch.wait_beyond(20)
        return "it says %d" % number

    def migrate(self):
        """Live migration while it counts."""
        source = self.cluster.instance(GUEST)["primary"]
        before, since = self.watch.last, time.time()
        note = self.play("instance_migrate", GUEST)
        number = self.watch.wait_beyond(self.watch.last + 10)
        target = self.cluster.instance(GUEST)["primary"]
        self.story.facts += [
            ("Live migration", "%s to %s while it counted from %d to %d" % (source, target, before, number)),
            ("Longest pause of the guest", "%.2f s between two numbers (they come every 0.16 s)" % self.watch.longest_pause(since)),
        ]
        return note

    def power_cut(self):
        """Cut the power of the node the guest runs on."""
        node = self.cluster.instance(GUEST)["primary"]
        self.cluster.power_off(node)
        self.cluster.degraded.add(GUEST)
        self.cut, self.dead, self.last = time.time(), node, self.watch.last
        return "%s is off; the last number heard was %d" % (node, self.last)

    def failover(self):
        """Fail over: the fence device proves that the node is off."""
        self.play("instance_failover", GUEST)
        number = self.watch.wait_beyond(self.last)
        seconds = next(when for when, heard, _node in self.watch.numbers if heard > self.last) - self.cut
        self.story.facts.append(("Power cut and failover", "%s died at number %d; the guest went on with %d after %.0f s"
                                 % (self.dead, self.last, self.last + 1, seconds)))
        return "it says %d" % number

    def heal(self):
        """The node comes back; its stale copy is brought up to date."""
        self.cluster.power_on(self.dead)
        self.play("instance_start", GUEST)
        for _try in range(120):
            if not self.problems():
                self.cluster.degraded.discard(GUEST)
                return "both copies are the same again"
            time.sleep(1)
        raise RuntimeError("the returned node did not become redundant: %s" % self.problems())

    def problems(self):
        """What the audit finds, with full redundancy expected."""
        degraded, self.cluster.degraded = self.cluster.degraded, set()
        try:
            return self.cluster.violations()
        finally:
            self.cluster.degraded = degraded

    def verify(self):
        """Everything the guest was promised is on its disk; nothing is left over."""
        record = self.cluster.instance(GUEST)
        device = "/dev/drbd%d" % next(iter(record["disks"][0]["nodes"].values()))["minor"]
        fine, text = self.watch.verdict(device, record["primary"], self.folder)
        problems = self.cluster.violations()
        self.story.say(text.rstrip())
        if not fine or problems:
            raise RuntimeError("the audit found: %s" % (problems or "faults of the disk, see above"))
        self.story.facts += [
            ("Numbers acknowledged to the guest", "%d, none missing on the disk" % len({number for _w, number, _n in self.watch.numbers})),
            ("Audit", "runs once, one primary, both copies the same, no window open, nothing left over"),
        ]
        return "no violation"

    def remove(self):
        """Remove the guest and look for leftovers."""
        self.play("instance_remove", GUEST)
        problems = self.cluster.violations()
        if problems:
            raise RuntimeError("left over: %s" % problems)
        content, _leases = read_registry(self.cluster.folder / "registry.db")
        self.story.facts.append(("Operations in the journal", str(sum(1 for key in content if key.startswith("operations/")))))
        return "nothing is left"

    def run(self):
        """The whole story."""
        story = self.story
        try:
            story.step("Boot three nodes", self.boot)
            story.step("cluster_init: create the cluster", self.play_init)
            story.step("node_add: make the three servers nodes", self.play_nodes)
            story.step("Build the test guest", self.image)
            self.cluster.declare(GUEST, memory="64MiB", disks=[{"size": "64MiB"}], image=IMAGE)
            story.step("instance_add: a guest on a mirrored disk", self.play, "instance_add", GUEST)
            story.step("The guest counts, each number safe on both nodes", self.count)
            story.step("instance_migrate: live, while it counts", self.migrate)
            story.step("Cut the power of the node it runs on", self.power_cut)
            story.step("instance_failover: prove the node off, go on elsewhere", self.failover)
            story.step("The dead node returns; instance_start makes it redundant", self.heal)
            story.step("Verify: disk, consoles, nodes, registry", self.verify)
            story.step("instance_remove", self.remove)
        finally:
            if self.watch:
                self.watch.close()
            if self.keep:
                story.say("The lab is kept: script/lab --name %s status | ssh | down" % self.cluster.name)
            else:
                story.step("Clean up", self.cluster.down_all)
        print(story.timeline())
        print(story.table())

    def play_init(self):
        """Create the cluster."""
        return self.play("cluster_init", cluster_name="demo.example.com")

    def play_nodes(self):
        """Add all nodes."""
        return self.play("node_add", all=True)


def main():
    """Run the demo; the exit status tells whether all of it was seen to work."""
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    parser.add_argument("--name", default="demo", help="name of the lab to use")
    parser.add_argument("--keep", action="store_true", help="leave the lab running, to play with")
    arguments = parser.parse_args()
    path = ROOT / ".cache" / "demo.log"
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="utf-8") as log:
        try:
            Demo(arguments.name, arguments.keep, log).run()
        except (RuntimeError, TimeoutError, subprocess.CalledProcessError) as failure:
            print("\nThe demo failed: %s\nIts whole output: %s" % (failure, path.relative_to(ROOT)), file=sys.stderr)
            return 1
    print("\nEverything above was done by playbooks you can read: playbooks/, roles/. Full output: %s" % path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
