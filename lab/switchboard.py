# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a lab with nodes of User-Mode Linux: one QEMU without a machine, whose hubs the nodes are plugged into.

Each cable is a pair of UNIX sockets that carry one frame in each datagram. Nodes that are virtual machines are plugged
into the same cluster hub.
"""

from __future__ import annotations

import contextlib
import pathlib
import subprocess

from . import config, host, processes
from .config import LabError, Paths
from .identity import LINKS, number
from .qmp import Qmp, QmpError

#: Frames that wait at a socket before a sender has to. The system's own number is 10, and on a busy machine a node then cannot send
#: for so long that User-Mode Linux takes its network card for broken and panics while it resets it.
WAITING_FRAMES = 1024
QUEUE_LENGTH = pathlib.Path("/proc/sys/net/unix/max_dgram_qlen")

# Above the control networks of the nodes, each of which is a hub of its own with the node's number.
CLUSTER_HUB = 100


def pidfile(paths: Paths) -> pathlib.Path:
    return paths.state / "switchboard" / "pid"


def socket_path(paths: Paths) -> pathlib.Path:
    return paths.qmp("switchboard")


def cable(paths: Paths, node: str, link: str) -> tuple:
    """The two ends of a cable: the node's socket and the switchboard's."""
    return paths.run / f"{node}-{link}", paths.run / f"{node}-{link}.hub"


@contextlib.contextmanager
def long_queues():
    """Sockets made meanwhile let that many frames wait; where the setting is not ours to change, as many as ever."""
    with config.lock(config.cache_dir() / "queue_length.lock", "another command plugs cables in"):
        before = QUEUE_LENGTH.read_text(encoding="ascii")
        try:
            QUEUE_LENGTH.write_text(str(WAITING_FRAMES), encoding="ascii")
        except OSError:
            yield
            return
        try:
            yield
        finally:
            QUEUE_LENGTH.write_text(before, encoding="ascii")


def arguments(paths: Paths, program: str) -> list:
    """The command line of the switchboard; the cables come later, through its monitor."""
    return [
        program,
        "-name", f"{paths.name}-switchboard",
        "-M", "none", "-nodefaults", "-no-user-config", "-display", "none", "-daemonize",
        "-pidfile", str(pidfile(paths)),
        "-chardev", f"socket,id=qmp,path={socket_path(paths)},server=on,wait=off",
        "-mon", "chardev=qmp,mode=control",
    ]  # fmt: skip


def ports(paths: Paths, lab: dict, node: str, links: tuple) -> list:
    """What the switchboard gets for a node's cables: the arguments of netdev_add, in order."""
    found = []
    for link in links:
        here, there = cable(paths, node, link)
        hub = number(node) if link == "control" else CLUSTER_HUB
        found.append(
            {
                "type": "dgram",
                "id": f"{node}-{link}",
                "local": {"type": "unix", "path": str(there)},
                "remote": {"type": "unix", "path": str(here)},
            }
        )
        found.append({"type": "hubport", "id": f"{node}-{link}-port", "hubid": hub, "netdev": f"{node}-{link}"})
    if "control" in links:
        # Nothing that a node sends gets out of the hubs; the forwarded port is the only way in.
        forward = [{"str": f"tcp:127.0.0.1:{lab['nodes'][node]['ssh_port']}-10.0.2.15:22"}]
        found.append({"type": "user", "id": f"{node}-host", "restrict": True, "hostfwd": forward})
        found.append({"type": "hubport", "id": f"{node}-host-port", "hubid": number(node), "netdev": f"{node}-host"})
    return found


def alive(paths: Paths) -> int | None:
    """The process id of the switchboard, or None."""
    return processes.alive(pidfile(paths))


@contextlib.contextmanager
def _monitor(paths: Paths):
    """The only conversation with the switchboard's monitor."""
    paths.make_run()
    with config.lock(paths.run / "switchboard.lock", "another command works on the switchboard"):
        with Qmp(socket_path(paths)) as monitor:
            yield monitor


def ensure(paths: Paths) -> None:
    """Starts the switchboard if it is not there. Raises LabError with what QEMU said."""
    paths.make_run()
    with config.lock(paths.run / "switchboard.lock", "another command starts the switchboard"):
        if alive(paths):
            return
        pidfile(paths).parent.mkdir(mode=0o700, exist_ok=True)
        for path in (pidfile(paths), socket_path(paths)):
            path.unlink(missing_ok=True)
        try:
            # It warns of hubs without network cards, and stays.
            done = subprocess.run(
                arguments(paths, host.find("qemu-system-x86_64") or "qemu-system-x86_64"), text=True, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True, timeout=60, cwd="/",
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(f"the switchboard did not start: {error}") from error
        if done.returncode:
            raise LabError(f"the switchboard did not start: {done.stdout.strip() or done.returncode}")


def _remove(monitor: Qmp, wanted: list) -> None:
    for port in reversed(wanted):
        # Most often it is not there, and nothing else can be wrong with it.
        with contextlib.suppress(QmpError):
            monitor.execute("netdev_del", id=port["id"])


def connect(paths: Paths, lab: dict, node: str, plugged: dict) -> None:
    """Makes the switchboard's ends of the node's cables, anew: what waited for the node's last life is gone.

    :param plugged: {cable: whether it is plugged in} of the cables that end here.
    """
    wanted = ports(paths, lab, node, tuple(plugged))
    with _monitor(paths) as monitor:
        _remove(monitor, wanted)
        with long_queues():
            for port in wanted:
                monitor.execute("netdev_add", **port)
        for link, up in plugged.items():
            if not up:
                monitor.execute("set_link", name=f"{node}-{link}", up=False)


def disconnect(paths: Paths, lab: dict, node: str, links: tuple = tuple(LINKS)) -> None:
    """Takes the ends away, so that connections from the host break off and its port is closed."""
    # The node is off, whether or not the switchboard can be told.
    with contextlib.suppress(QmpError):
        with _monitor(paths) as monitor:
            _remove(monitor, ports(paths, lab, node, links))


def set_link(paths: Paths, node: str, link: str, up: bool) -> None:
    """Lets frames pass, or drops those of both directions."""
    with _monitor(paths) as monitor:
        monitor.execute("set_link", name=f"{node}-{link}", up=up)
