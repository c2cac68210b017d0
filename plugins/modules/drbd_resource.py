#!/usr/bin/python
# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DRBD resources of an instance on one node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drbd_resource
short_description: Configure DRBD resources of an instance on a node, and bring them up or down
version_added: 1.0.0
description:
  - Works on logical volumes that are there; M(gantry.cluster.instance_disks) makes them too and is what playbooks
    normally use.
  - The guards are the same as there.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.instance
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The gantry.cluster team (@gantry-cluster)
options:
  state:
    description:
      - V(present), the resource file and, on new volumes, the metadata are there.
      - V(up), the resources are up, attached, and connected or waiting for the other node.
      - V(down), they are secondary and down.
      - V(absent), they are down and have no resource file. The volumes stay.
    type: str
    choices: [present, up, down, absent]
    default: up
  role:
    description:
      - Role of the resources here. Without it the role stays as it is. Only with O(state=up).
    type: str
    choices: [primary, secondary]
  window:
    description:
      - Whether both nodes may be primary, for a live migration. Only with O(state=up).
    type: str
    choices: [open, closed]
  peer_dead:
    description:
      - The other node is proven to be off, so the resources may be promoted without its answer.
    type: bool
    default: false
  wait_connect:
    description:
      - Seconds to wait for the other node's answer before a promotion or before the window is opened.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Take the resources of an instance down
  gantry.cluster.drbd_resource:
    operation: "{{ gantry_operation }}"
    state: down
  delegate_to: "{{ gantry_operation.secondary }}"
"""

RETURN = r"""
disks:
  description: The disks as they are now, see M(gantry.cluster.instance_disks).
  returned: success
  type: list
  elements: dict
actions:
  description: What was changed, or would be, in words.
  returned: always
  type: list
  elements: str
"""

from ansible_collections.gantry.cluster.plugins.module_utils.node_module import disks_spec, instance_spec, run_module
from ansible_collections.gantry.cluster.plugins.module_utils.storage.instance import bring_resources


def work(module, executor):
    """Bring the resources into the wanted state."""
    return bring_resources(executor, module.params)


def main():
    """Entry point."""
    spec = instance_spec()
    spec.update(disks_spec())
    spec.update(
        state={"type": "str", "choices": ["present", "up", "down", "absent"], "default": "up"},
        role={"type": "str", "choices": ["primary", "secondary"]},
        window={"type": "str", "choices": ["open", "closed"]},
        peer_dead={"type": "bool", "default": False},
        wait_connect={"type": "int", "default": 30},
    )
    run_module(spec, work)


if __name__ == "__main__":
    main()
