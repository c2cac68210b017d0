# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that is a Linux kernel run as an ordinary program (User-Mode Linux): its command line, its power switch, its cables.

A process of the node is a process of this machine, with its system calls intercepted by the kernel's own process. All of
them have the node's folder as their working directory; that is how they are found.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from . import config, image as images, switchboard
from .config import LabError, Paths
from .identity import LINKS, flavour, mac, words

PROGRAM = "linux.uml"
SHM = pathlib.Path("/dev/shm")


def arguments(paths: Paths, lab: dict, node: str, handles: list) -> list:
    """The kernel's command line, to be run in the node's folder; `handles` are the sockets of its network cards."""
    own = lab["nodes"][node]
    image = images.Image(pathlib.Path(images.images(lab)[config.FLAVOURS[flavour(lab, node)]]))
    cards = [
        f"vec{card}:transport=fd,fd={handle},mac={mac(paths, node, card)}" for card, handle in enumerate(handles)
    ]
    return [
        # With its folder: at a reboot it runs itself anew by this name.
        str(image.uml),
        f"umid={node}", f"uml_dir={_kernel_dir(paths, node).parent}/",
        # Names without folders, because a comma or colon would part them. The c leaves the image, which QEMU's nodes use, too,
        # without the lock that would keep them out.
        "ubd0c=root.cow,base,gantry-root", "ubd1=data.raw,,gantry-data", "ubd2r=config.tar,,gantry-config",
        "root=/dev/ubda", "rw", "rootfstype=ext4", f"mem={own['memory_mib']}M",
        *cards,
        "con=null", "con0=null,fd:1", "console=tty0",
        *words(paths, node).split(),
    ]  # fmt: skip


def _kernel_dir(paths: Paths, node: str) -> pathlib.Path:
    """Where the kernel keeps its own process id and its console's socket."""
    return paths.run / "uml" / node


def memory_folder(shm: pathlib.Path, needed_mib: int, otherwise: pathlib.Path) -> pathlib.Path:
    """Where the memory of nodes lies, as files without names: in memory, unless that file system is small or noexec."""
    try:
        found = os.statvfs(shm)
    except OSError:
        return otherwise
    roomy = found.f_bavail * found.f_frsize >= needed_mib * 1024**2
    return shm if roomy and not found.f_flag & os.ST_NOEXEC else otherwise


