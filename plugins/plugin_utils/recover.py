# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lost registry from what the nodes hold: which instances can be restored, and which must wait for a person. Pure.

The record of the highest generation counts, and only where nothing that is seen contradicts it. What the nodes' records
lack is filled in from what is seen: whether the guest should run, whether its creation was complete, and whether a migration was
cut off. What contradicts is told, and the instance is left out; ``accept`` names the node whose record is to count then.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils import allocation
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views

#: Parts of a record that change with every verb, so that two nodes may differ in them.
MOVING = ("primary", "secondary", "admin_state", "status", "generation", "pending", "hvparams_effective")

#: What a record must have to be one.
NEEDED = {"name": str, "uuid": str, "primary": str, "disk_template": str, "disks": list, "nics": list}

RESTORED, LEFT_OUT, GONE, KNOWN = "restored", "left out", "gone", "known"

_SECRET_LOST = "its DRBD secret is lost: no resource file of disk %d on %s"


def merge(memories, existing, accept=None, new_secret=allocation.new_secret):
    """What can be restored.

    :param memories: by node, ``{"reachable", "error", "memory"}``; ``memory`` is what the module node_memory returned.
    :param existing: the registry as it is, ``{"instances": {name: record}, "allocations": table}``.
    :param accept: by instance name the node whose record counts though something contradicts.
    :param new_secret: makes a secret where none was ever given to DRBD.
    :returns: a list by name of ``{"name", "uuid", "result", "notes": [], "generations": {node: number}}``; with the result
        ``restored`` also ``record`` and ``secrets``. The result is ``left out`` (something contradicts), ``gone`` (nothing but the
        record is left of it) or ``known`` (the registry has it).
    """
    accept = accept or {}
    known = {record["uuid"]: record for record in existing["instances"].values()}
    found = []
    for uuid, kept in sorted(_by_uuid(memories).items()):
        case = _Case(uuid, kept, memories, accept)
        if uuid in known:
            found.append(_known(case, known[uuid]))
            continue
        case.judge(existing["instances"], new_secret)
        found.append(case.answer())
    _refuse_same_names(found)
    _refuse_same_numbers(found, existing.get("allocations") or allocation.empty())
    unused = sorted(set(accept) - {entry["name"] for entry in found})
    found += [{"name": name, "uuid": None, "result": LEFT_OUT, "generations": {},
               "notes": ["gantry_recover_accept names it, and no node holds a record of it"]} for name in unused]
    return sorted(found, key=lambda entry: (entry["name"], entry["uuid"] or ""))


def numbers(record):
    """What a record holds of the numbers that no two may share: ``[(kind, number as text, owner)]``."""
    uuid, held = record["uuid"], []
    for disk in record["disks"]:
        owner = "%s/%d" % (uuid, disk["index"])
        if disk.get("port") is not None:
            held.append(("ports", str(disk["port"]), owner))
        minors = {where.get("minor") for where in disk["nodes"].values()} - {None}
        held += [("minors", str(minor), owner) for minor in sorted(minors)]
    held += [("macs", nic["mac"], "%s/%d" % (uuid, nic["index"])) for nic in record["nics"] if nic.get("mac")]
    return held


def _by_uuid(memories):
    found = {}
    for node, answer in memories.items():
        for uuid, memory in ((answer.get("memory") or {}).get("records") or {}).items():
            found.setdefault(uuid, {})[node] = memory
    return found


def _known(case, record):
    notes = []
    newest = max(case.generations.values(), default=0)
    if newest > record["generation"]:
        notes.append("the registry has generation %d and a node %d: it is older than the nodes, as a restored backup is; it was left as "
                     "it is" % (record["generation"], newest))
    return {"name": record["name"], "uuid": record["uuid"], "result": KNOWN, "notes": notes, "generations": case.generations}


def _refuse_same_names(found):
    """Two instances of one name: which of them is meant is not for us to say."""
    for name in {entry["name"] for entry in found}:
        same = [entry for entry in found if entry["name"] == name and entry["result"] in (RESTORED, LEFT_OUT)]
        for entry in same if len(same) > 1 else ():
            _leave_out(entry, "its name is that of %s too" % " and ".join(
                "UUID %s" % other["uuid"] for other in same if other is not entry))


def _refuse_same_numbers(found, table):
    """Two disks with one port, or two NICs with one address, would meet."""
    owners = {(kind, number): {owner.split("/")[0]} for kind, held in table.items() for number, owner in held.items()}
    restored = [entry for entry in found if entry["result"] == RESTORED]
    for entry in restored:
        for kind, number, _owner in numbers(entry["record"]):
            owners.setdefault((kind, number), set()).add(entry["uuid"])
    names = {entry["uuid"]: entry["name"] for entry in found}
    for entry in restored:
        for kind, number, _owner in numbers(entry["record"]):
            others = owners[(kind, number)] - {entry["uuid"]}
            if others:
                _leave_out(entry, "%s %s is held by %s too" % (
                    {"ports": "DRBD port", "minors": "DRBD minor", "macs": "MAC address"}[kind], number,
                    ", ".join(names.get(other, "UUID %s" % other) for other in sorted(others))))


