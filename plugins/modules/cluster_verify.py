# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_verify
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Whether the cluster is as it should be
description:
  - Lays what the registry holds beside what the nodes show, and reports everything that is not as it should be. The page
    C(docs/verify.md) of the collection has every code with its meaning.
  - A node that does not answer is a finding, not a failure. So are things that are missing or broken in what is given.
  - It does not fail because of findings; see RV(passed).
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
attributes:
  check_mode:
    support: full
    details:
      - It changes nothing. The file O(junit) is a report, and is written in check mode too.
  diff_mode:
    support: N/A
    details:
      - It changes nothing.
  idempotent:
    support: full
options:
  content:
    description:
      - What M(gantry.cluster.registry_read) returned, read after the nodes were asked.
    type: dict
    required: true
  before:
    description:
      - The same, read before the nodes were asked. An instance that has changed since is left alone, because what the
        nodes showed may be neither its old nor its new state.
    type: dict
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each node, as the C(results) of the loop. A node that is missing
        here counts as unreachable, unless it is marked offline.
    type: list
    elements: dict
    required: true
  ignore:
    description:
      - Codes that are turned into notes. An unknown one is refused.
    type: list
    elements: str
    default: []
  level:
    description:
      - From which severity on a finding counts against RV(passed), and is a failed case in O(junit).
    type: str
    choices: [error, warning]
    default: error
  junit:
    description:
      - A file on the controller to write the result to as JUnit XML, for a CI server.
    type: path
"""

EXAMPLES = r"""
- name: Read the registry
  gantry.cluster.registry_read:
  run_once: true
  register: gantry_registry_content

- name: Observe the nodes
  gantry.cluster.node_info:
  delegate_to: "{{ gantry_node }}"
  loop: "{{ gantry_registry_content.nodes | dict2items | rejectattr('value.offline') | map(attribute='key') | sort }}"
  loop_control:
    loop_var: gantry_node
  run_once: true
  register: gantry_observed

- name: Judge
  gantry.cluster.cluster_verify:
    content: "{{ gantry_registry_content }}"
    observations: "{{ gantry_observed.results }}"
    ignore: [NODE_FENCE]
  run_once: true
  register: gantry_verify

- name: Stop before an upgrade when any disk has lost its mirror
  ansible.builtin.assert:
    that: gantry_verify.findings | selectattr('object_type', 'eq', 'disk') | length == 0
  run_once: true
"""

RETURN = r"""
findings:
  description: What was found, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    code:
      description: What it is, one of the codes of C(docs/verify.md).
      type: str
      returned: always
    severity:
      description: V(error), V(warning) or V(note).
      type: str
      returned: always
    object_type:
      description: V(cluster), V(node), V(instance) or V(disk).
      type: str
      returned: always
    object:
      description: Its name.
      type: str
      returned: always
    node:
      description: The node on which it is seen, where it is seen on one.
      type: str
      returned: always
    found:
      description: What was seen.
      type: str
      returned: always
    expected:
      description: What should have been there.
      type: str
      returned: always
    mend:
      description: What mends it.
      type: str
      returned: always
    ignored:
      description: Whether O(ignore) made it a note.
      type: bool
      returned: always
  sample:
    - code: DISK_DEGRADED
      severity: error
      object_type: disk
      object: web1.example.com-disk0
      node: null
      found: "node1: Connecting Primary UpToDate, node2: unreachable"
      expected: Connected and UpToDate on both nodes
      mend: bring the other node or the link back, then instance_start -l web1.example.com
      ignored: false
counts:
  description: How many of each severity.
  returned: success
  type: dict
  sample:
    error: 1
    warning: 0
    note: 2
worst:
  description: The worst severity, V(none) without findings.
  returned: success
  type: str
  sample: error
passed:
  description: Whether nothing was found at O(level) or above.
  returned: success
  type: bool
  sample: false
lines:
  description: A line for each finding, C(SEVERITY:CODE:type:name:message), as C(gnt-cluster verify --error-codes) has them.
  returned: success
  type: list
  elements: str
  sample:
    - "ERROR:NODE_UNREACHABLE:node:node2:The node does not answer; that does not mean that it is dead. Found: no route to host."
table:
  description: The findings as a table.
  returned: success
  type: str
  sample: |-
    SEVERITY  CODE              OBJECT      FOUND             TO MEND
    --------  ----------------  ----------  ----------------  -------
    error     NODE_UNREACHABLE  node node2  no route to host  look at the node and the link to it
summary:
  description: All of it in a few words.
  returned: success
  type: str
  sample: 1 error, 2 notes
junit:
  description: The file that was written, or none.
  returned: success
  type: str
  sample: /tmp/verify.xml
error:
  description: Why it failed, part by part. Its C(code) is for example V(unknown_code) or V(unwritable).
  returned: failure
  type: dict
  sample:
    code: unknown_code
    what: There is no code NODE_FENCES
    found: NODE_FENCES
    expected: codes of docs/verify.md
    mend: correct gantry_verify_ignore
"""
