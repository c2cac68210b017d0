# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verb may do with an instance, given the picture: pure functions, one per verb.

Each takes ``(record, picture, params)`` and returns a decision ``{"do": ..., "source", "target", "why", ...}``, or
raises :class:`GantryError` when the verb must not go on. Nothing here has been done yet when it refuses.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import disks, guards, repair
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views


#: Refusals of a live migration that do not speak against stopping the guest here and starting it there.
NOT_LIVE = ("no_live_migration", "not_migratable", "no_shadow_paging", "older_version", "other_cpu")


def migrate(record, picture, params):
    """Live migration. ``do``: migrate, finish (the guest is at the target, the after-work is missing), failover (it cannot migrate
    live, or does not run; the verb failover moves it) or nothing.

    :param params: ``target``; ``allow_failover``: what cannot migrate live may be stopped and started, both nodes being up.
    """
    try:
        return _migrate(record, picture, params)
    except GantryError as refusal:
        stopped = refusal.code == "not_running" and picture["owner"] is None
        # an open window is an unfinished migration's, which its own verb has to end
        if not params.get("allow_failover") or picture["windows"] or not (stopped or refusal.code in NOT_LIVE):
            raise
        decision = failover(record, picture, {"target": params.get("target")})
        if decision["do"] not in ("planned", "finish"):
            return decision
        return dict(decision, do="failover", why="%s by a failover: %s" % (decision["why"], refusal.found))


def _migrate(record, picture, params):
    """The same, by nothing but a live migration.

    What an interrupted migration left on both nodes is taken to the module, which looks at both daemons and ends it.
    """
    if not guards.in_migration(picture):
        guards.refuse_twice(record, picture)
    nodes = [name for name in (record["primary"], record["secondary"]) if name]
    if record["disk_template"] != "drbd":
        if params.get("target") and params["target"] == record["primary"]:
            return guards.nothing("it is on %s already" % record["primary"], source=record["primary"], target=record["primary"])
        guards.target(record, picture, record["primary"], params.get("target"))
        guards.refuse(record, "cannot migrate", "disk template %s" % record["disk_template"], "drbd",
                      "only mirrored instances migrate", "not_mirrored")
    _refuse_restart_only(record, picture, params)
    guards.need_libvirt(record, picture, nodes)
    if picture["waiting"] or len(picture["alive"]) > 1:
        return _go_on(nodes, picture, params)
    owner = picture["owner"]
    if owner is None:
        target = params.get("target")
        if target and target == record["primary"] and record["admin_state"] == "down":
            return guards.nothing("it is stopped and %s is its primary already" % target, source=target, target=target)
        guards.refuse(record, "does not run, so it cannot migrate live", "no running guest on %s" % " or ".join(nodes), "a running guest",
                      "start it with instance_start, or move it stopped with instance_failover", "not_running")
    target = guards.target(record, picture, owner, params.get("target"))
    if owner == target:
        dirty = picture["windows"] or any(disk["primaries"] != [owner] for disk in picture["disks"])
        source = next(name for name in nodes if name != target)
        if dirty or record["primary"] != owner:
            return {"do": "finish", "source": source, "target": target, "why": "the guest is on %s already" % target}
        return guards.nothing("it runs on %s already" % target, source=source, target=target)
    state = picture["nodes"][owner]["state"]
    if state != "running" and not picture["nodes"][owner]["job"]:
        guards.refuse(record, "is %s, so it cannot migrate" % state, picture["nodes"][owner]["reason"], "a running guest",
                      "on %s: virsh resume %s" % (owner, record["name"]), "not_running")
    guards.need_redundant(record, picture)
    guards.need_room(record, picture, target)
    guards.need_hardware(record, picture, target)
    guards.need_mobile(record, picture, owner, target)
    return {"do": "migrate", "source": owner, "target": target, "why": "from %s to %s" % (owner, target)}


def _refuse_restart_only(record, picture, params):
    """A hypervisor without live migration; an instance that is where it is wanted is left alone all the same."""
    backend = hypervisors.backend(record.get("hypervisor", "kvm"))
    if backend.live_migration or (params.get("target") and params["target"] == picture["owner"]):
        return
    guards.refuse(
        record, "cannot migrate live", "hypervisor %s: %s" % (backend.name, backend.why_no_migration), "a hypervisor with live migration",
        "'ansible-playbook gantry.cluster.instance_failover -l %s' moves it: it is stopped here and started there, which takes as long as "
        "a restart; -e gantry_allow_failover=true lets the verbs that migrate do the same" % record["name"], "no_live_migration")


def _go_on(nodes, picture, params):
    """End a migration that was cut off, in the direction it had."""
    target = (picture["waiting"] or [params.get("target")])[0]
    if target not in nodes:
        target = next((name for name in nodes if picture["nodes"][name]["reason"] == "migration"), nodes[-1])
    source = next(name for name in nodes if name != target)
    here = picture["nodes"][source]
    if here["state"] == "running" and not here["job"]:
        return {"do": "migrate", "source": source, "target": target, "why": "from %s to %s, again" % (source, target)}
    return {"do": "finish", "source": source, "target": target, "why": "its migration to %s was cut off" % target}


