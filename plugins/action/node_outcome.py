# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each instance at the end of a verb on a node."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import report
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {"plan": {"type": "dict", "required": True}}

    def act(self, arguments):
        """Return the rows, the table, and the sentence to fail with if any was left."""
        plan = arguments["plan"]
        subject = plan.get("subject") or "node %s" % plan["node"]
        hostvars = self.vars["hostvars"]
        ends = {}
        for entry in plan["instances"]:
            name = entry["name"]
            known = name in hostvars
            ends[name] = {"done": bool(known and self.variable_of(name, "gantry_steps_done")),
                          "failure": self.variable_of(name, "gantry_steps_failure") if known else None}
        rows = report.node_outcome(plan, ends)
        left = [row for row in rows if row["outcome"] == "left"]
        failure = None
        if left:
            failure = GantryError(
                "%d of %d instances of %s were left" % (len(left), len(rows), subject),
                found="; ".join("%s: %s" % (row["name"], row["detail"]) for row in left), expected="none left",
                mend="mend what is said of each, then run the same command again: it goes on with what is left",
            ).sentence()
        return {"changed": False, "instances": rows, "table": report.outcome_table(rows), "failure": failure,
                "msg": "%s: %s" % (subject, "%d instances" % len(rows) if rows else "nothing was to be done")}
