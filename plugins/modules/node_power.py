# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_power
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Switch a node on or off through its fence devices, or check that they answer
description:
  - Calls fence agents on the controller, as the standard fence-agents interface has them. Options go over the agent's
    standard input; the values of secret ones are left out of messages.
  - What was switched is read back. A device that only says that it did is not believed.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
    details:
      - The devices are asked, and nothing is switched.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - V(on), V(off) and V(status) change nothing that is so already. V(cycle) switches each time.
options:
  node:
    description:
      - Name of the node.
    type: str
    required: true
  methods:
    description:
      - The node's fence devices, the best first. This is what the node's variable C(gantry_fence) holds.
    type: list
    elements: dict
    required: true
    suboptions:
      agent:
        description:
          - The fence agent, a program of the controller, such as V(fence_ipmilan) or its full path.
          - V(manual), which is a person, is left out.
        type: str
        required: true
      options:
        description:
          - The agent's options, as its C(--action=metadata) names them.
        type: dict
        default: {}
      tries:
        description:
          - How often the agent is told to switch, before the next method is tried.
        type: int
        default: 3
      timeout:
        description:
          - How long one call of the agent may take, in seconds.
        type: int
        default: 60
  power:
    description:
      - V(status) asks every device, and fails if one does not answer or if they contradict each other.
      - V(cycle) switches off, proves that, and switches on.
    type: str
    choices: ["on", "off", cycle, status]
    default: status
  force:
    description:
      - Cut the power though instances that should run have the node as their primary.
    type: bool
    default: false
requirements:
  - the fence agents that are named, on the controller (Debian package fence-agents)
"""

EXAMPLES = r"""
- name: See that the fence devices answer
  gantry.cluster.node_power:
    node: node1
    methods: "{{ hostvars.node1.gantry_fence }}"

- name: Switch the node on
  gantry.cluster.node_power:
    node: node1
    methods: "{{ hostvars.node1.gantry_fence }}"
    power: "on"
"""

RETURN = r"""
devices:
  description: What each device says now, as C(method), C(power) (V(on), V(off) or V(unknown)) and C(message).
  returned: success
  type: list
  elements: dict
  sample:
    - {method: fence_ipmilan, power: "on", message: "status answered 0 (Status: ON)"}
power:
  description: What all of them say.
  returned: success, with O(power=status)
  type: str
  sample: "on"
msg:
  description: The same in words.
  returned: success
  type: str
  sample: "node node1: fence_ipmilan says on"
error:
  description:
    - Why it failed, part by part. Its C(code) is V(no_fence_device), V(fence_device_silent), V(fencing_failed),
      V(node_in_use), V(bad_fence_method) or V(unknown_node).
  returned: failure
  type: dict
  sample:
    code: fence_device_silent
    what: A fence device of node node1 does not answer
    found: fence_ipmilan says unknown (status answered 1 (Connection timed out))
    expected: on or off, the same from each
    mend: "correct gantry_fence of node1, or repair the device: without it a dead node cannot be proven off"
"""
