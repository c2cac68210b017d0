# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's note that a guest is leaving it: written before a migration, erased by whatever is done here next.

A guest that has arrived at the target waits there, paused, until the source is proven to be without it. Should
nobody have resumed it then, the note at the source tells later whether it may still be: only while nothing else
was done to the instance here, because its memory fits the disks as they were.
"""

from __future__ import annotations

import json
import os

from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text

#: Gone after a reboot, as the guests of this node.
FOLDER = "/run/gantry"


def _path(uuid, folder):
    return os.path.join(folder, uuid + ".leaving")


def write(executor, uuid, generation, target, folder=FOLDER):
    """Note that the operation of that generation is about to migrate the guest to the target."""
    text = json.dumps({"generation": generation, "target": target}, sort_keys=True) + "\n"
    executor.write_file(_path(uuid, folder), text, note=False)


def generation_of(uuid, target, folder=FOLDER):
    """The generation of the last departure to the target, None if there was none since anything else was done."""
    text = read_text(_path(uuid, folder))
    if text is None:
        return None
    note = json.loads(text)
    return note["generation"] if note["target"] == target else None


def erase(executor, uuid, folder=FOLDER):
    """Something else is done to the instance here: whatever has arrived elsewhere is old from now on."""
    executor.remove_file(_path(uuid, folder), note=False)
