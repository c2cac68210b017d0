# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node: its QEMU command line, its power switch and its cables."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import select
import signal
import subprocess
import time

from . import config, host, image as images
from .config import LabError, Paths
from .qmp import Qmp, QmpError

# Cable -> the network card's name in QEMU and in the node.
LINKS = {"control": "eth0", "cluster": "eth1"}


def names(count: int) -> list:
    """node1 to node<count>."""
    return [f"node{number}" for number in range(1, count + 1)]


def number(node: str) -> int:
    """The number in the node's name."""
    return int(node.removeprefix("node"))


def address(node: str) -> str:
    """The node's address in the cluster network."""
    return f"{config.CLUSTER_NET}.{10 + number(node)}"


def machine_id(paths: Paths, node: str) -> str:
    """A number (32 hex digits) that this node keeps, and no other node has; libvirt compares them."""
    return hashlib.md5(f"{paths.state}/{node}".encode(), usedforsecurity=False).hexdigest()


def mac(paths: Paths, node: str, card: int) -> str:
    """The hardware address of the node's card number 0 or 1."""
    return f"52:54:00:{paths.key[:2]}:{card:02x}:{number(node):02x}"


def arguments(paths: Paths, lab: dict, node: str, program: str) -> list:
    """QEMU's command line for a node of the lab (`lab` is the content of lab.json)."""
    own = lab["nodes"][node]
    folder = paths.node(node)
    image = images.Image(pathlib.Path(images.images(lab)[config.FLAVOURS[flavour(lab, node)]]))
    uuid = machine_id(paths, node)
    accelerator = {"kvm": ["kvm"], "tcg": ["tcg,thread=multi,tb-size=256"]}[lab["accelerator"]]
    # An emulated CPU offers SVM, too: the nodes would believe in a KVM that is slower and less tried than TCG.
    # Page tables of five levels only make each emulated page walk longer.
    processor = {"kvm": "host", "tcg": "max,la57=off,svm=off"}[lab["accelerator"]]
    # Writes reach the host's memory at once and survive QEMU's death; nothing waits for the host's disk.
    disk = "if=none,cache=unsafe,discard=unmap,detect-zeroes=unmap"
    xen = flavour(lab, node) == "xen"
    if xen:
        # Under the newest emulated CPU the kernel dies as Xen's guest. Of those that are AMD's, and so have emulated virtualisation,
        # Xen hides features without which libvirt knows no CPU: then there is no xen:///system.
        processor = os.environ.get("GANTRY_LAB_XEN_CPU", "Nehalem")
        # Xen, its first guest and what that runs are more code than fits in what is enough for a plain node.
        accelerator = [word.replace("tb-size=256", "tb-size=512") for word in accelerator]
    kernel = [
        "root=/dev/vda rw rootfstype=ext4",
        f"console={'hvc0' if xen else 'ttyS0'} TERM=dumb quiet loglevel=4 systemd.show_status=1 panic=10",
        f"net.ifnames=0 systemd.hostname={node} systemd.machine_id={uuid}",
        # Nobody attacks a node through its own CPU here, and emulated mitigations are pure cost.
        "mitigations=off",
    ]
    if xen:
        # Each system call of a paravirtual guest empties the emulated CPU's TLB: on a busy machine this boot takes minutes.
        kernel.append("systemd.default_timeout_start_sec=900 systemd.service_watchdogs=no")
    return [
        program,
        "-name", f"{lab['name']}-{node}",
        "-nodefaults", "-no-user-config", "-display", "none", "-daemonize",
        "-pidfile", str(folder / "pid"),
        "-machine", "q35", "-accel", *accelerator, "-cpu", processor,
        "-smp", str(own["cpus"]), "-m", f"{own['memory_mib']}M",
        "-uuid", f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}",
        *(boot_xen if xen else boot_linux)(image, " ".join(kernel)),
        "-chardev", f"file,id=serial,path={escape(folder / 'serial.log')},append=on", "-serial", "chardev:serial",
        "-chardev", f"socket,id=qmp,path={escape(paths.qmp(node))},server=on,wait=off",
        "-mon", "chardev=qmp,mode=control",
        "-drive", f"id=root,file={escape(folder / 'root.qcow2')},format=qcow2,{disk}",
        "-device", "virtio-blk-pci,drive=root,serial=gantry-root",
        "-drive", f"id=data,file={escape(folder / 'data.raw')},format=raw,{disk}",
        "-device", "virtio-blk-pci,drive=data,serial=gantry-data",
        "-drive", f"id=config,file={escape(folder / 'config.tar')},format=raw,if=none,read-only=on",
        "-device", "virtio-blk-pci,drive=config,serial=gantry-config",
        # Nothing that a node sends gets out of the emulators; the forwarded port is the only way in.
        "-netdev", f"user,id=control,restrict=on,hostfwd=tcp:127.0.0.1:{own['ssh_port']}-:22",
        "-device", f"virtio-net-pci,id=eth0,netdev=control,mac={mac(paths, node, 0)},romfile=",
        "-netdev", f"socket,id=cluster,mcast=230.0.0.77:{lab['mcast_port']},localaddr=127.0.0.1",
        "-device", f"virtio-net-pci,id=eth1,netdev=cluster,mac={mac(paths, node, 1)},romfile=",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip


