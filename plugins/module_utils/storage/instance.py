# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of what the modules instance_disks and drbd_resource do, from their options."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import generation
from ansible_collections.gantry.cluster.plugins.module_utils import image as images
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.storage import renewal, stack


def bring_disks(executor, params):
    """Bring the disks of an instance into a state, see the module instance_disks.

    :param params: the module's parameters.
    :returns: ``{"disks": [...], "synced": bool, "stuck": why waiting on is of no use, or None}``.
    """
    _refuse_contradictions(params)
    uuid, node, disks = params["uuid"], params["node"], params["disks"]
    stack.open_disks(executor, uuid, node, disks, params["secrets"])
    generation.refuse_older(uuid, params["generation"])
    pictures = _pictures(executor, params)
    state = params["state"]
    if state == "present" and not params["renew"]:
        stack.refuse_create(executor, uuid, node, disks, params["secrets"])
    elif state == "absent":
        stack.refuse_remove(executor, uuid, node, disks)
    _claim(executor, params)
    if state == "absent":
        stack.remove(executor, uuid, node, disks)
        generation.forget(executor, uuid, params["generation"])
    elif state == "inactive":
        stack.deactivate(executor, uuid, node, disks)
    elif params["renew"]:
        renewal.renew(executor, uuid, node, disks, params["secrets"], params["give_up"])
    else:
        _bring_up(executor, params, pictures)
    synced, stuck = stack.wait_sync(executor, uuid, node, disks, params["wait_sync"] if state in ("present", "active") else 0)
    if params["drop_aside"]:
        renewal.drop_aside(executor, uuid, node, disks)
    return {"disks": stack.status(executor, node, disks), "synced": synced, "stuck": stuck}


def _bring_up(executor, params, pictures):
    """Present or active, then window and role. What makes things safer comes before what may fail."""
    here = (executor, params["uuid"], params["node"], params["disks"])
    wait = params["wait_connect"]
    if params["state"] == "present":
        stack.ensure_present(*here, secrets=params["secrets"], primary=(params["record"] or {}).get("primary"))
    if params["role"] == "secondary":
        stack.demote(*here)
    if params["window"] == "closed":
        stack.close_window(*here)
    if params["state"] == "as_is":
        return
    stack.activate(*here, secrets=params["secrets"])
    if params["window"] == "open":
        stack.open_window(*here, wait_connect=wait)
    if params["initialize"]:
        stack.initialize(*here, wait_connect=wait, images=pictures)
    elif params["role"] == "primary":
        stack.promote(*here, peer_dead=params["peer_dead"], wait_connect=wait, dual=params["window"] == "open")


def _refuse_contradictions(params):
    up = params["state"] in ("present", "active")
    wrong = None
    if params["state"] == "as_is" and (params["role"] == "primary" or params["window"] == "open"):
        wrong = "state as_is with role primary or window open"
    elif not up and params["state"] != "as_is" and (params["role"] == "primary" or params["window"] or params["peer_dead"]):
        wrong = "state %s with role primary, window or peer_dead" % params["state"]
    elif params["initialize"] and (params["state"] != "present" or params["role"] != "primary"):
        wrong = "initialize without state present and role primary"
    elif params["initialize"] and (params["peer_dead"] or params["window"]):
        wrong = "initialize with peer_dead or window"
    elif params["images"] and not params["initialize"]:
        wrong = "images without initialize"
    elif params["renew"] and (params["state"] != "present" or params["role"] or params["window"]):
        wrong = "renew without state present, or with a role or a window"
    elif params["give_up"] and not params["renew"]:
        wrong = "give_up without renew"
    elif params["drop_aside"] and not up:
        wrong = "drop_aside with state %s" % params["state"]
    elif params["peer_dead"] and params["role"] != "primary":
        wrong = "peer_dead without role primary"
    elif params["peer_dead"] and params["window"] == "open":
        wrong = "peer_dead with window open"
    elif params["window"] == "open" and params["role"] == "secondary":
        wrong = "window open with role secondary"
    elif params["wait_connect"] < 0 or params["wait_sync"] < 0:
        wrong = "a negative number of seconds"
    if wrong:
        raise GantryError("The options contradict each other", found=wrong, code="bad_options")


def _pictures(executor, params):
    """The images looked at, by the disk's index. :raises GantryError: one cannot be used."""
    pictures = {}
    by_index = {str(disk["index"]): disk for disk in params["disks"]}
    for index, wanted in params["images"].items():
        disk = by_index.get(str(index))
        if disk is not None and isinstance(wanted, dict) and wanted.get("zeros"):
            pictures[disk["index"]] = {"zeros": True}
            continue
        if disk is None or not isinstance(wanted, dict) or not isinstance(wanted.get("path"), str):
            raise GantryError(
                "The image for disk %s cannot be used" % index, found=wanted,
                expected="the index of a disk, and a dictionary with the path of the image", code="bad_options")
        picture = images.inspect(executor, wanted["path"], wanted.get("format"))
        images.refuse_too_large(picture, disk)
        pictures[disk["index"]] = dict(picture, place=wanted.get("place") or "start")
    return pictures


def _claim(executor, params):
    generation.claim(executor, params["uuid"], params["generation"], record=params["record"])


def bring_resources(executor, params):
    """Bring DRBD resources on volumes that are there into a state, see the module drbd_resource.

    :param params: the module's parameters.
    :returns: ``{"disks": [...]}``.
    """
    up = params["state"] in ("present", "up")
    if (params["role"] or params["window"] or params["peer_dead"]) and params["state"] != "up":
        raise GantryError(
            "The options contradict each other", found="role, window or peer_dead with state %s" % params["state"],
            expected="state up", code="bad_options")
    uuid, node, disks = params["uuid"], params["node"], params["disks"]
    opened = stack.open_disks(executor, uuid, node, disks, params["secrets"])
    other = [disk["name"] for disk in disks if disk["template"] != "drbd"]
    if other:
        raise GantryError(
            "Not a DRBD resource: disk %s" % ", ".join(other), expected="disk template drbd", code="bad_disk")
    generation.refuse_older(uuid, params["generation"])
    for one in opened:
        if up:
            one.refuse_create()
        if params["state"] == "present" and one.missing():
            raise GantryError(
                "The volumes of DRBD resource %s are not all there" % one.name,
                found="no " + ", ".join("%s/%s" % (want["vg"], want["name"]) for want in one.missing()),
                expected="data and metadata volume", mend="create them with instance_disks, state present",
                code="missing_volume",
            )
        if params["state"] == "absent":
            one.refuse_remove()
    _claim(executor, params)
    if params["state"] == "up":
        _bring_up(executor, dict(params, state="active", initialize=False), {})
    for one in opened:
        # Another step may have been waited for.
        one.view.refresh()
        if params["state"] == "present":
            one.configure((params["record"] or {}).get("primary"))
        elif params["state"] == "down":
            one.deactivate()
        elif params["state"] == "absent":
            one.unconfigure()
    return {"disks": stack.status(executor, node, disks)}
