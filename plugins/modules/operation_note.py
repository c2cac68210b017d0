# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: operation_note
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Write down how far an operation has come
description:
  - Changes an instance's record in the middle of a long operation, which keeps its lock. Should the run be interrupted
    after it, the next run of the verb goes on from there.
  - It fails without writing anything when the operation no longer holds the lock.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
    details:
      - An operation that was begun in check mode writes nothing.
  diff_mode:
    support: none
    details:
      - The steps on the nodes show what changed.
  idempotent:
    support: full
    details:
      - It never reports a change; the verb's last step does.
options:
  operation:
    description:
      - What M(gantry.cluster.operation_begin) returned.
    type: dict
    required: true
  changes:
    description:
      - What changed in the instance's record.
    type: dict
    default: {}
  params:
    description:
      - What the verb has to remember of itself should it be interrupted.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Note that the mirror is on the new node now
  gantry.cluster.operation_note:
    operation: "{{ gantry_operation }}"
    changes:
      secondary: node3
      disks: "{{ gantry_decision.record.disks }}"
    params:
      old_node: node2
"""

RETURN = r"""
instance:
  description: The instance's record as it is now.
  returned: success
  type: dict
  sample:
    name: web1.example.com
    generation: 7
    primary: node1
    secondary: node3
error:
  description: Why the step failed, part by part. Its C(code) is for example V(lost_lock) or V(contention).
  returned: failure
  type: dict
  sample:
    code: lost_lock
    what: This operation on instance web1.example.com lost its lock
    found: no lock
    expected: held by operation 00001795362169123-9f2c61d0
    mend: nothing was done by this step; run the same command again
"""