def failover(record, picture, params):
    """Failover. ``do``: planned (the primary answers), dead (it is proven or declared dead), fence (proof is needed
    and there is a fence device), finish (the guest is at the target, which is not written down) or nothing.

    :param params: ``target``, ``dead_node`` (the operator's word), ``fenced`` (proof read back from the fence device),
        ``can_fence`` (a fence device is configured for the primary), ``only_silent`` (not from a node that answers),
        ``waited`` (DRBD had the time to notice a death: the connection of a node whose power was cut just now looks alive for
        some seconds; ``do`` is wait before that).
    :returns: with ``do`` fence also ``word_stands``: the operator says that the node is dead, and nothing speaks against it; with
        ``do`` finish also ``source_answers``.
    """
    guards.refuse_twice(record, picture)
    dead_node, wanted = params.get("dead_node"), params.get("target")
    nodes = [name for name in (record["primary"], record["secondary"]) if name]
    source, left = picture["owner"] or record["primary"], record["primary"]
    if picture["owner"] in picture["alive"] and source != left and (wanted == source or not wanted and dead_node == left):
        return {"do": "finish", "source": left, "target": source, "nodes": nodes, "why": "the guest is on %s already" % source,
                "source_answers": picture["nodes"][left]["reachable"] and picture["nodes"][left]["libvirt"]}
    if params.get("only_silent") and picture["nodes"][source]["reachable"]:
        return guards.nothing("node %s answers" % source, source=source, target=source)
    if dead_node and dead_node != source:
        return guards.nothing("its primary is %s, not %s" % (source, dead_node), source=source, target=source)
    if wanted and wanted == source and picture["nodes"][source]["reachable"]:
        return guards.nothing("its primary is %s already" % source, source=source, target=source)
    target = guards.target(record, picture, source, wanted)
    if record["disk_template"] == "plain":
        guards.refuse(record, "cannot fail over", "disk template plain on %s" % source, "drbd", "only mirrored instances fail over",
                      "not_mirrored")
    there, here = picture["nodes"][target], picture["nodes"][source]
    if not there["reachable"] or not there["libvirt"]:
        guards.refuse(record, "cannot fail over: node %s, where it would go, does not answer" % target, there["error"],
                      "an answer over SSH and of libvirtd", "repair %s; the disks have no other copy" % target,
                      "libvirt_down" if there["reachable"] else "unreachable")
    guards.need_good_copy(record, picture, target)
    guards.need_hardware(record, picture, target)
    if record["admin_state"] == "up":
        guards.need_room(record, picture, target)
    decision = {"source": source, "target": target, "nodes": nodes}
    if params.get("fenced") or not (here["reachable"] and here["libvirt"]):
        guards.need_company(record, picture, target, source)
    if params.get("fenced"):
        return dict(decision, do="dead", why="node %s is off: its fence device says so" % source)
    if here["reachable"] and here["libvirt"]:
        guards.refuse_waiting(record, picture, "failed over")
        if dead_node:
            guards.refuse(record, "is not failed over: node %s is not dead" % source, "it answers over SSH and its libvirtd runs",
                          "a dead node", "leave gantry_dead_node out for a planned failover", "node_alive")
        for disk in picture["disks"]:
            if disk["verdict"] not in (views.REDUNDANT, views.SYNCING):
                guards.refuse(record, "cannot fail over: disk %d is %s" % (disk["index"], disk["verdict"]), disk["detail"],
                              "connected, and up to date on %s" % target, "bring the disks up with instance_start", "not_redundant")
        return dict(decision, do="planned", why="from %s to %s" % (source, target))
    connected = [disk["index"] for disk in picture["disks"]
                 if (there["resources"].get(disk["name"]) or {}).get("connection") == "Connected"]
    if params.get("can_fence"):
        return dict(decision, do="fence", why="node %s does not answer; its fence device can prove that it is off" % source,
                    word_stands=bool(dead_node and not here["reachable"] and not connected))
    if dead_node and not here["reachable"]:
        if connected and not params.get("waited"):
            return dict(decision, do="wait", why="DRBD has not noticed yet that node %s is dead" % source)
        if connected:
            guards.refuse(record, "is not failed over: node %s is not dead" % source,
                          "the DRBD connection of disk %s to it is up" % connected[0], "no connection",
                          "cut its power, then run the same command again", "node_alive")
        return dict(decision, do="dead", why="the operator says that node %s is dead" % source)
    guards.refuse(record, "is not failed over: node %s is only unreachable" % source if not here["reachable"]
                  else "is not failed over: libvirtd on node %s does not answer" % source,
                  here["error"] or "no answer", "proof that the node is off",
                  "configure gantry_fence for %s; or cut its power yourself and say so with -e gantry_dead_node=%s" % (source, source),
                  "no_proof")
    return None


def remove(record, picture, params):
    """Removal. ``do``: remove; ``nodes`` that answer and hold something of it, ``left_behind`` nodes declared dead."""
    unknown = [name for name in picture["unknown"] if name != params.get("dead_node")]
    if unknown:
        node = picture["nodes"][unknown[0]]
        guards.refuse(record, "cannot be removed: node %s cannot be asked" % unknown[0], node["error"] or "no answer",
                      "every node that holds a part of it answers", "repair the node, or say that it is dead with "
                      "-e gantry_dead_node=%s (what is on it must then be wiped by hand before it comes back)" % unknown[0], "unreachable")
    nodes = [name for name in (record["primary"], record["secondary"]) if name]
    return {
        "do": "remove", "why": "remove the guest and its disks",
        "nodes": [name for name in nodes if name not in picture["unknown"]], "left_behind": list(picture["unknown"]),
    }


VERBS = dict({"migrate": migrate, "failover": failover, "remove": remove}, **disks.VERBS, **repair.VERBS)


def decide(verb, record, picture, params):
    """The decision of a verb. :raises GantryError: the verb must not go on."""
    return VERBS[verb](record, picture, params)