def _leave_out(entry, why):
    entry["result"] = LEFT_OUT
    entry["notes"] = entry["notes"] + [why]
    entry.pop("record", None)
    entry.pop("secrets", None)


class _Case:
    """One UUID and what the nodes hold of it."""

    def __init__(self, uuid, kept, memories, accept):
        self.uuid, self.kept, self.memories = uuid, kept, memories
        self.generations = {node: memory["generation"] for node, memory in sorted(kept.items()) if "generation" in memory}
        whole = {node: memory["record"] for node, memory in kept.items() if _is_record(memory.get("record"))}
        self.records = {node: record for node, record in whole.items() if record["uuid"] == uuid}
        self.foreign = sorted(set(whole) - set(self.records))
        newest = sorted(self.records, key=lambda node: (-self.generations[node], node))
        self.name = self.records[newest[0]]["name"] if newest else uuid
        self.accepted = accept.get(self.name)
        self.newest = newest
        self.record, self.secrets, self.picture = None, {}, None
        #: What only a person may decide on, what not even ``accept`` settles, and what is good to know.
        self.against, self.fatal, self.notes = [], [], []
        self.gone = False

    def answer(self):
        """The entry of :func:`merge`."""
        entry = {"name": self.name, "uuid": self.uuid, "generations": self.generations, "notes": self.notes}
        if self.gone:
            return dict(entry, result=GONE)
        if self.fatal or self.record is None or (self.against and not self.accepted):
            return dict(entry, result=LEFT_OUT, notes=self.fatal + self.against + self.notes)
        notes = ["accepted though: " + why for why in self.against] + self.notes
        return dict(entry, result=RESTORED, record=self.record, secrets=self.secrets, notes=notes)

    def judge(self, instances, new_secret):
        """Choose the record, hold it against what is seen, fill in what it lacks."""
        self._choose()
        if self.record is None:
            return
        self._see()
        if self._nothing_left():
            self.gone = True
            self.notes.append("only the record is left of it: no volume and no domain on %s; remove %s there once you are sure" % (
                ", ".join(self._asked()), "/var/lib/gantry/instances/%s.json" % self.uuid))
            return
        if self.name in instances:
            self.fatal.append("the registry has another instance of that name, UUID %s" % instances[self.name]["uuid"])
        self._check_nodes()
        self._check_guest()
        whole = self._check_volumes()
        secrets = self._find_secrets(new_secret)
        self._fill_in(whole and secrets)

    # -- which record --------------------------------------------------------------------------------------------

    def _choose(self):
        for node, memory in sorted(self.kept.items()):
            if "error" in memory:
                self.against.append("the record on %s cannot be read: %s" % (node, memory["error"]))
            elif node in self.foreign:
                self.against.append("the record on %s is of another UUID" % node)
            elif not _is_record(memory.get("record")):
                self.against.append("%s knows generation %d of it and holds no record" % (node, memory["generation"]))
        if self.accepted:
            if self.accepted not in self.records:
                self.fatal.append("gantry_recover_accept names %s, which holds no usable record of it" % self.accepted)
                return
            self.record = dict(self.records[self.accepted])
            return
        if not self.newest:
            self.fatal.append("no node holds a usable record of it")
            return
        highest = self.generations[self.newest[0]]
        # a generation without a usable record may be that of a move
        later = [node for node, number in self.generations.items() if number > highest and node not in self.foreign]
        if later:
            self.against.append("%s has seen a later operation (generation %d) than the records that can be read (%d)" % (
                ", ".join(later), max(self.generations.values()), highest))
        equals = [node for node in self.newest if self.generations[node] == highest]
        first = self.records[equals[0]]
        for node in equals[1:]:
            differing = _differing(first, self.records[node])
            if differing:
                self.against.append("%s and %s hold different records of generation %d: %s" % (
                    equals[0], node, highest, ", ".join(differing)))
        self.record = dict(first)
        # the two ends of a move write their records one after the other, with the same generation
        self.primaries = sorted({self.records[node]["primary"] for node in equals})

    primaries = ()

    # -- what is seen --------------------------------------------------------------------------------------------

    def _names(self):
        """The nodes that hold a part of it."""
        names = {self.record["primary"], self.record.get("secondary")} - {None}
        for disk in self.record["disks"]:
            names |= set(disk["nodes"])
        return sorted(names)

    def _asked(self):
        return [name for name in self._names() if self._memory(name) is not None]

    def _memory(self, node):
        answer = self.memories.get(node) or {}
        return answer.get("memory") if answer.get("reachable") else None

    def _see(self):
        observations = []
        for name in self._names():
            memory = self._memory(name)
            error = None if memory else (self.memories.get(name) or {}).get("error") or "it was not asked"
            observations.append({"node": name, "reachable": memory is not None, "error": error, "node_info": memory})
        self.picture = views.view(self.record, observations)

    def _volumes(self, name):
        """Our volumes of it on a node, by ``vg/name``; None when that cannot be known."""
        memory = self._memory(name)
        if memory is None or not (memory.get("lvm") or {}).get("ok"):
            return None
        wanted = {"%s/%s" % (disk["vg"], disk["name"] + tail) for disk in self.record["disks"] for tail in ("", "-meta")}
        found = {}
        for volume in memory.get("volumes") or []:
            path = "%s/%s" % (volume["vg"], volume["name"])
            if path in wanted or self._tag() in volume["tags"]:
                found[path] = volume["tags"]
        return found

    def _tag(self):
        return "gantry.instance=" + self.uuid

    def _nothing_left(self):
        """Whether all its nodes answer and show nothing of it but the record: it was removed, or its node was wiped."""
        for name in self._names():
            node = self.picture["nodes"][name]
            if not node["libvirt"] or node["state"] is not None:
                return False
            volumes = self._volumes(name) if self.record["disks"] else {}
            if volumes is None or any(self._tag() in tags for tags in volumes.values()):
                return False
        return not self._elsewhere()

    def _elsewhere(self):
        """Nodes beside its own that have a domain of it."""
        return sorted(
            node for node in self.memories if node not in self._names()
            and any(domain["uuid"] == self.uuid for domain in (self._memory(node) or {}).get("domains") or []))

    # -- does anything contradict ----------------------------------------------------------------------------------

    def _check_nodes(self):
        for name in self._names():
            node = self.picture["nodes"][name]
            if not node["reachable"]:
                self.against.append("%s, which may hold a newer record or run it, does not answer (%s)" % (name, node["error"]))
            elif not node["libvirt"]:
                self.against.append("whether it runs on %s cannot be known (%s)" % (name, node["error"]))
            if node["reachable"] and name not in self.kept:
                self.against.append("%s should hold a record of it and has none" % name)
        for node in sorted(set(self.kept) - set(self._names())):
            self.notes.append("%s holds an old record of it (generation %s)" % (node, self.generations.get(node, "unknown")))

    def _check_guest(self):
        picture, record = self.picture, self.record
        for node in self._elsewhere():
            self.fatal.append("%s has a domain of it, and is none of its nodes" % node)
        for node, answer in sorted(self.memories.items()):
            for domain in (answer.get("memory") or {}).get("domains") or []:
                if domain["name"] == self.name and domain["uuid"] != self.uuid:
                    self.fatal.append("%s has a domain of its name with another UUID, %s" % (node, domain["uuid"]))
        if len(picture["alive"]) > 1:
            self.fatal.append("it lives on %s; stop the copy that must not be, by hand, after a look at both" % " and ".join(
                picture["alive"]))
            return
        at = picture["owner"] or (picture["defined"][0] if len(picture["defined"]) == 1 else None)
        if at in self.primaries or (self.accepted and picture["owner"]):
            self._place(at)
        elif picture["owner"] and picture["owner"] != record["primary"]:
            self.against.append("it runs on %s, and the record of the highest generation says %s" % (picture["owner"], record["primary"]))
        elif len(self.primaries) > 1:
            self.against.append("its primary is %s, says one record or the other of generation %d, and it runs on neither" % (
                " or ".join(self.primaries), self.generations[self.newest[0]]))

    def _place(self, primary):
        """It belongs where it is seen."""
        others = [name for name in (self.record["primary"], self.record.get("secondary")) if name and name != primary]
        if primary != self.record["primary"]:
            self.notes.append("it is on %s, so that is its primary" % primary)
            self.record.update(primary=primary, secondary=others[0] if others else None)

    def _check_volumes(self):
        """Whether all volumes are there and whole; what is missing contradicts, unless its creation was under way."""
        whole = True
        for disk in self.record["disks"]:
            tails = ("", "-meta") if disk["template"] == "drbd" else ("",)
            for name in sorted(disk["nodes"]):
                volumes = self._volumes(name)
                if volumes is None:
                    whole = False
                    if self._memory(name) is not None:
                        self.against.append("the volumes on %s cannot be read" % name)
                    continue
                for path in ("%s/%s%s" % (disk["vg"], disk["name"], tail) for tail in tails):
                    tags = volumes.get(path)
                    if tags is None:
                        whole = False
                        if self.record.get("status") != "creating":
                            self.against.append("volume %s is not on %s" % (path, name))
                    elif self._tag() not in tags:
                        self.fatal.append("volume %s on %s is not marked as its own (%s)" % (path, name, ", ".join(tags)))
                    elif "gantry.new" in tags:
                        whole = False
        return whole

    def _find_secrets(self, new_secret):
        """The disks' secrets from the resource files; whether every mirrored disk had one."""
        whole = True
        for disk in self.record["disks"]:
            if disk["template"] != "drbd":
                continue
            files = self._files(disk)
            secrets = {}
            for node, entry in files.items():
                secrets.setdefault(entry["secret"], []).append(node)
            secrets.pop(None, None)
            if len(secrets) > 1:
                self.against.append("the DRBD secret of disk %d differs between %s" % (disk["index"], " and ".join(sorted(files))))
            if secrets:
                accepted = (files.get(self.accepted) or {}).get("secret")
                self.secrets[str(disk["index"])] = accepted or min(secrets, key=lambda secret: min(secrets[secret]))
                continue
            whole = False
            if any(self.picture["nodes"][name]["resources"].get(disk["name"]) for name in disk["nodes"]):
                self.fatal.append(_SECRET_LOST % (disk["index"], " or ".join(sorted(disk["nodes"])))
                                  + ", and the resource is up with it; take it down there first")
                continue
            self.secrets[str(disk["index"])] = new_secret()
            if self.record.get("status") != "creating":
                self.against.append(_SECRET_LOST % (disk["index"], " or ".join(sorted(disk["nodes"]))) + "; it would get a new one")
        return whole

    def _files(self, disk):
        """The resource files of a disk by node; one that is not ours, or has other numbers, contradicts."""
        found = {}
        for name in sorted(disk["nodes"]):
            memory = self._memory(name)
            entry = (memory or {}).get("resource_secrets", {}).get(disk["name"])
            if entry is None:
                continue
            if entry.get("error"):
                self.against.append("the resource file of disk %d on %s cannot be read: %s" % (disk["index"], name, entry["error"]))
                continue
            if entry["uuid"] != self.uuid:
                self.fatal.append("the resource file of disk %d on %s is not its own" % (disk["index"], name))
                continue
            found[name] = entry
            here = entry["hosts"].get(disk["nodes"][name].get("hostname"), {"ports": [], "minors": []})
            for kind, number in (("ports", disk.get("port")), ("minors", disk["nodes"][name].get("minor"))):
                if number not in here[kind]:
                    self.against.append("disk %d has the DRBD %s %s, and %s in its resource file on %s" % (
                        disk["index"], kind[:-1], number, ", ".join(str(one) for one in here[kind]) or "none", name))
        return found

    # -- what the record lacks -------------------------------------------------------------------------------------

    def _fill_in(self, whole):
        """Generation, state and intent: what operation_end writes and the nodes never see."""
        record, picture = self.record, self.picture
        record["generation"] = max(self.generations.values())
        record.pop("pending", None)
        defined = bool(picture["alive"] or picture["defined"])
        if record.get("status") == "creating" and not (whole and defined):
            self.notes.append("its creation was not complete: instance_add for it goes on, instance_remove takes it back")
            record["pending"] = self._intent("add")
            return
        record["status"] = "ready"
        runs = bool(picture["alive"] or picture["waiting"])
        if picture["unknown"] and not runs:
            self.notes.append("whether it should run is not known: it is taken to be %s, as the record says" % record["admin_state"])
        else:
            record["admin_state"] = "up" if runs else "down"
            self.notes.append("it runs, so it should be up" if runs else "it is off, so it should be down; instance_start starts it")
        if picture["windows"] or picture["waiting"]:
            self.notes.append("a migration was cut off: instance_migrate for it ends that")
            record["pending"] = self._intent("migrate")
        for disk in picture["disks"]:
            if disk["verdict"] == views.SPLIT_BRAIN:
                self.notes.append("disk %d has a SPLIT BRAIN (%s)" % (disk["index"], disk["detail"]))

    def _intent(self, verb):
        """The intent of an interrupted operation, of which nothing but the verb is known."""
        return {"operation": "recovered", "verb": verb, "generation": self.record["generation"], "params": {}}


def _is_record(record):
    return isinstance(record, dict) and all(isinstance(record.get(key), kind) for key, kind in NEEDED.items())


def _differing(one, other):
    return sorted(key for key in set(one) | set(other) if key not in MOVING and one.get(key) != other.get(key))
