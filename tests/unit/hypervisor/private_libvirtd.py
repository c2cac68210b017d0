# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A libvirt daemon of this test run's own, with the real QEMU driver: it defines what a node's would define.

It is a session daemon in a folder of its own and runs as nobody where the tests run as root, because that needs none of
the accounts and folders that a distribution sets up for the system's daemon.
"""

from __future__ import annotations

import os
import subprocess
import time

PROGRAM = "/usr/sbin/libvirtd"
NOBODY = 65534


class Daemon:
    """Start it, use ``uri``, :meth:`stop` it."""

    def __init__(self, folder):
        self.folder = str(folder)
        owner = NOBODY if os.geteuid() == 0 else os.geteuid()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "LIBVIRT_"))}
        for name in ("run", "config", "cache", "data"):
            path = os.path.join(self.folder, name)
            os.makedirs(path, mode=0o700)
            os.chown(path, owner, -1)
            environment["XDG_RUNTIME_DIR" if name == "run" else "XDG_%s_HOME" % name.upper()] = path
        environment["HOME"] = self.folder
        more = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        with open(os.path.join(self.folder, "log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([PROGRAM], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **more)
        self.socket = os.path.join(self.folder, "run", "libvirt", "libvirt-sock")
        self.uri = "qemu+unix:///session?socket=" + self.socket
        end = time.monotonic() + 60
        while not os.path.exists(self.socket):
            assert self.process.poll() is None and time.monotonic() < end, "libvirtd did not start; see %s/log" % self.folder
            time.sleep(0.05)

    def stop(self):
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
