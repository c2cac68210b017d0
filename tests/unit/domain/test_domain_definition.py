# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain's XML as data."""

from __future__ import annotations

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

UUID = "6f2d1d6e-3bd5-4d3c-9d2f-0e6a1c6f0001"
XML = """<domain type='qemu'>
  <name>web1</name>
  <uuid>%s</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='hd'/></os>
  <devices>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none'/><source dev='/dev/drbd3'/><target dev='vda' bus='virtio'/>
    </disk>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><model type='virtio'/></interface>
    <graphics type='vnc' passwd='secret'/>
  </devices>
</domain>""" % UUID


def test_check_accepts_the_instances_own_xml():
    domain_definition.check(XML, "web1", UUID, ["/dev/drbd3"])


@pytest.mark.parametrize(("old", "new", "code"), [
    ("<name>web1", "<name>web2", "bad_domain_xml"),
    (UUID, "6f2d1d6e-3bd5-4d3c-9d2f-0e6a1c6f0002", "bad_domain_xml"),
    ("cache='none'", "", "unsafe_cache"),
    ("cache='none'", "cache='writeback'", "unsafe_cache"),
    ("cache='none'", "cache='writethrough'", "unsafe_cache"),
    ("<vcpu>", "<vcpu", "bad_domain_xml"),
    ("domain", "network", "bad_domain_xml"),
])
def test_check_refuses(old, new, code):
    with pytest.raises(GantryError) as refused:
        domain_definition.check(XML.replace(old, new), "web1", UUID, ["/dev/drbd3"])
    assert refused.value.code == code


def test_check_leaves_unreplicated_disks_their_cache():
    domain_definition.check(XML.replace("cache='none'", "cache='writeback'"), "web1", UUID, ["/dev/drbd4"])


def test_digest_ignores_space_attribute_order_and_the_mark():
    other = XML.replace("\n  ", "\n\t\t").replace("dev='vda' bus='virtio'", "bus='virtio' dev='vda'")
    assert domain_definition.digest(other) == domain_definition.digest(XML)
    assert domain_definition.digest(domain_definition.with_mark(XML, UUID, 7)) == domain_definition.digest(XML)
    assert domain_definition.digest(XML.replace("<vcpu>2", "<vcpu>3")) != domain_definition.digest(XML)


def test_digest_keeps_other_metadata():
    with_note = XML.replace("<memory ", "<metadata><x:note xmlns:x='urn:x'>a</x:note></metadata><memory ")
    assert domain_definition.digest(with_note) != domain_definition.digest(XML)
    marked = domain_definition.with_mark(with_note, UUID, 1)
    assert "note" in marked
    assert domain_definition.digest(marked) == domain_definition.digest(with_note)


def test_mark_is_replaced_and_read():
    twice = domain_definition.with_mark(domain_definition.with_mark(XML, UUID, 7), UUID, 8)
    assert twice.count("<gantry:instance") == 1
    for arriving in (None, "node2"):
        text = domain_definition.mark(UUID, 8, "abc", arriving)
        assert domain_definition.read_mark(text) == {"uuid": UUID, "generation": 8, "digest": "abc", "arriving": arriving}


@pytest.mark.parametrize("text", ["", "<x", "<other generation='1'/>", "<instance/>", "<instance generation='x'/>"])
def test_read_mark_of_something_else(text):
    assert domain_definition.read_mark(text) is None


def test_summary_tells_the_facts_and_no_password():
    text = domain_definition.summary(XML)
    assert text.splitlines() == [
        "name: web1", "type: qemu", "memory: 64 MiB", "vcpus: 2", "machine: pc-i440fx-7.2", "boot: hd",
        "disk vda: dev=/dev/drbd3 cache=none bus=virtio",
        "interface 52:54:00:00:00:01: bridge=br0 type=virtio", "graphics: vnc",
    ]


@pytest.mark.parametrize(("memory", "told"), [
    ("<memory>65536</memory>", "64"), ("<memory unit='GiB'>2</memory>", "2048"), ("<memory unit='MB'>64</memory>", "61"),
    ("<memory unit='Z'>1</memory>", "?"), ("<memory>much</memory>", "?"),
])
def test_summary_knows_libvirts_units(memory, told):
    text = domain_definition.summary("<domain type='kvm'><name>a</name>%s</domain>" % memory)
    assert "memory: %s MiB\n" % told in text


@pytest.mark.parametrize(("nvram", "on_device"), [
    ("", False), ("<os><nvram/></os>", False), ("<os><nvram>/var/lib/libvirt/qemu/nvram/a.fd</nvram></os>", False),
    ("<os><nvram>/dev/drbd4</nvram></os>", True),
    ("<os><nvram type='block'><source dev='/dev/drbd4'/></nvram></os>", True),
    ("<os><nvram type='file'><source file='/srv/a.fd'/></nvram></os>", False),
])
def test_firmware_on_device(nvram, on_device):
    assert domain_definition.firmware_on_device("<domain>%s</domain>" % nvram) is on_device
