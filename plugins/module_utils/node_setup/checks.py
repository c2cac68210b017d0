# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a server unfit to be a node, or an option unusable: pure functions on data, for node_setup.

Each refusal says what was found, what was expected and what mends it.
"""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\Z")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}\Z")
_VG = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,126}\Z")


def bad(option, found, expected, code="bad_option"):
    """The refusal of an option's value."""
    return GantryError("The option %s cannot be used" % option, found=str(found) or "nothing", expected=expected,
                       mend="correct the option", code=code)


def check_options(options):
    """The options in their final form; needs nothing of the node. Pure.

    :param options: the module's parameters.
    :raises GantryError: a value cannot be used.
    """
    wanted = dict(options)
    if not _NAME.match(wanted["name"]):
        raise bad("name", wanted["name"], "a host's name")
    wanted["address"] = check_address("address", wanted["address"])
    if not _VG.match(wanted["vg"]):
        raise bad("vg", wanted["vg"], "the name of a volume group")
    if not _USER.match(wanted["migration_user"]) or wanted["migration_user"] == "root":
        raise bad("migration_user", wanted["migration_user"], "a system user of its own, such as gantry-migrate")
    for pattern in wanted["lvm_reject"]:
        if not pattern or re.search(r'["|\\\n]', pattern):
            raise bad("lvm_reject", pattern, "a regular expression without quotes, | and backslashes ([.] for a dot)")
        try:
            re.compile(pattern)
        except re.error as broken:
            raise bad("lvm_reject", "%s (%s)" % (pattern, broken), "a regular expression") from broken
    count = wanted["drbd_minor_count"]
    if count is not None and not 1 <= count <= 1048576:
        raise bad("drbd_minor_count", count, "1 to 255, with DRBD 9 up to 1048576")
    if wanted["vg_min_size_mib"] < 0:
        raise bad("vg_min_size_mib", wanted["vg_min_size_mib"], "0 or more MiB")
    if not 0 <= wanted["shutdown_timeout"] <= 86400:
        raise bad("shutdown_timeout", wanted["shutdown_timeout"], "0 to 86400 seconds")
    wanted["hypervisors"] = check_hypervisors(wanted.get("hypervisors") or ["kvm"])
    if wanted["peers"] is not None:
        wanted["peers"] = check_peers(wanted["peers"], wanted["name"], wanted["address"])
    return wanted


def check_hypervisors(names):
    """The hypervisors of the node, each once.

    :raises GantryError: an unknown one, or two that exclude each other.
    """
    for name in names:
        if name not in hypervisors.BACKENDS:
            raise bad("hypervisors", name, "some of " + ", ".join(hypervisors.names()))
    if "kvm" in names and any(name.startswith("xen-") for name in names):
        raise bad("hypervisors", ", ".join(names), "kvm or Xen: a node that Xen runs has no KVM of its own")
    return list(dict.fromkeys(names))


def check_address(option, text):
    """An address as its usual text."""
    try:
        address = ipaddress.ip_address(str(text))
    except ValueError as broken:
        raise bad(option, text, "an IP address") from broken
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        raise bad(option, text, "an address that the other nodes can reach")
    return str(address)


