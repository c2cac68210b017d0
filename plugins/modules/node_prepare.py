#!/usr/bin/python
# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain server made ready to be a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_prepare
short_description: Make a plain server ready to be a node
version_added: 1.0.0
description:
  - Sets up DRBD, LVM, libvirt and the migration account of a Debian server whose packages are installed already. With
    O(peers) it also distributes the trust between the nodes.
  - Everything is checked before anything is changed; a server that cannot be a node is refused with what was found,
    what was expected and what mends it.
  - Nothing starts by itself on a node. C(libvirt-guests) and Xen's C(xendomains) are masked (not stopped, which could suspend
    running guests),
    C(drbd.service) is disabled and the autostart of the collection's domains is switched off.
  - When the node goes down, the unit C(gantry-node.service) shuts the guests down by ACPI, switches off those that do
    not obey within O(shutdown_timeout), and takes their DRBD resources down while the network still stands. It starts
    nothing, and refuses to be stopped by hand.
  - LVM on the host gets a C(global_filter) in C(/etc/lvm/lvmlocal.conf) that hides the guests' disks (DRBD devices
    and the logical volumes of O(vg)), so that it cannot find and activate a volume group inside a guest. The
    administrator's own patterns are kept. The filter is tried out on a copy of LVM's configuration first, and read
    back from LVM afterwards.
  - A node that runs V(kvm) gets libvirt's hook C(/etc/libvirt/hooks/qemu.d/gantry-tpm), which starts swtpm for guests with a TPM
    and mirrored disks, and does nothing for others. The libvirt daemon is restarted when the hook is new; guests go on meanwhile.
    Where AppArmor holds QEMU back, C(/etc/apparmor.d/local/abstractions/libvirt-qemu) lets it speak to such a TPM.
  - DRBD's C(usermode_helper) becomes the collection's own (with DRBD 9, none), in the running module too. DRBD's
    C(global_common.conf) is written only if it is the distribution's own and lacks C(usage-count no).
  - The migration account can be used for libvirt's C(virt-ssh-helper) only, from the peers' addresses; it has no
    shell session, no forwarding and no password. Who holds a node's migration key controls libvirt on its peers.
extends_documentation_fragment:
  - gantry.cluster.attributes
attributes:
  check_mode:
    support: full
    details: In check mode RV(migration_public_key) and the version of drbd-utils are null where the key has yet to be
      made, or the DRBD module has yet to be loaded.
  diff_mode:
    support: full
    details: Shows the content of the files. The private key never appears.
  idempotent:
    support: full
  platform:
    platforms: debian
author:
  - The gantry.cluster team (@gantry-cluster)
options:
  name:
    description:
      - Name of the node, as the registry has it; the same for every node that lists it in O(peers).
    type: str
    required: true
    aliases:
      - node
  address:
    description:
      - The node's address in the cluster network, for DRBD and migration. It must be on one of its interfaces.
    type: str
    required: true
  vg:
    description:
      - Volume group for the instances' disks. It must exist.
    type: str
    required: true
  vg_min_size_mib:
    description:
      - Refuse the node if O(vg) is smaller than this, in MiB.
    type: int
    default: 0
  migration_user:
    description:
      - System user that the peers' libvirt logs in as. It is made if it is missing, and must not be used otherwise.
    type: str
    default: gantry-migrate
  hypervisors:
    description:
      - What the node is to run, such as V(kvm), V(lxc) or V(xen-pv). Their libvirt drivers must be installed.
      - A node for Xen must be run by Xen already, as its dom0; it is refused otherwise. V(kvm) and Xen exclude each other.
    type: list
    elements: str
    default: [kvm]
  lvm_reject:
    description:
      - Further regular expressions of device names that LVM on the host shall not look at, such as the volumes of a
        second volume group. Without quotes, C(|) and backslashes.
    type: list
    elements: str
    default: []
  drbd_minor_count:
    description:
      - Number of DRBD devices the kernel module is prepared for. It counts when the module is loaded.
      - The module's own default when left out.
    type: int
  shutdown_timeout:
    description:
      - Seconds the guests have to shut down when the node goes down.
    type: int
    default: 120
  peers:
    description:
      - All nodes of the cluster, as the registry has them; this node may be among them. Other keys than those named
        here are ignored.
      - Needed of each are C(name), C(hostname) (C(uname -n)) and C(address). C(migration_public_key) and
        C(ssh_host_keys) are what this module returned there; a node without them gets no trust yet, and a warning
        says so.
      - The peers' migration keys, their host keys, and a block of lines in C(/etc/hosts) become exactly these. An
        empty list takes the trust away from all.
      - When left out, nothing that depends on other nodes is touched.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: Make the server a node
  gantry.cluster.node_prepare:
    name: "{{ inventory_hostname }}"
    address: 10.77.0.11
    vg: gantry
  register: prepared

