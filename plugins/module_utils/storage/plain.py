# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk template plain: one logical volume on one node. Nothing to promote, nothing mirrored."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import image as images
from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.storage.base import Backend


class Plain(Backend):
    """See :class:`base.Backend`."""

    TEMPLATE = "plain"
    MIRRORED = False

    def device(self):
        """The volume's own device."""
        return "/dev/%s/%s" % (self.disk["vg"], self.name)

    def present(self):
        """True when the volume is there."""
        return self.volume() is not None

    def missing(self):
        """The volume, unless it is there."""
        if self.present():
            return []
        return [{"vg": self.disk["vg"], "name": self.name, "size_mib": self.disk["size_mib"]}]

    def refuse_create(self):
        """Refuse somebody else's volume, or one of another size."""
        self.refuse_smaller(self.own_volume(), self.disk["size_mib"])

    def create(self, primary=None):
        """Make the volume."""
        self.create_volume(self.name, self.disk["size_mib"])

    def activate(self, wait_connect=0):
        """Activate the volume."""
        self.activate_volume()

    def promote(self, peer_dead=False, wait_connect=30, dual=False):
        """Nothing to promote: the only copy is writable where it is. It must be there and initialised."""
        if self.activate_volume() and self.is_new():
            raise GantryError(
                "Disk %s cannot be used" % self.name,
                found="tag gantry.new: the disk was never initialised or its image is incomplete",
                expected="an initialised disk", mend="run instance_add for this instance again",
                code="never_initialized",
            )
        return False

    def initialize(self, wait_connect=30, image=None):
        """Write the image to a new volume."""
        there = self.activate_volume()
        if there and not self.is_new():
            return
        if image is not None:
            if there and self.volume()["open"]:
                self._refuse_open("written")
            images.write(self.executor, image, self.device())
        self.no_longer_new()

    def demote(self):
        """Nothing to demote."""

    def open_window(self, wait_connect=30):
        """Refused: there is one copy."""
        raise GantryError(
            "Disk %s cannot be used on two nodes" % self.name, found="disk template plain", expected="drbd",
            mend="stop the instance and move it, or convert its disks", code="not_mirrored",
        )

    def close_window(self):
        """Never open."""

    def deactivate(self):
        """Deactivate the volume."""
        volume = self.own_volume()
        if volume is not None and volume["active"]:
            if volume["open"]:
                self._refuse_open("deactivated")
            lvm.deactivate(self.executor, self.disk["vg"], self.name)

    def refuse_remove(self):
        """Refuse somebody else's volume, or one in use."""
        volume = self.own_volume()
        if volume is not None and volume["open"]:
            self._refuse_open("removed")

    def remove(self):
        """Remove the volume."""
        self.refuse_remove()
        self.remove_volume()

    def synced(self):
        """One copy is always the same as itself."""
        return True

    def status(self):
        """An active volume is writable, which is what primary means."""
        volume = self.volume()
        active = volume is not None and volume["active"]
        return {
            "index": self.disk["index"], "name": self.name, "template": self.TEMPLATE, "device": self.device(),
            "present": volume is not None, "new": self.is_new(),
            "role": "Primary" if active else None, "connection": None,
            "disk": "UpToDate" if active else None, "peer_disk": None, "peer_role": None, "replication": None,
            "out_of_sync_kib": None, "sync_percent": None, "allow_two_primaries": False,
        }

    def _refuse_open(self, step):
        raise GantryError(
            "Volume %s/%s cannot be %s: it is open" % (self.disk["vg"], self.name, step),
            expected="nobody has it open",
            mend="stop the instance; otherwise see who holds it: 'fuser -v %s', 'lsblk %s'" % (
                self.device(), self.device()),
            code="held_open",
        )
