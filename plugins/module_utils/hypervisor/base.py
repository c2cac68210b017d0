# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hypervisor has to tell: where its libvirt driver is, what it can run, which flags its calls take."""

from __future__ import annotations

from xml.etree import ElementTree

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError


class Hypervisor:
    """One libvirt driver. Flags are numbers, 0 where the driver knows none."""

    #: Ganeti's word for it, as in the record's ``hypervisor``.
    name = ""

    #: The local daemon.
    uri = ""

    #: The domain types (``<domain type=...>``) of this hypervisor.
    domain_types = ()

    #: Whether a running guest can move.
    live_migration = False

    def define_flags(self, binding):
        """Flags of ``defineXMLFlags``: the XML is checked against libvirt's schema."""
        return binding.VIR_DOMAIN_DEFINE_VALIDATE

    def shutdown_flags(self, binding):
        """Flags of ``shutdownFlags``."""
        return 0

    def undefine_flags(self, binding, keep_firmware=False):
        """Flags of ``undefineFlags`` that leave nothing of the domain behind.

        :param keep_firmware: keep what the guest's firmware and its TPM have stored.
        """
        return 0

    def migrate_flags(self, binding):
        """Flags of ``migrateToURI3`` that every live migration has.

        :raises GantryError: this hypervisor cannot migrate.
        """
        raise GantryError(
            "Instances of hypervisor %s cannot be migrated live" % self.name,
            mend="stop the instance and use instance_failover", code="no_live_migration",
        )

    def parse_capabilities(self, text, architecture):
        """What libvirt's capabilities say about guests of an architecture.

        :param text: the XML of ``virConnectGetCapabilities``.
        :param architecture: as in ``uname -m``.
        :returns: ``domain_types``, ``machines`` (alias to the versioned name it stands for) and ``machine_list``.
        """
        types, machines, listed = [], {}, []
        for guest in ElementTree.fromstring(text).iter("guest"):
            arch = guest.find("arch")
            if arch is None or arch.get("name") != architecture:
                continue
            for domain in arch.iter("domain"):
                if domain.get("type") in self.domain_types and domain.get("type") not in types:
                    types.append(domain.get("type"))
            for machine in arch.iter("machine"):
                alias = (machine.text or "").strip()
                if machine.get("canonical"):
                    machines[alias] = machine.get("canonical")
                elif alias and alias not in listed:
                    listed.append(alias)
        listed.extend(name for name in sorted(set(machines.values())) if name not in listed)
        order = {kind: place for place, kind in enumerate(self.domain_types)}
        return {
            "domain_types": sorted(types, key=order.get), "machines": machines, "machine_list": sorted(listed),
        }


def version_text(number):
    """libvirt's number for a version (9000000) as text ("9.0.0")."""
    return "%d.%d.%d" % (number // 1000000, number // 1000 % 1000, number % 1000)
