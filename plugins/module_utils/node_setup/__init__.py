# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a plain Debian server ready to be a node: DRBD, LVM, libvirt, the way down, the migration key, the trust.

First everything is read and every refusal is made (checks), then the steps act, each through the executor. What a
file shall hold comes from pure functions on text (text).

What is set up, and why so:

* **Nothing starts by itself.** Guests and disks come up by the verbs only, after they have looked at every node.
  ``libvirt-guests`` is masked, which holds whatever its settings and its package do later; it is not stopped,
  because its stop may suspend running guests; the same goes for Xen's ``xendomains``. ``drbd.service`` is disabled, the
  autostart of our domains is off.
* **The way down is ordered.** Since libvirt-guests no longer shuts guests down when the node goes down, the unit
  ``gantry-node`` does: guests off by ACPI (switched off after a time), then their DRBD resources to secondary and
  down, while the network still stands. The peer then sees a clean goodbye, not a crashed primary. It starts nothing
  and refuses to be stopped by hand.
* **LVM on the host keeps off the guests' disks** (DRBD devices and the volume group's own volumes), or it finds and
  activates the guests' volume groups, and a disk can no longer be made secondary. The filter goes into
  lvmlocal.conf, which LVM reads after lvm.conf, and keeps what the administrator filters. It is tried out on a copy
  of the configuration first: with a mistake in there no LVM command works any more.
* **DRBD 8.4 calls the collection's helper** (drbd/helper.py), not drbdadm, which reads all resource files at each
  event: one broken file would make a handler fail and another resource's resync stop. DRBD 9 calls none.
* **The migration key opens libvirt and nothing else:** no shell, no forwarding, only from the peer's address. Who
  holds it controls libvirt on the peer, so the private key is root's. libvirt runs the ssh program for
  ``qemu+ssh``, which knows nothing of ``known_hosts`` in the URI: hence the file in ssh_config.d.
"""
