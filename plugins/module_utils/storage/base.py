# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every storage backend offers, and what those on logical volumes share."""

from __future__ import annotations

import os

from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import commands
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError


#: What the name of an old volume ends in that was set aside while a copy is made anew.
ASIDE = ".aside"


class View:
    """What the node shows, read once and again after every change this run noted."""

    def __init__(self, executor):
        self.executor = executor
        self._seen = {}

    def volumes(self):
        """Every logical volume, as :func:`lvm.volumes`."""
        return self._read("volumes", lvm.volumes)

    def groups(self):
        """Every volume group, as :func:`lvm.volume_groups`."""
        return self._read("groups", lvm.volume_groups)

    def resources(self):
        """Every DRBD resource, as :func:`commands.status`."""
        return self._read("resources", commands.status)

    def refresh(self):
        """Read again at the next question: time has passed."""
        self._seen.clear()

    def _read(self, kind, function):
        mark = len(self.executor.changes)
        if kind not in self._seen or self._seen[kind][0] != mark:
            self._seen[kind] = (mark, function(self.executor))
        return self._seen[kind][1]


def this_host():
    """This node's name, as ``uname -n`` and DRBD know it."""
    return os.uname().nodename


class Backend:
    """One disk of an instance on one node.

    Methods that change something do nothing when it is done already, and re-check their own guard right before.
    In check mode they note what they would do; a disk that does not exist yet is predicted without its guards,
    since those cannot be seen.

    :param uuid: the instance's; None only to read.
    :param disk: as the record has it.
    :param secret: the disk's shared secret; None when there is none or it is not needed.
    """

    TEMPLATE = ""
    #: True when another node holds a copy.
    MIRRORED = False

    def __init__(self, executor, uuid, node, disk, view, secret=None):
        self.executor = executor
        self.uuid = uuid
        self.node = node
        self.disk = disk
        self.name = disk["name"]
        self.view = view
        self.secret = secret

    def check(self):
        """Refuse a disk that cannot be right. Reads nothing. :raises GantryError: what is wrong."""
        lvm.check_name("volume", self.name)
        lvm.check_name("volume group", self.disk["vg"])
        if self.disk["size_mib"] < 1:
            raise GantryError(
                "The size of disk %s cannot be used" % self.name, found="%s MiB" % self.disk["size_mib"],
                expected="at least 1 MiB", code="bad_disk",
            )
        if self.node not in self.disk["nodes"]:
            raise GantryError(
                "Disk %s has no place on node %s" % (self.name, self.node),
                found="nodes " + ", ".join(sorted(self.disk["nodes"])), expected="node %s among them" % self.node,
                mend="run the task on a node of the instance", code="wrong_node",
            )
        hostname = self.disk["nodes"][self.node].get("hostname")
        if hostname is not None and hostname != this_host():
            raise GantryError(
                "This is not node %s" % self.node, found="host name %s" % this_host(), expected=hostname,
                mend="correct the inventory's address of %s, or run node_add for it again after its host name"
                     " was changed" % self.node,
                code="wrong_node",
            )

    # -- the contract of every backend ---------------------------------------------------------------------------

    def device(self):
        """The path a guest is given."""
        raise NotImplementedError

    def present(self):
        """True when all of the disk is there."""
        raise NotImplementedError

    def missing(self):
        """Volumes still to be made: ``[{"vg", "name", "size_mib"}]``."""
        raise NotImplementedError

    def refuse_create(self):
        """Refuse what is there already and cannot be used. :raises GantryError: why."""
        raise NotImplementedError

    def create(self, primary=None):
        """Make what is missing. A new disk is marked so (tag gantry.new) until it is initialised.

        :param primary: the node that will initialise the disk; None: perhaps this one.
        """
        raise NotImplementedError

    def activate(self, wait_connect=0):
        """Make the disk's device usable here, and let it meet its peer.

        :param wait_connect: seconds to wait for the peer when this run brought the disk up; no error without it.
        """
        raise NotImplementedError

    def promote(self, peer_dead=False, wait_connect=30, dual=False):
        """Make the disk writable here. Returns True when it was not before.

        :raises GantryError: it is not proven safe.
        """
        raise NotImplementedError

    def initialize(self, wait_connect=30, image=None):
        """Make a new disk's first and only content: this node's copy, with an image written to it.

        :param image: as :func:`image.inspect` returned, or None.
        :raises GantryError: it is not proven that no copy holds data.
        """
        raise NotImplementedError

    def demote(self):
        """Make the disk unwritable here. :raises GantryError: somebody holds it open."""
        raise NotImplementedError

    def open_window(self, wait_connect=30):
        """Allow both nodes to be primary. :raises GantryError: not mirrored, or not both copies are whole."""
        raise NotImplementedError

    def close_window(self):
        """Forbid two primaries. :raises GantryError: both nodes are primary."""
        raise NotImplementedError

    def deactivate(self):
        """Take the disk out of use here; its data stays. :raises GantryError: it is in use."""
        raise NotImplementedError

    def refuse_remove(self):
        """Refuse a removal before any disk is touched. :raises GantryError: the disk is in use, or not ours."""
        raise NotImplementedError

    def remove(self):
        """Remove the disk from this node. :raises GantryError: it is in use, or not ours."""
        raise NotImplementedError

    def synced(self):
        """True when every copy is whole, current and connected."""
        raise NotImplementedError

    def stuck(self):
        """Why the copies will not become the same by waiting, in words; None if they are, or may."""
        return None

    def status(self):
        """One entry of :func:`stack.status`."""
        raise NotImplementedError

    # -- shared by backends on logical volumes -------------------------------------------------------------------

    def volume(self, name=None):
        """A volume of this disk as the node shows it, or None."""
        return lvm.find(self.view.volumes(), self.disk["vg"], name or self.name)

    def own_volume(self, name=None):
        """The same, proven to be ours. :raises GantryError: it is somebody else's."""
        volume = self.volume(name)
        if volume is not None:
            lvm.refuse_foreign(volume, self.uuid)
        return volume

    def refuse_smaller(self, volume, size_mib):
        """Refuse a volume that is there with another size than the record wants."""
        if volume is not None and volume["size_mib"] < size_mib:
            raise GantryError(
                "Volume %s/%s is smaller than disk %s must be" % (volume["vg"], volume["name"], self.name),
                found="%s MiB" % volume["size_mib"], expected="at least %s MiB" % size_mib,
                mend="grow the disk on all its nodes together; a volume is never grown or shrunk on the side",
                code="wrong_size",
            )

    def create_volume(self, name, size_mib):
        """Make one volume with our tags, or activate the one that is there."""
        volume = self.own_volume(name)
        if volume is None:
            lvm.create(
                self.executor, self.disk["vg"], name, size_mib, [lvm.TAG, lvm.tag_of(self.uuid), lvm.TAG_NEW])
        elif not volume["active"]:
            lvm.activate(self.executor, self.disk["vg"], name)

    def activate_volume(self, name=None):
        """Activate one volume that must be there. Returns False when check mode only foresees it.

        :raises GantryError: it is missing: what is not there is never made on the way to a promotion.
        """
        volume = self.own_volume(name)
        if volume is None:
            if self.executor.check_mode:
                return False
            raise GantryError(
                "Volume %s/%s of disk %s is missing on node %s" % (
                    self.disk["vg"], name or self.name, self.name, self.node),
                expected="the volume, with tag %s" % lvm.tag_of(self.uuid),
                mend="look whether its physical volume is missing ('pvs', 'lvs'); if the data is lost replace this"
                     " node's copy from the other node; a disk is only made with state present",
                code="missing_volume",
            )
        if not volume["active"]:
            lvm.activate(self.executor, self.disk["vg"], name or self.name)
        return True

    def is_new(self, name=None):
        """True when the volume is there and was never initialised."""
        volume = self.volume(name)
        return volume is not None and lvm.TAG_NEW in volume["tags"]

    def no_longer_new(self, name=None):
        """Drop the mark of a volume that was never initialised."""
        if self.is_new(name):
            lvm.change_tags(self.executor, self.disk["vg"], name or self.name, remove=[lvm.TAG_NEW])

    def remove_volume(self, name=None):
        """Remove one volume of ours, if it is there."""
        if self.own_volume(name) is not None:
            lvm.remove(self.executor, self.disk["vg"], name or self.name)

    def predict(self, what):
        """In check mode: note a step on something that is not there yet, whose guards cannot be seen."""
        self.executor.changes.append("%s (once it is there; its guards cannot be checked before)" % what)

    def refuse(self, what, refused):
        """Raise a refusal of the rules, if there is one."""
        if refused:
            raise GantryError(what, **refused)
