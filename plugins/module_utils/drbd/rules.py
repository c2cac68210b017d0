# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done with a DRBD resource, as pure functions from what was observed to a refusal.

Each function takes the state of one resource as :func:`parse.events2` and ``commands.status`` give it (None: the
resource is not up) and returns None when the step is safe, else ``{"code", "found", "expected", "mend"}``, which
:class:`GantryError` takes as it is. Nothing here reads or changes anything.
"""

from __future__ import annotations

#: The first 8.4 after two releases that could lose synchronisation when network options were changed on the fly.
OLDEST_KERNEL = (8, 4, 4)

#: The exchange after a connection was made is still going on: the disk states may yet change.
HANDSHAKE = frozenset(("StartingSyncS", "StartingSyncT", "WFBitMapS", "WFBitMapT", "WFSyncUUID"))
UNSETTLED_DISKS = frozenset(("Attaching", "Detaching", "Negotiating"))
#: A disk that is gone, or on its way.
LOST_DISKS = ("Diskless", "Failed", "Detaching")


def refusal(code, found, expected, mend):
    """One refusal, as keyword arguments of :class:`GantryError`."""
    return {"code": code, "found": found, "expected": expected, "mend": mend}


def settled(state):
    """True when the exchange with the peer, if any, is over and the disk states will not change by themselves."""
    if state is None:
        return False
    if state["disk"] in UNSETTLED_DISKS or state["connection"] == "WFReportParams":
        return False
    if state["connection"] != "Connected":
        return True
    return state["replication"] not in HANDSHAKE and state["peer_role"] != "Unknown"


def in_words(state):
    """The state in one line, in DRBD's own words."""
    if state is None:
        return "not up"
    return "%s, %s, disk %s, peer %s with disk %s, %s" % (
        state["role"], state["connection"], state["disk"], state["peer_role"], state["peer_disk"],
        state["replication"],
    )


def _refuse_down(state):
    if state is None:
        return refusal(
            "not_up", "the resource is not up", "up",
            "run instance_disks with state active on this node",
        )
    if state["suspended"]:
        return refusal(
            "suspended", "input and output are suspended", "not suspended",
            "find out why with 'drbdadm status', then 'drbdadm resume-io'",
        )
    return None


def _refuse_disk(state):
    """The local copy must be whole, current and proven so."""
    disk = state["disk"]
    if disk == "UpToDate":
        return None
    mends = {
        "Diskless": "the local disk failed or was detached: do not reboot this node and do not start here; use the"
                    " other node, then replace this disk",
        "Failed": "the local disk failed: use the other node, then replace this disk",
        "Inconsistent": "wait until the synchronisation from the other node has ended",
        "Outdated": "this copy is older than the other node's: start there, or reconnect and let it synchronise",
        "Consistent": "it is not known whether this copy is current: bring the other node back and connect; only if"
                      " its copy is lost for good and this one is known to be the last, 'drbdadm primary --force'",
        "DUnknown": "run instance_disks with state active on this node",
    }
    return refusal(
        "disk_" + disk.lower(), "disk %s (%s)" % (disk, in_words(state)), "UpToDate",
        mends.get(disk, "wait a few seconds and run the verb again"),
    )


def gave_up(state, reasons=""):
    """The refusal for a connection that DRBD gave up.

    :param reasons: what the kernel's log says of it, if anything.
    """
    return refusal(
        "stand_alone", "the connection was given up (%s)%s" % (
            in_words(state), "; the kernel says: " + reasons if reasons else ""), "Connected",
        "both copies may have changed since they last met (split brain): look at the kernel's log of both nodes"
        " and at 'drbdadm show-gi', decide which copy to keep, and reconnect",
    )


