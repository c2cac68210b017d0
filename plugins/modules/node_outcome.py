# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_outcome
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Tell what became of each instance of a plan
description:
  - Compares a plan of M(gantry.cluster.node_plan) with what the instances, as hosts, went through. A host has C(gantry_steps_done) when
    all its steps were taken, and C(gantry_steps_failure) with the reason when one failed.
  - It does not fail. RV(failure) is the sentence to fail with.
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
  plan:
    description:
      - The plan.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See what became of each instance
  gantry.cluster.node_outcome:
    plan: "{{ gantry_node_plan }}"
  register: gantry_node_outcome
"""

RETURN = r"""
instances:
  description: For each instance C(name), C(outcome) (V(done), V(unchanged), V(left) or V(lost)) and C(detail).
  returned: success
  type: list
  elements: dict
  sample:
    - {name: web1.example.com, outcome: done, detail: migrates to node2}
table:
  description: The same as a table.
  returned: success
  type: str
  sample: "INSTANCE  OUTCOME  DETAIL"
failure:
  description: Which instances were left and why, or null.
  returned: success
  type: str
  sample: null
msg:
  description: How many there were.
  returned: success
  type: str
  sample: "node node3: 4 instances"
"""
