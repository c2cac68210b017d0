# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_plan
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Plan what a verb on a node does with each of its instances
description:
  - All instances are planned together, on the memory and the disk space that all nodes show. What one of them is promised is
    gone for the next, so a plan never puts more on a node than fits.
  - Without O(observations) only what is asked is checked, and RV(nodes) names the nodes to look at.
  - Nothing is changed here. The steps are taken by the verbs of the role P(gantry.cluster.instance#role), each of which looks
    again.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
    details:
      - It changes nothing.
  diff_mode:
    support: N/A
    details:
      - It changes nothing.
  idempotent:
    support: full
options:
  verb:
    description:
      - V(check) checks the node's name only. V(gate) says whether the cluster is whole. V(rebooted) says that too, and fails unless
        the node booted anew with the same DRBD. V(together) says which of O(nodes) may be away at the same time. The others are the
        verbs on nodes.
      - A verb on a node takes no limit, because it would hide the instances. One is refused.
    type: str
    required: true
    choices: [check, evacuate, failover, gate, migrate, readd, reboot, rebooted, together]
  node:
    description:
      - Name of the node. Required but for O(verb=gate) and O(verb=together); with O(verb=check), no name means that none is needed.
    type: str
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each of RV(nodes), as the C(results) of the loop.
    type: list
    elements: dict
  params:
    description:
      - What the operator wants. C(evacuate) (V(primary), V(secondary) or V(all)), C(force), C(allow_failover) (what cannot
        migrate live is failed over), C(dead_node), C(can_fence) (the node has a fence device) and C(waited) (DRBD had the
        time to notice a death).
    type: dict
    default: {}
  before:
    description:
      - RV(before) of the plan, for O(verb=rebooted).
    type: dict
  nodes:
    description:
      - Names of the nodes for O(verb=together).
    type: list
    elements: str
    default: []
  declared:
    description:
      - The node must be a host of the inventory's group C(gantry_nodes), too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check what is asked
  gantry.cluster.node_plan:
    verb: evacuate
    node: node3
  register: gantry_needed

- name: Observe the nodes
  gantry.cluster.node_info:
  delegate_to: "{{ gantry_node }}"
  loop: "{{ gantry_needed.nodes }}"
  loop_control:
    loop_var: gantry_node
  register: gantry_nodes_seen

- name: Plan
  gantry.cluster.node_plan:
    verb: evacuate
    node: node3
    observations: "{{ gantry_nodes_seen.results }}"
  register: gantry_node_plan
"""

RETURN = r"""
nodes:
  description: The nodes to be observed.
  returned: success, without O(observations)
  type: list
  elements: str
  sample: [node1, node2, node3]
instances:
  description:
    - For each instance that the verb concerns C(name), C(steps) (in order), C(why) (in words), C(left) (why it is not wholly done,
      or null), C(lost) (it can only wait for the node) and C(rejected) (the nodes that could not take its mirror, each with
      its reasons).
  returned: success, with O(observations), for a verb that plans
  type: list
  elements: dict
  sample:
    - name: web1.example.com
      steps: [{do: migrate, target: node2}, {do: replace, new_node: node1}]
      why: migrates to node2, its mirror goes to node1
      left: null
      lost: false
      rejected: {node4: [is drained]}
notes:
  description: What the operator should know beside that.
  returned: success, with O(observations), for a verb that plans
  type: list
  elements: str
  sample: []
table:
  description: The plan as a table.
  returned: success, with O(observations), for a verb that plans
  type: str
  sample: "INSTANCE  PLAN  LEFT BECAUSE"
offline:
  description: The node is marked offline.
  returned: success, with O(observations), for a verb that plans
  type: bool
  sample: false
proof:
  description: How the node will be proven off, V(fence) or V(word). With V(wait) nothing is planned, and one has to look again later.
  returned: success, with O(verb=failover) and O(observations)
  type: str
  sample: fence
silent:
  description: The node shows no sign of life, neither itself nor by the DRBD of others.
  returned: success, with O(verb=failover) and O(observations), unless RV(proof=wait)
  type: bool
  sample: true
activate:
  description: Instances with a copy on the node.
  returned: success, with O(verb=reboot) and O(observations)
  type: list
  elements: str
  sample: [web1.example.com]
restart:
  description: Guests that go down with the node.
  returned: success, with O(verb=reboot) and O(observations)
  type: list
  elements: str
  sample: []
before:
  description: What the node is compared with after its reboot.
  returned: success, with O(verb=reboot) and O(observations)
  type: dict
  sample: {boot_id: 8e2c1f0e-2d0f-4b8c-9a3e-0d8f6a3b1c42, drbd: 8.4.11}
groups:
  description: Nodes that may be away at the same time, group by group, the largest first.
  returned: success, with O(verb=together) and O(observations)
  type: list
  elements: list
  sample: [[node1, node3], [node2]]
whole:
  description: Every node answers and every mirrored disk is redundant.
  returned: success, with O(verb=gate) or O(verb=rebooted)
  type: bool
  sample: true
reasons:
  description: Why it is not.
  returned: success, with O(verb=gate) or O(verb=rebooted)
  type: list
  elements: str
  sample: []
error:
  description:
    - Why it failed, part by part. Its C(code) is for example V(limited), V(node_unnamed), V(unknown_node),
      V(undeclared_node), V(node_alive), V(no_proof), V(other_node), V(no_space), V(not_redundant), V(cannot_leave),
      V(not_rebooted), V(drbd_changed) or V(unreachable).
  returned: failure
  type: dict
  sample:
    code: no_space
    what: Not all instances of node node1 have room on their other node
    found: "web2.example.com on node2: 4096 MiB of memory needed, 1024 MiB free beside what is planned already"
    expected: "memory for all, so that nobody has to choose"
    mend: free memory there; or fail over those that fit with -e gantry_force=true
"""
