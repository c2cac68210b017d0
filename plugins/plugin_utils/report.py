# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports people read: instances and nodes as tables, and the same as plain data for machines. Pure."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams
from ansible_collections.gantry.cluster.plugins.plugin_utils.units import show_mib
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.view import view


def table(headers, rows):
    """Columns of equal width, as text without trailing spaces."""
    cells = [[str(cell) for cell in row] for row in [headers] + rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths)] + lines[1:])


def sync_progress(disks):
    """How far the synchronisation of disks is, in words.

    :param disks: as the module instance_disks returns them.
    """
    return ", ".join(
        "disk %d %s %.1f %%, %d MiB to go" % (
            disk["index"], disk["replication"] or disk["connection"], disk["sync_percent"] or 0.0, (disk["out_of_sync_kib"] or 0) // 1024)
        for disk in disks if disk["sync_percent"] != 100.0) or "in sync"


def instance_status(record, picture):
    """One word, Ganeti's: running, ADMIN_down, ERROR_down, ERROR_up, ERROR_wrongnode, ERROR_nodedown, ERROR_twice."""
    if record["status"] != "ready":
        return record["status"]
    if len(picture["alive"]) > 1:
        return "ERROR_twice"
    if picture["owner"]:
        if picture["owner"] != record["primary"]:
            return "ERROR_wrongnode"
        if record["admin_state"] != "up":
            return "ERROR_up"
        state = picture["nodes"][picture["owner"]]["state"]
        return "running" if state == "running" else "ERROR_" + state
    if record["primary"] in picture["unknown"]:
        return "ERROR_nodedown"
    return "ADMIN_down" if record["admin_state"] == "down" else "ERROR_down"


def _disk_words(picture):
    words = []
    for disk in picture["disks"]:
        percent = disk["sync_percent"]
        words.append(disk["verdict"] + (" %.0f%%" % percent if disk["verdict"] == "SYNCING" and percent is not None else ""))
    return ", ".join(words) or "none"


def _hypervisor(record, settings):
    """The hypervisor, its parameters with their origin, and why the guest cannot move live."""
    whole = dict({"hypervisor": "kvm"}, **record)
    if whole["hypervisor"] not in hypervisors.BACKENDS:
        return {"hypervisor": whole["hypervisor"], "hvparams": {}, "bound_to_node": []}
    values = hvparams.resolve(whole, settings)
    backend = hypervisors.backend(whole["hypervisor"])
    return {"hypervisor": backend.name, "hvparams": values,
            "bound_to_node": backend.bound_to_node({key: one["value"] for key, one in values.items()})}


def instances(records, observations, locks, names=None, settings=None, waiting=None):
    """What is the case with each instance: a list of plain dicts, by name.

    :param names: only these; None means all. Names without a record are listed as ``declared``.
    :param settings: the cluster's settings, which hypervisor parameters are inherited from.
    :param waiting: by UUID what waits for the next start of a guest, as sentences.
    """
    seen = {observation["node"]: observation for observation in observations}
    found = []
    for name in sorted(names if names is not None else records):
        record = records.get(name)
        if record is None:
            found.append({"name": name, "status": "declared"})
            continue
        nodes = [node for node in (record["primary"], record["secondary"]) if node]
        unseen = {"reachable": False, "error": "was not asked", "node_info": None}
        picture = view(record, [seen.get(node, dict(unseen, node=node)) for node in nodes])
        found.append({
            "name": name, "status": instance_status(record, picture), "primary": record["primary"],
            "secondary": record["secondary"], "runs_on": picture["owner"], "memory_mib": record["memory_mib"],
            "vcpus": record["vcpus"], "disk_template": record["disk_template"],
            "disk_mib": sum(disk["size_mib"] for disk in record["disks"]),
            "disks": [{key: disk[key] for key in ("index", "name", "verdict", "detail", "sync_percent")} for disk in picture["disks"]],
            "redundancy": picture["worst"], "windows_open": picture["windows"], "generation": record["generation"],
            **_hypervisor(record, settings or {}),
            "machine": record["machine"], "nics": record["nics"], "tags": record["tags"], "uuid": record["uuid"],
            "pending_changes": (waiting or {}).get(record["uuid"], []),
            "interrupted": (record.get("pending") or {}).get("verb"), "locked_by": (locks.get(name) or {}).get("verb"),
            "_words": _disk_words(picture),
        })
    return found


def defined_otherwise(records, observations, names, digest):
    """Guests that were started with another definition than they are described by now: ``{node: [their records]}``.

    :param digest: a function that gives the digest of the definition by which a record describes its guest.
    """
    found = {}
    for observation in observations:
        domains = (observation.get("node_info") or {}).get("domains") or []
        active = {domain["uuid"]: domain for domain in domains if domain["state"] != "shutoff"}
        for name in sorted(names if names is not None else records):
            record = records.get(name)
            domain = active.get(record["uuid"]) if record and record["status"] == "ready" else None
            if domain and domain.get("digest") != digest(record):
                found.setdefault(observation["node"], []).append(record)
    return found


def instance_table(rows):
    """The instances as a table."""
    lines = []
    for row in rows:
        if row["status"] == "declared":
            lines.append([row["name"], "declared", "", "", "", "", "", "not created yet"])
            continue
        notes = []
        if row["interrupted"]:
            notes.append("%s %s" % (row["interrupted"], "runs" if row["locked_by"] else "interrupted"))
        if row["windows_open"]:
            notes.append("dual-primary open on " + ", ".join(row["windows_open"]))
        if row["pending_changes"]:
            count = len(row["pending_changes"])
            notes.append("%d %s for the next start" % (count, "setting waits" if count == 1 else "settings wait"))
        lines.append([
            row["name"], row["status"], row["primary"], row["secondary"] or "-", show_mib(row["memory_mib"]),
            "%s %s" % (row["disk_template"], show_mib(row["disk_mib"]) if row["disk_mib"] else ""), row["_words"], "; ".join(notes)])
    return table(["INSTANCE", "STATUS", "PRIMARY", "SECONDARY", "MEMORY", "DISK", "REDUNDANCY", "NOTE"], lines)


def change_table(rows):
    """What changes on instances as a table, see :func:`instance_change.rows`."""
    return table(["INSTANCE", "SETTING", "NOW", "WANTED"], rows)


def nodes(node_records, observations, records):
    """What is the case with each node: a list of plain dicts, by name."""
    seen = {observation["node"]: observation for observation in observations}
    found = []
    for name, node in sorted(node_records.items()):
        observation = seen.get(name) or {}
        info = observation.get("node_info") or {}
        libvirt, drbd = info.get("libvirt") or {}, info.get("drbd") or {}
        group = (info.get("volume_groups") or {}).get(node["vg"]) or {}
        found.append({
            "name": name, "address": node["address"], "group": node["group"],
            "state": _node_state(node, observation, libvirt),
            "memory_total_mib": info.get("memory_total_mib"), "memory_free_mib": info.get("memory_free_mib"),
            "disk_total_mib": group.get("size_mib"), "disk_free_mib": group.get("free_mib"), "cpus": info.get("cpus"),
            "primaries": sorted(record["name"] for record in records.values() if record["primary"] == name),
            "secondaries": sorted(record["name"] for record in records.values() if record["secondary"] == name),
            "libvirt": libvirt.get("version"), "qemu": libvirt.get("qemu_version"), "drbd": drbd.get("kernel_version"),
            "error": observation.get("error") or libvirt.get("error"),
        })
    return found


def _node_state(node, observation, libvirt):
    if node.get("offline"):
        return "offline"
    if not observation.get("reachable"):
        return "unreachable"
    if not libvirt.get("ok"):
        return "no libvirtd"
    return "drained" if node.get("drained") else "ok"


def node_table(rows):
    """The nodes as a table."""
    def of(free, total):
        return "-" if total is None else "%s of %s" % (show_mib(free), show_mib(total))
    return table(
        ["NODE", "STATE", "ADDRESS", "MEMORY FREE", "DISK FREE", "PRIMARIES", "SECONDARIES", "LIBVIRT", "QEMU", "DRBD"],
        [[row["name"], row["state"], row["address"], of(row["memory_free_mib"], row["memory_total_mib"]),
          of(row["disk_free_mib"], row["disk_total_mib"]), len(row["primaries"]), len(row["secondaries"]),
          row["libvirt"] or "-", row["qemu"] or "-", row["drbd"] or "-"] for row in rows])


def node_plan_table(plan):
    """The plan of a verb on a node as a table."""
    return table(["INSTANCE", "PLAN", "LEFT BECAUSE"], [
        [entry["name"], entry["why"], entry["left"] or ""] for entry in plan["instances"]])


def node_outcome(plan, ends):
    """What became of a plan: a list of ``{"name", "outcome": done | unchanged | left | lost, "detail"}``.

    :param ends: by instance ``done`` (all its steps were taken) and ``failure`` (the reason of the step that failed).
    """
    rows = []
    for entry in plan["instances"]:
        end = ends.get(entry["name"]) or {}
        if end.get("failure"):
            outcome, detail = "left", end["failure"]
        elif entry["steps"] and not end.get("done"):
            outcome, detail = "left", "its steps were not taken"
        elif entry["left"]:
            # a part may have been done: a primary moved whose mirror has no place to go
            outcome, detail = "left", (entry["why"] + ", but " if entry["steps"] else "") + entry["left"]
        elif entry["lost"]:
            outcome, detail = "lost", entry["why"]
        else:
            outcome, detail = "done" if entry["steps"] else "unchanged", entry["why"]
        rows.append({"name": entry["name"], "outcome": outcome, "detail": " ".join(str(detail).split())})
    return rows


def outcome_table(rows):
    """What became of each instance as a table."""
    return table(["INSTANCE", "OUTCOME", "DETAIL"], [[row["name"], row["outcome"], row["detail"]] for row in rows])
