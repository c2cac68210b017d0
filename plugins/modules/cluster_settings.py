# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_settings
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Create the cluster in the registry, or bring its settings up to date
description:
  - Makes the registry if there is none, and writes the cluster's settings into it. Settings that are not given stay as
    they are.
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
      - Name of the cluster, a host name such as V(cluster.example.com).
    type: str
    required: true
  mac_prefix:
    description:
      - First three bytes of the MAC addresses handed out to instances, such as V(52:54:00). They must be those of
        a unicast address.
      - A new cluster has V(52:54:00) when this is not given. Existing instances keep their addresses.
    type: str
  iallocator:
    description:
      - Who chooses nodes for new instances, and for mirrors that leave a node. V(builtin) is the collection's own engine, V(hail)
        Ganeti's, and anything else the absolute path of a program on the controller that speaks Ganeti's IAllocator protocol,
        version 2. The program must be there and executable.
      - A new cluster has V(builtin) when this is not given.
    type: str
  tags:
    description:
      - Tags of the cluster. Those that begin with C(htools:) say which tags of instances and nodes count for placement.
    type: list
    elements: str
  ipolicy:
    description:
      - Instance policy of the cluster, with Ganeti's names. C(std), C(minmax) (a list of C(min) and C(max)), C(disk-templates),
        C(vcpu-ratio), C(spindle-ratio). What is left out forbids nothing.
      - It counts where nodes are chosen. A node that the operator names is not refused for it.
    type: dict
  groups:
    description:
      - Settings of node groups, by name. C(alloc_policy) (V(preferred), V(last_resort) or V(unallocable)), C(tags) and C(ipolicy),
        which is the cluster's where it says nothing; and C(hvparams), as O(hvparams), which win over those of the cluster.
    type: dict
  hvparams:
    description:
      - Hypervisor parameters of the cluster's instances, a dictionary for each hypervisor. The page C(docs/hypervisors.md) of
        the collection has them all. They replace those that were set before.
      - They count when an instance is next started. What its own O(hvparams) or its node group say wins.
    type: dict
"""

EXAMPLES = r"""
- name: Create the registry and the cluster in it
  gantry.cluster.cluster_settings:
    name: cluster.example.com
    mac_prefix: "52:54:7a"
  run_once: true

- name: Let Ganeti's hail choose nodes, none for more than eight processors
  gantry.cluster.cluster_settings:
    name: cluster.example.com
    iallocator: hail
    ipolicy:
      minmax:
        - max:
            cpu-count: 8
  run_once: true
"""

RETURN = r"""
cluster:
  description: The settings.
  returned: success
  type: dict
  sample:
    name: cluster.example.com
    mac_prefix: "52:54:7a"
    iallocator: builtin
    schema: 1
    created: 1795362100
registry:
  description: URL of the registry.
  returned: success
  type: str
  sample: sqlite:////var/lib/gantry/registry.db
error:
  description: Why it failed, part by part. Its C(code) is for example V(bad_name), V(bad_mac_prefix), V(bad_iallocator),
    V(bad_policy) or V(no_registry).
  returned: failure
  type: dict
  sample:
    code: bad_mac_prefix
    what: The MAC prefix cannot be used
    found: "'01:00:5e'"
    expected: three bytes of a unicast address, such as 52:54:00
    mend: null
"""
