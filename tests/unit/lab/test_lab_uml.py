# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of User-Mode Linux: their command line, their processes, their switchboard, and how they are chosen."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest

from ansible_collections.gantry.cluster.lab import (
    accelerator, cluster, config, identity, image, ports, qemu_machine, switchboard, uml_machine,
)  # fmt: skip
from ansible_collections.gantry.cluster.lab import node as nodes
from ansible_collections.gantry.cluster.lab.config import LabError, Paths

LAB = {
    "version": 1,
    "name": "soft",
    "suite": "bookworm",
    "images": {"linux": "/cache/images/linux-bookworm-0", "xen": "/cache/images/xen-bookworm-0"},
    "accelerator": "uml",
    "mcast_port": 20500,
    "nodes": {
        "node1": {"flavour": "kvm", "ssh_port": 20001, "memory_mib": 1536, "disk_gib": 8, "cpus": 1},
        "node2": {"flavour": "lxc", "ssh_port": 20002, "memory_mib": 2048, "disk_gib": 8, "cpus": 1},
        "node3": {"flavour": "xen", "ssh_port": 20003, "memory_mib": 2560, "disk_gib": 8, "cpus": 1},
    },
}


@pytest.fixture(name="paths")
def _paths(tmp_path, monkeypatch):
    monkeypatch.setenv("GANTRY_LAB_STATE", str(tmp_path / "labs"))
    monkeypatch.setenv("GANTRY_CACHE", str(tmp_path / "cache"))
    paths = Paths.of("soft")
    for node in LAB["nodes"]:
        paths.node(node).mkdir(parents=True)
    config.write_json(paths.config, LAB)
    yield paths
    cluster.down(paths)


@pytest.fixture(name="kernel")
def _kernel(paths, tmp_path):
    """Stands in for node1: a program of the kernel's name with a process under it, in the node's folder."""
    program = tmp_path / "linux.uml"
    shutil.copy("/bin/sh", program)
    folder = paths.node("node1")
    process = subprocess.Popen(
        [str(program), "-c", "exec 3<&0; (read word <&3) & read word <&3"], stdin=subprocess.PIPE, cwd=folder
    )
    until(lambda: len(uml_machine.members(folder)) == 2)
    (folder / "pid").write_text(f"{process.pid}\n")
    yield process
    process.stdin.close()
    process.wait(10)


