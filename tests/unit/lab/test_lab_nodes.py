# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's command line, its identity and power, its inventory and its fence agent; no node is booted here."""

from __future__ import annotations

import io
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree

import pytest
import yaml

from ansible_collections.gantry.cluster.lab import (
    accelerator, cli, cluster, config, fence, image, inventory, processes, qemu_machine,
)  # fmt: skip
from ansible_collections.gantry.cluster.lab import node as nodes
from ansible_collections.gantry.cluster.lab.config import LabError, Paths
from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors

LAB = {
    "version": 1,
    "name": "one",
    "suite": "bookworm",
    "images": {"linux": "/cache/images/linux-bookworm-0"},
    "accelerator": "tcg",
    "mcast_port": 20500,
    "nodes": {
        "node1": {"flavour": "kvm", "ssh_port": 20001, "memory_mib": 1536, "disk_gib": 8, "cpus": 1},
        "node2": {"flavour": "kvm", "ssh_port": 20002, "memory_mib": 2048, "disk_gib": 8, "cpus": 2},
    },
}


@pytest.fixture(name="paths")
def _paths(tmp_path, monkeypatch):
    monkeypatch.setenv("GANTRY_LAB_STATE", str(tmp_path / "labs"))
    monkeypatch.setenv("GANTRY_CACHE", str(tmp_path / "cache"))
    paths = Paths.of("one")
    for node in LAB["nodes"]:
        paths.node(node).mkdir(parents=True)
    config.write_json(paths.config, LAB)
    yield paths
    cluster.down(paths)


@pytest.fixture(name="process")
def _process(paths):
    """Stands in for node1's QEMU: a process with its -pidfile argument, and the file itself."""
    pidfile = paths.node("node1") / "pid"
    started = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", "-pidfile", str(pidfile)], stdin=subprocess.PIPE
    )
    # The kernel shows a new program's arguments a moment after it has started.
    while str(pidfile) not in pathlib.Path(f"/proc/{started.pid}/cmdline").read_text():
        time.sleep(0.01)
    pidfile.write_text(f"{started.pid}\n")
    yield started
    started.stdin.close()
    started.wait(10)


def options(command: list, name: str) -> list:
    return [value for option, value in zip(command, command[1:]) if option == name]


def test_command_line_under_tcg(paths):
    command = qemu_machine.arguments(paths, LAB, "node2", "qemu")
    assert options(command, "-accel") == ["tcg,thread=multi,tb-size=256"]
    assert options(command, "-m") == ["2048M"] and options(command, "-smp") == ["2"]
    assert "-daemonize" in command and "-nodefaults" in command
    assert options(command, "-pidfile") == [str(paths.node("node2") / "pid")]
    user, cable = options(command, "-netdev")
    assert user == "user,id=control,restrict=on,hostfwd=tcp:127.0.0.1:20002-:22"
    assert cable == "socket,id=cluster,mcast=230.0.0.77:20500,localaddr=127.0.0.1"
    (kernel,) = options(command, "-append")
    assert "net.ifnames=0" in kernel and "systemd.hostname=node2" in kernel


def test_command_line_under_kvm(paths):
    command = qemu_machine.arguments(paths, LAB | {"accelerator": "kvm"}, "node1", "qemu")
    assert options(command, "-accel") == ["kvm"] and options(command, "-cpu") == ["host"]


def mixed(*flavours):
    """The lab with these nodes."""
    known = {f"node{number}": LAB["nodes"]["node1"] | {"flavour": name} for number, name in enumerate(flavours, 1)}
    return LAB | {"images": {"linux": "/cache/linux-0", "xen": "/cache/x,en-0"}, "nodes": known}


@pytest.mark.parametrize("flavour", ["kvm", "lxc"])
def test_kvm_and_lxc_nodes_boot_one_image(paths, flavour):
    command = qemu_machine.arguments(paths, mixed(flavour, "xen"), "node1", "qemu")
    assert options(command, "-kernel") == ["/cache/linux-0/vmlinuz"]
    assert options(command, "-initrd") == ["/cache/linux-0/initrd.img"]
    assert "console=ttyS0 " in options(command, "-append")[0]
    assert options(command, "-cpu") == ["max,la57=off,svm=off"]


