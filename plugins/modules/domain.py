#!/usr/bin/python
# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirt domain of an instance on one node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: domain
short_description: Start, stop, define or remove the domain of an instance on a node
version_added: 1.0.0
description:
  - Brings the libvirt domain of an instance into a state on one node. The role of its disks follows; they are promoted before
    the guest starts, and demoted when it is proven off.
  - A start is refused while the disks cannot prove that this node may have them (see M(gantry.cluster.instance_disks)), and
    what a failed start has promoted is demoted again.
  - A saved memory image is removed before a start, and autostart is switched off. libvirt never starts the guest by itself.
  - Whatever libvirt does not answer is unknown; nothing is done to the disks then.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.instance
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: O(state=rebooted) restarts the guest each time.
author:
  - The gantry.cluster team (@gantry-cluster)
options:
  state:
    description:
      - V(running), the guest runs on primary disks. One that runs already is left alone, also when O(xml) has changed;
        RV(pending) says so.
      - V(stopped), the guest is off and its disks are secondary. The definition stays.
      - V(rebooted), the guest was stopped and started on this node, its disks stayed primary. One that was off is started.
      - V(defined), the definition is there. A guest that runs is left as it is; the disks of one that is off are secondary.
      - V(standby), the node is the instance's other node. No guest, no definition, the disks are active and secondary. Refused
        while the guest is active here.
      - V(absent), the guest is off and its definition gone. The disks stay and are secondary.
    type: str
    choices: [running, stopped, rebooted, defined, standby, absent]
    default: running
  xml:
    description:
      - The domain's XML with the instance's name and UUID. The collection's mark is added to its metadata.
      - Required for V(running), V(rebooted) and V(defined). The action plugin renders it from the domain template.
    type: str
  hypervisor:
    description:
      - The hypervisor, as in the instance's record.
    type: str
    default: kvm
  timeout:
    description:
      - Seconds the guest has to obey the power button.
    type: int
    default: 120
  force:
    description:
      - Cut the power of a guest that has not shut down within O(timeout). With O(timeout=0) at once.
      - A guest in migration is never stopped, not by this either.
    type: bool
    default: false
  give_up:
    description:
      - With O(state=absent) and O(force=true), the operator has named this node's copy of the guest as the one to end. It is
        ended even where it is an end of a migration.
    type: bool
    default: false
  reboot_type:
    description:
      - V(soft) presses the power button; V(hard) cuts the power.
    type: str
    choices: [soft, hard]
    default: soft
  peer_dead:
    description:
      - The other node is proven dead, so the disks may be promoted without it.
    type: bool
    default: false
  wait_connect:
    description:
      - Seconds to wait for the disks' connection to the other node.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Start the guest of an operation
  gantry.cluster.domain:
    operation: "{{ gantry_operation }}"
    state: running
  delegate_to: "{{ gantry_operation.primary }}"

- name: Stop it, by force after a minute
  gantry.cluster.domain:
    operation: "{{ gantry_operation }}"
    state: stopped
    timeout: 60
    force: true
  delegate_to: "{{ gantry_operation.primary }}"
"""

RETURN = r"""
domain:
  description:
    - The domain as it is now, null when there is none. C(name), C(uuid), C(id), C(state), C(reason), C(active),
      C(persistent), C(autostart), C(managed_save), C(generation) and C(digest).
  returned: success
  type: dict
pending:
  description:
    - Whether the guest runs with another definition than O(xml). It gets the new one when it is next started.
    - Compared is option by option. What libvirt has filled in by itself is no difference.
  returned: success, when O(xml) was given
  type: bool
pending_changes:
  description: What waits for the next start, an option a line. Empty unless RV(pending).
  returned: success, when O(xml) was given
  type: list
  elements: str
  sample: ["devices/video/model@type: virtio instead of vga"]
actions:
  description: What was changed, or would be, in words.
  returned: always
  type: list
  elements: str
"""

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor
from ansible_collections.gantry.cluster.plugins.module_utils.domain import Domain
from ansible_collections.gantry.cluster.plugins.module_utils.node_module import disks_spec, instance_spec, run_module


def work(module, executor):
    """Bring the domain into the wanted state."""
    params = module.params
    domain = Domain(executor, hypervisor.backend(params["hypervisor"]), params)
    disks = {"peer_dead": params["peer_dead"], "wait_connect": params["wait_connect"]}
    stop = {"timeout": params["timeout"], "force": params["force"]}
    if params["state"] == "running":
        return domain.running(params["xml"], **disks)
    if params["state"] == "rebooted":
        return domain.rebooted(params["xml"], hard=params["reboot_type"] == "hard", **disks, **stop)
    if params["state"] == "defined":
        return domain.defined(params["xml"])
    if params["state"] == "standby":
        return domain.standby()
    if params["state"] == "absent":
        return domain.absent(give_up=params["give_up"], **stop)
    return domain.stopped(**stop)


def main():
    """Run the module."""
    run_module({
        **instance_spec(), **disks_spec(),
        "state": {
            "type": "str", "default": "running",
            "choices": ["running", "stopped", "rebooted", "defined", "standby", "absent"],
        },
        "xml": {"type": "str"},
        "hypervisor": {"type": "str", "default": "kvm"},
        "timeout": {"type": "int", "default": 120},
        "force": {"type": "bool", "default": False},
        "give_up": {"type": "bool", "default": False},
        "reboot_type": {"type": "str", "choices": ["soft", "hard"], "default": "soft"},
        "peer_dead": {"type": "bool", "default": False},
        "wait_connect": {"type": "int", "default": 30},
    }, work, required_if=[
        ("state", "running", ["xml"]), ("state", "rebooted", ["xml"]), ("state", "defined", ["xml"]),
    ])


if __name__ == "__main__":
    main()
