# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything about a node in one reading: the machine, its volumes, DRBD, libvirt and its domains, its memory.

Parsers are pure functions on text; ``collect`` reads files and runs as few commands as there are subsystems.
A subsystem that fails says so in its own part, and the rest is still told: an operator needs a node's facts
most when something on it is broken.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
import time

from ansible_collections.gantry.cluster.plugins.module_utils import drbd, generation, libvirt_facts, lvm, tpm_hook
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import resource_file
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as setup

#: Where libvirt and we write: definitions and memories, consoles, keys and images.
WORK_FOLDERS = ("/", "/etc", "/var/log", "/var/lib/gantry", "/var/lib/libvirt", "/run")
#: Services that start guests or disks by themselves when a node comes up. None may be on.
AUTOSTART_SERVICES = ("libvirt-guests", "drbd", "xendomains")
#: The one that must be on: it takes guests and disks down in order when the node goes down.
SHUTDOWN_SERVICE = setup.STOP_UNIT_NAME.removesuffix(".service")


def collect(
    executor, drivers, wanted=None, paths=(), root="/", timeout=libvirt_facts.TIMEOUT, folder=generation.FOLDER,
):
    """Read the node.

    :param drivers: as :func:`hypervisor.drivers` returns.
    :param wanted: names or UUIDs of instances to limit domains and records to; None for all.
    :param paths: files to look at.
    :param root: where /proc, /sys and /etc are.
    :param timeout: seconds libvirt has.
    :returns: the module's ``node_info``.
    """
    system = os.uname()
    reader = libvirt_facts.Reader(drivers, system.machine, wanted, timeout)
    info = {
        "hostname": system.nodename, "time": time.time(), "kernel": system.release, "architecture": system.machine,
        "cpus": os.cpu_count(),
        "boot_id": _read(root, "proc/sys/kernel/random/boot_id").strip() or None,
        "addresses": addresses(_read(root, "proc/net/fib_trie"), _read(root, "proc/net/if_inet6")),
        "cpu": processor(_read(root, "proc/cpuinfo")), "pci_devices": names(os.path.join(root, "sys/bus/pci/devices")),
        "bridges": bridges(root), "vlan_bridges": vlan_bridges(root), "ovs_bridges": ovs_bridges(executor, root),
        "tpm": tpm(root),
        "tcp_ports": tcp_ports(_read(root, "proc/net/tcp") + _read(root, "proc/net/tcp6")),
        "autostart_services": {name: service_enabled(name, root) for name in AUTOSTART_SERVICES},
        "shutdown_service": service_enabled(SHUTDOWN_SERVICE, root),
        "migration": migration_keys(_read(root, setup.MIGRATION_KEY[1:] + ".pub"), _read(root, setup.AUTHORIZED_KEYS[1:])),
        "lvm_filter": lvm_filter(_read(root, "etc/lvm/lvm.conf"), _read(root, "etc/lvm/lvmlocal.conf")),
        "records": records(generation.load_all(folder), wanted),
        "resource_files": resource_files(root),
        "resource_bindings": resource_bindings(root, system.nodename),
        "paths": {path: file_facts(path) for path in paths}, "file_systems": file_systems(root),
    }
    info.update(parse_memory(_read(root, "proc/meminfo")))
    info.update(_storage(executor))
    helper = _read(root, "sys/module/drbd/parameters/usermode_helper").strip() or None
    info["drbd"]["usermode_helper"] = helper
    info["drbd"]["usermode_helper_runs"] = bool(helper) and os.access(os.path.join(root, helper.lstrip("/")), os.X_OK)
    info["libvirt"], info["domains"] = reader.finish()
    # under Xen the kernel sees dom0's share only
    info.update(info["libvirt"].pop("memory", None) or {})
    return info


