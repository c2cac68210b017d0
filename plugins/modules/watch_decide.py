# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: watch_decide
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Decide what the watcher does in this run
description:
  - Lays what the registry holds beside what the nodes show, and says for each instance what the watcher is to do, at most
    one action, or what a person should read.
  - Keeps in the registry what the next run has to know; the tries, the nodes' boots, how often a node was silent. Tries
    are counted here, before anything is done, so a watcher that dies in between counts too.
  - When two watchers decide at the same time, one of them is refused.
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
    support: partial
    details:
      - It changes nothing while nothing happens. Each try of something is counted.
options:
  content:
    description:
      - What M(gantry.cluster.registry_read) returned, from before the nodes were observed. Used are its C(nodes),
        C(instances) and C(locks).
    type: dict
    required: true
  observations:
    description:
      - What M(gantry.cluster.node_info) returned for each node that is not marked offline, as the C(results) of the
        loop. A node that is missing here counts as unreachable.
    type: list
    elements: dict
    required: true
  tries:
    description:
      - How often one action is tried on one instance before it is given up.
    type: int
    default: 5
  backoff:
    description:
      - Seconds between the first try and the second. Each further wait is twice as long.
    type: int
    default: 300
  expire:
    description:
      - Seconds after the last try until the tries are forgotten.
    type: int
    default: 28800
  user_shutdown:
    description:
      - What becomes of a guest that switched itself off. V(leave), it stays off; V(restart), it is started again.
    type: str
    choices: [leave, restart]
    default: leave
  failover:
    description:
      - Fail mirrored instances over from a node that does not answer and has a fence device (C(gantry_fence)).
    type: bool
    default: false
  unreachable_runs:
    description:
      - In how many runs in a row the node must not have answered before that. Runs within a minute count as one.
    type: int
    default: 3
seealso:
  - module: gantry.cluster.watch_report
  - module: gantry.cluster.watch_pause
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

- name: Decide
  gantry.cluster.watch_decide:
    content: "{{ gantry_registry_content }}"
    observations: "{{ gantry_observed.results }}"
  run_once: true
  register: gantry_watch_decided
"""

RETURN = r"""
todo:
  description: The actions, by name. At most one for each instance.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web1.example.com
      do: start
      why: "should run and does not: its QEMU process died"
      severity: warning
      generation: 7
actions:
  description:
    - What is to be done and what is to be read of the instances, by name. C(do) is V(start), V(activate), V(failover) or
      V(note), C(severity) is V(info), V(warning) or V(error), C(generation) is the instance's at that time.
  returned: success
  type: list
  elements: dict
  sample:
    - name: db1.example.com
      do: note
      why: "left alone: migrate was interrupted; run instance_migrate for it again"
      severity: warning
      generation: 4
nodes:
  description: What is to be read of the nodes. C(name), C(severity) and C(why).
  returned: success
  type: list
  elements: dict
  sample:
    - name: node1
      severity: error
      why: does not answer (Connection timed out), 2. run in a row
history:
  description: What the next run will know, C(instances) by UUID and C(nodes) by name.
  returned: success
  type: dict
  sample:
    instances: {}
    nodes:
      node1: {boot_id: 0d4b2e6e-5f0f-4a9c-8f2e-3c1b7a5d9e10, unreachable: 0}
error:
  description: Why it failed, part by part. Its C(code) is for example V(watched_twice), V(no_cluster) or V(no_registry).
  returned: failure
  type: dict
  sample:
    code: watched_twice
    what: Another watcher is at work
    found: it has changed the history since this one read it
    expected: one watcher at a time
    mend: nothing was done by this one; see that only one timer runs it
"""
