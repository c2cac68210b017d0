# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of script/lab."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from . import accelerator, cluster, config, image, node as nodes, xen
from .config import LabError, Paths, say


def parser() -> argparse.ArgumentParser:
    """The command line."""
    name = argparse.ArgumentParser(add_help=False)
    name.add_argument("--name", default=argparse.SUPPRESS, help="which lab (default: $GANTRY_LAB_NAME, or lab)")
    top = argparse.ArgumentParser(
        prog="script/lab", parents=[name], description="A cluster of real Debian nodes on this machine.",
        epilog="Each command has its own --help. lab/README.md tells the rest.",
    )  # fmt: skip
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(word: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(word, help=text, description=text, parents=[name])

    memory = ", ".join(f"{name} {mib}" for name, mib in config.DEFAULT_MEMORY_MIB.items())
    one = command("up", "make the lab, or what is missing of it, and wait until every node answers")
    one.add_argument("--nodes", type=_count, help=f"how many, 1 to {config.MAX_NODES} (default {config.DEFAULT_NODES})")
    one.add_argument("--suite", choices=config.SUITES, help=f"Debian suite (default {config.SUITES[0]})")
    one.add_argument(
        "--flavour", type=_flavours, metavar="F[,F...]",
        help=f"what new nodes run guests with: {', '.join(config.FLAVOURS)} (default kvm); or one for each node: kvm,kvm,xen",
    )  # fmt: skip
    one.add_argument("--memory", type=_size(512), metavar="MIB", help=f"memory of new nodes, MiB (default {memory})")
    one.add_argument("--disk", type=_size(1), metavar="GIB", help="volume group of new nodes, GiB (default 8, sparse)")
    one.add_argument("--timeout", type=_size(1), default=600, metavar="S", help="seconds to wait for the nodes (600)")
    command("down", "take the lab away: processes, disks, keys, ports")
    one = command("status", "what the lab is and how its nodes are")
    one.add_argument("--json", action="store_true", help="as JSON")
    one = command("ssh", "log in to a node, or run a command there")
    one.add_argument("node")
    one.add_argument("cmd", nargs=argparse.REMAINDER, metavar="CMD")
    one = command("power", "cut a node's power, restore it, or press reset")
    one.add_argument("node")
    one.add_argument("action", choices=("on", "off", "reset", "status"))
    one.add_argument("--wait", action="store_true", help="after on or reset: wait until the node answers")
    one = command("link", "plug a node's network cable in, or pull it")
    one.add_argument("node")
    one.add_argument("cable", choices=sorted(nodes.LINKS))
    one.add_argument("action", choices=("on", "off"))
    command("pause", "stop a node's CPU").add_argument("node")
    command("resume", "let a paused node go on").add_argument("node")
    one = command("console", "what a node wrote on its serial console")
    one.add_argument("node")
    one.add_argument("-n", "--lines", type=_size(1), default=40, help="how many lines (40)")
    one.add_argument("--path", action="store_true", help="print the log's path instead")
    one.add_argument("-f", "--follow", action="store_true", help="go on as the node writes")
    command("inventory", "print the path of the Ansible inventory")
    one = command("image", "build the node image, unless it is in the cache, and print its folder")
    one.add_argument("--suite", choices=config.SUITES, default=config.SUITES[0])
    one.add_argument("--flavour", choices=sorted(config.FLAVOURS), default="kvm", help="for which nodes (default kvm)")
    one.add_argument("--prune", action="store_true", help="instead: delete the images that nothing uses")
    one = command("xen", "build a Xen that migrates paravirtual guests live, unless it is in the cache, and print its path")
    one.add_argument("--suite", choices=config.SUITES, default=config.SUITES[0])
    one = command("probe", "tell what the nodes run on here: KVM, User-Mode Linux or emulation")
    one.add_argument("--suite", choices=config.SUITES, default=config.SUITES[0])
    one.add_argument("--again", action="store_true", help="try even if the answer is known")
    one.add_argument("--json", action="store_true", help="as JSON")
    return top


def _size(least: int):
    def check(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least}")
        return value

    check.__name__ = "number"
    return check


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= config.MAX_NODES:
        raise argparse.ArgumentTypeError(f"1 to {config.MAX_NODES}")
    return value


def _flavours(text: str) -> list:
    names = text.split(",")
    for name in names:
        if name not in config.FLAVOURS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(config.FLAVOURS)}")
    if len(names) > config.MAX_NODES:
        raise argparse.ArgumentTypeError(f"at most {config.MAX_NODES} nodes")
    return names


