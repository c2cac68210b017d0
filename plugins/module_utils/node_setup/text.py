# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of a node shall hold, and what its tools answer: pure functions on text, for node_setup."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import json
import re

from ansible_collections.gantry.cluster.plugins.module_utils import generation
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

BEGIN = "# BEGIN gantry.cluster (managed: changes between these lines are overwritten)"
END = "# END gantry.cluster"
HEADER = "# Managed by gantry.cluster (module node_prepare): changes here are overwritten.\n"

MIGRATION_FOLDER = "/etc/gantry/migration"
MIGRATION_KEY = MIGRATION_FOLDER + "/id_ed25519"
KNOWN_HOSTS = MIGRATION_FOLDER + "/known_hosts"
MIGRATION_HOME = "/var/lib/gantry/migration"
AUTHORIZED_KEYS = MIGRATION_HOME + "/.ssh/authorized_keys"
SSH_CONFIG = "/etc/ssh/ssh_config.d/50-gantry.conf"
SSH_HELPER = "/usr/bin/virt-ssh-helper"

LVM_FOLDER = "/etc/lvm"
LVM_LOCAL = LVM_FOLDER + "/lvmlocal.conf"
DRBD_CONF = "/etc/drbd.conf"
DRBD_COMMON = "/etc/drbd.d/global_common.conf"
DRBD_MODULES_LOAD = "/etc/modules-load.d/gantry.conf"
DRBD_MODPROBE = "/etc/modprobe.d/gantry-drbd.conf"
DRBD_SYS = "/sys/module/drbd"
DRBD_HELPER = DRBD_SYS + "/parameters/usermode_helper"
DRBD_MINOR_COUNT = DRBD_SYS + "/parameters/minor_count"
GUESTS_DEFAULT = "/etc/default/libvirt-guests"
STOP_SCRIPT = "/usr/local/lib/gantry/node-stop"
STOP_UNIT_NAME = "gantry-node.service"
STOP_UNIT = "/etc/systemd/system/" + STOP_UNIT_NAME
HOSTS = "/etc/hosts"
#: Debian's rules for QEMU, and the file that they include for an administrator's own.
APPARMOR_QEMU = "/etc/apparmor.d/abstractions/libvirt-qemu"
APPARMOR_LOCAL = "/etc/apparmor.d/local/abstractions/libvirt-qemu"
#: libvirt's daemon has yet to be restarted to see its hook. A boot does that as well, and takes the file away.
HOOK_UNSEEN = "/run/gantry-tpm.unseen"
#: The settings of the libvirt daemon's unit; the daemon's name is filled in.
DAEMON_DROPIN = "/etc/systemd/system/%s.service.d/gantry.conf"

#: Before 8.4.4 settings changed on the fly, as for a migration, could lose synchronisation.
DRBD_OLDEST = (8, 4, 4)

#: What is asked about in one go.
UNITS = (
    "libvirtd.service", "libvirtd.socket", "virtqemud.service", "virtqemud.socket",
    "libvirt-guests.service", "xendomains.service", "drbd.service", STOP_UNIT_NAME, "multipathd.service",
)

#: Seconds a question to libvirt may take; a stopped daemon's socket accepts and then says nothing.
LIBVIRT_TIMEOUT = 30

_KEY_TYPE = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9-]+@openssh\.com)\Z")


def without_block(text, path="the file"):
    """The text without our block of lines.

    :raises GantryError: a marker stands alone, so that where the block ends is unknown.
    """
    lines, kept, inside = text.splitlines(True), [], False
    for line in lines:
        mark = line.strip()
        if mark == BEGIN and not inside:
            inside = True
        elif mark == END and inside:
            inside = False
        elif mark in (BEGIN, END):
            inside = True
            break
        elif not inside:
            kept.append(line)
    if inside:
        raise GantryError(
            "The markers of gantry.cluster's lines in %s do not pair" % path, found="one of them alone",
            expected="'%s' and then '%s'" % (BEGIN, END), mend="remove the markers and the lines they belonged to",
            code="broken_block",
        )
    return "".join(kept)


