# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_read
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Read the cluster, its nodes, instances, locks and journal from the registry
description:
  - Returns what the registry remembers. What really runs where is known only to the nodes; see
    M(gantry.cluster.node_info) and M(gantry.cluster.instance_report).
  - DRBD secrets are not returned.
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
  operations:
    description:
      - How many entries of the journal to return, the newest ones. V(0) returns all.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Read the registry
  gantry.cluster.registry_read:
    operations: 50
  run_once: true
  register: gantry_registry_content

- name: Show operations that did not end well
  ansible.builtin.debug:
    msg: "{{ gantry_registry_content.operations | rejectattr('state', 'in', ['done', 'running']) | list }}"
  run_once: true
"""

RETURN = r"""
cluster:
  description: The cluster's settings.
  returned: success
  type: dict
  sample:
    name: cluster.example.com
    mac_prefix: "52:54:00"
    schema: 1
    created: 1795362100
nodes:
  description: The nodes by name.
  returned: success
  type: dict
  sample:
    node1:
      name: node1
      hostname: node1
      address: 10.77.0.11
      group: default
      vg: gantry
      hypervisors: [kvm]
      tags: []
      offline: false
      drained: false
      migration_user: gantry-migrate
      migration_public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM... gantry-migrate@node1
      ssh_host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB...]
instances:
  description:
    - The instances' records by name, as RV(gantry.cluster.operation_begin#module:instance). C(pending) is there only
      while an operation has begun and not ended.
  returned: success
  type: dict
  sample:
    web1.example.com:
      name: web1.example.com
      uuid: 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11
      generation: 7
      status: ready
      admin_state: up
      disk_template: drbd
      primary: node1
      secondary: node2
      memory_mib: 1024
      vcpus: 1
locks:
  description:
    - The locks by instance. Each has C(operation), C(verb), C(generation), C(owner) and C(since), seconds since 1970.
  returned: success
  type: dict
  sample:
    web1.example.com:
      operation: 00001795362169123-9f2c61d0
      verb: migrate
      generation: 7
      owner:
        host: controller
        boot: 0c2f3f0e-3d6d-4c5e-8d1f-2f6a0d0c9b77
        pid: 4711
        started: 990211
        user: root
      since: 1795362169.12
allocations:
  description:
    - The numbers handed out, C(ports), C(minors) and C(macs), each with the UUID and the index of the disk or NIC that has it.
  returned: success
  type: dict
  sample:
    ports: {"11000": 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11/0}
    minors: {"0": 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11/0}
    macs: {"52:54:00:3a:91:0c": 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11/0}
secrets:
  description:
    - By the instance's UUID, the indexes of the disks that have a DRBD secret. Never the secrets.
  returned: success
  type: dict
  sample:
    6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11: ["0"]
operations:
  description:
    - The journal, oldest first. The C(state) is V(running), V(done), V(failed), V(refused), V(unclear) or
      V(interrupted).
  returned: success
  type: list
  elements: dict
  sample:
    - id: 00001795362169123-9f2c61d0
      verb: migrate
      name: web1.example.com
      uuid: 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11
      generation: 7
      owner: {host: controller, boot: 0c2f3f0e-3d6d-4c5e-8d1f-2f6a0d0c9b77, pid: 4711, started: 990211, user: root}
      started: 1795362169.12
      ended: 1795362172.31
      state: done
      params: {target: node2}
      reason: null
error:
  description: Why it cannot be read, part by part. Its C(code) is for example V(no_registry) or V(no_cluster).
  returned: failure
  type: dict
  sample:
    code: no_cluster
    what: The registry holds no cluster
    found: null
    expected: null
    mend: run the playbook cluster_init
"""
