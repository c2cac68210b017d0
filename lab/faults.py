# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix: power, cables, daemons, guests and disks fail while a guest runs, migrates, or gets a new mirror.

While it is broken no guest runs twice and nothing is primary on both sides outside of a migration. Then the operator does what the
refusals say, the fault ends, and the audit must be clean and every number the guest has said be on its disk.
Started by ``script/test --faults``; the whole matrix takes hours.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass

from lab import trial as trials

#: The task after which a fault strikes is one of these, with the longest time to wait then, seconds.
MOMENTS = {
    "migrate": (("Allow both nodes to be primary, on the target", 4.0), ("Migrate the guest, read both nodes", 6.0)),
    "replace_disks": (("Make an empty copy on the new node", 5.0), ("Connect the primary to its new peer", 4.0),
                      ("Wait until both copies are the same", 2.0)),
}
#: Why a guest is not failed over whose node is silent and not proven dead.
LEFT_ALONE = ("only unreachable", "was interrupted")
SITUATIONS = ("running",) + tuple(MOMENTS)


@dataclass
class Fault:
    """What breaks, on which side, and what the operator types once it is mended.

    It is the node's power, one of its cables, or what the shell command ``strike`` breaks and ``mend`` mends there.
    """

    name: str
    side: str
    strike: str = ""
    mend: str = ""
    power: bool = False
    cable: str = ""
    situations: tuple = SITUATIONS
    #: the verbs on the instance that lead back, where the interrupted command itself does not
    after: tuple = ("repair",)

    @property
    def unseen(self):
        """The node cannot be looked at meanwhile."""
        return self.power or self.cable == "control"


_DAEMON = ("systemctl kill -s KILL libvirtd", "systemctl reset-failed libvirtd; systemctl start libvirtd.socket libvirtd")
_GUEST = "pkill -9 -f 'guest={name}[,]' || true"
#: virtlogd gives a console up for good when it cannot write it: the guest goes on, and is heard again from its next node.
_ROOT_FULL = ("fallocate -l $(df --output=avail -B1M / | tail -1 | tr -d ' ')M /full; dd if=/dev/zero of=/fuller bs=64k 2>/dev/null; true",
              "rm -f /full /fuller")
_GROUP_FULL = ("lvcreate -qq -y -Wn -l 100%FREE -n full gantry", "lvremove -qq -y gantry/full")
_BACKING = "dmsetup wipe_table {mapped}"

FAULTS = (
    Fault("power of the source", "source", power=True),
    Fault("power of the target", "target", power=True),
    Fault("cluster cable of the source", "source", cable="cluster"),
    Fault("cluster cable of the target", "target", cable="cluster"),
    Fault("control cable of the source", "source", cable="control"),
    Fault("libvirtd on the source", "source", *_DAEMON),
    Fault("libvirtd on the target", "target", *_DAEMON),
    Fault("QEMU on the source", "source", _GUEST, after=("repair", "start")),
    Fault("QEMU on the target", "target", _GUEST, situations=("migrate",)),
    Fault("root file system of the source full", "source", *_ROOT_FULL, after=("repair", "migrate")),
    Fault("root file system of the target full", "target", *_ROOT_FULL, after=("repair", "migrate")),
    Fault("volume group of the target full", "target", *_GROUP_FULL, situations=("replace_disks",)),
    Fault("disk of the source gone", "source", _BACKING, after=("replace_disks",)),
    Fault("disk of the target gone", "target", _BACKING, after=("replace_disks",)),
)


