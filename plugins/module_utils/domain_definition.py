# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain's XML as data: checks before libvirt sees it, our mark in its metadata, its digest and a summary.

Pure functions on text. The mark is one element in the domain's metadata, so ``virsh dumpxml`` shows whose the
domain is, for which generation it was written, and the digest tells whether the wanted XML has changed since.
"""

from __future__ import annotations

import hashlib
from xml.etree import ElementTree

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: Namespace and prefix of the mark.
NAMESPACE = "urn:gantry-cluster:instance:1"
PREFIX = "gantry"
_MARK = "{%s}instance" % NAMESPACE

#: Cache modes under which a write the guest was told of is on the disk, on both nodes.
SAFE_CACHES = ("none", "directsync")

# Prefixes are kept readable when the XML is written out again.
ElementTree.register_namespace(PREFIX, NAMESPACE)
ElementTree.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")
ElementTree.register_namespace("lxc", "http://libvirt.org/schemas/domain/lxc/1.0")
ElementTree.register_namespace("xen", "http://libvirt.org/schemas/domain/xen/1.0")
ElementTree.register_namespace("libosinfo", "http://libosinfo.org/xmlns/libvirt/domain/1.0")


def parse(text):
    """The XML's root element.

    :raises GantryError: it is not XML, or not a domain.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as broken:
        raise GantryError(
            "The domain's XML cannot be read", found=str(broken), expected="a <domain> element",
            mend="correct the domain template", code="bad_domain_xml",
        ) from broken
    if root.tag != "domain":
        raise GantryError(
            "The domain's XML is of another kind", found="<%s>" % root.tag, expected="<domain>",
            mend="correct the domain template", code="bad_domain_xml",
        )
    return root


def check(text, name, uuid, replicated=()):
    """Refuse XML that is not this instance's or that could lose its writes.

    :param replicated: the replicated block devices, for example ``/dev/drbd3``.
    :raises GantryError: code ``bad_domain_xml`` or ``unsafe_cache``.
    """
    root = parse(text)
    for tag, wanted in (("name", name), ("uuid", uuid)):
        found = (root.findtext(tag) or "").strip()
        if found != wanted:
            raise GantryError(
                "The domain's XML is not that of instance %s" % name, found="<%s>%s" % (tag, found),
                expected="<%s>%s" % (tag, wanted), mend="correct the domain template", code="bad_domain_xml",
            )
    for disk in root.iterfind("devices/disk"):
        source, driver = disk.find("source"), disk.find("driver")
        device = source.get("dev") if source is not None else None
        cache = driver.get("cache") if driver is not None else None
        # Xen's "phy" is the kernel's own back end, which writes past the page cache
        direct = driver is not None and driver.get("name") == "phy" and root.get("type") == "xen"
        if device in replicated and cache not in SAFE_CACHES and not direct:
            raise GantryError(
                "Disk %s of instance %s would lose writes in a migration or a failover" % (device, name),
                found="cache='%s'" % (cache or "default"), expected="cache='none' or cache='directsync'",
                mend="correct the disk's <driver> in the domain template", code="unsafe_cache",
            )


def digest(text):
    """A digest of the XML that does not depend on white space, the order of attributes or our mark."""
    root = parse(text)
    metadata = root.find("metadata")
    if metadata is not None:
        for mark in metadata.findall(_MARK):
            metadata.remove(mark)
        if not len(metadata):
            root.remove(metadata)
    canonical = ElementTree.canonicalize(ElementTree.tostring(root, encoding="unicode"), strip_text=True)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def mark(uuid, generation, xml_digest, arriving=None):
    """The element that marks a domain as ours, as ``virDomainSetMetadata`` takes it: libvirt adds the namespace.

    :param arriving: the node a migration is bringing the domain to, until it has been resumed there.
    """
    return ElementTree.tostring(_mark("instance", uuid, generation, xml_digest, arriving), encoding="unicode")


def with_mark(text, uuid, generation):
    """The XML with our mark in its metadata in place of an older one."""
    root = parse(text)
    xml_digest = digest(text)
    metadata = root.find("metadata")
    if metadata is None:
        metadata = ElementTree.SubElement(root, "metadata")
    for old in metadata.findall(_MARK):
        metadata.remove(old)
    metadata.append(_mark(_MARK, uuid, generation, xml_digest))
    return ElementTree.tostring(root, encoding="unicode")


