# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource files: their text, what is read from an existing one, and the node's helper and holders."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import types

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import commands, helper, parse, resource_file
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Result

UUID = "11111111-2222-4333-8444-555555555555"
SECRET = "00112233445566778899aabbccddeeff"
DISK = {
    "index": 0,
    "name": "web1.example.com-disk0",
    "template": "drbd",
    "size_mib": 1024,
    "vg": "gantry",
    "port": 11000,
    "nodes": {
        "node1": {"hostname": "node1", "address": "10.0.0.1", "minor": 10},
        "node2": {"hostname": "n2.example.com", "address": "fd00::2", "minor": 12},
    },
}


def tree(**options):
    """The rendered file, parsed."""
    return parse.configuration(resource_file.render(DISK, SECRET, UUID, **options))


def section(body, *names):
    """One block of a parsed file as ``{first word: rest}``."""
    found = next(part for words, part, _line in body if tuple(words) == names)
    return {words[0]: words[1:] for words, part, _line in found if part is None}


def test_net_section():
    """Protocol C, authenticated, nothing resolved by itself, one primary."""
    ((words, body, _line),) = tree()
    assert words == ["resource", DISK["name"]]
    assert section(body, "net") == {
        "protocol": ["C"],
        "cram-hmac-alg": ["sha256"],
        "shared-secret": [SECRET],
        "after-sb-0pri": ["disconnect"],
        "after-sb-1pri": ["disconnect"],
        "after-sb-2pri": ["disconnect"],
        "allow-two-primaries": ["no"],
    }


def test_disk_section():
    """A failed disk is detached; the guest goes on through the peer."""
    ((_words, body, _line),) = tree()
    assert section(body, "disk")["on-io-error"] == ["detach"]
    assert "fencing" not in section(body, "disk")
    ((_words, body, _line),) = tree(fencing=True)
    assert section(body, "disk")["fencing"] == ["resource-only"]


def test_hosts():
    """Each host with its own address and minor, external metadata."""
    ((_words, body, _line),) = tree()
    assert section(body, "on", "node1") == {"address": ["ipv4", "10.0.0.1:11000"]}
    assert section(body, "on", "n2.example.com") == {"address": ["ipv6", "[fd00::2]:11000"]}
    host = next(part for words, part, _line in body if words == ["on", "n2.example.com"])
    assert section(host, "volume", "0") == {
        "device": ["minor", "12"],
        "disk": ["/dev/gantry/web1.example.com-disk0"],
        "meta-disk": ["/dev/gantry/web1.example.com-disk0-meta"],
    }


def test_nine_only():
    """What 8.4 would refuse is left out for it."""
    ((_words, body, _line),) = tree(kernel_major=9)
    assert section(body, "options") == {"auto-promote": ["no"]}
    assert section(body, "on", "node1")["node-id"] == ["0"]
    assert "auto-promote" not in resource_file.render(DISK, SECRET, UUID)


def test_the_window_is_never_in_the_file():
    """Whatever the version."""
    for major in (8, 9):
        assert "allow-two-primaries yes" not in resource_file.render(DISK, SECRET, UUID, kernel_major=major)


def test_the_same_on_both_nodes():
    """The order of the record's nodes does not matter."""
    turned = dict(DISK, nodes=dict(reversed(list(DISK["nodes"].items()))))
    assert resource_file.render(turned, SECRET, UUID) == resource_file.render(DISK, SECRET, UUID)


@pytest.mark.parametrize("secret", [None, "", "short", "a" * 65, "0011223344556677;allow", '00112233445566"x'])
def test_bad_secrets(secret):
    """The error does not repeat them."""
    with pytest.raises(GantryError) as caught:
        resource_file.render(DISK, secret, UUID)
    assert caught.value.code == "bad_secret"
    if secret:
        assert secret not in caught.value.sentence()


def test_describe_reads_back():
    """What was rendered is what is found."""
    text = resource_file.render(DISK, SECRET, UUID)
    assert resource_file.describe(text, "x") == {
        DISK["name"]: {
            "secret": SECRET,
            "hosts": {
                "node1": {"minors": [10], "ports": [11000]},
                "n2.example.com": {"minors": [12], "ports": [11000]},
            },
        }
    }
    assert resource_file.is_ours(text, UUID)
    assert not resource_file.is_ours(text, UUID.replace("1", "2"))


