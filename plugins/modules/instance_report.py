# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_report
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Instances and nodes as tables and as data
description:
  - Lays what the registry holds beside what the nodes show, and says what is the case, as tables for people and as
    plain data for programs.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
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
  content:
    description:
      - What M(gantry.cluster.registry_read) returned. Used are its C(cluster), C(nodes), C(instances) and C(locks).
    type: dict
    required: true
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each node, as the C(results) of the loop. A node that is missing
        here counts as unreachable.
    type: list
    elements: dict
    required: true
  names:
    description:
      - Only these instances. One without a record is listed with the status V(declared). Without this option, all that
        have a record.
    type: list
    elements: str
  waiting:
    description:
      - What M(gantry.cluster.domain_pending) returned for each node of RV(unsure), as the C(results) of the loop.
      - With it RV(unsure) is empty.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: Read the registry
  gantry.cluster.registry_read:
  run_once: true
  register: gantry_registry_content

- name: Observe the nodes
  gantry.cluster.node_info:
  delegate_to: "{{ gantry_node }}"
  loop: "{{ gantry_registry_content.nodes | dict2items | rejectattr('value.offline') | map(attribute='key') | sort }}"
  loop_control:
    loop_var: gantry_node
  run_once: true
  register: gantry_observed

- name: Judge
  gantry.cluster.instance_report:
    content: "{{ gantry_registry_content }}"
    observations: "{{ gantry_observed.results }}"
  run_once: true
  register: gantry_report

- name: Stop when a disk has lost its mirror
  ansible.builtin.assert:
    that: gantry_report.instances | rejectattr('redundancy', 'in', ['REDUNDANT', 'SINGLE']) | length == 0
  run_once: true
