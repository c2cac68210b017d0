# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""script/place as a program: every verb, both outputs, exit codes, and no traceback."""

from __future__ import annotations

import json
import pathlib
import subprocess

import clusters
import pytest

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import command
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import iallocator, text

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture(name="data")
def _data(tmp_path):
    path = tmp_path / "cluster.data"
    path.write_text(text.render(clusters.bench_cluster(6, 24)), encoding="utf-8")
    return str(path)


def _place(*argv):
    return subprocess.run([str(ROOT / "script/place"), *argv], check=False, capture_output=True, text=True, timeout=60)


def test_the_program_runs(data):
    """Through the shell, as a user calls it."""
    done = _place("balance", "-t", data, "-l", "3", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, done.stderr, len(answer["moves"])) == (0, "", 3)
    assert answer["end"] < answer["start"] and answer["bound"] <= answer["end"]
    assert set(answer["moves"][0]) == {"instance", "from", "to", "actions", "score", "copy_gib", "migrations"}


@pytest.mark.parametrize("verb", ["score", "balance", "capacity", "check", "rolling", "squeeze"])
def test_every_verb_answers_both_ways(data, capsys, verb):
    """Text for people, JSON for machines, the same content."""
    more = ["-l", "5"] if verb == "capacity" else []
    assert command.main([verb, "-t", data, *more]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 2
    assert command.main([verb, "-t", data, "--json", *more]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] >= 0


def test_balance_prints_hbals_letters_and_saves(data, tmp_path, capsys):
    """The plan's end is the score of the file it saves."""
    saved = str(tmp_path / "after.data")
    assert command.main(["balance", "-t", data, "-S", saved]) == 0
    printed = capsys.readouterr().out
    assert "a=f" in printed and "Lower bound" in printed and "GiB copied" in printed
    assert command.main(["balance", "-t", data, "--json"]) == 0
    end = json.loads(capsys.readouterr().out)["end"]
    assert command.main(["score", "-t", saved, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(end)


def test_utilisation_changes_the_score(data, tmp_path, capsys):
    """One busy instance; and load left out."""
    load = tmp_path / "load"
    load.write_text("instance00003.example.com 7 1 1 1\nnobody 1 1 1 1\n", encoding="utf-8")
    starts = []
    for more in ([], ["-U", str(load)], ["--ignore-utilisation"]):
        assert command.main(["balance", "-t", data, "-l", "0", "--json", *more]) == 0
        starts.append(json.loads(capsys.readouterr().out)["start"])
    assert len(set(starts)) == 3
    load.write_text("instance00003.example.com 7 1\n", encoding="utf-8")
    assert command.main(["balance", "-t", data, "-U", str(load)]) == 2
    assert "Line 1 of the utilisation" in capsys.readouterr().err


def test_allocate_answers_the_protocol(tmp_path, capsys):
    """From a message alone, and with the cluster from a text file."""
    cluster = clusters.bench_cluster(6, 24)
    row = cluster.instances.rows[0]._replace(name="new")
    request = dict(iallocator.describe(row), type="allocate", name="new", required_nodes=2)
    path, data = tmp_path / "request.json", tmp_path / "cluster.data"
    path.write_text(json.dumps(iallocator.render(cluster, request)), encoding="utf-8")
    data.write_text(text.render(cluster), encoding="utf-8")
    assert command.main(["allocate", str(path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["success"] and len(answer["result"]) == 2 and set(answer) == {"success", "info", "result"}
    path.write_text(json.dumps({"request": request}), encoding="utf-8")
    assert command.main(["allocate", str(path), "-t", str(data)]) == 0
    assert json.loads(capsys.readouterr().out)["success"]


def test_broken_input_is_an_error_not_a_traceback(tmp_path):
    """Exit code 2, the reason on standard error."""
    path = tmp_path / "broken"
    path.write_bytes(b"\xff\xfe")
    for argv in (["score", "-t", str(path)], ["allocate", str(path)], ["score", "-t", str(tmp_path / "absent")]):
        done = _place(*argv)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
