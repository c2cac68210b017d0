# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole playbooks without nodes: a program stands in for a node's Python and answers for each module from a file."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT.parents[2] if ROOT.parent.parent.name == "ansible_collections" else ROOT / "collections"
PLAYBOOKS = ROOT / "playbooks"

#: Answers for the module it is given, and notes the call.
NODE = """#!{python}
import json, os, re, sys
name, folder = os.path.basename(__file__), os.path.dirname(__file__)
module = re.search(r"AnsiballZ_([a-z_]+)", sys.argv[1]).group(1)
answers = json.load(open(os.path.join(folder, name + ".json")))
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(name + " " + module + "\\n")
print(json.dumps(answers.get(module) or {{"changed": True, "actions": [], "domain": None, "pending": False}}))
"""


class FakeNodes:
    """A folder with an inventory in which no node answers, until it is told what to answer.

    :param folder: an empty folder.
    :param url: the registry's.
    :param nodes: the variables of each node by name.
    """

    def __init__(self, folder, url, nodes):
        self.folder, self.url = folder, url
        self.hosts = {name: dict(variables) for name, variables in nodes.items()}

    def answer(self, node, **modules):
        """What each module returns on the node; one that is not named succeeds. It answers from now on."""
        program = self.folder / node
        program.write_text(NODE.format(python=sys.executable), encoding="utf-8")
        program.chmod(0o700)
        (self.folder / (node + ".json")).write_text(json.dumps(modules), encoding="utf-8")
        self.hosts[node].update(ansible_connection="local", ansible_python_interpreter=str(program), ansible_pipelining=False)

    def silence(self, node):
        """It does not answer any more."""
        for variable in ("ansible_connection", "ansible_python_interpreter", "ansible_pipelining"):
            self.hosts[node].pop(variable, None)

    def calls(self):
        """The calls on nodes so far, as "node module"."""
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def play(self, path, *words):
        """Run a playbook; return its exit code and its text."""
        inventory = {
            "all": {"vars": {"gantry_registry": self.url}},
            # a port that nobody listens on
            "gantry_nodes": {"hosts": self.hosts, "vars": {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_timeout": 5}},
            "controllers": {"hosts": {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}},
        }
        (self.folder / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
        environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS), ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
                           ANSIBLE_NOCOLOR="1", ANSIBLE_HOME=str(self.folder / "home"))
        program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
        done = subprocess.run(
            [program, "-i", str(self.folder / "hosts.json"), str(path), *words], env=environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        return done.returncode, done.stdout
