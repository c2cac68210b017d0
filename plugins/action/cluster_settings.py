# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create the cluster in the registry, or bring its settings up to date."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.allocator import check_program
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_spec import check_name
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats.registry import check_settings
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import hide_password


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "name": {"type": "str", "required": True},
        "mac_prefix": {"type": "str"},
        "iallocator": {"type": "str"},
        "tags": {"type": "list", "elements": "str"},
        "ipolicy": {"type": "dict"},
        "groups": {"type": "dict"},
        "hvparams": {"type": "dict"},
    }

    def act(self, arguments):
        """Return the settings."""
        settings = {"name": check_name(arguments["name"])}
        if arguments["mac_prefix"]:
            settings["mac_prefix"] = _check_prefix(arguments["mac_prefix"])
        if arguments["iallocator"] is not None:
            settings["iallocator"] = check_program(arguments["iallocator"])
        for key in ("tags", "ipolicy", "groups", "hvparams"):
            if arguments[key] is not None:
                settings[key] = arguments[key]
        check_settings(settings)
        settings = hvparams.check_settings(settings)
        url = self.registry_url()
        if self.check_mode:
            try:
                changed, before, after = self.state().init(settings, check_mode=True)
            except GantryError as missing:
                if missing.code != "no_registry":
                    raise
                changed, before, after = True, {}, settings
        else:
            changed, before, after = self.state(create=True).init(settings)
        return {"changed": changed, "cluster": after, "registry": hide_password(url), "diff": {"before": before, "after": after}}


def _check_prefix(prefix):
    parts = str(prefix).lower().split(":")
    if len(parts) != 3 or not all(len(part) == 2 and set(part) <= set("0123456789abcdef") for part in parts) \
            or int(parts[0], 16) & 1:
        raise GantryError(
            "The MAC prefix cannot be used", found=repr(prefix), expected="three bytes of a unicast address, such as 52:54:00",
            code="bad_mac_prefix",
        )
    return ":".join(parts)
