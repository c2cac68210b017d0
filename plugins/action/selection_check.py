# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse a run that selects no instance, or all of them unasked."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "verb": {"type": "str", "required": True},
        "group": {"type": "str", "default": "gantry_instances"},
        "everything": {"type": "bool", "default": False},
    }

    def act(self, arguments):
        """Return the selected hosts."""
        known = set(self.vars["groups"].get(arguments["group"], []))
        hosts = sorted(known.intersection(self.vars["ansible_play_hosts_all"]))
        limit = self.vars.get("ansible_limit")
        if not hosts:
            raise GantryError(
                "Nothing to %s: no host of the group %s is selected" % (arguments["verb"], arguments["group"]),
                found="limit %s" % limit if limit else "the group is empty",
                expected="at least one of %d known" % len(known) if known else "declared or known hosts",
                mend="correct the limit (-l), or look at the names with ansible-inventory --graph %s" % arguments["group"],
                code="nothing_selected",
            )
        if not limit and not arguments["everything"]:
            raise GantryError(
                "Refusing to %s all %d hosts of %s unasked" % (arguments["verb"], len(hosts), arguments["group"]),
                found="no limit", expected="a limit that names what is meant",
                mend="add -l NAME (or a group, such as gantry_primary_node1), or -e gantry_all=true if all are meant",
                code="everything_selected",
            )
        return {"changed": False, "selected": hosts}
