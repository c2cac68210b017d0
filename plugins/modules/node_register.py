# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_register
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Write a node into the registry
description:
  - Adds a node to the cluster, or brings its record up to date. What the record holds beside these options, such as
    the flags C(offline) and C(drained), stays.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the node. It must be its name in the inventory, because verbs delegate to it. Without it, the host of
        the task.
    type: str
  hostname:
    description:
      - What C(uname -n) prints on the node. DRBD knows the node by it.
    type: str
    required: true
  address:
    description:
      - IP address in the cluster network, which carries DRBD and live migration.
    type: str
    required: true
  vg:
    description:
      - LVM volume group that holds the instances' disks.
    type: str
    required: true
  group:
    description:
      - Node group. Without it a new node comes into the group V(default), and a known one stays where it is.
    type: str
  migration_user:
    description:
      - System user as whom the other nodes' libvirt comes in to migrate a guest here.
    type: str
    default: gantry-migrate
  migration_public_key:
    description:
      - Public SSH key with which this node goes to the others.
    type: str
    required: true
  ssh_host_keys:
    description:
      - Public host keys of the node's SSH server, so that the other nodes know it.
    type: list
    elements: str
    required: true
  hypervisors:
    description:
      - Hypervisors the node runs.
    type: list
    elements: str
    default: [kvm]
  tags:
    description:
      - Tags of the node. Without it a known node keeps those it has.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Prepare the node
  gantry.cluster.node_prepare:
    name: "{{ inventory_hostname }}"
    address: "{{ gantry_node_address }}"
    vg: gantry
    migration_user: gantry-migrate
  register: gantry_prepared

- name: Write the node down
  gantry.cluster.node_register:
    hostname: "{{ gantry_prepared.hostname }}"
    address: "{{ gantry_node_address }}"
    vg: gantry
    migration_public_key: "{{ gantry_prepared.migration_public_key }}"
    ssh_host_keys: "{{ gantry_prepared.ssh_host_keys }}"
"""

RETURN = r"""
node_record:
  description: The node's record.
  returned: success
  type: dict
  sample:
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
error:
  description: Why it failed, part by part. Its C(code) is for example V(no_registry), V(no_cluster) or V(contention).
  returned: failure
  type: dict
  sample:
    code: no_cluster
    what: The registry holds no cluster
    found: null
    expected: null
    mend: run the playbook cluster_init
"""
