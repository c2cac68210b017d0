# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The domain of an instance, against libvirt's own test driver; its disks are kept in memory."""

from __future__ import annotations

import time
import types
import uuid as uuids

import libvirt
import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import domain as domain_module
from ansible_collections.gantry.cluster.plugins.module_utils import departure, domain_definition, domain_state, generation
from ansible_collections.gantry.cluster.plugins.module_utils.domain import Domain
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.base import Hypervisor

XML = """<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
<os><type>hvm</type></os></domain>"""

DISK = {
    "index": 0, "name": "web1-disk0", "template": "drbd", "size_mib": 64, "vg": "gantry", "port": 11000,
    "nodes": {"node1": {"hostname": "node1", "address": "10.77.0.11", "minor": 0}},
}


class LibvirtTest(Hypervisor):
    """libvirt's test driver: whole but for signals such as ACPI."""

    name = "test"
    uri = "test:///default"
    domain_types = ("test",)


class Disks:
    """Disks as the storage's stack shows them, and the order of what was asked."""

    def __init__(self, role="Secondary", refuse_promotion=None):
        self.role = role
        self.refuse_promotion = refuse_promotion
        self.asked = []

    def status(self, executor, node, disks):
        return [{"index": disk["index"], "name": disk["name"], "role": self.role} for disk in disks]

    def activate(self, executor, uuid, node, disks, secrets=None, wait_connect=None):
        self.asked.append("activate")

    def promote(self, executor, uuid, node, disks, peer_dead=False, wait_connect=30):
        self.asked.append("promote")
        if self.refuse_promotion:
            raise self.refuse_promotion
        if self.role != "Primary":
            executor.call("promote", self._become, "Primary")

    def demote(self, executor, uuid, node, disks):
        self.asked.append("demote")
        if self.role != "Secondary":
            executor.call("demote", self._become, "Secondary")

    def _become(self, role):
        self.role = role


