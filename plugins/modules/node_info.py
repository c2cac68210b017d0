#!/usr/bin/python
# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's facts in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: Everything about a node in one reading
version_added: 1.0.0
description:
  - Reads the machine, its volume groups, the collection's logical volumes, DRBD, libvirt with its domains, and the node's
    own memory of instances, in one call.
  - A subsystem that fails or does not answer says so in its own part; the rest is still told. A libvirt daemon that hangs
    cannot hang the module.
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
  operation:
    description:
      - The operation as RV(gantry.cluster.operation_begin#module:generation) and the rest of that module's result.
      - Limits O(instances) to the operation's instance, unless that is given.
      - A node that the registry has marked offline is then not asked and counts as one that does not answer, unless it is the
        operation's returning node.
    type: dict
  instances:
    description:
      - Names or UUIDs of the instances whose domains and records are wanted. All when left out.
    type: list
    elements: str
  paths:
    description:
      - Files on the node to look at, such as images and kernels.
    type: list
    elements: path
    default: []
  hypervisors:
    description:
      - The hypervisors whose libvirt drivers are asked, the main one first. The action plugin takes them from the registry.
    type: list
    elements: str
    default: [kvm]
  timeout:
    description:
      - Seconds libvirt has to answer. The first call after a boot may take long on a slow node.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Read a node
  gantry.cluster.node_info:
  register: result

- name: Stop where LVM looks into the guests' disks
  ansible.builtin.assert:
    that: result.node_info.lvm_filter.rejects_drbd

- name: Read what concerns one instance
  gantry.cluster.node_info:
    instances:
      - web1.example.com
"""

RETURN = r"""
node:
  description: The node that was asked.
  returned: always
  type: str
reachable:
  description: Whether it answered. A node that does not is an observation, not a failure.
  returned: always
  type: bool
asked:
  description: Seconds since 1970 on the controller's clock, just before the node was asked.
  returned: always
  type: float
answered:
  description: The same, just after.
  returned: always
  type: float
node_info:
  description: What was seen, or null where the node did not answer.
  returned: always
  type: dict
  contains:
    hostname:
      description: Name of the node, as C(uname -n) has it.
      type: str
    time:
      description: Seconds since 1970 on the node's clock.
      type: float
    boot_id:
      description: Changes with every boot.
      type: str
    kernel:
      description: Release of the kernel.
      type: str
    architecture:
      description: As C(uname -m).
      type: str
    cpus:
      description: Number of processors.
      type: int
    memory_total_mib:
      description: Memory of the node in MiB.
      type: int
    memory_free_mib:
      description: Memory in MiB that can be had without swapping.
      type: int
    file_systems:
      description: C(size_mib) and C(free_mib) of each file system that the node's own work writes to, by folder.
      type: dict
      sample: {/: {size_mib: 7937, free_mib: 6861}}
    libvirt:
      description:
        - The daemon. C(ok), C(error), C(version), C(qemu_version), C(virt_caps) (Xen's own words for what it can, null where that
          is unknown), C(uri), C(domain_types), C(machines) (what each alias
          stands for), C(machine_list), C(cpu_models) (the processor models that a guest can be given whole) and C(drivers)
          (whether the driver of each URI has answered; C(ok) is true only if all have).
      type: dict
      sample:
        ok: true
        error: null
        version: 9.0.0
        qemu_version: 7.2.22
        uri: qemu:///system
        domain_types: [qemu]
        machines: {pc: pc-i440fx-7.2, q35: pc-q35-7.2}
        machine_list: [pc-i440fx-7.2, pc-q35-7.2]
        cpu_models: [Nehalem, Penryn, kvm64, qemu64]
        drivers: {"qemu:///system": true}
    domains:
      description:
        - The domains. C(name), C(uuid), C(state), C(reason), C(persistent), C(autostart), C(managed_save), C(memory_mib),
          C(memory_max_mib), C(vcpus), C(vcpus_max), C(cpu_time_ns), C(generation) and C(digest) (of the
          collection's mark, or null; the digest is that of the definition it was made with),
          C(arriving) (the node a migration is bringing it to; paused there, it has not run there yet) and
          C(job) (null, or C(type) with its progress; C(type) is C(unknown) where the job could not be read in time).
      type: list
      elements: dict
    drbd:
      description:
        - C(ok), C(error), C(kernel_version), C(utils_version), C(usermode_helper) (the program the kernel calls) and
          C(usermode_helper_runs) (whether it is there and can be run).
      type: dict
    drbd_resources:
      description: The resources that are up, by name.
      type: dict
    resource_files:
      description: The resources that have a file in C(/etc/drbd.d).
      type: list
      elements: str
    resource_bindings:
      description:
        - What each file of RV(node_info.resource_files) binds on this node. C(instance) (the UUID in the collection's
          mark, or null), C(minors), C(ports), C(private) (only its owner may read it) and C(error).
      type: dict
      sample:
        web1.example.com-disk0:
          instance: 6f1d0a52-8f0e-4c1b-9a3e-6f0d7d2f4a11
          minors: [0]
          ports: [11000]
          private: true
          error: null
    lvm:
      description: C(ok) and C(error).
      type: dict
    volume_groups:
      description: C(size_mib), C(free_mib), C(extent_mib) and C(missing_pvs) of each volume group.
      type: dict
    volumes:
      description: The collection's logical volumes. C(vg), C(name), C(size_mib), C(tags) and C(active).
      type: list
      elements: dict
    lvm_filter:
      description:
        - C(global_filter) (its patterns), C(rejects_drbd) (whether it keeps LVM off DRBD devices) and C(scan_lvs)
          (whether LVM looks into logical volumes).
      type: dict
    records:
      description: The node's memory of instances by UUID. C(generation) and C(record), or C(error).
      type: dict
    tcp_ports:
      description: The TCP ports that something listens on, the kernel's DRBD included.
      type: list
      elements: int
    addresses:
      description: The node's own IP addresses, without loopback.
      type: list
      elements: str
    bridges:
      description: The Linux bridges.
      type: list
      elements: str
    vlan_bridges:
      description: Those of them that know VLANs (C(vlan_filtering)).
      type: list
      elements: str
    ovs_bridges:
      description: The bridges of Open vSwitch.
      type: list
      elements: str
    tpm:
      description: What a guest's TPM needs, C(lacking) (packages that are not there) and C(hook) (whether libvirt's hook for
        a TPM on a mirrored disk is there).
      type: dict
    cpu:
      description: What tells its processor from another, the C(model) and a digest of its C(features). Null if unknown.
      type: dict
    pci_devices:
      description: Addresses of its PCI devices. Null if there is no such bus.
      type: list
      elements: str
    autostart_services:
      description: Whether services that start guests or disks by themselves are enabled. None may be.
      type: dict
      sample:
        libvirt-guests: false
        drbd: false
    shutdown_service:
      description: Whether the service is enabled that takes guests and disks down in order when the node goes down.
      type: bool
    migration:
      description: C(public_key) (the node's own, or null) and C(trusted_keys) (with which other nodes may migrate guests here).
      type: dict
    paths:
      description:
        - The files of O(paths). C(ok) (a file the emulator can read), C(error), C(format) (V(qcow2) or V(raw)),
          C(size_mib) and C(virtual_size_mib).
      type: dict
"""

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor, node_facts
from ansible_collections.gantry.cluster.plugins.module_utils.node_module import run_module


def work(module, executor):
    """Read the node."""
    drivers = hypervisor.drivers(module.params["hypervisors"])
    return {
        "node_info": node_facts.collect(
            executor, drivers, wanted=module.params["instances"], paths=module.params["paths"],
            timeout=module.params["timeout"]),
    }


def main():
    """Run the module."""
    run_module({
        "operation": {"type": "dict"},
        "instances": {"type": "list", "elements": "str"},
        "paths": {"type": "list", "elements": "path", "default": []},
        "hypervisors": {"type": "list", "elements": "str", "default": ["kvm"]},
        "timeout": {"type": "int", "default": 60},
    }, work)


if __name__ == "__main__":
    main()