def _storage(executor):
    """What LVM and DRBD show. Each part says for itself whether it could be read."""
    info = {
        "lvm": {"ok": True, "error": None}, "volume_groups": {}, "volumes": [],
        "drbd": {"ok": True, "error": None, "kernel_version": None, "utils_version": None}, "drbd_resources": {},
    }
    try:
        info["volume_groups"] = lvm.volume_groups(executor)
        info["volumes"] = lvm.our_volumes(executor)
    except GantryError as error:
        info["lvm"] = {"ok": False, "error": error.sentence()}
    try:
        info["drbd"].update(drbd.versions(executor))
        info["drbd_resources"] = drbd.status(executor)
        for name, state in info["drbd_resources"].items():
            # the evidence of a split brain, or that there is none; read only where the other side may have given up
            apart = state["connection"] != "Connected" and state["volumes"]
            state["generations"] = drbd.generations(executor, name, state["volumes"][0]["minor"]) if apart else None
    except GantryError as error:
        info["drbd"].update(ok=False, error=error.sentence())
    return info


def _read(root, path):
    """A file's text; empty when there is none."""
    try:
        return read_text(os.path.join(root, path)) or ""
    except OSError:
        return ""


def parse_memory(text):
    """``memory_total_mib`` and ``memory_free_mib`` (what can be had without swapping) from /proc/meminfo. Pure."""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
    total, free = found.get("MemTotal"), found.get("MemAvailable")
    return {
        "memory_total_mib": int(total) // 1024 if total else None,
        "memory_free_mib": int(free) // 1024 if free else None,
    }


def file_systems(root):
    """``size_mib`` and ``free_mib`` (for an ordinary user) of each file system that a node's own work writes to, by folder."""
    found, seen = {}, set()
    for folder in WORK_FOLDERS:
        path = os.path.join(root, folder.lstrip("/"))
        try:
            device, space = os.stat(path).st_dev, os.statvfs(path)
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            found[folder] = {
                "size_mib": space.f_blocks * space.f_frsize // 1024 ** 2, "free_mib": space.f_bavail * space.f_frsize // 1024 ** 2}
    return found


def tcp_ports(text):
    """The ports that something listens on, the kernel's DRBD included, from /proc/net/tcp and tcp6. Pure."""
    return sorted({int(port, 16) for port in re.findall(r"^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) \S+ 0A ", text, re.MULTILINE)})


def bridges(root="/"):
    """The names of the Linux bridges."""
    folder = os.path.join(root, "sys/class/net")
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(name for name in names if os.path.isdir(os.path.join(folder, name, "bridge")))


def vlan_bridges(root="/"):
    """Those of them that know VLANs."""
    return [name for name in bridges(root) if _read(root, "sys/class/net/%s/bridge/vlan_filtering" % name).strip() == "1"]


def tpm(root="/"):
    """What a guest's TPM needs of the node: ``lacking`` (packages that are not there) and ``hook`` (libvirt's, for mirrored disks, is
    there, and the daemon knows)."""
    runs = all(os.access(os.path.join(root, path[1:]), os.X_OK) for path in (tpm_hook.PATH, tpm_hook.PROGRAM_PATH))
    return {
        "lacking": sorted(package for path, package in tpm_hook.PROGRAMS.items() if not os.path.exists(os.path.join(root, path[1:]))),
        "hook": runs and not os.path.exists(os.path.join(root, setup.HOOK_UNSEEN[1:])),
    }


def ovs_bridges(executor, root="/"):
    """The bridges of Open vSwitch; none where it is not installed or does not answer."""
    if not os.path.exists(os.path.join(root, "usr/bin/ovs-vsctl")):
        return []
    told = executor.read(["ovs-vsctl", "--timeout=5", "list-br"], ok=None)
    return sorted(told.out.split()) if told.rc == 0 else []


def names(folder):
    """The names in a folder, sorted; None when there is none."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return None


def processor(text):
    """What tells one processor from another, from /proc/cpuinfo: ``model`` and a digest of its features. Pure."""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", text, re.MULTILINE)
    if not model:
        return None
    features = " ".join(sorted(flags.group(1).split())) if flags else ""
    return {"model": model.group(1).strip(), "features": hashlib.sha256(features.encode("ascii", "replace")).hexdigest()[:16]}


def resource_files(root="/"):
    """The DRBD resources that have a file of their own."""
    try:
        names = os.listdir(os.path.join(root, "etc/drbd.d"))
    except OSError:
        return []
    return sorted(name[:-4] for name in names if name.endswith(".res") and not name.startswith("."))


def resource_bindings(root, hostname):
    """What each resource file binds on this node. Never a secret.

    :param hostname: the node's own, as the file's ``on`` sections have it.
    :returns: by the file's name without ``.res``: ``instance`` (the UUID in our mark, or None), ``minors`` and ``ports``
        (this node's), ``private`` (only its owner may read it) and ``error`` (why it cannot be understood, or None).
    """
    found = {}
    for name in resource_files(root):
        path = os.path.join(root, "etc/drbd.d", name + ".res")
        seen = {"instance": None, "minors": [], "ports": [], "private": None, "error": None}
        found[name] = seen
        try:
            seen["private"] = not os.stat(path).st_mode & 0o077
            text = read_text(path) or ""
            mark = re.search(r"(?m)^# gantry\.instance=(\S+)$", text)
            seen["instance"] = mark.group(1) if mark else None
            for content in resource_file.describe(text, path).values():
                here = content["hosts"].get(hostname, {"minors": [], "ports": []})
                seen["minors"] += here["minors"]
                seen["ports"] += here["ports"]
        except (OSError, UnicodeDecodeError) as error:
            seen["error"] = str(error)
        except GantryError as error:
            # the sentence quotes a line, which may be the one with the secret
            seen["error"] = error.what
    return found


def addresses(fib_trie, if_inet6):
    """The node's own IP addresses, without loopback, from /proc/net/fib_trie and if_inet6. Pure."""
    found = set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", fib_trie))
    for line in if_inet6.splitlines():
        digits = line.split()[0] if line.split() else ""
        if re.fullmatch(r"[0-9a-f]{32}", digits):
            found.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)))
    return sorted(address for address in found if not address.startswith("127.") and address != "::1")


