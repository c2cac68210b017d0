# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's facts: parsers on recorded text, collecting from a made-up root, libvirt by its test driver."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import struct
import time

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import generation, hypervisor, libvirt_facts, node_facts, tpm_hook
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.base import Hypervisor, version_text
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.kvm import Kvm
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as setup

DATA = pathlib.Path(__file__).parent / "data"
UUID = "6f2d1d6e-3bd5-4d3c-9d2f-0e6a1c6f0001"


class LibvirtTest(Hypervisor):
    """libvirt's test driver, with its one running domain."""

    name = "test"
    uri = "test:///default"
    domain_types = ("test",)


def test_memory():
    memory = node_facts.parse_memory((DATA / "meminfo.txt").read_text(encoding="utf-8"))
    assert memory == {"memory_total_mib": 1474, "memory_free_mib": 1161}
    assert node_facts.parse_memory("nonsense") == {"memory_total_mib": None, "memory_free_mib": None}


def test_capabilities_of_libvirt_9():
    text = (DATA / "capabilities-libvirt9.xml").read_text(encoding="utf-8")
    seen = Kvm().parse_capabilities(text, "x86_64")
    assert seen["domain_types"] == ["kvm", "qemu"]
    assert seen["machines"] == {"pc": "pc-i440fx-7.2", "q35": "pc-q35-7.2"}
    assert {"pc-i440fx-7.2", "pc-q35-7.2", "pc-q35-4.2", "microvm"} <= set(seen["machine_list"])
    assert not {"pc", "q35"} & set(seen["machine_list"])
    assert seen["machine_list"] == sorted(set(seen["machine_list"]))
    assert Kvm().parse_capabilities(text, "s390x") == {"domain_types": [], "machines": {}, "machine_list": []}


def test_capabilities_of_libvirt_11_without_kvm():
    text = (DATA / "capabilities-libvirt11.xml").read_text(encoding="utf-8")
    seen = Kvm().parse_capabilities(text, "x86_64")
    assert seen["domain_types"] == ["qemu"]
    assert seen["machines"] == {"pc": "pc-i440fx-10.0", "q35": "pc-q35-10.0"}
    assert "pc-i440fx-7.2" in seen["machine_list"]


def test_listening_ports():
    text = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1591 1 0 100 0 0 10 0\n"
        "   1: 0A4D000A:2AF8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 0 1 0 100 0 0 10 0\n"
        "   2: 0A4D000A:2AF9 0B4D000A:C001 01 00000000:00000000 02:000A7214 00000000     0        0 0 2 0 20 4 30 10 -1\n"
        "   3: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 0 0 1 1\n")
    assert node_facts.tcp_ports(text) == [22, 25, 11000]
    assert node_facts.tcp_ports("") == []


def test_version_text():
    assert version_text(9000000) == "9.0.0"
    assert version_text(11003000) == "11.3.0"
    assert version_text(7002022) == "7.2.22"


def test_backend_by_name():
    assert hypervisor.backend("kvm").uri == "qemu:///system"
    with pytest.raises(GantryError) as refused:
        hypervisor.backend("vmware")
    assert refused.value.code == "unknown_hypervisor"


LVM_CASES = [
    ("", "", [], False, False),
    ('global_filter = [ "r|^/dev/drbd|" ]', "", ["r|^/dev/drbd|"], True, False),
    ('\t# global_filter = [ "r|^/dev/drbd|" ]', "", [], False, False),
    ('global_filter = [ "a|.*|", "r|^/dev/drbd|" ]', "", ["a|.*|", "r|^/dev/drbd|"], False, False),
    ('global_filter = [ "a|^/dev/vd|", "r|.*|" ]', "", ["a|^/dev/vd|", "r|.*|"], True, False),
    ('global_filter = "r/drbd/"', "", ["r/drbd/"], True, False),
    ('global_filter = [ "r{^/dev/drbd}" ]', "", ["r{^/dev/drbd}"], True, False),
    ('global_filter = [ "r|(|" ]', "", ["r|(|"], False, False),
    ('global_filter = [\n "r|^/dev/zd|",\n "r|^/dev/drbd[0-9]+$|",\n]', "", ["r|^/dev/zd|", "r|^/dev/drbd[0-9]+$|"], True, False),
    ('global_filter = [ "a|.*|" ]', 'devices { global_filter = [ "r|drbd|" ] }', ["r|drbd|"], True, False),
    ("scan_lvs = 1", "", [], False, True),
    ("scan_lvs=1", "devices {\n\tscan_lvs=0\n}", [], False, False),
    ('use_global_filter = 1\nfilter = [ "r|drbd|" ]', "", [], False, False),
]


