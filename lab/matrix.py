# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix hypervisor x disk template x verb: which cells there are, which of them are impossible and how they are refused.

Pure, but for :func:`record`. What the tests of ``tests/lab_hypervisors`` found is kept in ``docs/matrix.json``, cell by cell, since
each hypervisor has nodes and a run of its own; ``docs/matrix.md`` is written from all of it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib

from . import config

#: Each hypervisor, and the flavour of the nodes that have it.
HYPERVISORS = {"kvm": "kvm", "xen-pv": "xen", "xen-pvh": "xen", "xen-hvm": "xen", "lxc": "lxc"}
TEMPLATES = ("drbd", "plain")
#: In the order in which they are run on one instance; the playbook of each, and what it is given.
VERBS = ("add", "stop", "start", "reboot", "migrate", "failover", "migrate or failover", "remove")

PLAYBOOKS = {verb: ("instance_" + verb, {}) for verb in VERBS}
PLAYBOOKS["migrate or failover"] = ("instance_migrate", {"allow_failover": True})

RAN, IMPOSSIBLE, FAILED = "ran", "impossible", "failed"

CONTENT = config.ROOT / "docs" / "matrix.json"
PAGE = config.ROOT / "docs" / "matrix.md"

HEAD = """\
# Hypervisor x disk template x verb

Written by the tests of `tests/lab_hypervisors`, which run every verb with its playbook on real nodes (emulated machines of the
[lab](lab.md)), on a guest that counts: after each verb the audit is clean, and at the end every number that the guest has said is on its
disk. Do not edit it: `docs/matrix.json` is what it is made of.

`ran`: it did what it says. `impossible`: the verb was run all the same, was refused for the reason below, and changed nothing.
`failed`: it was run and did not; the verbs behind it were not reached.
"""


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A cell that is impossible.

    :ivar reason: why, for the page.
    :ivar says: what the refusal has to say; nothing where the verb has nothing to do instead, which is to be seen.
    """

    reason: str
    says: tuple


def refusal(hypervisor, template, verb):
    """Why a cell is impossible, or None where it has to run."""
    if template == "plain" and verb in ("migrate", "failover", "migrate or failover"):
        return Refusal("its only copy is on its node", ("has only one node", "disk template plain"))
    if hypervisor == "lxc" and verb == "migrate":
        return Refusal(
            "a container's processes belong to its node's kernel; instance_failover restarts it on the other node",
            ("cannot migrate live", "hypervisor lxc", "instance_failover -l"))
    return None


def cells(flavour=None):
    """All cells, as (hypervisor, template, verb), or those that nodes of one flavour can answer for."""
    return [(hypervisor, template, verb) for hypervisor, own in HYPERVISORS.items() if flavour in (None, own)
            for template in TEMPLATES for verb in VERBS]


def merge(known, found):
    """The results with new ones in the place of their cells' old ones, sorted.

    :param known: a list of ``{"hypervisor", "template", "verb", "outcome", "note", "suite", "date"}``; ``found`` likewise.
    :raises ValueError: one of them is of no cell, or of no outcome.
    """
    order = {cell: place for place, cell in enumerate(cells())}
    merged = {}
    for one in known + found:
        cell = (one["hypervisor"], one["template"], one["verb"])
        if cell not in order or one["outcome"] not in (RAN, IMPOSSIBLE, FAILED):
            raise ValueError(f"no result of a cell: {one}")
        merged[cell] = one
    return [merged[cell] for cell in sorted(merged, key=order.get)]


def render(results):
    """The page."""
    known = {(one["hypervisor"], one["template"], one["verb"]): one for one in results}
    notes = []
    lines = [HEAD, "| Hypervisor | Disk | " + " | ".join(VERBS) + " | Seen |", "|---|---|" + "---|" * (len(VERBS) + 1)]
    for hypervisor in HYPERVISORS:
        for template in TEMPLATES:
            found = [known.get((hypervisor, template, verb)) for verb in VERBS]
            words = [_word(one, notes) for one in found]
            seen = sorted({f"{one['date']}, {one['suite']}" for one in found if one})
            lines.append(f"| `{hypervisor}` | `{template}` | " + " | ".join(words) + " | " + "; ".join(seen) + " |")
    if notes:
        lines += [""] + [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    lines += ["", "`migrate or failover` is `instance_migrate -e gantry_allow_failover=true`. An empty cell has not been run yet."]
    return "\n".join(lines) + "\n"


def _word(one, notes):
    """A cell's word, with the number of its note."""
    if one is None:
        return ""
    if not one.get("note"):
        return one["outcome"]
    if one["note"] not in notes:
        notes.append(one["note"])
    return f"{one['outcome']} ({notes.index(one['note']) + 1})"


def load(path=CONTENT):
    """The results that are kept."""
    return config.read_json(pathlib.Path(path), [])


def record(found, content=CONTENT, page=PAGE):
    """Keep new results in the place of all that is kept of their rows, and write the page."""
    rows = {(one["hypervisor"], one["template"]) for one in found}
    merged = merge([one for one in load(content) if (one["hypervisor"], one["template"]) not in rows], found)
    config.write(pathlib.Path(content), json.dumps(merged, indent=1, sort_keys=True) + "\n")
    config.write(pathlib.Path(page), render(merged))
