# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: operation_begin
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Lock an instance and write down what is about to be done
description:
  - Begins an operation on an instance, in one transaction of the registry. It locks the instance, raises its
    generation, writes the intent into its record and opens an entry in the journal.
  - The nodes refuse every step of an older generation, so a run that lost its lock without noticing cannot do harm.
  - It refuses an instance that a living run has locked. A lock whose run is dead (same controller) is taken over at
    once; one of a run on another controller ends by itself after 30 minutes without a step.
  - It refuses an instance on which another verb was interrupted, and says which verb finishes that. The verb that
    was interrupted goes on from there.
  - For the verb V(add) it also makes the record and hands out DRBD ports, DRBD minors, MAC addresses and the DRBD
    secrets.
  - M(gantry.cluster.operation_end) must follow, whether the operation succeeds or not.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
    details:
      - Nothing is locked and nothing written. The operation returned has RV(dry=true), and no later step looks for
        a lock.
  diff_mode:
    support: none
    details:
      - What is written is undone or completed by M(gantry.cluster.operation_end).
  idempotent:
    support: none
    details:
      - Each run begins another operation and raises the generation. It never reports a change, because nothing of the
        instance itself changes here.
options:
  name:
    description:
      - Name of the instance. Without it, the host of the task.
    type: str
  verb:
    description:
      - The verb, such as V(add), V(start), V(stop), V(reboot), V(migrate), V(failover) or V(remove).
    type: str
    required: true
  params:
    description:
      - What the operator asked for. It is kept with the intent, so that the run which finishes an interrupted
        operation knows it. Values that are none are left out then.
      - The verbs know V(target), the wanted node, V(dead_node), the node that the operator says is dead, and V(returning_node), a
        node that is marked offline and is asked all the same.
    type: dict
    default: {}
  plan:
    description:
      - For the verb V(add) only. The planned record, RV(gantry.cluster.instance_plan#module:plans) with the
        instance's name and C(record).
      - It is not used when the instance has a record already.
    type: dict
  after:
    description:
      - The instance's generation as it was seen when this operation was decided on. When another operation has begun
        since, this one is refused. Without it, none is compared.
    type: int
  changes:
    description:
      - For the verb V(modify). What the operation changes in the record, from its beginning on, as
        RV(gantry.cluster.instance_change#module:plans) has it. New network cards get a MAC address here.
      - What was there before is RV(params) C(before). An operation that fails ends with it.
    type: dict
seealso:
  - module: gantry.cluster.operation_decide
  - module: gantry.cluster.operation_end
"""

EXAMPLES = r"""
- name: Restart the guests of the shop
  hosts: gantry_tag_shop
  gather_facts: false
  tasks:
    - name: Lock the instance
      gantry.cluster.operation_begin:
        verb: reboot
      register: gantry_operation

    - name: Restart the guest
      gantry.cluster.domain:
        operation: "{{ gantry_operation }}"
        state: rebooted
      delegate_to: "{{ gantry_operation.primary }}"
      register: gantry_acted

    - name: Unlock the instance
      gantry.cluster.operation_end:
        operation: "{{ gantry_operation }}"
        changed: "{{ gantry_acted.changed }}"
"""

RETURN = r"""
id:
  description: The operation. It sorts by time.
  returned: success
  type: str
  sample: 00001795362169123-9f2c61d0
verb:
  description: The verb.
  returned: success
  type: str
  sample: migrate
name:
  description: The instance.
  returned: success
  type: str
  sample: web1.example.com
uuid:
  description: The instance's UUID.
  returned: success
  type: str
  sample: 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11
generation:
  description: The operation's number on this instance.
  returned: success
  type: int
  sample: 7
params:
  description: O(params), completed by those of the interrupted operation that is taken up again.
  returned: success
  type: dict
  sample:
    target: node2
resumed:
  description:
    - The intent of the interrupted operation of the same verb that this one finishes, with C(operation), C(verb),
      C(generation) and C(params). None when there was none.
  returned: success
  type: dict
  sample:
    operation: 00001795361802771-03be9d14
    verb: migrate
    generation: 6
    params:
      target: node2
took_over:
  description: The verb of the interrupted operation that this one takes over from or goes on with. None when there was none.
  returned: success
  type: str
  sample: null
instance:
  description: The instance's record, with the intent as C(pending). It holds no secrets.
  returned: success
  type: dict
  sample:
    name: web1.example.com
    uuid: 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11
    generation: 7
    status: ready
    admin_state: up
    hypervisor: kvm
    domain_type: kvm
    machine: pc-i440fx-7.2
    hvparams: {vga: virtio}
    hvparams_settled: {firmware: bios}
    hvparams_effective: {acpi: true, firmware: bios, vga: virtio}
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
        port: 11000
        nodes:
          node1: {hostname: node1, address: 10.77.0.11, minor: 0}
          node2: {hostname: node2, address: 10.77.0.12, minor: 0}
    nics:
      - {index: 0, mac: "52:54:00:3a:91:0c", bridge: br0, model: virtio}
    image: /srv/images/debian-12.qcow2
    iso: null
    kernel: null
    initrd: null
    kernel_args: ""
    tags: [shop]
    nodes:
      node1: {hostname: node1, address: 10.77.0.11}
      node2: {hostname: node2, address: 10.77.0.12}
    created: 1795362102
    pending:
      operation: 00001795362169123-9f2c61d0
      verb: migrate
      generation: 7
      params:
        target: node2
primary:
  description: The node that is the instance's primary.
  returned: success
  type: str
  sample: node1
secondary:
  description: The node that is its secondary, or none.
  returned: success
  type: str
  sample: node2
nodes:
  description: The primary and, where there is one, the secondary.
  returned: success
  type: list
  elements: str
  sample: [node1, node2]
observe:
  description: The nodes to observe. RV(nodes), those that the verb's parameters name, and for a repair all of the cluster.
  returned: success
  type: list
  elements: str
  sample: [node1, node2, node3]
lease:
  description: The lock's lease. Every later step renews it.
  returned: success, not in check mode
  type: int
  sample: 5127744
dry:
  description: The operation was begun in check mode and holds no lock.
  returned: success
  type: bool
  sample: false
error:
  description:
    - Why the step was refused, part by part. Its C(code) is for example V(unknown_instance), V(locked),
      V(interrupted), V(overtaken), V(mac_taken), V(no_cluster) or V(no_registry).
  returned: failure
  type: dict
  sample:
    code: locked
    what: Instance web1.example.com is locked by migrate
    found: operation 00001795362169123-9f2c61d0 of root@controller, process 4711
    expected: no running operation
    mend: wait until it ends and run the same command again
"""