def environment(memory: pathlib.Path) -> dict:
    """The environment of the kernel, which looks there for the folder of its memory."""
    return {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": str(memory)}


def prepare(paths: Paths, lab: dict, node: str, own: dict) -> None:
    """Names the image; the kernel makes its overlay on it, root.cow, at the first start."""
    image = images.Image(pathlib.Path(lab["images"][config.FLAVOURS[own["flavour"]]]))
    (paths.node(node) / "base").symlink_to(image.rootfs)


def members(folder: pathlib.Path) -> dict:
    """The processes of the node with that folder, or of all nodes below it: {process id: (its parent, its state)}."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        own = _member(int(entry.name), folder)
        if own:
            found[int(entry.name)] = own
    return found


def _member(pid: int, folder: pathlib.Path) -> tuple | None:
    """(parent, state) of a process of that node; None if it is none, is a zombie or is gone."""
    try:
        place = pathlib.Path(os.readlink(f"/proc/{pid}/cwd"))
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        if (folder != place and folder not in place.parents) or program.removesuffix(" (deleted)") != PROGRAM:
            return None
        letter, parent = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return (int(parent), letter) if letter not in "ZX" else None


def alive(paths: Paths, node: str) -> int | None:
    """The process id of the node's kernel, or None."""
    try:
        pid = int((paths.node(node) / "pid").read_text())
    except (OSError, ValueError):
        return None
    return pid if _member(pid, paths.node(node)) else None


def running(paths: Paths, node: str) -> int:
    """The process id of a node that is on. Raises LabError if it is off."""
    pid = alive(paths, node)
    if not pid:
        raise LabError(f"{node} is off: script/lab power {node} on")
    return pid


def start(paths: Paths, lab: dict, node: str, plugged: dict) -> None:
    """Starts a node that is off, with its cables as they are. Raises LabError with what the kernel said."""
    folder = paths.node(node)
    if not switchboard.alive(paths):
        others = [name for name in lab["nodes"] if alive(paths, name)]
        if others:
            raise LabError(f"the lab's switchboard is gone, and {', '.join(others)} with their cables cut: script/lab up")
    # The processes of a kernel that died by itself.
    end(folder)
    switchboard.ensure(paths)
    switchboard.connect(paths, lab, node, plugged)
    # What a killed kernel left makes the next one believe that it is still there.
    shutil.rmtree(_kernel_dir(paths, node), ignore_errors=True)
    _kernel_dir(paths, node).parent.mkdir(mode=0o700, exist_ok=True)
    memory = memory_folder(SHM, sum(own["memory_mib"] for own in lab["nodes"].values()), folder)
    with contextlib.ExitStack() as stack:
        with switchboard.long_queues():
            sockets = [stack.enter_context(node_end(*switchboard.cable(paths, node, link))) for link in LINKS]
        handles = [end.fileno() for end in sockets]
        serial = stack.enter_context((folder / "serial.log").open("ab"))
        command = arguments(paths, lab, node, handles)
        try:
            # The shell ends at once, so that the node is nobody's child whom its parent would have to bury.
            done = subprocess.run(
                ["sh", "-c", '"$@" >&2 & echo $!', "sh", *command],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=serial, pass_fds=handles, text=True,
                start_new_session=True, timeout=60, cwd=folder, env=environment(memory), check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise LabError(f"{node} did not start: {error}") from error
    config.write(folder / "pid", done.stdout)
    _await(paths, node, int(done.stdout))


def node_end(here: pathlib.Path, there: pathlib.Path) -> socket.socket:
    """The node's end of a cable."""
    here.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.bind(str(here))
        made.connect(str(there))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024**2)
    except OSError:
        made.close()
        raise
    return made


def _await(paths: Paths, node: str, pid: int, timeout: float = 30.0) -> None:
    """Waits until the kernel has begun to boot. Raises LabError if it ended before."""
    deadline = time.monotonic() + timeout
    while not (_kernel_dir(paths, node) / "pid").exists():
        # For a moment the process is still the shell that becomes the kernel.
        if _state(pid) in ("", "Z", "X"):
            with (paths.node(node) / "serial.log").open(errors="replace") as stream:
                said = stream.read().rpartition("--- power on ")[2].splitlines()[1:]
            raise LabError(f"{node} did not start: {' '.join(said[-3:]).strip() or 'its kernel ended'}")
        if time.monotonic() > deadline:
            raise LabError(f"{node} did not begin to boot within {timeout:g} s")
        time.sleep(0.05)


def _state(pid: int) -> str:
    """The letter of the process's state, or nothing if it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _signal(pid: int, number: int, folder: pathlib.Path) -> None:
    """Sends a signal to a process if it still is of the node."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _member(pid, folder):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def end(folder: pathlib.Path, timeout: float = 10.0) -> None:
    """Ends every process of the node with that folder, or of all nodes below it, at once. Raises LabError.

    The kernel itself is stopped and goes last: without it, what was in the middle of a process's own work would go on, and
    its system calls would be this machine's.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = members(folder)
        if not found:
            return
        kernels = {pid for pid, (parent, _state) in found.items() if parent not in found}
        for pid in kernels:
            _signal(pid, signal.SIGSTOP, folder)
        if all(found[pid][1] in "Tt" for pid in kernels):
            others = set(found) - kernels
            for pid in others or kernels:
                _signal(pid, signal.SIGKILL, folder)
        if time.monotonic() > deadline:
            raise LabError(f"processes {', '.join(map(str, sorted(found)))} are still there {timeout:g} s after they were killed")
        time.sleep(0.02)


def cut(paths: Paths, lab: dict, node: str) -> None:
    """Ends the node at once, as a power cut would."""
    end(paths.node(node))
    (paths.node(node) / "pid").unlink(missing_ok=True)
    switchboard.disconnect(paths, lab, node)


def reset(paths: Paths, lab: dict, node: str) -> None:
    """Presses the reset button. The cables stay as they are."""
    running(paths, node)
    plugged = {name: True for name in LINKS} | config.read_json(paths.node(node) / "links.json", {})
    cut(paths, lab, node)
    start(paths, lab, node, plugged)


def pause(paths: Paths, node: str, timeout: float = 5.0) -> None:
    """Stops the kernel, and with it the node.

    A process that computes would do so until its next system call: the tick of the clock, which is the kernel's to send,
    stops it now. (It must not be SIGSTOP: the kernel dies of a process that stopped for a reason it does not know.)
    """
    pid = running(paths, node)
    folder = paths.node(node)
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = members(folder)
        busy = [one for one, (parent, state_) in found.items() if one != pid and state_ == "R"]
        if found.get(pid, (0, "T"))[1] in "Tt" and not busy:
            return
        if found.get(pid, (0, "T"))[1] in "Tt":
            for one in busy:
                _signal(one, signal.SIGALRM, folder)
        time.sleep(0.02)


def resume(paths: Paths, node: str) -> None:
    """Lets it go on."""
    os.kill(running(paths, node), signal.SIGCONT)


def set_link(paths: Paths, node: str, link: str, plugged: bool) -> None:
    """Plugs a cable in or pulls it, at the switchboard's end."""
    switchboard.set_link(paths, node, link, plugged)


def state(paths: Paths, node: str) -> str:
    """on, paused or off."""
    pid = alive(paths, node)
    if not pid:
        return "off"
    return "paused" if _state(pid) in ("T", "t") else "on"
