#!/usr/bin/python
# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live migration of an instance, run on its source node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_migrate
short_description: Migrate a running guest to another node and prove where it runs
version_added: 1.0.0
description:
  - Runs on the source. Checks both sides, migrates peer to peer through libvirt, then reads both daemons. What they show
    decides, never libvirt's exit code.
  - The guest arrives paused and is resumed only when the source is proven to be without it. So it cannot run twice, whichever
    daemon, node or link dies at whichever moment.
  - If the guest runs at the target and is gone here, the record is stored, the disks of this node are made secondary and its
    window for two primaries is closed.
  - In every other case the module fails. With RV(outcome=source) the guest runs here and nowhere else. With
    RV(outcome=unclear) nothing was touched after the attempt. The disks are left as they are in both cases, but for one. When
    the guest is here and the target does not answer, the window of this node is closed, or the target's disks could not connect
    when it comes back.
  - May be run again at any time. It waits for a migration that an earlier run began, and does what is missing when the guest
    has left already.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.instance
attributes:
  check_mode:
    support: partial
    details: The window and the target's disks, which earlier steps would have prepared, are not checked; see RV(unchecked).
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The gantry.cluster team (@gantry-cluster)
options:
  target:
    description:
      - The node to migrate to. For the action plugin, its name is enough.
    type: dict
    required: true
    suboptions:
      node:
        description:
          - Name of the node.
        type: str
        required: true
      hostname:
        description:
          - Its C(uname -n).
        type: str
      address:
        description:
          - Its address in the cluster network. The guest's memory is received there.
        type: str
        required: true
      uri:
        description:
          - libvirt's URI of its daemon, as the source's daemon opens it.
        type: str
        required: true
      migrate_uri:
        description:
          - libvirt's URI for the guest's memory, C(tcp://ADDRESS).
        type: str
        required: true
  hypervisor:
    description:
      - The hypervisor, as in the instance's record.
    type: str
    default: kvm
  timeout:
    description:
      - Seconds the migration may take; after that it is aborted.
    type: int
    default: 3600
  max_downtime_ms:
    description:
      - How long the guest may stand still at the end, in milliseconds. QEMU's own value (300) when 0.
    type: int
    default: 0
  bandwidth_mib:
    description:
      - Limit for the transfer in MiB/s. None when 0.
    type: int
    default: 0
  auto_converge:
    description:
      - Slow the guest down when it writes memory faster than it can be sent.
    type: bool
    default: false
  tunnelled:
    description:
      - Send the guest's memory through the daemons' encrypted connection. Slower.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Migrate the guest of an operation; both windows are open and the target is primary
  gantry.cluster.domain_migrate:
    operation: "{{ gantry_operation }}"
    target: node2
    timeout: 600
  delegate_to: "{{ gantry_operation.primary }}"
  register: gantry_migration
"""

RETURN = r"""
outcome:
  description: Where the guest is proven to run, V(target) or V(source), or V(unclear). Null in check mode.
  returned: when the migration was attempted or found
  type: str
case:
  description: The situation in one word, for example V(runs_at_target), V(not_taken_over), V(both_running), V(target_unknown).
  returned: when RV(outcome) is
  type: str
why:
  description: What was seen on both sides.
  returned: when RV(outcome) is
  type: str
libvirt_error:
  description: libvirt's message, if it had one. It is told, not believed.
  returned: when RV(outcome) is
  type: str
window_error:
  description: Why the window of this node could not be closed although the target is lost.
  returned: when RV(outcome) is
  type: str
source:
  description:
    - What the source shows. C(reachable), C(error), C(exists), C(state), C(reason), C(persistent), C(job) and more.
  returned: when RV(outcome) is
  type: dict
target:
  description: What the target shows, as RV(source).
  returned: when RV(outcome) is
  type: dict
elapsed_seconds:
  description: How long the module took.
  returned: when RV(outcome) is
  type: float
total_ms:
  description: How long the migration took inside libvirt, in milliseconds.
  returned: when libvirt still knows
  type: int
downtime_ms:
  description: How long the guest stood still, in milliseconds. What libvirt measured, and the time until it was resumed.
  returned: when libvirt still knows
  type: int
memory_mib:
  description: Memory of the guest in MiB.
  returned: when libvirt still knows
  type: int
transferred_mib:
  description: What was sent, in MiB.
  returned: when libvirt still knows
  type: int
progress:
  description: The last progress seen while it ran.
  returned: when RV(outcome) is
  type: dict
unchecked:
  description: What check mode could not check.
  returned: in check mode
  type: list
  elements: str
"""

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor
from ansible_collections.gantry.cluster.plugins.module_utils.migration import Migration
from ansible_collections.gantry.cluster.plugins.module_utils.node_module import disks_spec, instance_spec, run_module


def work(module, executor):
    """Migrate."""
    params = module.params
    return Migration(executor, hypervisor.backend(params["hypervisor"]), params, params["target"], params).run()


def main():
    """Run the module."""
    run_module({
        **instance_spec(), **disks_spec(),
        "target": {
            "type": "dict", "required": True, "options": {
                "node": {"type": "str", "required": True},
                "hostname": {"type": "str"},
                "address": {"type": "str", "required": True},
                "uri": {"type": "str", "required": True},
                "migrate_uri": {"type": "str", "required": True},
            },
        },
        "hypervisor": {"type": "str", "default": "kvm"},
        "timeout": {"type": "int", "default": 3600},
        "max_downtime_ms": {"type": "int", "default": 0},
        "bandwidth_mib": {"type": "int", "default": 0},
        "auto_converge": {"type": "bool", "default": False},
        "tunnelled": {"type": "bool", "default": False},
    }, work)


if __name__ == "__main__":
    main()