def check_peers(peers, node, address):
    """The peers with what is needed of each, their keys without comments.

    :param node: this node's name; it may be among them.
    :param address: this node's address.
    """
    checked = []
    for peer in peers:
        missing = [key for key in ("name", "hostname", "address") if not peer.get(key)]
        if missing:
            raise bad("peers", "%s without %s" % (peer.get("name") or "an entry", ", ".join(missing)),
                      "name, hostname and address of each")
        option = "peers (%s)" % peer["name"]
        for key in ("name", "hostname"):
            if not _NAME.match(str(peer[key])):
                raise bad(option, "%s %s" % (key, peer[key]), "a host's name")
        entry = {"name": peer["name"], "hostname": peer["hostname"], "address": check_address(option, peer["address"])}
        host_keys, key = peer.get("ssh_host_keys") or [], peer.get("migration_public_key")
        try:
            entry["ssh_host_keys"] = texts.unique([texts.clean_key(key) for key in host_keys])
            entry["migration_public_key"] = texts.clean_key(key) if key else None
        except ValueError as broken:
            raise bad(option, str(broken), "SSH public keys, one line each") from broken
        if (entry["name"] == node) != (entry["address"] == address):
            raise bad(option, "address %s" % entry["address"],
                      "%s for this node (%s) and for no other" % (address, node))
        checked.append(entry)
    for key in ("name", "hostname", "address"):
        values = [peer[key] for peer in checked]
        twice = texts.unique([value for value in values if values.count(value) > 1])
        if twice:
            raise bad("peers", "%s %s more than once" % (key, ", ".join(twice)),
                      "nodes that differ in name, hostname and address")
    return checked


def check_system(uid, systemd):
    """What every step needs.

    :param uid: the effective user id.
    :param systemd: whether systemd runs this machine.
    """
    if uid != 0:
        raise GantryError("A node can only be prepared as root", found="user id %d" % uid, expected="user id 0",
                          mend="run the play with become: true", code="not_root")
    if not systemd:
        raise GantryError("This server is not run by systemd", found="no /run/systemd/system", expected="systemd",
                          mend="use a server with systemd as a node", code="no_systemd")


def check_node(wanted, seen):
    """Everything that makes this server unfit. Pure.

    :param wanted: from :func:`check_options`.
    :param seen: from :func:`observe`.
    :raises GantryError: the first reason, with what mends it.
    """
    if seen["hostname"] in ("", "localhost", "(none)"):
        raise GantryError(
            "This node has no name of its own", found=seen["hostname"] or "nothing",
            expected="a hostname no other node has", mend="hostnamectl set-hostname NAME", code="no_hostname",
        )
    for peer in wanted["peers"] or []:
        mine = peer["name"] == wanted["name"]
        if mine != (peer["hostname"] == seen["hostname"]):
            raise bad("peers (%s)" % peer["name"], "hostname %s" % peer["hostname"], "%s, as 'uname -n' says here, for "
                      "this node (%s) and for no other" % (seen["hostname"], wanted["name"]))
    here = [address for unused, address in seen["addresses"]]
    if wanted["address"] not in [str(ipaddress.ip_address(address)) for address in here]:
        raise GantryError(
            "The address %s is not on this node" % wanted["address"],
            found=", ".join("%s %s" % pair for pair in seen["addresses"]) or "no address",
            expected="the node's address in the cluster network, on one of its interfaces",
            mend="configure it permanently in the host's network settings, or correct the node's address",
            code="no_address",
        )
    check_libvirt(seen)
    check_drivers(wanted, seen)
    check_drbd(wanted, seen)
    check_volume_group(wanted, seen)
    check_user(wanted, seen)


def check_libvirt(seen):
    """libvirt with its daemon, client and Python binding must be there."""
    if seen["missing"]:
        raise GantryError(
            "libvirt is not installed completely on this node", found="no %s" % ", ".join(sorted(seen["missing"])),
            expected="its daemon, client and Python binding",
            mend="apt install libvirt-daemon-system libvirt-clients python3-libvirt", code="no_libvirt",
        )
    if texts.daemon_of(seen["units"]) is None:
        raise GantryError(
            "systemd knows no libvirt daemon on this node", found="neither libvirtd.service nor virtqemud.service",
            expected="one of them", mend="apt install libvirt-daemon-system; systemctl unmask libvirtd.service",
            code="no_libvirt",
        )


#: The file of each libvirt driver, and the package that brings it.
DRIVERS = {
    "qemu:///system": ("libvirt_driver_qemu.so", "libvirt-daemon-driver-qemu"),
    "lxc:///system": ("libvirt_driver_lxc.so", "libvirt-daemon-driver-lxc"),
    "xen:///system": ("libvirt_driver_libxl.so", "libvirt-daemon-driver-xen"),
}


