# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_remove
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Take a node out of the registry
description:
  - Refused while the node is the primary or the secondary of an instance, or while an interrupted operation has left a part of
    one there.
  - A node that is not in the registry is no error.
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
"""

EXAMPLES = r"""
- name: Take the node out
  gantry.cluster.node_remove:
    name: node4
  register: gantry_removed
"""

RETURN = r"""
node_record:
  description: The record that went. Empty when there was none.
  returned: success
  type: dict
  sample: {name: node4, hostname: node4, address: 10.77.0.14, vg: gantry, offline: false}
peers:
  description: The records of the nodes that stay, for M(gantry.cluster.node_prepare).
  returned: success
  type: list
  elements: dict
  sample: [{name: node1, hostname: node1, address: 10.77.0.11}]
msg:
  description: What was done.
  returned: success
  type: str
  sample: node node4 is removed
error:
  description:
    - Why it failed, part by part. Its C(code) is V(node_in_use), V(no_cluster) or V(contention).
  returned: failure
  type: dict
  sample:
    code: node_in_use
    what: "Node node4 cannot be removed: it holds instances"
    found: web1.example.com
    expected: an empty node
    mend: empty it with node_evacuate -e gantry_node_name=node4
"""
