# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fence agents, as the standard fence-agents API has them: options on standard input, the answer an exit code.

"Off" is never believed: it is read back with the action ``status``.
"""

from __future__ import annotations

import subprocess
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: The agents' exit codes of the action ``status``.
STATUS = {0: "on", 2: "off"}
#: How often a method is tried and how long each call may take, seconds.
TRIES = 3
TIMEOUT = 60


def call(agent, options, action, timeout=TIMEOUT):
    """Run one agent once: (exit code, its message). Options go over standard input, so no password shows up in ps."""
    lines = ["action=%s" % action] + ["%s=%s" % (key, value) for key, value in sorted(options.items())]
    try:
        done = subprocess.run(
            [agent], input="\n".join(lines) + "\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
            errors="replace", timeout=timeout, check=False,
        )
    except OSError as missing:
        return 127, str(missing)
    except subprocess.TimeoutExpired:
        return 124, "no answer within %s s" % timeout
    return done.returncode, done.stdout.strip()[-500:]


def status(method):
    """``on``, ``off`` or ``unknown``, by one method ``{"agent", "options"}``."""
    code, _message = call(method["agent"], method["options"], "status")
    return STATUS.get(code, "unknown")


def power_off(node, methods, pause=1.0):
    """Switch a node off by the first method that proves it, and return the proof.

    :returns: ``{"changed": bool, "method": agent, "tries": int}``
    :raises GantryError: no method proved the node off.
    """
    seen = []
    for method in methods:
        if status(method) == "off":
            return {"changed": False, "method": method["agent"], "tries": 0}
        for attempt in range(1, TRIES + 1):
            code, message = call(method["agent"], method["options"], "off")
            proof = status(method)
            if proof == "off":
                return {"changed": True, "method": method["agent"], "tries": attempt}
            seen.append("%s: off answered %s (%s), status says %s" % (method["agent"], code, message or "no message", proof))
            time.sleep(pause)
    raise GantryError(
        "Node %s could not be proven off" % node, found="; ".join(seen) or "no fence method is configured",
        expected="a fence device that answers 'off'",
        mend="cut its power by hand, then say so with -e gantry_dead_node=%s" % node, code="fencing_failed",
    )
