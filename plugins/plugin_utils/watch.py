# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watcher does: from the registry's content, what the nodes show and its own history to a list of actions. Pure.

At most one action for each instance, ``start`` (restart the guest), ``activate`` (bring disks up on a node that was
away) or ``failover``; everything else is a ``note``. An action is only ever the verb an operator would type, so its own guards
come after this decision. Where anything is in doubt there is a note and no action.
"""

from __future__ import annotations

import time

from ansible_collections.gantry.cluster.plugins.plugin_utils import report
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views

START = "start"
ACTIVATE = "activate"
FAILOVER = "failover"
NOTE = "note"

INFO, WARNING, ERROR = "info", "warning", "error"

#: The settings and their defaults. Times are seconds.
DEFAULTS = {
    # tries of one action on one instance before it is given up, the wait after the first (doubled after each), and
    # how long after the last try they are forgotten
    "tries": 5, "backoff": 300, "expire": 8 * 3600,
    # a guest that switched itself off: "leave" or "restart"
    "user_shutdown": "leave",
    # fail over from a node that was silent in so many runs in a row, counted at most once in that many seconds
    "failover": False, "unreachable_runs": 3, "unreachable_gap": 60,
}

#: A guest that was seen to have switched itself off counts as such after a reboot of its node too, when it was still off this
#: many seconds later: a node that goes down shuts its guests down in the same way, and is gone by then.
CONFIRM_AFTER = 300

#: Why a domain is off, as libvirt says it, in words. What is not here needs a look by a person.
ENDED = {
    "crashed": "its QEMU process died",
    "failed": "it failed to start",
    "destroyed": "its power was cut",
    "daemon": "libvirtd lost it",
    "migrated": "it migrated away and is nowhere else",
    "unknown": "it is off and libvirtd does not know why",
}

_FATAL = {
    views.DISKLESS: "the primary has lost its disk and works on the other copy; do not stop or reboot it",
    views.STALE: "no good copy is reachable",
    views.MISSING: "the volume is not there",
}


def decide(seen, history, settings, now):
    """What to do in this run.

    :param seen: ``nodes`` and ``instances`` (the registry's records by name), ``locks`` (by instance name, each with
        ``liveness`` of its owner: alive, dead or unknown), ``observations`` (of the nodes that were asked), ``fenced``
        (names of the nodes that have a fence device), ``moved`` (names of instances that another run acted on
        since the registry was read).
    :param history: what earlier runs kept, ``{"instances": {uuid: {...}}, "nodes": {name: {...}}}``.
    :param settings: as :data:`DEFAULTS`, which stand in for what is left out.
    :param now: seconds since 1970.
    :returns: ``actions`` (``{"name", "do", "why", "severity", "generation"}`` by name, errors first for each), ``nodes`` (notes
        on nodes, ``{"name", "severity", "why"}``) and the new ``history``.
    """
    settings = dict(DEFAULTS, **settings)
    nodes, node_notes = _nodes(seen, history.get("nodes", {}), settings, now)
    kept, actions = {}, []
    for name, record in sorted(seen["instances"].items()):
        own = _Instance(record, seen, settings, now, nodes, history.get("nodes", {}))
        own.memory = _still_valid(record, history.get("instances", {}).get(record["uuid"], {}), settings, now)
        own.judge()
        actions += sorted(own.found, key=lambda action: (action["do"] == NOTE, action["severity"] != ERROR))
        if own.memory:
            kept[record["uuid"]] = dict(own.memory, name=name)
    return {"actions": actions, "nodes": node_notes, "history": {"instances": kept, "nodes": nodes}}


def _nodes(seen, before, settings, now):
    """The nodes' new history, and notes on them."""
    observed = {observation["node"]: observation for observation in seen["observations"]}
    kept, notes = {}, []
    for name, node in sorted(seen["nodes"].items()):
        old = before.get(name, {})
        new = {"boot_id": old.get("boot_id"), "unreachable": 0}
        kept[name] = new
        if node.get("offline"):
            continue
        observation = observed.get(name) or {"reachable": False, "error": "was not asked"}
        if not observation["reachable"]:
            new.update(_silent_again(old, settings, now))
            notes.append({"name": name, "severity": ERROR, "why": "does not answer (%s), %d. run in a row"
                          % (observation.get("error") or "no reason given", new["unreachable"])})
            continue
        info = observation["node_info"]
        new["boot_id"] = info.get("boot_id") or old.get("boot_id")
        if old.get("boot_id") and new["boot_id"] != old["boot_id"]:
            notes.append({"name": name, "severity": INFO, "why": "was rebooted since the last run"})
        libvirt = info.get("libvirt") or {}
        if not libvirt.get("ok"):
            notes.append({"name": name, "severity": ERROR, "why": "its libvirtd does not answer: %s" % libvirt.get("error")})
        if not _drbd_ok(info):
            notes.append({"name": name, "severity": ERROR, "why": "its DRBD cannot be read: %s" % info["drbd"].get("error")})
    return kept, notes


