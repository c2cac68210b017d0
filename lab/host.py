# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine that runs the lab has to have installed."""

from __future__ import annotations

import os
import pathlib
import shutil

from .config import ROOT, LabError
from .sources import KEYRING

# Package -> what shows that it is there (Debian keeps some tools out of an ordinary user's PATH).
PROOF = {
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-utils": "qemu-img",
    "mmdebstrap": "mmdebstrap",
    "e2fsprogs": "mke2fs",
    "nasm": "nasm",
    "openssh-client": "ssh",
    "swtpm": "swtpm",
    "debian-archive-keyring": str(KEYRING),
    "uidmap": "newuidmap",
}
# What root can do without: mmdebstrap builds in a user name space for everybody else.
NOT_FOR_ROOT = {"uidmap"}


def find(program: str) -> str | None:
    """The program's path, looked for in sbin too."""
    if program.startswith("/"):
        return program if pathlib.Path(program).exists() else None
    return shutil.which(program) or shutil.which(program, path="/usr/local/sbin:/usr/sbin:/sbin")


def packages(path: pathlib.Path) -> list:
    """The package names in a list with one a line, comments and blank lines left out."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def missing() -> list:
    """The packages of lab/host-packages.txt that are not there and that this user needs."""
    wanted = packages(ROOT / "lab" / "host-packages.txt")
    if os.geteuid() == 0:
        wanted = [name for name in wanted if name not in NOT_FOR_ROOT]
    return [name for name in wanted if not find(PROOF.get(name, name))]


def require() -> None:
    """Raises LabError with the one line that installs what is missing."""
    names = missing()
    if names:
        line = f"apt-get install -y --no-install-recommends {' '.join(names)}"
        raise LabError(f"this machine lacks packages that the lab needs; as root, run:\n\n    {line}\n")
