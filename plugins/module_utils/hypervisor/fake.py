# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No hypervisor at all: guests that are only noted down, for tests and measurements of everything around them.

libvirt's own test driver forgets everything when the process ends. This one keeps a file for each domain, in a folder
of the node, and has of libvirt's calls those that the collection makes. A guest runs as long as the node has not been
booted since; it obeys the power button at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from xml.etree import ElementTree

from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor import parameters as kinds
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.base import Hypervisor
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.parameters import Parameter

#: Where a node keeps its make-believe domains.
FOLDER = "/var/lib/gantry/fake"

#: libvirt's version that this claims to be.
VERSION = 9000000

_BOOT_ID = "/proc/sys/kernel/random/boot_id"

# virDomainState and the reasons of it that occur here
_RUNNING, _SHUTOFF = 1, 5
_BOOTED, _SHUT_DOWN, _DESTROYED = 1, 1, 2


class Fake(Hypervisor):
    """Guests that are only noted down."""

    name = "fake"
    uri = "fake:///system"
    scheme = "fake"
    domain_types = ("test",)
    why_no_migration = "there is no memory to send"
    nic_modes = ("bridged", "openvswitch", "routed", "vlan")
    parameters = {"note": Parameter(kinds.text, "")}

    def __init__(self, folder=None):
        self.folder = folder or FOLDER

    def open(self, binding):
        """A connection to the files."""
        return Connection(binding, self.folder)

    def parse_capabilities(self, text, architecture):
        """It can run whatever it is told."""
        return {"domain_types": list(self.domain_types), "machines": {}, "machine_list": []}


class Connection:
    """libvirt's connection, as far as it is used."""

    def __init__(self, binding, folder):
        self.binding = binding
        self.folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(_BOOT_ID, encoding="ascii") as stream:
            self.boot = stream.read().strip()

    def fail(self, code, text):
        """Raise libvirt's exception with one of its codes."""
        error = self.binding.libvirtError(text)
        error.err = (getattr(self.binding, code), 0, text, 2, None, None, None, 0, 0)
        raise error

    @contextlib.contextmanager
    def locked(self):
        """Nobody else looks or writes meanwhile."""
        with open(os.path.join(self.folder, ".lock"), "a", encoding="ascii") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def path(self, uuid):
        """The file of a domain."""
        return os.path.join(self.folder, uuid + ".json")

    def load(self, uuid):
        """What is noted of a domain, or None. One that ran before the node was booted does not run any more."""
        try:
            with open(self.path(uuid), encoding="utf-8") as stream:
                kept = json.load(stream)
        except FileNotFoundError:
            return None
        if kept["id"] != -1 and kept["boot"] != self.boot:
            kept.update(id=-1, state=_SHUTOFF, reason=0)
        return kept

    def save(self, kept):
        """Note a domain down, whole or not at all."""
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".new")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(dict(kept, boot=self.boot), stream)
        os.replace(temporary, self.path(kept["uuid"]))

    def all(self):
        """All that is noted, by name."""
        found = [self.load(name[:-5]) for name in os.listdir(self.folder) if name.endswith(".json")]
        return sorted((kept for kept in found if kept), key=lambda kept: kept["name"])

    # -- libvirt's names -----------------------------------------------------------------------------------------

    def close(self):
        """Nothing is open."""
        return 0

    def getLibVersion(self):
        """The library's version as a number."""
        return VERSION

    def getVersion(self):
        """The hypervisor's version as a number."""
        return VERSION

    def getCapabilities(self):
        """No guest needs any."""
        return "<capabilities/>"

    def lookupByUUIDString(self, uuid):
        """The domain of that UUID."""
        if self.load(uuid) is None:
            self.fail("VIR_ERR_NO_DOMAIN", "Domain not found: no domain with matching uuid '%s'" % uuid)
        return Domain(self, uuid)

    def lookupByName(self, name):
        """The domain of that name."""
        for kept in self.all():
            if kept["name"] == name:
                return Domain(self, kept["uuid"])
        return self.fail("VIR_ERR_NO_DOMAIN", "Domain not found: no domain with matching name '%s'" % name)

    def listAllDomains(self, flags=0):
        """The domains, or those that would be started by themselves, or have a saved memory (none has)."""
        found = self.all()
        if flags & self.binding.VIR_CONNECT_LIST_DOMAINS_AUTOSTART:
            found = [kept for kept in found if kept["autostart"]]
        if flags & self.binding.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE:
            found = []
        return [Domain(self, kept["uuid"]) for kept in found]

    def getAllDomainStats(self, _kinds=0, _flags=0):
        """State, memory and processors of all domains."""
        found = []
        for kept in self.all():
            root = ElementTree.fromstring(kept["xml"])
            memory = int(root.findtext("memory"))
            found.append((Domain(self, kept["uuid"]), {
                "state.state": kept["state"], "state.reason": kept["reason"], "balloon.current": memory,
                "balloon.maximum": memory, "vcpu.current": int(root.findtext("vcpu") or 1),
                "vcpu.maximum": int(root.findtext("vcpu") or 1),
            }))
        return found

    def defineXMLFlags(self, text, _flags=0):
        """Note a definition down. A domain that runs keeps running, as with libvirt."""
        try:
            root = ElementTree.fromstring(text)
            name, uuid = root.findtext("name"), root.findtext("uuid")
            int(root.findtext("memory"))
        except (ElementTree.ParseError, TypeError, ValueError) as broken:
            self.fail("VIR_ERR_XML_ERROR", "XML error: %s" % broken)
        with self.locked():
            for other in self.all():
                if other["name"] == name and other["uuid"] != uuid:
                    self.fail("VIR_ERR_OPERATION_FAILED", "domain '%s' already exists with uuid %s" % (name, other["uuid"]))
            kept = self.load(uuid) or {
                "uuid": uuid, "id": -1, "state": _SHUTOFF, "reason": 0, "autostart": False}
            if kept["id"] == -1:
                kept["live"] = text
            self.save(dict(kept, name=name, xml=text))
        return Domain(self, uuid)