@pytest.mark.parametrize(("text", "local", "patterns", "rejects", "scans"), LVM_CASES)
def test_lvm_filter(text, local, patterns, rejects, scans):
    assert node_facts.lvm_filter(text, local) == {"global_filter": patterns, "rejects_drbd": rejects, "scan_lvs": scans}


def link(root, target, *where):
    path = root.joinpath(*where)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_service_enabled(tmp_path):
    assert node_facts.service_enabled("drbd", tmp_path) is False
    link(tmp_path, "/lib/systemd/system/drbd.service", "etc/systemd/system/multi-user.target.wants/drbd.service")
    assert node_facts.service_enabled("drbd", tmp_path) is True
    link(tmp_path, "/dev/null", "etc/systemd/system/drbd.service")
    assert node_facts.service_enabled("drbd", tmp_path) is False


def test_a_script_of_system_v_is_a_service_too(tmp_path):
    """Debian's Xen has xendomains as a script only; drbd has both, and systemd then looks at its unit alone."""
    assert "xendomains" in node_facts.AUTOSTART_SERVICES
    for name in ("xendomains", "drbd"):
        link(tmp_path, "../init.d/" + name, "etc/rc5.d/S01" + name)
        link(tmp_path, "../init.d/" + name, "etc/rc0.d/K01" + name)
    (tmp_path / "lib/systemd/system").mkdir(parents=True)
    (tmp_path / "lib/systemd/system/drbd.service").touch()
    assert node_facts.service_enabled("xendomains", tmp_path) is True
    assert node_facts.service_enabled("drbd", tmp_path) is False
    assert node_facts.service_enabled("xen", tmp_path) is False
    link(tmp_path, "/dev/null", "etc/systemd/system/xendomains.service")
    assert node_facts.service_enabled("xendomains", tmp_path) is False