def may_promote(state, peer_dead=False, dual=False, new=False):
    """Refusal to make the resource primary here, or None.

    :param peer_dead: the other node is proven to be off. It must then also look so.
    :param dual: both nodes are meant to be primary for a moment: the target of a live migration.
    :param new: the volume was never initialised, or its image was not written to the end.
    """
    refused = _refuse_down(state) or _refuse_disk(state)
    if refused:
        return refused
    if new:
        return refusal(
            "never_initialized", "tag gantry.new: the disk was never initialised or its image is incomplete",
            "an initialised disk", "run instance_add for this instance again",
        )
    if state["role"] == "Primary":
        return None
    if peer_dead:
        if state["connection"] == "Connected":
            return refusal(
                "peer_alive", "the peer is said to be dead but its connection is alive (%s)" % in_words(state),
                "no connection", "the other node runs: use instance_migrate, or stop the instance there",
            )
        return None
    if state["connection"] == "StandAlone":
        return gave_up(state)
    if state["connection"] != "Connected":
        return refusal(
            "not_connected", "the peer does not answer (%s)" % in_words(state), "Connected",
            "bring the other node or the link back, or see there whether it gave the connection up; if that node is"
            " proven to be off use instance_failover",
        )
    if not settled(state):
        return refusal(
            "handshake", "the peers are still comparing their data (%s)" % in_words(state), "a settled state",
            "run the verb again in a few seconds",
        )
    if dual:
        if not state["allow_two_primaries"]:
            return refusal(
                "window_closed", "allow-two-primaries no", "yes", "run instance_disks with window open on both nodes",
            )
        return _refuse_degraded(state)
    if state["peer_role"] != "Secondary":
        return refusal(
            "peer_primary", "the peer is %s" % state["peer_role"], "Secondary",
            "the instance may run on the other node: use instance_migrate, or stop it there",
        )
    return None


def may_force_promote(state, just_created, new):
    """Refusal to declare the local copy the good one (``primary --force``), or None.

    Allowed only for the first initialisation: our own new volume, metadata that never had data, and a connected
    peer that has none either.

    :param just_created: the local metadata still carries DRBD's "just created" generation.
    :param new: the data volume carries the tag gantry.new.
    """
    refused = _refuse_down(state)
    if refused:
        return refused
    expected = "a new resource on both nodes: tag gantry.new, both disks Inconsistent, connected, nobody primary"
    mend = "an initialised disk is never forced: run the verb without initialize"
    if not new:
        return refusal("not_new", "the volume has no tag gantry.new", expected, mend)
    if not just_created:
        return refusal("not_new", "the metadata has a data generation already", expected, mend)
    if state["role"] != "Secondary" or state["disk"] != "Inconsistent":
        return refusal("not_new", in_words(state), expected, mend)
    if state["connection"] != "Connected" or not settled(state):
        return refusal(
            "not_connected", in_words(state), expected,
            "run instance_disks with state present on the other node, then this again",
        )
    if state["peer_role"] != "Secondary" or state["peer_disk"] != "Inconsistent" \
            or state["replication"] != "Established":
        return refusal("peer_not_new", in_words(state), expected, mend)
    return None


def _refuse_degraded(state):
    """Both copies must be connected, whole and the same."""
    if state["connection"] != "Connected" or state["replication"] != "Established" \
            or state["disk"] != "UpToDate" or state["peer_disk"] != "UpToDate":
        return refusal(
            "not_redundant", in_words(state), "Connected, Established, both disks UpToDate",
            "wait until the synchronisation or verification has ended, or bring the other node back",
        )
    if state["out_of_sync_kib"] != 0:
        return refusal(
            "out_of_sync", "%s KiB out of sync" % state["out_of_sync_kib"], "0 KiB",
            "disconnect and connect the resource so that the differing blocks are synchronised",
        )
    return None


def may_open_window(state, kernel_version):
    """Refusal to allow two primaries for a live migration, or None.

    :param kernel_version: the loaded module's version as a tuple, None when it is not loaded.
    """
    refused = _refuse_down(state)
    if refused:
        return refused
    if kernel_version is None or kernel_version < OLDEST_KERNEL:
        return refusal(
            "kernel_too_old", "DRBD kernel module %s" % (
                ".".join(str(part) for part in kernel_version) if kernel_version else "not loaded"),
            "at least %d.%d.%d" % OLDEST_KERNEL, "upgrade the node's kernel",
        )
    if state["peers"] != 1:
        return refusal("peers", "%d peers" % state["peers"], "one peer", "migrate between two nodes only")
    if state["protocol"] != "C":
        return refusal(
            "protocol", "protocol %s" % state["protocol"], "protocol C", "run 'drbdadm adjust' for the resource",
        )
    return _refuse_degraded(state)


