# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watcher saw and did, as a table and as data."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils import watch
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {"decided": {"type": "dict", "required": True}}

    def act(self, arguments):
        """Return rows and table; what became of an action is a variable of its instance."""
        decided, hosts = arguments["decided"], self.vars["hostvars"]
        outcomes = {}
        for action in decided["todo"]:
            name = action["name"]
            outcomes[name] = (hosts[name].get("gantry_watch_outcome") if name in hosts else None) or {}
        rows = watch.rows(decided, outcomes, self.check_mode)
        failures = ["%s of %s" % (row["did"], row["name"]) for row in rows if row["outcome"] == "failed"]
        return {"changed": False, "watched": rows, "failures": failures, "table": watch.table(rows)}
