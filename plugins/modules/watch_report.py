# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: watch_report
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: What the watcher saw and did
description:
  - Lays what M(gantry.cluster.watch_decide) decided beside what became of it, as a table for people and as plain data for
    programs.
  - What became of an action is the variable C(gantry_watch_outcome) of the instance, with C(ok) and C(reason). An action
    whose instance has none was not carried out.
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
  decided:
    description:
      - What M(gantry.cluster.watch_decide) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Put together what was seen and done
  gantry.cluster.watch_report:
    decided: "{{ gantry_watch_decided }}"
  run_once: true
  register: gantry_watch_report

- name: Show it
  ansible.builtin.debug:
    msg: "{{ gantry_watch_report.table }}"
  run_once: true
"""

RETURN = r"""
watched:
  description: What was seen and done, nodes first. Empty when all is as it should be.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(node) or V(instance).
      type: str
      returned: always
    name:
      description: Its name.
      type: str
      returned: always
    did:
      description: V(start), V(activate), V(failover) or V(note).
      type: str
      returned: always
    outcome:
      description: V(done), V(failed), or V(predicted) in check mode. None for a note.
      type: str
      returned: always
    severity:
      description: V(info), V(warning) or V(error).
      type: str
      returned: always
    why:
      description: The reason, and that of a failure.
      type: str
      returned: always
  sample:
    - kind: instance
      name: web1.example.com
      did: start
      outcome: done
      severity: warning
      why: "should run and does not: its QEMU process died"
failures:
  description: The actions that failed, in words.
  returned: success
  type: list
  elements: str
  sample: [start of web1.example.com]
table:
  description: The same as a table.
  returned: success
  type: str
  sample: |-
    KIND      NAME              SEVERITY  ACTION       WHY
    --------  ----------------  --------  -----------  -----------------------------------------------
    instance  web1.example.com  warning   start: done  should run and does not: its QEMU process died
"""
