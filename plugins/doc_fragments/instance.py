# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules acting on an instance share: see module_utils/node_module.py, which declares them."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment ``gantry.cluster.instance``: what instance_spec() and disks_spec() declare."""

    DOCUMENTATION = r"""
options:
  operation:
    description:
      - What M(gantry.cluster.operation_begin) returned. On the controller it is turned into O(name), O(uuid),
        O(generation), O(record), O(node) and, where the module has them, O(disks) and O(secrets).
      - Without it these must be given.
    type: dict
  name:
    description:
      - Name of the instance. It is also the name of its libvirt domain.
    type: str
  uuid:
    description:
      - UUID of the instance. It marks everything the instance owns on a node.
    type: str
  generation:
    description:
      - Number of the operation on the instance, which grows with each one.
      - The node remembers the highest one it acted for and refuses an older one.
    type: int
  record:
    description:
      - The instance's record, kept on the node beside the generation so that a lost registry can be rebuilt.
      - It holds no secrets.
    type: dict
  node:
    description:
      - Name of the node the module runs on, as the keys of O(disks[].nodes) have it.
    type: str
  disks:
    description:
      - Disks of the instance, as its record has them.
    type: list
    elements: dict
    default: []
    suboptions:
      index:
        description:
          - Number of the disk, from 0.
        type: int
        required: true
      name:
        description:
          - Name of the logical volume and, for V(drbd), of the DRBD resource.
        type: str
        required: true
      template:
        description:
          - Disk template, for example V(drbd) or V(plain).
        type: str
        required: true
      size_mib:
        description:
          - Size the guest sees, in MiB.
        type: int
        required: true
      vg:
        description:
          - Volume group the logical volumes are in.
        type: str
      port:
        description:
          - TCP port of the DRBD resource.
        type: int
      purpose:
        description:
          - What the disk is for when the guest does not see it as a disk; V(nvram) holds the variables of its firmware,
            V(tpm) the state of its TPM.
        type: str
      nodes:
        description:
          - The nodes that hold the disk, each with C(hostname) (C(uname -n)), C(address) in the cluster network and,
            for V(drbd), the DRBD C(minor).
        type: dict
        default: {}
  secrets:
    description:
      - Shared secret of each DRBD disk, by the disk's index.
    type: dict
    default: {}
"""