def until(condition, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_node_is_made_of():
    assert [identity.kind(LAB, node) for node in sorted(LAB["nodes"])] == ["uml", "uml", "qemu"]
    for other in ("kvm", "tcg"):
        assert {identity.kind(LAB | {"accelerator": other}, node) for node in LAB["nodes"]} == {"qemu"}


def test_command_line(paths):
    command = uml_machine.arguments(paths, LAB, "node2", [5, 6])
    # By this name the kernel starts itself anew at a reboot.
    assert command[0] == "/cache/images/linux-bookworm-0/linux.uml"
    assert "mem=2048M" in command and "umid=node2" in command and f"uml_dir={paths.run}/uml/" in command
    assert f"vec0:transport=fd,fd=5,mac={nodes.mac(paths, 'node2', 0)}" in command
    assert f"vec1:transport=fd,fd=6,mac={nodes.mac(paths, 'node2', 1)}" in command
    # The lab's folder may have any name: none of it stands where a comma or colon parts words.
    assert [word for word in command if word.startswith("ubd")] == [
        "ubd0c=root.cow,base,gantry-root", "ubd1=data.raw,,gantry-data", "ubd2r=config.tar,,gantry-config",
    ]  # fmt: skip
    assert {"net.ifnames=0", "systemd.hostname=node2", "panic=10"} <= set(command)


def test_a_xen_node_of_the_same_lab_is_emulated_and_plugged_into_the_same_hub(paths):
    command = qemu_machine.arguments(paths, LAB, "node3", "qemu")
    assert command[command.index("-accel") + 1].startswith("tcg")
    here, there = switchboard.cable(paths, "node3", "cluster")
    assert f"dgram,id=cluster,local.type=unix,local.path={here},remote.type=unix,remote.path={there}" in command
    for path in (here, there, *switchboard.cable(paths, "node9", "control"), paths.run / "uml" / "node9" / "mconsole"):
        assert len(os.fsencode(path)) < 108


def test_the_node_s_files_are_named_in_its_folder(paths):
    nodes.prepare(paths, LAB, "node1", LAB["nodes"]["node1"])
    assert os.readlink(paths.node("node1") / "base") == "/cache/images/linux-bookworm-0/rootfs.raw"


def test_memory_lies_in_memory_if_there_is_room(tmp_path, monkeypatch):
    otherwise = tmp_path / "node"
    assert uml_machine.memory_folder(tmp_path, 1, otherwise) == tmp_path
    assert uml_machine.memory_folder(tmp_path, 2**40, otherwise) == otherwise
    assert uml_machine.memory_folder(tmp_path / "none", 1, otherwise) == otherwise
    found = os.statvfs(tmp_path)
    monkeypatch.setattr(
        os, "statvfs", lambda path: os.statvfs_result(tuple(found[:8]) + (found.f_flag | os.ST_NOEXEC,) + tuple(found[9:]))
    )
    assert uml_machine.memory_folder(tmp_path, 1, otherwise) == otherwise
    assert uml_machine.environment(otherwise)["TMPDIR"] == str(otherwise)


def test_processes_are_found_by_folder_and_program(paths, kernel):
    assert nodes.alive(paths, "node1") == kernel.pid
    assert nodes.power_status(paths, "node1") == "on"
    assert nodes.alive(paths, "node2") is None
    (paths.node("node2") / "pid").write_text(str(kernel.pid))
    assert nodes.alive(paths, "node2") is None
    # Somebody's shell in the node's folder is none of its processes.
    with subprocess.Popen(["sleep", "60"], cwd=paths.node("node1")) as other:
        until(lambda: os.path.exists(f"/proc/{other.pid}/cwd"))
        assert other.pid not in uml_machine.members(paths.node("node1"))
        other.kill()
    assert set(uml_machine.members(paths.node("node1"))) == set(uml_machine.members(paths.state / "nodes"))
    assert nodes.power_on(paths, "node1") is False


def test_a_power_cut_leaves_no_process(paths, kernel):
    found = uml_machine.members(paths.node("node1"))
    assert nodes.power_off(paths, "node1") is True
    assert uml_machine.members(paths.node("node1")) == {}
    assert kernel.wait(10) == -signal.SIGKILL and len(found) == 2
    assert not (paths.node("node1") / "pid").exists()
    assert nodes.power_off(paths, "node1") is False
    assert nodes.power_status(paths, "node1") == "off"


def test_a_power_cut_reaches_what_a_dead_kernel_left(paths, kernel):
    kernel.kill()
    os.waitid(os.P_PID, kernel.pid, os.WEXITED | os.WNOWAIT)
    # A zombie is off.
    assert nodes.alive(paths, "node1") is None
    assert len(uml_machine.members(paths.node("node1"))) == 1
    assert nodes.power_off(paths, "node1") is False
    assert uml_machine.members(paths.node("node1")) == {}


def test_the_kernel_is_stopped_first_and_goes_last(paths, kernel, monkeypatch):
    sent = []
    send = signal.pidfd_send_signal
    monkeypatch.setattr(uml_machine.os, "pidfd_open", lambda pid, opener=os.pidfd_open: sent.append([pid]) or opener(pid))
    monkeypatch.setattr(
        uml_machine.signal, "pidfd_send_signal", lambda handle, number: sent[-1].append(number) or send(handle, number)
    )
    uml_machine.end(paths.node("node1"))
    order = [tuple(step) for step in sent if len(step) == 2]
    killed = [pid for pid, number in order if number == signal.SIGKILL]
    assert order[0] == (kernel.pid, signal.SIGSTOP)
    assert killed[-1] == kernel.pid and killed[0] != kernel.pid


def test_pause_and_resume(paths, kernel):
    nodes.pause(paths, "node1")
    assert nodes.power_status(paths, "node1") == "paused"
    nodes.resume(paths, "node1")
    until(lambda: nodes.power_status(paths, "node1") == "on")
    nodes.pause(paths, "node1")
    assert nodes.power_off(paths, "node1") is True
    with pytest.raises(LabError, match="node1 is off: script/lab power node1 on"):
        nodes.pause(paths, "node1")


def test_down_finds_what_the_state_has_forgotten(paths, kernel):
    (paths.node("node1") / "pid").unlink()
    paths.config.unlink()
    assert cluster.down(paths) is True
    assert kernel.wait(10) == -signal.SIGKILL
    assert not paths.state.exists()


def test_a_kernel_that_does_not_start_says_why(paths, tmp_path):
    config.write(tmp_path / "image" / "linux.uml", "#!/bin/sh\necho no memory for $1\nexit 1\n", 0o755)
    lab = LAB | {"images": {"linux": str(tmp_path / "image")}, "nodes": with_free_ports(paths, 1)}
    config.write_json(paths.config, lab)
    with pytest.raises(LabError, match="node1 did not start: no memory for umid=node1"):
        nodes.power_on(paths, "node1")
    assert nodes.power_status(paths, "node1") == "off"


def with_free_ports(paths, count):
    taken = ports.reserve(paths, nodes.names(count))
    return {node: LAB["nodes"]["node1"] | {"ssh_port": taken[node]} for node in taken}


@pytest.fixture(name="plugged")
def _plugged(paths):
    """Two nodes' ends of their cables, {(node, cable): socket}, and the lab."""
    lab = LAB | {"nodes": with_free_ports(paths, 2)}
    config.write_json(paths.config, lab)
    switchboard.ensure(paths)
    ends = {}
    for node in lab["nodes"]:
        switchboard.connect(paths, lab, node, dict.fromkeys(nodes.LINKS, True))
        for link in nodes.LINKS:
            ends[node, link] = uml_machine.node_end(*switchboard.cable(paths, node, link))
            ends[node, link].settimeout(5)
    yield lab, ends
    for end in ends.values():
        end.close()


def frame(text: bytes) -> bytes:
    """An Ethernet frame to everybody, of a kind that nobody answers."""
    return b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x01" + b"\x88\xb5" + text.ljust(46, b"\0")


def passes(one, other, text: bytes) -> bool:
    one.send(frame(text))
    other.settimeout(0.5)
    try:
        return frame(text) in other.recv(2000)
    except TimeoutError:
        return False


def test_a_busy_reader_does_not_stop_a_node(tmp_path):
    """Where the setting is ours to change; else a socket takes as many frames as the system says."""
    before = switchboard.QUEUE_LENGTH.read_text(encoding="ascii")
    with switchboard.long_queues(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(tmp_path / "reader"))
        sender = uml_machine.node_end(tmp_path / "node", tmp_path / "reader")
        sender.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 300:
                sender.send(bytes(1500))
                sent += 1
        sender.close()
    assert sent == (300 if os.access(switchboard.QUEUE_LENGTH, os.W_OK) else int(before) + 1)
    assert switchboard.QUEUE_LENGTH.read_text(encoding="ascii") == before


def test_the_switchboard_joins_nodes_and_cuts_cables(paths, plugged):
    lab, ends = plugged
    one, two = ends["node1", "cluster"], ends["node2", "cluster"]
    assert passes(one, two, b"a") and passes(two, one, b"b")
    # Nobody gets his own frames back, and the control networks are apart.
    assert not passes(one, one, b"c") and two.recv(2000)
    assert not passes(ends["node1", "control"], ends["node2", "control"], b"d")
    switchboard.set_link(paths, "node1", "cluster", False)
    assert not passes(one, two, b"e") and not passes(two, one, b"f")
    switchboard.set_link(paths, "node1", "cluster", True)
    assert passes(one, two, b"g") and passes(two, one, b"h")
    # A cable that was pulled while the node was off is so when it starts.
    switchboard.connect(paths, lab, "node2", {"control": True, "cluster": False})
    two.close()
    ends["node2", "cluster"] = two = uml_machine.node_end(*switchboard.cable(paths, "node2", "cluster"))
    assert not passes(one, two, b"i") and not passes(two, one, b"j")


def test_the_switchboard_s_port_is_open_while_the_node_has_power(paths, plugged):
    lab, _ends = plugged
    port = lab["nodes"]["node1"]["ssh_port"]
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        switchboard.disconnect(paths, lab, "node1")
        connection.settimeout(5)
        try:
            assert connection.recv(1) == b""
        except ConnectionResetError:
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    pid = switchboard.alive(paths)
    switchboard.ensure(paths)
    assert switchboard.alive(paths) == pid
    cluster.down(paths)
    assert not pathlib.Path(f"/proc/{pid}/cwd").is_dir() and not paths.run.exists()


def test_no_node_is_plugged_into_a_new_switchboard_beside_others_of_the_old(paths, kernel):
    with pytest.raises(LabError, match="switchboard is gone, and node1 with"):
        uml_machine.start(paths, LAB, "node2", dict.fromkeys(nodes.LINKS, True))


@pytest.fixture(name="both")
def _both(tmp_path):
    """An image that has both kernels."""
    for name in ("vmlinuz", "linux.uml"):
        (tmp_path / name).write_text("")
    return image.Image(tmp_path)


def verdict(kind, reason="r", seconds=1.0):
    return {"accelerator": kind, "reason": reason, "seconds": seconds}


@pytest.mark.parametrize(
    "kvm,uml,found,seconds",
    [("kvm", "uml", "kvm", 1.0), ("tcg", "uml", "uml", 3.0), ("tcg", "tcg", "tcg", 3.0), (None, "uml", "uml", 2.0)],
)
def test_order_of_choice(both, monkeypatch, kvm, uml, found, seconds):
    monkeypatch.setattr(accelerator, "boot", lambda image_: verdict(kvm, "no MSR"))
    monkeypatch.setattr(accelerator, "boot_uml", lambda image_: verdict(uml, "booted", 2.0))
    result = accelerator.best(both, "" if kvm else "there is no /dev/kvm")
    assert (result["accelerator"], result["seconds"]) == (found, seconds)
    assert found == "kvm" or result["reason"] == f"booted (KVM: {'no MSR' if kvm else 'there is no /dev/kvm'})"


def test_an_image_without_the_kernel_is_emulated(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "boot", lambda image_: verdict("tcg"))
    assert accelerator.best(image.Image(tmp_path))["accelerator"] == "tcg"


def test_the_choice_is_kept_and_can_be_overruled(both, monkeypatch, tmp_path):
    monkeypatch.setenv("GANTRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(accelerator, "KVM", tmp_path / "kvm")
    answers = [verdict("uml"), verdict("tcg")]
    monkeypatch.setattr(accelerator, "boot_uml", lambda image_: answers.pop(0))
    assert [accelerator.choose(both) for _time in range(3)] == ["uml"] * 3
    assert accelerator.probe(both, again=True)["accelerator"] == "tcg"
    for kind in ("kvm", "uml", "tcg"):
        monkeypatch.setenv("GANTRY_LAB_ACCEL", kind)
        assert accelerator.choose(both) == kind
    monkeypatch.setenv("GANTRY_LAB_ACCEL", "uml")
    assert accelerator.choose(image.Image(tmp_path / "of-another-suite")) == "tcg"


@pytest.mark.parametrize(
    "script,kind,text",
    [
        ("echo 'Kernel panic - not syncing: VFS: Unable to mount root fs'; sleep 60", "uml", "a kernel booted"),
        ("echo 'Checking that ptrace can change system call numbers...'; sleep 60", "tcg", "within 1 s (its last words: Chec"),
        ("echo 'check_ptrace : PTRACE_TRACEME failed'; exit 1", "tcg", "PTRACE_TRACEME failed"),
    ],
)
def test_probe_believes_only_a_kernel_that_booted(tmp_path, script, kind, text):
    config.write(tmp_path / "linux.uml", f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n", 0o755)
    result = accelerator.boot_uml(image.Image(tmp_path), timeout=1.0)
    assert result["accelerator"] == kind and text in result["reason"]


def test_old_qemu_has_no_switchboard(both, monkeypatch, tmp_path):
    config.write(tmp_path / "qemu", "#!/bin/sh\necho 'Available netdev backend types:\nsocket\nuser'\n", 0o755)
    monkeypatch.setattr(accelerator.host, "find", lambda name: str(tmp_path / "qemu"))
    assert "QEMU 7.2 or newer" in accelerator.boot_uml(both)["reason"]