- name: Make the node and its peers trust each other
  gantry.cluster.node_prepare:
    name: node1
    address: 10.77.0.11
    vg: gantry
    peers:
      - name: node1
        hostname: node1
        address: 10.77.0.11
        migration_public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6VMC1cp32Teynkeg8Mu+D1qf2IoH9BMgBl3b7ZxNtl
        ssh_host_keys:
          - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBKDGtWc1p0+FvD0Mz8OhJm1p9m0Pzq4uWyd8u1c8HkT
      - name: node2
        hostname: node2
        address: 10.77.0.12
        migration_public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDeBNXguVA5XJJchjLoin6pwwL/68SwHomnsmfnie7Nj
        ssh_host_keys:
          - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrdLUX6TgAz5O60QRCwOsZPFCQy56+NaDI/zy6wBQsp
"""

RETURN = r"""
actions:
  description: What was changed, or would be in check mode, in order.
  returned: always
  type: list
  elements: str
  sample:
    - load the kernel module drbd
    - write /etc/lvm/lvmlocal.conf
findings:
  description: What was left as it is and may do harm. Each also appears as a warning.
  returned: success
  type: list
  elements: str
  sample: []
hostname:
  description: The node's C(uname -n), which DRBD goes by.
  returned: success
  type: str
  sample: node1
lvm_filter:
  description: The C(global_filter) of LVM on this node.
  returned: success
  type: list
  elements: str
  sample:
    - r|^/dev/drbd|
    - r|^/dev/gantry/|
    - r|^/dev/mapper/gantry-[^-]|
migration_public_key:
  description: The node's public migration key, for O(peers) of the others.
  returned: success
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6VMC1cp32Teynkeg8Mu+D1qf2IoH9BMgBl3b7ZxNtl
reboot_reasons:
  description: What takes effect at the next boot only.
  returned: success
  type: list
  elements: str
  sample: []
reboot_required:
  description: Whether there are any RV(reboot_reasons).
  returned: success
  type: bool
  sample: false
ssh_host_keys:
  description: Public keys of the node's SSH server, for O(peers) of the others.
  returned: success
  type: list
  elements: str
  sample:
    - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBKDGtWc1p0+FvD0Mz8OhJm1p9m0Pzq4uWyd8u1c8HkT
versions:
  description: C(drbd) (kernel module), C(drbd_utils), C(kernel), C(libvirt) and C(lvm).
  returned: success
  type: dict
  sample:
    drbd: 8.4.11
    drbd_utils: 9.22.0
    kernel: 6.1.0-32-amd64
    libvirt: 9.0.0
    lvm: 2.03.16(2)
error:
  description: Why the server was refused, as C(code), C(what), C(found), C(expected) and C(mend).
  returned: failure
  type: dict
  sample:
    code: no_volume_group
    expected: gantry
    found: no volume group
    mend: vgcreate gantry /dev/DISK
    what: The volume group gantry is not on this node
"""

from ansible_collections.gantry.cluster.plugins.module_utils.node_module import run_module
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import prepare

try:
    import libvirt
except ImportError:
    libvirt = None  # it refuses, and says what to install


def work(module, executor):
    """Prepare the node as the module's parameters say."""
    result = prepare.prepare(executor, module.params, binding=libvirt)
    for finding in result["findings"]:
        module.warn(finding)
    return result


def main():
    """Entry point."""
    run_module({
        "name": {"type": "str", "required": True, "aliases": ["node"]},
        "address": {"type": "str", "required": True},
        "vg": {"type": "str", "required": True},
        "vg_min_size_mib": {"type": "int", "default": 0},
        "migration_user": {"type": "str", "default": "gantry-migrate"},
        "hypervisors": {"type": "list", "elements": "str", "default": ["kvm"]},
        "lvm_reject": {"type": "list", "elements": "str", "default": []},
        "drbd_minor_count": {"type": "int"},
        "shutdown_timeout": {"type": "int", "default": 120},
        "peers": {"type": "list", "elements": "dict"},
    }, work)


if __name__ == "__main__":
    main()
