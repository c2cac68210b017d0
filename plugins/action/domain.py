# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module domain for an operation, with the domain's XML rendered on the controller."""

from __future__ import annotations

import os

from ansible.errors import AnsibleError
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import domain_xml
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import NodeStep


class ActionModule(NodeStep):
    """See the module of the same name."""

    MODULE = "gantry.cluster.domain"
    #: States which may have to define the domain.
    _DEFINING = ("running", "defined", "rebooted")

    def prepare(self, arguments, operation):
        """Add the XML where the domain may have to be defined."""
        super().prepare(arguments, operation)
        arguments.setdefault("hypervisor", operation["instance"].get("hypervisor", "kvm"))
        if arguments.get("state", "running") in self._DEFINING:
            arguments.setdefault("xml", self._xml(operation["instance"]))

    def _xml(self, record):
        record = dict({"hypervisor": "kvm"}, **record)
        own = domain_xml.template_name(record)
        name = self.variable("gantry_domain_template") or record.get("domain_template") or own
        path = self._path(name)
        with open(path, encoding="utf-8") as stream:
            # a template that is a copy still finds the parts that ours are made of
            return domain_xml.render(record, stream.read(), source=path, folders=[
                os.path.dirname(path), os.path.dirname(self._path(own))])

    def _path(self, name):
        try:
            return self._find_needle("templates", name)
        except AnsibleError as missing:
            raise GantryError(
                "The domain template %s is not found" % name, mend="correct gantry_domain_template", code="bad_template",
            ) from missing
