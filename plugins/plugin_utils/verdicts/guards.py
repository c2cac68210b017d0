# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the decisions of several verbs ask of the picture: each returns, or refuses with a :class:`GantryError`."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import suitability
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views

#: Nothing is left to do.
NOTHING = "nothing"


def refuse(record, what, found=None, expected=None, mend=None, code="refused"):
    raise GantryError("Instance %s %s" % (record["name"], what), found=found, expected=expected, mend=mend, code=code)


def nothing(why, **more):
    return dict({"do": NOTHING, "why": why}, **more)


def in_migration(picture):
    """Whether what lives on two nodes are the two ends of one migration, which only the module on the source can judge."""
    ends = [picture["nodes"][name] for name in picture["alive"]]
    halted = [end for end in ends if end["state"] == "paused" and end["reason"] == "migration"]
    return len(ends) == 2 and len(halted) >= 1


def refuse_waiting(record, picture, verb):
    for name in picture["waiting"]:
        refuse(record, "cannot be %s: a copy of it waits, paused, on node %s" % (verb, name),
               "it arrived there by a migration that was cut off and never ran", "no unfinished migration",
               "run instance_migrate for it again; where the source is lost, instance_failover", "in_migration")


def refuse_twice(record, picture):
    if len(picture["alive"]) > 1:
        refuse(
            record, "lives on more than one node", ", ".join(
                "%s: %s (%s)" % (node, picture["nodes"][node]["state"], picture["nodes"][node]["reason"]) for node in picture["alive"]),
            "one node", "look at both with 'virsh list' and 'drbdadm status'; stop the copy that must not be, by hand; "
            "nothing was touched", "runs_twice")


def need_libvirt(record, picture, names):
    for name in names:
        node = picture["nodes"].get(name)
        if node is None or not node["reachable"]:
            refuse(record, "cannot be moved: node %s does not answer" % name, node["error"] if node else "no observation",
                   "an answer over SSH", "repair the node or the link; if the node is dead, run instance_failover "
                   "with -e gantry_dead_node=%s" % name, "unreachable")
        if not node["libvirt"]:
            refuse(record, "cannot be moved: libvirtd on node %s does not answer" % name, node["error"], "a running libvirtd",
                   "on %s: systemctl restart libvirtd" % name, "libvirt_down")


def need_redundant(record, picture):
    for disk in picture["disks"]:
        if disk["verdict"] != views.REDUNDANT:
            lost = any(side["disk"] in views.LOST for side in disk["sides"].values())
            refuse(record, "cannot migrate: disk %d is %s" % (disk["index"], disk["verdict"]), disk["detail"],
                   "Connected and UpToDate on both nodes",
                   "make the copy that was lost anew with instance_replace_disks" if lost
                   else "wait for the sync to end, or bring the disks up with instance_start", "not_redundant")


def need_room(record, picture, target):
    free = picture["nodes"][target]["memory_free_mib"]
    if free is not None and free < record["memory_mib"]:
        refuse(record, "does not fit on node %s" % target, "%d MiB of memory free" % free, "%d MiB" % record["memory_mib"],
               "move another instance away first", "no_space")


def need_hardware(record, picture, target):
    """The target can run it: hypervisor, machine type, processor, network, devices."""
    for lack in suitability.lacks(record, picture["nodes"][target])[:1]:
        refuse(record, "cannot run on node %s" % target, lack["what"], lack["expected"], "on %s: %s" % (target, lack["mend"]), lack["code"])


def need_mobile(record, picture, source, target):
    """The running guest can go there: its hypervisor, its devices, the versions and the processors of both nodes."""
    found = suitability.migration_obstacles(record, picture["nodes"][source], picture["nodes"][target])
    for obstacle in found[:1]:
        refuse(record, "cannot migrate live from %s to %s" % (source, target), obstacle["what"], obstacle["expected"], obstacle["mend"],
               obstacle["code"])


def target(record, picture, source, wanted):
    nodes = [name for name in (record["primary"], record["secondary"]) if name]
    if wanted and wanted not in nodes:
        refuse(record, "cannot go to node %s" % wanted, "its disks are on %s" % " and ".join(nodes), "one of these nodes",
               "choose %s" % " or ".join(nodes), "no_disks_there")
    others = [name for name in nodes if name != source]
    if not others:
        refuse(record, "has only one node", "disk template %s on %s" % (record["disk_template"], source),
               "a mirrored disk template", "use the disk template drbd", "not_mirrored")
    return wanted or others[0]


def need_company(record, picture, target, source):
    """The target's copy was with that of the silent source until the source fell silent: a connection that was given up did so before."""
    for disk in picture["disks"]:
        side = picture["nodes"][target]["resources"].get(disk["name"]) or {}
        if side.get("connection") == "StandAlone":
            refuse(record, "is not failed over: disk %d had parted from node %s before that fell silent" % (disk["index"], source),
                   disk["detail"], "a copy that has all that was written",
                   "bring %s back; if its data is lost for good, and with it what was written since they parted, run instance_repair with "
                   "-e gantry_dead_node=%s, then this again" % (source, source), "parted")


def need_good_copy(record, picture, target):
    for disk in picture["disks"]:
        if target not in disk["good"]:
            refuse(record, "cannot start on node %s: its copy of disk %d is not up to date" % (target, disk["index"]),
                   disk["detail"], "UpToDate on %s" % target,
                   "bring the other node back, or let the sync finish first", "not_up_to_date")
        if disk["verdict"] == views.SPLIT_BRAIN:
            refuse(record, "has a split brain on disk %d" % disk["index"], disk["detail"], "one history",
                   "decide which copy to give up before moving the instance", "split_brain")
