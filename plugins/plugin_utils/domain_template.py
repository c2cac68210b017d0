# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a domain's template is found: what action plugins share that write a domain's XML."""

from __future__ import annotations

import os

from ansible.errors import AnsibleError

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import domain_xml


class DomainTemplates:
    """For an action plugin whose task stands in the role with the templates."""

    def domain_xml(self, record, template=None):
        """The XML of an instance's domain.

        :param template: the file that a variable names; None: the record's own, or the hypervisor's.
        :raises GantryError: there is no such template, or it does not render.
        """
        record = dict({"hypervisor": "kvm"}, **record)
        own = domain_xml.template_name(record)
        path = self._template_path(template or record.get("domain_template") or own)
        with open(path, encoding="utf-8") as stream:
            # a template that is a copy still finds the parts that ours are made of
            return domain_xml.render(record, stream.read(), source=path, folders=[
                os.path.dirname(path), os.path.dirname(self._template_path(own))])

    def _template_path(self, name):
        try:
            return self._find_needle("templates", name)
        except AnsibleError as missing:
            raise GantryError(
                "The domain template %s is not found" % name, mend="correct gantry_domain_template", code="bad_template",
            ) from missing
