# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuild the registry from what the nodes hold."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import recover, report
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction

#: What node_register is given for a node, with the variable of its inventory host and the default.
SETTINGS = (
    ("address", "gantry_node_address", None), ("vg", "gantry_node_vg", "gantry"), ("group", "gantry_node_group", "default"),
    ("tags", "gantry_node_tags", []), ("migration_user", "gantry_migration_user", "gantry-migrate"),
    ("hypervisors", "gantry_node_hypervisors", ["kvm"]),
)


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        # what it holds is never shown: the action returns no invocation
        "memories": {"type": "dict", "required": True},
        "accept": {"type": "dict", "default": {}},
    }

    def act(self, arguments):
        """Write what is missing and return what became of every node and instance."""
        state = self._registry()
        memories = arguments["memories"]
        existing = {"instances": {}, "allocations": None} if state is None else state.content()
        rows = [self._node(state, name, answer) for name, answer in sorted(memories.items())]
        found = recover.merge(memories, existing, arguments["accept"])
        before, after = {}, {}
        for entry in found:
            if entry["result"] == recover.RESTORED:
                after[entry["name"]] = entry["record"]
                if not self.check_mode:
                    state.restore(entry["record"], entry["secrets"])
        rows += [self._row(entry) for entry in found]
        after.update({row["name"]: row.pop("record") for row in rows if "record" in row})
        return {
            "changed": bool(after), "recovered": rows, "diff": {"before": before, "after": after},
            "left_out": [row["name"] for row in rows if row["result"] == recover.LEFT_OUT],
            "table": report.table(["KIND", "NAME", "RESULT", "GENERATIONS", "NOTE"], [
                [row["kind"], row["name"], row["result"],
                 ", ".join("%s: %s" % item for item in sorted(row["generations"].items())) or "-", "; ".join(row["notes"])]
                for row in rows]),
        }

    def _registry(self):
        """The registry's state; None in check mode while there is none yet."""
        try:
            state = self.state()
            state.cluster()
            return state
        except GantryError as missing:
            if self.check_mode and missing.code in ("no_registry", "no_cluster"):
                return None
            raise

    def _node(self, state, name, answer):
        """Register one node as node_register does; one that is registered is left as it is."""
        row = {"kind": "node", "name": name, "generations": {}, "notes": [], "result": recover.KNOWN}
        if state is not None and name in state.nodes():
            return row
        memory = answer.get("memory") if answer.get("reachable") else None
        node = {key: self.variable_of(name, variable, default) for key, variable, default in SETTINGS}
        if memory is None:
            row["notes"].append("does not answer: %s" % answer.get("error"))
        elif not node["address"]:
            row["notes"].append("gantry_node_address is not set for it")
        elif not memory.get("migration_public_key"):
            row["notes"].append("it has no migration key, so it never was a node, or was made anew; run node_add for it")
        if row["notes"]:
            return dict(row, result=recover.LEFT_OUT)
        node.update(name=name, hostname=memory["hostname"], ssh_host_keys=memory["ssh_host_keys"],
                    migration_public_key=memory["migration_public_key"])
        if state is None:
            after = node
        else:
            _changed, _before, after = state.put_node(node, self.check_mode)
        row["notes"].append("whether it was offline or drained is not known: it is neither now")
        return dict(row, result=recover.RESTORED, record=after)

    @staticmethod
    def _row(entry):
        return {"kind": "instance", **{key: entry[key] for key in ("name", "uuid", "result", "generations", "notes")}}
