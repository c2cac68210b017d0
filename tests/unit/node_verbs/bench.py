# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks on a real registry and on nodes that only pretend: each node's Python interpreter is a script of ours.

Ansible sends a module to it as to any other. It notes which module came with which arguments, and answers node_info from
the node's file, everything else with "changed".
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import stat
import subprocess
import sys

from ansible_collections.gantry.cluster.plugins.plugin_utils.cluster_state import ClusterState
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry

ROOT = pathlib.Path(__file__).resolve().parents[3]

INTERPRETER = r'''#!%(python)s
import json, os, re, sys
folder = %(folder)r
if len(sys.argv) > 1 and os.path.exists(sys.argv[1]):
    text = open(sys.argv[1]).read()
else:
    text = sys.stdin.read()
module = re.search(r"ansible_collections\.gantry\.cluster\.plugins\.modules\.(\w+)", text)
module = module.group(1) if module else "unknown"
with open(folder + "/calls", "a") as stream:
    stream.write(os.path.basename(folder) + " " + module + "\n")
answer = {"changed": True, "actions": []}
if module == "node_info":
    answer = {"changed": False, "node_info": json.load(open(folder + "/node_info.json"))}
elif module == "instance_disks":
    stuck = open(folder + "/stuck").read() if os.path.exists(folder + "/stuck") else None
    answer.update(synced=not stuck, stuck=stuck, disks=[])
elif module == "domain_pending":
    waits = folder + "/waits.json"
    answer = {"changed": False, "waiting": json.load(open(waits)) if os.path.exists(waits) else {}}
elif module == "node_prepare":
    answer.update(hostname=os.path.basename(folder), migration_public_key="ssh-ed25519 AAAA", ssh_host_keys=[])
if os.path.exists(folder + "/fail_" + module):
    answer = {"failed": True, "msg": open(folder + "/fail_" + module).read()}
print(json.dumps(answer))
'''

AGENT = """#!/bin/sh
# A power switch with a memory.
folder=%(folder)s
input=$(cat)
case "$input" in
  *action=status*) [ "$(cat $folder/power)" = on ] && exit 0; exit 2 ;;
  *action=off*) echo off > $folder/power ;;
  *action=on*) echo on > $folder/power ;;
esac
"""


class Run:
    """A finished playbook."""

    def __init__(self, done):
        self.ok, self.text = done.returncode == 0, done.stdout
        recap = self.text.rpartition("PLAY RECAP")[2]
        self.changed = sum(int(number) for number in re.findall(r"changed=(\d+)", recap))
        #: The text with every run of blanks as one, to look for sentences.
        self.words = " ".join(self.text.split())


