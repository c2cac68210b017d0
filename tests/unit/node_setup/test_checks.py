# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused, by data: the options, the node, LVM's filter."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import checks
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts

from .server import options

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6VMC1cp32Teynkeg8Mu+D1qf2IoH9BMgBl3b7ZxNtl"

NODE1 = {
    "name": "node1",
    "hostname": "n1",
    "address": "10.77.0.11",
    "ssh_host_keys": [KEY + " root@n1"],
    "migration_public_key": KEY + " x",
    "vg": "gantry",
    "offline": False,
}
NODE2 = {
    "name": "node2",
    "hostname": "n2",
    "address": "10.77.0.12",
    "ssh_host_keys": [KEY],
    "migration_public_key": KEY,
}


def refusal(function, *args):
    """The error a check raises; it says what was found and what was expected."""
    with pytest.raises(GantryError) as caught:
        function(*args)
    assert caught.value.found and caught.value.expected
    return caught.value


def test_options_in_their_final_form():
    """Addresses in their usual text, keys without comments, what a registry knows beside that left out."""
    wanted = checks.check_options(options(address="FD00:0::11", peers=[dict(NODE1, address="fd00::11"), NODE2]))
    assert wanted["address"] == "fd00::11"
    assert wanted["peers"][0] == {
        "name": "node1",
        "hostname": "n1",
        "address": "fd00::11",
        "ssh_host_keys": [KEY],
        "migration_public_key": KEY,
    }
    assert checks.check_options(options())["peers"] is None
    assert checks.check_options(options(peers=[]))["peers"] == []


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ""},
        {"name": "-x"},
        {"name": "a b"},
        {"name": "a\nb"},
        {"name": "a,b"},
        {"address": "node1"},
        {"address": "127.0.0.1"},
        {"address": "0.0.0.0"},
        {"address": "fe80::1"},
        {"address": "10.77.0.0/24"},
        {"vg": ""},
        {"vg": "a/b"},
        {"vg": "-a"},
        {"vg": ".."},
        {"vg": 'a"b'},
        {"migration_user": "root"},
        {"migration_user": "A b"},
        {"migration_user": "x:y"},
        {"migration_user": "a\n"},
        {"lvm_reject": [""]},
        {"lvm_reject": ["a|b"]},
        {"lvm_reject": ['a"b']},
        {"lvm_reject": ["a\\.b"]},
        {"lvm_reject": ["(a"]},
        {"drbd_minor_count": 0},
        {"drbd_minor_count": 1048577},
        {"vg_min_size_mib": -1},
        {"shutdown_timeout": -1},
        {"shutdown_timeout": 86401},
    ],
)
def test_options_refused(changed):
    """Before the node is even looked at; the option is named."""
    error = refusal(checks.check_options, options(**changed))
    assert error.code == "bad_option" and list(changed)[0] in error.what


@pytest.mark.parametrize(
    "peers, word",
    [
        ([{}], "an entry without name"),
        ([{"name": "node2"}], "node2 without hostname, address"),
        ([dict(NODE2, hostname="a b")], "a b"),
        ([dict(NODE2, name="node\n2")], "node"),
        ([dict(NODE2, address="n2")], "n2"),
        ([dict(NODE2, address="10.77.0.11")], "10.77.0.11"),
        ([dict(NODE1, address="10.77.0.12")], "10.77.0.12"),
        ([NODE2, NODE2], "node2"),
        ([NODE2, dict(NODE2, name="node3", address="10.77.0.13")], "n2"),
        ([NODE2, dict(NODE2, name="node3", hostname="n3")], "10.77.0.12"),
        ([dict(NODE2, migration_public_key="AAAA")], "AAAA"),
        ([dict(NODE2, ssh_host_keys=[KEY + "\n" + KEY])], "ssh-ed25519"),
        ([dict(NODE2, migration_public_key='command="sh" ' + KEY)], "command"),
    ],
)
def test_peers_refused(peers, word):
    """What would end in another node's files has to be right; what was found is told."""
    error = refusal(checks.check_options, options(peers=peers))
    assert error.code == "bad_option" and word in error.found


def test_peers_without_keys_are_accepted():
    """A node that is not prepared yet: it gets no trust, and no refusal."""
    peers = checks.check_options(options(peers=[dict(NODE2, ssh_host_keys=None, migration_public_key=None)]))["peers"]
    assert peers[0]["ssh_host_keys"] == [] and peers[0]["migration_public_key"] is None


# --- the node

LOADED = {"LoadState": "loaded"}