@pytest.mark.parametrize("accelerator_", ["tcg", "kvm"])
def test_a_xen_node_boots_the_hypervisor_with_the_kernel_as_its_module(paths, accelerator_, monkeypatch):
    monkeypatch.delenv("GANTRY_LAB_XEN_CPU", raising=False)
    monkeypatch.delenv("GANTRY_LAB_XEN", raising=False)
    command = qemu_machine.arguments(paths, mixed("kvm", "xen") | {"accelerator": accelerator_}, "node2", "qemu")
    assert options(command, "-kernel") == ["/cache/x,en-0/xen"]
    (modules,) = options(command, "-initrd")
    # The first module has arguments, a comma parts the modules, and two of them are a comma within one.
    kernel, initrd = modules.replace(",,", "\0").split(",")
    path, _blank, words = kernel.replace("\0", ",").partition(" ")
    assert (path, initrd.replace("\0", ",")) == ("/cache/x,en-0/vmlinuz", "/cache/x,en-0/initrd.img")
    assert "console=hvc0 " in words and "systemd.hostname=node2" in words and "ttyS0" not in words
    (xen,) = options(command, "-append")
    assert "console=com1" in xen and f"dom0_mem={config.DOM0_MIB}M,max:{config.DOM0_MIB}M" in xen
    # The newest emulated CPU is none that the first guest survives; nested paging is there for PVH and HVM guests.
    assert options(command, "-cpu") == ["Nehalem,vendor=AuthenticAMD,+svm,+npt,xlevel=0x8000000a"]
    monkeypatch.setenv("GANTRY_LAB_XEN_CPU", "qemu64")
    assert options(qemu_machine.arguments(paths, mixed("kvm", "xen"), "node2", "qemu"), "-cpu") == ["qemu64"]
    monkeypatch.setenv("GANTRY_LAB_XEN", "/cache/xen-with-shadow")
    assert options(qemu_machine.arguments(paths, mixed("kvm", "xen"), "node2", "qemu"), "-kernel") == ["/cache/xen-with-shadow"]
    assert config.DEFAULT_MEMORY_MIB["xen"] - config.DOM0_MIB >= 1024


KVM2 = {"node1": "kvm", "node2": "kvm"}


@pytest.mark.parametrize(
    "known,count,flavours,found",
    [
        ({}, None, None, ["kvm", "kvm", "kvm"]),
        ({}, 2, ["xen"], ["xen", "xen"]),
        ({}, None, ["lxc"], ["lxc", "lxc", "lxc"]),
        ({}, None, ["kvm", "kvm", "xen", "xen"], ["kvm", "kvm", "xen", "xen"]),
        ({}, 2, ["kvm", "xen"], ["kvm", "xen"]),
        (KVM2, None, None, ["kvm", "kvm"]),
        (KVM2, 3, None, ["kvm", "kvm", "kvm"]),
        (KVM2, 4, ["xen"], ["kvm", "kvm", "xen", "xen"]),
        (KVM2, 2, ["kvm"], ["kvm", "kvm"]),
        (KVM2, None, ["kvm", "kvm", "lxc"], ["kvm", "kvm", "lxc"]),
        ({"node1": "kvm", "node2": "xen"}, 3, None, ["kvm", "xen", "xen"]),
    ],
)
def test_new_nodes_get_a_flavour_and_old_ones_keep_theirs(known, count, flavours, found):
    assert cluster.assign(known, count, flavours) == {f"node{i}": name for i, name in enumerate(found, 1)}


@pytest.mark.parametrize(
    "known,count,flavours,text",
    [
        ({}, 3, ["kvm", "xen"], "3 nodes, but 2 flavours"),
        ({**KVM2, "node3": "kvm"}, None, ["kvm", "kvm"], "gives none back"),
        (KVM2, None, ["xen"], "node1 runs kvm; for xen"),
        (KVM2, None, ["kvm", "xen"], "node2 runs kvm; for xen"),
    ],
)
def test_a_node_does_not_change_its_flavour(known, count, flavours, text):
    with pytest.raises(LabError, match=text):
        cluster.assign(known, count, flavours)


