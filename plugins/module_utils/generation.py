# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's own memory of each instance: the last generation it acted for, and a copy of the record.

A lock's lease may run out while its holder still works. So every operation carries a generation that
only grows, and a node never acts for an older one than it has already seen. The record beside it lets a
lost registry be rebuilt from the nodes; it never holds secrets.
"""

from __future__ import annotations

import json
import os

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text

#: One file per instance, named by its UUID.
FOLDER = "/var/lib/gantry/instances"


def path_of(uuid, folder=FOLDER):
    """The file of one instance."""
    return os.path.join(folder, uuid + ".json")


def load(uuid, folder=FOLDER):
    """The stored memory ``{"generation": int, "record": dict or None}``, or None."""
    path = path_of(uuid, folder)
    text = read_text(path)
    if text is None:
        return None
    try:
        memory = json.loads(text)
        return {"generation": int(memory["generation"]), "record": memory.get("record")}
    except (ValueError, KeyError, TypeError) as broken:
        raise GantryError(
            "The record %s cannot be read" % path, found=str(broken), expected="JSON with a generation",
            mend="compare with the other node's copy, then remove the file and run the verb again",
            code="broken_record",
        ) from broken


def load_all(folder=FOLDER):
    """All memories of this node by UUID; an unreadable one appears as ``{"error": text}``."""
    memories = {}
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return memories
    for name in names:
        uuid, extension = os.path.splitext(name)
        if extension != ".json" or name.startswith("."):
            continue
        try:
            memories[uuid] = load(uuid, folder)
        except GantryError as broken:
            memories[uuid] = {"error": str(broken)}
    return memories


def refuse_older(uuid, generation, folder=FOLDER):
    """Raise when this node has already acted for a newer operation. Returns the stored memory or None."""
    memory = load(uuid, folder)
    if memory is not None and memory["generation"] > generation:
        raise GantryError(
            "Another operation on instance %s is newer than this one" % uuid,
            found="generation %d on this node" % memory["generation"],
            expected="at most %d" % generation,
            mend="nothing to mend: the newer operation owns the instance; look at it with cluster_info",
            code="stale_generation",
        )
    return memory


def claim(executor, uuid, generation, record=None, folder=FOLDER):
    """Refuse an older generation, then store this one (and the record, when given) before acting.

    :param record: the instance's record without secrets; None keeps the stored copy.
    """
    memory = refuse_older(uuid, generation, folder)
    if record is None:
        record = memory["record"] if memory else None
    text = json.dumps({"generation": generation, "record": record}, indent=1, sort_keys=True) + "\n"
    executor.write_file(path_of(uuid, folder), text, mode=0o600, note=False)


def forget(executor, uuid, generation, folder=FOLDER):
    """Remove the memory of an instance that has left this node."""
    refuse_older(uuid, generation, folder)
    executor.remove_file(path_of(uuid, folder), note=False)
