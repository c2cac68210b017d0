# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of hypervisor parameters: each takes what an operator wrote and gives one plain form, or says what it wants.

Surveys and Ganeti's ``name=value`` deliver text, so text is as good as numbers and lists. Nothing that XML cannot hold
or that a shell would split gets through: escaping is the template's work, but what cannot be written is refused here.
"""

from __future__ import annotations

import ipaddress
import re

#: Longest text of a parameter; a kernel takes 4096 bytes of arguments at most.
TEXT_LIMIT = 4096

_SIZE = re.compile(r"(\d+)\s*(MiB|GiB|TiB|M|G|T)?")
_FACTORS = {None: 1, "MiB": 1, "M": 1, "GiB": 1024, "G": 1024, "TiB": 1024 * 1024, "T": 1024 * 1024}
_PCI = re.compile(r"([0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")


class Parameter:
    """One parameter of a hypervisor.

    :param kind: a function that turns a value into its plain form or raises ValueError with what was expected.
    :param default: the plain form when no level says anything.
    :param ganeti: Ganeti's name for it, or None.
    :param fixed: it is settled when the instance is made, because disks or the guest's system depend on it.
    """

    def __init__(self, kind, default, ganeti=None, fixed=False):
        self.kind = kind
        self.default = default
        self.ganeti = ganeti
        self.fixed = fixed

    def check(self, value):
        """The value's plain form. :raises ValueError: it cannot be used; the text says what can."""
        return self.kind(value)


def printable(text):
    """Whether every character is one that XML and a log line can hold: no control characters, no lone surrogates."""
    return all(character.isprintable() for character in text)


def truth(value):
    """True or false, as YAML or text."""
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    raise ValueError("true or false")


def number(low, high):
    """A whole number between two others."""
    def check(value):
        if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,12}", str(value).strip(), re.ASCII):
            raise ValueError("a whole number from %d to %d" % (low, high))
        found = int(str(value).strip())
        if not low <= found <= high:
            raise ValueError("a whole number from %d to %d" % (low, high))
        return found
    return check


def choice(*choices):
    """One of some words; an unquoted ``none`` or ``no`` of YAML counts as the word it looks like."""
    def check(value):
        text = "" if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value).strip()
        if value is None and "none" in choices:
            text = "none"
        if text not in choices:
            raise ValueError("one of " + ", ".join(word or "'' (nothing)" for word in choices))
        return text
    return check


def words(*choices):
    """A list of different words out of some."""
    one = choice(*choices)

    def check(value):
        found = [one(part) for part in parts(value)]
        if len(set(found)) != len(found):
            raise ValueError("each of %s once at most" % ", ".join(choices))
        return found
    return check


def pattern(expression, expected, empty=True):
    """Text that fits a regular expression as a whole."""
    compiled = re.compile(expression)

    def check(value):
        text = "" if value is None else str(value)
        if not (empty and text == "") and not compiled.fullmatch(text):
            raise ValueError(expected)
        return text
    return check


def texts(expression, expected):
    """A list of different texts, each of which fits a regular expression."""
    one = pattern(expression, expected, empty=False)

    def check(value):
        found = [one(part) for part in parts(value)]
        if len(set(found)) != len(found):
            raise ValueError(expected + ", each once")
        return found
    return check


def text(value):
    """A line of text, such as a kernel's arguments."""
    found = "" if value is None else str(value)
    if len(found) > TEXT_LIMIT or not printable(found):
        raise ValueError("one line of at most %d printable characters" % TEXT_LIMIT)
    return found


def arguments(value):
    """A list of arguments, each a line of text. Text is split at blanks."""
    found = value.split() if isinstance(value, str) else parts(value)
    return [text(part) for part in found]


def path(value):
    """An absolute path on the nodes, or nothing."""
    found = text(value)
    if found and (not found.startswith("/") or ".." in found.split("/")):
        raise ValueError("an absolute path on the nodes, without '..'")
    return found


def mebibytes(value):
    """A size; a bare number is MiB, as in Ganeti."""
    match = _SIZE.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    if not match or len(match.group(1)) > 9:
        raise ValueError("a size such as 512MiB")
    return int(match.group(1)) * _FACTORS[match.group(2)]


def cpu_set(value):
    """A set of processors such as ``0-3,6``, in the one form libvirt writes it in."""
    return show_set(read_set(str(value)))


def read_set(value):
    """The numbers of a set such as ``0-3,6``. :raises ValueError: it is none."""
    found = set()
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
        if not match or int(match.group(2) or match.group(1)) < int(match.group(1)):
            raise ValueError("numbers and ranges such as 0-3,6")
        found.update(range(int(match.group(1)), int(match.group(2) or match.group(1)) + 1))
    return found


def show_set(numbers):
    """A set of numbers as libvirt writes it: ranges where there are any."""
    ordered, ranges = sorted(numbers), []
    for one in ordered:
        if ranges and ranges[-1][1] == one - 1:
            ranges[-1][1] = one
        else:
            ranges.append([one, one])
    return ",".join("%d" % low if low == high else "%d-%d" % (low, high) for low, high in ranges)


def cpu_mask(value):
    """Ganeti's: ``all``; one set for all virtual processors; or one for each, with colons between."""
    found = "all" if value is None else str(value).strip()
    try:
        return ":".join("all" if part.strip() == "all" else cpu_set(part) for part in found.split(":"))
    except ValueError:
        raise ValueError("all, a set such as 0-3,6, or one for each virtual processor with colons between") from None


def node_set(value):
    """A set of NUMA nodes, or nothing."""
    return cpu_set(value) if str("" if value is None else value).strip() else ""


def loopback(value):
    """An address that only the node itself reaches, or nothing: what is shown on a screen is as good as the guest's console."""
    found = "" if value is None else str(value).strip()
    if found:
        try:
            if not ipaddress.ip_address(found).is_loopback:
                raise ValueError(found)
        except ValueError:
            raise ValueError("a loopback address such as 127.0.0.1, which 'ssh -L' reaches, or '' for no screen") from None
    return found


def pci_devices(value):
    """A list of PCI addresses of the nodes, with their domain."""
    found = []
    for part in parts(value):
        address = str(part).strip().lower()
        if not _PCI.fullmatch(address):
            raise ValueError("a list of PCI addresses such as 0000:03:00.0 ('lspci -D')")
        found.append(address if address.count(":") == 2 else "0000:" + address)
    if len(set(found)) != len(found):
        raise ValueError("each PCI address once")
    return found


def parts(value):
    """A list as it is; text split at its commas; nothing as an empty list. :raises ValueError: neither."""
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, (list, tuple)) and all(isinstance(part, (str, int)) for part in value):
        return list(value)
    raise ValueError("a list")