def read_mark(text):
    """The mark as ``{"uuid", "generation", "digest", "arriving"}``, from the mark's own text; None if it is none of ours.

    libvirt hands the element out without its namespace, so only the local name is compared.
    """
    try:
        element = ElementTree.fromstring(text)
        if element.tag.rpartition("}")[2] != "instance":
            return None
        return {
            "uuid": element.get("uuid"), "generation": int(element.get("generation")), "digest": element.get("digest"),
            "arriving": element.get("arriving"),
        }
    except (ElementTree.ParseError, TypeError, ValueError):
        return None


def _mark(tag, uuid, generation, xml_digest, arriving=None):
    element = ElementTree.Element(tag, {"uuid": uuid, "generation": str(generation), "digest": xml_digest})
    if arriving:
        element.set("arriving", arriving)
    return element


def firmware_on_device(text):
    """Whether the firmware's variables are kept on a block device."""
    nvram = parse(text).find("os/nvram")
    if nvram is None:
        return False
    source = nvram.find("source")
    path = (nvram.text or "").strip() if source is None else source.get("dev") or source.get("file") or ""
    return path.startswith("/dev/")


def processor(text):
    """The processor a guest has, as ``virConnectCompareHypervisorCPU`` takes it: ``type``, ``arch``, ``machine`` and ``cpu``.

    None where there is nothing to compare: in emulation any node can play it, and a host's own processor, which has no name,
    is compared by the controller.
    """
    root = parse(text)
    cpu, kind = root.find("cpu"), root.find("os/type")
    if root.get("type") != "kvm" or cpu is None or kind is None or cpu.find("model") is None or cpu.get("mode") != "custom":
        return None
    for child in list(cpu):
        if child.tag not in ("model", "vendor", "feature"):
            cpu.remove(child)
    return {"type": root.get("type"), "arch": kind.get("arch"), "machine": kind.get("machine"),
            "cpu": ElementTree.tostring(cpu, encoding="unicode")}


def summary(text):
    """What the XML says, a fact a line, for the diff. Passwords are not in it."""
    root = parse(text)
    lines = ["name: %s" % (root.findtext("name") or "").strip(), "type: %s" % root.get("type")]
    memory = root.find("memory")
    if memory is not None:
        lines.append("memory: %s MiB" % _mebibytes(memory))
    lines.append("vcpus: %s" % (root.findtext("vcpu") or "1").strip())
    kind = root.find("os/type")
    if kind is not None:
        lines.append("machine: %s" % (kind.get("machine") or "default"))
    for tag in ("loader", "kernel", "initrd", "cmdline"):
        if root.findtext("os/" + tag):
            lines.append("%s: %s" % (tag, root.findtext("os/" + tag).strip()))
    boot = [element.get("dev") for element in root.iterfind("os/boot")]
    if boot:
        lines.append("boot: %s" % ", ".join(boot))
    cpu = root.find("cpu")
    if cpu is not None:
        lines.append("cpu: %s %s" % (cpu.get("mode") or "custom", (cpu.findtext("model") or "").strip()))
    for disk in root.iterfind("devices/disk"):
        lines.append("disk %s: %s" % (_get(disk, "target", "dev"), _described(disk, (
            ("source", ("dev", "file")), ("driver", ("cache", "io", "discard")), ("target", ("bus",))))))
    for nic in root.iterfind("devices/interface"):
        lines.append("interface %s: %s" % (_get(nic, "mac", "address"), _described(nic, (
            ("source", ("bridge", "network")), ("model", ("type",))))))
    for graphics in root.iterfind("devices/graphics"):
        lines.append("graphics: %s" % graphics.get("type"))
    return "".join(line.rstrip() + "\n" for line in lines)


#: libvirt's units of memory, in bytes.
UNITS = {"b": 1, "bytes": 1, "kb": 1000, "k": 1024, "kib": 1024, "mb": 1000 ** 2, "m": 1024 ** 2, "mib": 1024 ** 2,
         "gb": 1000 ** 3, "g": 1024 ** 3, "gib": 1024 ** 3, "tb": 1000 ** 4, "t": 1024 ** 4, "tib": 1024 ** 4}


def _mebibytes(element):
    """An amount of memory in MiB, rounded down; libvirt's unit is KiB where none is given."""
    try:
        return int((element.text or "").strip()) * UNITS[(element.get("unit") or "KiB").lower()] // 1024 ** 2
    except (ValueError, KeyError):
        return "?"


def _get(parent, tag, attribute):
    element = parent.find(tag)
    return element.get(attribute, "?") if element is not None else "?"


def _described(parent, wanted):
    found = []
    for tag, attributes in wanted:
        element = parent.find(tag)
        if element is not None:
            found.extend("%s=%s" % (name, element.get(name)) for name in attributes if element.get(name))
    return " ".join(found)
