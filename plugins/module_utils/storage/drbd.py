# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk template drbd: a logical volume on each of two nodes, mirrored by DRBD with its metadata on a second volume.

The order of steps makes every interruption recoverable without a guess:

1. data volume, then metadata volume, each made with all its tags in one step (among them gantry.new);
2. the resource file;
3. metadata; only then the metadata volume loses gantry.new. Metadata found on a volume that still has the tag may be
   a former user's and is written again;
4. up and connected; the first promotion by force, possible only while DRBD itself says that no data was ever there;
5. the image; only then the data volume loses gantry.new, so an interrupted image is written again.

Removal goes the other way round: down, file, metadata volume, data volume. So metadata without its data volume,
or an initialised data volume without metadata, is never a state of ours: it is refused.
"""

from __future__ import annotations

import ipaddress
import time

from ansible_collections.gantry.cluster.plugins.module_utils import image as images
from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import commands, helper, resource_file, rules
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text
from ansible_collections.gantry.cluster.plugins.module_utils.storage.base import ASIDE, Backend

#: Seconds for DRBD to notice that a peer proven dead is gone: its ping interval and its patience, with some room.
NOTICE_DEATH = 25
#: Seconds for a disk to attach and for the kernel to follow a command.
SETTLE = 15
#: Seconds for a connection that was given up to be made, or given up again for the same reason.
RECONNECT = 5

MAX_MINOR = 2 ** 20 - 1
#: What the device mapper's names can hold; it doubles hyphens.
MAX_MAPPER_NAME = 127


def metadata_mib(size_mib):
    """Size of the external metadata of a disk in MiB, before rounding to extents.

    DRBD needs a bit for every 4 KiB, and a superblock and its activity log.

    :param size_mib: the data volume's size.
    """
    return -(-size_mib * lvm.MIB // 32768 // lvm.MIB) + 1


class Drbd(Backend):
    """See :class:`base.Backend`."""

    TEMPLATE = "drbd"
    MIRRORED = True

    #: Replaced by tests that have no time.
    sleep = staticmethod(time.sleep)

    @property
    def meta(self):
        """The metadata volume's name."""
        return self.name + "-meta"

    @property
    def minor(self):
        """The device's number on this node."""
        return self.disk["nodes"][self.node]["minor"]

    @property
    def state(self):
        """The resource as DRBD shows it, None when it is not up."""
        return self.view.resources().get(self.name)

    def check(self):
        """Refuse a disk that cannot be right."""
        super().check()
        mapped = len(("%s-%s" % (self.disk["vg"], self.meta)).replace("-", "--"))
        if mapped > MAX_MAPPER_NAME:
            raise GantryError(
                "The name of disk %s is too long for a device of its volume" % self.name,
                found="%d letters, hyphens counted twice" % mapped, expected="at most %d" % MAX_MAPPER_NAME,
                code="bad_name",
            )
        nodes = self.disk["nodes"]
        port = self.disk.get("port")
        wrong = None
        if len(nodes) != 2:
            wrong = "%d nodes, not two" % len(nodes)
        elif not isinstance(port, int) or not 1 <= port <= 65535:
            wrong = "port %s" % port
        elif len({entry.get("hostname") for entry in nodes.values()}) != 2:
            wrong = "two nodes with one host name"
        elif len({entry.get("address") for entry in nodes.values()}) != 2:
            wrong = "two nodes with one address"
        else:
            for node in sorted(nodes):
                wrong = wrong or self._wrong_place(node, nodes[node])
        if wrong:
            raise GantryError(
                "Disk %s cannot be a DRBD resource" % self.name, found=wrong,
                expected="a port, and two nodes each with hostname, address and minor", code="bad_disk",
            )

    @staticmethod
    def _wrong_place(node, entry):
        minor = entry.get("minor")
        if isinstance(minor, bool) or not isinstance(minor, int) or not 0 <= minor <= MAX_MINOR:
            return "minor %s of node %s" % (minor, node)
        hostname = entry.get("hostname")
        try:
            ipaddress.ip_address(entry.get("address"))
            lvm.check_name("host", hostname)
        except (ValueError, GantryError):
            return "address %s and host name %s of node %s" % (entry.get("address"), hostname, node)
        return None

    def device(self):
        """The replicated device, never the volume beneath it."""
        return "/dev/drbd%d" % self.minor

    # -- making --------------------------------------------------------------------------------------------------

    def present(self):
        """True when both volumes and the resource file are there and the metadata was written."""
        return (
            self.volume() is not None and self.volume(self.meta) is not None and not self.is_new(self.meta)
            and read_text(self.path) is not None
        )

    @property
    def path(self):
        """The resource file."""
        return resource_file.path_of(self.name)

    def wanted(self):
        """Names and sizes of both volumes, the metadata for the data volume as rounded to extents."""
        size = self.disk["size_mib"]
        group = self.view.groups().get(self.disk["vg"])
        if group is not None:
            size = lvm.rounded(size, group["extent_mib"])
        return ((self.name, size), (self.meta, metadata_mib(size)))

    def missing(self):
        """The volumes that are not there."""
        return [
            {"vg": self.disk["vg"], "name": name, "size_mib": size}
            for name, size in self.wanted() if self.volume(name) is None
        ]

    def refuse_create(self):
        """Refuse what cannot become, or is not any more, a disk of ours."""
        data, meta = self.own_volume(), self.own_volume(self.meta)
        for name, size in self.wanted():
            self.refuse_smaller(self.volume(name), size)
        if data is None and meta is not None:
            raise GantryError(
                "Disk %s has metadata on node %s but no data volume" % (self.name, self.node),
                found="volume %s/%s" % (self.disk["vg"], self.meta), expected="both volumes or none",
                mend="if the data is lost run instance_disks with state absent here, then replace this node's copy"
                     " from the other node",
                code="data_missing",
            )
        if meta is None and data is not None and lvm.TAG_NEW not in data["tags"]:
            raise GantryError(
                "Disk %s has a data volume on node %s but no metadata volume" % (self.name, self.node),
                found="volume %s/%s without tag gantry.new" % (self.disk["vg"], self.name),
                expected="both volumes or none",
                mend="if this copy is not needed run instance_disks with state absent here, then replace this node's"
                     " copy from the other node",
                code="metadata_missing",
            )
        if self.state is not None and data is None:
            self._refuse_foreign_resource("it is up without a volume of ours")
        self._text()
        self._refuse_clash()

    def create(self, primary=None):
        """Make volumes, resource file and metadata, whichever is missing."""
        for name, size in self.wanted():
            self.create_volume(name, size)
        self.configure(primary)

    def configure(self, primary=None):
        """Make resource file and metadata on volumes that are there (or, in check mode, were just foreseen)."""
        self._write_file()
        if self.state is None:
            self._create_metadata()
        self.no_longer_new(self.meta)
        if primary is not None and primary != self.node:
            # The other node's copy will be the first; this one is filled from there and never by force.
            self.no_longer_new()

    def _create_metadata(self):
        """Write metadata where it was never written to its end."""
        data, meta = self.volume(), self.volume(self.meta)
        if data is None or meta is None:
            # Only in check mode: they were just foreseen.
            self.executor.changes.append("create DRBD metadata of %s" % self.name)
            return
        if lvm.TAG_NEW in meta["tags"]:
            self.refuse(
                "No metadata may be written for disk %s on node %s" % (self.name, self.node),
                rules.may_create_metadata(self.state, self.is_new(), self.is_new(self.meta)))
            commands.create_metadata(self.executor, self.name)
            if self.executor.check_mode:
                return
        if not commands.has_metadata(self.executor, self.name):
            raise GantryError(
                "The metadata of disk %s on node %s is lost" % (self.name, self.node), found="no DRBD metadata",
                expected="DRBD metadata on /dev/%s/%s" % (self.disk["vg"], self.meta),
                mend="replace this node's copy from the other node; new metadata would call this copy current",
                code="metadata_missing",
            )

    def attach_new(self):
        """Metadata on new volumes, the file, and the new copy attached to a resource that may be up and primary.

        The metadata says that there never was data, so the other node's is copied, and this copy never offers itself.
        """
        self._write_file()
        if self.is_new(self.meta):
            state = self.state
            self.refuse(
                "No metadata may be written for disk %s on node %s" % (self.name, self.node),
                rules.may_create_metadata(state, self.is_new(), True, replacing=True))
            commands.create_metadata(self.executor, self.name)
            self.no_longer_new(self.meta)
        self.no_longer_new()
        if self.executor.check_mode:
            self.predict("attach the new copy of DRBD resource %s" % self.name)
        elif self.state is None or self.state["disk"] == "Diskless":
            commands.adjust(self.executor, self.name, "attach the new copy of DRBD resource %s" % self.name)
            self._after_adjust(RECONNECT)

    # -- the resource file ---------------------------------------------------------------------------------------

    def _text(self):
        """The file as it should be: with the secret given, or the one it has already.

        :raises GantryError: there is neither, or the file is somebody else's.
        """
        before = read_text(self.path)
        if before is not None and not resource_file.is_ours(before, self.uuid):
            self._refuse_foreign_resource("%s was not written for instance %s" % (self.path, self.uuid))
        secret = self.secret
        if secret is None and before is not None:
            secret = resource_file.describe(before, self.path).get(self.name, {}).get("secret")
        if secret is None:
            raise GantryError(
                "DRBD resource %s has no file on node %s and no shared secret was given" % (self.name, self.node),
                found="no %s" % self.path, expected="the file, or the disk's secret",
                mend="run the verb from the controller, which passes the secret, or pass the option secrets",
                code="no_secret",
            )
        version = commands.kernel_version(self.executor)
        major = version[0] if version else 8
        return resource_file.render(
            self.disk, secret, self.uuid, kernel_major=major, fencing=major < 9 and helper.in_use())

    def _write_file(self):
        """Bring the file up to date. Returns True when it differed."""
        text = self._text()
        before = read_text(self.path)
        if before is None:
            self._refuse_clash()
        elif before != text and self.state is not None and self.state["allow_two_primaries"]:
            raise GantryError(
                "The file of DRBD resource %s would change in the middle of a migration" % self.name,
                found="two primaries are allowed", expected="a closed window",
                mend="finish the migration (instance_migrate), then run the verb again", code="window_open",
            )
        return self.executor.write_file(self.path, text, mode=0o600, what="write %s" % self.path, secret=True)

    def _refuse_clash(self):
        resource_file.refuse_clash(self.disk, self.disk["nodes"][self.node]["hostname"], self.minor)
        for name, state in self.view.resources().items():
            if name != self.name and any(volume["minor"] == self.minor for volume in state["volumes"]):
                raise GantryError(
                    "DRBD minor %d of disk %s is used by another resource" % (self.minor, self.name), found=name,
                    expected="a number of its own",
                    mend="remove that resource if it is a leftover, or give this disk another number",
                    code="number_taken",
                )

    def _refuse_foreign_resource(self, found):
        raise GantryError(
            "DRBD resource %s on node %s is not ours" % (self.name, self.node), found=found,
            expected="a resource of instance %s, or none of that name" % self.uuid,
            mend="look at it with 'drbdadm dump %s' and 'drbdadm status %s'; remove or rename it by hand" % (
                self.name, self.name),
            code="foreign_resource",
        )

    # -- up and down ---------------------------------------------------------------------------------------------

    def activate(self, wait_connect=0):
        """Bring the resource up, attach, connect: whatever is missing, and nothing when all is there."""
        there = [self.activate_volume(name) for name in (self.name, self.meta)]
        if not all(there):
            self.predict("bring DRBD resource %s up" % self.name)
            return
        if self.is_new(self.meta) and not self.executor.check_mode:
            raise GantryError(
                "Disk %s on node %s was never finished" % (self.name, self.node),
                found="tag gantry.new on volume %s/%s" % (self.disk["vg"], self.meta), expected="written metadata",
                mend="run instance_disks with state present", code="not_finished",
            )
        rewritten = self._write_file()
        what = self._needed(rewritten)
        if what is None:
            return
        gave_up = self.state is not None and self.state["connection"] == "StandAlone"
        commands.adjust(self.executor, self.name, what)
        if self.executor.check_mode:
            return
        self._after_adjust(max(wait_connect, RECONNECT if gave_up else 0))

    def _needed(self, rewritten):
        """What an adjustment would do, in words; None when nothing is to be done."""
        state = self.state
        if state is None:
            return "bring DRBD resource %s up" % self.name
        if not state["volumes"] or (state["disk"] == "Diskless" and state["role"] == "Secondary"):
            return "attach the disk of DRBD resource %s" % self.name
        if state["connection"] == "StandAlone" and not (state["disk"] == "Diskless" and state["role"] == "Primary"):
            return "connect DRBD resource %s" % self.name
        return "adjust DRBD resource %s to its file" % self.name if rewritten else None

    def _after_adjust(self, wait_connect):
        """Read back: attached, and connected or still waiting for the peer."""
        state = self._wait(lambda seen: seen is not None and rules.settled(seen), SETTLE)
        if state is None or state["disk"] == "Diskless":
            raise GantryError(
                "DRBD resource %s did not come up on node %s" % (self.name, self.node), found=rules.in_words(state),
                expected="an attached disk",
                mend="look at the kernel's log ('dmesg') and at 'drbdadm status %s'" % self.name,
                code="not_up",
            )
        if wait_connect and state["connection"] != "Connected":
            state = self._wait(lambda seen: self._met(seen) or self._gave_up(seen), wait_connect)
        if self._gave_up(state):
            self._refuse_stand_alone(state)

    def _refuse_stand_alone(self, state):
        self.refuse(
            "DRBD resource %s is not connected to its peer" % self.name,
            rules.gave_up(state, commands.reasons(self.executor, self.name, self.minor)))

    def _wait(self, done, seconds):
        """Read until ``done(state)`` or the time is over. Returns the last state."""
        end = time.monotonic() + seconds
        pause = 0.1
        while True:
            self.view.refresh()
            state = self.state
            if done(state) or time.monotonic() >= end:
                return state
            self.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    @staticmethod
    def _met(state):
        return state is not None and state["connection"] == "Connected" and rules.settled(state)

    @staticmethod
    def _gave_up(state):
        return state is not None and state["connection"] == "StandAlone"

    def deactivate(self):
        """Secondary, then down."""
        self.demote()
        if self.state is None:
            return
        self.refuse(
            "DRBD resource %s cannot be taken down on node %s" % (self.name, self.node),
            rules.may_take_down(self._seen_as_secondary()))
        commands.down(self.executor, self.name)
        if not self.executor.check_mode and self.state is not None:
            raise GantryError(
                "DRBD resource %s is still up after it was taken down" % self.name, found=rules.in_words(self.state),
                expected="not up", mend="run 'drbdsetup down %s' and look at 'dmesg'" % self.name, code="still_up",
            )

    def _seen_as_secondary(self):
        """The state; in check mode as it would be after the demotion that was only noted."""
        state = self.state
        return dict(state, role="Secondary") if self.executor.check_mode else state

    def refuse_remove(self):
        """Refuse to remove what is not ours, or what the other node's guest lives off. Before any change."""
        volumes = [self.own_volume(name) for name in (self.name, self.meta)]
        text = read_text(self.path)
        ours = text is not None and resource_file.is_ours(text, self.uuid)
        if not ours and (text is not None or (self.state is not None and not any(volumes))):
            self._refuse_foreign_resource("neither its file nor its volumes belong to instance %s" % self.uuid)
        if self.state is not None:
            self.refuse(
                "Disk %s cannot be removed from node %s" % (self.name, self.node),
                rules.may_take_down(dict(self.state, role="Secondary")))

    def unconfigure(self):
        """Down, then the file away. The volumes stay."""
        self.refuse_remove()
        self.deactivate()
        self.executor.remove_file(self.path)

    def remove(self):
        """Down, file, metadata volume, data volume, old copies set aside; each only if it is ours."""
        self.unconfigure()
        for name in (self.meta, self.name):
            self.remove_volume(name + ASIDE)
        self.remove_volume(self.meta)
        self.remove_volume()

    # -- roles ---------------------------------------------------------------------------------------------------

    def promote(self, peer_dead=False, wait_connect=30, dual=False):
        """Make primary when the state after the handshake proves it safe. Returns True when it was not primary."""
        what = "DRBD resource %s cannot be made primary on node %s" % (self.name, self.node)
        if self.state is None and self.executor.check_mode:
            self.predict("make DRBD resource %s primary" % self.name)
            return False
        self.own_volume()
        if self.state is not None and self.state["role"] != "Primary":
            if peer_dead:
                self._wait(
                    lambda seen: seen is None or seen["connection"] != "Connected", max(wait_connect, NOTICE_DEATH))
            else:
                self._wait(lambda seen: seen is None or self._met(seen) or self._gave_up(seen), wait_connect)
        state = self.state
        if self._gave_up(state) and state["role"] != "Primary" and not peer_dead:
            if self.executor.check_mode:
                self.predict("make DRBD resource %s primary" % self.name)
                return False
            self._refuse_stand_alone(state)
        if dual and self.executor.check_mode:
            # The window was only foreseen.
            state = dict(state, allow_two_primaries=True)
        self.refuse(what, rules.may_promote(state, peer_dead=peer_dead, dual=dual, new=self.is_new()))
        if state["role"] == "Primary":
            return False
        commands.primary(self.executor, self.name, alone=peer_dead, sleep=self.sleep)
        self._read_back_role("Primary")
        return True

    def initialize(self, wait_connect=30, image=None):
        """The first promotion, by force, with a full synchronisation; then the image."""
        if self.state is None and self.executor.check_mode:
            self.predict("make DRBD resource %s primary for the first time (full synchronisation)" % self.name)
            if image is not None:
                self.predict("write %s to %s" % (images.named(image), self.device()))
            return
        self.own_volume()
        if not self.is_new():
            self.promote(wait_connect=wait_connect)
            return
        what = "Disk %s cannot be initialised on node %s" % (self.name, self.node)
        state = self._wait(lambda seen: seen is None or self._met(seen) or self._gave_up(seen), wait_connect)
        if self._gave_up(state):
            self._refuse_stand_alone(state)
        if state is not None and state["disk"] == "UpToDate":
            # An earlier run was interrupted after the first promotion.
            self.refuse(what, rules.may_promote(state))
            if state["role"] != "Primary":
                commands.primary(self.executor, self.name)
        else:
            fresh = state is not None and commands.just_created(self.executor, self.name)
            self.refuse(what, rules.may_force_promote(state, fresh, self.is_new()))
            commands.force_primary(self.executor, self.name)
        self._read_back_role("Primary")
        if image is not None:
            if not self.executor.check_mode:
                self.refuse(what, rules.may_write_image(self.state, self.is_new()))
                self._refuse_held(what)
            images.write(self.executor, image, self.device())
        self.no_longer_new()

    def _refuse_held(self, what):
        """Refuse an image beside another writer: a killed run may have left its qemu-img behind."""
        held = commands.holders(self.minor)
        if held:
            raise GantryError(
                what, found="%s is held open by %s" % (self.device(), ", ".join(held)), expected="nobody has it open",
                mend="wait until it has ended and run the verb again", code="held_open",
            )

    def demote(self):
        """Make secondary; only a device that nobody holds open can be."""
        state = self.state
        if state is None or state["role"] != "Primary":
            return
        self.refuse("DRBD resource %s cannot be made secondary" % self.name, rules.may_demote(state))
        if read_text(self.path) is None:
            self._text()
        commands.secondary(self.executor, self.name, self.minor)
        self._read_back_role("Secondary")

    def _read_back_role(self, role):
        if self.executor.check_mode:
            return
        state = self.state
        if state is None or state["role"] != role:
            raise GantryError(
                "DRBD resource %s did not become %s" % (self.name, role), found=rules.in_words(state), expected=role,
                mend="look at 'drbdadm status %s' and 'dmesg'" % self.name, code="role_not_reached",
            )

    # -- the window of two primaries -----------------------------------------------------------------------------

    def open_window(self, wait_connect=30):
        """Allow two primaries, on the running resource only; the file keeps saying no."""
        if self.state is None and self.executor.check_mode:
            self.predict("allow two primaries of DRBD resource %s" % self.name)
            return
        self.own_volume()
        state = self._wait(lambda seen: seen is None or self._met(seen) or self._gave_up(seen), wait_connect)
        self.refuse(
            "Two primaries of DRBD resource %s cannot be allowed on node %s" % (self.name, self.node),
            rules.may_open_window(state, commands.kernel_version(self.executor)))
        if not state["allow_two_primaries"]:
            commands.allow_two_primaries(self.executor, self.name, True)
            self._read_back_window(True)

    def close_window(self):
        """Forbid two primaries again."""
        state = self.state
        self.refuse(
            "Two primaries of DRBD resource %s cannot be forbidden on node %s" % (self.name, self.node),
            None if self.executor.check_mode else rules.may_close_window(state))
        if state is not None and state["allow_two_primaries"]:
            commands.allow_two_primaries(self.executor, self.name, False)
            self._read_back_window(False)

    def _read_back_window(self, allowed):
        if self.executor.check_mode:
            return
        state = self.state
        if state is None or state["allow_two_primaries"] != allowed:
            raise GantryError(
                "The window of DRBD resource %s is not %s" % (self.name, "open" if allowed else "closed"),
                found="allow-two-primaries %s" % (
                    "unknown" if state is None else "yes" if state["allow_two_primaries"] else "no"),
                expected="yes" if allowed else "no",
                mend="look at 'drbdsetup show %s'" % self.name, code="window_not_set",
            )

    # -- seeing --------------------------------------------------------------------------------------------------

    def synced(self):
        """Connected, both copies current, nothing out of sync."""
        state = self.state
        return (
            state is not None and state["connection"] == "Connected" and state["replication"] == "Established"
            and state["disk"] == "UpToDate" and state["peer_disk"] == "UpToDate" and state["out_of_sync_kib"] == 0
        )

    def stuck(self):
        """A lost disk or a parted pair, see :func:`rules.never_synced`."""
        state = self.state
        return rules.never_synced(state) if state is not None else None

    def status(self):
        """The state in DRBD's words; all None while the resource is not up."""
        state = self.state or {}
        entry = {
            "index": self.disk["index"], "name": self.name, "template": self.TEMPLATE, "device": self.device(),
            "present": self.present(), "new": self.is_new(),
            "allow_two_primaries": bool(state.get("allow_two_primaries")),
        }
        for key in ("role", "connection", "disk", "peer_disk", "peer_role", "replication", "out_of_sync_kib",
                    "sync_percent"):
            entry[key] = state.get(key)
        return entry