def check_drivers(wanted, seen):
    """Each hypervisor's libvirt driver, and for Xen that it runs this machine: it comes before the kernel, so we cannot start it."""
    for backend in hypervisors.drivers(wanted["hypervisors"]):
        name, package = DRIVERS.get(backend.uri, (None, None))
        if name and name not in seen["drivers"]:
            raise GantryError(
                "libvirt on this node has no driver for hypervisor %s" % backend.name, found="no %s" % name,
                expected="the package %s" % package, mend="apt install %s" % package, code="no_driver")
        if backend.uri == "xen:///system" and "control_d" not in (seen["xen"] or ""):
            raise GantryError(
                "This node is not run by Xen", found="no control domain (/proc/xen/capabilities: %s)" % (seen["xen"] or "none"),
                expected="dom0 of a Xen hypervisor", code="no_xen",
                mend="apt install xen-system-amd64, reboot into its entry of the boot loader, then run node_add again")


def check_drbd(wanted, seen):
    """DRBD's tools and a module that can be loaded and is new enough."""
    drbd = seen["drbd"]
    if not drbd["tools"]:
        raise GantryError("DRBD's tools are not installed on this node", found="no drbdadm",
                          expected="the package drbd-utils", mend="apt install drbd-utils", code="no_drbd")
    if drbd["missing"]:
        raise GantryError(
            "The kernel of this node has no DRBD module", found="kernel %s: %s" % (seen["kernel"], drbd["missing"]),
            expected="the module drbd, 8.4.4 or newer",
            mend="install the distribution's kernel (apt install linux-image-amd64) and reboot into it", code="no_drbd",
        )
    check_drbd_version(drbd["version"])
    count = wanted["drbd_minor_count"]
    if count is not None and count > 255 and texts.parse_version(drbd["version"]) < (9,):
        raise bad("drbd_minor_count", count, "1 to 255 with DRBD %s" % drbd["version"])
    included = re.search(r"""include\s+["']?(/etc/)?drbd\.d/\*\.res""", texts.without_comments(drbd["conf"] or ""))
    if not included:
        raise GantryError(
            "%s does not read the resource files" % texts.DRBD_CONF,
            found="no such file" if drbd["conf"] is None else "no such line", expected='include "drbd.d/*.res";',
            mend="add that line", code="drbd_conf",
        )


def check_drbd_version(version):
    """The module's version, when it says one.

    :raises GantryError: too old.
    """
    number = texts.parse_version(version or "")
    if number and number < texts.DRBD_OLDEST:
        raise GantryError("DRBD on this node is too old", found=version, expected="8.4.4 or newer",
                          mend="boot a newer kernel", code="drbd_version")


def check_volume_group(wanted, seen):
    """The volume group, whole and large enough."""
    groups, name = seen["groups"], wanted["vg"]
    if name not in groups:
        raise GantryError(
            "The volume group %s is not on this node" % name,
            found="volume groups %s" % ", ".join(sorted(groups)) if groups else "no volume group",
            expected=name, mend="vgcreate %s /dev/DISK" % name, code="no_volume_group",
        )
    group = groups[name]
    if group["missing"]:
        raise GantryError(
            "The volume group %s is not complete" % name, found="%d physical volumes missing" % group["missing"],
            expected="all of them", mend="look at 'vgs -o +vg_missing_pv_count' and 'pvs', and bring the disk back",
            code="volume_group_incomplete",
        )
    if group["size_mib"] < wanted["vg_min_size_mib"]:
        raise GantryError(
            "The volume group %s is too small" % name, found="%d MiB" % group["size_mib"],
            expected="at least %d MiB" % wanted["vg_min_size_mib"], mend="vgextend %s /dev/DISK" % name,
            code="volume_group_small",
        )


