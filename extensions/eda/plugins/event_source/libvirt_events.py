# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Event source for ansible-rulebook: what happens to the domains of the nodes, and nodes that come and go.

It only looks: connections are read-only. An event is data such as

    {"gantry": {"node": "node1", "event": "stopped", "detail": "crashed", "instance": "web1.example.com", "uuid": "…"}}
    {"gantry": {"node": "node1", "event": "lost"}}

``event`` is libvirt's word for the change: defined, undefined, started, suspended, resumed, stopped, shutdown, pmsuspended or
crashed; or ``connected`` and ``lost`` for the node's own libvirt. ``detail`` is libvirt's reason.
"""

from __future__ import annotations

import asyncio
import threading

import libvirt

DOCUMENTATION = r"""
short_description: Changes of the nodes' domains, from libvirt
description:
  - Follows the libvirt of each node. Tells every change of a domain's state, and when a node's libvirt is lost or answers again.
  - Needs libvirt's Python binding where ansible-rulebook runs.
options:
  nodes:
    description: The nodes, each with the URI of its libvirt, such as V(qemu+ssh://root@node1/system).
    type: dict
    required: true
  retry:
    description: Seconds between two tries to reach a node.
    type: float
    default: 15
"""

EXAMPLES = r"""
- gantry.cluster.libvirt_events:
    nodes:
      node1: qemu+ssh://root@node1/system
      node2: qemu+ssh://root@node2/system
"""


def _words(*prefixes):
    """``{libvirt's number: its word}`` of the constants with these prefixes."""
    found = {}
    for prefix in prefixes:
        for name, value in vars(libvirt).items():
            if name.startswith(prefix) and isinstance(value, int) and not name.endswith("_LAST"):
                found[value] = name[len(prefix):].lower()
    return found


#: What happened. The prefix alone would also find the reasons.
EVENTS = {
    number: word for number, word in (
        (getattr(libvirt, "VIR_DOMAIN_EVENT_" + name, None), name.lower()) for name in (
            "DEFINED", "UNDEFINED", "STARTED", "SUSPENDED", "RESUMED", "STOPPED", "SHUTDOWN", "PMSUSPENDED", "CRASHED"))
    if number is not None
}
DETAILS = {number: _words("VIR_DOMAIN_EVENT_%s_" % word.upper()) for number, word in EVENTS.items()}

_started = threading.Lock()
_running = []


def _run_libvirt_s_loop():
    """One thread serves libvirt's events, for as long as the process lives."""
    with _started:
        if _running:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()

        def serve():
            while True:
                libvirt.virEventRunDefaultImpl()

        _running.append(threading.Thread(target=serve, name="libvirt events", daemon=True))
        _running[0].start()


class Follower:
    """One node."""

    def __init__(self, queue, node, uri, retry):
        self.queue, self.node, self.uri, self.retry = queue, node, uri, retry
        self.loop = asyncio.get_running_loop()
        self.lost = asyncio.Event()

    def tell(self, event, **more):
        """Put an event; called in the thread of asyncio."""
        self.queue.put_nowait({"gantry": dict({"node": self.node, "event": event}, **more)})

    def _changed(self, _connection, domain, event, detail, _opaque):
        """A domain's state changed; called in libvirt's thread."""
        words = {"detail": DETAILS.get(event, {}).get(detail, str(detail)), "instance": domain.name(), "uuid": domain.UUIDString()}
        self.loop.call_soon_threadsafe(lambda: self.tell(EVENTS.get(event, str(event)), **words))

    def _closed(self, _connection, _reason, _opaque):
        self.loop.call_soon_threadsafe(self.lost.set)

    def open(self):
        """Connect and subscribe; blocks, so not in the thread of asyncio. :raises libvirt.libvirtError: that failed."""
        connection = libvirt.openReadOnly(self.uri)
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._changed, None)
        for setting in (lambda: connection.registerCloseCallback(self._closed, None), lambda: connection.setKeepAlive(5, 3)):
            try:
                setting()
            except libvirt.libvirtError as error:
                # drivers inside this process have no daemon that could be lost
                if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                    raise
        return connection

    async def run(self):
        """Follow the node for ever: a loss is told once, and so is its end."""
        known = None
        while True:
            self.lost.clear()
            try:
                connection = await self.loop.run_in_executor(None, self.open)
            except libvirt.libvirtError as error:
                if known is not False:
                    self.tell("lost", detail=str(error))
                known = False
                await asyncio.sleep(self.retry)
                continue
            self.tell("connected")
            known = True
            try:
                await self.lost.wait()
            finally:
                try:
                    connection.close()
                except libvirt.libvirtError:
                    pass
            self.tell("lost", detail="the connection ended")
            known = False
            await asyncio.sleep(self.retry)


async def main(queue, args):
    """Entry point of ansible-rulebook.

    :param args: ``nodes``, ``retry``.
    :raises ValueError: no node is given.
    """
    nodes = args.get("nodes")
    if not isinstance(nodes, dict) or not nodes:
        raise ValueError("libvirt_events: nodes is %r; expected a node's name and the URI of its libvirt, for each node" % (nodes,))
    _run_libvirt_s_loop()
    await asyncio.gather(*(Follower(queue, node, uri, float(args.get("retry", 15))).run() for node, uri in nodes.items()))
