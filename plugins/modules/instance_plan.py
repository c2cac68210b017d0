# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_plan
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Check declared instances, choose their nodes and plan their records
description:
  - Reads what is declared of instances in their host variables (C(gantry_memory), C(gantry_disks) and so on; the role
    P(gantry.cluster.instance#role) lists them) and refuses the first setting that cannot be used.
  - Without O(observations) it only checks, and names the nodes and the files that have to be looked at.
  - With them it chooses nodes where none are named, and plans the records. All instances of a run are planned together, so two of them
    do not count on the same free space.
  - Nodes that can take an instance are scored by the placement engine, which needs numpy on the controller, or another allocator
    is asked (C(gantry_iallocator) of C(cluster_init)). Where the operator names no node, mirrored instances only go where
    every mirror can still be started if a node dies.
  - Nothing is created or reserved in the registry here.
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
    details:
      - It never reports a change. A plan for an instance that does not exist has another UUID each time.
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
  capacity_checks:
    description:
      - Refuse an instance after which the cluster could not lose any node with everything on it, also instances without a mirror.
    type: bool
    default: false
  force:
    description:
      - Choose nodes though mirrors could not all be started if a node died, and though ratios or exclusion tags forbid it.
    type: bool
    default: false
seealso:
  - module: gantry.cluster.operation_begin
"""

EXAMPLES = r"""
- name: Check what is declared
  gantry.cluster.instance_plan:
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

- name: Choose the nodes
  gantry.cluster.instance_plan:
    names: "{{ ansible_play_hosts_all }}"
    observations: "{{ gantry_observed.results }}"
  run_once: true
  register: gantry_planned

- name: Show where each goes
  ansible.builtin.debug:
    var: gantry_planned.msg
  run_once: true
"""

RETURN = r"""
nodes:
  description: The nodes to be observed. All that are not offline, unless every instance names its own.
  returned: success, without O(observations)
  type: list
  elements: str
  sample: [node1, node2, node3]
paths:
  description: Files on the nodes that the instances need, that is images, ISO images, kernels and initrds.
  returned: success, without O(observations)
  type: list
  elements: str
  sample: [/srv/images/debian-12.qcow2]
plans:
  description:
    - For each instance C(exists) (it is there and complete, as declared), C(record) (of what exists, or what
      M(gantry.cluster.operation_begin) takes as its plan), C(why), and C(choice) (of a new one, how its nodes were chosen).
  returned: success, with O(observations)
  type: dict
  sample:
    web1.example.com:
      exists: false
      why: on node1 and node2
      record:
        name: web1.example.com
        uuid: 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11
        admin_state: up
        hypervisor: kvm
        domain_type: kvm
        machine: pc-i440fx-7.2
        disk_template: drbd
        group: default
        primary: node1
        secondary: node2
        memory_mib: 1024
        vcpus: 1
        disks:
          - index: 0
            name: web1.example.com-disk0
            template: drbd
            size_mib: 5120
            vg: gantry
            nodes:
              node1: {hostname: node1, address: 10.77.0.11}
              node2: {hostname: node2, address: 10.77.0.12}
        nics:
          - {index: 0, mac: null, bridge: br0, model: virtio}
        image: /srv/images/debian-12.qcow2
        iso: null
        kernel: null
        initrd: null
        kernel_args: ""
        tags: [shop]
        nodes:
          node1: {hostname: node1, address: 10.77.0.11}
          node2: {hostname: node2, address: 10.77.0.12}
        in_use: {minors: [], ports: []}
msg:
  description: A line for each instance.
  returned: success, with O(observations)
  type: list
  elements: str
  sample: ["web1.example.com: on node1 and node2"]
explanation:
  description: How the nodes of new instances were chosen. The best candidates with their score, which nodes were rejected and why.
  returned: success, with O(observations)
  type: list
  elements: str
  sample: ["web1.example.com: on node1 and node2, chosen by builtin; cluster score 0.400000 -> 0.510000"]
error:
  description:
    - What cannot be, part by part. Its C(code) is for example V(bad_size), V(bad_disk), V(bad_nic), V(bad_name),
      V(duplicate), V(no_space), V(no_nodes), V(too_few_nodes), V(unknown_node), V(node_unusable), V(no_bridge),
      V(no_drbd), V(unreadable_image), V(image_too_large), V(no_machine_type), V(bad_iallocator), V(bad_answer) or V(no_numpy).
  returned: failure
  type: dict
  sample:
    code: no_space
    what: No node can be the primary of instance web1.example.com
    found: "node1: 65536 MiB of memory needed, 30211 MiB free"
    expected: 2 nodes with enough memory and disk
    mend: free space, add a node with node_add, or make the instance smaller
"""