"""

RETURN = r"""
instances:
  description: The instances, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
      returned: always
    status:
      description:
        - V(running), V(ADMIN_down) (stopped as wanted), V(ERROR_down) (should run and does not), V(ERROR_up) (runs and
          should not), V(ERROR_wrongnode), V(ERROR_nodedown) (its primary cannot be asked), V(ERROR_twice), or
          C(ERROR_) and the domain's state such as V(ERROR_paused).
        - V(creating) while that is not finished, V(declared) for one that is only declared. With
          V(declared) there are no further keys.
      type: str
      returned: always
    uuid:
      description: The UUID.
      type: str
      returned: the instance has a record
    primary:
      description: The primary, as the registry has it.
      type: str
      returned: the instance has a record
    secondary:
      description: The secondary, or none.
      type: str
      returned: the instance has a record
    runs_on:
      description: The node on which alone the guest is seen to live, or none.
      type: str
      returned: the instance has a record
    memory_mib:
      description: Memory, MiB.
      type: int
      returned: the instance has a record
    vcpus:
      description: Virtual CPUs.
      type: int
      returned: the instance has a record
    machine:
      description: The machine type it is pinned to.
      type: str
      returned: the instance has a record
    disk_template:
      description: The disk template.
      type: str
      returned: the instance has a record
    disk_mib:
      description: Size of all disks together, MiB.
      type: int
      returned: the instance has a record
    disks:
      description: Each disk's C(index), C(name), C(verdict), C(detail) and C(sync_percent).
      type: list
      elements: dict
      returned: the instance has a record
    redundancy:
      description: The worst verdict of a disk, see RV(gantry.cluster.operation_decide#module:picture.disks).
      type: str
      returned: the instance has a record
    windows_open:
      description: Nodes on which dual-primary is allowed. Empty except during a migration.
      type: list
      elements: str
      returned: the instance has a record
    hypervisor:
      description: The hypervisor.
      type: str
      returned: the instance has a record
    hvparams:
      description:
        - Each hypervisor parameter's effective C(value) and its C(origin), V(default), V(cluster), the node group,
          V(instance) or V(settled at creation). What differs from a running guest counts from its next start on.
      type: dict
      returned: the instance has a record
    bound_to_node:
      description: Why the running guest cannot migrate live. Empty if it can.
      type: list
      elements: str
      returned: the instance has a record
    nics:
      description: Each NIC's C(index), C(mac), C(mode), C(bridge), C(vlan), C(ip) and C(model).
      type: list
      elements: dict
      returned: the instance has a record
    tags:
      description: Tags.
      type: list
      elements: str
      returned: the instance has a record
    generation:
      description: Number of the last operation.
      type: int
      returned: the instance has a record
    pending_changes:
      description: What waits for the guest's next start, an option a line, as far as O(waiting) tells.
      type: list
      elements: str
      returned: the instance has a record
    interrupted:
      description: The verb that has begun and not ended, or none.
      type: str
      returned: the instance has a record
    locked_by:
      description: The verb whose run holds the lock, or none.
      type: str
      returned: the instance has a record
  sample:
    - name: web1.example.com
      status: running
      uuid: 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11
      primary: node1
      secondary: node2
      runs_on: node1
      memory_mib: 1024
      vcpus: 1
      machine: pc-i440fx-7.2
      disk_template: drbd
      disk_mib: 5120
      disks:
        - index: 0
          name: web1.example.com-disk0
          verdict: REDUNDANT
          detail: "node1: Connected Primary UpToDate, node2: Connected Secondary UpToDate"
          sync_percent: null
      redundancy: REDUNDANT
      windows_open: []
      hypervisor: kvm
      hvparams:
        acpi: {value: true, origin: default}
        vga: {value: virtio, origin: cluster}
      bound_to_node: []
      nics:
        - {index: 0, mac: "52:54:00:3a:91:0c", mode: bridged, bridge: br0, vlan: null, ip: null, model: virtio}
      tags: [shop]
      generation: 7
      pending_changes: []
      interrupted: null
      locked_by: null
table:
  description: The instances as a table.
  returned: success
  type: str
  sample: |-
    INSTANCE          STATUS   PRIMARY  SECONDARY  MEMORY  DISK        REDUNDANCY  NOTE
    ----------------  -------  -------  ---------  ------  ----------  ----------  ----
    web1.example.com  running  node1    node2      1 GiB   drbd 5 GiB  REDUNDANT
unsure:
  description:
    - By node, the guests that were started with another definition than they are described by now, by UUID, each with its C(hypervisor)
      and the wanted C(xml). Whether an option differs, M(gantry.cluster.domain_pending) says on the node.
  returned: success
  type: dict
  sample: {}
nodes:
  description: The nodes, by name. What a node did not tell is none.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
      returned: always
    address:
      description: Its address in the cluster network.
      type: str
      returned: always
    group:
      description: Its node group.
      type: str
      returned: always
    state:
      description: V(ok), V(drained), V(offline), V(unreachable) or V(no libvirtd).
      type: str
      returned: always
    cpus:
      description: Processors.
      type: int
      returned: always
    memory_total_mib:
      description: Memory, MiB.
      type: int
      returned: always
    memory_free_mib:
      description: Memory that can be had without swapping, MiB.
      type: int
      returned: always
    disk_total_mib:
      description: Size of its volume group, MiB.
      type: int
      returned: always
    disk_free_mib:
      description: Free space in it, MiB.
      type: int
      returned: always
    primaries:
      description: Instances whose primary it is.
      type: list
      elements: str
      returned: always
    secondaries:
      description: Instances whose secondary it is.
      type: list
      elements: str
      returned: always
    libvirt:
      description: Version of libvirt.
      type: str
      returned: always
    qemu:
      description: Version of QEMU.
      type: str
      returned: always
    drbd:
      description: Version of DRBD's kernel module.
      type: str
      returned: always
    error:
      description: Why the node or its libvirtd did not answer.
      type: str
      returned: always
  sample:
    - name: node1
      address: 10.77.0.11
      group: default
      state: ok
      cpus: 8
      memory_total_mib: 31891
      memory_free_mib: 30211
      disk_total_mib: 409600
      disk_free_mib: 404472
      primaries: [web1.example.com]
      secondaries: []
      libvirt: 9.0.0
      qemu: 7.2.22
      drbd: 8.4.11
      error: null
node_table:
  description: The nodes as a table.
  returned: success
  type: str
  sample: |-
    NODE   STATE  ADDRESS     MEMORY FREE           DISK FREE           PRIMARIES  SECONDARIES  LIBVIRT  QEMU    DRBD
    -----  -----  ----------  --------------------  ------------------  ---------  -----------  -------  ------  ------
    node1  ok     10.77.0.11  29.5 GiB of 31.1 GiB  395 GiB of 400 GiB  1          0            9.0.0    7.2.22  8.4.11
"""
