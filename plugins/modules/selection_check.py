# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: selection_check
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Refuse a run that selects nothing, or everything unasked
description:
  - The first step of every verb. It looks at which hosts of a group the play is limited to.
  - It fails when there are none, and when there is no limit at all, because forgetting C(-l) must not stop or remove
    every instance of a cluster.
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
  verb:
    description:
      - What is about to be done, for the error messages, such as V(migrate).
    type: str
    required: true
  names:
    description:
      - Instances that are named instead of limited to, as a survey does. Text is split at its commas.
      - They must be hosts of O(group). With them the limit is not looked at.
    type: list
    elements: str
  group:
    description:
      - The group the hosts are of.
    type: str
    default: gantry_instances
  everything:
    description:
      - All hosts of O(group) are meant, so no limit is needed.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check the selection
  hosts: all
  gather_facts: false
  tasks:
    - name: Refuse a selection of nothing, or of everything unasked
      gantry.cluster.selection_check:
        verb: stop
        everything: "{{ gantry_all | default(false) | bool }}"
      run_once: true

    - name: The same for nodes
      gantry.cluster.selection_check:
        verb: add
        group: gantry_nodes
      run_once: true
"""

RETURN = r"""
selected:
  description: The hosts that are meant, sorted; with O(names), those in the order given.
  returned: success
  type: list
  elements: str
  sample: [db1.example.com, web1.example.com]
error:
  description:
    - Why the step was refused, part by part. Its C(code) is V(nothing_selected), V(everything_selected) or
      V(bad_name).
  returned: failure
  type: dict
  sample:
    code: everything_selected
    what: Refusing to stop all 12 hosts of gantry_instances unasked
    found: no limit
    expected: a limit that names what is meant
    mend: add -l NAME (or a group, such as gantry_primary_node1), or -e gantry_all=true if all are meant
"""
