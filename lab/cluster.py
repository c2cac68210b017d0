# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole lab: made, started, waited for, shown, taken away."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import shutil
import socket
import subprocess
import tarfile
import threading
import time

from . import accelerator, config, host, image, inventory, node as nodes, ports, switchboard
from .config import LabError, Paths, say

VERSION = 1


def _lab_lock(paths: Paths):
    paths.make_run()
    return config.lock(paths.run / "lab.lock", f"another command works on lab {paths.name!r}")


def up(
    paths: Paths,
    count: int | None = None,
    suite: str | None = None,
    memory_mib: int | None = None,
    disk_gib: int | None = None,
    timeout: float = 600.0,
    flavours: list | None = None,
) -> dict:
    """Makes what is missing, switches on what is off, waits until every node answers. Raises LabError.

    :param flavours: what the nodes run guests with; see :func:`assign`.
    """
    host.require()
    known = config.read_json(paths.config)
    if known:
        if suite and suite != known["suite"]:
            raise LabError(
                f"lab {paths.name!r} runs {known['suite']}; for {suite} take another --name, or script/lab down first"
            )
        if count and count < len(known["nodes"]):
            raise LabError(
                f"lab {paths.name!r} has {len(known['nodes'])} nodes and gives none back: script/lab down first"
            )
        for path in map(pathlib.Path, image.images(known).values()):
            if not image.Image(path).ready:
                raise LabError(f"the image of lab {paths.name!r} is gone ({path}): script/lab down, then up")
    suite = known["suite"] if known else suite or config.SUITES[0]
    built = dict(image.images(known or {}))
    for kind in {config.FLAVOURS[name] for name in assign(_flavours(known), count, flavours).values()} - set(built):
        built[kind] = str(image.ensure(suite, kind).path)
    kind = known["accelerator"] if known else accelerator.choose(image.Image(pathlib.Path(min(built.values()))))
    with _lab_lock(paths):
        lab = config.read_json(paths.config) or {
            "version": VERSION,
            "name": paths.name,
            "suite": suite,
            "accelerator": kind,
            "nodes": {},
        }
        wanted = assign(_flavours(lab), count, flavours)
        lab["images"] = {**built, **image.images(lab)}
        for path in (paths.state, paths.state / "ssh"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = ports.reserve(paths, ["cluster", *wanted])
        lab["mcast_port"] = taken["cluster"]
        _key(paths.client_key, "gantry-lab")
        for node in wanted:
            if node not in lab["nodes"]:
                own = {
                    "ssh_port": taken[node],
                    "flavour": wanted[node],
                    "memory_mib": memory_mib or config.DEFAULT_MEMORY_MIB[wanted[node]],
                    "disk_gib": disk_gib or config.DEFAULT_DISK_GIB,
                    "cpus": 1,
                }
                _prepare(paths, lab, node, own)
                lab["nodes"][node] = own
        config.write_json(paths.config, lab)
        _write_ssh(paths, lab)
        inventory.write(paths, lab)
        _switchboard(paths, lab)
        changed = [node for node in wanted if _restore(paths, node)]
    if changed:
        say(f"lab {paths.name!r}: {lab['suite']}, {lab['accelerator']}; starting {', '.join(changed)}")
    wait(paths, lab, timeout)
    return lab


def _flavours(lab: dict | None) -> dict:
    return {node: nodes.flavour(lab, node) for node in lab["nodes"]} if lab else {}


def assign(known: dict, count: int | None, flavours: list | None) -> dict:
    """What each node of the lab is to be, {name: flavour}; those that are there stay what they are. Raises LabError.

    :param known: the nodes that are there.
    :param count: how many there are to be, or None: as many as there are, or as `flavours` names.
    :param flavours: one for all new nodes; or one for each node; or None: as the last one is.
    """
    flavours = flavours or []
    if len(flavours) > 1 and count and count != len(flavours):
        raise LabError(f"{count} nodes, but {len(flavours)} flavours: give one for all new nodes, or one for each node")
    if len(flavours) > 1 and len(flavours) < len(known):
        raise LabError(f"{len(flavours)} flavours, but the lab has {len(known)} nodes and gives none back")
    wanted = max(count or (len(flavours) if len(flavours) > 1 else 0), len(known)) or config.DEFAULT_NODES
    last = known[max(known, key=nodes.number)] if known else "kvm"
    found = {}
    for position, node in enumerate(nodes.names(wanted)):
        asked = flavours[position] if len(flavours) > 1 else (flavours or [last])[0]
        found[node] = known.get(node, asked)
        if found[node] != asked and (len(flavours) > 1 or wanted == len(known) and flavours):
            raise LabError(f"{node} runs {found[node]}; for {asked} take another --name, or script/lab down first")
    return found


def _switchboard(paths: Paths, lab: dict) -> None:
    """Cuts the power of nodes whose switchboard has died: their cables end nowhere, for as long as they run."""
    if lab["accelerator"] == "uml" and not switchboard.alive(paths):
        for node in lab["nodes"]:
            if nodes.power_off(paths, node):
                say(f"{node} is started anew: the lab's switchboard was gone")


def _restore(paths: Paths, node: str) -> bool:
    """Power, CPU and cables as in a node nobody has played with; True if anything had to be done."""
    changed = nodes.power_on(paths, node)
    if nodes.power_status(paths, node) in ("paused", "frozen"):
        # Of a frozen one this tells the reason.
        nodes.resume(paths, node)
        changed = True
    for link, plugged in nodes.links(paths, node).items():
        if not plugged:
            nodes.set_link(paths, node, link, True)
            changed = True
    return changed


def _key(path: pathlib.Path, comment: str) -> None:
    """Makes an SSH key pair, whole or not at all."""
    if path.exists() and path.with_name(path.name + ".pub").exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    done = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"ssh-keygen failed: {done.stderr.strip() or done.stdout.strip()}")


