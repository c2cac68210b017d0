# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of a UEFI firmware as they lie on a disk: read from EDK II's store, and one more written into it. Pure."""

from __future__ import annotations

import struct
import uuid

#: The file system that a firmware volume with variables has, and the store in it (with authenticated variables, as OVMF builds it).
VOLUME = uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le
STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
#: Of a variable's head: its mark, state, attributes, count, time, key, length of name and of value, owner.
HEAD = struct.Struct("<HBxIQ16sIII16s")
MARK = 0x55AA
#: A state is made by clearing bits: written whole; then on its way out, then deleted.
ADDED, DELETED = 0x3F, 0xFD
#: Kept, and seen by the firmware's boot services and by the system that runs.
ATTRIBUTES = 7


def _store(data):
    """Where the variables begin and where their store ends. :raises ValueError: there is none."""
    volume = data.find(VOLUME) - 16
    if volume < 0 or data[volume + 40:volume + 44] != b"_FVH":
        raise ValueError("no firmware volume with variables")
    store = volume + struct.unpack_from("<H", data, volume + 48)[0]
    size, form, state = struct.unpack_from("<IBB", data, store + 16)
    if data[store:store + 16] != STORE or (form, state) != (0x5A, 0xFE):
        raise ValueError("no whole store of authenticated variables in the firmware volume")
    return store + 28, store + size


def _walk(data):
    """Each variable: (state, owner, name, attributes, value); at last, instead, the place behind the last one."""
    place, end = _store(data)
    while place + HEAD.size <= end:
        mark, state, attributes, _count, _time, _key, name_size, size, owner = HEAD.unpack_from(data, place)
        if mark != MARK:
            break
        start = place + HEAD.size
        if start + name_size + size > end:
            raise ValueError("a variable at %d reaches beyond the store" % place)
        name = data[start:start + name_size].decode("utf-16-le").rstrip("\0")
        yield state, str(uuid.UUID(bytes_le=owner)), name, attributes, data[start + name_size:start + name_size + size]
        place = start + name_size + size
        place += -place % 4
    yield place


def variables(data):
    """The variables there are now: ``{(owner's GUID, name): value}``.

    :param data: the bytes of a variable file, or of a disk that has one at its end.
    :raises ValueError: there is no store in it.
    """
    return {(found[1], found[2]): found[4] for found in _walk(data) if isinstance(found, tuple) and found[0] in (ADDED, ADDED & 0xFE)}


def planted(data, owner, name, value):
    """The same with one variable more, written as the firmware itself would have.

    :raises ValueError: there is no store, or no room in it.
    """
    *_others, place = _walk(data)
    _start, end = _store(data)
    text = name.encode("utf-16-le") + b"\0\0"
    head = HEAD.pack(MARK, ADDED, ATTRIBUTES, 0, bytes(16), 0, len(text), len(value), uuid.UUID(owner).bytes_le)
    whole = head + text + value
    if place + len(whole) > end:
        raise ValueError("no room for %d bytes" % len(whole))
    return data[:place] + whole + data[place + len(whole):]
