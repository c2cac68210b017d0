# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hypervisor has to tell: where its libvirt driver is, what it can run, its parameters, the flags its calls take."""

from __future__ import annotations

from xml.etree import ElementTree

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError


class Hypervisor:
    """One libvirt driver. Flags are numbers, 0 where the driver knows none.

    The controller asks the same class for the parameters; nothing here needs libvirt but the ``binding`` that is handed in.
    """

    #: Ganeti's word for it, as in the record's ``hypervisor``.
    name = ""

    #: The local daemon.
    uri = ""

    #: The domain types (``<domain type=...>``) of this hypervisor, the best first.
    domain_types = ()

    #: Whether a running guest can move, and why not.
    live_migration = False
    why_no_migration = ""

    #: What libvirt's driver lets a migration be told: ``downtime``, ``bandwidth``, ``listen_address``, ``auto_converge``.
    migration_options = ()

    #: What follows "qemu" in libvirt's URI of another node's daemon: the driver's name.
    scheme = ""

    #: What a guest has to act on to be shut down, in words.
    power_button = "the ACPI power button"

    #: Whether the driver says which job works on a domain, and whether it can abort one.
    names_jobs = True
    aborts_jobs = True

    #: The parameters by name: :class:`parameters.Parameter`.
    parameters = {}

    #: How a network card may be connected: bridged, openvswitch, routed; ``vlan`` for a tag on a Linux bridge.
    nic_modes = ("bridged",)
    #: Whether a card can carry several VLANs.
    nic_trunks = True
    #: Models of network cards; none where there is one kind only. The model of each nic_type.
    nic_models = ()
    nic_types = {}

    #: Machine types: True where QEMU's versioned ones are pinned, else the one there is (None: no such notion).
    versioned_machines = False
    machine = None

    #: Most disks a guest can have; least it needs.
    most_disks = 16
    least_disks = 0

    def open(self, binding):
        """A connection to the local daemon."""
        return binding.open(self.uri)

    def remote_uri(self, user, address):
        """libvirt's URI of another node's daemon: SSH with a key that may do nothing but this."""
        return ("%s+ssh://%s@%s/system?keyfile=/etc/gantry/migration/id_ed25519"
                "&known_hosts=/etc/gantry/migration/known_hosts&proxy=native&no_tty=1") % (
                    self.scheme, user, "[%s]" % address if ":" in address else address)

    def defaults(self):
        """The parameters' values where no level says anything."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    def values_of(self, record):
        """The effective parameters of a record that a node was given; the defaults where it says nothing."""
        return dict(self.defaults(), **((record or {}).get("hvparams_effective") or {}))

    def nic_model(self, values):
        """The model of a card that was given none."""
        return self.nic_types.get(values.get("nic_type"))

    def conflicts(self, values, instance):
        """Parameters that do not go together, as sentences.

        :param values: the effective value of each parameter.
        :param instance: ``memory_mib``, ``vcpus``, ``machine``, ``disk_template``, ``disks`` and ``nics``.
        """
        return []

    def bound_to_node(self, values):
        """Why a running guest with these parameters cannot move, as sentences; empty when it can."""
        return [] if self.live_migration else [self.why_no_migration]

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

    def migrate_flags(self, binding, values=None):
        """Flags of ``migrateToURI3`` that every migration of a running guest has.

        :param values: the effective value of each parameter.
        :raises GantryError: this hypervisor cannot migrate.
        """
        raise GantryError(
            "Instances of hypervisor %s cannot be migrated live" % self.name, found=self.why_no_migration,
            mend="move it with instance_failover, which stops it here and starts it there", code="no_live_migration",
        )

    def virt_caps(self):
        """What the hypervisor itself says that it can do, as a list of words; None where that is unknown. Asked on a node."""
        return None

    def obstacle(self, values, virt_caps):
        """What the hypervisor of the node that a running guest is on cannot do to send it: ``{"what", "expected", "mend",
        "code"}``, or None. Pure.

        :param virt_caps: as :meth:`virt_caps` returns; what is unknown is not held against it.
        """
        return None

    def obstacle_behind(self, values, error):
        """The obstacle that libvirt's error of a migration which failed tells of, as :meth:`obstacle` returns it, or None. Pure.

        :param error: libvirt's words.
        """
        return None

    def resume(self, executor, domain):
        """Let a guest that was stopped for a migration which failed go on. May raise libvirt's error."""
        domain.resume()

    def ask_to_stop(self, binding, domain, values, asked):
        """Ask a guest to shut down, as its power button would. May raise libvirt's error.

        :param values: the effective value of each parameter.
        :param asked: how often it was asked before; that is done every few seconds until it is off.
        """
        domain.shutdownFlags(self.shutdown_flags(binding))

    def abilities(self, connection, architecture):
        """What the node's driver can run: ``domain_types``, ``machines``, ``machine_list``, ``cpu_models`` and ``virt_caps``."""
        return dict(
            self.parse_capabilities(connection.getCapabilities(), architecture), cpu_models=[], virt_caps=self.virt_caps())

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