def migration_keys(public, authorized):
    """The node's own migration key and those it lets in, as "type base64". Pure.

    :param public: the public key's file.
    :param authorized: the migration user's authorized_keys.
    """
    pattern = r"(?:^|\s)((?:ssh|ecdsa|sk)-[a-z0-9@.-]+ AAAA[0-9A-Za-z+/]+=*)"
    own = re.search(pattern, public)
    trusted = [re.search(pattern, line) for line in authorized.splitlines() if not line.startswith("#")]
    return {"public_key": own.group(1) if own else None, "trusted_keys": sorted(found.group(1) for found in trusted if found)}


def service_enabled(name, root="/"):
    """Whether systemd starts the service at boot, from its links (asking systemctl costs a process).

    A service that has no unit but a script of System V (xendomains) has links of that kind.
    """
    unit = name + ".service"
    folders = [os.path.join(root, path) for path in ("etc/systemd/system", "run/systemd/system")]
    for folder in folders:
        path = os.path.join(folder, unit)
        if os.path.islink(path) and os.readlink(path) == "/dev/null":
            return False
    for folder in folders:
        try:
            inside = os.listdir(folder)
        except OSError:
            continue
        for entry in inside:
            if entry.endswith((".wants", ".requires")) and os.path.lexists(os.path.join(folder, entry, unit)):
                return True
    own = ["etc/systemd/system", "run/systemd/system", "lib/systemd/system", "usr/lib/systemd/system"]
    if any(os.path.lexists(os.path.join(root, folder, unit)) for folder in own):
        return False
    started = re.compile(r"S\d\d" + re.escape(name))
    return any(started.fullmatch(link) for level in "2345" for link in names(os.path.join(root, "etc/rc%s.d" % level)) or [])


