# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the instances that still fit."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils import room
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.report_file import write_file
from ansible_collections.gantry.cluster.plugins.plugin_utils.units import parse_mib


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "observations": {"type": "list", "elements": "dict", "required": True},
        "memory": {"type": "str"},
        "disk": {"type": "str"},
        "vcpus": {"type": "int"},
        "template": {"type": "str", "default": "drbd"},
        "limit": {"type": "int", "default": -1},
        "capacity_checks": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "file": {"type": "path"},
    }

    def act(self, arguments):
        """Count."""
        spec = {"cpus": arguments["vcpus"]}
        for key in ("memory", "disk"):
            spec[key] = parse_mib(arguments[key], "gantry_capacity_%s" % key) if arguments[key] else None
        state = self.state()
        found = room.capacity(state.cluster(), state.nodes(), state.instances(), arguments["observations"], spec, arguments["template"],
                              arguments["limit"], arguments["capacity_checks"], arguments["force"])
        text = found.pop("text")
        if arguments["file"]:
            write_file(arguments["file"], text, "The cluster's data", "gantry_placement_file")
        return dict(found, changed=False, lines=room.capacity_lines(found), msg="%d of the standard size" % found["standard"]["count"])
