# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an instance: where it should run and does not, where it is and should not be, its records."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.view import OFF
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify import disks
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify.case import lives, waiting

#: Disk templates with a copy on each of two nodes.
MIRRORED = ("drbd",)


def check(case):
    """All checks of instances and their disks."""
    for name, record in case.instances.items():
        _layout(case, name, record)
        places = Places(case, record)
        if name in case.busy:
            case.add("INSTANCE_BUSY", name, case.busy[name], "nothing under way")
            migrating = bool(record["pending"]) and record["pending"]["verb"] == "migrate"
            if len(places.alive) > 1 and not migrating:
                _twice(case, name, places)
            disks.check_urgent(case, name, record)
            continue
        pending = record["pending"]
        if pending or record["status"] != "ready":
            words = "%s, operation %s, generation %s" % (pending["verb"], pending["operation"], pending["generation"]) if pending else (
                "status %s" % record["status"])
            case.add("INSTANCE_INTERRUPTED", name, words, "no unfinished operation")
        if record["status"] != "ready":
            # whatever else is missing is part of what was not finished
            disks.check_urgent(case, name, record)
            continue
        _nodes(case, name, record)
        _life(case, name, record, places)
        _definitions(case, name, record, places)
        _records(case, name, record)
        disks.check(case, name, record)


class Places:
    """Where a guest is: ``domains`` by node, ``alive`` and ``waiting`` node names."""

    def __init__(self, case, record):
        seen = {node: facts.domain(record["uuid"]) for node, facts in case.facts.items()}
        self.domains = {node: domain for node, domain in seen.items() if domain}
        self.alive = [node for node, domain in self.domains.items() if lives(domain, node)]
        self.waiting = [node for node, domain in self.domains.items() if waiting(domain, node)]


def _layout(case, name, record):
    """What the record says of its nodes, whatever these show."""
    for node in case.node_names(record):
        if node not in case.content["nodes"]:
            case.add("INSTANCE_BAD_NODE", name, node, "a node of the registry", node=node)
    wrong = []
    if record["disk_template"] in MIRRORED:
        if not record["secondary"]:
            wrong.append("no secondary")
        elif record["secondary"] == record["primary"]:
            wrong.append("both sides on %s" % record["primary"])
    elif record["secondary"]:
        wrong.append("a secondary, %s, for the disk template %s" % (record["secondary"], record["disk_template"]))
    for disk in record["disks"]:
        if set(disk["nodes"]) != set(case.node_names(record)):
            wrong.append("disk %d on %s" % (disk["index"], ", ".join(sorted(disk["nodes"])) or "no node"))
        for node, where in sorted(disk["nodes"].items()):
            entry = case.nodes.get(node)
            wrong += ["disk %d goes to %s %s of %s, which has %s" % (disk["index"], key, where[key], node, entry[key])
                      for key in ("hostname", "address") if entry and where[key] and where[key] != entry[key]]
    if wrong:
        case.add("INSTANCE_LAYOUT", name, "; ".join(wrong), "%s on %s" % (
            record["disk_template"], "two different nodes" if record["disk_template"] in MIRRORED else "one node"))
    groups = {case.nodes[node]["group"] for node in case.node_names(record) if node in case.nodes}
    if len(groups) > 1:
        case.add("INSTANCE_SPLIT_GROUPS", name, "groups %s" % ", ".join(sorted(map(str, groups))), "one group")
    if record["disks"] and record["disk_template"] not in MIRRORED:
        case.add("INSTANCE_NOT_REDUNDANT", name, "disk template %s" % record["disk_template"], "a mirror")


def _nodes(case, name, record):
    """Whether the nodes are fit for it."""
    primary = case.nodes.get(record["primary"])
    if primary and primary["offline"]:
        case.add("INSTANCE_OFFLINE_NODE", name, "primary %s is offline" % record["primary"], "a primary in use")
    elif primary and primary["drained"]:
        case.add("INSTANCE_DRAINED_NODE", name, "primary %s is drained" % record["primary"], "another primary")
    for node in case.node_names(record):
        entry, facts = case.nodes.get(node), case.facts.get(node)
        wrong = []
        if entry and entry["hypervisors"] and record["hypervisor"] and record["hypervisor"] not in entry["hypervisors"]:
            wrong.append("it does not run %s" % record["hypervisor"])
        if facts and facts.libvirt:
            libvirt = facts.info["libvirt"]
            for key, what in (("domain_type", "domain_types"), ("machine", "machine_list")):
                if record[key] and libvirt[what] and record[key] not in libvirt[what]:
                    wrong.append("its libvirt does not know the %s %s" % (key.replace("_", " "), record[key]))
        if wrong:
            case.add("INSTANCE_UNSUITABLE_NODE", name, "%s: %s" % (node, "; ".join(wrong)), "a node that can run it", node=node)