class Bench:
    """One instance on one node."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.uuid = str(uuids.uuid4())
        self.name = "web-" + self.uuid[:8]
        self.connection = libvirt.open("test:///default")
        self.disks = Disks()
        self.hypervisor = LibvirtTest()
        self.executor = None

    def domain(self, generation=1, check_mode=False, disks=True, kind=Domain, **more):
        self.executor = Executor(check_mode=check_mode)
        instance = {
            "name": self.name, "uuid": self.uuid, "generation": generation, "record": {"name": self.name}, "node": "node1",
            "disks": [DISK] if disks else [], "secrets": {},
        }
        instance.update(more)
        return kind(
            self.executor, self.hypervisor, instance, storage=self.disks, folder=self.folder, locks=self.folder)

    def xml(self, memory=64, **more):
        return XML.format(**dict({"name": self.name, "uuid": self.uuid, "memory": memory}, **more))

    @property
    def libvirt(self):
        return self.connection.lookupByUUIDString(self.uuid)

    def gone(self):
        return domain_state.look_up(self.connection, self.uuid) is None


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    for domain in bench.connection.listAllDomains():
        if domain.name() != "test":
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    bench.connection.close()


def error_of(function, *args, **kwargs):
    with pytest.raises(GantryError) as caught:
        function(*args, **kwargs)
    return caught.value


def test_running_promotes_defines_starts_and_is_idempotent(bench):
    result = bench.domain().running(bench.xml())
    assert result["domain"]["state"] == "running"
    assert result["pending"] is False
    assert bench.executor.changes == ["promote", "define domain " + bench.name, "start domain " + bench.name]
    assert bench.disks.asked == ["activate", "promote"]
    assert bench.libvirt.isPersistent()
    bench.domain(generation=2).running(bench.xml())
    assert not bench.executor.changed
    assert generation.load(bench.uuid, bench.folder) == {"generation": 2, "record": {"name": bench.name}}


def test_a_guest_that_is_off_has_secondary_disks_once_it_is_defined(bench):
    # as instance_add leaves them when it has written the image of a guest that shall not start
    bench.disks.role = "Primary"
    bench.domain().defined(bench.xml())
    assert bench.disks.role == "Secondary"
    bench.domain(2).running(bench.xml())
    bench.domain(3).defined(bench.xml(memory=128))
    assert bench.disks.role == "Primary"


def test_mark_holds_generation_and_digest(bench):
    result = bench.domain(generation=5).running(bench.xml())
    assert result["domain"]["generation"] == 5
    assert result["domain"]["digest"] == domain_definition.digest(bench.xml())


def test_start_renews_the_generation_of_an_unchanged_definition(bench):
    bench.domain(generation=1).defined(bench.xml())
    result = bench.domain(generation=2).running(bench.xml())
    assert result["domain"]["generation"] == 2
    assert bench.executor.changes == ["promote", "start domain " + bench.name]


def test_running_with_another_definition_is_pending_until_the_next_start(bench):
    bench.domain().running(bench.xml())
    result = bench.domain(2).running(bench.xml(memory=128))
    assert result["pending"] is True
    assert not bench.executor.changed
    assert bench.libvirt.maxMemory() == 64 * 1024
    result = bench.domain(3).rebooted(bench.xml(memory=128))
    assert result["pending"] is False
    assert bench.libvirt.maxMemory() == 128 * 1024


def test_an_edit_by_hand_does_not_survive_a_start(bench):
    bench.domain().defined(bench.xml())
    edited = bench.libvirt.XMLDesc().replace("65536", "32768")
    bench.connection.defineXML(edited)
    bench.domain(2).running(bench.xml())
    assert bench.libvirt.maxMemory() == 64 * 1024


def test_older_generation_is_refused_before_anything(bench):
    bench.domain(generation=5).running(bench.xml())
    bench.disks.asked = []
    assert error_of(bench.domain(generation=4).stopped, 1, True).code == "stale_generation"
    assert bench.libvirt.isActive()
    assert bench.disks.asked == []


def test_bad_xml_is_refused_before_anything(bench):
    error = error_of(bench.domain().running, bench.xml(name="other"))
    assert error.code == "bad_domain_xml"
    assert generation.load(bench.uuid, bench.folder) is None
    assert bench.disks.asked == []


def test_xml_libvirt_does_not_understand_gives_the_disks_back(bench):
    error = error_of(bench.domain().running, bench.xml().replace("<vcpu>1", "<nonsense/><vcpu>1"))
    assert error.code == "bad_domain_xml"
    assert "made secondary again" in error.found
    assert bench.disks.role == "Secondary"
    assert bench.gone()


def test_a_name_of_somebody_else_is_refused(bench):
    stranger = str(uuids.uuid4())
    bench.connection.defineXML(bench.xml(uuid=stranger))
    error = error_of(bench.domain().running, bench.xml())
    assert error.code == "name_taken"
    assert stranger in error.found
    assert bench.disks.asked == []
    bench.domain(2).stopped(1)
    bench.domain(3).absent(1)
    assert bench.connection.lookupByName(bench.name).UUIDString() == stranger


def test_the_uuid_under_another_name_is_refused(bench):
    bench.connection.defineXML(bench.xml(name="renamed"))
    assert error_of(bench.domain().running, bench.xml()).code == "uuid_taken"
    assert error_of(bench.domain().absent, 1).code == "uuid_taken"


def test_refused_promotion_leaves_no_definition_and_no_guest(bench):
    bench.disks.refuse_promotion = GantryError("The peer is primary", code="peer_primary")
    assert error_of(bench.domain().running, bench.xml()).code == "peer_primary"
    assert bench.gone()


class FailsToStart(Domain):
    """A start that libvirt refuses, which its test driver never does."""

    failure = GantryError("It could not be started", found="libvirt: no memory", code="no_memory")

    def _start_now(self, xml):
        self._define_now(xml)
        raise self.failure


def test_failed_start_takes_back_promotion_and_definition(bench):
    error = error_of(bench.domain(kind=FailsToStart).running, bench.xml())
    assert error.code == "no_memory"
    assert "libvirt: no memory; the disks were made secondary again" == error.found
    assert bench.disks.role == "Secondary"
    assert bench.gone()


def test_failed_start_leaves_what_was_there_before(bench):
    bench.domain().defined(bench.xml())
    bench.disks.role = "Primary"
    error_of(bench.domain(2, kind=FailsToStart).running, bench.xml())
    assert bench.disks.role == "Primary"
    assert not bench.gone()


def test_start_without_an_answer_touches_nothing(bench):
    class Hangs(FailsToStart):
        failure = GantryError("No answer", code="libvirt_timeout")

    error = error_of(bench.domain(kind=Hangs).running, bench.xml())
    assert "left as they are" in error.found
    assert bench.disks.role == "Primary"


def test_start_that_failed_but_runs_touches_nothing(bench):
    class Runs(Domain):
        def _start_now(self, xml):
            super()._start_now(xml)
            raise GantryError("The connection broke", code="libvirt_lost")

    error = error_of(bench.domain(kind=Runs).running, bench.xml())
    assert "running (booted) all the same" in error.found
    assert bench.libvirt.isActive()
    assert bench.disks.role == "Primary"


def test_running_guest_on_secondary_disks_is_an_alarm(bench):
    bench.domain().running(bench.xml())
    bench.disks.role = "Secondary"
    assert error_of(bench.domain(2).running, bench.xml()).code == "disk_not_primary"


def test_an_arrival_whose_source_is_dead_is_started_afresh(bench):
    bench.domain().running(bench.xml())
    bench.libvirt.suspend()
    mark = domain_definition.mark(bench.uuid, 1, domain_definition.digest(bench.xml()), "node1")
    bench.libvirt.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, mark, domain_definition.PREFIX, domain_definition.NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    error = error_of(bench.domain(2).running, bench.xml())
    assert error.code == "domain_paused" and "instance_migrate" in error.mend
    result = bench.domain(3).running(bench.xml(), peer_dead=True)
    assert result["domain"]["state"] == "running" and result["domain"]["arriving"] is None
    assert bench.executor.changes[0] == "end the copy of domain %s that arrived and never ran" % bench.name


def test_paused_guest_is_told_not_resumed(bench):
    bench.domain().running(bench.xml())
    bench.libvirt.suspend()
    error = error_of(bench.domain(2).running, bench.xml())
    assert error.code == "domain_paused"
    assert "virsh resume " + bench.name in error.mend
    error = error_of(bench.domain(3).stopped, 1)
    assert error.code == "still_running"
    assert "cannot shut down" in error.what
    bench.domain(4).stopped(1, force=True)
    assert not bench.libvirt.isActive()


def test_saved_memory_is_removed_before_a_start(bench):
    bench.domain().running(bench.xml())
    bench.libvirt.managedSave()
    bench.disks.role = "Secondary"
    result = bench.domain(2).running(bench.xml())
    assert "remove the saved memory of domain " + bench.name in bench.executor.changes
    assert result["domain"]["reason"] == "booted"
    assert not bench.libvirt.hasManagedSaveImage()


@pytest.mark.parametrize("active", [True, False])
def test_autostart_is_switched_off(bench, active):
    bench.domain().defined(bench.xml())
    if active:
        bench.domain(2).running(bench.xml())
    bench.libvirt.setAutostart(1)
    bench.domain(3).running(bench.xml())
    assert not bench.libvirt.autostart()
    assert "switch off autostart of domain " + bench.name in bench.executor.changes


def test_stopped_demotes_and_is_idempotent(bench):
    bench.domain().running(bench.xml())
    bench.domain(2).stopped(5)
    assert bench.executor.changes == ["shut down domain " + bench.name, "demote"]
    assert not bench.libvirt.isActive()
    assert bench.libvirt.isPersistent()
    bench.domain(3).stopped(5)
    assert not bench.executor.changed


def test_stopped_makes_disks_secondary_that_an_interrupted_run_left_primary(bench):
    bench.disks.role = "Primary"
    bench.domain().stopped(5)
    assert bench.executor.changes == ["demote"]


class Deaf(Domain):
    """A guest that ignores the power button, which the test driver's never do."""

    def _press_until_off(self, domain, timeout):
        return False