def test_no_two_nodes_share_anything(paths, tmp_path):
    other = Paths.at(tmp_path / "elsewhere" / "one")
    for what in (nodes.machine_id, lambda place, node: nodes.mac(place, node, 1)):
        found = [what(place, node) for place in (paths, other) for node in nodes.names(9)]
        assert len(set(found)) == 18
    assert nodes.mac(paths, "node1", 0) != nodes.mac(paths, "node1", 1)
    assert [nodes.address(node) for node in nodes.names(2)] == ["10.77.0.11", "10.77.0.12"]


def test_commas_in_paths_are_escaped():
    assert qemu_machine.escape(pathlib.Path("/a,b/c")) == "/a,,b/c"


def test_a_node_is_on_only_if_the_process_is_its_own(paths, process):
    assert nodes.alive(paths, "node1") == process.pid
    assert nodes.alive(paths, "node2") is None
    # The number in the file belongs to somebody else by now.
    (paths.node("node2") / "pid").write_text(str(process.pid))
    assert nodes.alive(paths, "node2") is None
    (paths.node("node2") / "pid").write_text("nonsense")
    assert nodes.alive(paths, "node2") is None
    assert processes.strays(paths.state) == [process.pid]


def test_a_zombie_is_off(paths, process):
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert nodes.alive(paths, "node1") is None


def test_power_off_ends_the_process_and_only_that(paths, process, tmp_path):
    stranger = Paths.at(tmp_path / "stranger")
    processes.kill(stranger.state, process.pid)
    assert process.poll() is None
    assert nodes.power_off(paths, "node1") is True
    assert process.wait(10) == -9
    assert not (paths.node("node1") / "pid").exists()
    assert nodes.power_off(paths, "node1") is False
    assert nodes.power_status(paths, "node1") == "off"


def test_a_silent_monitor_means_on(paths, process):
    assert nodes.power_status(paths, "node1") == "on"
    assert process.poll() is None


def test_a_frozen_node_is_told_apart_and_can_still_be_cut(paths, process):
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert nodes.power_status(paths, "node1") == "frozen"
    with pytest.raises(LabError, match=f"kill -CONT {process.pid}"):
        nodes.resume(paths, "node1")
    with pytest.raises(LabError, match=f"kill -CONT {process.pid}"):
        nodes.set_link(paths, "node1", "cluster", False)
    assert nodes.links(paths, "node1")["cluster"] is True
    assert nodes.power_off(paths, "node1") is True
    assert process.wait(10) == -9


def test_down_finds_processes_the_state_has_forgotten(paths, process):
    (paths.node("node1") / "pid").unlink()
    paths.config.unlink()
    assert cluster.down(paths) is True
    assert process.wait(10) == -9
    assert not paths.state.exists() and not paths.run.exists()
    assert cluster.down(paths) is False


def test_cables_are_remembered_while_the_power_is_off(paths):
    assert nodes.links(paths, "node1") == {"control": True, "cluster": True}
    assert nodes.set_link(paths, "node1", "cluster", False) is True
    assert nodes.set_link(paths, "node1", "cluster", False) is False
    assert nodes.links(paths, "node1") == {"control": True, "cluster": False}
    assert nodes.links(paths, "node2")["cluster"] is True


def test_what_is_not_there_is_named(paths, tmp_path):
    with pytest.raises(LabError, match="it has node1, node2"):
        nodes.load(paths, "node7")
    with pytest.raises(LabError, match="script/lab up"):
        nodes.load(Paths.at(tmp_path / "none"))
    with pytest.raises(LabError, match="node1 is off: script/lab power node1 on"):
        nodes.pause(paths, "node1")


def test_console_tail(paths):
    assert nodes.serial_tail(paths, "node1") == "(nothing yet)"
    (paths.node("node1") / "serial.log").write_bytes(b"one\r\ntwo\r\n\xffthree")
    assert nodes.serial_tail(paths, "node1", 2) == "two\n\ufffdthree"


