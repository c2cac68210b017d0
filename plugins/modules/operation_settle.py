# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: operation_settle
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: After a failed migration, decide from a fresh look where the instance lives
description:
  - Says whether the dual-primary window may be closed and the other node demoted after a migration failed.
  - That is so only when every node answers, no job runs, and the guest is seen to run on exactly one node. In doubt
    nothing may be touched, and the intent stays for the next run.
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
      - What M(gantry.cluster.operation_begin) returned.
    type: dict
    required: true
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each node of the instance, after the failure.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Decide where the instance lives now
  gantry.cluster.operation_settle:
    operation: "{{ gantry_operation }}"
    observations: "{{ gantry_observed.results }}"
  register: gantry_settled

- name: Demote the other node and close the window
  gantry.cluster.instance_disks:
    operation: "{{ gantry_operation }}"
    state: as_is
    role: "{{ omit if gantry_node == gantry_settled.owner else 'secondary' }}"
    window: closed
  delegate_to: "{{ gantry_node }}"
  loop: "{{ gantry_settled.close }}"
  loop_control:
    loop_var: gantry_node
"""

RETURN = r"""
certain:
  description: It is known where the guest runs, and the rest may be tidied.
  returned: success
  type: bool
  sample: true
owner:
  description: The node it runs on; none when RV(certain) is false.
  returned: success
  type: str
  sample: node1
others:
  description: The nodes to demote.
  returned: success
  type: list
  elements: str
  sample: [node2]
close:
  description: The nodes whose window is to be closed, in this order. The owner comes last.
  returned: success
  type: list
  elements: str
  sample: [node2, node1]
why:
  description: The reason, in words.
  returned: success
  type: str
  sample: the guest runs on node1
picture:
  description: What is the case with the instance, as RV(gantry.cluster.operation_decide#module:picture).
  returned: success
  type: dict
  sample:
    alive: [node1]
    defined: []
    unknown: []
    owner: node1
    worst: REDUNDANT
    windows: [node1, node2]
    nodes: {}
    disks: []
"""
