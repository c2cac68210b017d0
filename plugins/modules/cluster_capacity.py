# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_capacity
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Count the instances that still fit on the cluster
description:
  - Places instances of a standard size until none fits any more, and then again from the largest size down to the smallest, as
    Ganeti's C(hspace) does. Nothing is created.
  - Sizes come from the cluster's instance policy (C(gantry_ipolicy) of C(cluster_init)). Without one the standard size is 1 GiB of
    memory, 10 GiB of disk and one processor, and sizes go from 32 GiB, 1 TiB and 8 processors down to 128 MiB, 1 GiB and one.
  - Nodes that are drained, marked offline or silent are not counted.
  - The controller needs numpy.
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
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each node that is not marked offline, as the C(results) of the loop.
    type: list
    elements: dict
    required: true
  memory:
    description:
      - Memory of the standard size, with a unit, in place of the policy's.
    type: str
  disk:
    description:
      - Disk of the standard size, with a unit, in place of the policy's. What DRBD needs for itself is not counted.
    type: str
  vcpus:
    description:
      - Processors of the standard size, in place of the policy's.
    type: int
  template:
    description:
      - Disk template, V(drbd), V(plain) or V(diskless).
    type: str
    default: drbd
  limit:
    description:
      - Stop at this number of instances. Negative for none.
    type: int
    default: -1
  capacity_checks:
    description:
      - Keep the cluster able to lose any node with everything on it, also instances without a mirror. Without, every mirrored
        instance can still be started on its other node.
    type: bool
    default: false
  force:
    description:
      - Count although a node could not take over for another one already.
    type: bool
    default: false
  file:
    description:
      - A file on the controller to write the cluster to in the text format of Ganeti's htools, to be read by them with C(-t).
    type: path
seealso:
  - module: gantry.cluster.cluster_balance
"""

EXAMPLES = r"""
- name: Observe the nodes
  gantry.cluster.node_info:
  delegate_to: "{{ gantry_node }}"
  loop: "{{ groups.gantry_nodes }}"
  loop_control:
    loop_var: gantry_node
  register: gantry_observed

- name: Count instances of 2 GiB
  gantry.cluster.cluster_capacity:
    observations: "{{ gantry_observed.results }}"
    memory: 2GiB
    disk: 20GiB
  register: gantry_capacity
"""

RETURN = r"""
spec:
  description: The standard size.
  returned: success
  type: dict
  sample: {memory_mib: 2048, disk_mib: 20480, vcpus: 1}
template:
  description: The disk template.
  returned: success
  type: str
  sample: drbd
standard:
  description:
    - How many of the standard size fit. C(count), C(tiers) (sizes with their number), C(reason) and C(failures) (why one more is
      refused), C(score_before) and C(score) (of the cluster with all of them).
  returned: success
  type: dict
  sample:
    count: 12
    tiers: [{memory_mib: 2048, disk_mib: 20480, vcpus: 1, count: 12}]
    reason: not enough memory
    failures: {FailMem: 6}
    score_before: 1.2
    score: 0.4
tiered:
  description: The same from the largest size down.
  returned: success
  type: dict
  sample:
    count: 3
    tiers: [{memory_mib: 32768, disk_mib: 102400, vcpus: 8, count: 2}, {memory_mib: 4096, disk_mib: 20480, vcpus: 8, count: 1}]
    reason: not enough disk, or the spindle ratio would be exceeded
    failures: {FailDisk: 6}
    score_before: 1.2
    score: 0.9
nodes:
  description: Nodes that are counted.
  returned: success
  type: list
  elements: str
  sample: [node1, node2]
left_out:
  description: Nodes that are not, with the reason.
  returned: success
  type: dict
  sample: {node3: is drained}
lines:
  description: The figures for people.
  returned: success
  type: list
  elements: str
  sample: ["12 more instances of the standard size fit: 2 GiB, disk 20 GiB, 1 processors, template drbd"]
msg:
  description: How many of the standard size fit.
  returned: success
  type: str
  sample: 12 of the standard size
error:
  description: Why it failed, part by part. Its C(code) is for example V(bad_size), V(unknown_template), V(no_numpy) or V(bad_policy).
  returned: failure
  type: dict
  sample:
    code: bad_size
    what: gantry_capacity_memory is no size
    found: "'2048'"
    expected: "a number with a unit: MiB, GiB or TiB"
    mend: "write for example gantry_capacity_memory: 10GiB"
"""
