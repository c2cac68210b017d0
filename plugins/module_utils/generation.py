# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's own memory of each instance: the last generation it acted for, and a copy of the record.

A lock's lease may run out while its holder still works. So every operation carries a generation that
only grows, and a node never acts for an older one than it has already seen. The record beside it lets a
lost registry be rebuilt from the nodes; it never holds secrets.

A controller that is killed leaves its module running on the node. So a claim also takes the instance's lock on
this node, held until the module ends: the next run's step waits for what is still under way, then looks again.
"""

from __future__ import annotations

import fcntl
import json
import os
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text

#: One file per instance, named by its UUID.
FOLDER = "/var/lib/gantry/instances"

#: Where the locks are; gone after a reboot, as the processes that held them.
LOCKS = "/run/gantry"
#: Seconds a step waits for one of an earlier run that still acts on the instance here.
LOCK_WAIT = 900

#: The locks this process holds by path; the system gives them back when it ends.
_held = {}


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


def take_lock(uuid, wait=LOCK_WAIT, folder=LOCKS):
    """Make this process the only one that acts on the instance on this node, until it ends.

    :param wait: seconds to wait for a step of an earlier run.
    :raises GantryError: that step still runs.
    """
    path = os.path.join(folder, uuid + ".lock")
    if path in _held:
        return
    os.makedirs(folder, mode=0o700, exist_ok=True)
    stream = open(path, "a+", encoding="utf-8")  # stays open: it is the lock
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= end:
                stream.close()
                raise GantryError(
                    "An earlier step on instance %s still runs on this node" % uuid,
                    found="its lock %s is held (see 'fuser -v %s')" % (path, path), expected="an end within %d s" % wait,
                    mend="wait for it and run the same command again", code="node_busy",
                ) from None
            time.sleep(0.2)
    _held[path] = stream


def claim(executor, uuid, generation, record=None, folder=FOLDER, locks=LOCKS):
    """Take the instance's lock here, refuse an older generation, then store this one before acting.

    :param record: the instance's record without secrets; None keeps the stored copy.
    """
    if not executor.check_mode:
        take_lock(uuid, folder=locks)
    memory = refuse_older(uuid, generation, folder)
    if record is None:
        record = memory["record"] if memory else None
    text = json.dumps({"generation": generation, "record": record}, indent=1, sort_keys=True) + "\n"
    executor.write_file(path_of(uuid, folder), text, mode=0o600, note=False)


def forget(executor, uuid, generation, folder=FOLDER):
    """Remove the memory of an instance that has left this node."""
    refuse_older(uuid, generation, folder)
    executor.remove_file(path_of(uuid, folder), note=False)
