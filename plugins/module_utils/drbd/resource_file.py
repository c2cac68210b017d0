# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a resource file, and what an existing one says. Pure, but for the folder's listing.

One file per resource, ``/etc/drbd.d/<resource>.res``, the same text on both nodes, readable by root only because
of the shared secret. Whoever knows drbdadm can go on without this collection.
"""

from __future__ import annotations

import ipaddress
import os
import re

from ansible_collections.gantry.cluster.plugins.module_utils.drbd import parse
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import read_text

FOLDER = "/etc/drbd.d"

_HEADER = """\
# Written by the Ansible collection gantry.cluster, which replaces it when the instance's record changes.
# gantry.instance=%s
"""

#: Resynchronisation: start fast, fill the link, yield to the guest. Each value is explained in drbd.conf(5).
RESYNC = (
    ("resync-rate", "40M"), ("c-plan-ahead", "20"), ("c-fill-target", "2M"), ("c-min-rate", "8M"),
    ("c-max-rate", "400M"),
)

SECRET = re.compile(r"[0-9A-Za-z]{16,64}")


def path_of(name):
    """The file of one resource."""
    return os.path.join(FOLDER, name + ".res")


def is_ours(text, uuid):
    """True when the file was written for a disk of this instance."""
    return ("# gantry.instance=%s\n" % uuid) in text


def render(disk, secret, uuid, kernel_major=8, fencing=False):
    """The file's text.

    :param disk: one DRBD disk as the record has it, already checked by the storage backend.
    :param secret: the resource's shared secret, 16 to 64 letters and digits.
    :param uuid: the instance's; it marks the file as ours.
    :param kernel_major: 8 or 9: DRBD 9 knows options that 8.4 refuses.
    :param fencing: our helper answers DRBD on this node, see :mod:`helper`.
    :raises GantryError: a secret that DRBD would cut or misread.
    """
    if not isinstance(secret, str) or not SECRET.fullmatch(secret):
        raise GantryError(
            "The shared secret of DRBD resource %s cannot be used" % disk["name"],
            expected="16 to 64 letters and digits", mend="pass the disk's secret by its index in the option secrets",
            code="bad_secret",
        )
    lines = [_HEADER % uuid + 'resource "%s" {' % disk["name"]]
    if kernel_major >= 9:
        # Otherwise anything that opens the device for writing would make it primary.
        lines += ["    options {", "        auto-promote no;", "    }"]
    lines += [
        "    net {",
        "        protocol C;",
        "        cram-hmac-alg sha256;",
        '        shared-secret "%s";' % secret,
        "        after-sb-0pri disconnect;",
        "        after-sb-1pri disconnect;",
        "        after-sb-2pri disconnect;",
        "        allow-two-primaries no;",
        "    }",
        "    disk {",
        "        on-io-error detach;",
    ]
    if fencing:
        lines += ["        fencing resource-only;"]
    lines += ["        %s %s;" % option for option in RESYNC]
    lines += ["    }"]
    for number, node in enumerate(sorted(disk["nodes"])):
        entry = disk["nodes"][node]
        address = ipaddress.ip_address(entry["address"])
        shown = "ipv6 [%s]" % address if address.version == 6 else "ipv4 %s" % address
        lines += ['    on "%s" {' % entry["hostname"]]
        if kernel_major >= 9:
            lines += ["        node-id %d;" % entry.get("node_id", number)]
        lines += [
            "        address %s:%d;" % (shown, disk["port"]),
            "        volume 0 {",
            "            device minor %d;" % entry["minor"],
            '            disk "/dev/%s/%s";' % (disk["vg"], disk["name"]),
            '            meta-disk "/dev/%s/%s-meta";' % (disk["vg"], disk["name"]),
            "        }",
            "    }",
        ]
    return "\n".join(lines + ["}"]) + "\n"


def describe(text, source):
    """What a resource file binds: ``{resource: {"secret", "hosts": {host: {"minors": [], "ports": []}}}}``.

    :raises GantryError: the file cannot be understood.
    """
    found = {}
    for words, body, _line in parse.configuration(text, source):
        if words[0] != "resource" or len(words) != 2 or body is None:
            continue
        secret, hosts, common = None, {}, {"minors": [], "ports": []}
        for names, part, _at in body:
            if names == ["net"] and part is not None:
                given = [inner[1] for inner, _b, _l in part if inner[0] == "shared-secret" and len(inner) == 2]
                secret = given[0] if given else secret
            elif names[0] == "on" and part is not None:
                for host in names[1:]:
                    hosts[host] = _numbers(part)
            elif names[0] == "volume" and part is not None:
                common["minors"] += _numbers(part)["minors"]
        for numbers in hosts.values():
            numbers["minors"] += common["minors"]
        found[words[1]] = {"secret": secret, "hosts": hosts}
    return found


def _numbers(body):
    """Minors and ports inside an ``on`` or ``volume`` section."""
    minors, ports = [], []
    for names, part, _line in body:
        if part is not None:
            inner = _numbers(part)
            minors += inner["minors"]
            ports += inner["ports"]
        elif names[0] == "device":
            match = re.search(r"(?:\bminor |drbd)([0-9]+)$", " ".join(names[1:]))
            if match:
                minors.append(int(match.group(1)))
        elif names[0] == "address":
            match = re.search(r":([0-9]+)$", names[-1])
            if match:
                ports.append(int(match.group(1)))
    return {"minors": minors, "ports": ports}


def refuse_clash(disk, hostname, minor):
    """Refuse a port or minor that another resource file of this node uses: two guests' disks would meet.

    A second use would also make drbdadm refuse every command on this node.

    :raises GantryError: the port or minor is taken, or a file in the folder cannot be read.
    """
    try:
        names = sorted(name for name in os.listdir(FOLDER) if name.endswith(".res") and not name.startswith("."))
    except FileNotFoundError:
        return
    for name in names:
        path = os.path.join(FOLDER, name)
        for resource, content in describe(read_text(path) or "", path).items():
            here = content["hosts"].get(hostname)
            if resource == disk["name"] or here is None:
                continue
            for kind, number in (("minors", minor), ("ports", disk["port"])):
                if number in here[kind]:
                    raise GantryError(
                        "DRBD %s %d of disk %s is used by another resource" % (kind[:-1], number, disk["name"]),
                        found="%s in %s" % (resource, path), expected="a number of its own",
                        mend="remove that resource if it is a leftover ('drbdadm status %s'), or give this disk"
                             " another number" % resource,
                        code="number_taken",
                    )