def with_block(text, body, path="the file"):
    """The text with our block of lines, at its place when it has one, else at the end; no block without a body.

    :param body: lines without newline.
    """
    rest = without_block(text, path)
    if not body:
        return rest
    block = "".join(line + "\n" for line in [BEGIN] + body + [END])
    lines = text.splitlines(True)
    start = next((number for number, line in enumerate(lines) if line.strip() == BEGIN), None)
    before = "".join(lines[:start]) if start is not None else rest
    if before and not before.endswith("\n"):
        before += "\n"
    return before + block + (rest[len(before):] if start is not None else "")


def with_last_block(text, body, path="the file"):
    """Like :func:`with_block`, but always at the end, where it wins over what stands before."""
    return with_block(without_block(text, path), body, path)


def lvm_rejects(vg, extra=()):
    """Patterns that hide the guests' disks from LVM on the host.

    :param vg: the volume group; in a mapper name its hyphens are doubled.
    :param extra: further regular expressions.
    """
    def exactly(name):
        return re.sub(r"[.+]", lambda found: "[%s]" % found.group(0), name)

    mapper = exactly(vg.replace("-", "--"))
    # One hyphen ends the group's name: two would be the group "NAME-...", which is another one.
    patterns = ["^/dev/drbd", "^/dev/%s/" % exactly(vg), "^/dev/mapper/%s-[^-]" % mapper]
    return ["r|%s|" % pattern for pattern in patterns + list(extra)]


def lvm_filter(rejects, inherited):
    """Our patterns, then the administrator's.

    LVM accepts a device as soon as one of its names fits an accepting pattern before a rejecting one. An "accept
    everything" would therefore let DRBD devices in by their other names; it is also what LVM does with a device
    that no pattern fits, so it is left out.
    """
    return rejects + [pattern for pattern in inherited if pattern not in rejects and not accepts_all(pattern)]


def accepts_all(pattern):
    """Whether a filter's pattern accepts every device."""
    return pattern[:1] == "a" and re.sub(r"[\^$(){}\[\]/|]", "", pattern[1:].replace("dev/", "")) in (".*", ".", "")


def lvm_admits(patterns, names):
    """Whether LVM would look at a device with these names: its own rule, with Python's regular expressions."""
    rejected = False
    for name in names:
        for pattern in patterns:
            end = {"(": ")", "[": "]", "{": "}"}.get(pattern[1:2], pattern[1:2])
            expression = pattern[2:].rpartition(end)[0]
            try:
                fits = re.search(expression, name)
            except re.error:
                continue
            if fits and pattern[0] == "a":
                return True
            if fits:
                rejected = True
                break
    return not rejected


def guest_device_names(vg):
    """Names a DRBD device and a guest's volume may have, as two lists of lists."""
    mapper = vg.replace("-", "--") + "-web1.example.com--disk0"
    drbd = ["/dev/drbd11", "/dev/drbd/by-res/web1.example.com-disk0/0", "/dev/disk/by-id/x", "/dev/disk/by-uuid/x",
            "/dev/disk/by-label/x", "/dev/disk/by-diskseq/9", "/dev/block/147:11"]
    volume = ["/dev/%s/web1.example.com-disk0" % vg, "/dev/mapper/" + mapper, "/dev/dm-7",
              "/dev/disk/by-id/dm-name-" + mapper, "/dev/disk/by-id/dm-uuid-LVM-x", "/dev/disk/by-uuid/x",
              "/dev/disk/by-label/x", "/dev/disk/by-diskseq/9", "/dev/block/253:7"]
    return drbd, volume


