# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the cluster is as it should be."""

from __future__ import annotations

import os
import shutil
import tempfile
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import run_owner, verify
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
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
            write_report(arguments["junit"], output.junit(findings, level, name))
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


def write_report(path, text):
    """Write the file whole or not at all. :raises GantryError: it cannot be written."""
    folder, unfinished = os.path.dirname(os.path.abspath(path)), None
    try:
        handle, unfinished = tempfile.mkstemp(prefix=".cluster_verify.", dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        # mkstemp's mode would keep the CI server's collector out
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
    except OSError as error:
        if unfinished and os.path.exists(unfinished):
            os.unlink(unfinished)
        raise GantryError(
            "The JUnit file %s cannot be written" % path, found=error.strerror or str(error), expected="a file in a folder that is there",
            mend="correct gantry_verify_junit", code="unwritable",
        ) from error