def may_close_window(state):
    """Refusal to forbid two primaries again, or None. A resource that is not up has no window."""
    if state is None or not state["allow_two_primaries"]:
        return None
    if state["role"] == "Primary" and state["peer_role"] == "Primary":
        return refusal(
            "both_primary", "both nodes are primary", "one primary at most",
            "make the node secondary on which the guest does not run, then close the window",
        )
    return None


def may_demote(state):
    """Refusal to make the resource secondary here, or None: only suspended writes must not be given up silently."""
    if state is None or state["role"] != "Primary":
        return None
    return _refuse_down(state)


def may_take_down(state):
    """Refusal to take the resource down here (and to remove it), or None.

    A peer whose guest reads and writes this node's copy, because its own is gone or incomplete, must not lose it.
    """
    if state is None:
        return None
    if state["role"] == "Primary":
        return refusal(
            "primary", "the resource is primary here", "Secondary", "stop the instance or move it away first",
        )
    if state["connection"] == "Connected" and state["peer_role"] == "Primary" and state["disk"] == "UpToDate" \
            and state["peer_disk"] != "UpToDate":
        return refusal(
            "last_copy", "the other node's guest lives off this copy (%s)" % in_words(state),
            "peer disk UpToDate", "wait for the synchronisation, or migrate the instance here",
        )
    return None


def may_write_image(state, new):
    """Refusal to overwrite the resource with a disk image, or None. Only ever on a disk that holds no data yet."""
    refused = _refuse_down(state) or _refuse_disk(state)
    if refused:
        return refused
    if not new:
        return refusal(
            "not_new", "the volume has no tag gantry.new: it may hold an instance's data", "a new volume",
            "an image is only written when an instance is created",
        )
    if state["role"] != "Primary" or state["peer_role"] == "Primary":
        return refusal("role", in_words(state), "Primary here, Secondary there", "run instance_add again")
    return None


def may_renew(state, give_up=False):
    """Refusal to set this node's copy aside and make a new one from the other node's, or None.

    :param give_up: the operator named this copy as the one to give up.
    """
    if state is None:
        return None
    if state["suspended"]:
        return _refuse_down(state)
    good_peer = state["connection"] == "Connected" and settled(state) and state["peer_disk"] == "UpToDate"
    if state["role"] == "Primary" and not good_peer:
        return refusal(
            "last_copy", "the guest lives off this node's copy (%s)" % in_words(state), "a connected peer that is UpToDate",
            "bring the other node's copy up to date first, or move the instance there",
        )
    if good_peer or give_up and state["connection"] != "Connected":
        return None
    if state["disk"] in ("UpToDate", "Consistent"):
        return refusal(
            "last_copy", "this copy is good and no other good one is connected (%s)" % in_words(state),
            "a connected peer that is UpToDate",
            "connect the other node first (instance_activate_disks); in a split brain run instance_repair with the victim named",
        )
    return None


def may_create_metadata(state, data_new, meta_new, replacing=False):
    """Refusal to write fresh metadata, or None: it declares whatever is on the disk worthless.

    :param data_new: the data volume carries gantry.new, so it never held an instance's data.
    :param meta_new: the metadata volume carries gantry.new, so metadata was never written to its end.
    :param replacing: the resource may be up without a disk: a new one is about to be attached to it.
    """
    if state is not None and not (replacing and state["disk"] == "Diskless"):
        return refusal("up", "the resource is up: it has metadata", "not up", "nothing to mend")
    if not (data_new and meta_new):
        return refusal(
            "not_new", "no tag gantry.new on %s" % (
                "both volumes" if not (data_new or meta_new) else
                "the data volume" if not data_new else "the metadata volume"),
            "volumes that never held data",
            "the disk may hold data: if its metadata is lost replace this node's copy from the other node",
        )
    return None


def never_synced(state):
    """Why the two copies will not become the same by waiting, in words; None if they may.

    A peer that does not answer may come back; a pair that has parted (StandAlone) does not meet again by itself.

    :param state: the resource's state as :func:`parse.resources` gives it.
    """
    if state["disk"] in LOST_DISKS:
        return "its own disk is gone (%s)" % state["disk"]
    if state["connection"] == "Connected" and state["peer_disk"] in LOST_DISKS:
        return "the other node's disk is gone (%s)" % state["peer_disk"]
    if state["connection"] == "StandAlone":
        return "it has parted from the other node (StandAlone)"
    return None
