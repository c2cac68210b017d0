# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of a node's files, and the parsers, on text."""

from __future__ import annotations

import json
import subprocess

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import generation
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from hypothesis import given
from hypothesis import strategies as st

KEY1 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6VMC1cp32Teynkeg8Mu+D1qf2IoH9BMgBl3b7ZxNtl"
KEY2 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDeBNXguVA5XJJchjLoin6pwwL/68SwHomnsmfnie7Nj"


def peer(number, **changed):
    """A peer as check_peers leaves it."""
    entry = {
        "name": "node%d" % number,
        "hostname": "node%d" % number,
        "address": "10.77.0.1%d" % number,
        "ssh_host_keys": [KEY1],
        "migration_public_key": KEY2,
    }
    return dict(entry, **changed)


PEERS = [peer(2), peer(1), peer(3)]


# --- blocks of lines

LINES = st.lists(st.sampled_from(["", "127.0.0.1 localhost", "  indented", "# comment", "a=b"]), max_size=6)


@given(LINES, LINES, st.booleans())
def test_block_keeps_everything_else(lines, body, newline):
    """Putting a block in and taking it out leaves the administrator's lines; the same block again changes nothing."""
    text = "\n".join(lines) + ("\n" if lines and newline else "")
    once = texts.with_block(text, body)
    assert texts.with_block(once, body) == once
    assert texts.with_last_block(once, body) == once
    assert texts.without_block(once).splitlines() == text.splitlines()
    assert texts.with_block(once, []).splitlines() == text.splitlines()


def test_block_stays_in_its_place():
    """A block in the middle is replaced there; the last block moves to the end."""
    text = "one\n%s\nold\n%s\ntwo\n" % (texts.BEGIN, texts.END)
    assert texts.with_block(text, ["new"]) == "one\n%s\nnew\n%s\ntwo\n" % (texts.BEGIN, texts.END)
    assert texts.with_last_block(text, ["new"]) == "one\ntwo\n%s\nnew\n%s\n" % (texts.BEGIN, texts.END)


@pytest.mark.parametrize(
    "text",
    [texts.BEGIN + "\nbody\n", "one\n" + texts.END + "\n", texts.BEGIN + "\n" + texts.BEGIN + "\n" + texts.END + "\n"],
)
def test_block_with_a_single_marker_is_refused(text):
    """Where the block ends is unknown: nothing of the administrator's may be lost."""
    with pytest.raises(GantryError) as caught:
        texts.with_block(text, ["new"], "/etc/hosts")
    assert caught.value.code == "broken_block" and "/etc/hosts" in str(caught.value)


# --- LVM


def test_lvm_rejects_fit_the_names_of_one_group_only():
    """Hyphens are doubled in mapper names; dots and pluses are no wildcards."""
    rejects = texts.lvm_rejects("a-b.c+d")
    assert rejects == ["r|^/dev/drbd|", "r|^/dev/a-b[.]c[+]d/|", "r|^/dev/mapper/a--b[.]c[+]d-[^-]|"]
    for hidden in ("/dev/drbd0", "/dev/drbd/by-res/x/0", "/dev/a-b.c+d/x", "/dev/mapper/a--b.c+d-x"):
        assert not texts.lvm_admits(rejects, [hidden, "/dev/dm-3"])
    for seen in (
        "/dev/sda2",
        "/dev/a-bxc+d/x",
        "/dev/a-b.c+d2/x",
        "/dev/mapper/a--b.c+d--e-x",
        "/dev/mapper/a-b",
        "/dev/md0",
    ):
        assert texts.lvm_admits(rejects, [seen])


@pytest.mark.parametrize("pattern", ["a|.*|", "a|.|", "a/.*/", "a|^/dev/|", "a|/dev/.*|", "a|^.*$|", "a{.*}"])
def test_accepts_all(pattern):
    """However "accept the rest" is written."""
    assert texts.accepts_all(pattern)


@pytest.mark.parametrize("pattern", ["r|.*|", "a|^/dev/sda|", "a|/dev/disk/by-id/.*|", "a|^/dev/md.*|"])
def test_accepts_not_all(pattern):
    """Patterns that choose."""
    assert not texts.accepts_all(pattern)