def test_describe_an_administrators_file():
    """Other ways to write it: volumes beside the hosts, devices by name, other sections."""
    text = """
    global { usage-count no; }
    resource r0 {
        volume 0 { device /dev/drbd7; disk /dev/sdb1; meta-disk internal; }
        volume 1 { device minor 8; disk /dev/sdb2; meta-disk internal; }
        on alpha { address 10.0.0.1:7789; }
        on beta { address ipv6 [fd00::1]:7790; device /dev/drbd_r0 minor 9; }
    }
    """
    found = resource_file.describe(text, "x")["r0"]["hosts"]
    assert found["alpha"]["ports"] == [7789] and found["beta"]["ports"] == [7790]
    assert sorted(found["beta"]["minors"]) == [7, 8, 9]
    assert sorted(found["alpha"]["minors"]) == [7, 8]


def test_helper_answers_drbd():
    """Run by the real shell: unreachable to the question about the peer, fine to everything else."""
    for event, code in (
        ("fence-peer", 5),
        ("unfence-peer", 0),
        ("split-brain", 0),
        ("before-resync-target", 0),
        ("", 0),
    ):
        assert subprocess.run(["sh", "-c", helper.TEXT, "helper", event], check=False).returncode == code


def test_a_promotion_with_the_peer_does_not_go_on_without_it(tmp_path, monkeypatch):
    """The peer is lost in the middle of it: DRBD is not told that it may be called outdated."""
    monkeypatch.setattr(helper, "in_use", lambda: True)
    folder = tmp_path / "run" / "together"
    text = helper.TEXT.replace(helper.TOGETHER, str(folder))
    assert text.count(str(folder)) == 1

    def ask(name):
        return subprocess.run(["sh", "-c", text, "helper", "fence-peer", name], check=False, capture_output=True, text=True)

    with helper.together("web1-disk0", str(folder)):
        assert (folder / "web1-disk0").read_text() == "%d\n" % os.getpid()
        assert ask("web1-disk0").returncode == 1
        assert ask("web2-disk0").returncode == 5
    assert os.listdir(folder) == [] and os.stat(folder).st_mode & 0o777 == 0o700
    # who was killed in the middle of it promotes nothing any more
    process = subprocess.Popen(["true"])
    process.wait()
    (folder / "web1-disk0").write_text("%d\n" % process.pid)
    answer = ask("web1-disk0")
    assert (answer.returncode, answer.stdout, answer.stderr) == (5, "", "")


def test_only_a_promotion_with_the_peer_says_so(monkeypatch):
    """The survivor of a dead peer goes on alone."""
    seen = []

    @contextlib.contextmanager
    def together(name):
        seen.append(name)
        yield

    monkeypatch.setattr(helper, "together", together)
    asked = []

    def read(argv, ok=(0,)):
        asked.append((argv, list(seen)))
        return Result(0, "", "")

    executor = types.SimpleNamespace(read=read, call=lambda what, function, *arguments: function(*arguments))
    commands.primary(executor, "web1-disk0", alone=True)
    commands.primary(executor, "web1-disk0")
    assert asked == [(["drbdadm", "primary", "web1-disk0"], []), (["drbdadm", "primary", "web1-disk0"], ["web1-disk0"])]


@pytest.mark.parametrize(("alone", "code", "tries"), ((False, "peer_lost", 1), (True, "command_failed", 3)))
def test_a_peer_that_is_lost_in_the_middle_is_told(alone, code, tries):
    """A survivor has none to lose: the kernel is only asked again."""
    asked, pauses = [], []

    def read(argv, ok=(0,)):
        asked.append(argv)
        return Result(11, "", "0: State change failed: (-7) Refusing to be Primary while peer is not outdated")

    executor = types.SimpleNamespace(read=read, call=lambda what, function, *arguments: function(*arguments))
    with pytest.raises(GantryError) as refusal:
        commands.primary(executor, "web1-disk0", alone=alone, sleep=pauses.append)
    assert refusal.value.code == code and "(-7)" in refusal.value.found
    assert len(asked) == tries == len(pauses) + 1


