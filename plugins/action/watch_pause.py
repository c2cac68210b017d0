# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the watcher rest for a while, or say whether it does."""

from __future__ import annotations

import re
import time

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.actions import ControllerAction

#: Seconds of each unit.
UNITS = {"m": 60, "h": 3600, "d": 86400}


class ActionModule(ControllerAction):
    """See the module of the same name."""

    SPEC = {"pause": {"type": "str"}}

    def act(self, arguments):
        """Return until when it rests."""
        state = self.state()
        state.cluster()
        changed, until, diff = False, state.watch_pause(), {}
        if arguments["pause"] is not None:
            changed, before, until = state.put_watch_pause(_until(arguments["pause"], state.clock()), self.check_mode)
            diff = {"diff": {"before": {"until": _clock(before)}, "after": {"until": _clock(until)}}}
        return dict(diff, changed=changed, paused=until is not None, until=until,
                    msg="the watcher rests until %s" % _clock(until) if until else "the watcher does not rest")


def _until(pause, now):
    """Seconds since 1970, None to go on. :raises GantryError: no such time."""
    word = str(pause).strip().lower()
    if word in ("off", "no", "false", "0"):
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", word)
    if not match:
        raise GantryError(
            "The watcher cannot rest for that long", found=repr(pause), expected="a number with m, h or d, such as 2h; or off",
            mend="correct gantry_watch_pause", code="bad_pause",
        )
    return int(now) + int(match.group(1)) * UNITS[match.group(2)]


def _clock(seconds):
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds)) if seconds else "never"
