# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DRBD's helper on a node, and what it makes possible: a copy that has missed something never looks current.

With ``fencing resource-only`` DRBD 8.4 calls a lone copy that has not met its peer since it came up *Consistent*
instead of UpToDate, and refuses to make it primary. In return it asks a helper about the peer whenever it is lost.
Ours answers "unreachable" (5): DRBD then calls the peer outdated if, and only if, the local copy was proven
current when the peer was lost. So a survivor can take over, and a primary that went on alone can come back alone.

DRBD asks also in the middle of a promotion, when the peer is lost after it was seen to be there and before the kernel has its
consent. Then the answer is no, or two primaries would part in the middle of a migration: :func:`together`.

Without the helper DRBD would refuse every takeover; so the option is used only where the loaded module calls ours.
"""

from __future__ import annotations

import contextlib
import os

from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text

#: Where the helper lies; the module parameter ``usermode_helper`` names it.
PATH = "/usr/local/sbin/gantry-drbd-helper"
PARAMETER = "/sys/module/drbd/parameters/usermode_helper"
#: Names of resources that are being promoted together with their peer or not at all; each file holds the number of the process.
TOGETHER = "/run/gantry/together"

TEXT = """\
#!/bin/sh
# Called by the DRBD module, see drbd.conf(5), handlers. Written by the Ansible collection gantry.cluster.
# fence-peer: 5 says that the peer is unreachable. DRBD calls it outdated if the copy here is UpToDate.
# 1 says that nothing is known of it: while a promotion runs that wants the peer there, it fails when the peer is lost.
if [ "$1" = fence-peer ]; then
    if { read -r process <"%(together)s/$2"; } 2>/dev/null && [ -d "/proc/$process" ]; then exit 1; fi
    exit 5
fi
exit 0
""" % {"together": TOGETHER}


def in_use():
    """True when the loaded module calls our helper and it can be run."""
    return (read_text(PARAMETER) or "").strip() == PATH and os.access(PATH, os.X_OK)


@contextlib.contextmanager
def together(name, folder=TOGETHER):
    """While this lasts, the resource is promoted only with its peer's consent, should the peer be lost meanwhile."""
    if not in_use():
        yield
        return
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii") as stream:
        stream.write("%d\n" % os.getpid())
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
