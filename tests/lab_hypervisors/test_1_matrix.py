# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every verb on every hypervisor that this session's nodes have, with every disk template; the impossible ones are refused, and say why."""

from __future__ import annotations

import pytest

from lab import matrix
from lab.driver import LXC_IMAGE, XEN_GUEST, refused

ROWS = [pytest.param(hypervisor, template, id="%s, %s" % (hypervisor, template), marks=pytest.mark.flavour(flavour))
        for hypervisor, flavour in matrix.HYPERVISORS.items() for template in matrix.TEMPLATES]

#: Seconds that an emulated guest may need to say its next number, and to hear its power button.
PATIENCE = 600
SLOW = {"shutdown_timeout": 300}

GUESTS = {
    "kvm": {},
    "xen-pv": XEN_GUEST,
    "xen-pvh": XEN_GUEST,
    # SeaBIOS knows no paravirtual disk of Xen's
    "xen-hvm": {"memory": "128MiB", "hvparams": {"disk_type": "ioemu"}},
    "lxc": {"memory": "64MiB", "disks": [{"size": "64MiB"}], "image": LXC_IMAGE},
}


def template_with_a_log(cluster):
    """A template of our own for whole machines under Xen: xenconsoled keeps no serial port's output, so QEMU writes it to the file."""
    text = (matrix.config.ROOT / "roles" / "instance" / "templates" / "domain_xen-hvm.xml.j2").read_text(encoding="utf-8")
    start, end = text.index("    <serial type='pty'>"), text.index("    </console>\n") + len("    </console>\n")
    port = "    <serial type='file'>\n      <source path='%s'/>\n      <target port='0'/>\n    </serial>\n"
    path = cluster.folder / "domain_xen-hvm.xml.j2"
    path.write_text(text[:start] + port % cluster.console("node1", "{{ instance.name }}") + text[end:], encoding="utf-8")
    return str(path)


class Story:
    """One instance on its way through the verbs."""

    def __init__(self, cluster, hypervisor, template, row):
        self.cluster, self.hypervisor, self.template, self.row = cluster, hypervisor, template, row
        self.name = "%s-%s.example.com" % (hypervisor, template)
        self.watch = None

    def play(self, verb, **extra):
        """Run the playbook of a verb of the matrix."""
        playbook, given = matrix.PLAYBOOKS[verb]
        return self.cluster.play(playbook, self.name, **{**given, **SLOW, **extra})

    def refuse(self, verb, refusal):
        """The verb is run, says why it cannot be, and nothing is another than before."""
        before = self.cluster.snapshot()
        run = self.play(verb)
        if refusal.says:
            refused(run, *refusal.says)
        else:
            assert run.ok and run.changed == 0, run.text
        assert self.cluster.snapshot() == before, "a refused verb changed something"
        self.sound()

    def work(self, verb):
        """The verb is run, and does what it says."""
        {"add": self.add, "stop": self.stop, "remove": self.remove, "start": self.go, "reboot": self.go}.get(verb, self.move)(verb)
        self.sound()

    def sound(self):
        """The audit has nothing to say."""
        assert self.cluster.violations() == []

    def done(self, verb, **extra):
        """The verb is run and succeeds."""
        run = self.play(verb, **extra)
        assert run.ok and run.changed > 0, run.text

    def add(self, verb):
        """It is made, and counts."""
        self.done(verb)
        self.watch = self.cluster.watch(self.name)
        self.watch.wait_beyond(5, PATIENCE)

    def stop(self, verb):
        """It is off; the audit looks at that, since its record says so."""
        self.done(verb)
        assert self.cluster.instance(self.name)["admin_state"] == "down"

    def go(self, verb):
        """It counts on after the verb."""
        before = self.watch.last
        self.done(verb)
        self.watch.wait_beyond(before, PATIENCE)

    def move(self, verb):
        """It counts on the other node, and all that it ever said is on its disk there."""
        record = self.cluster.instance(self.name)
        if self.hypervisor == "xen-pv" and verb == "migrate":
            self.refuse_live(record["secondary"])
        if self.hypervisor == "lxc":
            self.row.note = "restarted on the other node" if verb != "failover" else None
        before = self.watch.last
        self.done(verb, target_node=record["secondary"])
        assert self.cluster.instance(self.name)["primary"] == record["secondary"]
        self.watch.wait_beyond(before, PATIENCE)
        self.prove()

    def refuse_live(self, target):
        """Where Xen has no shadow paging a running guest is refused; it may move once it may stand still."""
        if "shadow" in self.cluster.ssh("node1", "xl info | grep ^virt_caps").split():
            self.mode("live")
            self.row.note = ("live, with a Xen that has shadow paging (`script/lab xen`). Debian's has none: a live migration is refused "
                             "there, and `migration_mode: non-live` was seen to move it, suspended")
            return
        before = self.cluster.snapshot()
        refused(self.play("migrate", target_node=target), "no shadow paging", "migration_mode: non-live", "stands still")
        assert self.cluster.snapshot() == before, "a refused verb changed something"
        self.mode("non-live")
        self.row.note = "with `migration_mode: non-live`: Debian's Xen has no shadow paging, and a live migration is refused"

    def mode(self, mode):
        """How the cluster's paravirtual guests migrate from now on."""
        run = self.cluster.play("cluster_init", cluster_name=self.cluster.name + ".example.com",
                                cluster_hvparams={"xen-pv": {"migration_mode": mode}})
        assert run.ok, run.text

    def prove(self):
        """All that the guest said is on its disk."""
        record = self.cluster.instance(self.name)
        disk, node = record["disks"][0], record["primary"]
        device = "/dev/%s/%s" % (disk["vg"], disk["name"])
        if disk["template"] == "drbd":
            device = "/dev/drbd%d" % disk["nodes"][node]["minor"]
        fine, text = self.watch.verdict(device, node, self.cluster.folder)
        assert fine, text

    def remove(self, verb):
        """Nothing is left; before that all numbers are there."""
        self.prove()
        self.done(verb)
        assert self.cluster.instance(self.name) is None

    def close(self):
        """Stop looking."""
        if self.watch:
            self.watch.close()


@pytest.mark.parametrize(("hypervisor", "template"), ROWS)
def test_every_verb(clean, guest, ledger, hypervisor, template):
    row = ledger(hypervisor, template)
    story = Story(clean, hypervisor, template, row)
    nodes = {"primary": "node1", "secondary": "node2"} if template == "drbd" else {"primary": "node1"}
    own = {"domain_template": template_with_a_log(clean)} if hypervisor == "xen-hvm" else {}
    guest(story.name, disk_template=template, hypervisor=hypervisor, **{**GUESTS[hypervisor], **nodes, **own})
    try:
        for verb in matrix.VERBS:
            with row.cell(verb) as refusal:
                if refusal:
                    story.refuse(verb, refusal)
                else:
                    story.work(verb)
    finally:
        story.close()
