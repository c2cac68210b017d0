# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's power switch as a fence agent (the API of the fence-agents project).

Options come as key=value lines on standard input, or as arguments: action, plug (or port), lab.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from xml.sax.saxutils import quoteattr

from . import node as nodes
from .config import LabError, Paths

OK, FAILED, OFF = 0, 1, 2
ACTIONS = {
    "on": "Switches the node on.",
    "off": "Cuts the node's power.",
    "reboot": "Cuts the node's power and switches it on again.",
    "status": "Tells by the exit status whether the node is on (0) or off (2).",
    "list": "Lists the nodes.",
    "list-status": "Lists the nodes and whether they are on.",
    "monitor": "Tells whether the lab can be reached.",
    "metadata": "Describes the agent.",
    "validate-all": "Checks the options.",
}
PARAMETERS = [
    ("action", "-o, --action=[action]", "string", "reboot", "Fencing action"),
    ("plug", "-n, --plug=[node]", "string", None, "The node, as the lab calls it (node1)"),
    ("port", "--port=[node]", "string", None, "The same as plug"),
    ("lab", "--lab=[folder]", "string", None, "The state folder of the lab"),
]


def parse(lines: list, argv: list) -> dict:
    """The options. Unknown ones are left alone, as the API asks. Raises LabError for a line that is none."""
    options = {}
    for line in lines:
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise LabError(f"{line!r} is no key=value line")
        options[name.strip()] = value.strip()
    parser = argparse.ArgumentParser(prog="fence_lab")
    parser.add_argument("-o", "--action", choices=sorted(ACTIONS))
    parser.add_argument("-n", "--plug", "--port", dest="plug")
    parser.add_argument("--lab")
    options.update({name: value for name, value in vars(parser.parse_args(argv)).items() if value})
    options.setdefault("action", "reboot")
    options.setdefault("plug", options.pop("port", None))
    return options


def metadata() -> str:
    """The description in XML."""
    lines = [
        '<?xml version="1.0" ?>',
        '<resource-agent name="fence_lab" shortdesc="Power switch of the gantry lab">',
        "<longdesc>Cuts and restores the power of the emulated nodes that script/lab made.</longdesc>",
        "<parameters>",
    ]
    for name, getopt, kind, default, text in PARAMETERS:
        required = "1" if name == "lab" else "0"
        default_text = f" default={quoteattr(default)}" if default else ""
        lines += [
            f'<parameter name="{name}" unique="0" required="{required}">',
            f"<getopt mixed={quoteattr(getopt)} />",
            f'<content type="{kind}"{default_text} />',
            f'<shortdesc lang="en">{text}</shortdesc>',
            "</parameter>",
        ]
    lines += ["</parameters>", "<actions>", *(f'<action name="{name}" />' for name in ACTIONS), "</actions>"]
    return "\n".join([*lines, "</resource-agent>"])


def act(options: dict) -> int:
    """Does what the options say; returns the exit status. Raises LabError."""
    action = options["action"]
    if action not in ACTIONS:
        raise LabError(f"{action!r} is no action of this agent: {', '.join(ACTIONS)}")
    if action == "metadata":
        print(metadata())
        return OK
    if not options.get("lab"):
        raise LabError("the option lab (the state folder of the lab) is missing")
    paths = Paths.at(pathlib.Path(options["lab"]))
    plug = options.get("plug")
    if action in ("list", "list-status", "monitor"):
        for node in sorted(nodes.load(paths)["nodes"]):
            if action == "list":
                print(f"{node},{node}")
            elif action == "list-status":
                print(f"{node},{node},{'ON' if nodes.alive(paths, node) else 'OFF'}")
        return OK
    if not plug:
        raise LabError("the option plug (the node) is missing")
    nodes.load(paths, plug)
    if action in ("off", "reboot"):
        nodes.power_off(paths, plug)
        if nodes.alive(paths, plug):
            raise LabError(f"{plug} is still on")
    if action in ("on", "reboot"):
        nodes.power_on(paths, plug)
    if action == "status":
        on = nodes.alive(paths, plug) is not None
        print(f"Status: {'ON' if on else 'OFF'}")
        return OK if on else OFF
    if action != "validate-all":
        print(f"Success: {'Powered OFF' if action == 'off' else 'Powered ON' if action == 'on' else 'Rebooted'}")
    return OK


def main(argv: list) -> int:
    """Runs the agent."""
    try:
        return act(parse([] if argv else sys.stdin.read().splitlines(), argv))
    except LabError as error:
        print(f"fence_lab: {error}", file=sys.stderr)
        return FAILED
