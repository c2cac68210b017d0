# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What waits for the next start of the guests of a node: how they were defined, and how they are described by now."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import domain_compare, domain_state, hypervisor, libvirt_connection


def waiting(definitions):
    """Compare the definitions of running guests with the wanted ones.

    :param definitions: by UUID ``hypervisor`` (its name) and ``xml`` (the wanted definition).
    :returns: by UUID the differences as sentences; a guest that is not here, or off, is left out.
    :raises GantryError: a daemon does not answer.
    """
    connections, found = {}, {}
    for uuid, one in sorted(definitions.items()):
        backend = hypervisor.backend(one["hypervisor"])
        if backend.uri not in connections:
            connections[backend.uri] = libvirt_connection.open_local(backend)
        domain = domain_state.look_up(connections[backend.uri], uuid)
        seen = domain_state.read(domain) if domain else None
        if seen and seen["active"]:
            found[uuid] = domain_compare.sentences(domain_compare.differences(one["xml"], domain_state.kept_definition(domain)))
    for connection in connections.values():
        libvirt_connection.let_go(connection)
    return found