def flavour(lab: dict, node: str) -> str:
    """What the node runs guests with: kvm, lxc or xen."""
    return lab["nodes"][node].get("flavour", "kvm")


def boot_linux(image: images.Image, words: str) -> list:
    """The options that boot a kernel."""
    return ["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", words]


def boot_xen(image: images.Image, words: str) -> list:
    """The options that boot Xen as a multiboot kernel, whose modules are the kernel of its first guest and the initrd."""
    words = words.replace(",", ",,")
    hypervisor = [
        "console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=warning",
        f"dom0_mem={config.DOM0_MIB}M,max:{config.DOM0_MIB}M",
        "spec-ctrl=no xpti=no",
    ]
    return [
        "-kernel", str(image.xen), "-initrd", f"{escape(image.kernel)} {words},{escape(image.initrd)}",
        "-append", " ".join(hypervisor),
    ]  # fmt: skip


def escape(path: pathlib.Path) -> str:
    """The path as QEMU wants it inside an option list, where commas part the options."""
    return str(path).replace(",", ",,")


def alive(paths: Paths, node: str) -> int | None:
    """The process id of the node's QEMU, or None. A process id that something else has got by now does not count."""
    pidfile = paths.node(node) / "pid"
    try:
        pid = int(pidfile.read_text())
    except (OSError, ValueError):
        return None
    return pid if _pidfile_of(pid) == pidfile else None


def _pidfile_of(pid: int) -> pathlib.Path | None:
    """The -pidfile argument of a process, or None if it has none, is a zombie or is gone."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    for one, other in zip(words, words[1:]):
        if one == b"-pidfile":
            return pathlib.Path(os.fsdecode(other))
    return None


def strays(paths: Paths) -> list:
    """Process ids of every QEMU that belongs to the lab, whatever the lab itself remembers."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        pidfile = _pidfile_of(int(folder.name))
        if pidfile and paths.state / "nodes" in pidfile.parents:
            found.append(int(folder.name))
    return found


def kill(paths: Paths, pid: int, timeout: float = 10.0) -> None:
    """Ends a QEMU of this lab at once, as a power cut would, and waits until it is gone. Raises LabError."""
    try:
        # The handle stays with this process even if its number is given to another one.
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        pidfile = _pidfile_of(pid)
        if not pidfile or paths.state / "nodes" not in pidfile.parents:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        # The handle becomes readable when the process ends, whether or not its parent has noticed.
        if not select.select([handle], [], [], timeout)[0]:
            raise LabError(f"QEMU (process {pid}) is still there {timeout:g} s after it was killed")
    finally:
        os.close(handle)