def test_lvm_filter_keeps_the_administrators_choice_behind_ours():
    """Ours win; "accept the rest" is dropped because it lets a device in by another of its names."""
    rejects = texts.lvm_rejects("gantry")
    assert texts.lvm_filter(rejects, ["a|^/dev/vdb$|", "r|.*|"]) == rejects + ["a|^/dev/vdb$|", "r|.*|"]
    assert texts.lvm_filter(rejects, ["r|^/dev/sdc|", "a|.*|"]) == rejects + ["r|^/dev/sdc|"]
    assert texts.lvm_filter(rejects, rejects[:1]) == rejects


def test_lvm_admits_by_any_name():
    """Seen on a node: an alias of a DRBD device that fits an accepting pattern lets it in."""
    names = ["/dev/drbd100", "/dev/disk/by-id/whatever"]
    assert texts.lvm_admits(["r|^/dev/drbd|", "a|.*|"], names)
    assert not texts.lvm_admits(["r|^/dev/drbd|", "a|^/dev/vdb$|"], names)
    assert not texts.lvm_admits(["a|^/dev/vdb$|", "r|.*|"], names)
    assert texts.lvm_admits([], names)


def test_lvm_local_text_and_its_answer():
    """The file, and what LVM says of it."""
    text = texts.lvm_local_text("local {\n}\n", ["r|^/dev/drbd|", "r|^/dev/x/|"])
    assert text.startswith("local {\n}\n%s\n#" % texts.BEGIN)
    assert text.endswith('\ndevices {\n\tglobal_filter = [ "r|^/dev/drbd|", "r|^/dev/x/|" ]\n}\n%s\n' % texts.END)
    assert texts.lvm_local_text(text, ["r|^/dev/drbd|", "r|^/dev/x/|"]) == text


@pytest.mark.parametrize(
    "text, expected",
    [
        ('global_filter=["r|^/dev/drbd|","r|^/dev/gantry/|"]\n', ["r|^/dev/drbd|", "r|^/dev/gantry/|"]),
        ('global_filter="r|one|"\n', ["r|one|"]),
        ('global_filter=["r|a\\\\.b|"]\n', ["r|a\\.b|"]),
        ('  WARNING: Ignoring duplicate config value: global_filter\nglobal_filter="r|x|"\n', ["r|x|"]),
        ("", []),
    ],
)
def test_parse_lvm_strings(text, expected):
    """As lvmconfig prints them."""
    assert texts.parse_lvm_strings(text, "global_filter") == expected


# --- DRBD


def test_drbd_modprobe_text():
    """One options line, and the number of minors only if it was given."""
    assert texts.drbd_modprobe_text("/bin/true").splitlines()[-1] == "options drbd usermode_helper=/bin/true"
    assert (
        texts.drbd_modprobe_text("disabled", 200).splitlines()[-1]
        == "options drbd usermode_helper=disabled minor_count=200"
    )


@pytest.mark.parametrize(
    "text, pristine, verdict",
    [
        (None, False, "write"),
        ("global {\n\tusage-count no;\n}\n", False, "keep"),
        ("global { usage-count no ; }", True, "keep"),
        ("global {\n\tusage-count yes;\n}\n", True, "write"),
        ("global {\n\t# usage-count no;\n}\n", True, "write"),
        ("global {\n\tusage-count ask;\n}\n", False, "report"),
        (texts.HEADER + "global {\n}\n", False, "write"),
        (texts.drbd_common_text(), False, "write"),
    ],
)
def test_drbd_common_verdict(text, pristine, verdict):
    """Only nobody's file is written."""
    assert texts.drbd_common_verdict(text, pristine) == verdict


