# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fence agents, as the standard fence-agents API has them: options on standard input, the answer an exit code.

"Off" is never believed: it is read back with the action ``status``. A method is ``{"agent", "options", "tries",
"timeout"}``; the agent ``manual`` is no program but the operator, whose word counts only for the node it names.
"""

from __future__ import annotations

import re
import subprocess
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: The agents' exit codes of the action ``status``.
STATUS = {0: "on", 2: "off"}
#: How often a method is tried and how long each call may take, seconds, unless the method says otherwise.
TRIES = 3
TIMEOUT = 60
#: The method that is a person.
MANUAL = "manual"
#: Options whose value must not stand in a message, whatever an agent prints.
_SECRET = re.compile(r"passw|passphrase|secret|token|community|key|snmp_priv", re.IGNORECASE)

#: What a list of methods looks like, for the argument specs of actions.
METHODS_SPEC = {"type": "list", "elements": "dict", "required": True, "options": {
    "agent": {"type": "str", "required": True},
    "options": {"type": "dict", "default": {}, "no_log": True},
    "tries": {"type": "int", "default": TRIES},
    "timeout": {"type": "int", "default": TIMEOUT},
}}


def hide(text, options):
    """A message without the values of secret options."""
    values = {str(value) for key, value in options.items() if _SECRET.search(str(key)) and str(value)}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "********")
    return text


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
    # hidden before it is cut, so that no half of a password stays
    return done.returncode, hide(done.stdout.strip(), options)[-500:]


def check_methods(node, methods):
    """Refuse methods that cannot work before any device is touched. :raises GantryError: tries or timeout below one."""
    for method in methods:
        for key in ("tries", "timeout"):
            if method.get(key) is not None and int(method[key]) < 1:
                raise GantryError(
                    "The fence method %s of node %s cannot be used" % (method["agent"], node), found="%s: %s" % (key, method[key]),
                    expected="1 or more", mend="correct gantry_fence of %s" % node, code="bad_fence_method",
                )


def _limits(method):
    return int(method.get("tries") or TRIES), float(method.get("timeout") or TIMEOUT)


def status(method):
    """``on``, ``off`` or ``unknown``, by one method. A person is not asked: ``manual`` is always unknown."""
    return _status(method)[0]


def _status(method):
    """The power state by one method, and what its agent said."""
    if method["agent"] == MANUAL:
        return "unknown", "only the operator knows"
    code, message = call(method["agent"], method["options"], "status", timeout=_limits(method)[1])
    return STATUS.get(code, "unknown"), "status answered %d (%s)" % (code, message or "no message")


def survey(methods):
    """What every method says of its node: ``[{"method", "power", "message"}]``, in the methods' order."""
    found = []
    for method in methods:
        power, message = _status(method)
        found.append({"method": method["agent"], "power": power, "message": message})
    return found


def power_off(node, methods, pause=1.0, confirmed=False):
    """Switch a node off by the first method that proves it, and return the proof.

    :param pause: seconds between two tries of one method.
    :param confirmed: the operator named this node and says that it is off: what the method ``manual`` needs.
    :returns: ``{"changed": bool, "method": agent, "tries": int}``
    :raises GantryError: no method proved the node off.
    """
    return _switch(node, methods, "off", pause, confirmed)


def power_on(node, methods, pause=1.0):
    """Switch a node on by the first method that then says so. Returns and raises as :func:`power_off`."""
    return _switch(node, methods, "on", pause, False)


def _switch(node, methods, wanted, pause, confirmed):
    check_methods(node, methods)
    seen = []
    for method in methods:
        if method["agent"] == MANUAL:
            if confirmed and wanted == "off":
                return {"changed": False, "method": MANUAL, "tries": 0}
            seen.append("manual: the operator has not said that it is %s" % wanted)
            continue
        if status(method) == wanted:
            return {"changed": False, "method": method["agent"], "tries": 0}
        tries, timeout = _limits(method)
        for attempt in range(1, tries + 1):
            code, message = call(method["agent"], method["options"], wanted, timeout=timeout)
            proof = status(method)
            if proof == wanted:
                return {"changed": True, "method": method["agent"], "tries": attempt}
            seen.append("%s: %s answered %s (%s), status says %s" % (method["agent"], wanted, code, message or "no message", proof))
            if attempt < tries:
                time.sleep(pause)
    raise GantryError(
        "Node %s could not be proven %s" % (node, wanted), found="; ".join(seen) or "no fence method is configured",
        expected="a fence device that answers '%s'" % wanted,
        mend="cut its power by hand, then say so with -e gantry_dead_node=%s" % node if wanted == "off"
        else "look at the device, or switch the node on by hand", code="fencing_failed",
    )
