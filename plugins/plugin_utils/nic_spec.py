# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards as an operator declares them: mode, link, VLAN, addresses, with Ganeti's words. Pure."""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.nic_script import PATH, tap_name

BRIDGED, ROUTED, OPENVSWITCH = MODES = ("bridged", "routed", "openvswitch")

#: Most cards of an instance, as in Ganeti.
MOST = 8

_KEYS = ("bridge", "link", "mode", "vlan", "ip", "mac", "model")
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_BRIDGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_VLAN = re.compile(r"(\.?\d{1,4})?(:\d{1,4})*")


def parse(name, hypervisor, items):
    """The cards of an instance.

    :param items: a list of bridges, or of dictionaries with ``bridge`` (Ganeti's ``link``), ``mode``, ``vlan``, ``ip``, ``mac``
        and ``model``.
    :returns: a list of ``{"index", "mode", "bridge", "vlan", "ip", "mac", "model"}``, and where a script of ours connects the
        card also ``script`` and ``tap`` (once the MAC address is known, see :func:`connect`).
    :raises GantryError: the first setting that cannot be used.
    """
    if len(items) > MOST:
        _refuse(name, len(items) - 1, "is one too many", "%d NICs" % len(items), "at most %d" % MOST)
    return refuse_twins(name, [_nic(name, hypervisors.backend(hypervisor), index, item) for index, item in enumerate(items)])


def refuse_twins(name, nics):
    """The cards as they are. :raises GantryError: two of them have one MAC address."""
    seen = {}
    for nic in nics:
        if nic["mac"] and seen.setdefault(nic["mac"], nic["index"]) != nic["index"]:
            _refuse(name, nic["index"], "has the MAC address of NIC %d" % seen[nic["mac"]], nic["mac"], "an address of its own")
    return nics


def _nic(name, backend, index, item):
    settings = item if isinstance(item, dict) else {"bridge": item}
    unknown = set(settings) - set(_KEYS)
    if unknown:
        _refuse(name, index, "has unknown settings", ", ".join(sorted(map(str, unknown))), ", ".join(_KEYS))
    mode = settings.get("mode") or BRIDGED
    if mode not in MODES:
        _refuse(name, index, "has an unknown mode", repr(mode), "one of " + ", ".join(MODES))
    if mode not in backend.nic_modes:
        _refuse(name, index, "cannot be %s with hypervisor %s" % (mode, backend.name), mode, "one of " + ", ".join(
            one for one in backend.nic_modes if one in MODES))
    link = settings.get("bridge") or settings.get("link")
    if mode == ROUTED:
        if link and not re.fullmatch(r"[A-Za-z0-9_]{1,32}", str(link)):
            _refuse(name, index, "has no usable routing table", repr(link), "a table's name or number")
    elif not link or not _BRIDGE.fullmatch(str(link)):
        _refuse(name, index, "has no usable bridge", repr(link), "the name of a bridge, such as br0")
    return {
        "index": index, "mode": mode, "bridge": str(link) if link else None,
        "vlan": _vlan(name, backend, index, mode, settings.get("vlan")),
        "ip": _ip(name, index, mode, settings.get("ip")), "mac": _mac(name, index, settings.get("mac")),
        "model": _model(name, backend, index, settings.get("model")),
    }


def _vlan(name, backend, index, mode, value):
    if value in (None, ""):
        return None
    text = str(value)
    tags = [int(tag) for tag in re.findall(r"\d+", text)]
    if isinstance(value, bool) or not _VLAN.fullmatch(text) or not tags or not all(1 <= tag <= 4094 for tag in tags) \
            or len(set(tags)) != len(tags):
        _refuse(name, index, "has an unusable VLAN", repr(value), "a tag such as 100, tags such as :100:200 (trunk), or .100:200 (both)")
    if mode == ROUTED:
        _refuse(name, index, "is routed and has a VLAN", repr(value), "no VLAN")
    if mode == BRIDGED and "vlan" not in backend.nic_modes:
        _refuse(name, index, "cannot have a VLAN on a Linux bridge with hypervisor %s" % backend.name, repr(value),
                "no vlan: a bridge for each VLAN, or mode openvswitch")
    if ":" in text and not backend.nic_trunks:
        _refuse(name, index, "cannot be a trunk with hypervisor %s" % backend.name, repr(value), "one tag")
    return text if text[0] in ".:" else "." + text


def _ip(name, index, mode, value):
    if value in (None, ""):
        if mode == ROUTED:
            _refuse(name, index, "is routed and has no address", "no ip", "the guest's address, such as 192.0.2.10")
        return None
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError:
        return _refuse(name, index, "has no usable address", repr(value), "an address without a prefix, such as 192.0.2.10")


def _mac(name, index, value):
    if value is None:
        return None
    mac = str(value).lower()
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        _refuse(name, index, "has no usable MAC address", repr(mac), "a unicast address like 52:54:00:12:34:56")
    return mac


def _model(name, backend, index, value):
    if value is None:
        return None
    if value not in backend.nic_models:
        _refuse(name, index, "has an unknown model", repr(value), "one of " + ", ".join(backend.nic_models) if backend.nic_models
                else "none: hypervisor %s has one kind only" % backend.name)
    return value


def declared_as(nic, backend):
    """A card of a record as an operator would declare it: :func:`parse` makes the same of it."""
    found = {key: nic[key] for key in ("bridge", "mode", "vlan", "ip", "mac") if nic.get(key)}
    if nic.get("model") in backend.nic_models:
        found["model"] = nic["model"]
    return found


def connect(nic):
    """The card with what connects it, which depends on its MAC address: libvirt's own means, or our script."""
    mode = nic.get("mode", BRIDGED)
    if mode == ROUTED or (mode == BRIDGED and nic.get("vlan")):
        return dict(nic, script=PATH, tap=tap_name(nic["mac"]))
    return nic


def vlans(text):
    """A VLAN setting in its parts: ``native`` (the tag of untagged frames, or None), ``tags`` and ``trunk``."""
    if not text:
        return None
    head, *rest = text.split(":")
    native = int(head.lstrip(".")) if head else None
    tags = ([native] if native else []) + [int(tag) for tag in rest]
    return {"native": native, "tags": tags, "trunk": bool(rest)}


def lacks(nic, bridges, ovs_bridges, vlan_bridges):
    """What a node lacks to connect the card: ``(what, expected, mend)``, or None.

    :param bridges: the node's Linux bridges; the other two likewise.
    """
    mode, link = nic.get("mode", BRIDGED), nic["bridge"]
    if mode == ROUTED:
        return None
    if mode == OPENVSWITCH:
        if link in ovs_bridges:
            return None
        return "no Open vSwitch bridge %s" % link, "the switch of NIC %d" % nic["index"], "'ovs-vsctl add-br %s'" % link
    if link not in bridges:
        return "no bridge %s" % link, "the bridge of NIC %d" % nic["index"], "create the bridge"
    if nic.get("vlan") and link not in vlan_bridges:
        return ("bridge %s does not know VLANs" % link, "vlan_filtering=1 for NIC %d" % nic["index"],
                "'ip link set %s type bridge vlan_filtering 1 vlan_default_pvid 0', and permanently" % link)
    return None


def _refuse(name, index, what, found, expected):
    raise GantryError("Instance %s: NIC %d %s" % (name, index, what), found=found, expected=expected, code="bad_nic")