def test_deaf_guest_is_left_running_on_primary_disks(bench):
    bench.domain().running(bench.xml())
    error = error_of(bench.domain(2, kind=Deaf).stopped, 3)
    assert error.code == "still_running"
    assert "gantry_force=true" in error.mend
    assert "running (booted) after 3 s" == error.found
    assert bench.libvirt.isActive()
    assert bench.disks.role == "Primary"


def test_deaf_guest_loses_its_power_by_force(bench):
    bench.domain().running(bench.xml())
    bench.domain(2, kind=Deaf).stopped(3, force=True)
    assert bench.executor.changes == ["shut down domain " + bench.name, "cut the power of domain " + bench.name, "demote"]
    assert not bench.libvirt.isActive()


def test_force_without_time_cuts_the_power_at_once(bench):
    bench.domain().running(bench.xml())
    bench.domain(2).stopped(0, force=True)
    assert bench.executor.changes == ["cut the power of domain " + bench.name, "demote"]


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("job", ["migration_out", "migration_in"])
def test_guest_in_migration_is_never_stopped(bench, monkeypatch, job, force):
    bench.domain().running(bench.xml())
    monkeypatch.setattr(domain_state, "read_job", lambda domain: {"type": job})
    assert error_of(bench.domain(2).stopped, 1, force).code == "in_migration"
    assert error_of(bench.domain(3).absent, 1, force).code == "in_migration"
    assert error_of(bench.domain(4).rebooted, bench.xml(), hard=True).code == "in_migration"
    assert bench.libvirt.isActive()
    assert bench.disks.role == "Primary"


