# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole: read everything, refuse, plan, then act, each step through the executor."""

from __future__ import annotations

import os

from ansible_collections.gantry.cluster.plugins.module_utils import nic_script
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import checks, drbd, lvm, services, trust
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.files import Files, write
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.units import is_active, is_enabled


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
    volumes = lvm.plan(executor, wanted, files, seen["groups"])
    planned, warnings = plan_files(executor, wanted, files, seen)
    autostarted = services.autostarted_domains(executor, wanted, files, seen["units"])

    # The one step that may still be refused, by a blacklist or a module signature, comes first.
    reboot = drbd.setup(executor, wanted, files, seen)
    lvm.setup(executor, files, volumes)
    services.setup(executor, wanted, files, seen["units"])
    for uri, uuid in autostarted:
        executor.change("switch off the autostart of domain %s" % uuid, services.virsh("autostart", "--disable", uuid, uri=uri))
    trust.setup_user(executor, wanted, files, seen)
    public_key = trust.setup_key(executor, wanted, files)
    services.setup_tpm(executor, wanted, files, seen["units"])
    for path, text, mode in planned:
        write(executor, files, path, text, mode)

    warnings = reboot + volumes["warnings"] + warnings
    warnings += multipath_findings(executor, seen["units"])
    warnings += ssh_findings(executor, wanted)
    if files.exists("/run/reboot-required"):
        reboot.append("the distribution asks for a reboot (/run/reboot-required)")
    return {
        "hostname": seen["hostname"],
        "migration_public_key": public_key,
        "ssh_host_keys": trust.host_keys(files),
        "versions": {
            "kernel": seen["kernel"], "drbd": drbd.module_version(files) or seen["drbd"]["version"],
            "drbd_utils": drbd.utils_version(executor, files), "lvm": volumes["version"],
            "libvirt": texts.libvirt_version(binding.getVersion()),
        },
        "lvm_filter": volumes["patterns"],
        "reboot_required": bool(reboot),
        "reboot_reasons": reboot,
        "findings": warnings,
    }


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
    seen["drbd"] = drbd.observe(executor, files)
    seen["groups"] = lvm.volume_groups(executor)
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


def plan_files(executor, wanted, files, seen):
    """The files that need no step of their own; with peers, the trust between the nodes.

    :returns: list of (path, text, mode), and warnings.
    """
    planned, warnings = [(texts.SSH_CONFIG, texts.ssh_config_text(wanted["migration_user"]), 0o644)], []
    planned.append((nic_script.PATH, nic_script.TEXT, 0o755))
    common = seen["drbd"]["common"]
    verdict = texts.drbd_common_verdict(common, drbd.pristine_common(executor, common))
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
