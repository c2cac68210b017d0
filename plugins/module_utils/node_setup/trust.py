# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account that peers migrate to, the node's own key, and the trust between the nodes."""

from __future__ import annotations

import os
import re

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.files import make_folders, set_mode, write


def host_keys(files):
    """The SSH server's public keys as "type base64"."""
    keys = []
    for name in files.names("/etc/ssh"):
        if re.match(r"ssh_host_\w+_key\.pub\Z", name):
            try:
                keys.append(texts.clean_key(files.text("/etc/ssh/" + name) or ""))
            except ValueError:
                continue  # a type of no use to the peers, such as dsa
    return keys


def setup_user(executor, wanted, files, seen):
    """The account that peers migrate to. Its folder and the list of keys are root's: it can change neither."""
    name, user, group = wanted["migration_user"], seen["user"], seen["libvirt_group"]
    if user is None:
        executor.change("make the system user %s" % name, [
            "useradd", "--system", "--user-group", "--groups", "libvirt", "--home-dir", texts.MIGRATION_HOME,
            "--no-create-home", "--comment", "gantry.cluster migration",
            # sshd runs the forced command by the account's shell
            "--shell", "/bin/sh",
            # no input gives this hash; but the account is not "locked", which sshd without PAM would refuse
            "--password", "*", name])
    else:
        if user["shell"] != "/bin/sh":
            executor.change("give %s the shell /bin/sh (was %s)" % (name, user["shell"]),
                            ["usermod", "--shell", "/bin/sh", name])
        if name not in group["members"] and user["gid"] != group["gid"]:
            executor.change("put %s into the group libvirt" % name,
                            ["usermod", "--append", "--groups", "libvirt", name])
    folder = os.path.dirname(texts.AUTHORIZED_KEYS)
    make_folders(executor, files, folder)
    # sshd reads the keys as this account, and wants none but root to be able to write them
    for path in (os.path.dirname(texts.MIGRATION_HOME), texts.MIGRATION_HOME, folder):
        set_mode(executor, files, path, 0o755)


def setup_key(executor, wanted, files):
    """The node's own key; returns its public half as "type base64", or None before it is made (check mode)."""
    make_folders(executor, files, os.path.dirname(texts.MIGRATION_FOLDER))
    make_folders(executor, files, texts.MIGRATION_FOLDER, 0o700)
    set_mode(executor, files, texts.MIGRATION_FOLDER, 0o700)
    private, public = files.path(texts.MIGRATION_KEY), texts.MIGRATION_KEY + ".pub"
    if not files.exists(texts.MIGRATION_KEY):
        executor.change("make the migration key %s" % texts.MIGRATION_KEY, [
            "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gantry-migrate@%s" % wanted["name"], "-f", private])
        if executor.check_mode:
            return None
    set_mode(executor, files, texts.MIGRATION_KEY, 0o600)
    text = files.text(public)
    if text is None:
        text = executor.read(["ssh-keygen", "-y", "-P", "", "-f", private]).out.strip() + "\n"
        write(executor, files, public, text, 0o644)
    try:
        return texts.clean_key(text)
    except ValueError as broken:
        raise GantryError(
            "The migration key of this node cannot be read", found=str(broken), expected="a public key in %s" % public,
            mend="remove %s and run again: it is made from the private key" % public, code="broken_key",
        ) from broken