def main(argv: list | None = None) -> int:
    """Runs a command; the exit status: 0 done, 1 not done (the reason stands on standard error), else as ssh's."""
    arguments = parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command](Paths.of(getattr(arguments, "name", None)), arguments) or 0
    except LabError as error:
        print(f"script/lab: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("script/lab: interrupted; script/lab up goes on from here, script/lab down clears up", file=sys.stderr)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    return 1


def _up(paths: Paths, arguments) -> None:
    started = time.monotonic()
    cluster.up(paths, arguments.nodes, arguments.suite, arguments.memory, arguments.disk, arguments.timeout,
               arguments.flavour)
    say(f"lab {paths.name!r} is up after {time.monotonic() - started:.0f} s")
    print(paths.inventory)


def _down(paths: Paths, _arguments) -> None:
    say(f"lab {paths.name!r} is gone" if cluster.down(paths) else f"there is no lab {paths.name!r}")


def _status(paths: Paths, arguments) -> None:
    found = cluster.status(paths)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(f"lab {found['name']}: {found['suite']}, {found['accelerator']}, {found['state']}")
    for node, own in found["nodes"].items():
        pulled = [name for name, plugged in own["links"].items() if not plugged]
        print(
            f"  {node}  {own['flavour']}  {own['power']:6}  {'ssh' if own['ssh'] else 'no ssh':6}  127.0.0.1:{own['ssh_port']}  "
            f"{own['address']}  {own['memory_mib']} MiB  disks use {own['disk_used_mib']} MiB"
            + (f"  PULLED: {', '.join(pulled)}" if pulled else "")
        )


def _ssh(paths: Paths, arguments) -> None:
    nodes.load(paths, arguments.node)
    command = arguments.cmd[1:] if arguments.cmd[:1] == ["--"] else arguments.cmd
    sys.stdout.flush()
    os.execvp("ssh", cluster.ssh_command(paths, arguments.node, command))


def _power(paths: Paths, arguments) -> int:
    node, action = arguments.node, arguments.action
    lab = nodes.load(paths, node)
    if action == "status":
        print(nodes.power_status(paths, node))
        return 0
    if action == "off":
        say(f"{node} is off" if nodes.power_off(paths, node) else f"{node} was off already")
    elif action == "on":
        say(f"{node} is on" if nodes.power_on(paths, node) else f"{node} was on already")
    else:
        nodes.reset(paths, node)
        say(f"{node} was reset")
    if arguments.wait and action != "off":
        cluster.wait(paths, lab | {"nodes": {node: lab["nodes"][node]}}, 600)
    return 0


def _link(paths: Paths, arguments) -> None:
    changed = nodes.set_link(paths, arguments.node, arguments.cable, arguments.action == "on")
    state = "plugged in" if arguments.action == "on" else "pulled"
    say(f"{arguments.node}: cable {arguments.cable} {state}" + ("" if changed else " already"))


def _pause(paths: Paths, arguments) -> None:
    nodes.pause(paths, arguments.node)
    say(f"{arguments.node} is paused")


def _resume(paths: Paths, arguments) -> None:
    nodes.resume(paths, arguments.node)
    say(f"{arguments.node} goes on")


def _console(paths: Paths, arguments) -> None:
    nodes.load(paths, arguments.node)
    log = paths.node(arguments.node) / "serial.log"
    if arguments.path:
        print(log)
    elif arguments.follow:
        sys.stdout.flush()
        os.execvp("tail", ["tail", "-n", str(arguments.lines), "-F", str(log)])
    else:
        print(nodes.serial_tail(paths, arguments.node, arguments.lines))


def _inventory(paths: Paths, _arguments) -> None:
    nodes.load(paths)
    print(paths.inventory)


def _image(_paths: Paths, arguments) -> None:
    if arguments.prune:
        gone = image.prune()
        for path in gone:
            say(f"deleted {path}")
        say(f"{len(gone)} deleted, {len(image.cached())} kept")
    else:
        print(image.ensure(arguments.suite, config.FLAVOURS[arguments.flavour]).path)


def _probe(_paths: Paths, arguments) -> None:
    result = accelerator.probe(image.ensure(arguments.suite), arguments.again)
    print(json.dumps(result) if arguments.json else f"{result['accelerator']}: {result['reason']}")


def _xen(_paths: Paths, arguments) -> None:
    print(xen.ensure(arguments.suite))


COMMANDS = {
    "up": _up,
    "down": _down,
    "status": _status,
    "ssh": _ssh,
    "power": _power,
    "link": _link,
    "pause": _pause,
    "resume": _resume,
    "console": _console,
    "inventory": _inventory,
    "image": _image,
    "xen": _xen,
    "probe": _probe,
}
