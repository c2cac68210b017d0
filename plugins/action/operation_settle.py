# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a step failed: decide from a fresh look where the instance lives and what may still be tidied."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.settle import settle
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts.view import view


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {
        "operation": {"type": "dict", "required": True},
        "observations": {"type": "list", "elements": "dict", "required": True},
    }

    def act(self, arguments):
        """Return what is safe to do now."""
        record = arguments["operation"]["instance"]
        picture = view(record, arguments["observations"])
        return dict(settle(record, picture), changed=False, picture=picture)
