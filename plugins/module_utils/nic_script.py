# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What connects a network card that libvirt itself cannot: routed, or with a VLAN on a Linux bridge.

libvirt runs the script with the name of the card's device, when a guest starts and on the target of a migration before
the guest is resumed. The name holds the MAC address, and the node's memory of instances says what the card is to be.
The script stands in libvirt's folder for hooks, because there AppArmor lets the daemon run it; it is no hook.
"""

from __future__ import annotations

PATH = "/etc/libvirt/hooks/gantry-nic"

TEXT = '''#!/usr/bin/python3
# Written by gantry.cluster. libvirt runs it with the name of a guest's network device, to connect that device.
import glob
import json
import subprocess
import sys


def find(device, folder="/var/lib/gantry/instances"):
    """The card whose device it is, from the node's memory of instances."""
    for path in sorted(glob.glob(folder + "/*.json")):
        try:
            with open(path, encoding="utf-8") as stream:
                record = json.load(stream).get("record") or {}
        except (OSError, ValueError):
            continue
        for nic in record.get("nics") or []:
            if nic.get("tap") == device:
                return nic
    return None


def commands(nic, device):
    """What is to be run, each with whether it may fail."""
    if nic["mode"] == "routed":
        six = ":" in nic["ip"]
        table = ["table", nic["bridge"]] if nic.get("bridge") else []
        settings = "net.ipv6.conf.%s.proxy_ndp=1" if six else "net.ipv4.conf.%s.proxy_arp=1"
        forwarding = "net.ipv%d.conf.%s.forwarding=1" % (6 if six else 4, device)
        return [
            (["ip", "link", "set", "dev", device, "up"], False),
            (["sysctl", "-q", "-w", settings % device, forwarding], False),
            (["ip", "-6" if six else "-4", "route", "replace", nic["ip"], "dev", device] + table, False),
        ]
    head, *rest = nic["vlan"].split(":")
    native = head.lstrip(".")
    found = [
        (["ip", "link", "set", "dev", device, "master", nic["bridge"]], False),
        # the tag that a bridge gives to a new port by itself
        (["bridge", "vlan", "del", "dev", device, "vid", "1"], True),
    ]
    if native:
        found.append((["bridge", "vlan", "add", "dev", device, "vid", native, "pvid", "untagged"], False))
    found += [(["bridge", "vlan", "add", "dev", device, "vid", tag], False) for tag in rest]
    return found + [(["ip", "link", "set", "dev", device, "up"], False)]


def main():
    device = sys.argv[1]
    nic = find(device)
    if nic is None:
        sys.exit("no network card of an instance in /var/lib/gantry/instances has the device %s" % device)
    for argv, may_fail in commands(nic, device):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False)
        if done.returncode and not may_fail:
            sys.exit("%s: %s" % (" ".join(argv), done.stdout.strip()))


if __name__ == "__main__":
    main()
'''


def tap_name(mac):
    """The name of a card's device on the node: the kernel takes 15 characters, and a MAC address has twelve digits."""
    return "gt" + mac.replace(":", "")