def check_user(wanted, seen):
    """An account of that name must be ours, and libvirt's group must be there."""
    user = seen["user"]
    if user and (user["home"] != texts.MIGRATION_HOME or user["uid"] == 0):
        raise GantryError(
            "The account %s is somebody else's" % wanted["migration_user"],
            found="user id %d, home %s" % (user["uid"], user["home"]),
            expected="no such account, or one with home %s" % texts.MIGRATION_HOME,
            mend="choose another migration_user for the cluster", code="foreign_user",
        )
    if seen["libvirt_group"] is None:
        raise GantryError(
            "There is no group libvirt on this node", found="no such group",
            expected="the group that may use libvirt's socket",
            mend="apt install --reinstall libvirt-daemon-system", code="no_libvirt",
        )


def hidden_groups(before, after):
    """The volume groups that LVM would see no more, or not whole. Pure.

    :param before: from :func:`texts.parse_groups`, as things are.
    :param after: the same with another filter.
    """
    return [name for name in sorted(before)
            if name not in after or after[name]["missing"] > before[name]["missing"]]


def check_filter(patterns, wanted, before, after, active):
    """Whether the LVM filter hides the guests' disks and nothing else. Pure.

    :param patterns: the filter.
    :param before: volume groups seen now, from :func:`texts.parse_groups`.
    :param after: volume groups seen with the filter.
    :param active: {volume group: [its active volumes]} for the groups the filter hides.
    :returns: warnings.
    :raises GantryError: the volume group itself or somebody else's would be hidden, or guests' disks would not.
    """
    for names in texts.guest_device_names(wanted["vg"]):
        if texts.lvm_admits(patterns, names):
            broad = [word for word in patterns if word[0] == "a" and texts.lvm_admits([word, "r|.|"], names)]
            raise GantryError(
                "LVM's global_filter on this node lets the guests' disks in",
                found="%s accepts another name of %s" % (", ".join(broad) or "a pattern", names[0]),
                expected="accepting patterns that name the host's own disks only",
                mend="narrow them in %s" % texts.LVM_FOLDER, code="lvm_filter",
            )
    rejects, warnings = texts.lvm_rejects(wanted["vg"], wanted["lvm_reject"]), []
    for name in hidden_groups(before, after):
        seen = after[name]["devices"] if name in after else []
        hidden = [device for device in before[name]["devices"] if device not in seen]
        others = [device for device in hidden if texts.lvm_admits(rejects, [device])]
        if others or name == wanted["vg"]:
            raise GantryError(
                "LVM's filter would hide the volume group %s" % name,
                found="its physical volume %s" % ", ".join(others or hidden),
                expected="a filter that hides guests' disks only",
                mend="correct lvm_reject, or the global_filter in %s, or rename a device called like a volume of %s"
                     % (texts.LVM_FOLDER, wanted["vg"]), code="lvm_filter",
            )
        if active.get(name):
            raise GantryError(
                "The volume group %s lies on a guest's disk and is active on this host" % name,
                found="%s on %s" % (", ".join(active[name]), ", ".join(hidden)),
                expected="no host using a guest's disk",
                mend="vgchange -an %s (what this host needs itself must not lie in %s)" % (name, wanted["vg"]),
                code="guest_volume_group_active",
            )
        warnings.append("the volume group %s on %s is a guest's: LVM on this host no longer looks at it"
                        % (name, ", ".join(hidden)))
    return warnings


def filter_findings(inherited, local):
    """What the administrator should know about his own filter: list of texts. Pure.

    :param inherited: his patterns.
    :param local: the text of lvmlocal.conf.
    """
    warnings = []
    broad = [pattern for pattern in inherited if texts.accepts_all(pattern)]
    if broad and inherited != broad:
        warnings.append("LVM's filter of this node accepts everything by %s, which would let guests' disks in by "
                        "another of their names: left out in %s" % (", ".join(broad), texts.LVM_LOCAL))
    rest = texts.without_comments(texts.without_block(local, texts.LVM_LOCAL))
    if "global_filter" in rest:
        warnings.append("%s has a global_filter of its own, so every LVM command warns of a duplicate: remove it, the "
                        "lines of gantry.cluster hold its patterns" % texts.LVM_LOCAL)
    return warnings
