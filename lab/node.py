# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node: its power switch and its cables, whatever it is made of (qemu_machine, uml_machine)."""

from __future__ import annotations

import os
import time

from . import config, processes, qemu_machine, uml_machine
from .config import LabError, Paths
from .identity import LINKS, address, flavour, kind, mac, machine_id, names, number

__all__ = ["LINKS", "address", "flavour", "mac", "machine_id", "names", "number"]
MACHINES = {"qemu": qemu_machine, "uml": uml_machine}


def _machine(lab: dict, node: str):
    return MACHINES[kind(lab, node)]


def prepare(paths: Paths, lab: dict, node: str, own: dict) -> None:
    """Makes the root disk of a node that is not in lab.json yet. Raises LabError."""
    _machine(lab | {"nodes": {node: own}}, node).prepare(paths, lab, node, own)


def alive(paths: Paths, node: str) -> int | None:
    """The process id of the node, or None."""
    found = (machine.alive(paths, node) for machine in MACHINES.values())
    return next((pid for pid in found if pid), None)


def end_all(paths: Paths) -> None:
    """Ends every process that belongs to the lab, whatever the lab itself remembers. Raises LabError."""
    uml_machine.end(paths.state / "nodes")
    for pid in processes.strays(paths.state):
        processes.kill(paths.state, pid)


def _lock(paths: Paths, node: str):
    paths.make_run()
    return config.lock(paths.run / f"{node}.lock", f"another command works on {node}")


def load(paths: Paths, node: str | None = None) -> dict:
    """The content of lab.json. Raises LabError if there is no such lab, or no such node in it."""
    lab = config.read_json(paths.config)
    if lab is None:
        raise LabError(f"there is no lab {paths.name!r} in {paths.state.parent}: make one with script/lab up")
    if node is not None and node not in lab["nodes"]:
        raise LabError(f"lab {paths.name!r} has no {node!r}; it has {', '.join(sorted(lab['nodes']))}")
    return lab


def links(paths: Paths, node: str) -> dict:
    """Which of the node's cables are plugged in. A cable stays as it is when the power goes."""
    return {name: True for name in LINKS} | config.read_json(paths.node(node) / "links.json", {})


def power_on(paths: Paths, node: str) -> bool:
    """Starts the node if it is off; True if it was. Raises LabError with the reason."""
    lab = load(paths, node)
    with _lock(paths, node):
        if alive(paths, node):
            return False
        _start(paths, lab, node)
        return True


def _start(paths: Paths, lab: dict, node: str) -> None:
    with (paths.node(node) / "serial.log").open("a") as serial:
        serial.write(f"\n--- power on {time.strftime('%Y-%m-%d %H:%M:%S')} ---\n")
    _machine(lab, node).start(paths, lab, node, links(paths, node))


def power_off(paths: Paths, node: str) -> bool:
    """Cuts the node's power; True if it was on. When it returns, nothing of the node runs."""
    lab = load(paths, node)
    with _lock(paths, node):
        was_on = alive(paths, node) is not None
        _machine(lab, node).cut(paths, lab, node)
        return was_on


def reset(paths: Paths, node: str) -> None:
    """Presses the reset button of a node that is on. Raises LabError."""
    lab = load(paths, node)
    with _lock(paths, node):
        _machine(lab, node).reset(paths, lab, node)


def pause(paths: Paths, node: str) -> None:
    """Stops the CPU of a node that is on. Raises LabError."""
    lab = load(paths, node)
    with _lock(paths, node):
        _machine(lab, node).pause(paths, node)


def resume(paths: Paths, node: str) -> None:
    """Lets a node that is paused go on. Raises LabError."""
    lab = load(paths, node)
    with _lock(paths, node):
        _machine(lab, node).resume(paths, node)


def set_link(paths: Paths, node: str, link: str, plugged: bool) -> bool:
    """Plugs a cable in or pulls it; True if that was news."""
    lab = load(paths, node)
    with _lock(paths, node):
        state = links(paths, node)
        changed = state[link] != plugged
        state[link] = plugged
        machine = _machine(lab, node)
        on = machine.alive(paths, node) and machine.running(paths, node)
        config.write_json(paths.node(node) / "links.json", state)
        if on:
            machine.set_link(paths, node, link, plugged)
        return changed


def power_status(paths: Paths, node: str) -> str:
    """on, paused, frozen (by a signal from outside the lab) or off."""
    lab = load(paths, node)
    if not alive(paths, node):
        return "off"
    with _lock(paths, node):
        return _machine(lab, node).state(paths, node)


def serial_tail(paths: Paths, node: str, lines: int = 30) -> str:
    """The last lines that the node wrote on its console."""
    try:
        with (paths.node(node) / "serial.log").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 65536))
            text = stream.read().decode(errors="replace")
    except OSError:
        return "(nothing yet)"
    return "\n".join(text.replace("\r", "").splitlines()[-lines:])
