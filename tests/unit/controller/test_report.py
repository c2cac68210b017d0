# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What instances are said to be: as data."""

from __future__ import annotations

import pathlib
import sys

from ansible_collections.gantry.cluster.plugins.plugin_utils import report

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "allocator"))

from worlds import record, world  # noqa: E402  pylint: disable=wrong-import-position


def small(**digests):
    """Two guests that run and one that is off; the digest by which each was defined."""
    ones = [record(name, "node1", "node2", up=name != "off1", generation=1) for name in ("web1", "web2", "off1")]
    _nodes, records, observations = world(ones)
    for observation in observations:
        for domain in observation["node_info"]["domains"]:
            domain["digest"] = digests.get(domain["name"])
    return records, observations


def test_guests_that_were_defined_otherwise():
    records, observations = small(web1="same", web2="older", off1="older")

    def found(names=None):
        others = report.defined_otherwise(records, observations, names, lambda _record: "same")
        return {node: [one["name"] for one in ones] for node, ones in others.items()}
    assert found() == {"node1": ["web2"]}
    assert found(["web1", "unknown"]) == {} and found(["web2"]) == {"node1": ["web2"]}
    records["web2"]["status"] = "creating"
    assert found() == {}


def test_what_waits_stands_in_the_note():
    records, observations = small()
    rows = report.instances(records, observations, {}, waiting={"uuid-of-web1": ["memory: 2 instead of 1"], "uuid-of-web2": ["a", "b"]})
    assert {row["name"]: row["pending_changes"] for row in rows} == {
        "web1": ["memory: 2 instead of 1"], "web2": ["a", "b"], "off1": []}
    lines = {line.split()[0]: line for line in report.instance_table(rows).splitlines()}
    assert lines["web1"].endswith("1 setting waits for the next start") and lines["web2"].endswith("2 settings wait for the next start")
    assert "start" not in lines["off1"]
