# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: operation_end
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Write an operation's outcome down and unlock the instance
description:
  - Ends an operation, in one transaction of the registry. It changes the record, closes the entry in the journal and
    unlocks the instance.
  - It fails without writing anything when the operation no longer holds the lock.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
    details:
      - An operation that was begun in check mode ends without writing anything.
  diff_mode:
    support: none
    details:
      - The steps on the nodes show what changed.
  idempotent:
    support: none
    details:
      - An operation ends once. The next run fails, because the lock is gone.
options:
  operation:
    description:
      - What M(gantry.cluster.operation_begin) returned.
    type: dict
    required: true
  outcome:
    description:
      - For the journal. V(done), it succeeded; V(failed), it did not, and the instance is at rest; V(refused), nothing
        was done; V(unclear), it was left half way because going back might have done harm.
    type: str
    choices: [done, failed, refused, unclear]
    default: done
  changes:
    description:
      - What changed in the instance's record, such as C(primary) and C(secondary).
    type: dict
    default: {}
  reason:
    description:
      - Why it ended so, for the journal.
    type: str
  remove:
    description:
      - The instance is gone. Drop its record and its secrets, give back its ports, minors and MAC addresses.
    type: bool
    default: false
  keep_pending:
    description:
      - The instance is left half way. The intent stays in its record, so that only the same verb, or one that may
        finish it, can act on the instance next.
    type: bool
    default: false
  changed:
    description:
      - What this step reports as C(changed), so that the last step of a verb tells the whole verb's result.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write the new primary down and unlock the instance
  gantry.cluster.operation_end:
    operation: "{{ gantry_operation }}"
    changes:
      primary: "{{ gantry_decision.target }}"
      secondary: "{{ gantry_decision.source }}"
    changed: true

- name: Write the failure down and unlock the instance
  gantry.cluster.operation_end:
    operation: "{{ gantry_operation }}"
    outcome: failed
    reason: "{{ ansible_failed_result.msg | default('unknown') }}"
"""

RETURN = r"""
instance:
  description: The instance's record as it is now; with O(remove) as it was last.
  returned: success
  type: dict
  sample:
    name: web1.example.com
    uuid: 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11
    generation: 7
    status: ready
    admin_state: up
    disk_template: drbd
    primary: node2
    secondary: node1
    memory_mib: 1024
    vcpus: 1
error:
  description: Why the step failed, part by part. Its C(code) is for example V(lost_lock) or V(contention).
  returned: failure
  type: dict
  sample:
    code: lost_lock
    what: This operation on instance web1.example.com lost its lock
    found: now held by operation 00001795364011900-5c1be2a7
    expected: held by operation 00001795362169123-9f2c61d0
    mend: nothing was done by this step; run the same command again
"""
