# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit after every step: what the nodes show, read with their own tools, held against the registry.

It uses nothing of the collection on the nodes (virsh, drbdsetup, lvs and ls over plain SSH), so a fault in the
collection's own observation cannot hide itself.
"""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass, field

#: Printed by every node in one SSH call; the sections are separated by lines of their own.
PROBE = r"""
echo '== domains'; names=$(virsh -q -c "${URI:-qemu:///system}" list --all --name | grep . | grep -vx Domain-0)
[ -z "$names" ] || virsh -q -c "${URI:-qemu:///system}" "$(for n in $names; do printf 'dominfo %s; ' "$n"; done)" | awk '
  $1 == "Name:" { n = $2 } $1 == "UUID:" { u = $2 } $1 == "State:" { s = $2; if (NF > 2) s = s "_" $3 }
  $1 == "Autostart:" { print n, u, s, $2 }'
echo '== drbd'; drbdsetup events2 --now --statistics all
echo '== show'; drbdsetup show 2>/dev/null
echo '== resources'; ls /etc/drbd.d | grep '\.res$' || true
echo '== volumes'; lvs --noheadings -o vg_name,lv_name,lv_tags --separator ' ' @gantry 2>/dev/null || true
echo '== records'; for f in /var/lib/gantry/instances/*.json; do [ -e "$f" ] && { cat "$f" | tr -d '\n'; echo; }; done; true
"""


@dataclass
class NodeState:
    """What one node shows."""

    domains: dict = field(default_factory=dict)
    drbd: dict = field(default_factory=dict)
    windows: set = field(default_factory=set)
    resources: set = field(default_factory=set)
    volumes: dict = field(default_factory=dict)
    records: dict = field(default_factory=dict)


def parse(text):
    """A node's answer to :data:`PROBE`."""
    state = NodeState()
    section, shown = "", ""
    for line in text.splitlines():
        if line.startswith("== "):
            section = line[3:]
            continue
        if section == "domains" and line.strip():
            name, uuid, domain_state, autostart = line.split()
            state.domains[name] = {"uuid": uuid, "state": domain_state, "autostart": autostart}
        elif section == "drbd" and line.startswith("exists "):
            _drbd_line(state.drbd, line)
        elif section == "show":
            match = re.match(r"resource (\S+) \{", line.replace('"', ""))
            shown = match.group(1) if match else shown
            if re.search(r"allow-two-primaries\s+yes", line) or re.fullmatch(r"\s*allow-two-primaries;", line):
                state.windows.add(shown)
        elif section == "resources" and line.strip() and line.strip() != "global_common.conf":
            state.resources.add(line.strip()[:-len(".res")])
        elif section == "volumes" and line.strip():
            group, name, tags = (line.split() + [""])[:3]
            state.volumes[name] = {"vg": group, "tags": tags.split(",")}
        elif section == "records" and line.strip():
            record = json.loads(line)
            if record["record"]:
                state.records[record["record"]["name"]] = record
    return state


def _drbd_line(drbd, line):
    kind = line.split()[1]
    values = dict(part.split(":", 1) for part in line.split()[2:] if ":" in part)
    name = values.get("name")
    if not name:
        return
    entry = drbd.setdefault(name, {})
    if kind == "resource":
        entry["role"] = values.get("role")
    elif kind == "device":
        entry["disk"], entry["minor"] = values.get("disk"), values.get("minor")
    elif kind == "connection":
        entry["connection"], entry["peer_role"] = values.get("connection"), values.get("role")
    elif kind == "peer-device":
        entry["peer_disk"] = values.get("peer-disk")


def read_registry(path):
    """Instances, locks, leases and allocations, straight from the file."""
    connection = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    try:
        tables = {row[0] for row in connection.execute("select name from sqlite_master where type='table'")}
        keys = next(name for name in tables if {"key", "value"} <= {r[1] for r in connection.execute("pragma table_info(%s)" % name)})
        content = {key: json.loads(value) for key, value in connection.execute("select key, value from %s" % keys)}
        leases = connection.execute("select count(*) from leases").fetchone()[0] if "leases" in tables else 0
    finally:
        connection.close()
    return content, leases


def audit(nodes, content, leases=0, down=(), degraded=()):
    """All violations, as sentences.

    :param nodes: :class:`NodeState` by node name, of the nodes that are up.
    :param content: the registry's keys.
    :param down: nodes that are switched off on purpose.
    :param degraded: instances whose disks may lack their second copy (its node is or was down).
    """
    found = []
    instances = {key.split("/", 1)[1]: value for key, value in content.items() if key.startswith("instances/")}
    found += ["lock left: %s" % key for key in content if key.startswith("locks/")]
    if leases:
        found.append("%d leases left" % leases)
    for name, record in sorted(instances.items()):
        if record["status"] != "ready" or record.get("pending"):
            found.append("%s: status %s, pending %s" % (name, record["status"], record.get("pending")))
        found += _instance(name, record, nodes, down, name in degraded)
    found += _strays(nodes, instances)
    found += _numbers(content, instances)
    return found


def _instance(name, record, nodes, down, degraded):
    found = []
    running = [node for node, state in nodes.items() if state.domains.get(name, {}).get("state") not in (None, "shut_off")]
    wanted = [record["primary"]] if record["admin_state"] == "up" else []
    if running != wanted:
        found.append("%s: runs on %s, should on %s" % (name, running, wanted))
    defined = [node for node, state in nodes.items() if name in state.domains]
    if defined != [record["primary"]] and not (degraded and record["primary"] in defined):
        found.append("%s: defined on %s, should on %s" % (name, defined, record["primary"]))
    for node, state in nodes.items():
        domain = state.domains.get(name)
        if domain and domain["uuid"] != record["uuid"]:
            found.append("%s: domain on %s has UUID %s" % (name, node, domain["uuid"]))
        if domain and domain["autostart"] != "disable":
            found.append("%s: autostart is on at %s" % (name, node))
    for disk in record["disks"]:
        if disk["template"] == "drbd":
            found += _mirror(name, record, disk, nodes, down, degraded)
    for node in (record["primary"], record["secondary"]):
        if node in nodes and not (degraded and node != record["primary"]):
            memory = nodes[node].records.get(name)
            if memory is None:
                found.append("%s: no record on %s" % (name, node))
            elif memory["generation"] > record["generation"] or memory["record"]["uuid"] != record["uuid"]:
                found.append("%s: record on %s is of generation %s" % (name, node, memory["generation"]))
    return found


def _mirror(name, record, disk, nodes, down, degraded):
    found = []
    resource = disk["name"]
    primaries = [node for node, state in nodes.items() if state.drbd.get(resource, {}).get("role") == "Primary"]
    wanted = [record["primary"]] if record["admin_state"] == "up" else []
    if primaries != wanted:
        found.append("%s: %s is primary on %s, should on %s" % (name, resource, primaries, wanted))
    for node in disk["nodes"]:
        if node not in nodes:
            if node not in down:
                found.append("%s: node %s is not up" % (name, node))
            continue
        state = nodes[node]
        if resource in state.windows:
            found.append("%s: dual-primary is open on %s" % (name, node))
        side = state.drbd.get(resource, {})
        if degraded and node != record["primary"]:
            continue
        if side.get("disk") != "UpToDate":
            found.append("%s: the copy of %s on %s is %s" % (name, resource, node, side.get("disk")))
        if not degraded and (side.get("connection") != "Connected" or side.get("peer_disk") != "UpToDate"):
            found.append("%s: %s on %s is %s to a peer %s" % (name, resource, node, side.get("connection"), side.get("peer_disk")))
        for volume in (resource, resource + "-meta"):
            tags = state.volumes.get(volume, {}).get("tags", [])
            if "gantry.instance=" + record["uuid"] not in tags:
                found.append("%s: volume %s on %s has tags %s" % (name, volume, node, tags))
            if "gantry.new" in tags:
                found.append("%s: volume %s on %s is still marked new" % (name, volume, node))
    return found


def _strays(nodes, instances):
    found = []
    for node, state in nodes.items():
        volumes, resources = set(), set()
        for record in instances.values():
            for disk in record["disks"]:
                if node in disk["nodes"]:
                    volumes.add(disk["name"])
                    if disk["template"] == "drbd":
                        volumes.add(disk["name"] + "-meta")
                        resources.add(disk["name"])
        found += ["stray domain %s on %s" % (name, node) for name in state.domains if name not in instances]
        found += ["stray volume %s on %s" % (name, node) for name in sorted(set(state.volumes) - volumes)]
        found += ["stray resource file %s on %s" % (name, node) for name in sorted(state.resources - resources)]
        found += ["stray DRBD resource %s on %s" % (name, node) for name in sorted(set(state.drbd) - resources)]
        found += ["stray record of %s on %s" % (name, node) for name in sorted(set(state.records) - set(instances))]
    return found


def _numbers(content, instances):
    table = content.get("allocations", {})
    owners = {owner.split("/")[0] for kind in table.values() for owner in kind.values()}
    known = {record["uuid"] for record in instances.values()}
    found = ["numbers held by the unknown instance %s" % owner for owner in sorted(owners - known)]
    found += ["secrets of an unknown instance: %s" % key for key in content
              if key.startswith("secrets/") and key.split("/")[1] not in known]
    return found