def test_is_conffile():
    """The package's MD5 sum decides."""
    listed = " /etc/drbd.conf 6fd1c1c463d9066ae87283fc3cbf7093\n /etc/x 5d41402abc4b2a76b9719d911017c592\n"
    assert texts.is_conffile(listed, "/etc/x", "hello")
    assert not texts.is_conffile(listed, "/etc/x", "hello!")
    assert not texts.is_conffile("", "/etc/x", "hello")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("8.4.11\n", (8, 4, 11)),
        ("9.2.12-1", (9, 2, 12)),
        ("version: 8.4.2 (api:1", (8, 4, 2)),
        ("8.4", (8, 4)),
        ("", ()),
    ],
)
def test_parse_version(text, expected):
    """Numbers to compare."""
    assert texts.parse_version(text) == expected


# --- the way down


def test_stop_script_is_a_shell_script():
    """sh itself reads it; the patience is in it."""
    text = texts.stop_script_text(77)
    assert "patience=77\n" in text and "%" not in text.replace("+%s", "")
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


def test_stop_script_asks_every_driver():
    """Xen's and LXC's guests go down too."""
    text = texts.stop_script_text(77, ["xen:///system", "lxc:///system"])
    assert "/run/libvirt/libxl/*.xml /run/libvirt/lxc/*.xml" in text
    assert "for uri in xen:///system lxc:///system; do" in text
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


VIRSH = """\
#!/bin/sh
# Two containers, each of which ends at its own signal.
cd "$(dirname "$0")/.." || exit 1
shift 3
case $1 in
list) ls guests ;;
send-process-signal)
    echo "$2 $4" >> signals
    if [ "$4" = "$(cat "guests/$2")" ]; then rm "guests/$2" "run/lxc/$2.xml"; fi ;;
destroy) echo "$2 destroyed" >> signals; rm "guests/$2" "run/lxc/$2.xml" ;;
esac
"""


