# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_modify
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Change a node's flags, group or tags in the registry
description:
  - Only what is given is changed.
  - A node is marked offline only when it is silent. That is refused while its libvirt answers, while a DRBD resource is up
    on it, or while the DRBD of another node is connected to it.
  - The mark is taken off only when the node answers, every copy on it is up to date, and no guest is defined on it that
    belongs elsewhere.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the node.
    type: str
    required: true
  offline:
    description:
      - A node that is marked offline is not asked any more.
    type: bool
  drained:
    description:
      - A drained node gets no new instances and no new mirrors.
    type: bool
  group:
    description:
      - Node group.
    type: str
  tags:
    description:
      - All tags of the node.
    type: list
    elements: str
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each of RV(nodes), as the C(results) of the loop.
      - Without them, a change of O(offline) is not made. RV(nodes) then says which nodes have to be looked at.
    type: list
    elements: dict
  proven_off:
    description:
      - The node has just been proven off, by M(gantry.cluster.fence_node) or the operator's word. It is not looked at then.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Keep new instances away
  gantry.cluster.node_modify:
    name: node3
    drained: true
"""

RETURN = r"""
nodes:
  description: The nodes to be observed before O(offline) can be changed. Empty when nothing is missing.
  returned: success
  type: list
  elements: str
  sample: []
node_record:
  description: The node's record.
  returned: success, when RV(nodes) is empty
  type: dict
  sample: {name: node3, group: default, offline: false, drained: true, tags: []}
msg:
  description: What is the case now.
  returned: success
  type: str
  sample: "node node3: drained True"
error:
  description:
    - Why it failed, part by part. Its C(code) is V(node_alive), V(quarantined), V(not_observed), V(nothing_to_change) or
      V(unknown_node).
  returned: failure
  type: dict
  sample:
    code: node_alive
    what: "Node node1 is not marked offline: it is alive"
    found: its libvirtd answers
    expected: a node that does not answer
    mend: "to keep new instances away, -e gantry_drained=true"
"""