def lvm_local_text(text, patterns):
    """lvmlocal.conf with our filter as its last word."""
    body = [
        "# LVM on this host keeps off the guests' disks. The administrator's own patterns from lvm.conf follow ours.",
        "devices {",
        "\tglobal_filter = [ %s ]" % ", ".join('"%s"' % pattern for pattern in patterns),
        "}",
    ]
    return with_last_block(text, body, LVM_LOCAL)


def parse_lvm_strings(text, key):
    """A value of ``lvmconfig``'s answer as a list of strings (LVM shows a list of one as a string)."""
    found = re.search(r"^\s*%s\s*=\s*(.*)$" % re.escape(key), text, re.MULTILINE)
    if not found:
        return []
    return [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r'"((?:[^"\\]|\\.)*)"', found.group(1))]


def drbd_modprobe_text(helper, minor_count=None):
    """The module's parameters when it is loaded."""
    options = "options drbd usermode_helper=%s" % helper
    if minor_count is not None:
        options += " minor_count=%d" % minor_count
    return HEADER + options + "\n"


def drbd_common_text():
    """global_common.conf when nobody has written one: what each resource needs stands in its own file."""
    return HEADER + "global {\n\tusage-count no;\n\tudev-always-use-vnr;\n}\n\ncommon {\n}\n"


def without_comments(text):
    """A configuration without what follows a #."""
    return re.sub(r"#.*", "", text)


def drbd_common_verdict(text, pristine):
    """What to do with global_common.conf: ``keep``, ``write`` or ``report``.

    :param text: the file's text, or None.
    :param pristine: the file is as its package brought it.
    """
    if text is None or text.startswith(HEADER):
        return "write"
    if re.search(r"\busage-count\s+no\s*;", without_comments(text)):
        return "keep"
    return "write" if pristine else "report"


def guests_default_text(text):
    """/etc/default/libvirt-guests that neither starts nor suspends guests, should anybody unmask the service."""
    body = [
        "# The service is masked: gantry-node.service shuts guests down, and only the verbs start them. A suspended",
        "# guest would later go on with old memory on a disk that has moved on.",
        "ON_BOOT=ignore",
        "ON_SHUTDOWN=shutdown",
    ]
    return with_last_block(text, body, GUESTS_DEFAULT)


#: Where each libvirt driver keeps a file for each guest that runs.
_STATE_FOLDERS = {"qemu:///system": "qemu", "lxc:///system": "lxc", "xen:///system": "libxl"}


def migration_uri(hypervisors):
    """The driver that the peers' libvirt is let in to: one, since dom0 has no KVM and a KVM node no Xen."""
    return "xen:///system" if any(name.startswith("xen-") for name in hypervisors) else "qemu:///system"


