# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a definition says what is wanted: option by option, because libvirt fills in what nobody asked for.

What is wanted must be there with the same value. What is there and not wanted counts only if it is of a kind that
libvirt does not add by itself. Pure functions on XML; the tests prove against libvirt that what it fills in is no drift.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition

#: By which child's attribute (or own attribute) elements of one kind are told apart. Others go by their order.
_KEYS = {
    "disk": ("target", "dev"), "interface": ("mac", "address"), "filesystem": ("target", "dir"), "channel": ("target", "name"),
    "graphics": (None, "type"), "input": (None, "type"), "vcpupin": (None, "vcpu"), "feature": (None, "name"),
    "cap": (None, "name"),
}

#: Children that libvirt adds by itself, by their parent. Everything else that is there unasked is a difference. Deeper
#: down, in elements that do not stand here, all that is unasked is libvirt's.
_FILLED = {
    "domain": {"metadata", "clock", "on_poweroff", "on_reboot", "on_crash", "resource", "seclabel", "pm", "genid", "title",
               "description"},
    "os": {"bootmenu", "smbios", "firmware"},
    "features": set(),
    "cpu": {"model", "vendor", "feature", "maxphysaddr", "cache"},
    "cputune": set(),
    "memoryBacking": set(),
    "devices": {"emulator", "controller", "memballoon", "audio", "hub"},
    "interface": {"alias", "address", "model", "target", "mac"},
}

#: Never compared, and never shown.
_SECRET = ("passwd", "passwdValidTo")

#: The processor that libvirt notes down where none was asked for.
_DEFAULT_CPUS = ("qemu64", "qemu32", "kvm64", "kvm32")

#: More than this is not told one by one.
_SHOWN = 200


def differences(wanted, found):
    """How the definition that is there differs from the wanted one.

    :param wanted: XML text.
    :param found: XML text, as libvirt returns it for the next start.
    :returns: a list of ``{"option", "wanted", "found"}``, None standing for "not there".
    """
    changes = []
    _compare(domain_definition.parse(wanted), domain_definition.parse(found), "", changes)
    return changes


def sentences(changes):
    """The differences in words."""
    return ["%s: %s instead of %s" % (one["option"], _show(one["wanted"]), _show(one["found"])) for one in changes]


def _show(value):
    if value is None:
        return "nothing"
    return value if len(value) <= _SHOWN else value[:_SHOWN] + "…"


def _compare(wanted, found, path, changes):
    unit = _unit(wanted), _unit(found)
    for name, value in sorted(wanted.attrib.items()):
        if name in _SECRET or name == "unit":
            continue
        there = found.get(name)
        if _value(name, value, unit[0]) != _value(name, there, unit[1]):
            changes.append({
                "option": "%s@%s" % (path, name), "wanted": _told(name, value, unit[0]), "found": _told(name, there, unit[1])})
    text, there = (wanted.text or "").strip(), (found.text or "").strip()
    if not len(wanted) and _value("", text, unit[0]) != _value("", there, unit[1]):
        changes.append({"option": path, "wanted": _told("", text, unit[0]), "found": _told("", there, unit[1])})
    matched = []
    for child, key in _keyed(wanted):
        partner = _partner(found, child.tag, key)
        where = "%s%s" % (path + "/" if path else "", _named(child.tag, key))
        if partner is None:
            changes.append({"option": where, "wanted": "there", "found": None})
            continue
        matched.append(partner)
        _compare(child, partner, where, changes)
    if wanted.tag in _FILLED:
        for child, key in _keyed(found):
            if not any(child is partner for partner in matched) and not _filled_in(found, child, wanted):
                changes.append({
                    "option": "%s%s" % (path + "/" if path else "", _named(child.tag, key)), "wanted": None, "found": "there"})


def _filled_in(parent, child, wanted):
    """Whether libvirt adds the child to its parent where nobody asks for it."""
    if child.tag == "cpu":
        # one that was taken out of the definition must not go on unseen
        return child.findtext("model") in _DEFAULT_CPUS and child.find("topology") is None and child.find("numa") is None
    if child.tag == "currentMemory":
        memory = parent.find("memory")
        return memory is not None and _bytes(child) == _bytes(memory)
    if child.tag == "devices":
        return all(_filled_in(child, one, wanted) for one in child)
    if child.tag == "boot":
        return wanted.find("boot") is None
    if child.tag == "input":
        return child.get("bus") in ("ps2", "xen")
    if child.tag == "watchdog":
        return child.get("model") == "itco"
    return child.tag in _FILLED.get(parent.tag, ())


def _keyed(parent):
    """The children, each with what tells it apart from others of its kind."""
    count = {}
    for child in parent:
        if not isinstance(child.tag, str):
            continue  # a comment
        element, attribute = _KEYS.get(child.tag, (None, None))
        holder = child.find(element) if element else child
        key = holder.get(attribute) if attribute and holder is not None else None
        if key is None:
            key = count.get(child.tag, 0)
            count[child.tag] = key + 1
        yield child, key


def _partner(parent, tag, key):
    for child, other in _keyed(parent):
        if child.tag == tag and other == key:
            return child
    return None


def _named(tag, key):
    plain = tag.rpartition("}")[2]
    return plain if key == 0 else "%s[%s]" % (plain, key)


def _unit(element):
    """What the element's numbers are multiplied with; libvirt's unit of memory is KiB where none is given."""
    if element.get("unit") is None and element.tag not in ("memory", "currentMemory"):
        return None
    return domain_definition.UNITS.get((element.get("unit") or "KiB").lower())


def _bytes(element):
    return _value("", (element.text or "").strip(), _unit(element))


def _value(name, value, unit):
    """A value in a form that can be compared: amounts of memory in bytes."""
    if value is not None and unit and name in ("", "size", "memory") and value.isdigit():
        return int(value) * unit
    return value


def _told(name, value, unit):
    """A value for people: amounts of memory in MiB, whichever unit each side has."""
    amount = _value(name, value, unit)
    return "%g MiB" % (amount / 1024 ** 2) if isinstance(amount, int) else value