def test_inventory(paths):
    inventory.write(paths, LAB)
    found = yaml.safe_load((paths.inventory / "hosts.yml").read_text())
    assert found == inventory.build(paths, LAB)
    assert yaml.safe_load((paths.inventory / "registry.gantry.yml").read_text()) == {"plugin": "gantry.cluster.registry"}
    group = found["all"]["children"]["gantry_nodes"]
    assert list(group["hosts"]) == ["node1", "node2"]
    node2 = group["hosts"]["node2"]
    assert (node2["ansible_host"], node2["ansible_port"], node2["gantry_node_address"]) == (
        "127.0.0.1", 20002, "10.77.0.12",
    )  # fmt: skip
    assert pathlib.Path(node2["gantry_fence"][0]["agent"]).is_file()
    assert node2["gantry_fence"][0]["options"] == {"lab": str(paths.state), "plug": "node2"}
    assert found["all"]["vars"]["gantry_registry"] == f"sqlite:///{paths.state}/registry.db"
    # In a lab of one kind, all nodes are in the group that they are in by themselves.
    assert node2["gantry_node_hypervisors"] == ["kvm"] and "gantry_node_group" not in node2
    assert "StrictHostKeyChecking=yes" in group["vars"]["ansible_ssh_common_args"]
    assert "ControlPersist" in group["vars"]["ansible_ssh_args"]


def test_inventory_of_a_mixed_lab(paths):
    hosts = inventory.build(paths, mixed("kvm", "xen", "lxc"))["all"]["children"]["gantry_nodes"]["hosts"]
    assert [host["gantry_node_hypervisors"] for host in hosts.values()] == [["kvm"], ["xen-pv", "xen-pvh", "xen-hvm"], ["lxc"]]
    assert all(name in hypervisors.BACKENDS for host in hosts.values() for name in host["gantry_node_hypervisors"])
    assert [host["gantry_node_group"] for host in hosts.values()] == ["kvm", "xen", "lxc"]


@pytest.mark.parametrize(
    "value",
    [
        {}, [], "", "on", "No", "null", "~", "a: b", "a #b", "- a", "1.5", "010", "x'y", 'x"y', "\u00fc", "a:", True, 7,
        {"a": {"b": [1, {"c": "d", "e": [2]}], "f": {}}, "g": []}, [{"a": 1, "b": {"c": 2}}, "x"],
    ],
)  # fmt: skip
def test_yaml_reads_back(value):
    assert yaml.safe_load(inventory.to_yaml({"key": value})) == {"key": value}


def test_ssh_arguments_with_a_blank_are_quoted():
    assert inventory.quote("/a b/c") == "'/a b/c'"
    assert inventory.quote("/ab/%C") == "/ab/%C"


def test_configuration_disk(paths):
    config.write(paths.client_key.with_name("id_ed25519.pub"), "client key\n")
    config.write(paths.node("node1") / "ssh_host_ed25519_key", "private\n", 0o600)
    config.write(paths.node("node1") / "ssh_host_ed25519_key.pub", "public\n")
    data = cluster.config_tar(cluster.node_config(paths, "node1"))
    # The node reads the disk to its end, so it must be whole sectors; it unpacks it again only if it changed.
    assert len(data) % 512 == 0
    assert data == cluster.config_tar(cluster.node_config(paths, "node1"))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        modes = {entry.name: entry.mode for entry in archive}
        hosts = archive.extractfile("etc/hosts").read().decode()
    assert modes["etc/ssh/ssh_host_ed25519_key"] == 0o600 and modes["root/.ssh"] == 0o700
    assert "10.77.0.19\tnode9" in hosts


def test_image_digest_follows_what_goes_in(monkeypatch):
    base = image.digest("bookworm", ["a", "b"], [("f", b"x", False)], b"script")
    assert base == image.digest("bookworm", ["b", "a", "a"], [("f", b"x", False)], b"script")
    others = [
        image.digest("trixie", ["a", "b"], [("f", b"x", False)], b"script"),
        image.digest("bookworm", ["a"], [("f", b"x", False)], b"script"),
        image.digest("bookworm", ["a", "b"], [("f", b"y", False)], b"script"),
        image.digest("bookworm", ["a", "b"], [("f", b"x", True)], b"script"),
        image.digest("bookworm", ["a", "b"], [("g", b"x", False)], b"script"),
        image.digest("bookworm", ["a", "b"], [("f", b"x", False)], b"script2"),
        image.digest("bookworm", ["a", "b"], [("f", b"xs", False)], b"cript"),
    ]
    assert len({base, *others}) == len(others) + 1
    before = image.current("bookworm").path
    monkeypatch.setenv("GANTRY_LAB_PACKAGES", "apparmor, tcpdump")
    assert {"apparmor", "tcpdump"} <= set(image.node_packages("linux"))
    assert image.current("bookworm").path != before


