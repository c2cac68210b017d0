# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a node as such, and where the nodes differ."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.drbd import helper
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.plugin_utils.nic_spec import ROUTED

#: Seconds a clock may be off: Ganeti's limit, and one that shows that nothing keeps the clock.
CLOCK_LIMIT = 150
CLOCK_DRIFT = 5
#: Share of a volume group that has to be free.
VG_FREE = 0.05
#: Share of a file system that has to be free; of a large one this many MiB are enough.
FILES_FREE, FILES_ENOUGH = 0.05, 1024


def check(case):
    """All checks of nodes."""
    for name, node in case.nodes.items():
        _registered(case, name, node)
        if node["offline"]:
            case.add("NODE_OFFLINE", name, "offline", "in use")
        elif _answers(case, name):
            info = case.facts[name].info
            _identity(case, name, node, info)
            _clock(case, name, case.facts[name])
            _subsystems(case, name, node, case.facts[name])
            _files(case, name, info["file_systems"])
            _services(case, name, info)
            _trust(case, name, node, info)
    _bridges(case)
    _versions(case)


def _registered(case, name, node):
    """What the controller knows of the node without asking it."""
    if node["drained"]:
        case.add("NODE_DRAINED", name, "drained", "in use")
    if name in case.controller["unlisted"]:
        case.add("NODE_NOT_LISTED", name, "not in the inventory", "a host of gantry_nodes")
    lacking = [key for key in ("migration_public_key", "ssh_host_keys") if not node[key]]
    if lacking:
        case.add("NODE_KEY", name, "the registry has no %s" % " and no ".join(lacking), "both, to let guests migrate")
    fence = case.controller["fence"].get(name)
    if fence is None or len(case.nodes) < 2:
        return
    if not fence["methods"]:
        case.add("NODE_FENCE", name, "gantry_fence is empty", "at least one fence device")
    for agent in fence["missing"]:
        case.add("NODE_FENCE_AGENT", name, "no program %s" % agent, "an agent that can be run")


def _answers(case, name):
    facts = case.facts[name]
    if not facts.reachable:
        case.add("NODE_UNREACHABLE", name, facts.error or ("no answer" if facts.asked else "was not asked"), "an answer")
        return False
    if facts.info is None:
        case.add("NODE_NO_FACTS", name, facts.error or "nothing", "the module's node_info")
        return False
    if facts.broken:
        more = "" if len(facts.broken) < 6 else " and %d more" % (len(facts.broken) - 5)
        case.add("NODE_INCOMPLETE", name, "; ".join(facts.broken[:5]) + more, "all of node_info")
    return True


def _identity(case, name, node, info):
    if info["hostname"] and info["hostname"] != node["hostname"]:
        case.add("NODE_HOSTNAME", name, info["hostname"], node["hostname"])
    if info["addresses"] and node["address"] not in info["addresses"]:
        case.add("NODE_ADDRESS", name, ", ".join(info["addresses"]), node["address"])


def skew(facts, now):
    """Seconds by which the node's clock is off, at least; 0 when it may be right. None when it is not known.

    :param now: the controller's clock, for an observation that does not say when it was made.
    """
    told = facts.info["time"]
    asked, answered = (now if moment is None else moment for moment in facts.times)
    if told is None or asked is None or answered is None:
        return None
    return told - answered if told > answered else min(0.0, told - asked)


def _clock(case, name, facts):
    off = skew(facts, case.controller["time"])
    if off is not None and abs(off) > CLOCK_DRIFT:
        code = "NODE_CLOCK" if abs(off) > CLOCK_LIMIT else "NODE_CLOCK_DRIFT"
        case.add(code, name, "%.0f s %s" % (abs(off), "ahead" if off > 0 else "behind"), "the controller's time")


def _subsystems(case, name, node, facts):
    info = facts.info
    for part, code in (("libvirt", "NODE_LIBVIRT"), ("lvm", "NODE_LVM"), ("drbd", "NODE_DRBD")):
        if info[part]["ok"] is False:
            case.add(code, name, info[part]["error"] or "an error", "an answer")
    if facts.drbd:
        _drbd(case, name, info["drbd"])
    if facts.lvm:
        _volume_group(case, name, node["vg"], info["volume_groups"].get(node["vg"]), info["volume_groups"])
    seen = info["lvm_filter"]
    if seen["rejects_drbd"] is False:
        case.add("NODE_LVM_FILTER", name, "global_filter %s" % (", ".join(seen["global_filter"]) or "is empty"),
                 "patterns that reject /dev/drbd*")
    elif seen["scan_lvs"] and texts.lvm_admits(
            [word for word in seen["global_filter"] if len(word) > 2], texts.guest_device_names(node["vg"])[1]):
        case.add("NODE_LVM_FILTER", name, "scan_lvs is on, and the volumes of %s are not rejected" % node["vg"],
                 "scan_lvs = 0, or patterns that reject them")


