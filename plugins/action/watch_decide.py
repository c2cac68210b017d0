# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide what the watcher does in this run, and write down that it is about to do it."""

from __future__ import annotations

import time

from ansible_collections.gantry.cluster.plugins.plugin_utils import run_owner, watch
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "content": {"type": "dict", "required": True},
        "observations": {"type": "list", "elements": "dict", "required": True},
        "tries": {"type": "int", "default": watch.DEFAULTS["tries"]},
        "backoff": {"type": "int", "default": watch.DEFAULTS["backoff"]},
        "expire": {"type": "int", "default": watch.DEFAULTS["expire"]},
        "user_shutdown": {"type": "str", "choices": ["leave", "restart"], "default": watch.DEFAULTS["user_shutdown"]},
        "failover": {"type": "bool", "default": watch.DEFAULTS["failover"]},
        "unreachable_runs": {"type": "int", "default": watch.DEFAULTS["unreachable_runs"]},
    }

    def act(self, arguments):
        """Return the actions. The tries are counted before anything is done, so a watcher that dies counts too."""
        content, state = arguments["content"], self.state()
        settings = {key: arguments[key] for key in arguments if key not in ("content", "observations")}
        before, revisions = state.watch_history()
        now = state.instances()
        seen = {
            "nodes": content["nodes"], "instances": content["instances"], "observations": arguments["observations"],
            "locks": self._with_liveness({**content["locks"], **state.locks()}),
            "fenced": [name for name in content["nodes"] if self._fenced(name)],
            "moved": [name for name, record in content["instances"].items() if now.get(name) != record],
        }
        decided = watch.decide(seen, before, settings, time.time())
        after = decided.pop("history")
        changed = state.put_watch_history(before, revisions, after, self.check_mode)
        todo = [action for action in decided["actions"] if action["do"] != watch.NOTE]
        return dict(decided, changed=changed, todo=todo, history=after, diff={"before": before, "after": after})

    @staticmethod
    def _with_liveness(locks):
        run = run_owner.this_run()
        return {name: dict(lock, liveness=run_owner.liveness(lock["owner"], run)) for name, lock in locks.items()}

    def _fenced(self, node):
        return node in self.vars["hostvars"] and bool(self.variable_of(node, "gantry_fence"))
