# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where instances go: pure arithmetic on numbers, knowing neither Ansible, libvirt nor the registry.

:func:`choose` is the seam of ``instance_add``: one request, the nodes as plain dicts, no numpy. The engine (balance,
allocation, capacity, rolling reboots, squeeze) works on :class:`.model.Cluster`; ``docs/placement.md`` explains it.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.simple import choose, refusals, reserve

__all__ = ["choose", "refusals", "reserve"]
