# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations over all disks of an instance on one node: what modules and the guest's life call.

Each looks at every disk before it changes the first one.
"""

from __future__ import annotations

import re
import time

from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.storage import backend
from ansible_collections.gantry.cluster.plugins.module_utils.storage.base import View

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: Seconds that a disk has to be lost, or a pair parted, before the wait for its synchronisation is given up: connecting takes a moment.
STUCK_SECONDS = 5


def open_disks(executor, uuid, node, disks, secrets=None):
    """The disks as backend objects that share one view of the node.

    :param disks: as the record has them.
    :param secrets: shared secrets by the disk's index (a number or text).
    :raises GantryError: a disk that cannot be right, or this is another node; nothing was read or changed.
    """
    check_uuid(uuid)
    return _open(executor, uuid, node, disks, secrets)


def check_uuid(uuid):
    """Refuse what is no UUID. :raises GantryError: it is none."""
    if not isinstance(uuid, str) or not _UUID.fullmatch(uuid):
        raise GantryError("The instance's UUID cannot be used", found=repr(uuid), expected="a UUID", code="bad_uuid")


def _open(executor, uuid, node, disks, secrets=None):
    view = View(executor)
    given = {str(index): secret for index, secret in (secrets or {}).items()}
    opened = [
        backend(disk["template"])(executor, uuid, node, disk, view, given.get(str(disk["index"])))
        for disk in disks
    ]
    for one in opened:
        one.check()
    for what in ("index", "name"):
        values = [disk[what] for disk in disks]
        if len(set(values)) != len(values):
            raise GantryError("Two disks have the same %s" % what, found=", ".join(map(str, values)), code="bad_disk")
    return opened


def ensure_present(executor, uuid, node, disks, secrets=None, primary=None):
    """Make what is missing of the disks: volumes, and for DRBD the resource file and metadata. Brings nothing up.

    :param primary: the node that will initialise the disks; None: perhaps this one.
    :raises GantryError: too little space, a name or number that is taken, a copy that is damaged; before any change.
    """
    for one in refuse_create(executor, uuid, node, disks, secrets):
        one.create(primary)


def refuse_create(executor, uuid, node, disks, secrets=None):
    """The checks of :func:`ensure_present` alone. Returns the disks."""
    opened = open_disks(executor, uuid, node, disks, secrets)
    for one in opened:
        one.refuse_create()
    wanted = [want for one in opened for want in one.missing()]
    if wanted:
        lvm.require_space(opened[0].view.groups(), wanted)
    return opened


def activate(executor, uuid, node, disks, secrets=None, wait_connect=0):
    """Bring the disks up; what is missing is never made.

    :param wait_connect: seconds to wait for the peers of disks that this call brought up; no error without them.
    """
    for one in open_disks(executor, uuid, node, disks, secrets):
        one.activate(wait_connect)


def promote(executor, uuid, node, disks, peer_dead=False, wait_connect=30, dual=False):
    """Make the disks writable here, all or none.

    :param peer_dead: the peer is proven to be off: its answer is not waited for.
    :param wait_connect: seconds to wait for the peer's answer.
    :param dual: as the target of a live migration, while the other node is primary.
    :raises GantryError: it is not proven safe. What this call promoted is secondary again.
    """
    promoted = []
    try:
        for one in open_disks(executor, uuid, node, disks):
            if one.promote(peer_dead=peer_dead, wait_connect=wait_connect, dual=dual):
                promoted.append(one)
    except GantryError:
        if not executor.check_mode:
            for one in promoted:
                one.demote()
        raise


def initialize(executor, uuid, node, disks, wait_connect=30, images=None):
    """The first promotion of new disks here, and their images.

    :param images: ``{index: image}`` as :func:`image.inspect` returned.
    """
    for one in open_disks(executor, uuid, node, disks):
        one.initialize(wait_connect=wait_connect, image=(images or {}).get(one.disk["index"]))


def demote(executor, uuid, node, disks):
    """Make the disks unwritable here. All are tried; the first failure is raised at the end."""
    _each(open_disks(executor, uuid, node, disks), lambda one: one.demote())


def open_window(executor, uuid, node, disks, wait_connect=30):
    """Allow both nodes to be primary, for a live migration. What this call opened is closed again when one fails."""
    opened = open_disks(executor, uuid, node, disks)
    before = [one.status()["allow_two_primaries"] for one in opened]
    try:
        for one in opened:
            one.open_window(wait_connect)
    except GantryError:
        if not executor.check_mode:
            for one, was_open in zip(opened, before):
                if not was_open:
                    one.close_window()
        raise


def close_window(executor, uuid, node, disks):
    """Forbid two primaries. All are tried; the first failure is raised at the end."""
    _each(open_disks(executor, uuid, node, disks), lambda one: one.close_window())


def deactivate(executor, uuid, node, disks):
    """Take the disks out of use here; their data stays."""
    for one in open_disks(executor, uuid, node, disks):
        one.deactivate()


def remove(executor, uuid, node, disks):
    """Remove the disks from this node, the last one first."""
    for one in reversed(refuse_remove(executor, uuid, node, disks)):
        one.remove()


def refuse_remove(executor, uuid, node, disks):
    """The checks of :func:`remove` alone. Returns the disks."""
    opened = open_disks(executor, uuid, node, disks)
    for one in opened:
        one.refuse_remove()
    return opened


def wait_sync(executor, uuid, node, disks, seconds, sleep=time.sleep):
    """Wait until every copy is the same, at most so many seconds, and no longer than that can be.

    :returns: whether they are the same, and, if waiting on is of no use, why: ``(False, "disk 0 on node node1: ...")``.
    """
    opened = open_disks(executor, uuid, node, disks)
    end = time.monotonic() + seconds
    since = None
    while True:
        for one in opened:
            one.view.refresh()
        if all(one.synced() for one in opened):
            return True, None
        now = time.monotonic()
        stuck = ["disk %d on node %s: %s" % (one.disk["index"], node, why) for one, why in ((one, one.stuck()) for one in opened) if why]
        since = (now if since is None else since) if stuck else None
        if stuck and now - since >= STUCK_SECONDS:
            return False, ", ".join(stuck)
        if now >= end or executor.check_mode:
            return False, None
        sleep(min(1.0, max(0.05, end - time.monotonic())))


def status(executor, node, disks):
    """What the node shows of each disk.

    :returns: ``[{index, name, template, device, present, new, role, connection, disk, peer_disk, peer_role,
        replication, out_of_sync_kib, sync_percent, allow_two_primaries}]``, words as DRBD says them, None for what
        does not apply. The active volume of a disk that is not mirrored counts as Primary.
    """
    return [one.status() for one in _open(executor, None, node, disks)]


def _each(opened, step):
    failure = None
    for one in opened:
        try:
            step(one)
        except GantryError as error:
            failure = failure or error
    if failure is not None:
        raise failure
