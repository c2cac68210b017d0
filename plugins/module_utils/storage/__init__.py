# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage backends by disk template: one file and one class each, with the methods of :class:`base.Backend`.

Ansible sends a module only what is imported by name, so each backend is imported here and found in the table.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.storage.drbd import Drbd
from ansible_collections.gantry.cluster.plugins.module_utils.storage.plain import Plain

BACKENDS = {backend.TEMPLATE: backend for backend in (Drbd, Plain)}


def backend(template):
    """The class for a disk template.

    :raises GantryError: no such template.
    """
    if template not in BACKENDS:
        raise GantryError(
            "The disk template %s is not known" % template, expected="one of " + ", ".join(sorted(BACKENDS)),
            mend="correct the instance's disk_template", code="bad_template",
        )
    return BACKENDS[template]