def frozen(pid: int) -> bool:
    """Whether somebody stopped the process with a signal (SIGSTOP): it neither runs nor answers, and still exists."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except OSError:
        return False


def _on(paths: Paths, node: str) -> int:
    """The process id of a node whose monitor can be asked. Raises LabError if it is off or frozen."""
    pid = alive(paths, node)
    if not pid:
        raise LabError(f"{node} is off: script/lab power {node} on")
    if frozen(pid):
        raise LabError(f"QEMU of {node} was stopped by a signal from outside the lab: kill -CONT {pid}")
    return pid


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
    """Starts the node if it is off; True if it was. Raises LabError with what QEMU said."""
    lab = load(paths, node)
    with _lock(paths, node):
        if alive(paths, node):
            return False
        folder = paths.node(node)
        (folder / "pid").unlink(missing_ok=True)
        paths.qmp(node).unlink(missing_ok=True)
        command = arguments(paths, lab, node, host.find("qemu-system-x86_64") or "qemu-system-x86_64")
        pulled = [name for name, plugged in links(paths, node).items() if not plugged]
        if pulled:
            command.append("-S")
        with (folder / "serial.log").open("a") as serial:
            serial.write(f"\n--- power on {time.strftime('%Y-%m-%d %H:%M:%S')} ---\n")
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                start_new_session=True, timeout=60, cwd="/", check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(f"{node} did not start: {error}") from error
        if done.returncode:
            raise LabError(f"{node} did not start: {done.stdout.strip() or f'QEMU ended with {done.returncode}'}")
        if pulled:
            with Qmp(paths.qmp(node)) as monitor:
                for name in pulled:
                    monitor.execute("set_link", name=LINKS[name], up=False)
                monitor.execute("cont")
        return True


def power_off(paths: Paths, node: str) -> bool:
    """Cuts the node's power; True if it was on. When it returns, the node's QEMU is gone."""
    load(paths, node)
    with _lock(paths, node):
        pid = alive(paths, node)
        if pid:
            kill(paths, pid)
        (paths.node(node) / "pid").unlink(missing_ok=True)
        paths.qmp(node).unlink(missing_ok=True)
        return pid is not None


def monitor(paths: Paths, node: str, command: str, **arguments_):
    """Runs one QMP command on a node that is on. Raises LabError."""
    load(paths, node)
    with _lock(paths, node):
        _on(paths, node)
        with Qmp(paths.qmp(node)) as conversation:
            return conversation.execute(command, **arguments_)


def set_link(paths: Paths, node: str, link: str, plugged: bool) -> bool:
    """Plugs a cable in or pulls it; True if that was news."""
    load(paths, node)
    with _lock(paths, node):
        state = links(paths, node)
        changed = state[link] != plugged
        state[link] = plugged
        on = alive(paths, node) and _on(paths, node)
        config.write_json(paths.node(node) / "links.json", state)
        if on:
            with Qmp(paths.qmp(node)) as conversation:
                conversation.execute("set_link", name=LINKS[link], up=plugged)
        return changed


def power_status(paths: Paths, node: str) -> str:
    """on, paused, frozen or off. A node whose monitor does not answer is on: it may well be running."""
    pid = alive(paths, node)
    if not pid:
        return "off"
    if frozen(pid):
        return "frozen"
    try:
        state = monitor(paths, node, "query-status")["status"]
    except QmpError:
        return "on" if alive(paths, node) else "off"
    except LabError:
        return "off"
    return "paused" if state in ("paused", "prelaunch") else "on"


def serial_tail(paths: Paths, node: str, lines: int = 30) -> str:
    """The last lines that the node wrote on its console."""
    try:
        with (paths.node(node) / "serial.log").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 65536))
            text = stream.read().decode(errors="replace")
    except OSError:
        return "(nothing yet)"
    return "\n".join(text.replace("\r", "").splitlines()[-lines:])
