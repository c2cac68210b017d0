# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a plain Debian server ready to be a node: DRBD, LVM, libvirt, the way down, the migration key, the trust.

First everything is read and every refusal is made (node_setup_checks), then the steps act, each through the
executor. What a file shall hold comes from pure functions on text (node_setup_text).

What is set up, and why so:

* **Nothing starts by itself.** Guests and disks come up by the verbs only, after they have looked at every node.
  ``libvirt-guests`` is masked, which holds whatever its settings and its package do later; it is not stopped,
  because its stop may suspend running guests; the same goes for Xen's ``xendomains``. ``drbd.service`` is disabled, the
  autostart of our domains is off.
* **The way down is ordered.** Since libvirt-guests no longer shuts guests down when the node goes down, the unit
  ``gantry-node`` does: guests off by ACPI (switched off after a time), then their DRBD resources to secondary and
  down, while the network still stands. The peer then sees a clean goodbye, not a crashed primary. It starts nothing
  and refuses to be stopped by hand.
* **LVM on the host keeps off the guests' disks** (DRBD devices and the volume group's own volumes), or it finds and
  activates the guests' volume groups, and a disk can no longer be made secondary. The filter goes into
  lvmlocal.conf, which LVM reads after lvm.conf, and keeps what the administrator filters. It is tried out on a copy
  of the configuration first: with a mistake in there no LVM command works any more.
* **DRBD 8.4 calls the collection's helper** (drbd/helper.py), not drbdadm, which reads all resource files at each
  event: one broken file would make a handler fail and another resource's resync stop. DRBD 9 calls none.
* **The migration key opens libvirt and nothing else:** no shell, no forwarding, only from the peer's address. Who
  holds it controls libvirt on the peer, so the private key is root's. libvirt runs the ssh program for
  ``qemu+ssh``, which knows nothing of ``known_hosts`` in the URI: hence the file in ssh_config.d.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile

from ansible_collections.gantry.cluster.plugins.module_utils import generation, nic_script
from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils import node_setup_checks as checks
from ansible_collections.gantry.cluster.plugins.module_utils import node_setup_text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import helper as drbd_helper
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text

#: How to see the filter LVM goes by, after all its files.
LVMCONFIG = ["lvmconfig", "--type", "full", "devices/global_filter"]


