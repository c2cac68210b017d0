# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_balance
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Plan the moves that make the cluster even, or that empty a node group
description:
  - Scores where instances are by memory, disk, processors, load, redundancy and tags, as Ganeti's C(hbal) does, and plans moves that
    bring the score down. C(docs/placement.md) has the score and the rules.
  - Nothing is moved here. The plan names for each instance the steps, which the verbs of the role P(gantry.cluster.instance#role)
    take, and puts instances that may move at the same time into one batch. Where a copy is made, no other move of the batch
    uses the same node.
  - An instance whose move was cut off is finished first. One that cannot move now is left out, and RV(notes) says why.
  - Refused while a node that is not marked offline does not answer.
  - The controller needs numpy.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
    details:
      - It moves nothing. In check mode it reports a change when something would be moved.
  diff_mode:
    support: N/A
    details:
      - It moves nothing.
  idempotent:
    support: full
    details:
      - A cluster that was balanced by the plan needs no further move.
options:
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each node that is not marked offline, as the C(results) of the loop.
    type: list
    elements: dict
    required: true
  limit:
    description:
      - Largest number of moves. Negative for any number.
    type: int
    default: -1
  min_gain:
    description:
      - What each move must at least take off the score. It keeps instances from going to and fro for nothing.
    type: float
    default: 0.01
  disk_moves:
    description:
      - Also make new copies of disks. Without, instances only change places with their mirrors.
    type: bool
    default: true
  only:
    description:
      - The only instances to move.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Instances to leave where they are.
    type: list
    elements: str
    default: []
  group:
    description:
      - The only node group to balance. Without, each is balanced for itself.
    type: str
  evacuate:
    description:
      - Move only what is on nodes that are drained, and mirrors on nodes that are marked offline.
    type: bool
    default: false
  leave_group:
    description:
      - In place of balancing, plan to move all instances of this node group to others.
    type: str
  target_groups:
    description:
      - With O(leave_group), the node groups to choose from. Without, all others.
    type: list
    elements: str
    default: []
  force:
    description:
      - Waive that every mirror could be started if a node died (N+1), the policy's ratios and exclusion tags.
    type: bool
    default: false
  allow_failover:
    description:
      - What cannot migrate live (a container) is stopped on its node and started on the other one. Without, such an instance stays,
        and RV(notes) or the instance's C(left) says why.
    type: bool
    default: false
  parallel:
    description:
      - Largest number of instances in a batch.
    type: int
    default: 4
  file:
    description:
      - A file on the controller to write the cluster to in the text format of Ganeti's htools, to be read by them with C(-t).
    type: path
seealso:
  - module: gantry.cluster.cluster_capacity
  - module: gantry.cluster.node_outcome
"""

EXAMPLES = r"""
- name: Observe the nodes
  gantry.cluster.node_info:
  delegate_to: "{{ gantry_node }}"
  loop: "{{ groups.gantry_nodes }}"
  loop_control:
    loop_var: gantry_node
  register: gantry_nodes_seen

- name: Plan at most five moves
  gantry.cluster.cluster_balance:
    observations: "{{ gantry_nodes_seen.results }}"
    limit: 5
  register: gantry_node_plan

- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ gantry_node_plan.lines }}"
"""

RETURN = r"""
moves:
  description:
    - The moves in order. Each has C(name), C(group), C(from) and C(to) (nodes, the primary first), C(actions) (in hbal's letters),
      C(steps), C(copy_gib), C(migrations), C(score) (after it) and C(batch) (which one it is in).
  returned: success
  type: list
  elements: dict
  sample:
    - name: web1.example.com
      group: default
      from: [node1, node2]
      to: [node3, node1]
      actions: "r:node3 f"
      steps: [{do: replace, new_node: node3}, {do: migrate, target: node3}]
      copy_gib: 20.0
      migrations: 1
      score: 0.42
      batch: 1
batches:
  description: Names of the instances that move at the same time, batch by batch.
  returned: success
  type: list
  elements: list
  sample: [[web1.example.com], [web2.example.com, web3.example.com]]
instances:
  description: The plan as M(gantry.cluster.node_plan) has it.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web1.example.com
      steps: [{do: migrate, target: node2}]
      why: node1 node2 => node2 node1
      left: null
      lost: false
      rejected: {}
groups:
  description:
    - For each node group C(name), C(score) (now), C(end) (after all moves), C(bound) (which no placement can be below), C(metrics),
      C(end_metrics), C(weights), and C(most_of_the_gain) (the first moves that bring 90 % of the gain, with their cost).
  returned: success
  type: list
  elements: dict
  sample:
    - name: default
      score: 6.2
      end: 0.42
      bound: 0.08
      metrics: {free_mem_cv: 0.3}
      end_metrics: {free_mem_cv: 0.02}
      weights: {free_mem_cv: 0.5}
      most_of_the_gain: {moves: 1, copy_gib: 20.0, migrations: 1, score: 0.5}
copy_gib:
  description: GiB to be copied by all moves.
  returned: success
  type: float
  sample: 20.0
migrations:
  description: Number of migrations of all moves.
  returned: success
  type: int
  sample: 3
notes:
  description: What stays and why, and what is for the next run.
  returned: success
  type: list
  elements: str
  sample: ["web4.example.com stays: disk 0 is SYNCING"]
left:
  description: Instances that cannot be moved though they should be, with the reason. Only with O(leave_group).
  returned: success
  type: list
  elements: str
  sample: []
subject:
  description: What the plan is about, for M(gantry.cluster.node_outcome).
  returned: success
  type: str
  sample: the plan
lines:
  description: The plan for people.
  returned: success
  type: list
  elements: str
  sample: ["node group default: score 6.200000 -> 0.420000 (lower bound 0.080000)"]
explanation:
  description: The same with the score by metric.
  returned: success
  type: list
  elements: str
  sample: ["node group default: score 6.200000 -> 0.420000 (lower bound 0.080000)"]
msg:
  description: How many instances are to be moved.
  returned: success
  type: str
  sample: 3 instances are to be moved
error:
  description:
    - Why it failed, part by part. Its C(code) is for example V(unreachable), V(unknown_name), V(unknown_group), V(no_numpy),
      V(bad_policy) or V(unwritable).
  returned: failure
  type: dict
  sample:
    code: unreachable
    what: "Nothing is moved: not every node answers"
    found: "node3 does not answer: timed out"
    expected: an answer of every node that is not marked offline
    mend: repair it; or if it is dead, run node_failover, which proves that and marks it offline
"""
