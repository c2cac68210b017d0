# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DRBD's module with its parameters, now and at boot, and its helper; no resource is brought up by itself."""

from __future__ import annotations

import re

from ansible_collections.gantry.cluster.plugins.module_utils.drbd import helper as drbd_helper
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import checks
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.files import write
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.units import is_enabled


def observe(executor, files):
    """DRBD's tools, module and configuration."""
    drbd = {"missing": None, "loaded": files.exists(texts.DRBD_SYS), "version": module_version(files)}
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


def module_version(files):
    """The loaded module's version, or None."""
    said = files.value(texts.DRBD_SYS + "/version")
    if said:
        return said
    found = re.search(r"^version:\s*(\S+)", files.text("/proc/drbd") or "", re.MULTILINE)
    return found.group(1) if found else None


def utils_version(executor, files):
    """drbd-utils' version; None while the module is not loaded, since drbdadm would load it to answer."""
    if not files.exists(texts.DRBD_SYS):
        return None
    return texts.parse_drbdadm_version(executor.read(["drbdadm", "--version"], ok=None).out)


def setup(executor, wanted, files, seen):
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
            checks.check_drbd_version(module_version(files))
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
