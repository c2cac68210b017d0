# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt is on, everything that starts guests by itself is off, and the way down is ordered."""

from __future__ import annotations

import os

from ansible_collections.gantry.cluster.plugins.module_utils import generation, tpm_hook
from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import checks
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.files import make_folders, write
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.units import is_active, is_enabled


def uris_of(wanted):
    """The libvirt drivers of the node that can have guests."""
    return [backend.uri for backend in hypervisors.drivers(wanted["hypervisors"]) if backend.uri in checks.DRIVERS]


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


def setup(executor, wanted, files, units):
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


def setup_tpm(executor, wanted, files, units):
    """The hook that gives guests with mirrored disks their TPM.

    The daemon looks for hooks when it starts: a first one it would not see before its next start. Guests go on meanwhile.
    """
    if "kvm" not in wanted["hypervisors"]:
        return
    if files.exists(texts.APPARMOR_QEMU):
        # libvirt reads it anew for each guest that starts
        write(executor, files, texts.APPARMOR_LOCAL, texts.with_block(
            files.text(texts.APPARMOR_LOCAL) or "", ["%s rw," % tpm_hook.socket_of("*")], texts.APPARMOR_LOCAL), 0o644)
    write(executor, files, tpm_hook.PROGRAM_PATH, tpm_hook.PROGRAM, 0o755)
    unseen = files.exists(texts.HOOK_UNSEEN) or not files.exists(tpm_hook.PATH)
    if not files.exists(tpm_hook.PATH):
        # a run that is cut off before the restart is not forgotten
        executor.write_file(files.path(texts.HOOK_UNSEEN), "", note=False)
    write(executor, files, tpm_hook.PATH, tpm_hook.TEXT, 0o755)
    if unseen:
        daemon = texts.daemon_of(units)
        executor.change("restart %s if it runs, so that it sees its hook" % daemon, ["systemctl", "try-restart", daemon + ".service"])
        executor.remove_file(files.path(texts.HOOK_UNSEEN), note=False)


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