def _silent_again(old, settings, now):
    """One more silent run; runs that follow each other at once count as one."""
    count, counted = old.get("unreachable", 0), old.get("counted")
    if count and counted is not None and 0 <= now - counted < settings["unreachable_gap"]:
        return {"unreachable": count, "counted": counted}
    return {"unreachable": count + 1, "counted": int(now)}


def _drbd_ok(info):
    return (info.get("drbd") or {}).get("ok", True)


def _still_valid(record, memory, settings, now):
    """What still counts of an instance's history: an operator's verb, which raises the generation, makes it start anew."""
    kept = {}
    for do in (START, ACTIVATE, FAILOVER):
        tried = memory.get(do)
        # the verb that the watcher ran itself raised it by one
        if tried and now - tried["last"] < settings["expire"] and record["generation"] <= tried["generation"] + 1:
            kept[do] = tried
    mark = memory.get("user_down")
    if mark and mark["generation"] == record["generation"] and record["admin_state"] == "up":
        kept["user_down"] = mark
    return kept


class _Instance:
    """One instance under judgement; ``found`` and ``memory`` are the answer."""

    def __init__(self, record, seen, settings, now, nodes, before):
        self.record, self.seen, self.settings, self.now = record, seen, settings, now
        self.counted, self.before = nodes, before
        self.names = [name for name in (record["primary"], record["secondary"]) if name]
        observed = {observation["node"]: observation for observation in seen["observations"]}
        unseen = {"reachable": False, "error": "was not asked", "node_info": None}
        self.observations = {name: observed.get(name, dict(unseen, node=name)) for name in self.names}
        self.picture = views.view(record, list(self.observations.values()))
        self.found, self.memory = [], {}

    # -- answers -------------------------------------------------------------------------------------------------

    def note(self, severity, why):
        """Something to be read by a person."""
        self.found.append({"name": self.record["name"], "do": NOTE, "severity": severity, "why": why,
                           "generation": self.record["generation"]})

    def act(self, do, why):
        """An action, unless it was tried too often or too recently."""
        tried = self.memory.get(do) or {"tries": 0, "first": int(self.now)}
        if tried["tries"] >= self.settings["tries"]:
            self.note(ERROR, "%s; given up after %d tries of %s; run %s for it and see what it says; the next try is at %s" % (
                why, tried["tries"], do, _verb(do), _clock(tried["last"] + self.settings["expire"])))
            return
        if tried["tries"]:
            due = tried["last"] + self.settings["backoff"] * 2 ** (tried["tries"] - 1)
            # a clock that was set back must not stop it for ever
            if self.now < due and self.now >= tried["last"]:
                self.note(WARNING, "%s; %s was tried %s, the next try is at %s" % (
                    why, do, _times(tried["tries"]), _clock(due)))
                return
        self.memory[do] = {"tries": tried["tries"] + 1, "first": tried["first"], "last": int(self.now),
                           "generation": self.record["generation"]}
        self.found.append({"name": self.record["name"], "do": do, "severity": WARNING, "why": why,
                           "generation": self.record["generation"]})

    # -- the judgement ---------------------------------------------------------------------------------------------

    def judge(self):
        """Fill :attr:`found` and :attr:`memory`."""
        if self._busy() or self._dangerous():
            return
        if self.record["admin_state"] != "up":
            if self.picture["owner"]:
                self.note(WARNING, "runs on %s and should be down; run instance_stop for it, or instance_start if it should run"
                          % self.picture["owner"])
            return
        if self.picture["owner"]:
            self._alive(self.picture["owner"])
        else:
            self._not_alive()

    def _busy(self):
        """Whether a run works on it, or did not end."""
        record = self.record
        lock, pending = self.seen["locks"].get(record["name"]), record.get("pending")
        if lock and lock.get("liveness") != "dead":
            self.note(INFO, "left alone: %s works on it (operation %s)" % (lock["verb"], lock["operation"]))
        elif record["name"] in self.seen["moved"]:
            self.note(INFO, "left alone: another run acted on it during this one")
        elif pending:
            self.note(WARNING, "left alone: %s was interrupted; run instance_%s for it again" % (pending["verb"], pending["verb"]))
        elif record["status"] != "ready":
            self.note(WARNING, "left alone: its status is %s" % record["status"])
        else:
            return False
        return True

    def _dangerous(self):
        """Whether there is something that only a person may touch."""
        picture = self.picture
        if len(picture["alive"]) > 1:
            self.note(ERROR, "LIVES ON %s: nothing is done to it; look at both with 'virsh list' and 'drbdadm status'"
                      % " AND ".join(picture["alive"]))
            return True
        if picture["waiting"]:
            self.note(ERROR, "a copy of it waits, paused, on %s: a migration was cut off; run instance_migrate for it"
                      % ", ".join(picture["waiting"]))
            return True
        split = [disk for disk in picture["disks"] if disk["verdict"] == views.SPLIT_BRAIN]
        if split:
            self.note(ERROR, "disk %d has a SPLIT BRAIN (%s); decide which copy to give up" % (split[0]["index"], split[0]["detail"]))
            return True
        if picture["windows"]:
            self.note(ERROR, "two primaries are allowed on %s and no migration runs; run instance_migrate for it"
                      % ", ".join(picture["windows"]))
            return True
        return False

    def _alive(self, owner):
        """The guest's process is there, on one node."""
        record, node = self.record, self.picture["nodes"][owner]
        if owner != record["primary"]:
            self.note(ERROR, "runs on %s and not on its primary %s; instance_migrate with -e gantry_target_node=%s writes it down"
                      % (owner, record["primary"], owner))
            return
        if node["state"] != "running":
            self.note(ERROR, "is %s (%s) on %s and does not run" % (node["state"], node["reason"], owner))
            return
        if self._fatal_disks():
            return
        asleep = self._asleep(record["secondary"]) if record["secondary"] else []
        if asleep and self._usable(record["secondary"], drained=False):
            self.act(ACTIVATE, "on %s disk %s is not up%s" % (
                record["secondary"], ", ".join(asleep), self._since_reboot(record["secondary"])))
        elif not asleep and not self.picture["unknown"]:
            for disk in self.picture["disks"]:
                if disk["verdict"] == views.DEGRADED:
                    self.note(WARNING, "disk %d is DEGRADED (%s); instance_start for it connects its copies again"
                              % (disk["index"], disk["detail"]))

    def _fatal_disks(self):
        bad = [disk for disk in self.picture["disks"] if disk["verdict"] in _FATAL]
        for disk in bad:
            self.note(ERROR, "disk %d is %s (%s): %s" % (disk["index"], disk["verdict"], disk["detail"], _FATAL[disk["verdict"]]))
        return bool(bad)

    def _asleep(self, name):
        """The disks whose DRBD resource is not up on a node that could be read; by name."""
        info = self.observations[name].get("node_info")
        if not info or not _drbd_ok(info):
            return []
        resources = self.picture["nodes"][name]["resources"]
        return [disk["name"] for disk in self.record["disks"] if disk["template"] == "drbd" and not resources[disk["name"]]]

    def _usable(self, name, drained):
        """Whether something may be done on a node; ``drained`` says whether a drained one will do."""
        node, view = self.seen["nodes"].get(name, {}), self.picture["nodes"][name]
        return view["reachable"] and view["libvirt"] and not node.get("offline") and (drained or not node.get("drained"))

    def _since_reboot(self, name):
        return ", as after the node's reboot" if self._rebooted(name) else ""

    def _rebooted(self, name):
        old, new = (table.get(name, {}).get("boot_id") for table in (self.before, self.counted))
        return bool(old and new and old != new)

    # -- a guest that does not run --------------------------------------------------------------------------------

    def _not_alive(self):
        record, nodes = self.record, self.picture["nodes"]
        for name in self.names:
            if self.seen["nodes"].get(name, {}).get("offline"):
                self.note(INFO, "left alone: node %s is marked offline" % name)
                return
        if not nodes[record["primary"]]["reachable"]:
            self._primary_silent()
            return
        deaf = [name for name in self.names if nodes[name]["reachable"] and not nodes[name]["libvirt"]]
        if deaf:
            self.note(ERROR, "whether it runs cannot be known: libvirtd on %s does not answer" % " and ".join(deaf))
            return
        if self.picture["unknown"]:
            other = self.picture["unknown"][0]
            self.note(ERROR, "is off on %s and not started, since %s does not answer; if that node is dead: instance_start with "
                      "-e gantry_dead_node=%s" % (record["primary"], other, other))
            return
        if self.seen["nodes"].get(record["primary"], {}).get("drained"):
            self.note(INFO, "is off and not started: its primary %s is drained" % record["primary"])
            return
        self._off()

    def _off(self):
        """Proven off on all its nodes, which answer."""
        record = self.record
        unread = [name for name in self.names if not _drbd_ok(self.observations[name]["node_info"])]
        if unread and record["disks"]:
            self.note(ERROR, "is off and not started: DRBD on %s cannot be read" % " and ".join(unread))
            return
        reason = self._reason()
        if reason == "saved" or self._saved():
            self.note(WARNING, "its memory was saved with 'virsh managedsave'; a start by the cluster would throw it away, so go on "
                      "with 'virsh start %s' on %s" % (record["name"], record["primary"]))
            return
        if self._switched_itself_off(reason) and self.settings["user_shutdown"] == "leave":
            self.note(INFO, "its guest switched itself off, so it stays off; instance_start starts it, instance_stop says that it "
                      "should be down")
            return
        if self._all_up_but_bad():
            return
        rebooted = self._rebooted(record["primary"]) and reason == "unknown"
        if reason == "shutdown" or "user_down" in self.memory:
            why = "its guest switched itself off and gantry_watch_user_shutdown says restart"
        elif rebooted:
            why = "its node %s was rebooted" % record["primary"]
        else:
            why = ENDED.get(reason, "it is off (%s)" % reason)
        self.memory.pop("user_down", None)
        self.act(START, "should run and does not: %s" % why)

    def _reason(self):
        """Why the domain is off: what the primary's libvirtd says; ``unknown`` too where there is no domain."""
        for name in self.names:
            node = self.picture["nodes"][name]
            if node["state"] == views.OFF:
                return node["reason"] or "unknown"
        return "unknown"

    def _saved(self):
        for observation in self.observations.values():
            for domain in observation["node_info"].get("domains", []):
                if domain["uuid"] == self.record["uuid"] and domain.get("managed_save"):
                    return True
        return False

    def _switched_itself_off(self, reason):
        """Whether the guest did it, now or as an earlier run saw: libvirtd forgets the reason when it is restarted."""
        boot_id = self.counted[self.record["primary"]]["boot_id"] if self.record["primary"] in self.counted else None
        mark = self.memory.get("user_down")
        if reason == "shutdown":
            if not mark or mark["boot_id"] != boot_id:
                mark = {"generation": self.record["generation"], "boot_id": boot_id, "since": int(self.now), "sure": False}
            if not mark["sure"] and self.now - mark["since"] >= CONFIRM_AFTER:
                mark = dict(mark, sure=True)
            self.memory["user_down"] = mark
            return True
        if mark and reason == "unknown" and (mark["sure"] or mark["boot_id"] == boot_id):
            return True
        self.memory.pop("user_down", None)
        return False

    def _all_up_but_bad(self):
        """Disks in a state that a start does not mend. Those that are not up are another matter: they have not met yet."""
        if any(self._asleep(name) for name in self.names) and self.picture["worst"] not in (views.MISSING, views.DISKLESS):
            return False
        return self._fatal_disks()

    # -- a primary that does not answer ---------------------------------------------------------------------------

    def _primary_silent(self):
        """Unreachable is not dead: only noted, unless fencing may prove it."""
        record = self.record
        why_not = self._why_no_failover()
        primary = record["primary"]
        if why_not:
            self.note(ERROR, "its primary %s does not answer; not failed over: %s" % (primary, why_not))
            return
        self.act(FAILOVER, "its primary %s did not answer, %d. run in a row, and has a fence device" % (
            primary, self.counted[primary]["unreachable"]))

    def _why_no_failover(self):
        record, settings = self.record, self.settings
        primary, secondary = record["primary"], record["secondary"]
        if not settings["failover"]:
            return "gantry_watch_failover is false; when it is proven dead, run instance_failover"
        if record["disk_template"] != "drbd" or not secondary:
            return "its disk template is %s" % record["disk_template"]
        if primary not in self.seen["fenced"]:
            return "%s has no fence device (gantry_fence)" % primary
        runs = self.counted.get(primary, {}).get("unreachable", 0)
        if runs < settings["unreachable_runs"]:
            return "that is the %d. run of %d" % (runs, settings["unreachable_runs"])
        asked = [name for name, node in self.seen["nodes"].items() if not node.get("offline")]
        silent = [name for name in asked if self.counted[name]["unreachable"]]
        if len(silent) * 2 > len(asked):
            return "%d of %d nodes do not answer, so the fault may be here and not there" % (len(silent), len(asked))
        if not self._usable(secondary, drained=False):
            return "its secondary %s cannot take it (%s)" % (secondary, self._state_words(secondary))
        there = self.picture["nodes"][secondary]
        for disk in self.picture["disks"]:
            if (there["resources"].get(disk["name"]) or {}).get("connection") == "Connected":
                return "the DRBD connection of disk %d to it is up, so it lives" % disk["index"]
            if secondary not in disk["good"]:
                return "the copy of disk %d on %s is not up to date (%s)" % (disk["index"], secondary, disk["detail"])
        return None

    def _state_words(self, name):
        node, view = self.seen["nodes"].get(name, {}), self.picture["nodes"][name]
        if node.get("drained"):
            return "drained"
        return "its libvirtd does not answer" if view["reachable"] else "it does not answer"