def test_the_way_down_knows_the_signal_of_each_container(tmp_path):
    """A container whose record names a signal gets that, one without a record SIGTERM; nobody is switched off."""
    for folder in ("bin", "guests", "run/lxc", "records"):
        (tmp_path / folder).mkdir(parents=True)
    for name, body in (("virsh", VIRSH), ("lvs", "#!/bin/sh"), ("sleep", "#!/bin/sh")):
        (tmp_path / "bin" / name).write_text(body)
        (tmp_path / "bin" / name).chmod(0o755)
    for guest, signal in (("busybox", "usr2"), ("other", "term")):
        (tmp_path / "guests" / guest).write_text(signal)
        (tmp_path / "run" / "lxc" / (guest + ".xml")).touch()
    record = {"hvparams": {"stop_signal": "SIGPWR"}, "hvparams_effective": {"stop_signal": "SIGUSR2"}}
    (tmp_path / "records" / "busybox.json").write_text(json.dumps({"generation": 1, "record": record}))
    text = texts.stop_script_text(30, ["lxc:///system"])
    for old, new in (("/run/libvirt", "%s/run" % tmp_path), (generation.FOLDER, "%s/records" % tmp_path),
                     ("export PATH=", "export PATH=%s/bin:" % tmp_path), ("+ 10)", "+ 1)")):
        assert old in text
        text = text.replace(old, new)
    done = subprocess.run(["sh"], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and "switched off" not in done.stdout, done
    assert sorted((tmp_path / "signals").read_text().split("\n")) == ["", "busybox rt5", "busybox usr2", "other rt5", "other term"]


def test_stop_unit_waits_longer_than_the_script():
    """systemd must not cut the script off; the unit starts nothing."""
    lines = texts.stop_unit_text(120).splitlines()
    assert "TimeoutStopSec=420" in lines and "ExecStart=/bin/true" in lines and "RefuseManualStop=yes" in lines
    assert "ExecStop=" + texts.STOP_SCRIPT in lines


def test_guests_default_text_has_the_last_word():
    """A shell reads the file: the last assignment counts."""
    text = texts.guests_default_text("ON_BOOT=start\nON_SHUTDOWN=suspend\nSHUTDOWN_TIMEOUT=60\n")
    script = text + 'echo "$ON_BOOT $ON_SHUTDOWN $SHUTDOWN_TIMEOUT"\n'
    assert (
        subprocess.run(["sh"], input=script, text=True, capture_output=True, check=True).stdout
        == "ignore shutdown 60\n"
    )
    assert texts.guests_default_text(text) == text


# --- trust


def test_authorized_keys_text():
    """One line each peer, from its address, for one command; not for the node itself, not without a key."""
    text = texts.authorized_keys_text(PEERS + [peer(4, migration_public_key=None)], "node1")
    assert text.splitlines()[1:] == [
        'restrict,command="/usr/bin/virt-ssh-helper qemu:///system",from="10.77.0.12" %s gantry-migrate@node2' % KEY2,
        'restrict,command="/usr/bin/virt-ssh-helper qemu:///system",from="10.77.0.13" %s gantry-migrate@node3' % KEY2,
    ]


@pytest.mark.parametrize(("hypervisors", "uri"), [
    (["kvm", "lxc"], "qemu:///system"), (["lxc", "xen-pv"], "xen:///system"), (["lxc"], "qemu:///system")])
def test_peers_reach_the_driver_that_migrates(hypervisors, uri):
    """One driver for all peers, because the key may start one thing only."""
    assert texts.migration_uri(hypervisors) == uri
    assert "virt-ssh-helper %s\"" % uri in texts.authorized_keys_text(PEERS, "node1", texts.migration_uri(hypervisors))


def test_known_hosts_text():
    """Every name and address, every key, sorted."""
    peers = [peer(2, hostname="n2", ssh_host_keys=[KEY2, KEY1]), peer(1), peer(3, ssh_host_keys=[])]
    assert texts.known_hosts_text(peers, "node1").splitlines()[1:] == [
        "10.77.0.12,n2,node2 " + KEY2,
        "10.77.0.12,n2,node2 " + KEY1,
    ]


def test_known_hosts_text_for_ssh(tmp_path):
    """OpenSSH finds a peer in it by address and by name."""
    path = tmp_path / "known_hosts"
    path.write_text(texts.known_hosts_text(PEERS, "node1"), encoding="utf-8")
    for name, expected in (("10.77.0.12", 0), ("node3", 0), ("node1", 1)):
        assert (
            subprocess.run(["ssh-keygen", "-F", name, "-f", path], capture_output=True, check=False).returncode
            == expected
        )


def test_hosts_text():
    """A block at the end; Debian's own loopback name is left alone without a word."""
    text, warnings = texts.hosts_text("127.0.0.1 localhost\n127.0.1.1 node1\n", PEERS, "node1")
    assert text.splitlines()[2:] == [
        texts.BEGIN,
        "10.77.0.11\tnode1",
        "10.77.0.12\tnode2",
        "10.77.0.13\tnode3",
        texts.END,
    ]
    assert warnings == []
    assert texts.hosts_text(text, PEERS, "node1") == (text, [])


def test_hosts_text_names_that_are_there_already():
    """The same address: nothing to add. Another address: said, and which."""
    before = "10.77.0.11 node1\n10.77.0.12 Node2 # mine\n192.0.2.3 node3\n"
    text, warnings = texts.hosts_text(before, PEERS, "node1")
    assert text == before + "%s\n10.77.0.13\tnode3\n%s\n" % (texts.BEGIN, texts.END)
    assert len(warnings) == 1 and "192.0.2.3" in warnings[0] and "node3" in warnings[0]
    assert (
        texts.hosts_text("10.77.0.11 node1\n10.77.0.12 node2\n10.77.0.13 node3\n", PEERS, "node1")[0].count("gantry")
        == 0
    )
    assert texts.hosts_text("fd00::3 node3\n", PEERS, "node1")[1] == []


def test_hosts_text_without_peers_leaves_no_block():
    """A node on its own has no peers to name."""
    text, unused = texts.hosts_text("127.0.0.1 localhost\n", PEERS, "node1")
    assert texts.hosts_text(text, [], "node1") == ("127.0.0.1 localhost\n", [])


def test_clean_key():
    """The comment goes."""
    assert texts.clean_key(KEY1 + " root@node1\n") == KEY1


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 not!base64",
        KEY1.replace("ssh-ed25519 ", "ssh-rsa "),
        KEY1 + "\n" + KEY2,
        'command="x" ' + KEY1,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "ssh-dss AAAA",
        "ssh-ed25519 AAAA\u00e4",
    ],
)
def test_clean_key_refuses(key):
    """Anything that is not one public key on one line."""
    with pytest.raises(ValueError):
        texts.clean_key(key)


