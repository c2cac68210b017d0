# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fence_node
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Switch a node off through its fence devices and prove it
description:
  - Calls fence agents on the controller, as the standard fence-agents interface has them. Options go over the agent's
    standard input, so no password shows up in the process list.
  - That an agent said the node was switched off is not believed. Its action C(status) must answer "off".
  - Methods are tried in order, each as often and each call for as long as it says. The first one that proves the node
    off ends the step. It fails when none does.
  - The values of secret options are left out of messages, whatever an agent prints.
  - A node that is off already is not switched.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
attributes:
  check_mode:
    support: full
    details:
      - The fence devices are asked for the node's state, and nothing is switched.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  node:
    description:
      - Name of the node, for the messages.
    type: str
    required: true
  methods:
    description:
      - Ways to switch the node off, the best first. This is what the node's variable C(gantry_fence) holds.
    type: list
    elements: dict
    required: true
    suboptions:
      agent:
        description:
          - The fence agent, a program of the controller, such as V(fence_ipmilan) or its full path.
          - V(manual) is no program. It proves the node off if O(confirmed) says so.
        type: str
        required: true
      options:
        description:
          - The agent's options, as its C(--action=metadata) names them.
        type: dict
        default: {}
      tries:
        description:
          - How often the agent is told to switch off, before the next method is tried.
        type: int
        default: 3
      timeout:
        description:
          - How long one call of the agent may take, in seconds.
        type: int
        default: 60
  confirmed:
    description:
      - The operator named this very node and says that it is off. Only the method V(manual) believes it.
    type: bool
    default: false
requirements:
  - the fence agents that are named, on the controller (Debian package fence-agents)
"""

EXAMPLES = r"""
- name: Switch the silent node off and prove it
  gantry.cluster.fence_node:
    node: node1
    methods:
      - agent: fence_ipmilan
        options:
          ip: 192.0.2.11
          username: fence
          password: "{{ vault_bmc_password }}"
          lanplus: 1
      - agent: fence_apc_snmp
        options:
          ip: 192.0.2.250
          plug: 4
  register: gantry_fenced
  no_log: true
"""

RETURN = r"""
fenced:
  description: The node is proven off. Never true in check mode.
  returned: success
  type: bool
  sample: true
method:
  description: The agent that proved it.
  returned: success, not in check mode
  type: str
  sample: fence_ipmilan
tries:
  description: How often the agent had to be told; 0 when the node was off already.
  returned: success, not in check mode
  type: int
  sample: 1
power:
  description: What each method says of the node now, V(on), V(off) or V(unknown).
  returned: success, in check mode
  type: list
  elements: str
  sample: ["on", unknown]
msg:
  description: The proof in words.
  returned: success, not in check mode
  type: str
  sample: "node node1 is off: fence_ipmilan says so"
error:
  description: Why it failed, part by part. Its C(code) is V(fencing_failed).
  returned: failure
  type: dict
  sample:
    code: fencing_failed
    what: Node node1 could not be proven off
    found: "fence_ipmilan: off answered 1 (Connection timed out), status says unknown"
    expected: a fence device that answers 'off'
    mend: cut its power by hand, then say so with -e gantry_dead_node=node1
"""
