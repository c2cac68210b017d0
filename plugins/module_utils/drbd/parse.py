# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what DRBD says, as pure functions: 8.4 and 9, text and JSON.

Whatever is not understood raises :class:`GantryError` with the line: a half-read state could let a guard pass.
"""

from __future__ import annotations

import json
import re

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

ROLES = frozenset(("Primary", "Secondary", "Unknown"))
CONNECTIONS = (
    "StandAlone", "Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError",
    "TearDown", "Connecting", "WFReportParams", "Connected",
)
#: From the worst to the best: a resource is as good as the worst of its volumes.
DISK_STATES = (
    "Diskless", "Failed", "Attaching", "Detaching", "Negotiating", "DUnknown", "Inconsistent", "Outdated",
    "Consistent", "UpToDate",
)
#: From "nothing flows" to "all is well".
REPLICATIONS = (
    "Off", "StartingSyncS", "StartingSyncT", "WFBitMapS", "WFBitMapT", "WFSyncUUID", "PausedSyncS", "PausedSyncT",
    "SyncSource", "SyncTarget", "Ahead", "Behind", "VerifyS", "VerifyT", "Established",
)
#: Kernel 8.4 calls waiting for the peer by another name in some tools.
_OLD_CONNECTION_NAMES = {"WFConnection": "Connecting"}

_OBJECTS = {
    "resource": ("name", "role", "suspended"),
    "connection": ("name", "connection", "role"),
    "device": ("name", "volume", "minor", "disk"),
    "peer-device": ("name", "volume", "replication", "peer-disk"),
    "path": ("name",),
}


def _broken(source, number, line, why):
    return GantryError(
        "The output of '%s' cannot be understood (%s)" % (source, why),
        found="line %d: %s" % (number, line.strip()[:300]), expected="the state of every resource",
        mend="run '%s' on the node by hand; a drbd-utils newer than this collection may print another format" % source,
        code="unreadable_drbd",
    )


def _whole_number(text):
    """A non-negative decimal number, or None."""
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None


def events2(text):
    """The state of every resource from ``drbdsetup events2 --now --statistics``.

    :returns: ``{resource: {role, connection, peer_role, disk, peer_disk, replication, volumes, peers,
        out_of_sync_kib, sync_percent, suspended, allow_two_primaries, protocol}}``. ``out_of_sync_kib`` and
        ``sync_percent`` are None when unknown; ``allow_two_primaries`` and ``protocol`` are None here (the
        configuration knows them, see :func:`show`).
    :raises GantryError: a line is broken, or the output was cut short.
    """
    source = "drbdsetup events2 --now --statistics"
    resources = {}
    later = []
    ended = False
    number = 0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if ended:
            raise _broken(source, number, line, "text after the end mark")
        if words[0] != "exists":
            raise _broken(source, number, line, "not an 'exists' line")
        if words[1:] == ["-"]:
            ended = True
            continue
        kind = words[1] if len(words) > 1 else ""
        if kind not in _OBJECTS:
            raise _broken(source, number, line, "unknown kind of object")
        fields = _fields(source, number, line, words[2:], _OBJECTS[kind])
        if kind == "resource":
            name = fields["name"]
            if name in resources:
                raise _broken(source, number, line, "the resource appears twice")
            resources[name] = {
                "role": _word(source, number, line, fields["role"], ROLES),
                "suspended": fields["suspended"] != "no",
                "connections": {}, "devices": {}, "peer_devices": {},
            }
        else:
            later.append((number, line, kind, fields))
    if not ended:
        raise _broken(source, number, text.splitlines()[-1] if text.strip() else "", "the end mark is missing")
    for number, line, kind, fields in later:
        if fields["name"] not in resources:
            raise _broken(source, number, line, "its resource is not listed")
        _add(source, number, line, kind, fields, resources[fields["name"]])
    return {name: _summary(source, name, raw) for name, raw in resources.items()}


def _fields(source, number, line, words, required):
    fields = {}
    for word in words:
        key, colon, value = word.partition(":")
        if not key or not colon or not value:
            raise _broken(source, number, line, "'%s' is not key:value" % word)
        if key in fields:
            raise _broken(source, number, line, "'%s' appears twice" % key)
        fields[key] = value
    for key in required:
        if key not in fields:
            raise _broken(source, number, line, "'%s' is missing" % key)
    return fields


def _word(source, number, line, value, known):
    value = _OLD_CONNECTION_NAMES.get(value, value)
    if value not in known:
        raise _broken(source, number, line, "unknown word '%s'" % value)
    return value


def _number_field(source, number, line, fields, key):
    value = _whole_number(fields[key])
    if value is None:
        raise _broken(source, number, line, "'%s' is not a number" % key)
    return value


def _add(source, number, line, kind, fields, resource):
    """Put one connection, device or peer device into its resource."""
    if kind == "path":
        return
    peer = fields.get("peer-node-id") or fields.get("peer") or ""
    if kind == "connection":
        place, key = resource["connections"], peer
        value = {
            "connection": _word(source, number, line, fields["connection"], CONNECTIONS),
            "role": _word(source, number, line, fields["role"], ROLES),
        }
    elif kind == "device":
        place, key = resource["devices"], _number_field(source, number, line, fields, "volume")
        value = {
            "volume": key,
            "minor": _number_field(source, number, line, fields, "minor"),
            "disk": _word(source, number, line, fields["disk"], DISK_STATES),
            "size_kib": _number_field(source, number, line, fields, "size") if "size" in fields else None,
        }
    else:
        place, key = resource["peer_devices"], (peer, _number_field(source, number, line, fields, "volume"))
        out_of_sync = None
        if "out-of-sync" in fields:
            out_of_sync = _number_field(source, number, line, fields, "out-of-sync")
        elif "received" in fields:
            # Some versions leave a zero out of the statistics.
            out_of_sync = 0
        done = fields.get("done")
        if done is not None and not re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", done):
            raise _broken(source, number, line, "'done' is not a percentage")
        value = {
            "replication": _word(source, number, line, fields["replication"], REPLICATIONS),
            "disk": _word(source, number, line, fields["peer-disk"], DISK_STATES),
            "out_of_sync_kib": out_of_sync,
        }
    if key in place:
        raise _broken(source, number, line, "the same %s appears twice" % kind)
    value["at"] = (number, line)
    place[key] = value


def _summary(source, name, raw):
    """One resource as callers see it; several volumes or peers count as the worst of them."""
    devices = [raw["devices"][key] for key in sorted(raw["devices"])]
    connections = list(raw["connections"].values())
    peers = raw["peer_devices"]
    for (peer, volume), entry in peers.items():
        if peer not in raw["connections"]:
            raise _broken(source, entry["at"][0], entry["at"][1], "its connection is not listed")
        if volume not in raw["devices"]:
            raise _broken(source, entry["at"][0], entry["at"][1], "its volume is not listed")
    connection = min((c["connection"] for c in connections), key=CONNECTIONS.index, default="StandAlone")
    roles = {c["role"] for c in connections}
    if "Primary" in roles:
        peer_role = "Primary"
    elif roles == {"Secondary"}:
        peer_role = "Secondary"
    else:
        peer_role = "Unknown"
    entries = list(peers.values())
    complete = len(entries) == len(devices) * len(connections) and entries
    if complete:
        peer_disk = min((e["disk"] for e in entries), key=DISK_STATES.index)
        replication = min((e["replication"] for e in entries), key=REPLICATIONS.index)
    else:
        peer_disk, replication = "DUnknown", "Off"
    disk = min((d["disk"] for d in devices), key=DISK_STATES.index, default="Diskless")
    out_of_sync = None
    if complete and all(e["out_of_sync_kib"] is not None for e in entries):
        out_of_sync = sum(e["out_of_sync_kib"] for e in entries)
    return {
        "role": raw["role"],
        "connection": connection,
        "volumes": [
            {
                "volume": d["volume"], "minor": d["minor"], "disk": d["disk"],
                "size_mib": None if d["size_kib"] is None else d["size_kib"] // 1024,
            }
            for d in devices
        ],
        "peers": len(connections),
        "disk": disk,
        "peer_role": peer_role,
        "peer_disk": peer_disk,
        "replication": replication,
        "out_of_sync_kib": out_of_sync,
        "sync_percent": _percent(connection, devices, len(connections), out_of_sync),
        "suspended": raw["suspended"],
        "allow_two_primaries": None,
        "protocol": None,
    }


def _percent(connection, devices, peers, out_of_sync):
    """How much of the data is in sync, 0.0 to 100.0; 100.0 only when nothing is out of sync; None when unknown."""
    sizes = [d["size_kib"] for d in devices]
    if connection != "Connected" or out_of_sync is None or not sizes or None in sizes:
        return None
    total = sum(sizes) * peers
    if out_of_sync == 0:
        return 100.0
    if total <= 0:
        return None
    return min(99.99, max(0.0, int(10000 * (total - out_of_sync) / total) / 100.0))


def status_json(text):
    """The same as :func:`events2` from ``drbdsetup status --json`` of DRBD 9.

    :raises GantryError: not the expected JSON.
    """
    source = "drbdsetup status --json"
    try:
        document = json.loads(text)
    except ValueError as broken:
        raise _broken(source, getattr(broken, "lineno", 1), text[:200], str(broken)) from broken
    if not isinstance(document, list):
        raise _broken(source, 1, text[:200], "not a list of resources")
    resources = {}
    for entry in document:
        line = json.dumps(entry)
        try:
            name = entry["name"]
            raw = {
                "role": _word(source, 1, line, entry["role"], ROLES),
                "suspended": _boolean(entry["suspended"]),
                "connections": {}, "devices": {}, "peer_devices": {},
            }
            for device in entry["devices"]:
                volume = _plain_int(device["volume"])
                raw["devices"][volume] = {
                    "volume": volume, "minor": _plain_int(device["minor"]),
                    "disk": _word(source, 1, line, device["disk-state"], DISK_STATES),
                    "size_kib": _plain_int(device["size"]) if "size" in device else None,
                }
            for connection in entry["connections"]:
                peer = str(_plain_int(connection["peer-node-id"]))
                raw["connections"][peer] = {
                    "connection": _word(source, 1, line, connection["connection-state"], CONNECTIONS),
                    "role": _word(source, 1, line, connection["peer-role"], ROLES),
                }
                for device in connection["peer_devices"]:
                    out_of_sync = _plain_int(device["out-of-sync"]) if "out-of-sync" in device else None
                    raw["peer_devices"][(peer, _plain_int(device["volume"]))] = {
                        "replication": _word(source, 1, line, device["replication-state"], REPLICATIONS),
                        "disk": _word(source, 1, line, device["peer-disk-state"], DISK_STATES),
                        "out_of_sync_kib": out_of_sync, "at": (1, line),
                    }
        except (KeyError, TypeError, ValueError) as broken:
            raise _broken(source, 1, line, "%s: %s" % (type(broken).__name__, broken)) from broken
        if not isinstance(name, str) or not name or name in resources:
            raise _broken(source, 1, line, "the resource's name is missing or appears twice")
        resources[name] = _summary(source, name, raw)
    return resources


def _plain_int(value):
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("%r is not a number" % (value,))
    return value


def _boolean(value):
    if not isinstance(value, bool):
        raise ValueError("%r is not true or false" % (value,))
    return value


_TOKEN = re.compile(r'\s+|#[^\n]*|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<mark>[{};])|(?P<word>[^\s{};"#]+)')


def configuration(text, source="drbdsetup show"):
    """DRBD's configuration language as a tree.

    :returns: a list of statements ``(words, body, line)``; ``body`` is None for ``words;`` and a list for
        ``words { ... }``.
    :raises GantryError: a line cannot be understood, a block is not closed.
    """
    lines = text.splitlines()
    top = []
    blocks = [top]
    words = []
    position = 0
    number = 1
    while position < len(text):
        token = _TOKEN.match(text, position)
        number = text.count("\n", 0, position) + 1
        line = lines[number - 1] if number <= len(lines) else ""
        if token is None:
            raise _broken(source, number, line, "stray text")
        if token.group("string") is not None:
            words.append(re.sub(r"\\(.)", r"\1", token.group("string")[1:-1]))
        elif token.group("word") is not None:
            words.append(token.group("word"))
        elif token.group("mark") == ";":
            if not words:
                raise _broken(source, number, line, "an empty statement")
            blocks[-1].append((words, None, number))
            words = []
        elif token.group("mark") == "{":
            if not words:
                raise _broken(source, number, line, "a block without a name")
            body = []
            blocks[-1].append((words, body, number))
            blocks.append(body)
            words = []
        elif token.group("mark") == "}":
            if words:
                raise _broken(source, number, line, "the ';' is missing")
            if len(blocks) == 1:
                raise _broken(source, number, line, "a block is closed that was not open")
            blocks.pop()
        position = token.end()
    if words or len(blocks) > 1:
        raise _broken(source, number, lines[-1] if lines else "", "the text ends inside a statement")
    return top


def show(text):
    """What ``drbdsetup show`` says of the network options in force, which the state does not tell.

    :returns: ``{resource: {"allow_two_primaries": bool, "protocol": "A"|"B"|"C"}}``. Only what differs from
        DRBD's own default is printed: a missing protocol is C, a missing permission is no. With several peers
        the permission counts when any connection has it, protocol C only when all have it.
    """
    source = "drbdsetup show"
    resources = {}
    for words, body, number in configuration(text, source):
        if words[0] != "resource" or len(words) != 2 or body is None:
            raise _broken(source, number, " ".join(words), "not a resource")
        if words[1] in resources:
            raise _broken(source, number, " ".join(words), "the resource appears twice")
        nets = [part for names, part, _line in body if names == ["net"] and part is not None]
        for names, part, _line in body:
            if names[0] == "connection" and part is not None:
                nets.extend(inner for inner_names, inner, _at in part if inner_names == ["net"] and inner is not None)
        allow, protocols = False, set()
        for net in nets:
            options = {names[0]: (names[1:], at) for names, part, at in net if part is None}
            value, at = options.get("allow-two-primaries", (["no"], number))
            if value not in (["yes"], ["no"]):
                raise _broken(source, at, "allow-two-primaries %s" % " ".join(value), "neither yes nor no")
            allow = allow or value == ["yes"]
            value, at = options.get("protocol", (["C"], number))
            if value not in (["A"], ["B"], ["C"]):
                raise _broken(source, at, "protocol %s" % " ".join(value), "unknown protocol")
            protocols.update(value)
        resources[words[1]] = {
            "allow_two_primaries": allow,
            "protocol": "C" if protocols <= {"C"} else min(protocols),
        }
    return resources


def versions(text):
    """Versions from ``drbdadm --version``.

    :returns: ``{"kernel_version": "8.4.11" or None when the module is not loaded, "utils_version": "9.22.0"}``.
    """
    found = {}
    for key in ("DRBD_KERNEL_VERSION_CODE", "DRBDADM_VERSION_CODE"):
        match = re.search(r"^%s=0x([0-9a-fA-F]{1,8})\s*$" % key, text, re.MULTILINE)
        if match is None:
            raise _broken("drbdadm --version", 1, text[:200], "%s is missing" % key)
        code = int(match.group(1), 16)
        found[key] = "%d.%d.%d" % (code >> 16, code >> 8 & 255, code & 255) if code else None
    return {"kernel_version": found["DRBD_KERNEL_VERSION_CODE"], "utils_version": found["DRBDADM_VERSION_CODE"]}


def version_tuple(version):
    """``"8.4.11"`` as ``(8, 4, 11)``; None stays None."""
    return None if version is None else tuple(int(part) for part in version.split("."))


def generation_flags(text):
    """The local data generation from ``drbdsetup get-gi``, one line of UUIDs and flags.

    :returns: ``{"current": int, "just_created": bool}``: a resource whose metadata was made and that never had
        data carries the reserved UUID 4.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    match = re.match(r"\s*([0-9A-Fa-f]{16}):[0-9A-Fa-f]{16}:", lines[-1]) if len(lines) >= 1 else None
    if match is None or len({line.split(":")[0].upper() for line in lines}) != 1:
        raise _broken("drbdsetup get-gi", 1, text[:200], "not a line of generation identifiers")
    current = int(match.group(1), 16)
    # The lowest bit says whether the node is primary.
    return {"current": current, "just_created": current & ~1 == 4}