@given(st.text(max_size=80))
def test_clean_key_never_lets_a_line_through(text):
    """Whatever it accepts is two words without room for options or a second line."""
    try:
        key = texts.clean_key(text)
    except ValueError:
        return
    assert len(key.split()) == 2 and "\n" not in key


# --- what tools answer


def test_parse_units():
    """Several units in one answer."""
    units = texts.parse_units("Id=a.service\nLoadState=masked\nUnitFileState=masked\n\nId=b.socket\nLoadState=loaded\n")
    assert units == {
        "a.service": {"Id": "a.service", "LoadState": "masked", "UnitFileState": "masked"},
        "b.socket": {"Id": "b.socket", "LoadState": "loaded"},
    }
    assert texts.parse_units("") == {}


def test_daemon_of():
    """The monolithic daemon, else the modular one."""
    assert (
        texts.daemon_of({"libvirtd.service": {"LoadState": "loaded"}, "virtqemud.service": {"LoadState": "loaded"}})
        == "libvirtd"
    )
    assert (
        texts.daemon_of({"libvirtd.service": {"LoadState": "not-found"}, "virtqemud.service": {"LoadState": "loaded"}})
        == "virtqemud"
    )
    assert texts.daemon_of({"libvirtd.service": {"LoadState": "masked"}}) is None


def test_parse_groups():
    """One row each physical volume."""
    groups = texts.parse_groups("""{"report": [{"vg": [
        {"vg_name":"a", "vg_size":"2044.00", "vg_free":"100.50", "vg_missing_pv_count":"1", "pv_name":"/dev/vdb"},
        {"vg_name":"a", "vg_size":"2044.00", "vg_free":"100.50", "vg_missing_pv_count":"1", "pv_name":"[unknown]"}
        ]}]}""")
    assert groups == {"a": {"size_mib": 2044, "free_mib": 100, "missing": 1, "devices": ["/dev/vdb", "[unknown]"]}}
    assert texts.parse_groups('{"report": [{"vg": []}]}') == {}


def test_parse_account_and_group():
    """getent's lines, and its silence."""
    assert texts.parse_account("u:x:999:998:c:/home:/bin/sh\n") == {
        "uid": 999,
        "gid": "998",
        "home": "/home",
        "shell": "/bin/sh",
    }
    assert texts.parse_account("") is None
    assert texts.parse_group("libvirt:x:108:\n") == {"gid": "108", "members": []}
    assert texts.parse_group("libvirt:x:108:a,b\n") == {"gid": "108", "members": ["a", "b"]}
    assert texts.parse_group("") is None


@pytest.mark.parametrize(
    "text, count",
    [
        ("pubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys\nforcecommand none\n", 0),
        ("pubkeyauthentication no\n", 1),
        ("authorizedkeysfile /etc/ssh/keys/%u\n", 1),
        ("authorizedkeysfile none\n", 1),
        ("forcecommand internal-sftp\n", 1),
        ("allowusers root\nallowusers admin\n", 1),
        ("allowusers root\nallowusers gantry-*@10.77.0.*\n", 0),
        ("allowgroups sudo\n", 1),
        ("allowgroups sudo libvirt\n", 0),
        ("", 0),
    ],
)
def test_sshd_findings(text, count):
    """What keeps the migration user out."""
    assert len(texts.sshd_findings(text, "gantry-migrate")) == count


def test_multipath_findings():
    """Only the blacklist counts."""
    assert texts.multipath_findings('defaults {\n}\nblacklist {\n\tdevnode "^drbd[0-9]+"\n}\n') == []
    assert (
        len(texts.multipath_findings('blacklist {\n\tdevnode "^vd"\n}\nblacklist_exceptions {\n\tdevnode "^drbd"\n}\n'))
        == 1
    )


def test_libvirt_version():
    """As the library counts."""
    assert texts.libvirt_version(11003000) == "11.3.0"