def stop_script_text(patience, uris=("qemu:///system",)):
    """What gantry-node.service runs when the node goes down.

    :param patience: seconds guests have to shut down.
    :param uris: the node's libvirt drivers.
    """
    folders = " ".join("/run/libvirt/%s/*.xml" % _STATE_FOLDERS[uri] for uri in uris)
    return """\
#!/bin/sh
%(header)s# Run by gantry-node.service when the node goes down, while the network still stands: guests off first, then
# their replicated disks, so that the peer sees a clean goodbye.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
patience=%(patience)d

# libvirt keeps one such file for each guest that runs. Without any there is no need to wake the daemon.
any_guest() {
    for file in %(folders)s; do
        if [ -e "$file" ]; then return 0; fi
    done
    return 1
}

ask() {
    uri=$1
    shift
    timeout 30 virsh -q -c "$uri" "$@"
}

guests() {
    for uri in %(uris)s; do
        for guest in $(ask "$uri" list --uuid "$@"); do
            # Xen lists the node itself as well
            if [ "$guest" != 00000000-0000-0000-0000-000000000000 ]; then echo "$uri $guest"; fi
        done
    done
}

# The signal that ends this container's init, as virsh calls it: its record says so.
signal_of() {
    python3 -c 'import json, sys
record = json.load(open(sys.argv[1]))["record"]
print(record["hvparams_effective"]["stop_signal"][3:].lower())' "%(records)s/$1.json" 2>/dev/null || echo term
}

if any_guest; then
    guests --state-running | while read -r uri guest; do
        echo "guest $guest: shutting down"
        ask "$uri" shutdown "$guest" >/dev/null
        # a container's init may have no pipe: systemd's signal, which others do not hear
        case $uri in lxc:*) ask "$uri" send-process-signal "$guest" 1 rt5 >/dev/null ;; esac
    done
    deadline=$(($(date +%%s) + patience))
    # ten seconds later: to a container that neither reads a pipe nor is run by systemd
    signal=$(($(date +%%s) + 10))
    while any_guest && [ "$(date +%%s)" -lt "$deadline" ] && [ -n "$(guests --state-running)" ]; do
        sleep 1
        if [ "$signal" -gt 0 ] && [ "$(date +%%s)" -ge "$signal" ]; then
            signal=0
            guests --state-running | while read -r uri guest; do
                case $uri in lxc:*) ask "$uri" send-process-signal "$guest" 1 "$(signal_of "$guest")" >/dev/null ;; esac
            done
        fi
    done
    guests | while read -r uri guest; do
        echo "guest $guest: still there, switched off"
        ask "$uri" destroy "$guest" >/dev/null
    done
fi

for resource in $(lvs --noheadings -o lv_name @gantry); do
    if [ -e "/etc/drbd.d/$resource.res" ] && [ -d /sys/module/drbd ]; then
        timeout 60 drbdsetup down "$resource" || echo "DRBD resource $resource: could not be taken down"
    fi
done
exit 0
""" % {"header": HEADER, "patience": patience, "folders": folders, "uris": " ".join(uris), "records": generation.FOLDER}


def stop_unit_text(patience):
    """The unit gantry-node.service. What stands in After= is stopped later than it.

    :param patience: seconds guests have to shut down.
    """
    return HEADER + """\
[Unit]
Description=Put guests and replicated disks down in order when the node goes down (gantry.cluster)
# libvirt puts guests before this target: so they are still there when this unit is stopped.
Wants=virt-guest-shutdown.target
After=virt-guest-shutdown.target
After=libvirtd.service libvirtd.socket virtqemud.service virtqemud.socket virtlogd.service virtlogd.socket
After=xen.service xenstored.service xenconsoled.service
After=network.target dbus.service
RefuseManualStop=yes

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=%s
TimeoutStopSec=%d

[Install]
WantedBy=multi-user.target
""" % (STOP_SCRIPT, patience + 300)


def ssh_config_text(user):
    """How ssh, started by libvirt as root, reaches the migration user of a peer."""
    return HEADER + """\
# libvirt's known_hosts parameter is not passed on to the ssh program, so it stands here.
Match user %s
    UserKnownHostsFile %s
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    IdentityFile %s
    IdentitiesOnly yes
    BatchMode yes
    ConnectTimeout 20
    ServerAliveInterval 15
""" % (user, KNOWN_HOSTS, MIGRATION_KEY)


def others(peers, node):
    """The peers without this node, by name."""
    return sorted((peer for peer in peers if peer["name"] != node), key=lambda peer: peer["name"])


def authorized_keys_text(peers, node, uri="qemu:///system"):
    """Which peers may reach libvirt here: from their address only, no shell, no forwarding.

    :param uri: the driver they reach, see :func:`migration_uri`.
    """
    lines = [HEADER]
    for peer in others(peers, node):
        if peer["migration_public_key"]:
            lines.append('restrict,command="%s %s",from="%s" %s gantry-migrate@%s\n' % (
                SSH_HELPER, uri, peer["address"], peer["migration_public_key"], peer["name"]))
    return "".join(lines)


