# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a guest lives after (or before) a migration, from what both daemons show. Pure functions on plain data.

A side is ``{"reachable", "error", "exists", "state", "reason", "persistent", "job", "arriving", "stale"}``, see
:meth:`migration.Side.read`. The exit code of a migration is no input: it may say "failed" while the guest is whole
at the target, because libvirt's last two phases (finish at the target, confirm at the source) can part.

Two facts make the rest provable. A guest is marked before it leaves, and the mark travels with it: ``arriving``
says that it is on its way to this target, ``stale`` that something else was done at the source since. And it
arrives paused, to be resumed by us alone, once the source is proven to be without it. So while the source still
has a marked guest, it has never run at the target.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: What is known of one side.
UNKNOWN = "unknown"      # the daemon does not answer
GONE = "gone"            # no domain, or one that is shut off: the guest has no memory here
RUNNING = "running"      # its processors run here
MOVING = "moving"        # a migration job works on it: wait
CHANGING = "changing"    # on its way to another state: wait
ARRIVED = "arrived"      # whole, paused, and never resumed here since it came
HALTED = "halted"        # stopped in the middle of a migration with no job left
OTHER = "other"          # here, but not running, for a reason of its own

#: What an operator does when the module must not decide.
MENDS = {
    "both_running": "cut the network between guest and users, find the copy that must not be ('virsh list' and 'drbdadm status' "
                    "on both nodes), 'virsh destroy' it by hand, then run instance_migrate again",
    "off_everywhere": "the guest runs nowhere: start it with instance_start",
    "halted_at_source": "its memory is whole at the source only: if 'virsh list --all' on the target shows no definition of it, "
                        "'virsh resume' it at the source, then run instance_migrate again",
    "arrived_unproven": "it waits, paused, at the target, but may have gone on at the source since. Always safe, like a power cut: "
                        "'virsh destroy' it at the target, then instance_start. Only if it surely was not resumed at the source "
                        "(its log there, for kvm /var/log/libvirt/qemu/NAME.log, and libvirtd's journal): 'virsh resume' at the target",
    "halted_at_target": "look at the log of both libvirt daemons; 'virsh resume' it at the target only if the source has no "
                        "domain of it, then run instance_migrate again",
    "halted_at_both": "look at the log of both libvirt daemons; 'virsh resume' exactly one side, 'virsh destroy' the other, "
                      "then run instance_migrate again",
    "target_unknown": "bring the target's libvirtd back and run instance_migrate again; if the node is dead, fence it first",
    "source_unknown": "bring the source's libvirtd back ('systemctl restart libvirtd') and run instance_migrate again",
    "job": "wait for the job ('virsh domjobinfo') and run instance_migrate again",
    "changing": "run instance_migrate again",
    "incoming_at_target": "'virsh list' on the target: if the paused incoming domain stays, 'virsh destroy' it there, "
                          "then run instance_migrate again",
    "source_not_running": "look at the guest on the source (cluster_info); 'virsh resume' or stop it, then run instance_migrate again",
    "target_not_running": "look at the guest on the target (cluster_info); 'virsh resume' it there, then run instance_migrate again",
}


def word(side):
    """What is known of one side, one of the words above."""
    if not side["reachable"]:
        return UNKNOWN
    if not side["exists"] or side["state"] == "shutoff":
        return GONE
    job = (side["job"] or {}).get("type")
    if job in ("migration_in", "migration_out", "unknown"):
        return MOVING
    if side["state"] == "running":
        # in post-copy a part of the guest's memory is still on the other side
        return MOVING if side["reason"] in ("postcopy", "postcopy_failed") else RUNNING
    if (side["state"], side["reason"]) == ("paused", "user") and side["arriving"]:
        return ARRIVED
    if side["state"] == "shutdown" or (side["state"], side["reason"]) == ("paused", "starting_up"):
        return CHANGING
    if side["state"] == "paused" and side["reason"] in ("migration", "postcopy", "postcopy_failed"):
        return HALTED
    return OTHER


def verdict(source, target):
    """Where the guest lives.

    :returns: ``outcome`` (``target``: it is there and no more here; ``source``: it runs here and nowhere else;
        ``unclear``: touch nothing), ``case`` (a word for the situation), ``settled`` (False: it may change by itself,
        look again before believing it), ``todo`` (steps that end the migration, in their order: ``end_source`` the
        remainder here, ``resume_target``, ``undefine_source``; or ``end_target`` the unused copy, ``resume_source``),
        ``why`` and ``mend`` (texts).
    """
    here, there = word(source), word(target)
    outcome, case, settled, todo = "unclear", "changing", False, []
    if here == RUNNING and there == GONE:
        outcome, case, settled = "source", "runs_at_source", True
    elif here == GONE and there == RUNNING:
        outcome, case, settled = "target", "runs_at_target", True
        todo = ["undefine_source"] if source["exists"] else []
    elif here == GONE and there == ARRIVED:
        case, settled = "arrived_unproven", True
        if not target["stale"] and (not source["exists"] or source["reason"] == "migrated"):
            outcome, case, todo = "target", "arrived", ["resume_target"]
            todo = todo + ["undefine_source"] if source["exists"] else todo
    elif here == HALTED and there in (RUNNING, ARRIVED) and source["reason"] == "migration":
        # The target has it, the source was never told: it only waits to be ended. Time may still do it.
        outcome, case, todo = "target", "unconfirmed", ["end_source"]
        todo = todo + ["resume_target"] if there == ARRIVED else todo
    elif here == RUNNING and there == ARRIVED:
        outcome, case, settled, todo = "source", "not_taken_over", True, ["end_target"]
    elif here == RUNNING and there == HALTED and source["arriving"] and target["reason"] == "migration":
        outcome, case, todo = "source", "not_taken_over", ["end_target"]
    elif here == RUNNING and there == UNKNOWN and source["arriving"]:
        outcome, case, settled = "source", "target_unknown", True
    elif here == HALTED and there == GONE and source["reason"] == "migration" and source["arriving"]:
        # Stopped for the switch-over, which never came. Time may still undo it.
        outcome, case, todo = "source", "halted_at_source", ["resume_source"]
    elif UNKNOWN in (here, there):
        case = "source_unknown" if here == UNKNOWN else "target_unknown"
    elif MOVING in (here, there):
        case = "job" if here == MOVING else "incoming_at_target"
    elif CHANGING in (here, there):
        case = "changing"
    elif here == RUNNING and there == RUNNING:
        case = "both_running"
    elif here == GONE and there == GONE:
        case, settled = "off_everywhere", True
    elif there == HALTED:
        case = {GONE: "halted_at_target", HALTED: "halted_at_both"}.get(here, "incoming_at_target")
    elif here == HALTED:
        case = "halted_at_source"
    elif here in (OTHER, ARRIVED):  # at the source a pause by an operator looks like an arrival
        case, settled = "source_not_running", True
    else:
        case, settled = "target_not_running", True
    return {
        "outcome": outcome, "case": case, "settled": settled, "todo": todo, "mend": MENDS.get(case),
        "why": "source: %s; target: %s" % (_told(source), _told(target)),
    }