def test_each_kind_of_image_has_one_kernel_and_a_name_of_its_own():
    for kind, kernel in (("linux", "linux-image-cloud-amd64"), ("xen", "linux-image-amd64")):
        packages = image.node_packages(kind)
        assert [name for name in packages if name.startswith("linux-image")] == [kernel]
        assert {"systemd", "drbd-utils", "python3-libvirt"} <= set(packages)
        assert image.current("trixie", kind).path.name.startswith(f"{kind}-trixie-")
    assert {"libvirt-daemon-driver-lxc", "qemu-system-x86"} <= set(image.node_packages("linux"))
    assert {"libvirt-daemon-driver-xen", "xen-system-amd64"} <= set(image.node_packages("xen"))
    assert set(config.FLAVOURS.values()) == set(image.PARTS)


def test_a_lab_made_before_there_were_kinds_has_one_image():
    assert image.images({"image": "/i"}) == {"linux": "/i"}
    assert image.images({"images": {"xen": "/x"}}) == {"xen": "/x"}
    assert image.images({}) == {}


def test_image_files_belong_to_root():
    files = image.node_files()
    with tarfile.open(fileobj=io.BytesIO(image.files_tar(files))) as archive:
        entries = {entry.name: entry for entry in archive}
    assert all(entry.uid == 0 and entry.gid == 0 for entry in entries.values())
    assert entries["usr/local/lib/gantry-lab/config"].mode == 0o755
    assert entries["etc/systemd"].isdir()


def test_only_whole_unused_images_are_pruned(paths):
    folder = config.cache_dir() / "images"
    for name in ("old", "used", "early"):
        for file in ("rootfs.raw", "manifest.json"):
            config.write(folder / name / file, "")
    (folder / ".build-x").mkdir()
    (folder / "half").mkdir()
    config.write_json(paths.config, LAB | {"images": {"linux": "/gone", "xen": str(folder / "used")}})
    early = Paths.at(paths.state.parent / "early")
    config.write_json(early.config, {"image": str(folder / "early")})
    for lab in (paths, early):
        cluster.ports.reserve(lab, ["node1"])
    assert [path.name for path in image.prune()] == ["old"]
    assert sorted(path.name for path in folder.iterdir()) == [".build-x", "early", "half", "used"]


def test_metadata_is_what_the_fence_api_asks_for(capsys):
    assert fence.main(["--action", "metadata"]) == 0
    root = xml.etree.ElementTree.fromstring(capsys.readouterr().out)
    assert {"on", "off", "reboot", "status", "monitor", "metadata", "list"} <= {
        action.get("name") for action in root.iter("action")
    }
    assert {"action", "plug", "lab"} <= {parameter.get("name") for parameter in root.iter("parameter")}


def agent(paths, **settings) -> subprocess.CompletedProcess:
    """Runs the agent as a cluster does: as a program, with its options on standard input."""
    text = "# comment\n\n" + "".join(f"{name}={value}\n" for name, value in {"lab": paths.state, **settings}.items())
    return subprocess.run(
        [str(config.ROOT / "lab" / "fence_lab")], input=text, capture_output=True, text=True, check=False, timeout=60
    )


def test_fence_agent_cuts_the_power(paths, process):
    assert agent(paths, action="status", plug="node1").returncode == 0
    assert agent(paths, action="status", plug="node2").returncode == 2
    listed = agent(paths, action="list")
    assert (listed.returncode, listed.stdout) == (0, "node1,node1\nnode2,node2\n")
    assert agent(paths, action="monitor").returncode == 0
    assert agent(paths, action="off", port="node1", unknown="x").returncode == 0
    assert process.wait(10) == -9
    assert agent(paths, action="status", plug="node1").returncode == 2
    assert agent(paths, action="off", plug="node1").returncode == 0