def known_hosts_text(peers, node):
    """The peers' host keys, under each name and address."""
    lines = [HEADER]
    for peer in others(peers, node):
        names = ",".join(unique([peer["address"], peer["hostname"], peer["name"]]))
        lines.extend("%s %s\n" % (names, key) for key in sorted(peer["ssh_host_keys"]))
    return "".join(lines)


def hosts_text(text, peers, hostname):
    """/etc/hosts with the peers' names, and warnings about names that stand there with another address.

    :param peers: all nodes, this one too if it is among them.
    :param hostname: this node's own, which Debian gives a loopback address.
    :returns: (text, list of warnings).
    """
    known = {}
    for line in without_comments(without_block(text, HOSTS)).splitlines():
        words = line.split()
        for name in words[1:]:
            known.setdefault(name.lower(), []).append(words[0])
    body, warnings = [], []
    for peer in sorted(peers, key=lambda peer: peer["name"]):
        names = []
        for name in unique([peer["hostname"], peer["name"]]):
            if peer["address"] in known.get(name.lower(), []):
                continue
            names.append(name)
            # the first line with a name and an address family wins
            clash = [address for address in known.get(name.lower(), []) if same_family(address, peer["address"])]
            if clash and not (peer["hostname"] == hostname and is_loopback(clash[0])):
                warnings.append("%s gives %s the address %s outside the lines of gantry.cluster; as a node it has %s. "
                                "Remove that entry" % (HOSTS, name, clash[0], peer["address"]))
        if names:
            body.append("%s\t%s" % (peer["address"], " ".join(names)))
    return with_block(text, body, HOSTS), warnings


def unique(words):
    """The words in their order, each once."""
    return list(dict.fromkeys(words))