SEEN = {
    "hostname": "n1",
    "kernel": "6.1.0",
    "addresses": [("eth0", "10.0.2.15"), ("eth1", "10.77.0.11")],
    "missing": [],
    "units": {"libvirtd.service": LOADED},
    "drivers": ["libvirt_driver_qemu.so", "libvirt_driver_lxc.so", "libvirt_driver_libxl.so"],
    "xen": None,
    "drbd": {"tools": True, "missing": None, "version": "8.4.11", "conf": 'include "drbd.d/*.res";\n'},
    "groups": {"gantry": {"size_mib": 2044, "free_mib": 2044, "missing": 0, "devices": ["/dev/vdb"]}},
    "user": None,
    "libvirt_group": {"gid": "108", "members": []},
}


def seen(**changed):
    """A fit node with changes; ``part__key`` changes one key of a part."""
    answer = copy.deepcopy(SEEN)
    for key, value in changed.items():
        part, unused, inner = key.partition("__")
        if inner:
            answer[part][inner] = value
        else:
            answer[part] = value
    return answer


def wanted(**changed):
    """Checked options."""
    return checks.check_options(options(**changed))


def test_a_fit_node():
    """Nothing to refuse; also with DRBD 9, a module without a version, a modular libvirt, an account that is ours."""
    checks.check_node(wanted(peers=[NODE1, NODE2]), seen())
    checks.check_node(wanted(), seen(drbd__version="9.2.12", units={"virtqemud.service": LOADED}))
    checks.check_node(
        wanted(),
        seen(drbd__version=None, user={"uid": 999, "gid": "999", "home": texts.MIGRATION_HOME, "shell": "/bin/sh"}),
    )
    checks.check_node(wanted(drbd_minor_count=300), seen(drbd__version="9.1.4"))


@pytest.mark.parametrize(
    "node, changed, code, mend",
    [
        ({"hostname": "localhost"}, {}, "no_hostname", "hostnamectl"),
        ({"addresses": [("eth0", "10.0.2.15")]}, {}, "no_address", "configure"),
        ({"addresses": []}, {}, "no_address", "configure"),
        ({"missing": ["virsh"]}, {}, "no_libvirt", "apt install libvirt"),
        ({"units": {"libvirtd.service": {"LoadState": "masked"}}}, {}, "no_libvirt", "unmask"),
        ({"drivers": []}, {}, "no_driver", "libvirt-daemon-driver-qemu"),
        ({"drivers": ["libvirt_driver_qemu.so"]}, {"hypervisors": ["kvm", "lxc"]}, "no_driver", "libvirt-daemon-driver-lxc"),
        ({}, {"hypervisors": ["xen-pv"]}, "no_xen", "xen-system-amd64"),
        ({"xen": ""}, {"hypervisors": ["lxc", "xen-hvm"]}, "no_xen", "xen-system-amd64"),
        ({"libvirt_group": None}, {}, "no_libvirt", "apt install"),
        ({"drbd__tools": False}, {}, "no_drbd", "apt install drbd-utils"),
        ({"drbd__missing": "modinfo: ERROR: Module drbd not found."}, {}, "no_drbd", "linux-image"),
        ({"drbd__version": "8.4.3"}, {}, "drbd_version", "newer kernel"),
        ({"drbd__version": "8.3.16"}, {}, "drbd_version", "newer kernel"),
        ({"drbd__conf": None}, {}, "drbd_conf", "add that line"),
        ({"drbd__conf": '# include "drbd.d/*.res";\n'}, {}, "drbd_conf", "add that line"),
        ({}, {"drbd_minor_count": 256}, "bad_option", ""),
        ({"groups": {}}, {}, "no_volume_group", "vgcreate gantry /dev/DISK"),
        ({}, {"vg": "other"}, "no_volume_group", "vgcreate other"),
        ({"groups__gantry": dict(SEEN["groups"]["gantry"], missing=1)}, {}, "volume_group_incomplete", "pvs"),
        ({}, {"vg_min_size_mib": 2045}, "volume_group_small", "vgextend gantry"),
        (
            {"user": {"uid": 1000, "gid": "1000", "home": "/home/gantry-migrate", "shell": "/bin/bash"}},
            {},
            "foreign_user",
            "another",
        ),
        (
            {"user": {"uid": 0, "gid": "0", "home": texts.MIGRATION_HOME, "shell": "/bin/sh"}},
            {},
            "foreign_user",
            "another",
        ),
        ({"hostname": "n9"}, {"peers": [NODE1, NODE2]}, "bad_option", ""),
        ({"hostname": "n2"}, {"peers": [NODE2]}, "bad_option", ""),
    ],
)
def test_an_unfit_node(node, changed, code, mend):
    """Each reason has its code, what was found, what was expected, and what mends it."""
    error = refusal(checks.check_node, wanted(**changed), seen(**node))
    assert error.code == code and mend in (error.mend or "")


