# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers through libvirt's LXC driver: the node's kernel, a root file system on the instance's disk."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor import parameters as kinds
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.base import Hypervisor
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.parameters import Parameter

#: What libvirt's schema calls Linux's capabilities.
CAPABILITIES = (
    "audit_control", "audit_write", "block_suspend", "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "ipc_lock",
    "ipc_owner", "kill", "lease", "linux_immutable", "mac_admin", "mac_override", "mknod", "net_admin", "net_bind_service",
    "net_broadcast", "net_raw", "setgid", "setfcap", "setpcap", "setuid", "sys_admin", "sys_boot", "sys_chroot", "sys_module",
    "sys_nice", "sys_pacct", "sys_ptrace", "sys_rawio", "sys_resource", "sys_time", "sys_tty_config", "syslog", "wake_alarm",
)

PARAMETERS = {
    "init_path": Parameter(kinds.path, "/sbin/init"),
    "init_args": Parameter(kinds.arguments, []),
    "cpu_mask": Parameter(kinds.cpu_mask, "all", "cpu_mask"),
    "cpu_weight": Parameter(kinds.number(0, 262144), 0),
    "num_ttys": Parameter(kinds.number(1, 6), 1, "num_ttys"),
    "drop_capabilities": Parameter(
        kinds.words(*CAPABILITIES), ["mac_override", "mknod", "sys_boot", "sys_module", "sys_time"], "drop_capabilities"),
    "uid_base": Parameter(kinds.number(0, 4000000000), 0),
    "uid_count": Parameter(kinds.number(1, 65536 * 16), 65536),
    "reboot_behavior": Parameter(kinds.choice("reboot", "exit"), "reboot"),
}


class Lxc(Hypervisor):
    """libvirt's LXC driver."""

    name = "lxc"
    uri = "lxc:///system"
    scheme = "lxc"
    domain_types = ("lxc",)
    why_no_migration = "a container's processes belong to its node's kernel, and libvirt's LXC driver has no migration"
    nic_modes = ("bridged", "openvswitch")
    parameters = PARAMETERS
    most_disks = 1
    least_disks = 1

    def conflicts(self, values, instance):
        """See :meth:`Hypervisor.conflicts`."""
        found = []
        if not values["init_path"]:
            found.append("init_path is needed: the container's first process")
        if ":" in values["cpu_mask"]:
            found.append("cpu_mask: a container has no processors of its own, so there is one set for all of it")
        if 0 < values["uid_base"] < 65536:
            found.append("uid_base below 65536 would make the container's users those of the node")
        return found

    def parse_capabilities(self, text, architecture):
        """There are no machine types."""
        return dict(super().parse_capabilities(text, architecture), machines={}, machine_list=[])
