# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: operation_decide
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Decide from what the nodes show whether an operation may go on, and how
description:
  - Draws the picture of an instance from its nodes' observations and asks the verb's rules, a pure function, what may
    be done. It fails with the reason when the verb must not go on; nothing has been done then.
  - A node that did not answer is unknown, never dead.
  - The modules that act check their own guards again on the node. This decision is not the last word.
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
  operation:
    description:
      - What M(gantry.cluster.operation_begin) returned. Its verb must be V(migrate), V(failover) or V(remove).
    type: dict
    required: true
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each node of the instance, as the C(results) of the loop.
    type: list
    elements: dict
    required: true
  params:
    description:
      - Added to the operation's own parameters; values that are none are not.
      - V(failover) knows V(can_fence), there is a fence device for the primary, and V(fenced), it proved the primary
        to be off.
      - V(migrate) knows V(allow_failover), what cannot migrate live may be failed over.
    type: dict
    default: {}
seealso:
  - module: gantry.cluster.operation_settle
"""

EXAMPLES = r"""
- name: Observe the instance on its nodes
  gantry.cluster.node_info:
    operation: "{{ gantry_operation }}"
  delegate_to: "{{ gantry_node }}"
  loop: "{{ gantry_operation.nodes }}"
  loop_control:
    loop_var: gantry_node
  register: gantry_observed

- name: Decide
  gantry.cluster.operation_decide:
    operation: "{{ gantry_operation }}"
    observations: "{{ gantry_observed.results }}"
  register: gantry_decision

- name: Show what will be done
  ansible.builtin.debug:
    var: gantry_decision.msg
"""

RETURN = r"""
do:
  description:
    - What to do. V(nothing), nothing is left to do.
    - For the verb V(migrate), V(migrate), or V(finish) when the guest is at the target and only the work after the
      migration is missing, or V(failover) when the verb of that name has to move it.
    - For the verb V(failover), V(planned) when the primary answers, V(fence) when its fence device has to prove that it
      is off, V(wait) when DRBD may not have noticed yet that the node named dead is, V(dead) when it is proven or
      declared dead.
    - For the verb V(remove), V(remove).
    - For the verb V(replace_disks), V(move) the mirror to another node, V(finish) such a move, or V(renew) a copy in place.
    - For the verbs V(activate_disks), V(deactivate_disks), V(recreate_disks), V(activate), V(deactivate), V(recreate).
    - For the verb V(repair), V(repair), or V(migrate) when an interrupted migration has to be ended first.
  returned: success
  type: str
  sample: migrate
why:
  description: The reason, in words.
  returned: success
  type: str
  sample: from node1 to node2
source:
  description: The node the guest leaves; for V(nothing) and for V(finish) the decision's own sense is in RV(why).
  returned: success, for the verbs V(migrate) and V(failover)
  type: str
  sample: node1
word_stands:
  description: The operator says that the silent node is dead, and nothing that the other node shows speaks against it.
  returned: when RV(do) is V(fence)
  type: bool
  sample: false
target:
  description: The node the guest goes to.
  returned: success, for the verbs V(migrate) and V(failover)
  type: str
  sample: node2
nodes:
  description: The nodes concerned. For V(remove) only those that answer.
  returned: success, for the verbs V(failover) and V(remove), unless RV(do=nothing)
  type: list
  elements: str
  sample: [node1, node2]
left_behind:
  description: Nodes declared dead, where disks stay that must be wiped by hand before the node comes back.
  returned: success, for the verb V(remove)
  type: list
  elements: str
  sample: []
picture:
  description: What is the case with the instance.
  returned: success
  type: dict
  contains:
    nodes:
      description:
        - What each node shows. C(reachable), C(libvirt) (it answers), C(error), C(state), C(reason) and C(job) of the
          domain, C(resources) of DRBD by disk, C(volumes), C(memory_free_mib), and what it has for a
          guest, such as C(machines), C(domain_types), C(cpu_models), C(bridges) and the versions.
      type: dict
      returned: success
    alive:
      description: Nodes on which the guest has memory of its own, so that starting it elsewhere would fork it.
      type: list
      elements: str
      returned: success
    defined:
      description: Nodes that only have a definition of it.
      type: list
      elements: str
      returned: success
    unknown:
      description: Nodes where it cannot be known.
      type: list
      elements: str
      returned: success
    owner:
      description: The node on which alone it lives, or none.
      type: str
      returned: success
    disks:
      description:
        - Each disk's C(index), C(name), C(verdict) (V(REDUNDANT), V(SYNCING), V(DEGRADED), V(DISKLESS), V(SPLIT-BRAIN),
          V(STALE), V(DOWN), V(UNKNOWN), V(SINGLE) or V(MISSING)), C(detail), C(primaries), C(good) (nodes whose copy is
          up to date) and C(sync_percent).
      type: list
      elements: dict
      returned: success
    worst:
      description: The worst verdict of a disk.
      type: str
      returned: success
    windows:
      description: Nodes on which dual-primary is allowed now.
      type: list
      elements: str
      returned: success
  sample:
    nodes:
      node1:
        node: node1
        reachable: true
        libvirt: true
        error: null
        state: running
        reason: booted
        job: null
        resources:
          web1.example.com-disk0:
            role: Primary
            connection: Connected
            volumes: [{volume: 0, minor: 0, disk: UpToDate, size_mib: 5120}]
            peer_role: Secondary
            peer_disk: UpToDate
            replication: Established
            out_of_sync_kib: 0
            sync_percent: null
            allow_two_primaries: false
            suspended: false
        volumes: [gantry/web1.example.com-disk0, gantry/web1.example.com-disk0-meta]
        memory_free_mib: 30211
        machines: [pc-i440fx-7.2, pc-q35-7.2]
        domain_types: [kvm, qemu]
        bridges: [br0]
    alive: [node1]
    defined: []
    unknown: []
    owner: node1
    disks:
      - index: 0
        name: web1.example.com-disk0
        verdict: REDUNDANT
        primaries: [node1]
        good: [node1, node2]
        sync_percent: null
        detail: "node1: Connected Primary UpToDate, node2: Connected Secondary UpToDate"
    worst: REDUNDANT
    windows: []
msg:
  description: The instance and RV(why).
  returned: success
  type: str
  sample: "web1.example.com: from node1 to node2"
error:
  description:
    - Why the verb must not go on, part by part. Its C(code) is for example V(runs_twice), V(unreachable),
      V(libvirt_down), V(not_redundant), V(no_space), V(no_machine_type), V(not_mirrored), V(not_running),
      V(not_up_to_date), V(split_brain), V(node_alive) or V(no_proof).
  returned: failure
  type: dict
  sample:
    code: no_proof
    what: "Instance web1.example.com is not failed over: node node1 is only unreachable"
    found: "ssh: connect to host node1 port 22: No route to host"
    expected: proof that the node is off
    mend: configure gantry_fence for node1; or cut its power yourself and say so with -e gantry_dead_node=node1
"""
