# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of the labs of this user: taken under a lock, checked free, remembered while the lab exists.

A port is remembered because a node that is switched off does not hold it.
"""

from __future__ import annotations

import pathlib
import socket
import zlib

from . import config

# Below the range from which the kernel takes ports for outgoing connections.
FIRST, LAST = 20000, 31999


def tcp_free(port: int) -> bool:
    """Whether 127.0.0.1:port can be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def udp_free(port: int) -> bool:
    """Whether nobody has that UDP port, on any address (QEMU binds to the multicast group's)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def candidates(seed: str):
    """Every port of the range once, beginning at a place that depends on the seed."""
    size = LAST - FIRST + 1
    start = zlib.crc32(seed.encode()) % size
    for step in range(size):
        yield FIRST + (start + step) % size


def choose(seed: str, taken: set, free) -> int:
    """The first candidate that is neither taken nor found busy. Raises LabError when there is none."""
    for port in candidates(seed):
        if port not in taken and free(port):
            return port
    raise config.LabError(f"no port from {FIRST} to {LAST} is free on this machine")


def registry() -> pathlib.Path:
    return config.cache_dir() / "labs.json"


def _locked():
    return config.lock(config.cache_dir() / "labs.lock", "another lab is taking its ports")


def _labs() -> dict:
    """The labs that still exist: state folder -> their ports."""
    return {
        state: ports
        for state, ports in (config.read_json(registry(), {}) or {}).items()
        if pathlib.Path(state).is_dir()
    }


def reserve(paths: config.Paths, wanted: list) -> dict:
    """Ports for the wanted names ("node1" is TCP, "cluster" is multicast); a name that has one keeps it."""
    with _locked():
        labs = _labs()
        mine = labs.setdefault(str(paths.state), {})
        for name in wanted:
            if name not in mine:
                taken = {port for ports in labs.values() for port in ports.values()}
                mine[name] = choose(f"{paths.state}:{name}", taken, udp_free if name == "cluster" else tcp_free)
        config.write_json(registry(), labs)
        return dict(mine)


def release(paths: config.Paths) -> None:
    """Forgets the lab's ports."""
    with _locked():
        labs = _labs()
        labs.pop(str(paths.state), None)
        config.write_json(registry(), labs)


def states() -> list:
    """The state folders of all labs of this user (with this cache)."""
    with _locked():
        return [pathlib.Path(state) for state in _labs()]