class Bench:
    """A cluster of nodes that pretend."""

    def __init__(self, folder, names=("node1", "node2", "node3")):
        self.folder, self.names = folder, list(names)
        self.url = "sqlite://%s/registry.db" % folder
        self.state = ClusterState(open_registry(self.url, create=True))
        self.state.init({"name": "test.example.com"})
        hosts = {}
        for number, name in enumerate(self.names, 1):
            own = folder / name
            own.mkdir()
            (own / "power").write_text("on\n")
            self._script(own / "python", INTERPRETER % {"python": sys.executable, "folder": str(own)})
            self._script(own / "agent", AGENT % {"folder": str(own)})
            self.state.put_node({
                "name": name, "hostname": name, "address": "10.0.0.%d" % number, "vg": "gantry", "hypervisors": ["kvm"],
                "migration_user": "gantry-migrate", "migration_public_key": "ssh-ed25519 AAAA%d" % number, "ssh_host_keys": []})
            hosts[name] = {
                "ansible_connection": "local", "ansible_python_interpreter": str(own / "python"),
                "gantry_node_address": "10.0.0.%d" % number,
                "gantry_fence": [{"agent": str(own / "agent"), "options": {"plug": name, "password": "s3cr3t"}}]}
        self.inventory = folder / "hosts.json"
        self.inventory.write_text(json.dumps({"all": {
            "vars": {"gantry_registry": self.url, "gantry_hold": 0},
            "children": {"gantry_nodes": {"hosts": hosts}, "gantry_instances": {}}}}))
        self.records, self.shown = {}, {name: self._empty(name) for name in self.names}

    @staticmethod
    def _script(path, text):
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @staticmethod
    def _empty(name):
        return {
            "hostname": name, "boot_id": "boot-of-" + name, "memory_total_mib": 4096, "memory_free_mib": 4096, "bridges": ["br0"],
            "libvirt": {"ok": True, "error": None, "machine_list": ["pc-1.0"], "domain_types": ["kvm", "lxc"], "machines": {}},
            "drbd": {"ok": True, "kernel_version": "8.4.11"}, "drbd_resources": {}, "domains": [], "volumes": [], "tcp_ports": [],
            "volume_groups": {"gantry": {"size_mib": 10240, "free_mib": 8192, "extent_mib": 4}},
        }

    def instance(self, name, primary, secondary=None, running=True, memory=512, hypervisor="kvm"):
        """An instance in the registry and on its nodes; without a secondary it is plain."""
        template = "drbd" if secondary else "plain"
        where = {node: {"hostname": node, "address": "10.0.0.9"} for node in (primary, secondary) if node}
        operation = self.state.begin(name, "add", plan={
            "name": name, "uuid": "uuid-of-" + name, "primary": primary, "secondary": secondary, "disk_template": template,
            "admin_state": "up" if running else "down", "memory_mib": memory, "vcpus": 1,
            "machine": "pc-1.0" if hypervisor == "kvm" else None, "domain_type": hypervisor, "hypervisor": hypervisor,
            "nics": [], "tags": [], "group": "default", "nodes": where, "in_use": {}, "image": None, "iso": None,
            "kernel": None, "initrd": None, "kernel_args": "",
            "disks": [{"index": 0, "name": name + "-disk0", "template": template, "size_mib": 64, "vg": "gantry", "nodes": where}]})
        record = self.state.end(operation, "done", {"status": "ready"})
        self.show(name, primary, secondary, running, memory)
        return record

    def show(self, name, primary, secondary=None, running=True, memory=512):
        """Let the nodes show an instance."""
        for node in (primary, secondary) if secondary else (primary,):
            self.shown[node]["volumes"].append({"vg": "gantry", "name": name + "-disk0", "size_mib": 64})
            if secondary:
                self.shown[node]["drbd_resources"][name + "-disk0"] = {
                    "role": "Primary" if running and node == primary else "Secondary", "connection": "Connected", "peer_disk": "UpToDate",
                    "volumes": [{"volume": 0, "minor": 1, "disk": "UpToDate"}], "out_of_sync_kib": 0, "sync_percent": None,
                    "allow_two_primaries": False, "generations": None}
        self.domain(primary, name, "running" if running else "shutoff", memory)

    def domain(self, node, name, state, memory=512):
        """A guest or its definition on a node."""
        self.shown[node]["domains"].append({
            "name": name, "uuid": "uuid-of-" + name, "state": state, "reason": None, "job": None, "arriving": None, "memory_mib": memory})

    def silence(self, node):
        """The node answers no more; its peers' DRBD has noticed."""
        content = json.loads(self.inventory.read_text())
        host = content["all"]["children"]["gantry_nodes"]["hosts"][node]
        host.update(ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
        self.inventory.write_text(json.dumps(content))
        for name, shown in self.shown.items():
            if name != node:
                for resource, side in shown["drbd_resources"].items():
                    if resource in self.shown[node]["drbd_resources"]:
                        side.update(connection="Connecting", peer_disk="DUnknown")

    def variables(self, node, **given):
        """Set variables of a node."""
        content = json.loads(self.inventory.read_text())
        content["all"]["children"]["gantry_nodes"]["hosts"][node].update(given)
        self.inventory.write_text(json.dumps(content))

    def fail(self, node, module, message):
        """Let a module fail on a node."""
        (self.folder / node / ("fail_" + module)).write_text(message)

    def waits(self, node, name, *lines):
        """Let settings wait for the next start of a guest."""
        (self.folder / node / "waits.json").write_text(json.dumps({"uuid-of-" + name: lines}))

    def stick(self, node, why):
        """Let copies on a node be such that waiting does not make them the same."""
        (self.folder / node / "stuck").write_text(why)

    def hosts(self, **variables):
        """Declare instances, each with its variables."""
        content = json.loads(self.inventory.read_text())
        content["all"]["children"]["gantry_instances"] = {"hosts": variables}
        self.inventory.write_text(json.dumps(content))

    def calls(self):
        """All modules that ran, as "node module"."""
        found = []
        for name in self.names:
            path = self.folder / name / "calls"
            found += path.read_text().splitlines() if path.exists() else []
        return found

    def power(self, node):
        """What the node's power switch says."""
        return (self.folder / node / "power").read_text().strip()

    def play(self, verb, *words, **extra):
        """Run a playbook."""
        for name in self.names:
            (self.folder / name / "node_info.json").write_text(json.dumps(self.shown[name]))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environment.update(ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", ANSIBLE_LOCAL_TEMP=str(self.folder / "tmp"),
                           ANSIBLE_COLLECTIONS_PATH=str(ROOT / "collections"), ANSIBLE_SSH_RETRIES="0", LC_ALL="C.UTF-8")
        command = [sys.executable, "-m", "ansible", "playbook", "-i", str(self.inventory), str(ROOT / "playbooks" / (verb + ".yml"))]
        command += list(words) + ["-e", json.dumps({"gantry_" + key: value for key, value in extra.items()})]
        return Run(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", env=environment,
                                  stdin=subprocess.DEVNULL, cwd=self.folder, timeout=300, check=False))
