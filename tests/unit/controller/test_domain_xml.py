# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The domain template: real libvirt takes what it renders, and no value can add XML of its own."""

from __future__ import annotations

import pathlib
from xml.etree import ElementTree

import pytest

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.domain_xml import render

TEMPLATE = pathlib.Path(__file__).resolve().parents[3] / "roles" / "instance" / "templates" / "domain_kvm.xml.j2"


def make_record(**more):
    """A record with everything in it."""
    record = {
        "name": "web1.example.com", "uuid": "6f2d1a9e-2d0f-4b8c-9a3e-0d8f6a3b1c42", "memory_mib": 512, "vcpus": 2,
        "machine": "pc-i440fx-7.2", "domain_type": "qemu", "kernel": None, "initrd": None, "kernel_args": "", "iso": None,
        "disks": [
            {"index": 0, "name": "web1-disk0", "template": "drbd", "vg": "gantry", "nodes": {"a": {"minor": 7}, "b": {"minor": 7}}},
            {"index": 1, "name": "web1-disk1", "template": "plain", "vg": "vg1", "nodes": {"a": {}}}],
        "nics": [{"index": 0, "bridge": "br0", "mac": "52:54:00:00:00:01", "model": "virtio"}],
    }
    record.update(more)
    return record


def rendered(**more):
    """The template's answer as a tree."""
    return ElementTree.fromstring(render(make_record(**more), TEMPLATE.read_text(encoding="utf-8"), folders=[TEMPLATE.parent]))


def test_disks_and_nics():
    tree = rendered()
    assert [node.get("dev") for node in tree.findall("./devices/disk/source")] == ["/dev/drbd7", "/dev/vg1/web1-disk1"]
    assert [node.get("dev") for node in tree.findall("./devices/disk/target")] == ["vda", "vdb"]
    assert {node.get("cache") for node in tree.findall("./devices/disk/driver")} == {"none"}
    assert tree.find("./devices/interface/mac").get("address") == "52:54:00:00:00:01"


def test_kernel_boot_and_iso():
    tree = rendered(kernel="/boot/k", initrd="/boot/i", kernel_args="console=ttyS0 a=<b>&c", iso="/srv/x.iso")
    assert tree.findtext("./os/cmdline") == "console=ttyS0 a=<b>&c"
    assert tree.find("./devices/disk[@device='cdrom']/source").get("file") == "/srv/x.iso"


@pytest.mark.parametrize("field", ["kernel", "initrd", "kernel_args", "iso", "machine"])
def test_no_value_adds_elements(field):
    evil = "/x'/><qemu:commandline/><a b='"
    plain = rendered(kernel="/k", initrd="/i", iso="/y", kernel_args="x")
    tree = rendered(**dict({"kernel": "/k", "initrd": "/i", "iso": "/y", "kernel_args": "x"}, **{field: evil}))
    assert [node.tag for node in tree.iter()] == [node.tag for node in plain.iter()]


@pytest.mark.parametrize("template", ["{{ nothing.there }}", "<domain>", "{% if %}"])
def test_a_broken_template_is_named(template):
    with pytest.raises(GantryError) as refusal:
        render(make_record(), template, source="my_domain.xml.j2")
    assert refusal.value.code == "bad_template" and "my_domain.xml.j2" in str(refusal.value)
