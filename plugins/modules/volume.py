#!/usr/bin/python
# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logical volumes of an instance on one node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: volume
short_description: Create, grow and remove logical volumes of an instance on a node
version_added: 1.0.0
description:
  - Handles several volumes of one volume group in one call. All are looked at before the first one is changed.
  - A volume is ours when it carries the tag C(gantry.instance=UUID). Any other volume is never touched.
extends_documentation_fragment:
  - gantry.cluster.attributes
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
  uuid:
    description:
      - UUID of the instance.
    type: str
    required: true
  generation:
    description:
      - Number of the operation on the instance. The node refuses an older one than it has acted for.
    type: int
    required: true
  vg:
    description:
      - The volume group.
    type: str
    required: true
  volumes:
    description:
      - The volumes.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the logical volume.
        type: str
        required: true
      size_mib:
        description:
          - Size in MiB, rounded up to whole extents. A smaller volume is grown, a larger one is left alone.
          - Required for O(state=present).
        type: int
      tags:
        description:
          - Further tags it must have. Tags it has already are kept.
        type: list
        elements: str
        default: []
  state:
    description:
      - Whether the volumes are there.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: A volume for an instance
  gantry.cluster.volume:
    uuid: 3f2b7d9a-5f0e-4c1b-9d57-0a8f5a1c2e11
    generation: 7
    vg: gantry
    volumes:
      - name: web1.example.com-scratch
        size_mib: 2048
"""

RETURN = r"""
volumes:
  description: The volumes that are there now. C(vg), C(name), C(size_mib), C(tags), C(active) and C(open).
  returned: success
  type: list
  elements: dict
actions:
  description: What was changed, or would be, in words.
  returned: always
  type: list
  elements: str
"""

from ansible_collections.gantry.cluster.plugins.module_utils.node_module import run_module
from ansible_collections.gantry.cluster.plugins.module_utils.storage.volumes import bring_volumes


def work(module, executor):
    """Bring the volumes into the wanted state."""
    return bring_volumes(executor, module.params)


def main():
    """Entry point."""
    volume = {
        "name": {"type": "str", "required": True},
        "size_mib": {"type": "int"},
        "tags": {"type": "list", "elements": "str", "default": []},
    }
    spec = {
        "uuid": {"type": "str", "required": True},
        "generation": {"type": "int", "required": True},
        "vg": {"type": "str", "required": True},
        "volumes": {"type": "list", "elements": "dict", "required": True, "options": volume},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run_module(spec, work)


if __name__ == "__main__":
    main()
