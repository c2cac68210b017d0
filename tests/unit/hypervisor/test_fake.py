# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hypervisor that only notes guests down, through the same code as the real ones: state outlives each connection."""

from __future__ import annotations

import libvirt
import pytest
from records import make_record, text_of

from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition, domain_pending, libvirt_connection, libvirt_facts
from ansible_collections.gantry.cluster.plugins.module_utils.domain import Domain
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor import fake

RECORD = make_record("fake", disks=[])


class Node:
    """A node's folder; each step is a module run of its own."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.hypervisor = fake.Fake(self.folder + "/fake")
        self.generation = 0

    def domain(self, record=None):
        self.generation += 1
        record = record or RECORD
        self.executor = Executor()
        instance = {"name": record["name"], "uuid": record["uuid"], "generation": self.generation, "record": record, "node": "node1"}
        return Domain(self.executor, self.hypervisor, instance, folder=self.folder, locks=self.folder)


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_a_life(node):
    xml = text_of(RECORD)
    assert node.domain().running(xml)["domain"]["state"] == "running"
    node.domain().running(xml)
    assert not node.executor.changed
    changed = node.domain().running(text_of(dict(RECORD, memory_mib=1024)))
    assert changed["pending"] and changed["pending_changes"]
    assert node.domain().rebooted(text_of(dict(RECORD, memory_mib=1024)))["pending"] is False
    node.domain().stopped(5)
    assert node.domain().see()["state"] == "shutoff"
    node.domain().absent(0, force=True)
    assert node.domain().see() is None


def test_it_is_seen_as_libvirt_s_are(node):
    node.domain().running(text_of(RECORD))
    daemon, domains = libvirt_facts.Reader([node.hypervisor], "x86_64").finish()
    assert daemon["ok"] and daemon["domain_types"] == ["test"]
    assert [(one["name"], one["state"], one["memory_mib"], one["generation"], one["digest"]) for one in domains] == [
        (RECORD["name"], "running", 512, 1, domain_definition.digest(text_of(RECORD)))]


def test_what_waits_is_told_of_guests_that_run(node, monkeypatch):
    monkeypatch.setattr(domain_pending.hypervisor, "backend", lambda _name: node.hypervisor)
    node.domain().running(text_of(RECORD))

    def waiting(**changes):
        xml = text_of(dict(RECORD, **changes))
        return domain_pending.waiting({uuid: {"hypervisor": "fake", "xml": xml} for uuid in (RECORD["uuid"], "f" * 32)})
    assert waiting() == {RECORD["uuid"]: []}
    assert len(waiting(memory_mib=1024)[RECORD["uuid"]]) == 1 and "memory" in waiting(memory_mib=1024)[RECORD["uuid"]][0]
    node.domain().stopped(5)
    assert waiting(memory_mib=1024) == {}


def test_a_guest_does_not_outlive_its_node(node):
    node.domain().running(text_of(RECORD))
    connection = node.hypervisor.open(libvirt)
    connection.boot = "another"
    assert not connection.lookupByName(RECORD["name"]).isActive()


def test_its_errors_are_libvirt_s(node):
    connection = node.hypervisor.open(libvirt)
    for call in (lambda: connection.lookupByName("none"), lambda: connection.lookupByUUIDString("none")):
        with pytest.raises(libvirt.libvirtError) as refused:
            call()
        assert refused.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN
    with pytest.raises(libvirt.libvirtError) as refused:
        connection.defineXMLFlags("<domain/>")
    assert libvirt_connection.translate(refused.value, "It cannot be").code == "bad_domain_xml"
    domain = connection.defineXMLFlags(text_of(RECORD))
    with pytest.raises(libvirt.libvirtError) as refused:
        domain.destroy()
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
    with pytest.raises(libvirt.libvirtError):
        connection.defineXMLFlags(text_of(dict(RECORD, uuid="6f2d1a9e-2d0f-4b8c-9a3e-0d8f6a3b1c43")))


def test_the_name_of_another_is_refused(node):
    node.domain().running(text_of(RECORD))
    other = dict(RECORD, uuid="6f2d1a9e-2d0f-4b8c-9a3e-0d8f6a3b1c43")
    with pytest.raises(GantryError) as refused:
        node.domain(other).running(text_of(other))
    assert refused.value.code == "name_taken"