def lvm_filter(text, local=""):
    """Whether LVM keeps off the guests' disks, from lvm.conf and lvmlocal.conf (which wins). Pure.

    :returns: ``global_filter`` (its patterns), ``rejects_drbd`` (the first pattern that fits a DRBD device
        rejects it), ``scan_lvs`` (LVM looks for volume groups inside logical volumes, that is in guests' disks).
    """
    patterns, scan = [], False
    quoted = r'"(?:[^"\\]|\\.)*"'
    for source in (text, local):
        plain = re.sub(r"(?m)^\s*#.*$", "", source)
        found = re.search(r"(?<!\w)global_filter\s*=\s*(\[(?:\s*%s\s*,?)*\s*\]|%s)" % (quoted, quoted), plain)
        if found:
            patterns = [word[1:-1] for word in re.findall(quoted, found.group(1))]
        found = re.search(r"(?<!\w)scan_lvs\s*=\s*(\d+)", plain)
        if found:
            scan = found.group(1) != "0"
    return {"global_filter": patterns, "rejects_drbd": _rejects(patterns, "/dev/drbd0"), "scan_lvs": scan}


def _rejects(patterns, device):
    """LVM's rule: the first pattern that fits decides; a device that none fits is accepted."""
    for pattern in patterns:
        if len(pattern) < 3 or pattern[0] not in "ar":
            continue
        # the delimiter is any character, a bracket closes with its partner
        end = {"(": ")", "[": "]", "{": "}"}.get(pattern[1], pattern[1])
        try:
            fits = re.search(pattern[2:].rpartition(end)[0], device)
        except re.error:
            continue
        if fits:
            return pattern[0] == "r"
    return False


def file_facts(path):
    """Whether a file can be an image, a kernel or the like, and how large it is.

    The emulator runs as a user of its own, so the file has to be readable for all, down from the root.
    """
    facts = {"ok": False, "error": None, "format": None, "size_mib": None, "virtual_size_mib": None}
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            facts["error"] = "it is no regular file"
            return facts
        with open(path, "rb") as stream:
            facts["format"], size = image_size(stream.read(32), status.st_size)
    except OSError as error:
        facts["error"] = os.strerror(error.errno)
        return facts
    except ValueError as error:
        facts["error"] = str(error)
        return facts
    facts.update(size_mib=_whole_mib(status.st_size), virtual_size_mib=_whole_mib(size))
    closed = unreadable_part(path)
    facts.update(ok=closed is None, error=closed and "%s is not readable for all users" % closed)
    return facts


def image_size(head, size):
    """Format of an image and the size in bytes that the guest sees. Pure.

    :param head: its first 32 bytes.
    :param size: the file's size in bytes.
    :raises ValueError: it begins like a qcow2 image and is none.
    """
    if head[:4] == b"QFI\xfb":
        version = int.from_bytes(head[4:8], "big")
        if len(head) < 32 or version not in (2, 3):
            raise ValueError("it begins like a qcow2 image, but is cut off or of the unknown version %d" % version)
        return "qcow2", int.from_bytes(head[24:32], "big")
    return "raw", size


def _whole_mib(size):
    """Bytes as MiB, rounded up."""
    return -(-size // (1024 * 1024))


def unreadable_part(path):
    """The first part of the path that other users cannot pass or read, or None."""
    path = os.path.realpath(path)
    folders = []
    folder = os.path.dirname(path)
    while folder not in folders:
        folders.insert(0, folder)
        folder = os.path.dirname(folder)
    for part, needed in [(folder, stat.S_IXOTH) for folder in folders] + [(path, stat.S_IROTH)]:
        if not os.stat(part).st_mode & needed:
            return part
    return None


def records(memories, wanted=None):
    """The node's memory of instances, limited to the wanted names or UUIDs. Pure.

    A memory that cannot be read has no name to compare, and is always told.
    """
    if wanted is None:
        return memories
    return {
        uuid: memory for uuid, memory in memories.items()
        if uuid in wanted or "error" in memory or (memory["record"] or {}).get("name") in wanted
    }
