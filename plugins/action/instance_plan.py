# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the instances of a run: check what is declared, choose nodes, settle what the records will say."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_plan import explanation, paths_of, plan
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_spec import VARIABLES, parse


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "names": {"type": "list", "elements": "str", "required": True},
        "observations": {"type": "list", "elements": "dict"},
        "capacity_checks": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
    }

    def act(self, arguments):
        """Without observations: only check what is declared, and name what has to be looked at."""
        specs = [parse(name, self._declared(name)) for name in arguments["names"]]
        state = self.state()
        settings = state.cluster()
        nodes = state.nodes()
        if arguments["observations"] is None:
            return {"changed": False, "nodes": _to_ask(specs, nodes), "paths": _paths(specs, settings, nodes)}
        plans = plan(specs, state.instances(), nodes, arguments["observations"], settings, arguments["capacity_checks"],
                     arguments["force"])
        return {"changed": False, "plans": plans, "msg": ["%s: %s" % (name, plans[name]["why"]) for name in sorted(plans)],
                "explanation": explanation(plans)}

    def _declared(self, name):
        return {variable: self.variable_of(name, variable) for variable in VARIABLES}


def _to_ask(specs, nodes):
    """The nodes whose state the plan needs: the named ones where every instance names all of its own, else all."""
    named = set()
    for spec in specs:
        count = 2 if spec["disk_template"] == "drbd" else 1
        own = [node for node in (spec["primary"], spec["secondary"]) if node]
        if len(own) < count:
            return sorted(name for name, node in nodes.items() if not node.get("offline"))
        named.update(own)
    return sorted(name for name in named if name in nodes)


def _paths(specs, settings, nodes):
    return sorted({path for spec in specs for path in paths_of(spec, settings, nodes)})