class Guest:
    """A guest that needs a number of presses, and the domain around it."""

    def __init__(self, presses_needed, error=None):
        self.presses_needed = presses_needed
        self.error = error
        self.presses = 0

    def shutdownFlags(self, flags):  # libvirt's name
        self.presses += 1
        if self.error:
            raise self.error

    def isActive(self):  # libvirt's name
        return self.presses < self.presses_needed

    def name(self):
        return "guest"


def test_power_button_is_pressed_again(bench, monkeypatch):
    monkeypatch.setattr(domain_module, "PRESS_EVERY", 0.1)
    guest = Guest(presses_needed=3)
    assert bench.domain()._press_until_off(guest, timeout=5) is True
    assert guest.presses == 3


def test_power_button_has_a_time_limit(bench, monkeypatch):
    monkeypatch.setattr(domain_module, "PRESS_EVERY", 0.1)
    start = time.monotonic()
    assert bench.domain()._press_until_off(Guest(presses_needed=1000), timeout=0.5) is False
    assert 0.4 < time.monotonic() - start < 3


def test_rebooted_keeps_disks_primary(bench):
    bench.domain().running(bench.xml())
    before = bench.libvirt.ID()
    bench.disks.asked = []
    bench.domain(2).rebooted(bench.xml())
    assert bench.executor.changes == ["shut down domain " + bench.name, "start domain " + bench.name]
    assert "demote" not in bench.disks.asked
    assert bench.libvirt.ID() != before


def test_hard_reboot_cuts_the_power(bench):
    bench.domain().running(bench.xml())
    bench.domain(2).rebooted(bench.xml(), hard=True)
    assert bench.executor.changes == ["cut the power of domain " + bench.name, "start domain " + bench.name]


def test_reboot_of_a_stopped_guest_starts_it(bench):
    bench.domain().rebooted(bench.xml())
    assert bench.libvirt.isActive()


def test_reboot_that_cannot_start_gives_the_disks_back(bench):
    bench.domain().running(bench.xml())
    error_of(bench.domain(2, kind=FailsToStart).rebooted, bench.xml())
    assert bench.disks.role == "Secondary"


class KeepsSaves(LibvirtTest):
    """The test driver knows this flag of undefine, and needs it where there is a saved memory."""

    def undefine_flags(self, binding, keep_firmware=False):
        return binding.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE


