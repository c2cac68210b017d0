# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module domain for an operation, with the domain's XML rendered on the controller."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep
from ansible_collections.gantry.cluster.plugins.plugin_utils.domain_template import DomainTemplates


class ActionModule(DomainTemplates, NodeStep):
    """See the module of the same name."""

    MODULE = "gantry.cluster.domain"
    #: States which may have to define the domain.
    _DEFINING = ("running", "defined", "rebooted")

    def prepare(self, arguments, operation):
        """Add the XML where the domain may have to be defined."""
        super().prepare(arguments, operation)
        arguments.setdefault("hypervisor", operation["instance"].get("hypervisor", "kvm"))
        if arguments.get("state", "running") in self._DEFINING:
            arguments.setdefault("xml", self.domain_xml(operation["instance"], self.variable("gantry_domain_template")))