def node_config(paths: Paths, node: str) -> list:
    """What makes one node out of the common image: (path, text, mode)."""
    key = paths.node(node) / "ssh_host_ed25519_key"
    everyone = "".join(f"{nodes.address(name)}\t{name}\n" for name in nodes.names(config.MAX_NODES))
    return [
        ("etc/hostname", f"{node}\n", 0o644),
        ("etc/hosts", f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{everyone}", 0o644),
        ("etc/ssh/ssh_host_ed25519_key", key.read_text(), 0o600),
        ("etc/ssh/ssh_host_ed25519_key.pub", key.with_name(key.name + ".pub").read_text(), 0o644),
        ("root/.ssh/authorized_keys", paths.client_key.with_name("id_ed25519.pub").read_text(), 0o600),
        (
            "etc/systemd/network/20-cluster.network",
            f"[Match]\nName=eth1\n\n[Network]\nAddress={nodes.address(node)}/24\n"
            "LinkLocalAddressing=no\nIPv6AcceptRA=no\n",
            0o644,
        ),
        ("var/lib/gantry-lab/node.conf", f"VG={config.VOLUME_GROUP}\n", 0o644),
    ]


def config_tar(entries: list) -> bytes:
    """The entries as a tar archive, the same bytes for the same entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("root/.ssh")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(folder)
        for name, text, mode in entries:
            entry = tarfile.TarInfo(name)
            data = text.encode()
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _prepare(paths: Paths, lab: dict, node: str, own: dict) -> None:
    """Makes the node's folder: keys, configuration disk, empty disks. Nothing in it is in use yet."""
    folder = paths.node(node)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    _key(folder / "ssh_host_ed25519_key", node)
    config.write(folder / "config.tar", config_tar(node_config(paths, node)), 0o600)
    with (folder / "data.raw").open("wb") as stream:
        stream.truncate(own["disk_gib"] * 1024**3)
    nodes.prepare(paths, lab, node, own)


def _write_ssh(paths: Paths, lab: dict) -> None:
    """The files that let ssh in: known hosts, and a configuration with every node's name."""
    known, hosts = [], []
    for node, own in sorted(lab["nodes"].items()):
        public = (paths.node(node) / "ssh_host_ed25519_key.pub").read_text().split()
        known.append(f"[127.0.0.1]:{own['ssh_port']} {public[0]} {public[1]}\n")
        hosts.append(f"Host {node}\n    HostName 127.0.0.1\n    Port {own['ssh_port']}\n    User root\n")
    options = inventory.trust_options(paths) + inventory.reuse_options(paths)
    common = "".join(f"    {name} {_quote(value)}\n" for name, value in options)
    config.write(paths.known_hosts, "".join(known))
    config.write(
        paths.ssh_config,
        "".join(hosts) + f"Host *\n    IdentityFile {_quote(str(paths.client_key))}\n    LogLevel ERROR\n{common}",
    )


def _quote(value: str) -> str:
    return f'"{value}"' if " " in value else value


def answers(port: int, timeout: float = 2.0) -> bool:
    """Whether an SSH server greets on that port. (The port itself is always open while the node has power.)"""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait(paths: Paths, lab: dict, timeout: float) -> None:
    """Waits until every node has booted and lets us in. Raises LabError with the console's last lines."""
    started = time.monotonic()
    waiting = sorted(lab["nodes"])
    errors = []
    stop = threading.Event()

    def follow(node: str, port: int) -> None:
        try:
            while not stop.is_set():
                # Patient: a connection given up and made anew is work for the node that it has no time for.
                if answers(port, 10.0):
                    _booted(paths, node, timeout - (time.monotonic() - started))
                    waiting.remove(node)
                    say(f"  {time.monotonic() - started:4.0f} s: {node} is up")
                    return
                if not nodes.alive(paths, node):
                    raise LabError(f"{node} went off while it booted. Its console:\n{nodes.serial_tail(paths, node)}")
                stop.wait(0.5)
        except LabError as error:
            errors.append(error)

    for node, own in lab["nodes"].items():
        threading.Thread(target=follow, args=(node, own["ssh_port"]), daemon=True).start()
    said = started
    try:
        while waiting and not errors:
            now = time.monotonic()
            if now - started > timeout:
                raise LabError(
                    f"{', '.join(waiting)} did not answer within {timeout:g} s. The console of {waiting[0]}:\n"
                    f"{nodes.serial_tail(paths, waiting[0])}"
                )
            if now - said >= 5:
                said = now
                say(f"  {now - started:4.0f} s: waiting for {', '.join(waiting)}")
            time.sleep(0.1)
    finally:
        stop.set()
    if errors:
        raise errors[0]


def _booted(paths: Paths, node: str, timeout: float) -> None:
    """Logs in and waits for systemd to have started everything."""
    command = ssh_command(paths, node, ["systemctl", "is-system-running", "--wait"])
    # A connection that stays open in the background would keep our pipe open, too.
    for option in ("BatchMode=yes", "ControlMaster=no", "ControlPath=none", "ConnectTimeout=60"):
        command[1:1] = ["-o", option]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=max(timeout, 60)
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{node} does not finish booting. Its console:\n{nodes.serial_tail(paths, node)}") from error
    state = done.stdout.strip()
    if done.returncode == 255:
        raise LabError(
            f"{node} does not let us in: {done.stderr.strip()}. Its console:\n{nodes.serial_tail(paths, node)}"
        )
    if state != "running":
        say(f"  {node} says it is {state or 'in an unknown state'}: script/lab ssh {node} systemctl --failed")


def ssh_command(paths: Paths, node: str, command: list) -> list:
    """The ssh command line into a node."""
    return ["ssh", "-F", str(paths.ssh_config), node, *command]


def down(paths: Paths) -> bool:
    """Takes the lab away: processes, sockets, disks, keys, ports. True if there was anything."""
    if not paths.state.exists() and not paths.run.exists():
        return False
    with _lab_lock(paths):
        nodes.end_all(paths)
        shutil.rmtree(paths.state, ignore_errors=True)
        # Gone from the list only after its disks: until then they need the image.
        ports.release(paths)
        shutil.rmtree(paths.run, ignore_errors=True)
    for folder in (paths.state.parent, paths.run.parent):
        with contextlib.suppress(OSError):
            folder.rmdir()
    if paths.state.exists():
        raise LabError(f"{paths.state} could not be removed whole: look there, then run down again")
    return True


def status(paths: Paths) -> dict:
    """The lab as data."""
    lab = nodes.load(paths)
    return {
        "name": paths.name,
        "suite": lab["suite"],
        "accelerator": lab["accelerator"],
        "images": image.images(lab),
        "state": str(paths.state),
        "inventory": str(paths.inventory),
        "ssh_config": str(paths.ssh_config),
        "nodes": {
            node: {
                "flavour": nodes.flavour(lab, node),
                "power": nodes.power_status(paths, node),
                "pid": nodes.alive(paths, node),
                "ssh": answers(own["ssh_port"], 5.0),
                "ssh_port": own["ssh_port"],
                "address": nodes.address(node),
                "memory_mib": own["memory_mib"],
                "disk_gib": own["disk_gib"],
                "disk_used_mib": _used_mib(paths.node(node)),
                "links": nodes.links(paths, node),
            }
            for node, own in sorted(lab["nodes"].items())
        },
    }


def _used_mib(folder: pathlib.Path) -> int:
    """What the node's disks take up on this machine, in MiB."""
    total = 0
    for name in ("root.qcow2", "root.cow", "data.raw"):
        with contextlib.suppress(OSError):
            total += os.stat(folder / name).st_blocks * 512
    return total // 1024**2
