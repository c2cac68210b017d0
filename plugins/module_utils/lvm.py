# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LVM on one node: what is there, and the few changes a disk needs.

A volume of ours carries the tags ``gantry`` and ``gantry.instance=UUID``; without the latter nothing here
touches a volume. ``gantry.new`` says that the volume has never held an instance's data.
"""

from __future__ import annotations

import json

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

MIB = 1024 * 1024

TAG = "gantry"
TAG_NEW = "gantry.new"


def tag_of(uuid):
    """The tag that makes a volume ours."""
    return "gantry.instance=" + uuid


def _report(executor, command, kind, columns):
    """Rows of one LVM report as dicts of text."""
    argv = [command, "--reportformat", "json", "--units", "b", "--nosuffix", "-o", ",".join(columns)]
    out = executor.read(argv).out
    try:
        rows = [row for part in json.loads(out)["report"] for row in part[kind]]
        return [{column: str(row[column]) for column in columns} for row in rows]
    except (ValueError, KeyError, TypeError) as broken:
        raise GantryError(
            "The output of '%s' cannot be understood" % " ".join(argv),
            found="%s in %s" % (broken, out.strip()[:200] or "empty output"), expected="LVM's JSON report",
            mend="run the command on the node by hand", code="unreadable_lvm",
        ) from broken


def _bytes(row, column):
    try:
        return int(row[column])
    except ValueError as broken:
        raise GantryError(
            "LVM printed a size that is not a number", found="%s=%s" % (column, row[column]),
            mend="run vgs and lvs on the node by hand", code="unreadable_lvm",
        ) from broken


def volume_groups(executor):
    """``{vg: {"size_mib": int, "free_mib": int, "extent_mib": int or float}}`` of this node."""
    groups = {}
    for row in _report(executor, "vgs", "vg", ("vg_name", "vg_size", "vg_free", "vg_extent_size")):
        extent = _bytes(row, "vg_extent_size")
        groups[row["vg_name"]] = {
            "size_mib": _bytes(row, "vg_size") // MIB,
            "free_mib": _bytes(row, "vg_free") // MIB,
            "extent_mib": extent // MIB if extent % MIB == 0 else extent / MIB,
        }
    return groups


def volumes(executor):
    """Every logical volume: ``[{"vg", "name", "size_mib", "tags": [], "active": bool, "open": bool}]``."""
    found = []
    columns = ("vg_name", "lv_name", "lv_size", "lv_tags", "lv_active", "lv_device_open")
    for row in _report(executor, "lvs", "lv", columns):
        size = _bytes(row, "lv_size")
        found.append({
            "vg": row["vg_name"], "name": row["lv_name"],
            "size_mib": size // MIB if size % MIB == 0 else size / MIB,
            "tags": sorted(tag for tag in row["lv_tags"].split(",") if tag),
            "active": row["lv_active"] == "active",
            "open": row["lv_device_open"] == "open",
        })
    return found


def our_volumes(executor):
    """The volumes that carry our tag, in the same form."""
    return [volume for volume in volumes(executor) if TAG in volume["tags"]]
