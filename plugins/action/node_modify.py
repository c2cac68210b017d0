# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change a node's flags, group and tags in the registry. A node that shows life is not marked offline."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan import flags


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "name": {"type": "str", "required": True},
        "offline": {"type": "bool"},
        "drained": {"type": "bool"},
        "group": {"type": "str"},
        "tags": {"type": "list", "elements": "str"},
        "observations": {"type": "list", "elements": "dict"},
        "proven_off": {"type": "bool", "default": False},
    }

    def act(self, arguments):
        """Return the record before and after. Without observations where they are needed, which nodes to look at."""
        name, state = arguments["name"], self.state()
        changes = {key: arguments[key] for key in ("offline", "drained", "group", "tags") if arguments[key] is not None}
        if "tags" in changes:
            changes["tags"] = sorted(set(changes["tags"]))
        if not changes:
            raise GantryError(
                "Nothing to change on node %s" % name, found="no new value", expected="a flag, a group or tags",
                mend="add for example -e gantry_drained=true", code="nothing_to_change",
            )
        seen = arguments["observations"]
        before = state.node(name)
        nodes = state.nodes()
        turns = "offline" in changes and changes["offline"] != bool(before.get("offline"))
        if turns and seen is None and not arguments["proven_off"]:
            return {"changed": False, "nodes": sorted(one for one, node in nodes.items() if one == name or not node.get("offline")),
                    "msg": "node %s is looked at first" % name}

        def guard(old, new):
            """Ask again with what is in the registry right before the write."""
            if bool(old.get("offline")) == bool(new.get("offline")) or arguments["proven_off"] and new["offline"]:
                return
            (flags.refuse_offline if new["offline"] else flags.refuse_online)(
                name, state.instances(), state.nodes(), seen or [])

        changed, before, after = state.modify_node(name, changes, guard, self.check_mode)
        return {"changed": changed, "nodes": [], "node_record": after, "diff": {"before": _shown(before), "after": _shown(after)},
                "msg": "node %s: %s" % (name, ", ".join("%s %s" % (key, after[key]) for key in sorted(changes)))}


def _shown(record):
    return {key: record.get(key) for key in ("name", "offline", "drained", "group", "tags")}
