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

#: What may end a container that does not read its initctl pipe, besides systemd's own signal: libvirt's number of each, which is Linux's.
STOP_SIGNALS = {"SIGTERM": 15, "SIGINT": 2, "SIGPWR": 30, "SIGUSR1": 10, "SIGUSR2": 12}

#: systemd halts on the C library's SIGRTMIN+3, whose SIGRTMIN is 34. To an init that does not know it, it is nothing:
#: the kernel keeps from a container's first process what that has no handler for.
SYSTEMD_HALT = 37

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
    "stop_signal": Parameter(kinds.choice(*STOP_SIGNALS), "SIGTERM"),
}


class Lxc(Hypervisor):
    """libvirt's LXC driver."""

    name = "lxc"
    uri = "lxc:///system"
    scheme = "lxc"
    domain_types = ("lxc",)
    why_no_migration = "a container's processes belong to its node's kernel, and libvirt's LXC driver has no migration"
    power_button = "a request on its /dev/initctl, on SIGRTMIN+3 (systemd) or on the parameter stop_signal"
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

    def shutdown_flags(self, binding):
        """The pipe that init reads; see :meth:`ask_to_stop` for those that have none."""
        return binding.VIR_DOMAIN_SHUTDOWN_INITCTL

    def ask_to_stop(self, binding, domain, values, asked):
        """Whoever is init understands one of these: its pipe, systemd's signal, and, when both were not heard, ``stop_signal``.

        Flags of 0, which should try the pipe and then SIGTERM, do not: where there is no pipe libvirt believes that it has
        asked, and sends no signal.
        """
        if asked % 2:
            domain.sendProcessSignal(1, STOP_SIGNALS[values["stop_signal"]], 0)
            return
        try:
            super().ask_to_stop(binding, domain, values, asked)
        except binding.libvirtError as error:
            if error.get_error_code() != binding.VIR_ERR_OPERATION_UNSUPPORTED:
                raise
        domain.sendProcessSignal(1, SYSTEMD_HALT, 0)

    def parse_capabilities(self, text, architecture):
        """There are no machine types."""
        return dict(super().parse_capabilities(text, architecture), machines={}, machine_list=[])
