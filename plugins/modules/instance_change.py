# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_change
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Plan what changes on instances that exist
description:
  - Compares what is declared of instances in their host variables (C(gantry_memory), C(gantry_hvparams) and so on; the role
    P(gantry.cluster.instance#role) lists them) with their records, and refuses the first setting that cannot be used, or that
    was settled when the instance was made.
  - A variable that is not declared says nothing. What is to be taken away is declared empty.
  - Without O(observations) it only checks, and names the nodes and the files that have to be looked at.
  - With them it refuses what the instance's nodes lack for the changed instance, and memory or processors that they have no room for.
    What was lacking before is not held against a change.
  - Nothing is changed or reserved here.
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
      - It changes nothing. RV(table) shows what a change will do.
  idempotent:
    support: full
    details:
      - It never reports a change.
options:
  names:
    description:
      - The instances. They must be hosts of the inventory.
    type: list
    elements: str
    required: true
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each of RV(nodes), asked with RV(paths), as the C(results) of the
        loop.
    type: list
    elements: dict
  force:
    description:
      - Change them though a secondary does not answer, or though there is no room for what grows, not even if no node is lost.
    type: bool
    default: false
seealso:
  - module: gantry.cluster.instance_plan
  - module: gantry.cluster.operation_begin
"""

EXAMPLES = r"""
- name: Check what is declared
  gantry.cluster.instance_change:
    names: "{{ ansible_play_hosts_all }}"
  run_once: true
  register: gantry_needed

- name: Observe the nodes
  gantry.cluster.node_info:
    paths: "{{ gantry_needed.paths }}"
  delegate_to: "{{ gantry_node }}"
  loop: "{{ gantry_needed.nodes }}"
  loop_control:
    loop_var: gantry_node
  run_once: true
  register: gantry_observed

- name: Plan the changes
  gantry.cluster.instance_change:
    names: "{{ ansible_play_hosts_all }}"
    observations: "{{ gantry_observed.results }}"
  run_once: true
  register: gantry_planned

- name: Show them
  ansible.builtin.debug:
    var: gantry_planned.table
  run_once: true
"""

RETURN = r"""
nodes:
  description:
    - The nodes to be observed. Those of the instances that change; all that are not offline where memory or processors grow, or a
      processor model is chosen.
  returned: success, without O(observations)
  type: list
  elements: str
  sample: [node1, node2]
paths:
  description: Files on the nodes that the changed instances need.
  returned: success, without O(observations)
  type: list
  elements: str
  sample: [/srv/iso/debian-12.iso]
plans:
  description:
    - For each instance C(to_do) (something changes, or an earlier change was cut off), C(changes) (what M(gantry.cluster.operation_begin)
      takes as its changes) and C(generation) (as it was seen).
  returned: success, with O(observations)
  type: dict
  sample:
    web1.example.com:
      to_do: true
      generation: 7
      changes: {memory_mib: 2048}
table:
  description: What changes, setting by setting. Empty if nothing does.
  returned: success, with O(observations)
  type: str
  sample: |-
    INSTANCE          SETTING  NOW    WANTED
    ----------------  -------  -----  ------
    web1.example.com  memory   1 GiB  2 GiB
error:
  description:
    - What cannot be, part by part. Its C(code) is for example V(unknown_instance), V(interrupted), V(not_changeable), V(bad_size),
      V(bad_hvparam), V(bad_nic), V(no_space), V(unreachable), V(wrong_node), V(no_bridge), V(no_cpu_model), V(unreadable_image) or
      V(no_machine_type).
  returned: failure
  type: dict
  sample:
    code: not_changeable
    what: "Instance web1.example.com: the hypervisor parameter firmware cannot be changed"
    found: "'efi'"
    expected: "'bios', which was settled when it was made: its disks or its system depend on it"
    mend: declare it as it is; another value needs another instance
"""