def _twice(case, name, places):
    case.add("INSTANCE_TWICE", name, ", ".join("%s: %s" % (node, places.domains[node]["state"]) for node in places.alive),
             "one node")


def _life(case, name, record, places):
    """Whether it runs where it should."""
    primary, up = record["primary"], record["admin_state"] == "up"
    for node in places.waiting:
        case.add("INSTANCE_WAITING", name, "paused on %s since it arrived there" % node, "no copy that waits", node=node)
    if len(places.alive) > 1:
        _twice(case, name, places)
        return
    if places.alive:
        _living(case, name, record, places.alive[0], places.domains[places.alive[0]])
        return
    facts = case.facts.get(primary)
    if facts is None or case.nodes[primary]["offline"]:
        return
    if not facts.libvirt:
        if up:
            case.add("INSTANCE_NODE_DOWN", name, "%s: %s" % (primary, _why_unknown(facts)), "running on %s" % primary, node=primary)
    elif up and not places.waiting:
        case.add("INSTANCE_DOWN", name, "on %s: %s" % (primary, _state(places.domains.get(primary))), "running on %s" % primary)
    elif not up and primary not in places.domains:
        case.add("INSTANCE_NOT_DEFINED", name, "no definition on %s" % primary, "defined and off", node=primary)


def _state(domain):
    return "%s (%s)" % (domain["state"], domain["reason"]) if domain else "not defined"


def _why_unknown(facts):
    if not facts.reachable:
        return "unreachable"
    return "libvirt did not tell" if facts.info else "its state cannot be read"


def _living(case, name, record, node, domain):
    if node != record["primary"]:
        case.add("INSTANCE_WRONG_NODE", name, "on %s" % node, "on %s" % record["primary"], node=node)
    if record["admin_state"] != "up":
        case.add("INSTANCE_UP", name, "%s on %s" % (domain["state"], node), "stopped", node=node)
    elif domain["state"] != "running":
        case.add("INSTANCE_STATE", name, "%s on %s" % (_state(domain), node), "running", node=node)
    if domain["persistent"] is False:
        case.add("INSTANCE_TRANSIENT", name, "no stored definition on %s" % node, "a persistent domain", node=node)
    differing = ["%s %d%s instead of %d%s" % (what, domain[key], unit, record[wanted], unit) for what, key, wanted, unit in (
        ("memory", "memory_max_mib", "memory_mib", " MiB"), ("processors", "vcpus_max", "vcpus", ""))
        if domain[key] is not None and domain[key] != record[wanted]]
    if differing:
        case.add("INSTANCE_SETTINGS", name, "; ".join(differing), "as in the record", node=node)


def _definitions(case, name, record, places):
    """Definitions that would start the guest where it does not belong, or by themselves."""
    for node, domain in places.domains.items():
        if domain["state"] == OFF and node != record["primary"]:
            case.add("INSTANCE_STALE_DEFINITION", name, "defined on %s" % node, "defined on %s only" % record["primary"], node=node)
        if domain["autostart"]:
            case.add("INSTANCE_AUTOSTART", name, "autostart is on, on %s" % node, "off", node=node)
        if domain["managed_save"]:
            case.add("INSTANCE_MANAGED_SAVE", name, "a saved image on %s" % node, "none", node=node)


def _records(case, name, record):
    """The nodes' memory of it, and the mark on its domains."""
    for node, facts in case.facts.items():
        if not facts.told("records"):
            continue
        memory = facts.info["records"].get(record["uuid"])
        domain = facts.domain(record["uuid"])
        seen = [source["generation"] for source in (memory, domain) if source and source["generation"] is not None]
        if memory is None and node in case.node_names(record):
            case.add("INSTANCE_RECORD_MISSING", name, "no record on %s" % node, "a record on each of its nodes", node=node)
        if seen and max(seen) > record["generation"]:
            case.add("INSTANCE_RECORD_NEWER", name, "generation %d on %s" % (max(seen), node), "at most %d" % record["generation"],
                     node=node)
