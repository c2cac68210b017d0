# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's copy of a mirrored disk made anew from the other node's, while the guest goes on.

The old volumes are renamed, not removed: they stay, under names that end in ".aside", until the new copy is proven to
be the same as the other node's. Each step looks at what is there, so an interrupted renewal is finished by the next run:

1. the resource lets go of the old volumes (a primary detaches and lives off its peer, a secondary goes down);
2. metadata volume, then data volume are renamed; a volume that carries gantry.new is not an old one;
3. new volumes, new metadata (which says "never had data", so DRBD copies everything), attached again;
4. later, and only when all is the same: the old volumes are removed.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import commands, rules
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.storage import stack
from ansible_collections.gantry.cluster.plugins.module_utils.storage.base import ASIDE


def renew(executor, uuid, node, disks, secrets=None, give_up=False):
    """Set this node's copies aside and make new ones, which then synchronise.

    :param give_up: the operator named this node's copy as the one to give up: it may be a good one whose peer is not
        connected (a split brain). It is kept aside all the same.
    :raises GantryError: it is not proven that another good copy exists, no space; before any change.
    """
    opened = stack.open_disks(executor, uuid, node, disks, secrets)
    for one in opened:
        _refuse(one, give_up)
    wanted = [{"vg": one.disk["vg"], "name": name, "size_mib": size}
              for one in opened for name, size in one.wanted() if not _is_made(one, name)]
    lvm.require_space(opened[0].view.groups() if opened else {}, wanted)
    for one in opened:
        _renew(one)


def drop_aside(executor, uuid, node, disks):
    """Remove the old volumes. :raises GantryError: the new copy is not the same as the other node's yet."""
    opened = stack.open_disks(executor, uuid, node, disks)
    for one in opened:
        if _asides(one) and not one.synced():
            raise GantryError(
                "The old copy of disk %s on node %s is still needed" % (one.name, node), found=rules.in_words(one.state),
                expected="Connected, both copies UpToDate and the same",
                mend="wait until the synchronisation has ended and run the verb again", code="not_synced")
    for one in opened:
        for name in _asides(one):
            one.remove_volume(name)


def _asides(one):
    """The names of the disk's old volumes that are there, data last."""
    return [name + ASIDE for name in (one.meta, one.name) if one.own_volume(name + ASIDE) is not None]


def _is_made(one, name):
    """Whether the volume of that name is a new one already."""
    volume = one.own_volume(name)
    return volume is not None and (lvm.TAG_NEW in volume["tags"] or one.volume(name + ASIDE) is not None)


def _refuse(one, give_up):
    if not one.MIRRORED:
        raise GantryError(
            "Disk %s has only one copy" % one.name, found="disk template %s" % one.disk["template"], expected="drbd",
            mend="its data can only come from a backup", code="not_mirrored")
    for name in (one.name, one.meta):
        one.own_volume(name)
        one.own_volume(name + ASIDE)
    if not _asides(one):
        one.refuse("The copy of disk %s on node %s cannot be made anew" % (one.name, one.node), rules.may_renew(one.state, give_up))


def _renew(one):
    old = [name for name in (one.meta, one.name) if one.volume(name) is not None and not _is_made(one, name)]
    if old:
        _let_go(one)
    for name in old:
        _set_aside(one, name)
    for name, size in one.wanted():
        one.create_volume(name, size)
    one.attach_new()


def _let_go(one):
    state = one.state
    if state is None:
        return
    if state["role"] == "Primary":
        if state["disk"] != "Diskless":
            commands.detach(one.executor, one.name)
    else:
        commands.down(one.executor, one.name)


def _set_aside(one, name):
    """Rename one old volume."""
    lvm.rename(one.executor, one.disk["vg"], name, name + ASIDE)
