# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps its things, its one exception, locks, and files written whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import stat
import sys
import time

SUITES = ("bookworm", "trixie")
# The suites whose kernel for User-Mode Linux has been tried; trixie's needs a glibc that bookworm does not have.
UML_SUITES = ("bookworm",)
# What a node runs guests with -> the image it boots. Containers need no more than one package beside QEMU.
FLAVOURS = {"kvm": "linux", "lxc": "linux", "xen": "xen"}
# The same -> the collection's names of the hypervisors that such a node has.
HYPERVISORS = {"kvm": ["kvm"], "lxc": ["lxc"], "xen": ["xen-pv", "xen-pvh", "xen-hvm"]}
MAX_NODES = 9
DEFAULT_NODES = 3
DEFAULT_MEMORY_MIB = {"kvm": 1536, "lxc": 1536, "xen": 2560}
# What a Xen node keeps for itself; the rest of its memory is for guests.
DOM0_MIB = 1400
DEFAULT_DISK_GIB = 8
VOLUME_GROUP = "gantry"
CLUSTER_NET = "10.77.0"

ROOT = pathlib.Path(__file__).resolve().parents[1]


class LabError(Exception):
    """Something the person at the keyboard has to know: the text says what was found and how to mend it."""


def say(text: str) -> None:
    """Prints a progress line on standard error (standard output is for answers)."""
    print(text, file=sys.stderr, flush=True)


def check_name(name: str) -> str:
    """Returns the lab's name. Raises LabError if it could not be a folder's name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
        raise LabError(f"{name!r} is no name for a lab: lower-case letters, digits, - and _, at most 32")
    return name


def cache_dir() -> pathlib.Path:
    """Where images and the accelerator's probe are kept, for all labs of this user."""
    if os.environ.get("GANTRY_CACHE"):
        return pathlib.Path(os.environ["GANTRY_CACHE"]).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(base).expanduser().resolve() / "gantry-lab"


@dataclasses.dataclass(frozen=True)
class Paths:
    """The places of one lab."""

    name: str
    state: pathlib.Path

    @classmethod
    def of(cls, name: str | None = None) -> Paths:
        """The lab of that name, or of GANTRY_LAB_NAME, or "lab"."""
        name = check_name(name or os.environ.get("GANTRY_LAB_NAME") or "lab")
        base = os.environ.get("GANTRY_LAB_STATE")
        return cls(name, (pathlib.Path(base).expanduser() if base else ROOT / ".lab").resolve() / name)

    @classmethod
    def at(cls, state: str | pathlib.Path) -> Paths:
        """The lab whose state lies in that folder."""
        state = pathlib.Path(state).resolve()
        return cls(check_name(state.name), state)

    @property
    def key(self) -> str:
        """A short name for this lab that no other lab on this machine has."""
        return hashlib.sha256(os.fsencode(self.state)).hexdigest()[:10]

    @property
    def run(self) -> pathlib.Path:
        """Sockets live here: the path of a UNIX socket has to stay under 108 bytes, however deep the checkout lies."""
        return pathlib.Path("/tmp") / f"gantry-lab-{os.getuid()}" / self.key

    @property
    def config(self) -> pathlib.Path:
        return self.state / "lab.json"

    @property
    def inventory(self) -> pathlib.Path:
        return self.state / "inventory"

    @property
    def client_key(self) -> pathlib.Path:
        return self.state / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> pathlib.Path:
        return self.state / "ssh" / "known_hosts"

    @property
    def ssh_config(self) -> pathlib.Path:
        return self.state / "ssh" / "config"

    def node(self, node: str) -> pathlib.Path:
        return self.state / "nodes" / node

    def qmp(self, node: str) -> pathlib.Path:
        return self.run / f"{node}.qmp"

    def make_run(self) -> None:
        """Makes the folder for sockets. Raises LabError if somebody else got there first."""
        top = self.run.parent
        try:
            top.mkdir(mode=0o700, exist_ok=True)
            info = top.lstat()
        except FileNotFoundError:
            # The last of the other labs has just been taken down, and the folder with it.
            return self.make_run()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o022:
            raise LabError(f"{top} is not a folder that only this user can write: remove it, then run this again")
        try:
            self.run.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            return self.make_run()
        return None


def write(path: pathlib.Path, text: str | bytes, mode: int = 0o644) -> None:
    """Writes a file whole or not at all; it never exists with wider rights than `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    data = text.encode() if isinstance(text, str) else text
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: pathlib.Path, default=None):
    """The file's content, or `default` if there is no such file. Raises LabError if it is damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise LabError(f"{path} cannot be read ({error})") from error


def write_json(path: pathlib.Path, value, mode: int = 0o644) -> None:
    write(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode)


@contextlib.contextmanager
def lock(path: pathlib.Path, what: str):
    """Holds the file lock; says once that it is waiting. The holder may delete the file: the lock is taken anew."""
    said = False
    while True:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            # The holder has deleted the folder, too, between these two lines.
            continue
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not said:
                        say(f"waiting: {what}")
                        said = True
                    time.sleep(0.2)
            try:
                same = os.fstat(handle).st_ino == os.stat(path).st_ino
            except FileNotFoundError:
                same = False
            if not same:
                continue
            yield
            return
        finally:
            os.close(handle)
