#!/usr/bin/python
# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of an instance on one node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_disks
short_description: Create, connect, promote, open and remove the disks of an instance on a node
version_added: 1.0.0
description:
  - Brings all disks of an instance on one node into a state, from the logical volumes up to the DRBD resources.
  - Every guard stands in this module. It reads what LVM and DRBD show right before each step and refuses what is not
    proven safe; what it did it reads back.
  - Steps that were done already are left alone, so an interrupted run is finished by the next one.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.instance
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
  state:
    description:
      - V(present), what is missing is created, and the disks are active.
      - V(active), the disks are up and, for C(drbd), connected or waiting for the other node. A missing volume is an
        error; nothing is created on the way to a promotion.
      - V(as_is), nothing is brought up or down; for O(role=secondary) and O(window=closed) alone. What is not up has neither.
      - V(inactive), the disks are secondary and down. The data stays.
      - V(absent), the disks of this node are removed, and so is the node's memory of the instance.
    type: str
    choices: [present, active, as_is, inactive, absent]
    default: active
  role:
    description:
      - V(primary), the disks can be written here. Refused while the other node is primary or does not answer, and while
        the local copy is not current.
      - V(secondary), they cannot. Refused while something holds them open.
      - Without it the role stays as it is. Disks that are not mirrored have no role.
    type: str
    choices: [primary, secondary]
  window:
    description:
      - V(open), both nodes may be primary, for a live migration. Refused unless both copies are connected, current and
        the same. With O(role=primary) this node becomes primary beside the other one.
      - V(closed), only one may. Refused while both are.
      - It is set on the running resource only, never in its file, and read back.
    type: str
    choices: [open, closed]
  initialize:
    description:
      - Promote new disks for the first time, declare this node's copy the good one and write O(images).
      - Needs O(state=present) and O(role=primary). A disk that was initialised before is only promoted.
      - Allowed only while the volume carries the tag C(gantry.new) and DRBD says on both nodes that there never was
        data.
    type: bool
    default: false
  images:
    description:
      - Disk images on this node to write to new disks, by the disk's index. Needs O(initialize=true).
      - Each is a dictionary with C(path) and, when qemu-img shall not find it out, C(format). With C(place=end) the last byte
        of the image becomes the last one of the disk.
      - With C(zeros=true) and no path the whole disk becomes zero.
      - For O(disks[].purpose=nvram) the action plugin adds the variables that the guest's firmware begins with, for
        O(disks[].purpose=tpm) zeros.
      - They are looked at before anything is created.
    type: dict
    default: {}
  renew:
    description:
      - Set this node's copies of the disks in O(disks) aside and make new ones, which are filled from the other node's.
        A primary lives off its peer meanwhile, so the guest goes on.
      - Needs O(state=present). Refused unless another good copy is connected, or this one is not good.
      - The old volumes stay, with names that end in C(.aside), until O(drop_aside) removes them. While they are there a
        renewal that was interrupted is finished, and not begun anew.
    type: bool
    default: false
  give_up:
    description:
      - With O(renew), the operator has named this node's copy as the one to give up, the victim of a split brain.
      - It is set aside though it may be a good one, if no peer is connected.
    type: bool
    default: false
  drop_aside:
    description:
      - Remove the old volumes that O(renew) has set aside. Refused until both copies are connected and the same.
    type: bool
    default: false
  peer_dead:
    description:
      - The other node is proven to be off. The disks are promoted without its answer if the local copy is current.
      - Refused when the other node answers all the same.
    type: bool
    default: false
  wait_connect:
    description:
      - Seconds to wait for the other node's answer before a promotion or before the window is opened.
    type: int
    default: 30
  wait_sync:
    description:
      - Seconds to wait until both copies are the same. Not an error when they are not by then; see RV(synced).
        The wait ends early when it is of no use; see RV(stuck).
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Create the disks on the instance's secondary
  gantry.cluster.instance_disks:
    operation: "{{ gantry_operation }}"
    state: present
  delegate_to: "{{ gantry_operation.secondary }}"

- name: Create them on its primary, connect them and write an image
  gantry.cluster.instance_disks:
    operation: "{{ gantry_operation }}"
    state: present
    role: primary
    initialize: true
    images:
      "0":
        path: /var/lib/gantry/images/debian-12.qcow2
  delegate_to: "{{ gantry_operation.primary }}"

- name: Make the secondary's copy anew
  gantry.cluster.instance_disks:
    operation: "{{ gantry_operation }}"
    state: present
    renew: true
  delegate_to: "{{ gantry_operation.secondary }}"

- name: Make the target of a migration primary beside the source
  gantry.cluster.instance_disks:
    operation: "{{ gantry_operation }}"
    window: open
    role: primary
  delegate_to: "{{ gantry_operation.secondary }}"
"""

RETURN = r"""
disks:
  description: The disks as they are now, in the words of DRBD. What does not apply or cannot be known is null.
  returned: success
  type: list
  elements: dict
  contains:
    index:
      description: Number of the disk.
      type: int
    name:
      description: Name of the volume and the resource.
      type: str
    template:
      description: Disk template.
      type: str
    device:
      description: The device a guest is given.
      type: str
    present:
      description: Whether all of the disk is there.
      type: bool
    new:
      description: Whether the disk was never initialised, or its image is incomplete.
      type: bool
    role:
      description: V(Primary) or V(Secondary). The active volume of a disk that is not mirrored counts as V(Primary).
      type: str
    connection:
      description: State of the connection, for example V(Connected), V(Connecting) or V(StandAlone).
      type: str
    disk:
      description: State of the local copy.
      type: str
    peer_disk:
      description: State of the other node's copy.
      type: str
    peer_role:
      description: Role of the other node.
      type: str
    replication:
      description: What flows between the nodes, for example V(Established) or V(SyncSource).
      type: str
    out_of_sync_kib:
      description: How much differs, in KiB.
      type: int
    sync_percent:
      description: How much is the same, V(100.0) only when all is.
      type: float
    allow_two_primaries:
      description: Whether both nodes may be primary now.
      type: bool
synced:
  description: Whether every copy is connected, current and the same.
  returned: success
  type: bool
stuck:
  description:
    - Why the copies will not become the same however long one waits, such as a disk that is gone; V(none) if they are or may.
    - Looked at while O(wait_sync) lasts, and only what has lasted a few seconds.
  returned: success
  type: str
actions:
  description: What was changed, or would be, in words.
  returned: always
  type: list
  elements: str
"""

from ansible_collections.gantry.cluster.plugins.module_utils.node_module import disks_spec, instance_spec, run_module
from ansible_collections.gantry.cluster.plugins.module_utils.storage.instance import bring_disks


def work(module, executor):
    """Bring the disks into the wanted state."""
    return bring_disks(executor, module.params)


def main():
    """Entry point."""
    spec = instance_spec()
    spec.update(disks_spec())
    spec.update(
        state={"type": "str", "choices": ["present", "active", "as_is", "inactive", "absent"], "default": "active"},
        role={"type": "str", "choices": ["primary", "secondary"]},
        window={"type": "str", "choices": ["open", "closed"]},
        initialize={"type": "bool", "default": False},
        images={"type": "dict", "default": {}},
        renew={"type": "bool", "default": False},
        give_up={"type": "bool", "default": False},
        drop_aside={"type": "bool", "default": False},
        peer_dead={"type": "bool", "default": False},
        wait_connect={"type": "int", "default": 30},
        wait_sync={"type": "int", "default": 0},
    )
    run_module(spec, work)


if __name__ == "__main__":
    main()