@pytest.mark.parametrize(
    "settings,text",
    [
        ({"action": "off"}, "plug"),
        ({"action": "off", "plug": "node9"}, "node9"),
        ({"action": "off", "plug": "../x"}, "no '../x'"),
        ({"action": "explode", "plug": "node1"}, "explode"),
        ({"action": "off", "plug": "node1", "lab": ""}, "lab"),
        ({"action": "off", "plug": "node1", "lab": "/nonexistent/lab"}, "no lab"),
    ],
)
def test_fence_agent_never_claims_what_it_did_not_do(paths, process, settings, text):
    done = agent(paths, **settings)
    assert done.returncode == 1 and text in done.stderr
    assert process.poll() is None


def test_no_kvm_device_means_tcg(monkeypatch, tmp_path):
    monkeypatch.setattr(accelerator, "KVM", tmp_path / "kvm")
    result = accelerator.probe(image.Image(tmp_path))
    assert result["accelerator"] == "tcg" and "no " in result["reason"]
    monkeypatch.setenv("GANTRY_LAB_ACCEL", "kvm")
    assert accelerator.choose(image.Image(tmp_path)) == "kvm"
    monkeypatch.setenv("GANTRY_LAB_ACCEL", "warp")
    with pytest.raises(LabError, match="auto, kvm, uml or tcg"):
        accelerator.choose(image.Image(tmp_path))


@pytest.mark.parametrize(
    "script,kind,text",
    [
        ("echo 'Kernel panic - not syncing: VFS: Unable to mount root fs'; sleep 60", "kvm", "a kernel booted"),
        ("echo 'Probing EDD'; sleep 60", "tcg", "no kernel booted within 1 s (its last words: Probing EDD)"),
        ("echo 'failed to set MSR' >&2; exit 1", "tcg", "failed to set MSR"),
        ("exit 0", "tcg", "its last words: none"),
    ],
)
def test_probe_believes_only_a_kernel_that_booted(monkeypatch, tmp_path, script, kind, text):
    program = tmp_path / "qemu"
    program.write_text(f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n")
    program.chmod(0o755)
    monkeypatch.setattr(accelerator.host, "find", lambda name: str(program))
    result = accelerator.boot(image.Image(tmp_path), timeout=1.0)
    assert result["accelerator"] == kind and text in result["reason"]
    assert result["seconds"] < 20


def test_growing_only(paths, monkeypatch):
    monkeypatch.setattr(cluster.host, "require", lambda: None)
    with pytest.raises(LabError, match="gives none back"):
        cluster.up(paths, 1)
    with pytest.raises(LabError, match="runs bookworm"):
        cluster.up(paths, suite="trixie")
    with pytest.raises(LabError, match="is gone"):
        cluster.up(paths)


@pytest.mark.parametrize(
    "words",
    [["--name", "x", "status"], ["status", "--name", "x"], ["ssh", "--name", "x", "node1", "ls", "-l", "--all"]],
)
def test_name_before_or_after_the_command(words):
    assert cli.parser().parse_args(words).name == "x"


def test_ssh_leaves_the_command_alone():
    assert cli.parser().parse_args(["ssh", "node1", "ls", "-l", "--name", "z"]).cmd == ["ls", "-l", "--name", "z"]


@pytest.mark.parametrize("words", [["up", "--nodes", "0"], ["up", "--nodes", "10"], ["up", "--suite", "etch"], [],
                                   ["up", "--flavour", "vmware"], ["up", "--flavour", "kvm,"],
                                   ["up", "--flavour", ",".join(["xen"] * 10)]])
def test_bad_words_are_refused(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.parser().parse_args(words)
    assert stopped.value.code == 2
    assert capsys.readouterr().err


def test_flavours_on_the_command_line():
    assert cli.parser().parse_args(["up"]).flavour is None
    assert cli.parser().parse_args(["up", "--flavour", "xen"]).flavour == ["xen"]
    assert cli.parser().parse_args(["up", "--flavour", "kvm,xen,lxc"]).flavour == ["kvm", "xen", "lxc"]


def test_commands_without_a_lab_say_so(paths, capsys):
    cluster.down(paths)
    assert cli.main(["--name", "one", "status"]) == 1
    assert "script/lab up" in capsys.readouterr().err
    assert cli.main(["--name", "one", "down"]) == 0
    assert "there is no lab" in capsys.readouterr().err