def test_bridges_and_resource_files(tmp_path):
    assert node_facts.bridges(tmp_path) == []
    assert node_facts.resource_files(tmp_path) == []
    for name in ("sys/class/net/br1/bridge", "sys/class/net/br0/bridge", "sys/class/net/eth0", "etc/drbd.d"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("web1-disk0.res", "global_common.conf", ".web2.res", "db.example.com-disk0.res"):
        (tmp_path / "etc/drbd.d" / name).touch()
    assert node_facts.bridges(tmp_path) == ["br0", "br1"]
    assert node_facts.resource_files(tmp_path) == ["db.example.com-disk0", "web1-disk0"]


RESOURCE = """\
# Written by the Ansible collection gantry.cluster, which replaces it when the instance's record changes.
# gantry.instance=%s
resource "web1-disk0" {
    net {
        shared-secret "0123456789abcdef0123";
    }
    on "node1" {
        address ipv4 10.77.0.11:11000;
        volume 0 {
            device minor 3;
        }
    }
    on "node2" {
        address ipv4 10.77.0.12:11000;
        volume 0 {
            device minor 4;
        }
    }
}
""" % UUID


def test_resource_bindings(tmp_path):
    """Ours, somebody else's, and one that drbdadm could not read either; a secret is never told."""
    folder = tmp_path / "etc/drbd.d"
    folder.mkdir(parents=True)
    for name, text, mode in (
        ("web1-disk0", RESOURCE, 0o600), ("foreign", 'resource "foreign" { device /dev/drbd7; }\n', 0o644),
        ("broken", RESOURCE.replace('0123";', "0123;"), 0o600),
    ):
        (folder / (name + ".res")).write_text(text, encoding="utf-8")
        (folder / (name + ".res")).chmod(mode)
    found = node_facts.resource_bindings(str(tmp_path), "node2")
    assert found["web1-disk0"] == {"instance": UUID, "minors": [4], "ports": [11000], "private": True, "error": None}
    assert found["foreign"] == {"instance": None, "minors": [], "ports": [], "private": False, "error": None}
    assert found["broken"]["error"] and found["broken"]["instance"] == UUID
    assert "0123456789abcdef" not in json.dumps(found)


def test_addresses():
    trie = (
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.77.0.0\n        /24 link UNICAST\n"
        "Local:\n     |-- 10.77.0.11\n        /32 host LOCAL\n     |-- 10.77.0.255\n        /32 link BROADCAST\n"
        "     |-- 127.0.0.1\n        /32 host LOCAL\n")
    six = (
        "fd000000000000000000000000000011 02 40 00 80     eth0\n"
        "00000000000000000000000000000001 01 80 10 80       lo\n\n")
    assert node_facts.addresses(trie, six) == ["10.77.0.11", "fd00::11"]
    assert node_facts.addresses("", "") == []


def test_migration_keys():
    one, two = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOne", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITwo"
    authorized = (
        '# Managed by gantry.cluster\n'
        'restrict,command="/usr/bin/virt-ssh-helper qemu:///system",from="10.77.0.12" %s gantry-migrate@node2\n' % two)
    assert node_facts.migration_keys(one + " gantry-migrate@node1\n", authorized) == {"public_key": one, "trusted_keys": [two]}
    assert node_facts.migration_keys("", "") == {"public_key": None, "trusted_keys": []}


def test_records(tmp_path):
    executor = Executor()
    generation.claim(executor, UUID, 3, record={"name": "web1"}, folder=str(tmp_path), locks=str(tmp_path / "locks"))
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    memories = generation.load_all(str(tmp_path))
    assert node_facts.records(memories)[UUID] == {"generation": 3, "record": {"name": "web1"}}
    for wanted, seen in ((["web1"], True), ([UUID], True), (["web2"], False)):
        limited = node_facts.records(memories, wanted)
        assert (UUID in limited) is seen
        assert "error" in limited["broken"]


def test_files(tmp_path):
    os.chmod(tmp_path, 0o755)
    raw, qcow2, closed = tmp_path / "a.raw", tmp_path / "a.qcow2", tmp_path / "closed"
    raw.write_bytes(b"\0" * (1024 * 1024 + 1))
    qcow2.write_bytes(b"QFI\xfb" + struct.pack(">IQIIQ", 3, 0, 0, 16, 5 * 1024 ** 3) + b"\0" * 100)
    closed.write_bytes(b"")
    closed.chmod(0o600)
    assert node_facts.image_size(qcow2.read_bytes()[:32], 132) == ("qcow2", 5 * 1024 ** 3)
    assert node_facts.file_facts(str(raw))["virtual_size_mib"] == 2
    assert node_facts.file_facts(str(raw))["format"] == "raw"
    assert node_facts.file_facts(str(qcow2))["virtual_size_mib"] == 5120
    assert node_facts.unreadable_part(str(closed)) in (str(closed), str(tmp_path.parent), str(tmp_path.parent.parent))
    assert node_facts.file_facts(str(closed))["ok"] is False
    assert node_facts.file_facts(str(tmp_path))["error"] == "it is no regular file"
    assert node_facts.file_facts(str(tmp_path / "none"))["error"] == "No such file or directory"
    assert node_facts.file_facts("/etc/passwd")["ok"] is True


STATS = {
    "state.state": 1, "state.reason": 1, "balloon.current": 65536, "balloon.maximum": 131072, "vcpu.current": 1,
    "vcpu.maximum": 4, "cpu.time": 12345,
}


@pytest.mark.parametrize("head", [b"QFI\xfbbroken", b"QFI\xfb\x00\x00\x00\x07" + b"\x00" * 24, b"QFI\xfb"])
def test_broken_qcow2_image(tmp_path, head):
    image = tmp_path / "broken.qcow2"
    image.write_bytes(head)
    facts = node_facts.file_facts(str(image))
    assert facts["ok"] is False and "qcow2 image" in facts["error"]


def test_domain_facts():
    sets = {"persistent": {UUID}, "autostart": set(), "managed_save": {UUID}}
    assert libvirt_facts.domain_facts("web1", UUID, STATS, sets) == {
        "name": "web1", "uuid": UUID, "state": "running", "reason": "booted", "persistent": True, "autostart": False,
        "managed_save": True, "memory_mib": 64, "memory_max_mib": 128, "vcpus": 1, "vcpus_max": 4, "cpu_time_ns": 12345,
    }
    bare = libvirt_facts.domain_facts("web1", UUID, {"state.state": 5, "state.reason": 99}, sets)
    assert (bare["state"], bare["reason"], bare["memory_mib"]) == ("shutoff", "unknown", None)


def lines(*parts):
    return "".join(json.dumps(dict({"uri": "qemu:///system"}, **part)) + "\n" for part in parts)


def test_merge_of_a_cut_off_answer():
    """What arrived is told; a running domain whose job was not asked in time is busy with something."""
    first = {"libvirt": {"ok": True, "error": None, "version": "9.0.0"}, "domains": [
        {"name": "b", "uuid": "2", "state": "running"}, {"name": "a", "uuid": "1", "state": "running"},
        {"name": "c", "uuid": "3", "state": "shutoff"}]}
    job = {"jobs": {"1": None}}
    daemon, domains = libvirt_facts.merge(lines(first, job) + '{"jobs": {"2": nu', ["qemu:///system"], 15)
    assert daemon["ok"] is True
    assert [(domain["name"], domain["job"]) for domain in domains] == [("a", None), ("b", {"type": "unknown"}), ("c", None)]
    daemon, domains = libvirt_facts.merge(lines(first, job, {"jobs": {"2": None}}, {"complete": True}), ["qemu:///system"], 15)
    assert [domain["job"] for domain in domains] == [None, None, None]


def test_merge_of_nothing():
    daemon, domains = libvirt_facts.merge("", ["qemu:///system"], 15)
    assert (daemon["ok"], daemon["error"], domains) == (False, "libvirt gave no answer within 15 s", [])


def test_reader():
    daemon, domains = libvirt_facts.Reader([LibvirtTest()], "i686").finish()
    assert daemon["ok"] is True, daemon
    assert daemon["domain_types"] == ["test"]
    assert [(domain["name"], domain["state"], domain["job"], domain["generation"]) for domain in domains] == [
        ("test", "running", None, None)]
    assert libvirt_facts.Reader([LibvirtTest()], "i686", wanted=["other"]).finish()[1] == []
    assert len(libvirt_facts.Reader([LibvirtTest()], "i686", wanted=["test"]).finish()[1]) == 1


def test_two_drivers_are_one_libvirt():
    """What either can run the node can run; one that is silent makes the node's guests unknown."""
    uris = ["qemu:///system", "lxc:///system"]
    one = {"libvirt": {"ok": True, "error": None, "version": "9.0.0", "domain_types": ["qemu"], "machine_list": ["pc-q35-7.2"]},
           "domains": [{"name": "a", "uuid": "1", "state": "running"}], "complete": True}
    two = {"uri": "lxc:///system", "libvirt": {"ok": True, "error": None, "domain_types": ["lxc"]},
           "domains": [{"name": "b", "uuid": "2", "state": "running"}], "complete": True}
    daemon, domains = libvirt_facts.merge(lines(one, two), uris, 15)
    assert daemon["ok"] and daemon["domain_types"] == ["qemu", "lxc"] and daemon["machine_list"] == ["pc-q35-7.2"]
    assert [domain["name"] for domain in domains] == ["a", "b"]
    assert daemon["drivers"] == {"qemu:///system": True, "lxc:///system": True}
    daemon, domains = libvirt_facts.merge(lines(one), uris, 15)
    assert not daemon["ok"] and "lxc:///system" in daemon["error"] and len(domains) == 1


def test_processor():
    text = "processor: 0\nmodel name\t: Intel(R) X\nflags\t\t: fpu avx2\n"
    assert node_facts.processor(text)["model"] == "Intel(R) X"
    assert node_facts.processor(text) == node_facts.processor(text.replace("fpu avx2", "avx2 fpu"))
    assert node_facts.processor(text) != node_facts.processor(text.replace(" avx2", ""))
    assert node_facts.processor("") is None


class Statless(LibvirtTest):
    """A driver without a call for all domains, as LXC's and Xen's are."""

    def open(self, binding):
        connection = super().open(binding)

        def refuse(*_arguments):
            error = binding.libvirtError("none")
            error.err = (binding.VIR_ERR_NO_SUPPORT, 0, "none", 0, "", None, None, 0, 0)
            raise error
        connection.getAllDomainStats = refuse
        return connection


def test_a_driver_without_statistics():
    daemon, domains = libvirt_facts.Reader([Statless()], "i686").finish()
    assert daemon["ok"] is True, daemon
    assert [(domain["name"], domain["state"], domain["vcpus"]) for domain in domains] == [("test", "running", 2)]
    assert domains[0]["memory_mib"] == 2048


def test_reader_of_a_dead_daemon(tmp_path):
    backend = LibvirtTest()
    backend.uri = "qemu+unix:///system?socket=%s/none" % tmp_path
    daemon, domains = libvirt_facts.Reader([backend], "x86_64").finish()
    assert daemon["ok"] is False
    assert "none" in daemon["error"]
    assert domains == []


def test_reader_of_a_hanging_daemon(tmp_path):
    """It accepts the connection and says nothing: the module comes back all the same, and leaves no child."""
    path = str(tmp_path / "hangs")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen()
        backend = LibvirtTest()
        backend.uri = "qemu+unix:///system?socket=" + path
        start = time.monotonic()
        reader = libvirt_facts.Reader([backend], "x86_64", timeout=1)
        daemon, domains = reader.finish()
        assert time.monotonic() - start < 5
    assert daemon["error"] == "libvirt gave no answer within 1 s"
    assert domains == []
    with pytest.raises(ProcessLookupError):
        os.kill(reader.pid, 0)


def test_collect(tmp_path):
    """All keys are there, and what this machine does not have says so."""
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("b1\n", encoding="utf-8")
    (tmp_path / "proc/meminfo").write_text((DATA / "meminfo.txt").read_text(encoding="utf-8"), encoding="utf-8")
    info = node_facts.collect(
        Executor(), [LibvirtTest()], paths=["/etc/passwd"], root=str(tmp_path), folder=str(tmp_path / "instances"))
    assert set(info) == {
        "hostname", "time", "boot_id", "kernel", "architecture", "cpus", "memory_total_mib", "memory_free_mib", "libvirt",
        "drbd", "lvm", "volume_groups", "volumes", "drbd_resources", "resource_files", "domains", "records", "bridges",
        "autostart_services", "lvm_filter", "paths", "tcp_ports", "addresses", "migration", "resource_bindings",
        "shutdown_service", "cpu", "pci_devices", "vlan_bridges", "ovs_bridges", "tpm",
        "file_systems",
    }
    # what is not there has none, and what lies on the same one is not told twice
    assert list(info["file_systems"]) == ["/"]
    space = info["file_systems"]["/"]
    assert 0 <= space["free_mib"] <= space["size_mib"] and space["size_mib"] > 0

    assert info["boot_id"] == "b1"
    assert info["memory_total_mib"] == 1474
    assert info["libvirt"]["ok"] is True
    assert info["paths"]["/etc/passwd"]["ok"] is True
    for part in ("drbd", "lvm"):
        assert info[part]["ok"] or info[part]["error"]
    json.dumps(info)


def test_what_a_tpm_needs(tmp_path):
    """swtpm's programs; and the hook, which the daemon has to have seen."""
    root = str(tmp_path)
    assert node_facts.tpm(root) == {"lacking": ["swtpm", "swtpm-tools"], "hook": False}
    for path in (*tpm_hook.PROGRAMS, tpm_hook.PATH, tpm_hook.PROGRAM_PATH):
        there = tmp_path / path[1:]
        there.parent.mkdir(parents=True, exist_ok=True)
        there.touch(mode=0o755)
    assert node_facts.tpm(root) == {"lacking": [], "hook": True}
    unseen = tmp_path / setup.HOOK_UNSEEN[1:]
    unseen.parent.mkdir()
    unseen.touch()
    assert node_facts.tpm(root)["hook"] is False
    unseen.unlink()
    (tmp_path / tpm_hook.PATH[1:]).chmod(0o644)
    assert node_facts.tpm(root)["hook"] is False
