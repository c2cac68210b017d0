# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU: with KVM where the machine has it, in emulation elsewhere."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.base import Hypervisor


class Kvm(Hypervisor):
    """libvirt's QEMU driver."""

    name = "kvm"
    uri = "qemu:///system"
    domain_types = ("kvm", "qemu")
    live_migration = True

    def shutdown_flags(self, binding):
        """The power button: needs no agent in the guest."""
        return binding.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN

    def undefine_flags(self, binding, keep_firmware=False):
        """Whatever libvirt may keep beside the definition goes with it."""
        flags = (
            binding.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | binding.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | binding.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        )
        if keep_firmware:
            return flags | binding.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | getattr(binding, "VIR_DOMAIN_UNDEFINE_KEEP_TPM", 0)
        return flags | binding.VIR_DOMAIN_UNDEFINE_NVRAM | getattr(binding, "VIR_DOMAIN_UNDEFINE_TPM", 0)

    def migrate_flags(self, binding):
        """Peer to peer: the source's daemon carries it on when we die. The definition moves with the guest.

        Paused, because libvirt's own last step is not safe: the target resumes the guest and answers, and when
        that answer is lost (its daemon dies, the link breaks) the source resumes it too, and it runs twice.
        """
        return (
            binding.VIR_MIGRATE_LIVE | binding.VIR_MIGRATE_PEER2PEER | binding.VIR_MIGRATE_PERSIST_DEST
            | binding.VIR_MIGRATE_UNDEFINE_SOURCE | binding.VIR_MIGRATE_CHANGE_PROTECTION
            | binding.VIR_MIGRATE_ABORT_ON_ERROR | binding.VIR_MIGRATE_PAUSED
        )
