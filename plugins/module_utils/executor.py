# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The single place where a node is changed: check mode, the list of changes and the diff come from here.

Logic reads with :meth:`Executor.read` at any time; everything that changes the node passes through
``change``, ``call``, ``write_file`` or ``remove_file``, which note the change and, in check mode, stop there.
"""

from __future__ import annotations

import os
import subprocess
import tempfile

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: Commands speak English and find the administrator's tools whatever the login shell was.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "LVM_SUPPRESS_FD_WARNINGS": "1",
}


class Result:
    """What a command answered: ``rc``, ``out`` and ``err`` (text)."""

    def __init__(self, rc, out, err):
        self.rc = rc
        self.out = out
        self.err = err


class Executor:
    """Runs commands and calls for one module run.

    :param check_mode: note changes, make none.
    :param timeout: seconds any single command may take.
    """

    def __init__(self, check_mode=False, timeout=600):
        self.check_mode = check_mode
        self.timeout = timeout
        self.changes = []
        self.diffs = []

    @property
    def changed(self):
        """True when something was changed (or would be, in check mode)."""
        return bool(self.changes)

    def read(self, argv, ok=(0,), stdin=None):
        """Run a command that changes nothing.

        :param argv: the command as a list, never through a shell.
        :param ok: accepted exit codes; None accepts all.
        :raises GantryError: the command is missing, too slow or answered another code.
        """
        return self._run(argv, ok, stdin)

    def change(self, what, argv, ok=(0,), stdin=None):
        """Run a command that changes the node; returns None in check mode.

        :param what: the change in plain words, past tense free: "create volume vg0/web1-disk0 (1024 MiB)".
        """
        self.changes.append(what)
        if self.check_mode:
            return None
        return self._run(argv, ok, stdin)

    def call(self, what, function, *args, **kwargs):
        """Call a function that changes the node (a libvirt call); returns None in check mode."""
        self.changes.append(what)
        if self.check_mode:
            return None
        return function(*args, **kwargs)

    def write_file(self, path, content, mode=0o600, what=None, secret=False, note=True):
        """Replace a file atomically and durably when its content or mode differs. Returns True when it differed.

        :param content: text.
        :param secret: leave the content out of the diff.
        :param note: False for bookkeeping that must not make a second run "changed".
        """
        before = read_text(path)
        if before == content and (os.stat(path).st_mode & 0o7777) == mode:
            return False
        if note:
            self.changes.append(what or "write %s" % path)
            if not secret:
                self.diffs.append({
                    "before_header": path, "after_header": path,
                    "before": before or "", "after": content,
                })
        if self.check_mode:
            return True
        folder = os.path.dirname(path)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix="." + os.path.basename(path))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                os.fchmod(stream.fileno(), mode)
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(temporary, path)
            sync_folder(folder)
        except OSError:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        return True

    def remove_file(self, path, what=None, note=True):
        """Remove a file if it is there. Returns True when it was."""
        if not os.path.lexists(path):
            return False
        if note:
            self.changes.append(what or "remove %s" % path)
        if not self.check_mode:
            os.unlink(path)
            sync_folder(os.path.dirname(path))
        return True

    def diff(self):
        """The diff for ``exit_json``: file diffs, then the list of changes as text."""
        steps = {"before": "", "after": "".join("%s\n" % line for line in self.changes), "after_header": "changes"}
        return self.diffs + ([steps] if self.changes else [])

    def _run(self, argv, ok, stdin):
        try:
            done = subprocess.run(
                argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                encoding="utf-8", errors="replace", timeout=self.timeout, check=False,
                env=dict(os.environ, **ENVIRONMENT),
            )
        except FileNotFoundError as missing:
            raise GantryError(
                "The command %s is not installed on this node" % argv[0],
                mend="run the playbook node_add for this node", code="missing_command",
            ) from missing
        except subprocess.TimeoutExpired as late:
            raise GantryError(
                "The command '%s' did not end within %s s" % (" ".join(argv), self.timeout), code="command_timeout",
            ) from late
        if ok is not None and done.returncode not in ok:
            raise GantryError(
                "The command '%s' failed with exit code %s" % (" ".join(argv), done.returncode),
                found=(done.stderr.strip() or done.stdout.strip() or "no message"), code="command_failed",
            )
        return Result(done.returncode, done.stdout, done.stderr)


def read_text(path):
    """The file's text, or None when there is no such file."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def sync_folder(folder):
    """Make a rename or removal in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
