# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps what Python compiles out of zip files: under emulation a third of every call that Ansible makes on a node.

Ansible sends each module as a zip file, whose sources Python compiles anew each time. Loaded by gantry_lab_zip_cache.pth.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import zipimport

_compile = zipimport._compile_source
_FOLDER = "/var/cache/gantry-lab-zip"


def _cached(pathname, source):
    inner = pathname.rpartition(".zip")[2] or pathname
    key = hashlib.sha1(inner.encode() + b"\0" + bytes(source)).hexdigest()
    path = os.path.join(_FOLDER, key)
    try:
        with open(path, "rb") as stream:
            return marshal.load(stream)
    except (OSError, ValueError, EOFError, TypeError):
        pass
    code = _compile(pathname, source)
    try:
        os.makedirs(_FOLDER, mode=0o700, exist_ok=True)
        with open("%s.%d" % (path, os.getpid()), "wb") as stream:
            marshal.dump(code, stream)
        os.replace("%s.%d" % (path, os.getpid()), path)
    except OSError:
        pass
    return code


zipimport._compile_source = _cached
