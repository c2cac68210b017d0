# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LVM keeps off the guests' disks: its filter, tried out on a copy of the configuration first."""

from __future__ import annotations

import os
import re
import shutil
import tempfile

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import checks
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.files import write

#: How to see the filter LVM goes by, after all its files.
LVMCONFIG = ["lvmconfig", "--type", "full", "devices/global_filter"]


def volume_groups(executor, folder=None):
    """The volume groups LVM sees, with this node's configuration or that in another folder."""
    argv = ["vgs", "--reportformat", "json", "--units", "m", "--nosuffix",
            "-o", "vg_name,vg_size,vg_free,vg_missing_pv_count,pv_name"]
    return texts.parse_groups(executor.read(with_configuration(folder, argv)).out)


def with_configuration(folder, argv):
    """An LVM command that reads its configuration from another folder than /etc/lvm, when one is given."""
    return ["env", "LVM_SYSTEM_DIR=" + folder] + argv if folder else argv


def plan(executor, wanted, files, before):
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


def setup(executor, files, planned):
    """Write the filter that was tried, and prove that it is in force."""
    written = write(executor, files, texts.LVM_LOCAL, planned["text"], files.mode(texts.LVM_LOCAL, 0o644))
    if not (written and executor.check_mode):
        prove_filter(executor, planned["patterns"])