class Domain:
    """libvirt's domain, as far as it is used."""

    def __init__(self, connection, uuid):
        self.connection = connection
        self.uuid = uuid

    def _kept(self):
        kept = self.connection.load(self.uuid)
        if kept is None:
            self.connection.fail("VIR_ERR_NO_DOMAIN", "Domain not found: no domain with matching uuid '%s'" % self.uuid)
        return kept

    def _change(self, active, **changes):
        """Write a change down.

        :param active: whether the domain has to run (None: it does not matter).
        """
        with self.connection.locked():
            kept = self._kept()
            if active is not None and active != (kept["id"] != -1):
                self.connection.fail("VIR_ERR_OPERATION_INVALID", "domain is %srunning" % ("not " if active else "already "))
            self.connection.save(dict(kept, **changes))
        return 0

    # -- libvirt's names -----------------------------------------------------------------------------------------

    def name(self):
        """Its name."""
        return self._kept()["name"]

    def UUIDString(self):
        """Its UUID."""
        return self.uuid

    def ID(self):
        """A number while it runs, -1 otherwise."""
        return self._kept()["id"]

    def state(self, _flags=0):
        """Its state and the reason, as numbers."""
        kept = self._kept()
        return [kept["state"], kept["reason"]]

    def isActive(self):
        """Whether it runs."""
        return int(self._kept()["id"] != -1)

    def isPersistent(self):
        """It always has a definition."""
        return 1

    def autostart(self):
        """Whether it would be started with the daemon."""
        return int(self._kept()["autostart"])

    def setAutostart(self, value):
        """See :meth:`autostart`."""
        return self._change(None, autostart=bool(value))

    def hasManagedSaveImage(self, _flags=0):
        """It never has one."""
        return 0

    def XMLDesc(self, flags=0):
        """The definition; without the flag, that of the guest that runs."""
        kept = self._kept()
        return kept["xml"] if flags & self.connection.binding.VIR_DOMAIN_XML_INACTIVE else kept["live"]

    def metadata(self, _kind, uri, _flags=0):
        """The element of that namespace in the metadata."""
        for element in ElementTree.fromstring(self._kept()["xml"]).iterfind("metadata/*"):
            if element.tag.startswith("{%s}" % uri):
                return ElementTree.tostring(element, encoding="unicode")
        return self.connection.fail("VIR_ERR_NO_DOMAIN_METADATA", "metadata not found")

    def create(self):
        """Start it."""
        kept = self._kept()
        number = 1 + max([other["id"] for other in self.connection.all()] + [0])
        return self._change(False, id=number, state=_RUNNING, reason=_BOOTED, live=kept["xml"])

    def destroy(self):
        """Cut its power."""
        return self._change(True, id=-1, state=_SHUTOFF, reason=_DESTROYED)

    def shutdownFlags(self, _flags=0):
        """It obeys at once."""
        return self._change(True, id=-1, state=_SHUTOFF, reason=_SHUT_DOWN)

    def undefineFlags(self, _flags=0):
        """Forget it."""
        with self.connection.locked():
            if self._kept()["id"] != -1:
                self.connection.fail("VIR_ERR_OPERATION_INVALID", "cannot undefine a domain that runs")
            os.unlink(self.connection.path(self.uuid))
        return 0

    def jobStats(self, _flags=0):
        """No job ever works on it."""
        return {}
