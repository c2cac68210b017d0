# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module volume does: a list of an instance's logical volumes, all looked at before one is changed."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import generation, lvm
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.storage import stack
from ansible_collections.gantry.cluster.plugins.module_utils.storage.base import View


def bring_volumes(executor, params):
    """Create and grow, or remove, volumes.

    :param params: the module's parameters.
    :returns: ``{"volumes": [...]}``, those that are there now.
    """
    uuid, vg, wanted = params["uuid"], params["vg"], params["volumes"]
    present = params["state"] == "present"
    _check(uuid, vg, wanted, present)
    view = View(executor)
    generation.refuse_older(uuid, params["generation"])
    _refuse(view, uuid, vg, wanted, present)
    generation.claim(executor, uuid, params["generation"])
    # Another step may have been waited for: look again.
    view.refresh()
    there = _refuse(view, uuid, vg, wanted, present)
    for want in wanted:
        if present:
            _bring_one(executor, uuid, vg, want, there[want["name"]])
        elif there[want["name"]] is not None:
            lvm.remove(executor, vg, want["name"])
    names = {want["name"] for want in wanted}
    return {"volumes": [row for row in view.volumes() if row["vg"] == vg and row["name"] in names]}


def _refuse(view, uuid, vg, wanted, present):
    """Look at all volumes. Returns those that are there (or None) by name."""
    there = {want["name"]: lvm.find(view.volumes(), vg, want["name"]) for want in wanted}
    for volume in there.values():
        if volume is not None:
            lvm.refuse_foreign(volume, uuid)
            if not present and volume["open"]:
                raise GantryError(
                    "Volume %s/%s cannot be removed: it is open" % (vg, volume["name"]), expected="nobody has it open",
                    mend="stop what uses it: 'lsblk /dev/%s/%s'" % (vg, volume["name"]), code="held_open",
                )
    if present:
        _require_space(view, vg, wanted, there)
    return there


def _check(uuid, vg, wanted, present):
    stack.check_uuid(uuid)
    lvm.check_name("volume group", vg)
    names = [want["name"] for want in wanted]
    if len(set(names)) != len(names):
        raise GantryError("A volume is named twice", found=", ".join(names), code="bad_options")
    for want in wanted:
        lvm.check_name("volume", want["name"])
        for tag in want["tags"]:
            lvm.check_tag(tag)
        if present and (want["size_mib"] is None or want["size_mib"] < 1):
            raise GantryError(
                "The size of volume %s cannot be used" % want["name"], found="%s MiB" % want["size_mib"],
                expected="at least 1 MiB", code="bad_options",
            )


def _require_space(view, vg, wanted, there):
    missing = []
    for want in wanted:
        have = there[want["name"]]["size_mib"] if there[want["name"]] else 0
        if want["size_mib"] > have:
            missing.append({"vg": vg, "name": want["name"], "size_mib": want["size_mib"] - have})
    if missing:
        lvm.require_space(view.groups(), missing)


def _bring_one(executor, uuid, vg, want, volume):
    tags = sorted(set([lvm.TAG, lvm.tag_of(uuid)] + want["tags"]))
    if volume is None:
        lvm.create(executor, vg, want["name"], want["size_mib"], tags)
        return
    if volume["size_mib"] < want["size_mib"]:
        lvm.extend(executor, vg, want["name"], want["size_mib"])
    missing = [tag for tag in tags if tag not in volume["tags"]]
    if missing:
        lvm.change_tags(executor, vg, want["name"], add=missing)
    if not volume["active"]:
        lvm.activate(executor, vg, want["name"])