def _verb(do):
    return "instance_failover" if do == FAILOVER else "instance_start"


def _times(count):
    return "once" if count == 1 else "%d times" % count


def _clock(seconds):
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def rows(decided, outcomes, predicted=False):
    """What was seen and what was done, as plain data: nodes first, then instances.

    :param decided: the answer of :func:`decide`.
    :param outcomes: by instance name what became of its action, ``{"ok": bool, "reason": text}``; missing or
        empty: it was not carried out.
    :param predicted: check mode: nothing was done.
    """
    found = [{"kind": "node", "name": note["name"], "did": NOTE, "outcome": None, "severity": note["severity"], "why": note["why"]}
             for note in decided["nodes"]]
    for action in decided["actions"]:
        row = {"kind": "instance", "name": action["name"], "did": action["do"], "outcome": None,
               "severity": action["severity"], "why": action["why"]}
        if action["do"] != NOTE:
            outcome = outcomes.get(action["name"]) or {}
            row["outcome"] = "failed" if not outcome.get("ok") else "predicted" if predicted else "done"
            if not outcome.get("ok"):
                row["severity"] = ERROR
                row["why"] += "; failed: %s" % (outcome.get("reason") or "it was not carried out")
        found.append(row)
    return found


def table(found):
    """The rows as a table."""
    if not found:
        return "All is as it should be."
    lines = [[row["kind"], row["name"], row["severity"], row["did"] + (": " + row["outcome"] if row["outcome"] else ""), row["why"]]
             for row in found]
    return report.table(["KIND", "NAME", "SEVERITY", "ACTION", "WHY"], lines)
