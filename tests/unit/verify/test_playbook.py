# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook on a real registry, with this machine as one node and one that does not answer, and the action's own parts."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import yaml
from ansible_collections.gantry.cluster.plugins.action import cluster_verify
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import report_file, run_owner
from ansible_collections.gantry.cluster.plugins.plugin_utils.cluster_state import ClusterState
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry

#: Whole playbooks run against stand-in nodes: too slow for script/test --fast.
pytestmark = pytest.mark.playbook

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = run_owner.this_run()


@pytest.fixture(name="play")
def _play(tmp_path):
    """Runs the playbook: play(*arguments) -> (exit code, output)."""
    url = "sqlite://%s/registry.db" % tmp_path
    state = ClusterState(open_registry(url, create=True))
    state.init({"name": "cluster.example.com"})
    for number in (1, 2):
        state.put_node({
            "name": "node%d" % number, "hostname": "node%d.example.com" % number, "address": "192.0.2.%d" % number, "vg": "none-such",
            "hypervisors": ["kvm"], "migration_public_key": "ssh-ed25519 AAAA%d" % number, "ssh_host_keys": ["ssh-ed25519 AAAAH"]})
    inventory = {"all": {
        "vars": {"gantry_registry": url},
        "children": {"gantry_nodes": {"hosts": {
            "node1": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
            # nothing listens there
            "node2": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0,
                      "gantry_fence": [{"agent": "/nowhere/fence_agent", "options": {}}]},
        }}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", ANSIBLE_CALLBACK_RESULT_FORMAT="json",
                       ANSIBLE_COLLECTIONS_PATH=str(ROOT / "collections"), HOME=str(tmp_path))

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts.yml"), "gantry.cluster.cluster_verify", *arguments],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False, timeout=300)
        return done.returncode, done.stdout
    return run


def test_findings_fail_the_run_and_dead_nodes_do_not(play, tmp_path):
    """The report comes out whole, with the dead node in it; then the run fails for the findings alone."""
    report = tmp_path / "verify.xml"
    code, text = play("-e", "gantry_verify_junit=%s" % report, "-e", "gantry_output=text")
    assert code == 2, text
    assert "ERROR:NODE_UNREACHABLE:node:node2:" in text
    # this machine's real answer went through: it is no node called node1.example.com
    assert "ERROR:NODE_HOSTNAME:node:node1:" in text and "ERROR:NODE_ADDRESS:node:node1:" in text
    assert "ERROR:NODE_FENCE_AGENT:node:node2:" in text and "WARNING:NODE_FENCE:node:node1:" in text
    assert "NODE_INCOMPLETE" not in text and "NODE_NO_FACTS" not in text and "NODE_CLOCK" not in text
    assert "The cluster is not as it should be: " in text
    assert "unreachable=0" in text and "changed=0" in text
    cases = {case.get("name"): case.find("failure") is not None for case in ET.parse(report).iter("testcase")}
    assert cases["NODE_UNREACHABLE node2"] and cases["NODE_HOSTNAME node1"]
    assert not cases["NODE_FENCE node1"] and not cases["INSTANCE_TWICE"]
    assert report.stat().st_mode & 0o777 == 0o644


def test_what_is_ignored_fails_nothing(play):
    """With all its errors ignored the run succeeds, in check mode as outside of it; the level brings the warnings back."""
    code, text = play("-e", "gantry_output=json")
    assert code == 2, text
    shown = json.JSONDecoder().raw_decode(text[text.index("=> {", text.index("Show what was found")) + 3:])[0]["msg"]
    errors = sorted({finding["code"] for finding in shown if finding["severity"] == "error"})
    ignore = "gantry_verify_ignore=" + ",".join(errors)
    code, text = play("-e", ignore, "--check")
    assert code == 0, text
    assert "note (ignored)" in text and "changed=0" in text
    code, text = play("-e", ignore, "-e", "gantry_verify_level=warning")
    assert code == 2 and "NODE_FENCE" in text, text


def test_bad_variables_are_refused(play):
    for argument, words in (
        ("gantry_verify_ignore=NODE_FENCES", "There is no code NODE_FENCES"), ("gantry_verify_level=note", "gantry_verify_level"),
        ("gantry_verify_junit=/nowhere/at/all.xml", "The JUnit file /nowhere/at/all.xml cannot be written"),
    ):
        code, text = play("-e", argument)
        assert code == 2 and words in text, text


def test_holder(monkeypatch):
    # the tests' own parent may have ended, in a session that was started in the background
    monkeypatch.setattr(run_owner.os, "getppid", os.getpid)
    mine = run_owner.this_run()
    assert cluster_verify.holder({"owner": mine}, HERE) == "alive"
    assert cluster_verify.holder({"owner": dict(HERE, started=1)}, HERE) == "dead"
    assert cluster_verify.holder({"owner": dict(HERE, host="elsewhere")}, HERE) == "unknown"
    for broken in (None, {}, {"owner": None}, {"owner": {"host": HERE["host"], "boot": HERE["boot"]}}):
        assert cluster_verify.holder(broken, HERE) == "unknown"


def test_fence_methods():
    assert cluster_verify.fence_methods([{"agent": sys.executable, "options": {}}, {"agent": "fence_none_such"}]) == {
        "methods": 2, "missing": ["fence_none_such"]}
    for nothing in (None, [], "text", [None], [{"options": {}}]):
        assert cluster_verify.fence_methods(nothing) == {"methods": 0, "missing": []}


def test_the_report_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "verify.xml"
    report_file.write_file(str(path), "first", "The file", "gantry_x")

    def fail(_source, _target):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(report_file.os, "replace", fail)
    with pytest.raises(GantryError) as refusal:
        report_file.write_file(str(path), "second", "The file", "gantry_x")
    assert refusal.value.code == "unwritable" and "No space left" in str(refusal.value)
    assert path.read_text(encoding="utf-8") == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["verify.xml"]