class Faults:
    """Breaks and mends things under a guest of a trial."""

    def __init__(self, trial):
        self.trial, self.cluster = trial, trial.cluster
        self.rows = []

    @staticmethod
    def of(situation):
        """Names of the faults that make sense in a situation."""
        return [fault.name for fault in FAULTS if situation in fault.situations]

    def strike(self, situation, name, guest):
        """One cell of the matrix."""
        fault = next(fault for fault in FAULTS if fault.name == name)
        guest.follow()
        guest.watch.wait_beyond(guest.watch.last)
        said, before = guest.watch.last, self.trial.violations
        record = guest.record()
        command = guest.command(situation) if situation in MOMENTS else None
        target = command[2].get("new_secondary", record["secondary"]) if command else record["secondary"]
        node = record["primary"] if fault.side == "source" else target
        print("%s: %s (%s)" % (situation, fault.name, node), flush=True)
        story = []
        if command:
            run = self._struck_run(situation, fault, node, guest, command)
            story.append("finished" if run.ok else "refused: " + _reason(run))
        else:
            self._break(fault, node, guest)
            time.sleep(self.trial.chance.uniform(5, 30))
        self._look(guest)
        waits = self._meanwhile(fault, node, guest, command, story)
        self._mend(fault, node, guest)
        self._afterwards(fault, guest, command, waits, story)
        if self.trial.audit() and guest.watch.last <= said:
            self.trial.violation("%s does not count on" % guest.name)
        self.trial.data(guest)
        self.rows.append((situation, fault.name, "; ".join(story) or "went on", self.trial.violations - before))
        print(self.line(*self.rows[-1]), flush=True)

    # -- break, look, mend --------------------------------------------------------------------------------------

    def _struck_run(self, situation, fault, node, guest, command):
        task, longest = self.trial.chance.choice(MOMENTS[situation])
        delay = self.trial.chance.uniform(0, longest)
        struck = []

        def follow(line):
            if not struck and line.startswith("TASK [") and task in line:
                time.sleep(delay)
                self._break(fault, node, guest)
                struck.append(line)

        playbook, limit, options = command
        run = self.cluster.play(playbook, limit, follow=follow, **options)
        if not struck:
            self.trial.violation("the fault did not strike: no task '%s' in\n%s" % (task, run.text))
            self._break(fault, node, guest)
        return run

    def _words(self, text, guest):
        return text.format(name=guest.name, mapped="gantry-" + guest.resource.replace("-", "--")) if "{" in text else text

    def _break(self, fault, node, guest):
        if fault.power:
            self.cluster.power_off(node)
        elif fault.cable:
            self.cluster.lab("link", node, fault.cable, "off")
        else:
            self.cluster.ssh(node, self._words(fault.strike, guest))
        if fault.unseen:
            self.cluster.down.add(node)

    def _mend(self, fault, node, guest):
        if fault.power:
            self.cluster.power_on(node)
        elif fault.cable:
            self.cluster.lab("link", node, fault.cable, "on")
        elif fault.mend:
            self.cluster.ssh(node, self._words(fault.mend, guest))
        self.cluster.down.discard(node)
        if fault.cable == "cluster":
            address = "10.77.0.%d" % (10 + int(node[4:]))
            self.cluster.ssh(node, "for i in $(seq 60); do ip -br a | grep -q %s && exit 0; sleep 1; done; exit 1" % address)
        guest.watch.follow_again(node)

    def _look(self, guest):
        """What must hold even while it is broken."""
        states = self.cluster.states()
        running = [node for node, state in states.items() if state.domains.get(guest.name, {}).get("state") == "running"]
        if len(running) > 1:
            self.trial.violation("%s runs on %s" % (guest.name, running))
        primaries = [node for node, state in states.items() if state.drbd.get(guest.resource, {}).get("role") == "Primary"]
        windows = [node for node, state in states.items() if guest.resource in state.windows]
        if len(primaries) > 1 and not windows:
            self.trial.violation("%s is primary on %s" % (guest.resource, primaries))

    # -- the operator -------------------------------------------------------------------------------------------

    def _meanwhile(self, fault, node, guest, command, story):
        """A guest whose node lost its power goes on elsewhere; a living one is left alone.

        :returns: whether the guest has to wait for its node: it got a new mirror, and the old one had been taken out of use.
        """
        record = guest.record()
        if not fault.unseen or record["primary"] != node or record["admin_state"] != "up":
            return False
        if not fault.power:
            run = guest.play("failover", fence=[])
            if run.ok or not (any(reason in run.words for reason in LEFT_ALONE) or _no_other_copy(command, run)):
                self.trial.violation("a node that is only unreachable was not left alone:\n%s" % run.text)
            return False
        self.cluster.degraded.add(guest.name)
        run = guest.play("failover")
        if not run.ok:
            story.append("failover refused: " + _reason(run))
            self.trial.must(guest.play("repair", dead_node=node))
            record = guest.record()
            run = guest.play("failover") if record["primary"] == node else run
            if record["primary"] == node:
                if _no_other_copy(command, run):
                    return True
                self.trial.must(run)
        story.append("failed over")
        self.trial.audit()
        return False

    def _afterwards(self, fault, guest, command, waits, story):
        """The fault is mended: the interrupted command again, and the verbs that lead back where it refuses."""
        left = command if command and not self._overtaken(guest, command) else None
        if waits:
            self._start_again(guest, story)
        if left:
            run = self._again(left)
            story.append("again: " + ("finished" if run.ok else "refused: " + _reason(run)))
            left = None if run.ok else left
        # a finished command leaves nothing to repair; what the fault itself broke is another matter
        if left or not command or fault.after != Fault.after:
            for verb in fault.after:
                self.trial.must(guest.play(verb))
                story.append(verb)
        if left:
            self.trial.must(self._again(left))
        self.cluster.degraded.discard(guest.name)
        try:
            self.cluster.wait_redundant(guest.record()["primary"], guest.resource, timeout=60)
        except RuntimeError:
            self.trial.must(guest.play("repair"))
            story.append("repair")
            self.cluster.wait_redundant(guest.record()["primary"], guest.resource, timeout=120)

    def _start_again(self, guest, story):
        """Its node is back, and with it the one copy that has everything."""
        run = guest.play("start")
        if not run.ok:
            self.trial.must(guest.play("repair"))
            run = guest.play("start")
        self.trial.must(run)
        story.append("started again")

    @staticmethod
    def _overtaken(guest, command):
        """The guest was failed over to where the command wanted to bring it, or its mirror."""
        options = command[2]
        return guest.record()["primary"] in (options.get("target_node"), options.get("new_secondary"))

    def _again(self, command):
        playbook, limit, options = command
        return self.cluster.play(playbook, limit, **options)

    @staticmethod
    def line(situation, name, story, violations):
        """One cell of the matrix."""
        return "%-14s %-36s %s  %s" % (situation, name, "VIOLATION" if violations else "safe", story)

    def table(self):
        """The matrix."""
        return "\n".join(self.line(*row) for row in self.rows)