def _told(side):
    """A side in words."""
    if not side["reachable"]:
        return "no answer (%s)" % side["error"]
    if not side["exists"]:
        return "no domain"
    text = "%s (%s)" % (side["state"], "arrived" if word(side) == ARRIVED else side["reason"])
    return text + ", job %s" % side["job"]["type"] if side["job"] else text


def refuse_unfit(name, source, target, disks, earlier_steps_done=True):
    """Whether a live migration may begin now.

    :param source: this side; it must run here with no job on it.
    :param target: the other side; it must answer, without an active domain of this UUID or another's of this name.
    :param disks: the storage's status of every disk, each with its ``template``.
    :param earlier_steps_done: False in check mode, where the window was not opened and the target not promoted.
    :raises GantryError: it must not.
    """
    def refuse(what, found, expected, mend, code):
        raise GantryError(
            "Instance %s cannot migrate: %s" % (name, what), found=found, expected=expected, mend=mend, code=code)

    if word(source) != RUNNING:
        refuse("it does not run here", _told(source), "running", verdict(source, target)["mend"], "not_running")
    if source["job"]:
        refuse("a job works on it", "job %s" % source["job"]["type"], "no job",
               "wait for it ('virsh domjobinfo %s'), or 'virsh domjobabort %s'" % (name, name), "job_running")
    if not target["reachable"]:
        refuse("the target's libvirt does not answer", target["error"], "an answer",
               "check libvirtd on the target and the migration key (playbook node_add)", "target_unreachable")
    if target["name_taken"]:
        refuse("its name is taken at the target", "domain %s with UUID %s" % (name, target["name_taken"]),
               "no other domain of that name", "find out whose it is; undefine or rename it there", "name_taken")
    if word(target) != GONE:
        refuse("a domain of it is active at the target", _told(target), "none",
               verdict(source, target)["mend"], "active_at_target")
    for disk in disks:
        _refuse_disk(refuse, disk, earlier_steps_done)


def refuse_older(name, node, source, target):
    """Refuse a target that is older than the source: QEMU promises the way forward only, and an older libvirt may not know
    what the newer one has written down. Only major and minor number count.

    :param source: ``hypervisor`` and ``libvirt``, libvirt's numbers for versions (7002022); ``target`` likewise.
    :raises GantryError: it is older.
    """
    for key, what in (("hypervisor", "hypervisor"), ("libvirt", "libvirt")):
        if target[key] // 1000 < source[key] // 1000:
            raise GantryError(
                "Instance %s cannot migrate: the %s of node %s is older" % (name, what, node), found=_version(target[key]),
                expected="%s, as here, or newer" % _version(source[key]),
                mend="upgrade that node, or move the instance with instance_failover", code="older_version")


def _version(number):
    return "%d.%d.%d" % (number // 1000000, number // 1000 % 1000, number % 1000)


def _refuse_disk(refuse, disk, earlier_steps_done):
    if disk["template"] != "drbd":
        refuse("disk %s is not mirrored" % disk["name"], "disk template %s" % disk["template"], "drbd",
               "stop it and move it with instance_move", "not_mirrored")
    wanted = [
        ("connection", "Connected", "not_redundant"), ("disk", "UpToDate", "not_redundant"),
        ("peer_disk", "UpToDate", "not_redundant"), ("role", "Primary", "disk_not_primary"),
    ]
    if earlier_steps_done:
        wanted += [("peer_role", "Primary", "peer_not_primary"), ("allow_two_primaries", True, "window_closed")]
    for key, value, code in wanted:
        if disk[key] != value:
            refuse("disk %s is not ready" % disk["name"], "%s is %s" % (key, disk[key]), "%s" % value,
                   "run instance_migrate again: it prepares the disks first", code)
    if disk.get("out_of_sync_kib") or disk["sync_percent"] not in (None, 100.0):
        refuse("disk %s is not in sync" % disk["name"],
               "%s KiB out of sync" % disk.get("out_of_sync_kib"), "0", "wait for the sync to end", "not_redundant")
