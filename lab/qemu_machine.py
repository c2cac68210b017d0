# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that is a virtual machine: its QEMU command line, its power switch and its cables."""

from __future__ import annotations

import os
import pathlib
import subprocess

from . import config, host, image as images, processes, switchboard
from .config import LabError, Paths
from .identity import LINKS, flavour, mac, machine_id, words
from .qmp import Qmp, QmpError


def arguments(paths: Paths, lab: dict, node: str, program: str) -> list:
    """QEMU's command line for a node of the lab (`lab` is the content of lab.json)."""
    own = lab["nodes"][node]
    folder = paths.node(node)
    image = images.Image(pathlib.Path(images.images(lab)[config.FLAVOURS[flavour(lab, node)]]))
    uuid = machine_id(paths, node)
    kvm = lab["accelerator"] == "kvm"
    # An emulated CPU offers SVM, too: the nodes would believe in a KVM that is slower and less tried than TCG.
    # Page tables of five levels only make each emulated page walk longer.
    processor = "host" if kvm else "max,la57=off,svm=off"
    # Writes reach the host's memory at once and survive QEMU's death; nothing waits for the host's disk.
    disk = "if=none,cache=unsafe,discard=unmap,detect-zeroes=unmap"
    xen = flavour(lab, node) == "xen"
    # What is translated is kept: Xen, its first guest and what that runs are more code than a plain node.
    cache = 512 if xen else 256
    if xen:
        # Under the newest emulated CPU the kernel dies as Xen's guest. The virtualisation that QEMU emulates is AMD's, and a guest
        # chooses its hypercall by the vendor: so it is an old Intel one that says it is AMD's. Xen hides features of it without
        # which libvirt knows no CPU; the image adds one that does without.
        processor = os.environ.get("GANTRY_LAB_XEN_CPU", "Nehalem,vendor=AuthenticAMD,+svm,+npt,xlevel=0x8000000a")
    kernel = [
        "root=/dev/vda rw rootfstype=ext4",
        f"console={'hvc0' if xen else 'ttyS0'} {words(paths, node)}",
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
        "-machine", "q35", "-accel", "kvm" if kvm else f"tcg,thread=multi,tb-size={cache}", "-cpu", processor,
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
        "-netdev", cluster_network(paths, lab, node),
        "-device", f"virtio-net-pci,id=eth1,netdev=cluster,mac={mac(paths, node, 1)},romfile=",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip


def cluster_network(paths: Paths, lab: dict, node: str) -> str:
    """The cable of the cluster network, as QEMU's -netdev wants it."""
    if lab["accelerator"] != "uml":
        return f"socket,id=cluster,mcast=230.0.0.77:{lab['mcast_port']},localaddr=127.0.0.1"
    here, there = switchboard.cable(paths, node, "cluster")
    return (
        f"dgram,id=cluster,local.type=unix,local.path={escape(here)},remote.type=unix,remote.path={escape(there)}"
    )


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
        # A Xen of one's own, such as that of `script/lab xen`.
        "-kernel", os.environ.get("GANTRY_LAB_XEN") or str(image.xen), "-initrd", f"{escape(image.kernel)} {words},{escape(image.initrd)}",
        "-append", " ".join(hypervisor),
    ]  # fmt: skip


def escape(path: pathlib.Path) -> str:
    """The path as QEMU wants it inside an option list, where commas part the options."""
    return str(path).replace(",", ",,")


def prepare(paths: Paths, lab: dict, node: str, own: dict) -> None:
    """Makes the root disk, an overlay on the image. Raises LabError."""
    image = images.Image(pathlib.Path(lab["images"][config.FLAVOURS[own["flavour"]]]))
    done = subprocess.run(
        [host.find("qemu-img"), "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
         str(image.rootfs), str(paths.node(node) / "root.qcow2")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"qemu-img failed: {done.stderr.strip()}")


def alive(paths: Paths, node: str) -> int | None:
    """The process id of the node's QEMU, or None."""
    return processes.alive(paths.node(node) / "pid")


def running(paths: Paths, node: str) -> int:
    """The process id of a node whose monitor can be asked. Raises LabError if it is off or frozen."""
    pid = alive(paths, node)
    if not pid:
        raise LabError(f"{node} is off: script/lab power {node} on")
    if processes.frozen(pid):
        raise LabError(f"QEMU of {node} was stopped by a signal from outside the lab: kill -CONT {pid}")
    return pid


def monitor(paths: Paths, node: str, command: str, **arguments_):
    """Runs one QMP command on a node that is on. Raises LabError."""
    running(paths, node)
    with Qmp(paths.qmp(node)) as conversation:
        return conversation.execute(command, **arguments_)


def start(paths: Paths, lab: dict, node: str, plugged: dict) -> None:
    """Starts a node that is off, with its cables as they are. Raises LabError with what QEMU said."""
    folder = paths.node(node)
    (folder / "pid").unlink(missing_ok=True)
    paths.qmp(node).unlink(missing_ok=True)
    if lab["accelerator"] == "uml":
        switchboard.ensure(paths)
        # The card itself knows whether it is plugged in.
        switchboard.connect(paths, lab, node, {"cluster": True})
        switchboard.cable(paths, node, "cluster")[0].unlink(missing_ok=True)
    command = arguments(paths, lab, node, host.find("qemu-system-x86_64") or "qemu-system-x86_64")
    pulled = [name for name, up in plugged.items() if not up]
    if pulled:
        command.append("-S")
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
        with Qmp(paths.qmp(node)) as conversation:
            for name in pulled:
                conversation.execute("set_link", name=LINKS[name], up=False)
            conversation.execute("cont")


def cut(paths: Paths, lab: dict, node: str) -> None:
    """Ends the node's QEMU at once, as a power cut would."""
    pid = alive(paths, node)
    if pid:
        processes.kill(paths.state, pid)
    (paths.node(node) / "pid").unlink(missing_ok=True)
    paths.qmp(node).unlink(missing_ok=True)
    if lab["accelerator"] == "uml":
        switchboard.disconnect(paths, lab, node, ("cluster",))


def reset(paths: Paths, _lab: dict, node: str) -> None:
    """Presses the reset button."""
    monitor(paths, node, "system_reset")


def pause(paths: Paths, node: str) -> None:
    """Stops the node's CPU."""
    monitor(paths, node, "stop")


def resume(paths: Paths, node: str) -> None:
    """Lets it go on."""
    monitor(paths, node, "cont")


def set_link(paths: Paths, node: str, link: str, plugged: bool) -> None:
    """Plugs a cable of a node that is on in, or pulls it."""
    monitor(paths, node, "set_link", name=LINKS[link], up=plugged)


def state(paths: Paths, node: str) -> str:
    """on, paused, frozen or off. A node whose monitor does not answer is on: it may well be running."""
    pid = alive(paths, node)
    if not pid:
        return "off"
    if processes.frozen(pid):
        return "frozen"
    try:
        status = monitor(paths, node, "query-status")["status"]
    except QmpError:
        return "on" if alive(paths, node) else "off"
    except LabError:
        return "off"
    return "paused" if status in ("paused", "prelaunch") else "on"
