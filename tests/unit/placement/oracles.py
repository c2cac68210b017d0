# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ganeti's own tools as oracles: each function runs one on a cluster and returns what it said as data."""

from __future__ import annotations

import json
import re
import subprocess

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import iallocator, text

HAIL = "/usr/lib/ganeti/iallocators/hail"
TIMEOUT = 120


def _run(folder, cluster, *argv):
    path = folder / "cluster.data"
    path.write_text(text.render(cluster), encoding="utf-8")
    return subprocess.run([argv[0], "-t", str(path), *argv[1:]], check=False, capture_output=True, text=True, timeout=TIMEOUT)


def _keys(output):
    return dict(line.replace("'", "").split("=", 1) for line in output.splitlines() if "=" in line)


def hbal_metrics(folder, cluster, group):
    """{metric: value} as hbal prints them before it does anything."""
    output = _run(folder, cluster, "hbal", "-l", "0", "-v", "-v", "-v", "-G", group).stdout
    found = re.findall(r"^  +(\w+) +(-?[\d.]+) +x", output, re.MULTILINE)
    return {name: float(value) for name, value in found}


def hbal(folder, cluster, group, *options):
    """(number of moves, final score, list of move letters); the score is None where there was nothing to do."""
    output = _run(folder, cluster, "hbal", "-G", group, *options).stdout
    end = re.search(r"improved from [\d.]+ to ([\d.]+)\nSolution length=(\d+)", output)
    letters = re.findall(r"^ +\d+\. .* a=(.*)$", output, re.MULTILINE)
    return (int(end[2]), float(end[1]), letters) if end else (0, None, letters)


def hspace(folder, cluster):
    """The keys hspace prints for machines."""
    return _keys(_run(folder, cluster, "hspace", "--machine-readable").stdout)


def hcheck(folder, cluster):
    """The keys hcheck prints for machines, without balancing."""
    return _keys(_run(folder, cluster, "hcheck", "--machine-readable", "--no-simulation").stdout)


def hroller(folder, cluster):
    """Groups of nodes, or None where hroller gives up."""
    done = _run(folder, cluster, "hroller", "--no-headers", "--force")
    return None if done.returncode else [line.split(",") for line in done.stdout.splitlines() if not line.startswith(" ")]


def hail(folder, cluster, request, *options):
    """hail's answer to a request."""
    path = folder / "request.json"
    path.write_text(json.dumps(iallocator.render(cluster, request)), encoding="utf-8")
    done = subprocess.run([HAIL, str(path), *options], check=False, capture_output=True, text=True, timeout=TIMEOUT)
    return json.loads(done.stdout)