def is_loopback(address):
    """Whether the text is a loopback address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def same_family(one, other):
    """Whether both texts are addresses of one IP version."""
    try:
        return ipaddress.ip_address(one).version == ipaddress.ip_address(other).version
    except ValueError:
        return False


def parse_units(text):
    """``systemctl show`` of several units: {unit: {property: value}}."""
    units = {}
    for block in text.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in values:
            units[values["Id"]] = values
    return units


def parse_addresses(text):
    """``ip -j address``: [(interface, address)] without loopback."""
    found = []
    for link in json.loads(text or "[]"):
        for entry in link.get("addr_info", []):
            if entry.get("local") and not is_loopback(entry["local"]):
                found.append((link.get("ifname", "?"), entry["local"]))
    return found


def parse_groups(text):
    """``vgs --reportformat json`` with one row per physical volume: {vg: {size_mib, free_mib, missing, devices}}."""
    groups = {}
    for row in json.loads(text)["report"][0]["vg"]:
        group = groups.setdefault(row["vg_name"], {
            "size_mib": int(float(row["vg_size"])), "free_mib": int(float(row["vg_free"])),
            "missing": int(row["vg_missing_pv_count"] or 0), "devices": [],
        })
        group["devices"].append(row["pv_name"])
    return groups


def parse_account(text):
    """A line of ``getent passwd`` as {uid, gid (text), home, shell}; None when there is no such account."""
    fields = text.strip().split(":")
    if len(fields) < 7:
        return None
    return {"uid": int(fields[2]), "gid": fields[3], "home": fields[5], "shell": fields[6]}


def parse_group(text):
    """A line of ``getent group`` as {gid (text), members}; None when there is no such group."""
    fields = text.strip().split(":")
    if len(fields) < 4:
        return None
    return {"gid": fields[2], "members": [name for name in fields[3].split(",") if name]}


def daemon_of(units):
    """The libvirt daemon of this node: ``libvirtd`` or ``virtqemud``, or None.

    :param units: from :func:`parse_units`.
    """
    for name in ("libvirtd", "virtqemud"):
        if units.get(name + ".service", {}).get("LoadState") == "loaded":
            return name
    return None


def daemon_dropin_text(daemon):
    """Settings of the daemon's unit. Debian lets it end after two minutes without guests, and then each question to a
    node without guests waits for its start; a setting in /etc/default wins over this one."""
    return HEADER + "[Service]\nEnvironment=%s_ARGS=\n" % daemon.upper()


def is_conffile(listed, path, text):
    """Whether a file is as its package brought it.

    :param listed: the package's ``Conffiles`` from dpkg-query, with MD5 sums.
    """
    digest = hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()
    return any(line.split()[:2] == [path, digest] for line in listed.splitlines())


def libvirt_version(number):
    """libvirt's version number as text."""
    return "%d.%d.%d" % (number // 1000000, number // 1000 % 1000, number % 1000)


def parse_version(text):
    """The first dotted number of a text as a tuple of ints; empty when there is none."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def parse_drbdadm_version(text):
    """drbd-utils' version from ``drbdadm --version``."""
    found = re.search(r"^DRBDADM_VERSION=(\S+)", text, re.MULTILINE)
    return found.group(1) if found else None


def clean_key(key):
    """A public key as "type base64", without its comment.

    :raises ValueError: it is not one public key on one line.
    """
    words = key.strip().split()
    if len(words) < 2 or "\n" in key.strip() or not _KEY_TYPE.match(words[0]):
        raise ValueError("not a public key: %.60s" % key)
    try:
        blob = base64.b64decode(words[1].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as broken:
        raise ValueError("not a public key: %.60s" % key) from broken
    length = int.from_bytes(blob[:4], "big")
    if blob[4:4 + length] != words[0].encode("ascii"):
        raise ValueError("a public key of another type than it says: %.60s" % key)
    return "%s %s" % (words[0], words[1])


def ssh_findings(text, user):
    """What in ``ssh -G`` keeps this node from reaching its peers as the migration user: list of texts."""
    if re.search(r"^userknownhostsfile %s$" % re.escape(KNOWN_HOSTS), text, re.MULTILINE):
        return []
    return ["ssh does not use %s for %s, so this node cannot migrate to a peer: see that /etc/ssh/ssh_config includes "
            "%s and /root/.ssh/config does not overrule it" % (KNOWN_HOSTS, user, SSH_CONFIG)]


def sshd_findings(text, user):
    """What in ``sshd -T`` keeps the migration user out: list of texts."""
    values = {}
    for line in text.splitlines():
        key, unused, value = line.partition(" ")
        values.setdefault(key.lower(), []).append(value)
    findings = []
    if values.get("pubkeyauthentication") == ["no"]:
        findings.append("PubkeyAuthentication is no")
    keys = " ".join(values.get("authorizedkeysfile", [])).split()
    if keys and not {".ssh/authorized_keys", "%h/.ssh/authorized_keys", AUTHORIZED_KEYS}.intersection(keys):
        findings.append("AuthorizedKeysFile is %s" % " ".join(keys))
    command = values.get("forcecommand", ["none"])[0]
    if command != "none":
        findings.append("ForceCommand is %s" % command)
    for keyword, names in (("AllowUsers", [user]), ("AllowGroups", [user, "libvirt"])):
        allowed = " ".join(values.get(keyword.lower(), [])).split()
        if allowed and not any(_fits(pattern.partition("@")[0], name) for pattern in allowed for name in names):
            findings.append("%s is %s" % (keyword, " ".join(allowed)))
    return ["sshd keeps %s out, so no peer can migrate to this node: %s" % (user, finding) for finding in findings]


def multipath_findings(text):
    """What in ``multipath -t`` endangers guests' disks: list of texts."""
    section = re.search(r"^blacklist \{(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    if section and "drbd" in section.group(1):
        return []
    return ["multipathd runs and does not leave DRBD devices alone: put blacklist { devnode \"^drbd[0-9]+\" } into "
            "/etc/multipath/conf.d/drbd.conf and reload it"]


def _fits(pattern, name):
    """sshd's patterns: * and ? only."""
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.match(expression + r"\Z", name) is not None
