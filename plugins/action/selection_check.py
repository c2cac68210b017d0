# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse a run that selects no instance, or all of them unasked."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_spec import check_name


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "verb": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str"},
        "group": {"type": "str", "default": "gantry_instances"},
        "everything": {"type": "bool", "default": False},
    }

    def act(self, arguments):
        """Return the selected hosts."""
        verb, group = arguments["verb"], arguments["group"]
        known = set(self.vars["groups"].get(group, []))
        if arguments["names"]:
            return {"changed": False, "selected": self._named(verb, arguments["names"], known)}
        hosts = sorted(known.intersection(self.vars["ansible_play_hosts_all"]))
        limit = self.vars.get("ansible_limit")
        if not hosts:
            raise GantryError(
                "Nothing to %s: no host of the group %s is selected" % (verb, group),
                found="limit %s" % limit if limit else "the group is empty",
                expected="at least one of %d known" % len(known) if known else "declared or known hosts",
                mend="correct the limit (-l), or look at the names with ansible-inventory --graph %s" % group,
                code="nothing_selected",
            )
        if not limit and not arguments["everything"]:
            raise GantryError(
                "Refusing to %s all %d hosts of %s unasked" % (verb, len(hosts), group),
                found="no limit", expected="a limit that names what is meant",
                mend="add -l NAME (or a group, such as gantry_primary_node1), or -e gantry_all=true if all are meant",
                code="everything_selected",
            )
        return {"changed": False, "selected": hosts}

    @staticmethod
    def _named(verb, names, known):
        names = [check_name(name.strip()) for name in names]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise GantryError(
                "Nothing to %s: unknown instance %s" % (verb, ", ".join(unknown)), found="%d known instances" % len(known),
                mend="look at the names with ansible-inventory --graph gantry_instances", code="nothing_selected",
            )
        return names