class Files:
    """The node's files, below a root folder ("/" but in tests)."""

    def __init__(self, root="/"):
        self.root = root

    def path(self, path):
        """Where the file is."""
        return os.path.join(self.root, path.lstrip("/"))

    def text(self, path):
        """A file's text, or None.

        :raises GantryError: it is not text.
        """
        try:
            return read_text(self.path(path))
        except UnicodeDecodeError as broken:
            raise GantryError("The file %s is not in UTF-8" % path, found=str(broken), mend="correct that line",
                              code="not_text") from broken

    def value(self, path):
        """A one-line file's content, or None."""
        text = self.text(path)
        return None if text is None else text.strip()

    def exists(self, path):
        """Whether the file or folder is there."""
        return os.path.exists(self.path(path))

    def names(self, path):
        """The names in a folder, sorted; empty when there is none."""
        try:
            return sorted(os.listdir(self.path(path)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def mode(self, path, default):
        """A file's permission bits."""
        try:
            return stat.S_IMODE(os.stat(self.path(path)).st_mode)
        except FileNotFoundError:
            return default


# --- reading the node ----------------------------------------------------------------------------------------------

def observe(executor, wanted, files, binding):
    """All that the refusals and the steps need to know, in as few commands as there are tools.

    :param binding: the Python module libvirt, or None.
    """
    system = os.uname()
    seen = {"hostname": system.nodename, "kernel": system.release}
    seen["addresses"] = texts.parse_addresses(executor.read(["ip", "-j", "address", "show"]).out)
    needed = {"/usr/bin/virsh": "virsh", texts.SSH_HELPER: "virt-ssh-helper"}
    seen["missing"] = [name for path, name in needed.items() if not files.exists(path)]
    if binding is None:
        seen["missing"].append("Python module libvirt for the interpreter Ansible uses here")
    seen["xen"] = files.value("/proc/xen/capabilities")
    seen["drivers"] = driver_files(files)
    properties = "--property=Id,LoadState,ActiveState,UnitFileState"
    seen["units"] = texts.parse_units(executor.read(["systemctl", "show", properties] + list(texts.UNITS)).out)
    seen["drbd"] = observe_drbd(executor, files)
    seen["groups"] = volume_groups(executor)
    account = executor.read(["getent", "passwd", wanted["migration_user"]], ok=(0, 2)).out
    group = executor.read(["getent", "group", "libvirt"], ok=(0, 2)).out
    seen["user"], seen["libvirt_group"] = texts.parse_account(account), texts.parse_group(group)
    return seen


def driver_files(files):
    """The names of the installed libvirt drivers' files."""
    found = []
    for folder in files.names("/usr/lib"):
        found += files.names("/usr/lib/%s/libvirt/connection-driver" % folder)
    return found


def uris_of(wanted):
    """The libvirt drivers of the node that can have guests."""
    return [backend.uri for backend in hypervisors.drivers(wanted["hypervisors"]) if backend.uri in checks.DRIVERS]


def observe_drbd(executor, files):
    """DRBD's tools, module and configuration."""
    drbd = {"missing": None, "loaded": files.exists(texts.DRBD_SYS), "version": drbd_version(files)}
    drbd["tools"] = files.exists("/usr/sbin/drbdadm") or files.exists("/sbin/drbdadm")
    drbd["conf"], drbd["common"] = files.text(texts.DRBD_CONF), files.text(texts.DRBD_COMMON)
    if not drbd["loaded"]:
        told = executor.read(["modinfo", "-F", "version", "drbd"], ok=None)
        if told.rc != 0:
            drbd["missing"] = told.err.strip() or "modinfo finds none"
        drbd["version"] = told.out.strip() or None
    drbd["helper"] = files.value(texts.DRBD_HELPER)
    drbd["minor_count"] = files.value(texts.DRBD_MINOR_COUNT)
    return drbd


def drbd_version(files):
    """The loaded module's version, or None."""
    said = files.value(texts.DRBD_SYS + "/version")
    if said:
        return said
    found = re.search(r"^version:\s*(\S+)", files.text("/proc/drbd") or "", re.MULTILINE)
    return found.group(1) if found else None


def drbd_utils_version(executor, files):
    """drbd-utils' version; None while the module is not loaded, since drbdadm would load it to answer."""
    if not files.exists(texts.DRBD_SYS):
        return None
    return texts.parse_drbdadm_version(executor.read(["drbdadm", "--version"], ok=None).out)


def volume_groups(executor, folder=None):
    """The volume groups LVM sees, with this node's configuration or that in another folder."""
    argv = ["vgs", "--reportformat", "json", "--units", "m", "--nosuffix",
            "-o", "vg_name,vg_size,vg_free,vg_missing_pv_count,pv_name"]
    return texts.parse_groups(executor.read(with_configuration(folder, argv)).out)


def with_configuration(folder, argv):
    """An LVM command that reads its configuration from another folder than /etc/lvm, when one is given."""
    return ["env", "LVM_SYSTEM_DIR=" + folder] + argv if folder else argv


def virsh(*words, **options):
    """A virsh command that cannot hang; ``uri`` names another driver than QEMU's."""
    return ["timeout", str(texts.LIBVIRT_TIMEOUT), "virsh", "-q", "-c", options.get("uri", "qemu:///system")] + list(words)


def autostarted_domains(executor, wanted, files, units):
    """Domains in our records that libvirt would start by itself: the driver's URI and the UUID of each.

    :raises GantryError: libvirt runs but does not answer.
    """
    ours = set(generation.load_all(files.path(generation.FOLDER)))
    name = texts.daemon_of(units)
    running = "active" in [units.get(name + suffix, {}).get("ActiveState") for suffix in (".service", ".socket")]
    if not ours or not running:
        return []
    found = []
    for uri in uris_of(wanted):
        told = executor.read(virsh("list", "--all", "--autostart", "--uuid", uri=uri), ok=None)
        if told.rc != 0 and uri == "qemu:///system":
            raise GantryError(
                "libvirt on this node does not answer",
                found=told.err.strip() or "nothing within %d s" % texts.LIBVIRT_TIMEOUT,
                mend="look at 'systemctl status %s'" % name, code="libvirt_unreachable",
            )
        # a driver that was installed just now has no domains yet
        found += [(uri, uuid) for uuid in sorted(ours.intersection(told.out.split()))] if told.rc == 0 else []
    return found


def host_keys(files):
    """The SSH server's public keys as "type base64"."""
    keys = []
    for name in files.names("/etc/ssh"):
        if re.match(r"ssh_host_\w+_key\.pub\Z", name):
            try:
                keys.append(texts.clean_key(files.text("/etc/ssh/" + name) or ""))
            except ValueError:
                continue  # a type of no use to the peers, such as dsa
    return keys


# --- the whole -----------------------------------------------------------------------------------------------------

def prepare(executor, options, files=None, binding=None, uid=None):
    """Make the node ready; every refusal comes before the first change.

    :param options: the module's parameters.
    :param binding: the Python module libvirt, or None when it cannot be imported.
    :param uid: the effective user id.
    :returns: dict for the module's result.
    :raises GantryError: the server cannot be a node, or a step failed.
    """
    files = files or Files()
    wanted = checks.check_options(options)
    checks.check_system(os.geteuid() if uid is None else uid, files.exists("/run/systemd/system"))
    seen = observe(executor, wanted, files, binding)
    checks.check_node(wanted, seen)
    lvm = plan_lvm(executor, wanted, files, seen["groups"])
    planned, warnings = plan_files(executor, wanted, files, seen)
    autostarted = autostarted_domains(executor, wanted, files, seen["units"])

    # The one step that may still be refused, by a blacklist or a module signature, comes first.
    reboot = setup_drbd(executor, wanted, files, seen)
    setup_lvm(executor, files, lvm)
    setup_services(executor, wanted, files, seen["units"])
    for uri, uuid in autostarted:
        executor.change("switch off the autostart of domain %s" % uuid, virsh("autostart", "--disable", uuid, uri=uri))
    setup_user(executor, wanted, files, seen)
    public_key = setup_key(executor, wanted, files)
    for path, text, mode in planned:
        write(executor, files, path, text, mode)

    warnings = reboot + lvm["warnings"] + warnings
    warnings += multipath_findings(executor, seen["units"])
    warnings += ssh_findings(executor, wanted)
    if files.exists("/run/reboot-required"):
        reboot.append("the distribution asks for a reboot (/run/reboot-required)")
    return {
        "hostname": seen["hostname"],
        "migration_public_key": public_key,
        "ssh_host_keys": host_keys(files),
        "versions": {
            "kernel": seen["kernel"], "drbd": drbd_version(files) or seen["drbd"]["version"],
            "drbd_utils": drbd_utils_version(executor, files), "lvm": lvm["version"],
            "libvirt": texts.libvirt_version(binding.getVersion()),
        },
        "lvm_filter": lvm["patterns"],
        "reboot_required": bool(reboot),
        "reboot_reasons": reboot,
        "findings": warnings,
    }


def write(executor, files, path, text, mode):
    """Write a file of the node when it differs. Returns True when it did."""
    return executor.write_file(files.path(path), text, mode=mode, what="write %s" % path)


# --- LVM -----------------------------------------------------------------------------------------------------------

def plan_lvm(executor, wanted, files, before):
    """The LVM filter, tried out on a copy of the configuration when it is not the present one.

    :param before: the volume groups LVM sees now.
    :returns: dict with ``patterns``, ``text`` (of lvmlocal.conf), ``version``, ``warnings``.
    """
    present = files.text(texts.LVM_LOCAL) or ""
    folder = tempfile.mkdtemp(prefix="gantry-lvm-")
    try:
        inherited = copy_lvm_configuration(executor, files, folder)
        patterns = texts.lvm_filter(texts.lvm_rejects(wanted["vg"], wanted["lvm_reject"]), inherited)
        text = texts.lvm_local_text(present, patterns)
        after = before
        if text != present:
            with open(os.path.join(folder, "lvmlocal.conf"), "w", encoding="utf-8") as stream:
                stream.write(text)
            prove_filter(executor, patterns, folder)
            after = volume_groups(executor, folder)
    finally:
        shutil.rmtree(folder)
    active = {}
    for name in checks.hidden_groups(before, after):
        listed = executor.read(["lvs", "--noheadings", "-o", "lv_name", "--select", "lv_active=active", name], ok=None)
        active[name] = listed.out.split()
    warnings = checks.check_filter(patterns, wanted, before, after, active)
    warnings += checks.filter_findings(inherited, present)
    version = re.search(r"LVM version:\s*(\S+)", executor.read(["lvm", "version"]).out)
    return {"patterns": patterns, "text": text, "version": version.group(1) if version else None, "warnings": warnings}


def copy_lvm_configuration(executor, files, folder):
    """Copy LVM's configuration without our lines into a folder; returns the filter it has by itself."""
    own = False
    for name in files.names(texts.LVM_FOLDER):
        path = os.path.join(texts.LVM_FOLDER, name)
        if name == "devices":
            shutil.copytree(files.path(path), os.path.join(folder, name))
        elif name.endswith(".conf"):
            text = texts.without_block(files.text(path) or "", path)
            own = own or "global_filter" in texts.without_comments(text)
            with open(os.path.join(folder, name), "w", encoding="utf-8") as stream:
                stream.write(text)
    if not own:
        return []
    told = executor.read(with_configuration(folder, ["lvmconfig", "devices/global_filter"]), ok=None)
    return texts.parse_lvm_strings(told.out, "global_filter")


def prove_filter(executor, patterns, folder=None):
    """LVM itself must say that it goes by these patterns.

    :param folder: where its configuration is; None for the node's.
    :raises GantryError: something else overrules them.
    """
    told = executor.read(with_configuration(folder, LVMCONFIG)).out
    if texts.parse_lvm_strings(told, "global_filter") != patterns:
        raise GantryError(
            "LVM does not go by the filter that keeps it off the guests' disks",
            found=told.strip() or "no global_filter", expected=", ".join(patterns),
            mend="look for another global_filter in /etc/lvm ('lvmconfig --type current devices')", code="lvm_filter",
        )


def setup_lvm(executor, files, lvm):
    """Write the filter that was tried, and prove that it is in force."""
    written = write(executor, files, texts.LVM_LOCAL, lvm["text"], files.mode(texts.LVM_LOCAL, 0o644))
    if not (written and executor.check_mode):
        prove_filter(executor, lvm["patterns"])


# --- DRBD ----------------------------------------------------------------------------------------------------------

def setup_drbd(executor, wanted, files, seen):
    """The module with its parameters, now and at boot, and no resource brought up by itself.

    :returns: reasons for a reboot.
    """
    drbd, count = seen["drbd"], wanted["drbd_minor_count"]
    helper = helper_program(drbd["version"])
    if not drbd["loaded"]:
        argv = ["modprobe", "drbd", "usermode_helper=" + helper]
        if count is not None:
            argv.append("minor_count=%d" % count)
        try:
            executor.change("load the kernel module drbd", argv)
        except GantryError as refused:
            raise GantryError(
                "The kernel of this node does not take the DRBD module", found=refused.found or refused.what,
                expected="'modprobe drbd' to work", code="no_drbd",
                mend="look for drbd in /etc/modprobe.d, and in 'dmesg' (Secure Boot refuses unsigned modules)",
            ) from refused
        if not executor.check_mode:
            checks.check_drbd_version(drbd_version(files))
    if helper == drbd_helper.PATH:
        write(executor, files, helper, drbd_helper.TEXT, 0o755)  # before the module is told to call it
    write(executor, files, texts.DRBD_MODULES_LOAD, texts.HEADER + "drbd\n", 0o644)
    write(executor, files, texts.DRBD_MODPROBE, texts.drbd_modprobe_text(helper, count), 0o644)
    if drbd["loaded"] and drbd["helper"] != helper:
        executor.call("set DRBD's usermode_helper to %s (was %s)" % (helper, drbd["helper"]),
                      write_value, files.path(texts.DRBD_HELPER), helper)
        if not executor.check_mode and files.value(texts.DRBD_HELPER) != helper:
            raise GantryError(
                "DRBD does not take its usermode_helper", found=files.value(texts.DRBD_HELPER), expected=helper,
                mend="reboot this node: %s is read then" % texts.DRBD_MODPROBE, code="drbd_helper",
            )
    if is_enabled(seen["units"], "drbd.service"):
        # Only disabled: stopping it would take down resources in use.
        executor.change("disable drbd.service", ["systemctl", "disable", "drbd.service"])
    if drbd["loaded"] and count is not None and drbd["minor_count"] not in (None, str(count)):
        return ["drbd_minor_count counts from the next boot: now %s, then %d" % (drbd["minor_count"], count)]
    return []


def helper_program(version):
    """DRBD's ``usermode_helper``: ours in 8.4, none in 9, which has a word for that.

    :param version: the module's, or None.
    """
    return "disabled" if texts.parse_version(version or "") >= (9,) else drbd_helper.PATH


def write_value(path, value):
    """Set a kernel parameter."""
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(value)


def pristine_common(executor, text):
    """Whether global_common.conf is as its package brought it; only asked when that matters."""
    if texts.drbd_common_verdict(text, False) != "report":
        return False
    told = executor.read(["dpkg-query", "--show", "--showformat=${Conffiles}", "drbd-utils"], ok=None).out
    return texts.is_conffile(told, texts.DRBD_COMMON, text)


# --- services ------------------------------------------------------------------------------------------------------

def is_enabled(units, name):
    """Whether systemd starts the unit at boot."""
    return units.get(name, {}).get("UnitFileState", "").startswith("enabled")


def is_active(units, name):
    """Whether the unit is up."""
    return units.get(name, {}).get("ActiveState") == "active"


def setup_services(executor, wanted, files, units):
    """libvirt on, everything that starts guests by itself off, the ordered way down."""
    daemon = texts.daemon_of(units)
    service, socket = daemon + ".service", daemon + ".socket"
    if not is_enabled(units, service) and not is_enabled(units, socket):
        executor.change("enable %s" % service, ["systemctl", "enable", service])
    if not is_active(units, service) and not is_active(units, socket):
        unit = socket if units.get(socket, {}).get("LoadState") == "loaded" else service
        executor.change("start %s" % unit, ["systemctl", "start", unit])

    wake_drivers(executor, wanted, units, daemon)

    write(executor, files, texts.GUESTS_DEFAULT, texts.guests_default_text(files.text(texts.GUESTS_DEFAULT) or ""),
          files.mode(texts.GUESTS_DEFAULT, 0o644))
    if units.get("libvirt-guests.service", {}).get("LoadState") != "masked":
        # Never stopped: its stop may suspend or shut down the guests that run.
        executor.change("mask libvirt-guests.service", ["systemctl", "mask", "libvirt-guests.service"])
    # Xen's own service of the kind: it saves the guests' memory when the node goes down, and restores it when it comes up.
    domains = units.get("xendomains.service", {}).get("LoadState")
    if domains != "masked" and (domains == "loaded" or "xen:///system" in uris_of(wanted)):
        executor.change("mask xendomains.service", ["systemctl", "mask", "xendomains.service"])

    patience = wanted["shutdown_timeout"]
    write(executor, files, texts.STOP_SCRIPT, texts.stop_script_text(patience, uris_of(wanted)), 0o755)
    dropin = texts.DAEMON_DROPIN % daemon
    make_folders(executor, files, os.path.dirname(dropin))
    stays = write(executor, files, dropin, texts.daemon_dropin_text(daemon), 0o644)
    if write(executor, files, texts.STOP_UNIT, texts.stop_unit_text(patience), 0o644) or stays:
        executor.change("let systemd read its units again", ["systemctl", "daemon-reload"])
    if not is_enabled(units, texts.STOP_UNIT_NAME) or not is_active(units, texts.STOP_UNIT_NAME):
        executor.change("enable and start %s" % texts.STOP_UNIT_NAME,
                        ["systemctl", "enable", "--now", texts.STOP_UNIT_NAME])


def wake_drivers(executor, wanted, units, daemon):
    """A driver that was installed while the daemon ran is loaded when it is restarted; guests go on meanwhile.

    :raises GantryError: the driver does not work all the same.
    """
    for uri in uris_of(wanted):
        if uri == "qemu:///system" or executor.read(virsh("version", uri=uri), ok=None).rc == 0:
            continue
        executor.change("restart %s, to load the driver of %s" % (daemon, uri), ["systemctl", "restart", daemon + ".service"])
        if executor.check_mode:
            continue
        told = executor.read(virsh("version", uri=uri), ok=None)
        if told.rc != 0:
            raise GantryError(
                "libvirt's driver %s does not work on this node" % uri, found=told.err.strip() or "exit code %d" % told.rc,
                expected="an answer to 'virsh -c %s version'" % uri, mend="look at 'journalctl -u %s'" % daemon, code="no_driver")


# --- the migration user, its key and the trust between nodes -------------------------------------------------------

def make_folders(executor, files, path, mode=0o755):
    """Make a folder and all that is missing above it, each with this mode."""
    missing, parent = [], path
    while not files.exists(parent):
        missing.insert(0, files.path(parent))
        parent = os.path.dirname(parent)
    if missing:
        executor.call("make the folder %s" % path, _make_folders, missing, mode)


def _make_folders(paths, mode):
    for path in paths:
        os.mkdir(path)
        os.chmod(path, mode)  # whatever the umask is


def set_mode(executor, files, path, mode):
    """Correct the permission bits of a file or folder that is there."""
    if files.mode(path, mode) != mode:
        executor.call("set the mode of %s to %04o" % (path, mode), os.chmod, files.path(path), mode)


def setup_user(executor, wanted, files, seen):
    """The account that peers migrate to. Its folder and the list of keys are root's: it can change neither."""
    name, user, group = wanted["migration_user"], seen["user"], seen["libvirt_group"]
    if user is None:
        executor.change("make the system user %s" % name, [
            "useradd", "--system", "--user-group", "--groups", "libvirt", "--home-dir", texts.MIGRATION_HOME,
            "--no-create-home", "--comment", "gantry.cluster migration",
            # sshd runs the forced command by the account's shell
            "--shell", "/bin/sh",
            # no input gives this hash; but the account is not "locked", which sshd without PAM would refuse
            "--password", "*", name])
    else:
        if user["shell"] != "/bin/sh":
            executor.change("give %s the shell /bin/sh (was %s)" % (name, user["shell"]),
                            ["usermod", "--shell", "/bin/sh", name])
        if name not in group["members"] and user["gid"] != group["gid"]:
            executor.change("put %s into the group libvirt" % name,
                            ["usermod", "--append", "--groups", "libvirt", name])
    folder = os.path.dirname(texts.AUTHORIZED_KEYS)
    make_folders(executor, files, folder)
    # sshd reads the keys as this account, and wants none but root to be able to write them
    for path in (os.path.dirname(texts.MIGRATION_HOME), texts.MIGRATION_HOME, folder):
        set_mode(executor, files, path, 0o755)


def setup_key(executor, wanted, files):
    """The node's own key; returns its public half as "type base64", or None before it is made (check mode)."""
    make_folders(executor, files, os.path.dirname(texts.MIGRATION_FOLDER))
    make_folders(executor, files, texts.MIGRATION_FOLDER, 0o700)
    set_mode(executor, files, texts.MIGRATION_FOLDER, 0o700)
    private, public = files.path(texts.MIGRATION_KEY), texts.MIGRATION_KEY + ".pub"
    if not files.exists(texts.MIGRATION_KEY):
        executor.change("make the migration key %s" % texts.MIGRATION_KEY, [
            "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gantry-migrate@%s" % wanted["name"], "-f", private])
        if executor.check_mode:
            return None
    set_mode(executor, files, texts.MIGRATION_KEY, 0o600)
    text = files.text(public)
    if text is None:
        text = executor.read(["ssh-keygen", "-y", "-P", "", "-f", private]).out.strip() + "\n"
        write(executor, files, public, text, 0o644)
    try:
        return texts.clean_key(text)
    except ValueError as broken:
        raise GantryError(
            "The migration key of this node cannot be read", found=str(broken), expected="a public key in %s" % public,
            mend="remove %s and run again: it is made from the private key" % public, code="broken_key",
        ) from broken


def plan_files(executor, wanted, files, seen):
    """The files that need no step of their own; with peers, the trust between the nodes.

    :returns: list of (path, text, mode), and warnings.
    """
    planned, warnings = [(texts.SSH_CONFIG, texts.ssh_config_text(wanted["migration_user"]), 0o644)], []
    planned.append((nic_script.PATH, nic_script.TEXT, 0o755))
    common = seen["drbd"]["common"]
    verdict = texts.drbd_common_verdict(common, pristine_common(executor, common))
    if verdict == "write":
        planned.append((texts.DRBD_COMMON, texts.drbd_common_text(), 0o644))
    elif verdict == "report":
        warnings.append("%s is not the distribution's and lacks 'usage-count no;': left as it is, drbdadm may call home"
                        % texts.DRBD_COMMON)
    peers, name = wanted["peers"], wanted["name"]
    if peers is not None:
        planned.append((texts.AUTHORIZED_KEYS, texts.authorized_keys_text(
            peers, name, texts.migration_uri(wanted["hypervisors"])), 0o644))
        planned.append((texts.KNOWN_HOSTS, texts.known_hosts_text(peers, name), 0o644))
        hosts, clashes = texts.hosts_text(files.text(texts.HOSTS) or "", peers, seen["hostname"])
        planned.append((texts.HOSTS, hosts, files.mode(texts.HOSTS, 0o644)))
        warnings += clashes
        for peer in texts.others(peers, name):
            if not peer["migration_public_key"]:
                warnings.append("the node %s has no migration key yet: it cannot migrate to this node" % peer["name"])
            if not peer["ssh_host_keys"]:
                warnings.append("the node %s has no SSH host keys yet: this node cannot migrate to it" % peer["name"])
    return planned, warnings


# --- what is only looked at ----------------------------------------------------------------------------------------

def multipath_findings(executor, units):
    """multipathd takes any disk it is not told to leave alone."""
    if not is_active(units, "multipathd.service") and not is_enabled(units, "multipathd.service"):
        return []
    return texts.multipath_findings(executor.read(["multipath", "-t"], ok=None).out)


def ssh_findings(executor, wanted):
    """Whether SSH does what was written: the client's settings in force, the server lets the user in."""
    if executor.check_mode and executor.changed:
        return []
    user, peers = wanted["migration_user"], texts.others(wanted["peers"] or [], wanted["name"])
    address = peers[0]["address"] if peers else wanted["address"]
    warnings = texts.ssh_findings(executor.read(["ssh", "-G", "-l", user, address], ok=None).out, user)
    if peers:
        match = "user=%s,host=%s,addr=%s,laddr=%s,lport=22" % (user, peers[0]["hostname"], address, wanted["address"])
        told = executor.read(["sshd", "-T", "-C", match], ok=None)
        if told.rc == 0:
            warnings += texts.sshd_findings(told.out, user)
    return warnings
