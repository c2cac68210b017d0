# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypervisor parameters: their kinds on any input, their levels, what does not go together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams

ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=40), st.lists(st.text(max_size=10), max_size=4),
    st.sampled_from(["]]>", "a'b", 'a"b', "a&b", "a<b", "a\nb", "a\x00b", "a\x1bb", "\ud800", "/a/../b", "0.0.0.0", "::1", "1e3"]))

PAIRS = sorted((name, key) for name in hypervisors.names() for key in hypervisors.backend(name).parameters)


@pytest.mark.parametrize(("name", "key"), PAIRS)
def test_a_default_is_in_plain_form(name, key):
    parameter = hypervisors.backend(name).parameters[key]
    assert parameter.check(parameter.default) == parameter.default


@given(st.sampled_from(PAIRS), ANY)
def test_any_value_is_refused_or_plain(pair, value):
    name, key = pair
    parameter = hypervisors.backend(name).parameters[key]
    try:
        plain = parameter.check(value)
    except ValueError as wanted:
        assert str(wanted)
        return
    assert parameter.check(plain) == plain, "the plain form of a plain form is itself"
    for text in plain if isinstance(plain, list) else [plain]:
        assert not isinstance(text, str) or text.isprintable()


BAD = [
    ("vnc_bind_address", "0.0.0.0"), ("vnc_bind_address", "192.0.2.1"), ("spice_bind", "::"), ("cpu_mask", "3-1"), ("cpu_mask", "a"),
    ("kernel_path", "boot/vmlinuz"), ("kernel_path", "/boot/../etc/shadow"), ("kernel_args", "a\nb"), ("memory_min", "-1"),
    ("pci_devices", "03:00.9"), ("boot_order", "disk,disk"), ("boot_order", ["usb"]), ("virtio_net_queues", 0),
    ("virtio_net_queues", True), ("cpu_type", "Haswell' evil='"), ("keymap", "en-us\n"), ("acpi", "perhaps"), ("hugepages", "4KiB"),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_bad_values_are_refused(key, value):
    with pytest.raises(GantryError) as refused:
        hvparams.check("kvm", {key: value}, "Instance web1")
    assert refused.value.code == "bad_hvparam" and key in refused.value.what and refused.value.expected


def test_ganeti_s_way_of_writing():
    found = hvparams.check("kvm", "acpi=false, cpu_mask=0-1:3,boot_order=disk", "Instance web1")
    assert found == {"acpi": False, "cpu_mask": "0-1:3", "boot_order": ["disk"]}
    with pytest.raises(GantryError) as refused:
        hvparams.check("kvm", {"acpy": True}, "Instance web1")
    assert refused.value.code == "unknown_hvparam"


@pytest.mark.parametrize(("written", "plain"), [
    ("all", "all"), ("3,1,2", "1-3"), ("0-3:4,5:all", "0-3:4-5:all"), (None, "all"), ("7", "7")])
def test_masks_have_libvirt_s_form(written, plain):
    assert hypervisors.backend("kvm").parameters["cpu_mask"].check(written) == plain


def record(**more):
    """A record as the registry has it."""
    return dict({
        "name": "web1", "hypervisor": "kvm", "group": "blue", "memory_mib": 512, "vcpus": 2, "machine": "pc-i440fx-7.2",
        "disk_template": "drbd", "disks": [], "nics": [], "hvparams": {}}, **more)


def test_the_last_level_wins_and_says_so():
    settings = {"hvparams": {"kvm": {"acpi": False, "vga": "cirrus", "firmware": "efi"}, "lxc": {"num_ttys": 2}},
                "groups": {"blue": {"hvparams": {"kvm": {"vga": "virtio"}}}, "red": {"hvparams": {"kvm": {"rng": True}}}}}
    found = hvparams.resolve(record(hvparams={"use_guest_agent": True}, kernel="/k"), settings)
    assert found["acpi"] == {"value": False, "origin": "cluster"}
    assert found["vga"] == {"value": "virtio", "origin": "group blue"}
    assert found["use_guest_agent"] == {"value": True, "origin": "instance"}
    assert found["kernel_path"] == {"value": "/k", "origin": "instance"}
    assert found["rng"] == {"value": False, "origin": "default"}
    settled = hvparams.settle(record(), settings)
    assert settled["firmware"] == "efi"
    later = hvparams.resolve(record(hvparams_settled=settled), {})
    assert later["firmware"] == {"value": "efi", "origin": "settled at creation"}
    assert later["acpi"]["value"] is True


def test_settings_are_checked_where_they_are_given():
    found = hvparams.check_settings({"hvparams": {"kvm": {"memory_min": "1GiB"}}, "groups": {"a": {"tags": []}}})
    assert found == {"hvparams": {"kvm": {"memory_min": 1024}}, "groups": {"a": {"tags": []}}}
    for bad in ({"hvparams": {"vmware": {}}}, {"hvparams": {"kvm": {"x": 1}}}, {"groups": {"a": {"hvparams": {"lxc": {"acpi": 1}}}}},
                {"hvparams": ["kvm"]}):
        with pytest.raises(GantryError):
            hvparams.check_settings(bad)


CONFLICTS = [
    ({"disk_cache": "writeback", "disk_aio": "threads"}, "disk_cache"),
    ({"secure_boot": True}, "firmware=efi"),
    ({"secure_boot": True, "firmware": "efi"}, "q35"),
    ({"cpu_cores": 3}, "cpu_cores"),
    ({"cpu_mask": "0:1:2"}, "cpu_mask"),
    ({"memory_min": 1024}, "memory_min"),
    ({"memory_min": 256, "balloon": False}, "balloon"),
    ({"kernel_args": "quiet"}, "kernel_path"),
    ({"boot_order": ["cdrom"]}, "cdrom_image_path"),
    ({"hugepages": "1GiB"}, "pages"),
    ({"vga": "none"}, "graphics card"),
]


@pytest.mark.parametrize(("given", "word"), CONFLICTS)
def test_what_does_not_go_together(given, word):
    with pytest.raises(GantryError) as refused:
        one = record(hvparams=given)
        hvparams.refuse_conflicts(one, hvparams.effective(one, {}))
    assert word in refused.value.found


@pytest.mark.parametrize(("template", "given", "own"), [
    ("drbd", {"tpm": "2.0"}, [("tpm", 4)]), ("plain", {"tpm": "2.0"}, []), ("diskless", {"tpm": "2.0", "firmware": "efi"}, []),
    ("drbd", {"tpm": "2.0", "firmware": "efi"}, [("nvram", 4), ("tpm", 4)]), ("plain", {"tpm": "2.0", "firmware": "efi"}, [("nvram", 4)]),
    ("drbd", {}, []),
])
def test_disks_that_the_guest_does_not_see(template, given, own):
    one = record(hvparams=given, disk_template=template)
    values = hvparams.effective(one, {})
    hvparams.refuse_conflicts(one, values)
    assert hvparams.own_disks(one, values) == own


def test_what_they_begin_with():
    one = record(hvparams={"tpm": "2.0", "firmware": "efi"}, disks=[
        {"index": 0}, {"index": 1, "purpose": "nvram"}, {"index": 2, "purpose": "tpm"}])
    assert hvparams.first_contents(one) == {
        "1": {"path": "/usr/share/OVMF/OVMF_VARS_4M.fd", "format": "raw", "place": "end"}, "2": {"zeros": True}}
    assert hvparams.first_contents(record(disks=[{"index": 0}])) == {}


def test_other_hypervisors_have_no_tpm():
    for name in hypervisors.names():
        one = record(hypervisor=name)
        assert hvparams.own_disks(one, hvparams.effective(one, {})) == []


@pytest.mark.parametrize(("name", "given", "good"), [
    ("xen-pv", {}, False), ("xen-pv", {"kernel_path": "/k"}, True), ("xen-pv", {"use_bootloader": True}, False),
    ("xen-pvh", {}, False), ("xen-pvh", {"kernel_path": "/k"}, True), ("xen-hvm", {}, True), ("lxc", {}, True),
    ("lxc", {"uid_base": 1000}, False), ("lxc", {"cpu_mask": "0:1"}, False), ("fake", {}, True)])
def test_other_hypervisors_have_rules_of_their_own(name, given, good):
    one = record(hypervisor=name, hvparams=hvparams.check(name, given, "Instance web1"))
    values = hvparams.effective(one, {})
    if good:
        hvparams.refuse_conflicts(one, values)
    else:
        with pytest.raises(GantryError):
            hvparams.refuse_conflicts(one, values)
