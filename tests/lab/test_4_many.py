# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many instances: a report that stays cheap."""

from __future__ import annotations

import json

FILL = """
import json, sys
from ansible_collections.gantry.cluster.plugins.plugin_utils.cluster_state import ClusterState
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry
state = ClusterState(open_registry(sys.argv[1]))
for node in json.loads(sys.argv[2]):
    state.put_node(node)
for number in range(100):
    name = "crowd%d.example.com" % number
    where = {node: {"hostname": node, "address": "10.77.0.1%s" % node[-1]} for node in ("node1", "node2")}
    plan = {"name": name, "uuid": "00000000-0000-0000-0000-%012d" % number, "primary": "node1", "secondary": "node2",
            "admin_state": "down", "disk_template": "drbd", "hypervisor": "kvm", "memory_mib": 16, "vcpus": 1, "nics": [], "tags": [],
            "machine": "pc-i440fx-7.2", "domain_type": "qemu", "group": "default", "image": None, "iso": None,
            "disks": [{"index": 0, "name": name + "-disk0", "template": "drbd", "size_mib": 16, "vg": "gantry", "nodes": where}]}
    state.end(state.begin(name, "add", plan=plan), "done", {"status": "ready"})
"""


def test_info_of_a_hundred_instances_takes_one_call_for_each_node(clean, counted):
    folder = clean.folder / "crowd"
    folder.mkdir(exist_ok=True)
    url = "sqlite://%s/registry.db" % folder
    assert clean.play("cluster_init", cluster_name="crowd.example.com", registry=url).ok
    nodes = [value for key, value in clean.registry().items() if key.startswith("nodes/")]
    clean.python(FILL, url, json.dumps(nodes))
    run = clean.play("instance_info", "gantry_secondary_node2", count=True, registry=url)
    assert run.ok and run.text.count("crowd99.example.com") >= 1, run.text[-2000:]
    counted("instance_info of 100 instances, 3 nodes", run.calls, 3)


def test_a_controller_step_imports_no_libvirt(clean):
    out = clean.python(
        "import sys\nimport ansible_collections.gantry.cluster.plugins.plugin_utils.actions\n"
        "import ansible_collections.gantry.cluster.plugins.action.operation_decide\n"
        "import ansible_collections.gantry.cluster.plugins.action.instance_plan\n"
        "import ansible_collections.gantry.cluster.plugins.inventory.registry\nprint('libvirt' in sys.modules)\n")
    assert out.strip() == "False"