def test_holders(tmp_path):
    """Processes by name, stacked devices, mounts."""
    for pid, name, target in (
        (7, "qemu-system-x86", "/dev/drbd10"),
        (8, "cat", "/dev/null"),
        (9, "sleep", "/dev/drbd10"),
    ):
        os.makedirs(tmp_path / "proc" / str(pid) / "fd")
        (tmp_path / "proc" / str(pid) / "comm").write_text(name + "\n")
        os.symlink(target, tmp_path / "proc" / str(pid) / "fd" / "3")
    (tmp_path / "proc" / "mounts").write_text("/dev/drbd10 /mnt ext4 rw 0 0\n/dev/drbd1 /x ext4 rw 0 0\n")
    os.makedirs(tmp_path / "sys" / "block" / "drbd10" / "holders" / "dm-3")
    found = commands.holders(10, proc=str(tmp_path / "proc"), sys=str(tmp_path / "sys"))
    assert found == ["device dm-3", "qemu-system-x86 (pid 7)", "sleep (pid 9)", "mounted on /mnt"]
    assert commands.holders(11, proc=str(tmp_path / "none"), sys=str(tmp_path / "none")) == []


def test_a_tpm_s_emulator_is_a_holder(tmp_path):
    """It has a node of its own, by another name, so it is known by the device's number."""
    folder = tmp_path / "proc" / "7" / "fd"
    folder.mkdir(parents=True)
    (tmp_path / "proc" / "7" / "comm").write_text("swtpm\n", encoding="utf-8")
    node = tmp_path / "node"
    os.symlink(node, folder / "3")
    assert commands.holders(10, proc=str(tmp_path / "proc"), sys=str(tmp_path)) == [], "somebody's own name for it is not looked at"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands.tpm_hook, "FOLDER", str(tmp_path))
        # only root can make a device's node
        device = types.SimpleNamespace(st_mode=stat.S_IFBLK | 0o600, st_rdev=os.makedev(commands.MAJOR, 10))
        patch.setattr(commands.os, "stat", lambda _path: device)
        assert commands.holders(10, proc=str(tmp_path / "proc"), sys=str(tmp_path)) == ["swtpm (pid 7)"]
        assert commands.holders(11, proc=str(tmp_path / "proc"), sys=str(tmp_path)) == []


class Log:
    """An executor whose only command is dmesg."""

    def __init__(self, text):
        self.text = text

    def read(self, argv, ok=(0,), stdin=None):
        """The kernel's log."""
        return Result(0, self.text, "")


#: As recorded.
KERNEL = """\
[  302.370729] drbd web1.example.com-disk0: incompatible allow-two-primaries settings
[  302.371241] drbd web1.example.com-disk0: conn( WFReportParams -> Disconnecting )
[  500.000000] drbd other-disk0: incompatible allow-two-primaries settings
[  926.213258] block drbd10: helper command: /usr/local/sbin/gantry-drbd-helper initial-split-brain minor-10
[  926.275268] block drbd10: Split-Brain detected but unresolved, dropping connection!
[  926.275268] block drbd1: Split-Brain detected but unresolved, dropping connection!
"""


def test_reasons():
    """The last two of this resource, of this device."""
    found = commands.reasons(Log(KERNEL), "web1.example.com-disk0", 10)
    assert found == (
        "[  302.370729] drbd web1.example.com-disk0: incompatible allow-two-primaries settings; "
        "[  926.275268] block drbd10: Split-Brain detected but unresolved, dropping connection!"
    )
    assert commands.reasons(Log(""), "web1.example.com-disk0", 10) == ""


@pytest.mark.parametrize(
    "text",
    [
        "drbdsetup-84 connect --shared-secret=%s --x" % SECRET,
        'shared-secret "%s";' % SECRET,
        'shared-secret   \t"%s";' % SECRET,
    ],
)
def test_redact(text):
    """However drbd-utils prints it."""
    assert SECRET not in commands.redact(text)
    assert re.search(r"shared-secret.*\*\*\*", commands.redact(text))
