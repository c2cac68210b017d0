# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LVM on one node: what is there, and the few changes a disk needs.

A volume of ours carries the tags ``gantry`` and ``gantry.instance=UUID``; without the latter nothing here
touches a volume. ``gantry.new`` says that the volume has never held an instance's data.
"""

from __future__ import annotations

import json
import re
import time

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


def _number(row, column):
    try:
        return int(row[column])
    except ValueError as broken:
        raise GantryError(
            "LVM printed something that is not a number", found="%s=%s" % (column, row[column]),
            mend="run vgs and lvs on the node by hand", code="unreadable_lvm",
        ) from broken


def volume_groups(executor):
    """``{vg: {"size_mib": int, "free_mib": int, "extent_mib": int or float, "missing_pvs": int}}`` of this node."""
    groups = {}
    columns = ("vg_name", "vg_size", "vg_free", "vg_extent_size", "vg_missing_pv_count")
    for row in _report(executor, "vgs", "vg", columns):
        extent = _number(row, "vg_extent_size")
        groups[row["vg_name"]] = {
            "size_mib": _number(row, "vg_size") // MIB,
            "free_mib": _number(row, "vg_free") // MIB,
            "extent_mib": extent // MIB if extent % MIB == 0 else extent / MIB,
            "missing_pvs": _number(row, "vg_missing_pv_count"),
        }
    return groups


def volumes(executor):
    """Every logical volume: ``[{"vg", "name", "size_mib", "tags": [], "active": bool, "open": bool}]``."""
    found = []
    columns = ("vg_name", "lv_name", "lv_size", "lv_tags", "lv_active", "lv_device_open")
    for row in _report(executor, "lvs", "lv", columns):
        size = _number(row, "lv_size")
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


#: What LVM accepts in names and what it keeps for itself; DRBD's resource names are a subset of these.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+_.-]{0,99}")
_RESERVED = re.compile(r"^(snapshot|pvmove)|_(mlog|mimage|rimage|rmeta|tdata|tmeta|cdata|cmeta|cvol|corig|vorigin"
                       r"|pmspare|vdata|imeta|iorig|wcorig)")
_TAG_NAME = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.\-/=!:&#]{0,127}")


def check_name(kind, name):
    """Refuse a name that LVM would refuse or that could be read as an option.

    :param kind: "volume group" or "volume", for the error.
    :raises GantryError: the name cannot be used.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or (kind == "volume" and _RESERVED.search(name)):
        raise GantryError(
            "The %s name %r cannot be used" % (kind, name),
            expected="letters, digits and +_.- , at most 100, the first a letter or digit, and no name LVM reserves",
            code="bad_name",
        )


def check_tag(tag):
    """Refuse a tag that LVM would refuse. :raises GantryError: the tag cannot be used."""
    if not isinstance(tag, str) or not _TAG_NAME.fullmatch(tag):
        raise GantryError(
            "The tag %r cannot be used" % (tag,), expected="letters, digits and _+.-/=!:&#", code="bad_tag")


def find(rows, vg, name):
    """The volume in a listing, or None."""
    return next((row for row in rows if row["vg"] == vg and row["name"] == name), None)


