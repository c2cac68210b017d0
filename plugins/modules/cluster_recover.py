# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_recover
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Rebuild the registry from what the nodes hold
description:
  - Writes into the registry the nodes and instances that it lacks, from what M(gantry.cluster.node_memory) read on the nodes.
    What the registry holds is never overwritten.
  - Of each instance the record of the highest generation counts, and only where nothing contradicts it; all its nodes answer,
    the guest runs where the record says or nowhere, its volumes and resource files are there, and nobody else holds its name
    or numbers. What contradicts is told, and the instance is left out, unless O(accept) names it.
  - What the records lack is filled in from what is seen; a guest that runs should be up, one that is off should be down; a
    creation or a migration that was cut off is an interrupted operation again.
  - A record of which neither volume nor domain is left is that of a removed instance. It is told, and not restored.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Secrets are not in it.
  idempotent:
    support: full
options:
  memories:
    description:
      - What M(gantry.cluster.node_memory) returned, by node. Nodes are registered with the variables of their inventory
        hosts, as M(gantry.cluster.node_register) does.
      - It holds the DRBD secrets.
    type: dict
    required: true
  accept:
    description:
      - Instances to restore though something contradicts. The name, and the node whose record counts.
      - Never restored are an instance that lives on two nodes, one whose name or numbers another one holds, and one whose
        volumes are not its own.
    type: dict
    default: {}
seealso:
  - module: gantry.cluster.node_memory
"""

EXAMPLES = r"""
- name: Read what the node holds
  gantry.cluster.node_memory:
  no_log: true
  register: gantry_memory

- name: Rebuild the registry
  gantry.cluster.cluster_recover:
    memories: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'gantry_memory'))) }}"
    accept:
      web1.example.com: node2
  run_once: true
"""

RETURN = r"""
recovered:
  description: What became of every node and instance.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(node) or V(instance).
      type: str
      returned: always
    name:
      description: Its name; the UUID where no record can be read.
      type: str
      returned: always
    uuid:
      description: The instance's UUID.
      type: str
      returned: for an instance
    result:
      description:
        - V(restored), V(left out) (something contradicts, see C(notes)), V(gone) (only the record is left of it), or V(known)
          (the registry has it).
      type: str
      returned: always
    generations:
      description: The generation of the record on each node.
      type: dict
      returned: always
    notes:
      description: What contradicts, what was filled in, what is to be done.
      type: list
      elements: str
      returned: always
  sample:
    - kind: instance
      name: web1.example.com
      uuid: 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11
      result: restored
      generations: {node1: 7, node2: 7}
      notes: ["it runs, so it should be up"]
left_out:
  description: The names of what was left out.
  returned: success
  type: list
  elements: str
  sample: []
table:
  description: The same as a table.
  returned: success
  type: str
  sample: |-
    KIND      NAME              RESULT    GENERATIONS         NOTE
    --------  ----------------  --------  ------------------  ----------------------------
    instance  web1.example.com  restored  node1: 7, node2: 7  it runs, so it should be up
error:
  description: Why it failed, part by part. Its C(code) is for example V(no_registry), V(no_cluster) or V(number_taken).
  returned: failure
  type: dict
  sample:
    code: no_registry
    what: There is no registry
    found: null
    expected: null
    mend: run the playbook cluster_init
"""
