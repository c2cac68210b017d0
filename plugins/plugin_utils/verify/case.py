# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as the checks see it: the registry's content beside the nodes' observations, and the list of findings."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.view import OFF
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify import plain
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify.codes import CODES


class Facts:
    """What is known of one node.

    ``info`` is None when it told nothing. ``libvirt``, ``drbd`` and ``lvm`` say whether that part can be relied on: an
    empty list of domains of a libvirt that did not answer says nothing.
    """

    def __init__(self, observation=None):
        observation = observation or {}
        self.asked = bool(observation)
        self.reachable = bool(observation.get("reachable"))
        self.error = observation.get("error") or observation.get("msg")
        self.times = (observation.get("asked"), observation.get("answered"))
        self.broken = []
        raw = observation.get("node_info") if self.reachable else None
        told = isinstance(raw, dict) and bool(raw)
        self.info = plain.clean(raw, plain.INFO, "node_info", self.broken) if told else None
        self.libvirt = self.told("domains") and self._answered("libvirt")
        self.drbd = self.told("drbd_resources") and self._answered("drbd")
        self.lvm = self.told("volumes", "volume_groups") and self._answered("lvm")

    def _answered(self, part):
        return self.info is not None and self.info[part]["ok"] is True

    def told(self, *keys):
        """True when these parts of node_info are there, and nothing in them was left out."""
        return self.info is not None and not any(
            text.startswith("node_info.%s" % key) or text == "node_info lacks %s" % key for text in self.broken for key in keys)

    def domain(self, uuid):
        """The domain with that UUID, or None."""
        if not self.libvirt:
            return None
        return next((domain for domain in self.info["domains"] if domain["uuid"] == uuid), None)

    def resource(self, name):
        """The DRBD resource, None when it is not up or not known."""
        return self.info["drbd_resources"].get(name) if self.drbd else None


def waiting(domain, node):
    """True for a copy that a migration has brought to the node and that never ran there."""
    return domain["state"] == "paused" and domain["arriving"] == node


def lives(domain, node):
    """True when the guest exists there: a process that may hold its disks open."""
    return domain["state"] != OFF and not waiting(domain, node)


class Case:
    """One cluster to be looked at.

    ``nodes`` and ``instances`` hold the usable records by name, ``uuids`` every instance's name by UUID (also of those
    with a broken record), ``facts`` what is known of each registered node, ``busy`` why an instance is left alone,
    ``removed`` those that vanished while the nodes were asked, by UUID.
    """

    def __init__(self, content, observations, controller, before=None):
        self.findings = []
        self.broken = []
        self.content = plain.clean(content, plain.CONTENT, "the registry", self.broken)
        self.controller = plain.clean(controller, plain.CONTROLLER, "the controller", [])
        self.name = self.content["cluster"]["name"] or "cluster"
        self.nodes = self._records("nodes", plain.NODE)
        self.uuids = {}
        for name, record in self.content["instances"].items():
            if isinstance(record, dict) and isinstance(record.get("uuid"), str):
                self.uuids[record["uuid"]] = name
        self.instances = self._records("instances", plain.INSTANCE)
        self.removed = self._removed(before)
        seen = {}
        for observation in plain.clean(observations, [plain.OBSERVATION], "observations", []):
            seen[observation["node"]] = observation
        self.facts = {name: Facts(seen.get(name)) for name in sorted(self.nodes)}
        self.busy = self._busy(before)

    def _records(self, kind, spec):
        """The usable records of one kind; what is wrong with the others goes to ``broken``."""
        found = {}
        for name, raw in sorted(self.content[kind].items()):
            broken = []
            record = plain.clean(raw, spec, "%s/%s" % (kind, name), broken)
            if record["name"] not in (None, name):
                broken.append("%s/%s calls itself %s" % (kind, name, record["name"]))
            self.broken += broken
            if not broken:
                found[name] = record
        return found

    def _removed(self, before):
        """Instances that were removed while the nodes were asked, by UUID."""
        earlier = plain.clean(before, plain.CONTENT, "", [])["instances"] if before else {}
        return {record["uuid"]: name for name, record in earlier.items() if isinstance(record, dict)
                and isinstance(record.get("uuid"), str) and record["uuid"] not in self.uuids}

    def _busy(self, before):
        """Instances on which something is under way: a living lock, or a change while the nodes were asked."""
        found = {}
        earlier = plain.clean(before, plain.CONTENT, "", [])["instances"] if before else None
        for name, record in self.instances.items():
            lock = self.content["locks"].get(name)
            if lock and self.controller["holders"].get(name) != "dead":
                found[name] = "%s runs" % (lock["verb"] or "an operation")
                continue
            if earlier is None:
                continue
            old = earlier.get(name)
            if not isinstance(old, dict) or old.get("generation") != record["generation"] or bool(old.get("pending")) != bool(
                    record["pending"]):
                found[name] = "it changed while the nodes were asked"
        return found

    def add(self, code, name, found, expected, node=None, instance=None):
        """Report something.

        :param code: its name in :data:`codes.CODES`.
        :param name: the object's name.
        :param found: what was seen, text.
        :param expected: what should have been there, text.
        :param node: the node it is seen on, where that is not the object itself.
        :param instance: the instance a disk belongs to.
        """
        entry = CODES[code]
        mend = entry.mend.format(object=name, node=node or name, instance=instance or name)
        self.findings.append({
            "code": code, "severity": entry.severity, "object_type": entry.object_type, "object": name, "node": node,
            "found": str(found), "expected": str(expected), "mend": mend, "ignored": False,
        })

    def node_names(self, record):
        """Primary and secondary as far as the record names them, each once."""
        return list(dict.fromkeys(node for node in (record["primary"], record["secondary"]) if node))
