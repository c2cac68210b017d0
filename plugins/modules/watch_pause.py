# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: watch_pause
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Let the watcher rest for a while
description:
  - Writes into the registry until when C(cluster_watch) is to do nothing, or takes that back. Without O(pause) it only says
    whether the watcher rests.
  - A pause ends by itself. It holds for every controller that uses this registry.
extends_documentation_fragment:
  - gantry.cluster.attributes
  - gantry.cluster.controller
  - gantry.cluster.controller.registry
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - A pause is counted from now on, so each run moves its end.
options:
  pause:
    description:
      - For how long, a number with C(m), C(h) or C(d), such as V(2h). With V(off) the watcher goes on.
    type: str
"""

EXAMPLES = r"""
- name: Keep the watcher away during maintenance
  gantry.cluster.watch_pause:
    pause: 2h
  run_once: true

- name: Let it go on
  gantry.cluster.watch_pause:
    pause: "off"
  run_once: true
"""

RETURN = r"""
paused:
  description: Whether the watcher rests now.
  returned: success
  type: bool
  sample: true
until:
  description: Until when, in seconds since 1970. None when it does not rest.
  returned: success
  type: int
  sample: 1795369302
error:
  description: Why it failed, part by part. Its C(code) is for example V(bad_pause), V(no_cluster) or V(no_registry).
  returned: failure
  type: dict
  sample:
    code: bad_pause
    what: The watcher cannot rest for that long
    found: "'tomorrow'"
    expected: a number with m, h or d, such as 2h; or off
    mend: correct gantry_watch_pause
"""
