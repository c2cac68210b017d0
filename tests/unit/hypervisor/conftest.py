# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real libvirt for the tests of domain templates."""

from __future__ import annotations

import pathlib
import shutil
import tempfile

import libvirt
import pytest
from private_libvirtd import Daemon


@pytest.fixture(scope="session")
def qemu():
    """A connection to a private daemon's QEMU driver."""
    # not below pytest's own folder, which only root may enter; a socket's path is short, too
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gantry-libvirt-"))
    folder.chmod(0o755)
    daemon = Daemon(folder)
    try:
        connection = libvirt.open(daemon.uri)
        yield connection
        connection.close()
    finally:
        daemon.stop()
        shutil.rmtree(folder)
