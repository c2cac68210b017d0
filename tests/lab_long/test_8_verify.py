# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cluster_verify on real nodes: it reports nothing on a healthy cluster, finds what is planted, and what it says mends it."""

from __future__ import annotations

RUNS, STOPPED = "verify1.example.com", "verify2.example.com"
FOREIGN = "<domain type='qemu'><name>foreign</name><memory>16384</memory><os><type>hvm</type></os></domain>"

#: What is found (``CODE:type:object``), on which node, how it is planted, and what its mend is where no verb mends it.
CONFIGURATION = (
    ("INSTANCE_AUTOSTART:instance:" + RUNS, "node1", "virsh autostart " + RUNS, "virsh autostart --disable " + RUNS),
    ("INSTANCE_RECORD_MISSING:instance:" + RUNS, "node2", "rm $(grep -l {0} /var/lib/gantry/instances/*.json)".format(RUNS), ""),
    ("DISK_WINDOW_OPEN:disk:%s-disk0" % RUNS, "node1", "drbdadm net-options --allow-two-primaries=yes %s-disk0" % RUNS, ""),
    ("DISK_RESOURCE_FILE_OPEN:disk:%s-disk0" % RUNS, "node1", "chmod 0644 /etc/drbd.d/%s-disk0.res" % RUNS,
     "chmod 0600 /etc/drbd.d/%s-disk0.res" % RUNS),
    ("DISK_NOT_UP:disk:%s-disk0" % STOPPED, "node3", "drbdadm down %s-disk0" % STOPPED, ""),
    ("NODE_ORPHAN_VOLUME:node:node3", "node3", "lvcreate -qq -y -Wn -L 4M -n stray --addtag gantry "
     "--addtag gantry.instance=00000000-0000-4000-8000-000000000000 gantry", "lvremove -qq -y gantry/stray"),
    ("NODE_ORPHAN_RESOURCE_FILE:node:node1", "node1", "sed 's/%s/stray/' /etc/drbd.d/%s-disk0.res > /etc/drbd.d/stray-disk0.res"
     % (RUNS, RUNS), "rm /etc/drbd.d/stray-disk0.res"),
    ("NODE_FOREIGN_GUEST:node:node3", "node3", 'f=$(mktemp); echo "%s" > $f; virsh define $f; rm $f' % FOREIGN, "virsh undefine foreign"),
    ("NODE_CLOCK_DRIFT:node:node3", "node3", "date -s '+60 seconds'", "date -s '-60 seconds'"),
    ("NODE_LVM_FILTER:node:node2", "node2", "rm /etc/lvm/lvmlocal.conf", ""),
    ("NODE_AUTOSTART_SERVICE:node:node3", "node3", "systemctl -q enable drbd", ""),
    ("NODE_SHUTDOWN_SERVICE:node:node1", "node1", "systemctl -q disable gantry-node", ""),
    ("NODE_TRUST:node:node2", "node2", ": > /var/lib/gantry/migration/.ssh/authorized_keys", ""),
    ("NODE_DRBD_HELPER:node:node3", "node3", "echo /bin/true > /sys/module/drbd/parameters/usermode_helper", ""),
)
STATE = (
    ("INSTANCE_DOWN:instance:" + RUNS, "node1", "pkill -9 -f 'guest=%s[,]'; sleep 2" % RUNS, ""),
    ("DISK_IDLE_PRIMARY:disk:%s-disk0" % RUNS, "node1", "drbdadm role %s-disk0 | grep -q ^Primary" % RUNS, ""),
    ("DISK_DETACHED:disk:%s-disk0" % RUNS, "node2", "drbdadm detach --force %s-disk0" % RUNS, ""),
    ("INSTANCE_UP:instance:" + STOPPED, "node2", "drbdadm primary {0}-disk0 && virsh start {0}".format(STOPPED), ""),
    ("NODE_LIBVIRT:node:node3", "node3", "systemctl -q stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd",
     "systemctl -q start libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket"),
)


def verify(cluster):
    """Its exit code and the beginnings of all lines it prints, without severities."""
    run = cluster.play("cluster_verify", output="text")
    words = run.text.replace("'", " ").replace('"', " ").split()
    found = {word.partition(":")[2].rpartition(":")[0] for word in words if word.startswith(("ERROR:", "WARNING:", "NOTE:"))}
    return run, found


def plant(cluster, faults):
    """Do what each says."""
    for _code, node, command, _mend in faults:
        cluster.ssh(node, command)


def mend(cluster, faults):
    """Do by hand what no verb does."""
    for _code, node, _command, command in faults:
        if command:
            cluster.ssh(node, command)


def missing(found, faults):
    """What was planted and not found."""
    return [code for code, _node, _command, _mend in faults if code not in found]


def test_planted_faults_are_found_and_mended(clean, guest):
    cluster = clean
    guest(RUNS, primary="node1", secondary="node2")
    guest(STOPPED, start=False, primary="node2", secondary="node3")
    run = cluster.play("instance_add", "%s,%s" % (RUNS, STOPPED))
    assert run.ok and cluster.violations() == [], run.text
    run, found = verify(cluster)
    assert run.ok and not found, run.text

    # what is configured wrongly
    plant(cluster, CONFIGURATION)
    definition = cluster.ssh("node1", "virsh dumpxml --inactive " + RUNS)
    path = cluster.folder / "definition.xml"
    path.write_text(definition, encoding="utf-8")
    cluster.put("node2", path, "/tmp/definition.xml")
    cluster.ssh("node2", "virsh define /tmp/definition.xml; rm /tmp/definition.xml")
    run, found = verify(cluster)
    assert not run.ok and missing(found, CONFIGURATION) == [] and "INSTANCE_STALE_DEFINITION:instance:" + RUNS in found, run.text
    mend(cluster, CONFIGURATION)
    for verb, limit, options in (
            ("node_add", None, {"all": True}), ("instance_repair", RUNS, {}), ("instance_activate_disks", STOPPED, {}),
            ("instance_start", RUNS, {})):
        run = cluster.play(verb, limit, **options)
        assert run.ok, run.text
    cluster.wait_redundant("node2", STOPPED + "-disk0")
    run, found = verify(cluster)
    assert run.ok and not found and cluster.violations() == [], run.text

    # what broke
    plant(cluster, STATE)
    run, found = verify(cluster)
    assert not run.ok and missing(found, STATE) == [], run.text
    mend(cluster, STATE)
    for verb, limit in (("instance_stop", STOPPED), ("instance_replace_disks", RUNS), ("instance_start", RUNS)):
        run = cluster.play("%s" % verb, limit, force=verb == "instance_stop")
        assert run.ok, run.text
    cluster.wait_redundant("node1", RUNS + "-disk0")
    run, found = verify(cluster)
    assert run.ok and not found and cluster.violations() == [], run.text

    # a node that does not answer
    cluster.lab("link", "node3", "control", "off")
    try:
        run, found = verify(cluster)
        assert not run.ok and "NODE_UNREACHABLE:node:node3" in found, run.text
    finally:
        cluster.lab("link", "node3", "control", "on")
    cluster.ssh("node3", "true")