def test_an_address_is_compared_as_a_number():
    """However ip writes it."""
    checks.check_node(wanted(address="fd00:0:0::11"), seen(addresses=[("eth1", "fd00::11")]))


def test_check_system():
    """Root, and systemd."""
    checks.check_system(0, True)
    assert "become" in refusal(checks.check_system, 1000, True).mend
    assert refusal(checks.check_system, 0, False).code == "no_systemd"


# --- LVM's filter


def group(*devices, missing=0):
    """A volume group as parse_groups tells it."""
    return {"size_mib": 2044, "free_mib": 2044, "missing": missing, "devices": list(devices)}


REJECTS = texts.lvm_rejects("gantry")


def test_filter_that_hides_nothing_seen():
    """The usual case says nothing."""
    groups = {"gantry": group("/dev/vdb"), "system": group("/dev/vda3")}
    assert checks.check_filter(REJECTS, wanted(), groups, groups, {}) == []


def test_filter_that_hides_a_guests_group():
    """That is what it is for; it is told. An active one is refused: LVM could no longer switch it off."""
    before = {"gantry": group("/dev/vdb"), "guestvg": group("/dev/drbd0"), "inner": group("/dev/gantry/x")}
    after = {"gantry": group("/dev/vdb")}
    assert checks.hidden_groups(before, after) == ["guestvg", "inner"]
    warnings = checks.check_filter(REJECTS, wanted(), before, after, {"guestvg": [], "inner": []})
    assert len(warnings) == 2 and "guestvg on /dev/drbd0" in warnings[0]
    error = refusal(checks.check_filter, REJECTS, wanted(), before, after, {"inner": ["root"]})
    assert error.code == "guest_volume_group_active" and "vgchange -an inner" in error.mend


@pytest.mark.parametrize(
    "before, after",
    [
        ({"gantry": group("/dev/vdb")}, {}),
        ({"gantry": group("/dev/mapper/gantry-crypt")}, {}),
        ({"gantry": group("/dev/vdb"), "system": group("/dev/vda3")}, {"gantry": group("/dev/vdb")}),
        ({"gantry": group("/dev/vdb", "/dev/vdc")}, {"gantry": group("/dev/vdb", "[unknown]", missing=1)}),
    ],
)
def test_filter_that_hides_what_the_host_needs(before, after):
    """Its own volume groups, whole or in part."""
    assert refusal(checks.check_filter, REJECTS, wanted(), before, after, {}).code == "lvm_filter"


@pytest.mark.parametrize(
    "patterns",
    [
        REJECTS + ["a|^/dev/disk/by-id/.*|", "r|.*|"],
        REJECTS + ["a|/dev/dm-|", "r|.*|"],
        REJECTS + ["a|^/dev/.*|"],
        [],
        ["a|.*|"],
    ],
)
def test_filter_that_lets_guests_in(patterns):
    """By another of their names."""
    assert refusal(checks.check_filter, patterns, wanted(), {}, {}, {}).code == "lvm_filter"


@pytest.mark.parametrize(
    "patterns",
    [
        REJECTS,
        REJECTS + ["a|^/dev/vdb$|", "r|.*|"],
        REJECTS + ["a|^/dev/disk/by-id/ata-|", "r|.*|"],
        ["a|^/dev/sda|", "r|.*|"],
    ],
)
def test_filter_that_keeps_guests_out(patterns):
    """Accepting patterns that name the host's disks do no harm."""
    assert checks.check_filter(patterns, wanted(), {}, {}, {}) == []


def test_filter_findings():
    """A dropped "accept the rest" and a second filter in the same file are told."""
    assert checks.filter_findings([], "local {\n}\n") == []
    assert checks.filter_findings(["a|.*|"], "") == []
    assert "a|.*|" in checks.filter_findings(["r|^/dev/sdc|", "a|.*|"], "")[0]
    own = texts.lvm_local_text('devices {\n\tglobal_filter = [ "r|x|" ]\n}\n', REJECTS)
    assert len(checks.filter_findings(["r|x|"], own)) == 1
    assert checks.filter_findings([], texts.lvm_local_text("# global_filter = []\n", REJECTS)) == []


def test_a_dom0_can_run_xen_and_containers():
    """Xen says in /proc/xen/capabilities who is in control."""
    checks.check_node(checks.check_options(options(hypervisors=["xen-pv", "xen-hvm", "lxc"])), seen(xen="control_d"))


@pytest.mark.parametrize("names", [["kvm", "xen-pv"], ["vmware"]])
def test_hypervisors_that_cannot_be(names):
    """dom0 has no KVM."""
    assert refusal(checks.check_options, options(hypervisors=names)).code == "bad_option"
