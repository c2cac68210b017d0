# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances and nodes as a table and as data."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition
from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams, report
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.domain_template import DomainTemplates


class ActionModule(DomainTemplates, ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "content": {"type": "dict", "required": True},
        "observations": {"type": "list", "elements": "dict", "required": True},
        "names": {"type": "list", "elements": "str"},
        "waiting": {"type": "list", "elements": "dict"},
    }

    def act(self, arguments):
        """Return rows and tables."""
        content, observations = arguments["content"], arguments["observations"]
        waiting = {uuid: lines for answer in arguments["waiting"] or [] for uuid, lines in answer["waiting"].items()}
        instances = report.instances(
            content["instances"], observations, content["locks"], arguments["names"], content.get("cluster"), waiting)
        nodes = report.nodes(content["nodes"], observations, content["instances"])
        result = {
            "changed": False, "table": report.instance_table(instances), "nodes": nodes, "node_table": report.node_table(nodes),
            "unsure": {} if arguments["waiting"] is not None else self._unsure(content, observations, arguments["names"]),
        }
        result["instances"] = [{k: v for k, v in row.items() if not k.startswith("_")} for row in instances]
        return result

    def _unsure(self, content, observations, names):
        """By node the wanted definitions of its guests that were started with another one, as domain_pending takes them."""
        found = {}

        def digest(record):
            """The digest; None where the definition cannot be written, which is for the verb to tell that needs it."""
            try:
                found[record["uuid"]] = self._definition(record, content.get("cluster") or {})
            except GantryError:
                return None
            return domain_definition.digest(found[record["uuid"]])

        unsure = {}
        for node, records in report.defined_otherwise(content["instances"], observations, names, digest).items():
            for record in records:
                if record["uuid"] in found:
                    unsure.setdefault(node, {})[record["uuid"]] = {
                        "hypervisor": record.get("hypervisor", "kvm"), "xml": found[record["uuid"]]}
        return unsure

    def _definition(self, record, settings):
        if record.get("hypervisor", "kvm") not in hypervisors.BACKENDS:
            raise GantryError("Unknown hypervisor %s" % record["hypervisor"], code="unknown_hypervisor")
        template = self.variable_of(record["name"], "gantry_domain_template") if record["name"] in self.vars["hostvars"] else None
        return self.domain_xml(hvparams.refresh(dict({"hypervisor": "kvm"}, **record), settings), template)
