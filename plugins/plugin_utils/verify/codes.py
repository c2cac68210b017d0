# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that verify can find: one code each, with its severity, Ganeti's code, its meaning and what mends it.

docs/verify.md is this table; a test keeps them equal.
"""

from __future__ import annotations

from typing import NamedTuple

#: From harmless to bad.
SEVERITIES = ("note", "warning", "error")
ERROR, WARNING, NOTE = "error", "warning", "note"

#: In the order of a report.
OBJECT_TYPES = ("cluster", "node", "instance", "disk")


class Code(NamedTuple):
    """One thing that can be found.

    ``object_type`` is one of :data:`OBJECT_TYPES`, ``ganeti`` the code of ``gnt-cluster verify`` for the same or None,
    ``mend`` what an operator does; ``{object}``, ``{node}`` and ``{instance}`` stand for the finding's own.
    """

    name: str
    severity: str
    object_type: str
    ganeti: str | None
    meaning: str
    mend: str


_LIST = (
    # -- the registry ------------------------------------------------------------------------------------------------
    Code("REGISTRY_BROKEN", ERROR, "cluster", "ECLUSTERCFG", "an entry of the registry lacks something or holds nonsense",
         "restore the registry from a backup (docs/registry.md)"),
    Code("REGISTRY_DUPLICATE", ERROR, "cluster", "ECLUSTERCFG",
         "a name, UUID, MAC address, port, minor, address or key belongs to two",
         "remove and add one of the two again with numbers of its own"),
    Code("REGISTRY_ALLOCATION", ERROR, "cluster", "ECLUSTERCFG",
         "a number in use is not written down as handed out, so it may be handed out again",
         "restore the registry from a backup (docs/registry.md), or remove and add the instance again"),
    Code("REGISTRY_STALE_ALLOCATION", WARNING, "cluster", "ECLUSTERCFG",
         "a number is handed out to nobody, so it is never used again", "harmless; restore the registry from a backup if there are many"),
    Code("REGISTRY_STALE_SECRET", WARNING, "cluster", "ECLUSTERCFG", "a DRBD secret of an unknown instance is kept",
         "harmless; restore the registry from a backup if an instance is missing"),
    Code("REGISTRY_DEAD_LOCK", WARNING, "cluster", None, "a run that has ended holds a lock",
         "run the interrupted verb again: it takes the lock over"),
    Code("REGISTRY_STRAY_LOCK", WARNING, "cluster", None, "a lock of an unknown instance is held",
         "wait: the lock ends by itself 30 minutes after its run's last step"),
    Code("CLUSTER_EMPTY", WARNING, "cluster", None, "the cluster has no node", "run node_add for your nodes"),
    Code("CLUSTER_DRBD_VERSIONS", WARNING, "cluster", "ENODEDRBDVERSION", "the nodes' DRBD modules differ in version",
         "upgrade the nodes to the same version, one after the other"),
    Code("CLUSTER_LIBVIRT_VERSIONS", WARNING, "cluster", "ENODEVERSION", "the nodes' libvirt differs in version",
         "upgrade the nodes to the same version, one after the other; until then migrate from the older to the newer"),
    Code("CLUSTER_QEMU_VERSIONS", WARNING, "cluster", "ENODEHV", "the nodes' QEMU differs in version",
         "upgrade the nodes to the same version, one after the other; until then migrate from the older to the newer"),
    Code("CLUSTER_KERNEL_VERSIONS", NOTE, "cluster", None, "the nodes' kernels differ in release",
         "reboot the nodes into the same kernel, one after the other"),
    Code("CLUSTER_ARCHITECTURES", WARNING, "cluster", None, "the nodes' processors are of different architectures",
         "mirror instances only between nodes of the same architecture"),
    # -- nodes -------------------------------------------------------------------------------------------------------
    Code("NODE_UNREACHABLE", ERROR, "node", "ENODERPC", "the node does not answer; that does not mean that it is dead",
         "look at the node and the link to it; if it is gone, instance_failover -l gantry_primary_{object}"),
    Code("NODE_NO_FACTS", ERROR, "node", "ENODERPC", "the node answers, and its state cannot be read",
         "run 'ansible {object} -m gantry.cluster.node_info' and mend what it says"),
    Code("NODE_INCOMPLETE", ERROR, "node", "ENODERPC", "the node told its state only in part",
         "run 'ansible {object} -m gantry.cluster.node_info' and look at the part named"),
    Code("NODE_NOT_LISTED", ERROR, "node", "ENODESSH", "the node is in the registry and not in the inventory, so verbs may not reach it",
         "add {object} to gantry_nodes in the inventory"),
    Code("NODE_OFFLINE", NOTE, "node", None, "the node is marked offline and was not asked", "bring it back, then clear the mark"),
    Code("NODE_DRAINED", NOTE, "node", None, "the node is drained: it gets no new instances", "clear the mark when it may be used again"),
    Code("NODE_HOSTNAME", ERROR, "node", "ENODESETUP", "the node's host name is not the registered one, by which DRBD knows it",
         "on {object}: hostnamectl set-hostname with the registered name"),
    Code("NODE_ADDRESS", ERROR, "node", "ENODENET", "the node does not have its address of the cluster network",
         "configure the address on {object}, permanently"),
    Code("NODE_CLOCK", ERROR, "node", "ENODETIME", "the node's clock is more than 150 seconds off",
         "set up time synchronisation on {object}"),
    Code("NODE_CLOCK_DRIFT", WARNING, "node", "ENODETIME", "the node's clock is more than 5 seconds off",
         "set up time synchronisation on {object}"),
    Code("NODE_LIBVIRT", ERROR, "node", "ENODEHV", "libvirt does not answer",
         "on {object}: systemctl status libvirtd, journalctl -u libvirtd"),
    Code("NODE_LVM", ERROR, "node", "ENODELVM", "LVM does not answer", "on {object}: run vgs and lvs"),
    Code("NODE_DRBD", ERROR, "node", "ENODEDRBD", "DRBD does not answer", "on {object}: run drbdsetup status; node_add -l {object}"),
    Code("NODE_DRBD_MODULE", ERROR, "node", "ENODEDRBD", "the kernel's DRBD module is not loaded", "run node_add -l {object}"),
    Code("NODE_DRBD_OLD", ERROR, "node", "ENODEDRBDVERSION",
         "DRBD is older than 8.4.4 and may lose synchronisation when a migration opens its window", "boot {object} into a newer kernel"),
    Code("NODE_DRBD_HELPER", ERROR, "node", "ENODEDRBDHELPER",
         "the kernel calls another helper than ours, or cannot run it: an old copy may look current", "run node_add -l {object}"),
    Code("NODE_VG_MISSING", ERROR, "node", "ENODELVM", "the volume group for the instances' disks is not there",
         "on {object}: look at vgs and pvs, bring the disk back"),
    Code("NODE_VG_INCOMPLETE", ERROR, "node", "ENODELVM", "a physical volume of the volume group is gone",
         "on {object}: look at pvs, bring the disk back"),
    Code("NODE_VG_FULL", WARNING, "node", None, "less than 5 % of the volume group is free",
         "extend it with vgextend, or move instances away from {object}"),
    Code("NODE_LVM_FILTER", ERROR, "node", None, "LVM looks into the guests' disks, and may activate what it finds there",
         "run node_add -l {object}"),
    Code("NODE_AUTOSTART_SERVICE", ERROR, "node", None, "a service that starts guests or disks by itself is enabled",
         "run node_add -l {object}"),
    Code("NODE_SHUTDOWN_SERVICE", WARNING, "node", "ENODESETUP",
         "the service that takes guests and disks down in order at shutdown is not enabled", "run node_add -l {object}"),
    Code("NODE_BRIDGE", ERROR, "node", "ENODENET", "a bridge that instances of this node need is missing", "create the bridge on {object}"),
    Code("NODE_KEY", ERROR, "node", "ECLUSTERCLIENTCERT", "a key for migration is missing or is not the registered one",
         "run node_add -l {object}"),
    Code("NODE_TRUST", ERROR, "node", "ENODESSH", "the node does not let another node in, so no migration comes from there",
         "run node_add -l {object}"),
    Code("NODE_FENCE", WARNING, "node", None, "no fence device is configured, so a failover from this node needs your word",
         "set gantry_fence for {object}"),
    Code("NODE_FENCE_AGENT", ERROR, "node", "ENODEOOBPATH", "the fence agent cannot be run on the controller",
         "install it on the controller (Debian: fence-agents), or correct gantry_fence of {object}"),
    Code("NODE_N1", ERROR, "node", "ENODEN1", "if one other node fails, its instances do not fit this node's free memory",
         "migrate instances away from {object}, or stop some"),
    Code("NODE_ORPHAN_INSTANCE", ERROR, "node", "ENODEORPHANINSTANCE", "a guest bears our mark, and the registry does not know it",
         "on {object}: look at it with virsh; restore the registry, or undefine the guest"),
    Code("NODE_FOREIGN_GUEST", NOTE, "node", "ENODEORPHANINSTANCE", "a guest is not ours", "nothing, if you put it there"),
    Code("NODE_ORPHAN_VOLUME", WARNING, "node", "ENODEORPHANLV", "a volume bears our tag, and belongs to no disk on this node",
         "of a known instance: instance_repair for it; else on {object}: make sure that nobody needs it, then lvremove"),
    Code("NODE_ORPHAN_RESOURCE_FILE", WARNING, "node", "ENODEDRBD", "a DRBD resource file of ours belongs to no disk on this node",
         "on {object}: drbdadm down, then remove the file from /etc/drbd.d"),
    Code("NODE_ORPHAN_RESOURCE", WARNING, "node", "ENODEDRBD", "a DRBD resource is up, and belongs to no disk on this node",
         "on {object}: look at drbdsetup status, then drbdsetup down"),
    Code("NODE_ORPHAN_RECORD", WARNING, "node", None, "the node remembers an instance that is not, or no longer, its own",
         "on {object}: remove its file from /var/lib/gantry/instances once nothing else of it is there"),
    Code("NODE_BROKEN_RECORD", ERROR, "node", "ENODEFILECHECK", "the node's memory of an instance cannot be read",
         "compare with the other node's copy, remove the file on {object}, run instance_start for the instance"),
    # -- instances ---------------------------------------------------------------------------------------------------
    Code("INSTANCE_BUSY", NOTE, "instance", None, "an operation is under way; only what cannot wait is looked at",
         "run verify again when it has ended"),
    Code("INSTANCE_INTERRUPTED", ERROR, "instance", None, "an operation has begun and not ended, and nobody works on it",
         "run the interrupted verb again for {object}, or instance_repair -l {object}"),
    Code("INSTANCE_BAD_NODE", ERROR, "instance", "EINSTANCEBADNODE", "the instance is on a node that the registry does not know",
         "run node_add for that node"),
    Code("INSTANCE_OFFLINE_NODE", ERROR, "instance", "EINSTANCEBADNODE", "the primary is marked offline",
         "run instance_failover -l {object}"),
    Code("INSTANCE_DRAINED_NODE", WARNING, "instance", None, "the primary is drained and still has the instance",
         "run instance_migrate -l {object}"),
    Code("INSTANCE_LAYOUT", ERROR, "instance", "EINSTANCELAYOUT",
         "the instance's nodes do not fit its disk template, or its disks lie elsewhere",
         "restore the registry from a backup (docs/registry.md)"),
    Code("INSTANCE_SPLIT_GROUPS", WARNING, "instance", "EINSTANCESPLITGROUPS", "primary and secondary are in different node groups",
         "correct gantry_node_group of one of the nodes with node_add"),
    Code("INSTANCE_UNSUITABLE_NODE", ERROR, "instance", "EINSTANCEUNSUITABLENODE", "a node of the instance cannot run it",
         "upgrade that node, or make its hypervisor and machine types those of the other"),
    Code("INSTANCE_NOT_REDUNDANT", NOTE, "instance", None, "the disks have one copy only, as the disk template has it",
         "nothing, if that is wanted"),
    Code("INSTANCE_DOWN", ERROR, "instance", "EINSTANCEDOWN", "the instance should run and runs nowhere", "run instance_start -l {object}"),
    Code("INSTANCE_NODE_DOWN", ERROR, "instance", "EINSTANCEBADNODE",
         "whether the instance runs cannot be known: its primary cannot be asked",
         "mend the primary, or instance_failover -l {object}"),
    Code("INSTANCE_UP", ERROR, "instance", "EINSTANCEDOWN", "the instance runs and should be stopped",
         "run instance_stop -l {object}, or instance_start if it shall run"),
    Code("INSTANCE_WRONG_NODE", ERROR, "instance", "EINSTANCEWRONGNODE", "the instance runs on another node than its primary",
         "run instance_repair -l {object}"),
    Code("INSTANCE_TWICE", ERROR, "instance", "EINSTANCEWRONGNODE", "the instance lives on two nodes",
         "run instance_repair -l {object}: it shows both, and ends the one that you name with -e gantry_victim_node=NODE"),
    Code("INSTANCE_WAITING", ERROR, "instance", None, "a copy that arrived by a migration waits and was never resumed",
         "run instance_repair -l {object}"),
    Code("INSTANCE_STATE", ERROR, "instance", "EINSTANCEDOWN", "the guest is there and does not run",
         "on {node}: virsh domstate --reason {object}; "
         "then virsh resume, or instance_reboot -l {object} -e gantry_force=true"),
    Code("INSTANCE_TRANSIENT", WARNING, "instance", None, "the guest runs without a stored definition and vanishes when it is shut down",
         "run instance_reboot -l {object}"),
    Code("INSTANCE_SETTINGS", WARNING, "instance", None, "the running guest has other memory or processors than its record",
         "run instance_reboot -l {object}"),
    Code("INSTANCE_STALE_DEFINITION", WARNING, "instance", None, "the guest is also defined on a node where it does not belong",
         "run instance_repair -l {object}"),
    Code("INSTANCE_NOT_DEFINED", NOTE, "instance", None, "the stopped guest is not defined on its primary",
         "nothing: instance_start defines it"),
    Code("INSTANCE_UUID", ERROR, "instance", "ECLUSTERCFG", "a guest of the instance's name is another one",
         "on {node}: rename or undefine the foreign guest"),
    Code("INSTANCE_AUTOSTART", ERROR, "instance", None, "libvirt starts the guest by itself when the node boots, wherever it runs by then",
         "on {node}: virsh autostart --disable {object}"),
    Code("INSTANCE_MANAGED_SAVE", ERROR, "instance", None, "a saved memory image would be resumed on disks that have changed since",
         "on {node}: virsh managedsave-remove {object}"),
    Code("INSTANCE_RECORD_MISSING", WARNING, "instance", None, "a node of the instance has no record of it, so it cannot refuse an old "
         "operation",
         "run instance_start -l {object} (and instance_stop after it if it should be stopped)"),
    Code("INSTANCE_RECORD_NEWER", ERROR, "instance", "ECLUSTERCFG",
         "a node has seen a newer operation than the registry, which is out of date",
         "restore the newest registry (docs/registry.md); until then the node refuses every verb"),
    # -- disks -------------------------------------------------------------------------------------------------------
    Code("DISK_SECRET_MISSING", ERROR, "disk", "EINSTANCEMISSINGCFGPARAMETER", "the registry has no DRBD secret for the disk",
         "restore the registry from a backup (docs/registry.md)"),
    Code("DISK_VOLUME_MISSING", ERROR, "disk", "EINSTANCEMISSINGDISK", "a logical volume of the disk is gone",
         "on {node}: look at lvs; of a mirrored disk the other node has the only copy now: do not stop that node, and run "
         "instance_replace_disks -l {instance}"),
    Code("DISK_FOREIGN_VOLUME", ERROR, "disk", "EINSTANCEMISSINGDISK", "the disk's volume bears another instance's tag",
         "on {node}: look whose it is (lvs -o+tags) before any verb"),
    Code("DISK_MARKED_NEW", WARNING, "disk", None, "a volume in use still counts as never used, so it could be formatted again",
         "run instance_activate_disks -l {instance}; if it stays, on {node}: lvchange --deltag gantry.new"),
    Code("DISK_ASIDE", NOTE, "disk", None, "an old copy that was set aside is still there",
         "when nobody needs it any more: instance_replace_disks -l {instance} -e gantry_drop_aside=true"),
    Code("DISK_SIZE", ERROR, "disk", "EINSTANCEFAULTYDISK", "a size is not the recorded one",
         "on {node}: compare lvs and drbdsetup status --statistics with the record, on both nodes"),
    Code("DISK_RESOURCE_FILE_MISSING", ERROR, "disk", "ENODEFILECHECK", "the disk's DRBD resource file is gone",
         "run instance_activate_disks -l {instance}: it writes the file"),
    Code("DISK_RESOURCE_FILE_WRONG", ERROR, "disk", "ENODEFILECHECK", "the disk's DRBD resource file is not what the record says",
         "on {node}: look at the file; remove it if it is ours, then instance_activate_disks -l {instance}"),
    Code("DISK_RESOURCE_FILE_OPEN", ERROR, "disk", "ENODEFILECHECK", "the file with the disk's DRBD secret can be read by others",
         "on {node}: chmod 0600 /etc/drbd.d/{object}.res"),
    Code("DISK_NOT_UP", ERROR, "disk", "ENODEDRBD", "the disk's DRBD resource is not up",
         "run instance_activate_disks -l {instance}"),
    Code("DISK_SPLIT_BRAIN", ERROR, "disk", "EINSTANCEFAULTYDISK", "both copies have changed on their own",
         "run instance_repair -l {instance}: it shows both sides; then name the copy to give up with -e gantry_victim_node=NODE"),
    Code("DISK_DISKLESS_PRIMARY", ERROR, "disk", "EINSTANCEFAULTYDISK",
         "the guest works on the other node's copy, because its own node lost the disk. Do not reboot that node",
         "run instance_replace_disks -l {instance}, or instance_failover -l {instance} first"),
    Code("DISK_DETACHED", ERROR, "disk", "EINSTANCEFAULTYDISK", "the secondary lost its disk",
         "on {node}: look at dmesg and lvs; then instance_replace_disks -l {instance}"),
    Code("DISK_OUTDATED", ERROR, "disk", "EINSTANCEFAULTYDISK", "a copy is outdated and may not be used",
         "mend the link between the nodes, then instance_activate_disks -l {instance}"),
    Code("DISK_STALE", ERROR, "disk", "EINSTANCEFAULTYDISK", "no good copy is reachable", "bring back the node with the good copy"),
    Code("DISK_DEGRADED", ERROR, "disk", "EINSTANCEFAULTYDISK", "only one good copy is there",
         "bring the other node or the link back, then instance_activate_disks -l {instance}; if the node is lost, "
         "instance_replace_disks -l {instance} -e gantry_new_secondary=NODE"),
    Code("DISK_SYNCING", WARNING, "disk", "EINSTANCEFAULTYDISK", "a copy is being brought up to date",
         "wait, and do not stop the node with the good copy"),
    Code("DISK_OUT_OF_SYNC", ERROR, "disk", "EINSTANCEFAULTYDISK", "the copies call themselves equal and differ",
         "on the secondary: drbdadm disconnect {object}, drbdadm connect {object}: what differs is copied again"),
    Code("DISK_WINDOW_OPEN", ERROR, "disk", None, "two primaries are allowed, and no migration is in progress",
         "run instance_repair -l {instance}"),
    Code("DISK_TWO_PRIMARIES", ERROR, "disk", None, "both nodes are primary, and no migration is in progress",
         "run instance_repair -l {instance}"),
    Code("DISK_IDLE_PRIMARY", WARNING, "disk", "ENODEDRBD", "a node is primary, and the guest does not run there",
         "run instance_repair -l {instance}"),
    Code("DISK_SUSPENDED", ERROR, "disk", "EINSTANCEFAULTYDISK", "input and output stand still",
         "on {node}: drbdadm status {object}, then drbdadm resume-io"),
    Code("DISK_PROTOCOL", ERROR, "disk", "ENODEDRBD", "the mirror does not wait for the other node, so a failover may lose data",
         "on {node}: drbdadm adjust {object}"),
    Code("DISK_MINOR", ERROR, "disk", "ENODEDRBD", "the disk's device has another number than the record says",
         "on {node}: drbdadm dump {object}; drbdadm adjust {object} while the guest is off"),
)

#: By name, in the order of docs/verify.md.
CODES = {code.name: code for code in _LIST}
