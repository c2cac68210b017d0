# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The template of kvm against libvirt's real QEMU driver: what it defines is what was wanted, option by option."""

from __future__ import annotations

import libvirt
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from records import make_record, records, text_of

from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition, tpm_hook
from ansible_collections.gantry.cluster.plugins.module_utils.domain_compare import differences, sentences
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: A failing example is shown as it is: to make it smaller takes minutes with a daemon.
QUICK = (Phase.explicit, Phase.generate)


def defined(qemu, record):
    """What libvirt makes of a record, as it keeps it."""
    text = domain_definition.with_mark(text_of(record), record["uuid"], 1)
    domain = qemu.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    try:
        return domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    finally:
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)


@settings(max_examples=300, phases=QUICK)
@given(record=records("kvm"))
def test_what_libvirt_fills_in_is_no_drift(qemu, record):
    found = defined(qemu, record)
    assert differences(text_of(record), found) == []


@settings(max_examples=60, phases=QUICK)
@given(record=records("kvm"), other=records("kvm"))
def test_a_changed_parameter_is_a_difference(qemu, record, other):
    """Whatever changes the text of the template shows up as an option, and only then."""
    other = dict(other, disks=record["disks"], machine=record["machine"], disk_template=record["disk_template"],
                 hvparams=dict(other["hvparams"], firmware=record["hvparams"].get("firmware", "bios"), secure_boot=False,
                               watchdog="none", floppy_image_path=""))
    try:
        wanted = text_of(other)
        again = defined(qemu, other)
    except libvirt.libvirtError:
        return  # the mixture does not go together
    told = differences(wanted, defined(qemu, record))
    assert bool(told) == (differences(text_of(record), again) != [] or told != [])
    if domain_definition.digest(wanted) == domain_definition.digest(text_of(record)):
        assert told == []
    else:
        assert told, "the definitions differ and nothing is told"


def test_changes_are_told_by_option(qemu):
    before = defined(qemu, make_record(hvparams={"rng": True, "cpu_cores": 2, "boot_order": ["disk", "network"], "usb_mouse": "tablet"}))
    told = differences(text_of(make_record(memory_mib=1024, hvparams={"vga": "virtio"})), before)
    assert {one["option"] for one in told} == {
        "memory", "cpu", "os/boot[1]", "devices/rng", "devices/input[tablet]", "devices/video/model@type"}
    assert "devices/video/model@type: virtio instead of vga" in sentences(told)
    assert "memory: 1024 MiB instead of 512 MiB" in sentences(told), "libvirt's unit is KiB"
    ballooned = defined(qemu, make_record(hvparams={"memory_min": 256}))
    assert sentences(differences(text_of(make_record()), ballooned)) == ["currentMemory: nothing instead of there"]
    assert sentences(differences(text_of(make_record(hvparams={"memory_min": 128})), ballooned)) == [
        "currentMemory: 128 MiB instead of 256 MiB"]


@pytest.mark.parametrize("text", ["]]>", "a'b", 'a"b', "a&amp;b", "<a/>", "--><evil/><!--", "${x}{{ 7*7 }}", "é\u2028"])
def test_no_text_adds_elements(qemu, text):
    plain = domain_definition.parse(text_of(make_record(hvparams={"kernel_path": "/k", "kernel_args": "x"})))
    record = make_record(hvparams={"kernel_path": "/k" + text, "kernel_args": text})
    tree = domain_definition.parse(text_of(record))
    assert [one.tag for one in tree.iter()] == [one.tag for one in plain.iter()]
    assert tree.findtext("os/cmdline") == text
    if text.isprintable():
        assert domain_definition.parse(defined(qemu, record)).findtext("os/cmdline") == text


@settings(max_examples=200, phases=QUICK)
@given(st.text(max_size=30))
def test_any_name_is_written_as_it_is_or_refused(text):
    try:
        tree = domain_definition.parse(text_of(make_record(name=text, nics=[
            {"index": 0, "bridge": text, "mac": "52:54:00:00:00:01", "model": "virtio"}])))
    except GantryError as refused:
        assert refused.code == "unwritable"
        return
    assert tree.findtext("name") == text
    assert tree.find("devices/interface/source").get("bridge") == text


TPM_DISK = {"index": 2, "name": "web1-disk2", "template": "drbd", "vg": "gantry", "size_mib": 4, "purpose": "tpm",
            "nodes": {"a": {"minor": 9}, "b": {"minor": 9}}}


@pytest.mark.parametrize(("machine", "model"), [("pc-q35-7.2", "tpm-crb"), ("pc-i440fx-7.2", "tpm-tis")])
def test_a_tpm_with_a_disk_of_its_own_is_an_external_one(qemu, machine, model):
    """libvirt takes it, keeps it as it is, and the disk is none that the guest sees."""
    record = make_record(hvparams={"tpm": "2.0"}, machine=machine)
    record["disks"] = record["disks"] + [TPM_DISK]
    found = defined(qemu, record)
    assert differences(text_of(record), found) == []
    tree = domain_definition.parse(found)
    tpm = tree.find("devices/tpm")
    assert tpm.get("model") == model and tpm.find("backend").get("type") == "external"
    assert tpm.find("backend/source").get("path") == tpm_hook.socket_of(record["uuid"])
    assert "/dev/drbd9" not in found and len(tree.findall("devices/disk")) == 2
    # one that libvirt itself keeps is another
    plain = make_record(hvparams={"tpm": "2.0"}, machine=machine, disk_template="plain")
    assert domain_definition.parse(text_of(plain)).find("devices/tpm/backend").attrib == {"type": "emulator", "version": "2.0"}
    assert "devices/tpm/backend@type" in [one["option"] for one in differences(text_of(plain), found)]


def test_nothing_set_is_as_it_was_before_there_were_parameters(qemu):
    """The domain of an instance made by the first release, word by word but for what is empty."""
    tree = domain_definition.parse(text_of(make_record()))
    assert tree.find("cpu") is None and tree.get("type") == "qemu"
    assert [one.get("dev") for one in tree.iterfind("os/boot")] == ["hd"]
    assert [one.tag for one in tree.find("devices")] == [
        "disk", "disk", "interface", "serial", "console", "graphics", "video", "memballoon"]
    assert tree.find("devices/disk/driver").attrib == {
        "name": "qemu", "type": "raw", "cache": "none", "io": "native", "discard": "unmap"}
