#!/usr/bin/python
# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What waits for the next start of a node's guests."""

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_pending
short_description: What waits for the next start of a node's guests
version_added: 1.0.0
description:
  - Compares the definitions that running guests were started with with those they are described by now, option by option.
  - What libvirt has filled in by itself is no difference.
  - Changes nothing.
extends_documentation_fragment:
  - gantry.cluster.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: It changes nothing.
  idempotent:
    support: full
author:
  - The gantry.cluster team (@gantry-cluster)
options:
  definitions:
    description:
      - By UUID, the domain's C(hypervisor) and the wanted C(xml), as M(gantry.cluster.instance_report) returns them for each node.
    type: dict
    required: true
seealso:
  - module: gantry.cluster.domain
  - module: gantry.cluster.instance_report
"""

EXAMPLES = r"""
- name: Read what waits for a guest's next start
  gantry.cluster.domain_pending:
    definitions: "{{ gantry_report.unsure.node1 }}"
  delegate_to: node1
  register: result

- name: Show it
  ansible.builtin.debug:
    var: result.waiting
"""

RETURN = r"""
node:
  description: The node that was asked.
  returned: always
  type: str
  sample: node1
error:
  description: Why the node told nothing, or none.
  returned: always
  type: str
  sample: null
waiting:
  description: By UUID what waits for the guest's next start, an option a line. One that is not here or is off is left out.
  returned: success
  type: dict
  sample:
    6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11: ["memory: 1024 MiB instead of 512 MiB"]
"""

from ansible_collections.gantry.cluster.plugins.module_utils import domain_pending
from ansible_collections.gantry.cluster.plugins.module_utils.node_module import run_module


def work(module, _executor):
    """Compare."""
    return {"waiting": domain_pending.waiting(module.params["definitions"])}


def main():
    """Run the module."""
    run_module({"definitions": {"type": "dict", "required": True}}, work)


if __name__ == "__main__":
    main()
