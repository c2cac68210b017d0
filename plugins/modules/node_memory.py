#!/usr/bin/python
# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node holds that a lost registry is rebuilt from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_memory
short_description: Read what a node holds of a lost registry
version_added: 1.0.0
description:
  - Reads, in one call, the node's records of instances, the DRBD secrets from the collection's resource files, the node's
    keys, and what M(gantry.cluster.node_info) reads; from that M(gantry.cluster.cluster_recover) rebuilds the registry.
  - Changes nothing.
  - B(The result holds the DRBD secrets.) A task with it needs C(no_log=true).
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
  hypervisors:
    description:
      - The hypervisors whose libvirt drivers are asked, the main one first. The action plugin takes them from the registry.
    type: list
    elements: str
    default: [kvm]
  timeout:
    description:
      - Seconds libvirt has to answer.
    type: int
    default: 60
seealso:
  - module: gantry.cluster.cluster_recover
"""

EXAMPLES = r"""
- name: Read what the node holds
  gantry.cluster.node_memory:
  no_log: true
  register: gantry_memory
"""

RETURN = r"""
reachable:
  description: Whether the node answered. One that does not is no failure.
  returned: always
  type: bool
  sample: true
error:
  description: Why it did not answer.
  returned: when RV(reachable) is false
  type: str
  sample: Connection timed out
memory:
  description:
    - What M(gantry.cluster.node_info) returns as C(node_info), and C(resource_secrets), C(migration_public_key) and
      C(ssh_host_keys).
    - C(resource_secrets) has, by resource, the C(uuid) of its instance, its C(secret), and C(hosts) with the C(minors) and
      C(ports) of each; or C(error).
  returned: when RV(reachable) is true
  type: dict
"""

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor, node_memory
from ansible_collections.gantry.cluster.plugins.module_utils.node_module import run_module


def work(module, executor):
    """Read the node."""
    drivers = hypervisor.drivers(module.params["hypervisors"])
    return {"memory": node_memory.collect(executor, drivers, module.params["timeout"])}


def main():
    """Run the module."""
    run_module({
        "hypervisors": {"type": "list", "elements": "str", "default": ["kvm"]},
        "timeout": {"type": "int", "default": 60},
    }, work)


if __name__ == "__main__":
    main()
