# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster is as it should be: pure functions from what the registry holds and the nodes show to findings.

One file for each kind of object (registry, nodes, instances, disks, capacity, strays), all on one :class:`case.Case`;
``codes`` is the table of what can be found, ``output`` turns findings into text, a table and JUnit XML.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify import capacity, instances, nodes, registry, strays
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify.case import Case
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify.codes import CODES, NOTE, OBJECT_TYPES, SEVERITIES


def verify(content, observations, controller, before=None):
    """Look at the whole cluster. Whatever is missing or broken in what is given is a finding, never an exception.

    :param content: what the action registry_read returned.
    :param observations: what node_info returned for each node: ``{"node", "reachable", "error", "asked", "answered",
        "node_info"}``.
    :param controller: what only the controller knows: ``time`` (seconds since 1970), ``holders`` (by instance that is
        locked: whether the lock's run is ``alive``, ``dead`` or ``unknown``), ``unlisted`` (nodes that the inventory does
        not have), ``fence`` (by node: ``methods``, their number, and ``missing``, the agents that cannot be run).
    :param before: the same as content, read before the nodes were asked; an instance that changed since is left alone.
    :returns: a list of ``{"code", "severity", "object_type", "object", "node", "found", "expected", "mend", "ignored"}``,
        the worst first. ``node`` is the node it is seen on, or None; severity is error, warning or note.
    """
    case = Case(content, observations, controller, before)
    for part in (registry, nodes, instances, capacity, strays):
        part.check(case)
    return sorted(case.findings, key=_place)


def _place(finding):
    return (
        -SEVERITIES.index(finding["severity"]), OBJECT_TYPES.index(finding["object_type"]), finding["object"], finding["code"],
        finding["node"] or "", finding["found"],
    )


def ignore(findings, codes):
    """The findings with those of the given codes turned into notes.

    :raises GantryError: there is no such code; a mistyped one would ignore nothing and nobody would notice.
    """
    wanted = {str(code).strip().upper() for code in codes}
    unknown = sorted(wanted - set(CODES))
    if unknown:
        raise GantryError(
            "There is no code %s" % ", ".join(unknown), found=", ".join(unknown), expected="codes of docs/verify.md",
            mend="correct gantry_verify_ignore", code="unknown_code",
        )
    changed = [dict(finding, severity=NOTE, ignored=True) if finding["code"] in wanted else finding for finding in findings]
    return sorted(changed, key=_place)


def counts(findings):
    """How many of each severity."""
    return {severity: len([finding for finding in findings if finding["severity"] == severity]) for severity in SEVERITIES}


def worst(findings):
    """The worst severity, ``none`` without a finding."""
    return max((finding["severity"] for finding in findings), key=SEVERITIES.index, default="none")


def reaches(finding, level):
    """True when the finding is at least as bad as the level (error or warning)."""
    return SEVERITIES.index(finding["severity"]) >= SEVERITIES.index(level)
