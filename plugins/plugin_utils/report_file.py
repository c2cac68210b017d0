# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports that are written to a file of the controller."""

from __future__ import annotations

import os
import tempfile

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError


def write_file(path, text, what, variable):
    """Write the file whole or not at all.

    :param what: what it is, for the error: "The JUnit file".
    :param variable: the variable that named it.
    :raises GantryError: it cannot be written.
    """
    folder, unfinished = os.path.dirname(os.path.abspath(path)), None
    try:
        handle, unfinished = tempfile.mkstemp(prefix=".gantry.", dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        # mkstemp's mode would keep others out, such as the CI server's collector
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
    except OSError as error:
        if unfinished and os.path.exists(unfinished):
            os.unlink(unfinished)
        raise GantryError(
            "%s %s cannot be written" % (what, path), found=error.strerror or str(error), expected="a file in a folder that is there",
            mend="correct %s" % variable, code="unwritable",
        ) from error
