# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The healthy cluster of healthy.yml, and the small changes of faults.yml made to it."""

from __future__ import annotations

import copy
import pathlib
import re

import yaml

from ansible_collections.gantry.cluster.plugins.plugin_utils.verify import verify

FOLDER = pathlib.Path(__file__).parent
#: Read once.
_HEALTHY = yaml.load((FOLDER / "healthy.yml").read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
FAULTS = yaml.safe_load((FOLDER / "faults.yml").read_text(encoding="utf-8"))
UUIDS = {name.split(".")[0].upper(): record["uuid"] for name, record in _HEALTHY["content"]["instances"].items()}


def healthy():
    """The healthy cluster, a copy of its own."""
    return copy.deepcopy(_HEALTHY)


def whole(value):
    """The value with the short names of faults.yml written out, at any depth."""
    if isinstance(value, dict):
        return {whole(key): whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, str):
        value = re.sub(r"\b(web1|db1|mail1)\b(?!\.example)", r"\1.example.com", value)
        return re.sub(r"\b(WEB1|DB1|MAIL1)\b", lambda found: UUIDS[found.group()], value)
    return value


def _walk(data, path):
    """The container of the path's last step, and that step: a key, a position, or in a list an item's name."""
    steps = whole(path).split("/")
    # a migration key or a tag may hold slashes, a step never does
    if re.fullmatch(r"node\d", steps[0]):
        steps[:1] = ["observations", steps[0], "node_info"]
    place = data
    for number, step in enumerate(steps):
        if isinstance(place, list):
            step = int(step) if step.isdigit() else [item["name"] for item in place].index(step)
        if number == len(steps) - 1:
            return place, step
        place = place[step]
    raise AssertionError("an empty path")


def change(data, case):
    """Make a case's changes, in this order: copy, set, delete, append, move, then."""
    for target, source in case.get("copy", {}).items():
        place, step = _walk(data, source)
        where, name = _walk(data, target)
        where[name] = copy.deepcopy(place[step])
    _set(data, case.get("set", {}))
    for path in case.get("delete", []):
        place, step = _walk(data, path)
        del place[step]
    for path, item in case.get("append", {}).items():
        place, step = _walk(data, path)
        place[step].append(whole(item))
    for source, target in case.get("move", {}).items():
        place, step = _walk(data, source)
        where, name = _walk(data, target)
        where[name].append(place.pop(step))
    _set(data, case.get("then", {}))
    return data


def _set(data, changes):
    for path, value in changes.items():
        place, step = _walk(data, path)
        place[step] = whole(value)


def look(data):
    """Verify the cluster."""
    return verify(data["content"], list(data["observations"].values()), data["controller"], data.get("before"))


def found(findings):
    """Findings as faults.yml has them: each code with its object, once."""
    return sorted({"%s %s" % (finding["code"], finding["object"]) for finding in findings})
