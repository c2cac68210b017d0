# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be tidied after a migration failed: pure.

The window may be closed and the other side demoted only where the guest is seen to run on one node at most and every
node answers. In doubt nothing is touched and the lock's intent stays, so that the next run goes on from here.
"""

from __future__ import annotations


def settle(record, picture):
    """Where the guest lives and which nodes to bring to rest.

    :returns: ``{"certain": bool, "owner": node or None (off everywhere), "others": [nodes to demote], "close": [nodes],
        "why": text}``.
        ``close`` lists the nodes in the order in which their window is closed: the others first, the owner last.
    """
    nodes = [name for name in (record["primary"], record["secondary"]) if name]
    if picture["unknown"]:
        return _doubt("node %s does not answer" % ", ".join(picture["unknown"]))
    jobs = [name for name in nodes if picture["nodes"][name]["job"]]
    if jobs:
        return _doubt("a job still runs on %s" % ", ".join(jobs))
    if len(picture["alive"]) > 1:
        return _doubt("the guest lives on %s" % " and ".join(picture["alive"]))
    if picture["waiting"]:
        return _doubt("a copy that never ran waits on %s" % " and ".join(picture["waiting"]))
    if not picture["alive"]:
        return {"certain": True, "owner": None, "others": nodes, "close": nodes, "why": "the guest is off on every node"}
    owner = picture["owner"]
    if picture["nodes"][owner]["state"] != "running":
        return _doubt("the guest on %s is %s" % (owner, picture["nodes"][owner]["state"]))
    others = [name for name in nodes if name != owner]
    return {"certain": True, "owner": owner, "others": others, "close": others + [owner], "why": "the guest runs on %s" % owner}


def _doubt(why):
    return {"certain": False, "owner": None, "others": [], "close": [], "why": why + "; nothing was touched"}