def _drbd(case, name, drbd):
    kernel = drbd["kernel_version"]
    if kernel is None:
        case.add("NODE_DRBD_MODULE", name, "not loaded", "loaded")
        return
    version = texts.parse_version(kernel)
    if version and version < texts.DRBD_OLDEST:
        case.add("NODE_DRBD_OLD", name, kernel, "8.4.4 or newer")
    # DRBD 9 needs no helper for what ours does
    if version and version < (9,):
        if drbd["usermode_helper"] != helper.PATH:
            case.add("NODE_DRBD_HELPER", name, drbd["usermode_helper"] or "none", helper.PATH)
        elif drbd["usermode_helper_runs"] is False:
            case.add("NODE_DRBD_HELPER", name, "%s cannot be run" % helper.PATH, "a program")


def _volume_group(case, name, vg, group, groups):
    if group is None:
        case.add("NODE_VG_MISSING", name, ", ".join(sorted(groups)) or "no volume group", vg)
        return
    if group["missing_pvs"]:
        case.add("NODE_VG_INCOMPLETE", name, "%d physical volumes of %s missing" % (group["missing_pvs"], vg), "none missing")
    if group["free_mib"] < group["size_mib"] * VG_FREE:
        case.add("NODE_VG_FULL", name, "%d of %d MiB of %s free" % (group["free_mib"], group["size_mib"], vg),
                 "at least %d MiB" % (group["size_mib"] * VG_FREE))


def _files(case, name, file_systems):
    for folder, space in sorted(file_systems.items()):
        enough = min(space["size_mib"] * FILES_FREE, FILES_ENOUGH)
        if space["free_mib"] < enough:
            case.add("NODE_FILES_FULL", name, "%d of %d MiB free in %s" % (space["free_mib"], space["size_mib"], folder),
                     "at least %d MiB" % enough)


def _services(case, name, info):
    for service in sorted(service for service, enabled in info["autostart_services"].items() if enabled):
        case.add("NODE_AUTOSTART_SERVICE", name, "%s is enabled" % service, "disabled")
    if info["shutdown_service"] is False:
        case.add("NODE_SHUTDOWN_SERVICE", name, "%s is not enabled" % texts.STOP_UNIT_NAME, "enabled")


def _key(text):
    """A public key without its comment."""
    return " ".join(text.split()[:2])


def _trust(case, name, node, info):
    """Its own key is the registered one, and it lets every other node in."""
    if not case.facts[name].told("migration"):
        return
    own = info["migration"]["public_key"]
    if node["migration_public_key"] and (own is None or _key(own) != _key(node["migration_public_key"])):
        case.add("NODE_KEY", name, own or "no key on the node", _key(node["migration_public_key"]))
    trusted = {_key(key) for key in info["migration"]["trusted_keys"]}
    for other, entry in case.nodes.items():
        key = entry["migration_public_key"]
        if other != name and key and not entry["offline"] and _key(key) not in trusted:
            case.add("NODE_TRUST", name, "no key of %s" % other, "the migration key of every other node")


def _bridges(case):
    """The bridges and switches that the instances of each node are connected to."""
    for name, facts in case.facts.items():
        if not facts.told("bridges", "ovs_bridges"):
            continue
        needed = {}
        for instance, record in case.instances.items():
            if name in case.node_names(record):
                for bridge in {nic["bridge"] for nic in record["nics"] if nic["bridge"] and nic["mode"] != ROUTED}:
                    needed.setdefault(bridge, []).append(instance)
        for bridge in sorted(set(needed) - set(facts.info["bridges"]) - set(facts.info["ovs_bridges"])):
            case.add("NODE_BRIDGE", name, "no bridge %s, which %s needs; there is %s" % (
                bridge, ", ".join(needed[bridge]), ", ".join(facts.info["bridges"]) or "none"), bridge)


_VERSIONS = (
    ("CLUSTER_DRBD_VERSIONS", lambda info: info["drbd"]["kernel_version"]),
    ("CLUSTER_LIBVIRT_VERSIONS", lambda info: info["libvirt"]["version"]),
    ("CLUSTER_QEMU_VERSIONS", lambda info: info["libvirt"]["qemu_version"]),
    ("CLUSTER_KERNEL_VERSIONS", lambda info: info["kernel"]),
    ("CLUSTER_ARCHITECTURES", lambda info: info["architecture"]),
)


def _versions(case):
    for code, read in _VERSIONS:
        by_version = {}
        for name, facts in case.facts.items():
            version = read(facts.info) if facts.info else None
            if version:
                by_version.setdefault(version, []).append(name)
        if len(by_version) > 1:
            case.add(code, case.name, "; ".join(
                "%s: %s" % (", ".join(names), version) for version, names in sorted(by_version.items())), "the same on all nodes")