def _no_other_copy(command, run):
    """A failover was refused because the guest was getting a new mirror: the old one is out of use, the new one not filled."""
    return bool(command) and command[0] == "instance_replace_disks" and "not up to date" in run.words


def _reason(run):
    """The first sentence of a refusal."""
    text = " ".join(run.text.split())
    for mark in ("Stop with the reason", "FAILED!", "fatal:"):
        text = text.rpartition(mark)[2] if mark in text else text
    start = text.find("msg")
    return text[max(start, 0):][:150]


def _strike(faults, situation, name, guest):
    """One cell; when it ends so badly that the guest cannot go on, the next one has a new guest."""
    try:
        faults.strike(situation, name, guest)
    except (RuntimeError, TimeoutError) as error:
        faults.trial.violation("%s, %s: %s" % (situation, name, error))
        faults.rows.append((situation, name, "the guest was lost", 1))
        print(faults.line(*faults.rows[-1]), flush=True)
        faults.cluster.degraded.discard(guest.name)
        guest.gone()
        guest.ready()


def main(arguments=None):
    """Entry point; the exit code is 0 only when nothing was violated."""
    parser = trials.parser(__doc__, "faults")
    parser.add_argument("--situations", default=",".join(SITUATIONS), help="of " + ", ".join(SITUATIONS))
    parser.add_argument("--only", help="only faults whose name has this in it (a regular expression)")
    given = parser.parse_args(arguments)
    with trials.opened(given) as trial:
        guest = trial.guest("faults1.example.com", primary="node1", secondary="node2", disks=[{"size": "64MiB"}])
        faults = Faults(trial)
        guest.ready()
        try:
            for situation in given.situations.split(","):
                for name in faults.of(situation):
                    if re.search(given.only or "", name):
                        _strike(faults, situation, name, guest)
            guest.gone()
            trial.audit()
        finally:
            print(faults.table())
    print("faults: %d cells, %d violations, seed %d" % (len(faults.rows), trial.violations, given.seed))
    return 1 if trial.violations else 0


if __name__ == "__main__":
    sys.exit(main())
