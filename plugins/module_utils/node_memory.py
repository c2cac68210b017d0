# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node holds that a lost registry is rebuilt from: records, the DRBD secrets, its own identity; and what it shows now."""

from __future__ import annotations

import os
import re

from ansible_collections.gantry.cluster.plugins.module_utils import node_facts
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import resource_file
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import trust
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.files import Files

_OURS = re.compile(r"^# gantry\.instance=(\S+)$", re.MULTILINE)


def collect(executor, drivers, timeout, files=None):
    """Read the node; nothing is changed.

    :param drivers: as :func:`hypervisor.drivers` returns.
    :param timeout: seconds libvirt has.
    :param files: the node's files, a :class:`node_setup.files.Files`.
    :returns: what :func:`node_facts.collect` returns, and ``resource_secrets``, ``migration_public_key`` (None when there is
        none) and ``ssh_host_keys``.
    """
    files = files or Files()
    memory = node_facts.collect(executor, drivers, timeout=timeout, root=files.root)
    memory["resource_secrets"] = resource_secrets(files.path(resource_file.FOLDER))
    memory["migration_public_key"] = public_key(files)
    memory["ssh_host_keys"] = trust.host_keys(files)
    return memory


def resource_secrets(folder):
    """The collection's own resource files by resource.

    :returns: ``{resource: {"uuid", "secret", "hosts": {host: {"minors", "ports"}}}}``, or ``{"error": text}`` for one that
        cannot be understood. Files of others are left out: their secrets are none of ours.
    """
    found = {}
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".res") and not name.startswith("."))
    except FileNotFoundError:
        return found
    for name in names:
        path = os.path.join(folder, name)
        try:
            text = read_text(path) or ""
            owner = _OURS.search(text)
            if owner is None:
                continue
            for resource, content in resource_file.describe(text, path).items():
                found[resource] = dict(content, uuid=owner.group(1))
        except GantryError as broken:
            # the text of the error may quote a line of the file, and that line may be the secret
            found[name[:-4]] = {"error": "%s (%s)" % (broken.what, broken.code)}
        except (OSError, UnicodeDecodeError) as broken:
            found[name[:-4]] = {"error": type(broken).__name__}
    return found


def public_key(files):
    """The public half of the node's migration key as "type base64"; None where node_prepare has not made it."""
    try:
        return texts.clean_key(files.text(texts.MIGRATION_KEY + ".pub") or "")
    except ValueError:
        return None