def rounded(size_mib, extent_mib):
    """A size in whole extents, in MiB."""
    return int(-(-size_mib // extent_mib) * extent_mib)


def is_ours(volume, uuid):
    """True when the volume belongs to the instance."""
    return tag_of(uuid) in volume["tags"]


def refuse_foreign(volume, uuid):
    """Refuse a volume that is not the instance's own. :raises GantryError: it is somebody else's."""
    if not is_ours(volume, uuid):
        raise GantryError(
            "Volume %s/%s does not belong to instance %s" % (volume["vg"], volume["name"], uuid),
            found="tags %s" % (", ".join(volume["tags"]) or "none"), expected="tag %s" % tag_of(uuid),
            mend="give the disk another name, or remove or rename that volume by hand after a look at it",
            code="foreign_volume",
        )


def require_space(groups, wanted):
    """Refuse when the volumes to come do not fit, before the first of them is made.

    :param groups: as :func:`volume_groups`.
    :param wanted: ``[{"vg", "name", "size_mib"}]``: each the size still missing, in MiB.
    :raises GantryError: a volume group is missing or too full.
    """
    needed = {}
    for want in wanted:
        if want["vg"] not in groups:
            raise GantryError(
                "Volume group %s is not on this node" % want["vg"],
                found=", ".join(sorted(groups)) or "no volume group", expected="volume group %s" % want["vg"],
                mend="create it with vgcreate, or set the node's volume group", code="no_volume_group",
            )
        extent = groups[want["vg"]]["extent_mib"]
        needed[want["vg"]] = needed.get(want["vg"], 0) + rounded(want["size_mib"], extent)
    for vg in sorted(needed):
        if needed[vg] > groups[vg]["free_mib"]:
            raise GantryError(
                "Volume group %s has too little space" % vg, found="%d MiB free" % groups[vg]["free_mib"],
                expected="%d MiB for %s" % (needed[vg], ", ".join(w["name"] for w in wanted if w["vg"] == vg)),
                mend="extend the volume group with vgextend, remove volumes, or choose another node",
                code="no_space",
            )


def create(executor, vg, name, size_mib, tags):
    """Make a volume with its tags in one step. Signatures of former users of the space are wiped."""
    argv = ["lvcreate", "--yes", "--wipesignatures", "y", "--zero", "y", "--size", "%dm" % size_mib, "--name", name]
    for tag in tags:
        argv += ["--addtag", tag]
    executor.change("create volume %s/%s (%d MiB)" % (vg, name, size_mib), argv + [vg])


def extend(executor, vg, name, size_mib):
    """Grow a volume to a size."""
    executor.change(
        "extend volume %s/%s to %d MiB" % (vg, name, size_mib),
        ["lvextend", "--yes", "--size", "%dm" % size_mib, "%s/%s" % (vg, name)],
    )


def rename(executor, vg, name, new_name):
    """Give a volume another name; its content and tags stay."""
    executor.change("rename volume %s/%s to %s" % (vg, name, new_name), ["lvrename", vg, name, new_name])


def activate(executor, vg, name):
    """Make a volume's device appear."""
    executor.change("activate volume %s/%s" % (vg, name), ["lvchange", "--activate", "y", "%s/%s" % (vg, name)])


def deactivate(executor, vg, name):
    """Make a volume's device disappear; fails when it is open."""
    executor.change("deactivate volume %s/%s" % (vg, name), ["lvchange", "--activate", "n", "%s/%s" % (vg, name)])


def change_tags(executor, vg, name, add=(), remove=()):
    """Add and remove tags of one volume in one step."""
    argv = ["lvchange"]
    for tag in add:
        argv += ["--addtag", tag]
    for tag in remove:
        argv += ["--deltag", tag]
    words = ["add tag " + tag for tag in add] + ["remove tag " + tag for tag in remove]
    executor.change("%s: volume %s/%s" % (", ".join(words), vg, name), argv + ["%s/%s" % (vg, name)])


def remove(executor, vg, name, patience=5.0, sleep=time.sleep):
    """Remove a volume. A short look of udev at the device is waited for.

    :param patience: seconds to wait for a volume that is in use.
    """
    executor.call("remove volume %s/%s" % (vg, name), _remove_now, executor, "%s/%s" % (vg, name), patience, sleep)


def _remove_now(executor, path, patience, sleep):
    end = time.monotonic() + patience
    argv = ["lvremove", "--yes", path]
    while True:
        answer = executor.read(argv, ok=None)
        if answer.rc == 0 or "Failed to find logical volume" in answer.err:
            return
        if "in use" not in answer.err and "is used by" not in answer.err:
            raise GantryError(
                "Volume %s could not be removed" % path, found=answer.err.strip() or "no message",
                mend="look at it with 'lvs %s'" % path, code="command_failed",
            )
        if time.monotonic() >= end:
            raise GantryError(
                "Volume %s could not be removed: it is in use" % path, found=answer.err.strip(),
                expected="nobody has it open",
                mend="end what holds it: 'lsblk /dev/%s', 'fuser -v /dev/%s'" % (path, path),
                code="held_open",
            )
        sleep(0.25)
