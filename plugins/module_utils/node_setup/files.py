# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's files, and the steps that write them."""

from __future__ import annotations

import os
import stat

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text


class Files:
    """The node's files, below a root folder ("/" but in tests)."""

    def __init__(self, root="/"):
        self.root = root

    def path(self, path):
        """Where the file is."""
        return os.path.join(self.root, path.lstrip("/"))

    def text(self, path):
        """A file's text, or None.

        :raises GantryError: it is not text.
        """
        try:
            return read_text(self.path(path))
        except UnicodeDecodeError as broken:
            raise GantryError("The file %s is not in UTF-8" % path, found=str(broken), mend="correct that line",
                              code="not_text") from broken

    def value(self, path):
        """A one-line file's content, or None."""
        text = self.text(path)
        return None if text is None else text.strip()

    def exists(self, path):
        """Whether the file or folder is there."""
        return os.path.exists(self.path(path))

    def names(self, path):
        """The names in a folder, sorted; empty when there is none."""
        try:
            return sorted(os.listdir(self.path(path)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def mode(self, path, default):
        """A file's permission bits."""
        try:
            return stat.S_IMODE(os.stat(self.path(path)).st_mode)
        except FileNotFoundError:
            return default


def write(executor, files, path, text, mode):
    """Write a file of the node when it differs. Returns True when it did."""
    return executor.write_file(files.path(path), text, mode=mode, what="write %s" % path)


def make_folders(executor, files, path, mode=0o755):
    """Make a folder and all that is missing above it, each with this mode."""
    missing, parent = [], path
    while not files.exists(parent):
        missing.insert(0, files.path(parent))
        parent = os.path.dirname(parent)
    if missing:
        executor.call("make the folder %s" % path, _make_folders, missing, mode)


def _make_folders(paths, mode):
    for path in paths:
        os.mkdir(path)
        os.chmod(path, mode)  # whatever the umask is


def set_mode(executor, files, path, mode):
    """Correct the permission bits of a file or folder that is there."""
    if files.mode(path, mode) != mode:
        executor.call("set the mode of %s to %04o" % (path, mode), os.chmod, files.path(path), mode)
