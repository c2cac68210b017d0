# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the cluster is as it should be."""

from __future__ import annotations

import shutil
import time

from ansible_collections.gantry.cluster.plugins.plugin_utils import run_owner, verify
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.report_file import write_file
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify import output


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "content": {"type": "dict", "required": True},
        "before": {"type": "dict"},
        "observations": {"type": "list", "elements": "dict", "required": True},
        "ignore": {"type": "list", "elements": "str", "default": []},
        "level": {"type": "str", "choices": ["error", "warning"], "default": "error"},
        "junit": {"type": "path"},
    }

    def act(self, arguments):
        """Judge, and write the JUnit file."""
        content, level = arguments["content"], arguments["level"]
        # refused before the work, not after it
        verify.ignore([], arguments["ignore"])
        findings = verify.verify(content, arguments["observations"], self._controller(content), arguments["before"])
        findings = verify.ignore(findings, arguments["ignore"])
        if arguments["junit"]:
            name = (content.get("cluster") or {}).get("name") or "cluster"
            write_file(arguments["junit"], output.junit(findings, level, name), "The JUnit file", "gantry_verify_junit")
        return {
            "changed": False, "findings": findings, "counts": verify.counts(findings), "worst": verify.worst(findings),
            "passed": not any(verify.reaches(finding, level) for finding in findings),
            "lines": [output.line(finding) for finding in findings], "table": output.table(findings),
            "summary": output.summary(findings), "junit": arguments["junit"],
        }

    def _controller(self, content):
        """What only the controller knows, see :func:`verify.verify`."""
        this, hosts = run_owner.this_run(), self.vars["hostvars"]
        nodes = sorted(content.get("nodes") or {})
        listed = [node for node in nodes if node in hosts]
        return {
            "time": time.time(),
            "holders": {name: holder(lock, this) for name, lock in (content.get("locks") or {}).items()},
            "unlisted": [node for node in nodes if node not in listed],
            "fence": {node: fence_methods(self.variable_of(node, "gantry_fence")) for node in listed},
        }


def holder(lock, this):
    """Whether the run that holds the lock lives: alive, dead or unknown."""
    owner = lock.get("owner") if isinstance(lock, dict) else None
    if not isinstance(owner, dict) or not isinstance(owner.get("pid"), int):
        return "unknown"
    return run_owner.liveness(owner, this)


def fence_methods(methods):
    """How many fence devices there are, and which of their agents cannot be run here.

    :param methods: a node's variable gantry_fence, whatever it holds.
    """
    agents = [str(method["agent"]) for method in methods if isinstance(method, dict) and method.get("agent")] if isinstance(
        methods, list) else []
    return {"methods": len(agents), "missing": sorted({agent for agent in agents if shutil.which(agent) is None})}