@pytest.mark.parametrize("saved", [True, False])
def test_absent_leaves_nothing(bench, saved):
    bench.hypervisor = KeepsSaves()
    bench.domain().running(bench.xml())
    if saved:
        bench.libvirt.managedSave()
    bench.domain(2).absent(5)
    assert bench.gone()
    assert bench.disks.role == "Secondary"
    bench.domain(3).absent(5)
    assert not bench.executor.changed


def test_standby_removes_a_definition_and_keeps_disks_secondary(bench):
    bench.domain().defined(bench.xml())
    bench.domain(2).standby()
    assert bench.gone()
    assert bench.disks.asked[-2:] == ["activate", "demote"]
    bench.domain(3).standby()
    assert not bench.executor.changed


def test_standby_refuses_an_active_guest(bench):
    bench.domain().running(bench.xml())
    bench.disks.asked = []
    assert error_of(bench.domain(2).standby).code == "active_here"
    assert bench.disks.asked == []


@pytest.mark.parametrize("act", [
    lambda domain, bench: domain.running(bench.xml()),
    lambda domain, bench: domain.defined(bench.xml()),
    lambda domain, bench: domain.rebooted(bench.xml()),
])
def test_check_mode_makes_nothing(bench, act):
    act(bench.domain(check_mode=True), bench)
    assert bench.executor.changed
    assert bench.gone()
    assert bench.disks.role == "Secondary"
    assert generation.load(bench.uuid, bench.folder) is None


@pytest.mark.parametrize("act", [
    lambda domain, bench: domain.stopped(5), lambda domain, bench: domain.absent(5), lambda domain, bench: domain.stopped(0, True),
    lambda domain, bench: domain.rebooted(bench.xml(), hard=True),
])
def test_check_mode_stops_nothing(bench, act):
    bench.domain().running(bench.xml())
    act(bench.domain(2, check_mode=True), bench)
    assert bench.executor.changed
    assert bench.libvirt.isActive()
    assert bench.disks.role == "Primary"
    assert generation.load(bench.uuid, bench.folder)["generation"] == 1


def test_check_mode_predicts_what_happens(bench):
    bench.domain(check_mode=True).running(bench.xml())
    predicted = bench.executor.changes
    bench.domain().running(bench.xml())
    assert bench.executor.changes == predicted


def test_diff_tells_the_definition(bench):
    bench.domain().defined(bench.xml())
    bench.domain(2).defined(bench.xml(memory=128))
    diff = bench.executor.diff()[0]
    assert "memory: 64 MiB" in diff["before"]
    assert "memory: 128 MiB" in diff["after"]


def test_diskless_instance_asks_no_storage(bench):
    bench.domain(disks=False).running(bench.xml())
    bench.domain(2, disks=False).stopped(5)
    assert bench.disks.asked == []


def test_unreachable_daemon_is_an_error_not_a_state(bench, tmp_path):
    bench.hypervisor.uri = "qemu+unix:///system?socket=%s/none" % tmp_path
    assert error_of(bench.domain).code == "libvirt_unreachable"


def test_crashed_guest_is_told(bench):
    seen = {"state": "crashed", "reason": "panicked", "arriving": None}
    error = error_of(Domain._expect_running, types.SimpleNamespace(name="a", node="node1"), seen)
    assert error.code == "domain_crashed"
    assert "gantry_force=true" in error.mend


def test_guest_that_arrived_is_left_to_the_migration():
    seen = {"state": "paused", "reason": "user", "arriving": "node1"}
    error = error_of(Domain._expect_running, types.SimpleNamespace(name="a", node="node1"), seen)
    assert "instance_migrate" in error.mend


def test_whatever_is_done_here_makes_an_earlier_departure_old(bench):
    departure.write(Executor(), bench.uuid, 1, "node2", bench.folder)
    assert departure.generation_of(bench.uuid, "node2", bench.folder) == 1
    assert departure.generation_of(bench.uuid, "node3", bench.folder) is None
    bench.domain(2, check_mode=True).stopped(1)
    assert departure.generation_of(bench.uuid, "node2", bench.folder) == 1
    bench.domain(2).stopped(1)
    assert departure.generation_of(bench.uuid, "node2", bench.folder) is None
