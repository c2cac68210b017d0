# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration from its first look to its after-work, between two make-believe daemons that can part at any moment.

libvirt's test driver does not migrate. So here a pair of daemons is played by a table of states, and what a
migration leaves behind is chosen by each case; the rest is the real code.
"""

from __future__ import annotations

import itertools
import threading
import uuid as uuids

import libvirt
import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import departure, domain_definition, generation, migration
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.kvm import Kvm
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor.xen import XenPv

DISK = {"index": 0, "name": "web1-disk0", "template": "drbd", "size_mib": 64, "vg": "gantry", "port": 11000, "nodes": {}}
TARGET = {
    "node": "node2", "hostname": "node2", "address": "10.77.0.12", "uri": "qemu+ssh://gantry-migrate@10.77.0.12/system",
    "migrate_uri": "tcp://10.77.0.12",
}
OPTIONS = {"timeout": 5, "max_downtime_ms": 0, "bandwidth_mib": 0, "auto_converge": False, "tunnelled": False}


class World:
    """What both daemons hold of the guest, and what happens to it."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.uuid = str(uuids.uuid4())
        self.generation = 0
        #: Per node None or a dict with state, reason, mark, job; "down" for a daemon that does not answer.
        self.sides = {"node1": {"state": "running", "reason": "booted", "mark": None, "job": None}, "node2": None}
        self.ran = []
        self.flags = 0
        self.parameters = {}
        self.ends = None
        self.asked = []
        self.window = True
        self.connected = False
        self.role = "Primary"
        self.versions = {node: {"hypervisor": 7002022, "libvirt": 9000000} for node in ("node1", "node2")}
        self.xml = "<domain type='qemu'/>"
        self.refused = None
        self.hypervisor = Kvm()
        self.record = {"primary": "node2"}

    def migration(self, check_mode=False, **options):
        self.generation += 1
        self.executor = Executor(check_mode=check_mode)
        instance = {
            "name": "web1", "uuid": self.uuid, "generation": self.generation, "record": self.record, "node": "node1",
            "disks": [DISK],
        }
        one = migration.Migration(
            self.executor, self.hypervisor, instance, TARGET, dict(OPTIONS, **options), storage=self, folder=self.folder,
            locks=self.folder)
        one.settle_timeout = 0.1
        one.source_side = Side(self, "node1")
        one.target_side = Side(self, "node2")
        return one

    def run(self, **options):
        return self.migration(**options).run()

    def running(self):
        return [node for node, side in self.sides.items() if isinstance(side, dict) and side["state"] == "running"]

    # the storage's stack
    def status(self, executor, node, disks):
        return [{
            "index": 0, "name": "web1-disk0", "role": self.role, "peer_role": "Primary", "connection": "Connected",
            "disk": "UpToDate", "peer_disk": "UpToDate", "allow_two_primaries": self.window, "sync_percent": 100.0,
            "out_of_sync_kib": 0,
        }]

    def demote(self, executor, uuid, node, disks):
        assert self.running() == ["node2"], "the disks are given up while the guest is not proven to be away"
        if self.role != "Secondary":
            executor.call("demote", lambda: setattr(self, "role", "Secondary"))

    def close_window(self, executor, uuid, node, disks):
        if self.connected:
            raise GantryError("Both nodes are primary", code="both_primary")
        if self.window:
            executor.call("close the window", lambda: setattr(self, "window", False))


class Domain:
    """libvirt's object of the guest on one node."""

    def __init__(self, world, node):
        self.world = world
        self.node = node

    @property
    def side(self):
        return self.world.sides[self.node]

    def name(self):
        return "web1"

    def metadata(self, kind, uri, flags):
        if self.side["mark"] is None:
            error = libvirt.libvirtError("none")
            error.err = (libvirt.VIR_ERR_NO_DOMAIN_METADATA, 0, "none", 0, "", None, None, 0, 0)
            raise error
        return self.side["mark"]

    def setMetadata(self, kind, text, key, uri, flags):
        if flags & libvirt.VIR_DOMAIN_AFFECT_LIVE:
            self.side["mark"] = text

    def XMLDesc(self, flags):
        return self.world.xml

    def jobStats(self, flags=0):
        if not (self.side and self.side["job"]):
            return {"type": 0}
        return {"type": 2, "operation": 5} if self.world.hypervisor.names_jobs else {"type": 2, "time_elapsed": 7}

    def isActive(self):
        return True

    def migrateToURI3(self, uri, parameters, flags):
        self.world.flags, self.world.parameters = flags, parameters
        self.world.ends()

    def migrateSetMaxDowntime(self, milliseconds, flags):
        self.world.asked.append(milliseconds)

    def abortJob(self):
        self.world.asked.append("abort")
        self.side["job"] = None

    def resume(self):
        assert not self.world.running(), "the guest would run twice"
        self.side.update(state="running", reason="unpaused")
        self.world.ran.append(self.node)

    def destroy(self):
        assert self.side["state"] == "paused", "a running guest is destroyed"
        self.side.update(state="shutoff", reason="destroyed")

    def state(self):
        words = {"running": 1, "paused": 3, "shutoff": 5}
        return [words[self.side["state"]], 0]

    def UUIDString(self):
        return self.world.uuid

    def ID(self):
        return 1

    def isPersistent(self):
        return True

    def autostart(self):
        return 0

    def hasManagedSaveImage(self):
        return 0

    def undefineFlags(self, flags):
        assert self.side["state"] == "shutoff"
        assert not flags & libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        self.world.sides[self.node] = None


class Side(migration.Side):
    """One daemon of the world."""

    def __init__(self, world, node):
        super().__init__("test", world.uuid, "web1", 1, "node2")
        self.world = world
        self.node = node

    def versions(self):
        return self.world.versions[self.node]

    def refused_processor(self, guest):
        self.world.asked.append("processor")
        return self.world.refused

    def domain(self):
        if self.world.sides[self.node] == "down":
            raise GantryError("down", found="no answer", code="libvirt_unreachable")
        return Domain(self.world, self.node) if self.world.sides[self.node] else None

    def read(self, fresh=False):
        seen = {
            "reachable": True, "error": None, "exists": False, "id": None, "state": None, "reason": None,
            "persistent": False, "job": None, "generation": None, "arriving": False, "stale": False, "name_taken": None,
        }
        side = self.world.sides[self.node]
        if side == "down":
            return dict(seen, reachable=False, error="no answer")
        if side is None:
            return seen
        mark = domain_definition.read_mark(side["mark"] or "") or {}
        return dict(
            seen, exists=True, state=side["state"], reason=side["reason"], persistent=True, id=1,
            job={"type": side["job"]} if side["job"] else None, generation=mark.get("generation"),
            arriving=mark.get("arriving") == self.goal,
            stale=self.departed is None or mark.get("generation") != self.departed)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def ending(world, source, target, error=None):
    """What the migration leaves at the source and at the target: words, or None for no domain; the mark travels."""
    def end():
        mark = world.sides["node1"]["mark"]

        def made(words):
            if words in (None, "down"):
                return words
            state, reason = words.split()
            return {"state": state, "reason": reason, "mark": mark, "job": None}

        world.sides = {"node1": made(source), "node2": made(target)}
        if error:
            raise libvirt.libvirtError(error)

    return end


def test_the_good_way(world):
    world.ends = ending(world, None, "paused user")
    result = world.run(max_downtime_ms=50, bandwidth_mib=100, auto_converge=True)
    assert (result["outcome"], result["case"]) == ("target", "runs_at_target")
    assert "failed" not in result
    assert world.running() == ["node2"]
    assert world.executor.changes == [
        "migrate domain web1 to node node2", "resume domain web1 on node node2", "demote", "close the window"]
    assert world.flags & libvirt.VIR_MIGRATE_PAUSED and world.flags & libvirt.VIR_MIGRATE_AUTO_CONVERGE
    assert world.parameters == {
        "migrate_uri": "tcp://10.77.0.12", "listen_address": "10.77.0.12", "bandwidth": 100}
    assert world.asked == [50]
    assert generation.load(world.uuid, world.folder)["record"] == {"primary": "node2"}
    assert departure.generation_of(world.uuid, "node2", world.folder) is None
    assert domain_definition.read_mark(world.sides["node2"]["mark"])["arriving"] is None
    world.run()
    assert not world.executor.changed


def test_a_failed_migration_says_so(world):
    world.ends = ending(world, "running migration_canceled", None, "no route")
    result = world.run()
    assert (result["outcome"], result["failed"], result["error"]["code"]) == ("source", True, "not_migrated")
    assert "no route" in result["msg"]
    assert not world.executor.changed
    assert (world.role, world.window) == ("Primary", True)
    assert domain_definition.read_mark(world.sides["node1"]["mark"])["arriving"] is None


def test_a_copy_that_was_not_taken_over_is_removed_and_the_next_run_migrates(world):
    world.ends = ending(world, "running migration_canceled", "paused user", "lost")
    result = world.run()
    assert result["outcome"] == "source"
    assert world.sides["node2"] is None
    assert world.executor.changes == ["remove the unused copy of domain web1 from node node2"]
    world.ends = ending(world, None, "paused user")
    assert world.run()["outcome"] == "target"


@pytest.mark.parametrize("connected", [True, False])
def test_a_lost_target_can_come_back(world, connected):
    """Its disks connect only to a closed window; one whose disks are still connected and primary keeps it open."""
    world.connected = connected
    world.ends = ending(world, "running booted", "down", "lost")
    result = world.run()
    assert (result["outcome"], result["case"]) == ("source", "target_unknown")
    assert (world.role, world.window) == ("Primary", connected)
    assert ("Both nodes are primary" in (result["window_error"] or "")) is connected


def test_an_unused_copy_of_an_earlier_run_does_not_stop_a_new_one(world):
    world.sides["node2"] = {
        "state": "paused", "reason": "user", "job": None, "mark": domain_definition.mark(world.uuid, 0, "", "node2")}
    world.ends = ending(world, None, "paused user")
    assert world.run()["outcome"] == "target"
    assert world.executor.changes[0] == "remove the unused copy of domain web1 from node node2"


def test_an_arrival_is_taken_over_by_the_next_run(world):
    world.ends = ending(world, None, "down", "lost")
    assert world.run()["outcome"] == "unclear"
    mark = domain_definition.mark(world.uuid, world.generation, "", "node2")
    for _attempt in range(2):
        assert world.run()["case"] == "target_unknown"
    world.sides["node2"] = {"state": "paused", "reason": "user", "mark": mark, "job": None}
    assert world.run()["outcome"] == "target"
    assert world.running() == ["node2"]


def test_an_arrival_is_not_resumed_when_the_source_went_on(world):
    """Its memory no longer fits the disks, which the source has written since."""
    world.ends = ending(world, "running migration_canceled", "down", "lost")
    assert world.run()["case"] == "target_unknown"
    world.sides["node1"] = {"state": "shutoff", "reason": "shutdown", "mark": None, "job": None}
    world.sides["node2"] = {
        "state": "paused", "reason": "user", "job": None,
        "mark": domain_definition.mark(world.uuid, world.generation, "", "node2")}
    assert world.run()["case"] == "arrived_unproven"
    # a verb stopped and removed it here
    world.sides["node1"] = None
    departure.erase(Executor(), world.uuid, world.folder)
    assert world.run()["case"] == "arrived_unproven"
    assert world.running() == []


def test_a_running_job_is_adopted(world):
    world.sides["node1"].update(job="migration_out", mark=domain_definition.mark(world.uuid, 0, "", "node2"))
    departure.write(Executor(), world.uuid, 0, "node2", world.folder)
    threading.Timer(0.7, ending(world, None, "paused user")).start()
    result = world.run()
    assert result["outcome"] == "target"
    assert world.executor.changes[0] == "finish the migration of domain web1 that an earlier run began"


def test_a_migration_that_takes_too_long_is_aborted(world):
    ended = threading.Event()

    def end():
        world.sides["node1"]["job"] = "migration_out"
        ended.wait(10)
        raise libvirt.libvirtError("aborted")

    original = Domain.abortJob

    def abort(domain):
        original(domain)
        ended.set()

    world.ends = end
    Domain.abortJob = abort
    try:
        result = world.run(timeout=1)
    finally:
        Domain.abortJob = original
    assert result["outcome"] == "source"
    assert "did not end within 1 s and was aborted" in result["libvirt_error"]
    assert "abort" in world.asked


def test_check_mode_moves_nothing(world):
    world.window = False
    result = world.run(check_mode=True)
    assert (result["outcome"], result["case"]) == (None, "check_mode")
    assert result["unchecked"]
    assert world.executor.changes == ["migrate domain web1 to node node2"]
    assert world.running() == ["node1"]
    assert generation.load(world.uuid, world.folder) is None


@pytest.mark.parametrize(("change", "code"), [
    ({"node1": None}, "not_running"), ({"node2": "down"}, "target_unreachable"),
    ({"node2": {"state": "running", "reason": "booted", "mark": None, "job": None}}, "active_at_target"),
])
def test_guards_come_before_the_attempt(world, change, code):
    world.sides.update(change)
    with pytest.raises(GantryError) as refused:
        world.run()
    assert refused.value.code == code
    assert world.flags == 0


def test_closed_window_is_refused(world):
    world.window = False
    with pytest.raises(GantryError) as refused:
        world.run()
    assert refused.value.code == "window_closed"


LEFT_AT_SOURCE = (None, "down", "running booted", "running migration_canceled", "paused migration", "shutoff migrated",
                  "shutoff unknown", "shutoff crashed")
LEFT_AT_TARGET = (None, "down", "paused migration", "paused user", "shutoff failed")


@pytest.mark.parametrize(("source", "target"), list(itertools.product(LEFT_AT_SOURCE, LEFT_AT_TARGET)))
def test_whatever_it_leaves_the_guest_never_runs_twice(world, source, target):
    """Every end, then every daemon back, then again: World itself refuses a second running copy and a wrong demotion."""
    world.ends = ending(world, source, target, "lost")
    before = world.sides["node1"]
    first = world.run()
    assert first["outcome"] == "target" or first["failed"]
    if world.sides["node2"] == "down":
        world.sides["node2"] = {"state": "paused", "reason": "user", "mark": before["mark"], "job": None}
    if world.sides["node1"] == "down":
        world.sides["node1"] = dict(before, reason="migration_canceled")
    world.ends = ending(world, None, "paused user")
    world.window = True
    try:
        second = world.run()
    except GantryError as refused:
        assert refused.code in ("not_running", "active_at_target")
        second = {"outcome": "refused"}
    assert len(world.running()) <= 1
    if second["outcome"] == "target":
        assert world.running() == ["node2"]
        assert (world.role, world.window) == ("Secondary", False)
    else:
        assert world.role == "Primary"


@pytest.mark.parametrize(("node", "what", "number"), [("node2", "hypervisor", 7001099), ("node2", "libvirt", 8010000)])
def test_an_older_target_is_refused(world, node, what, number):
    world.versions[node] = dict(world.versions[node], **{what: number})
    with pytest.raises(GantryError) as refused:
        world.run()
    assert refused.value.code == "older_version" and "instance_failover" in refused.value.mend
    assert world.running() == ["node1"] and not world.executor.changed


LIVE = """<domain type='%s'><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
<cpu mode='custom' match='exact'><model fallback='forbid'>Haswell</model><topology sockets='1' cores='1' threads='1'/></cpu></domain>"""


def test_a_target_without_the_guest_s_processor_is_refused(world):
    world.xml, world.refused = LIVE % "kvm", "unsupported features: avx2"
    with pytest.raises(GantryError) as refused:
        world.run()
    assert refused.value.code == "cpu_incompatible" and "avx2" in refused.value.found
    assert world.running() == ["node1"] and not world.executor.changed


def test_in_emulation_there_is_no_processor_to_compare():
    assert domain_definition.processor(LIVE % "qemu") is None
    guest = domain_definition.processor(LIVE % "kvm")
    assert guest["machine"] == "pc-q35-7.2" and "topology" not in guest["cpu"] and "Haswell" in guest["cpu"]


# -- Xen, whose driver knows less ----------------------------------------------------------------------------------------


class Pv(XenPv):
    """A node's Xen, as far as it is asked."""

    caps = ["pv", "shadow"]
    resumed = 0

    def virt_caps(self):
        return self.caps

    def resume(self, executor, domain):
        self.resumed += 1
        domain.resume()


@pytest.fixture
def xen(world):
    world.hypervisor = Pv()
    return world


def test_libxl_is_told_only_what_it_knows(xen):
    xen.ends = ending(xen, None, "paused user")
    result = xen.run(max_downtime_ms=50, bandwidth_mib=100, auto_converge=True)
    assert result["outcome"] == "target" and xen.running() == ["node2"]
    assert xen.parameters == {"migrate_uri": "tcp://10.77.0.12"} and xen.asked == []
    known = (libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_TUNNELLED | libvirt.VIR_MIGRATE_PERSIST_DEST
             | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE | libvirt.VIR_MIGRATE_PAUSED)
    assert xen.flags & libvirt.VIR_MIGRATE_LIVE and not xen.flags & ~known


def test_the_record_says_that_the_guest_stands_still(xen):
    xen.record = {"primary": "node2", "hvparams_effective": {"migration_mode": "non-live"}}
    xen.hypervisor.caps = ["pv"]
    xen.ends = ending(xen, None, "paused user")
    assert xen.run()["outcome"] == "target"
    assert not xen.flags & libvirt.VIR_MIGRATE_LIVE


def test_a_xen_without_shadow_paging_is_refused_before_anything_is_sent(xen):
    xen.hypervisor.caps = ["pv", "gnttab-v1"]
    with pytest.raises(GantryError) as refused:
        xen.run()
    assert refused.value.code == "no_shadow_paging" and "migration_mode: non-live" in refused.value.mend
    assert xen.running() == ["node1"] and xen.sides["node1"]["mark"] is None and not xen.executor.changed


def test_a_live_attempt_that_fails_for_want_of_shadow_paging_says_the_same(xen):
    """Where 'xl info' could not be asked. libvirt takes the guest for paused, and it is resumed at the source."""
    xen.hypervisor.caps = None
    xen.ends = ending(xen, "paused migration", None, "internal error: Failed to enable logdirty: 95")
    result = xen.run()
    assert (result["outcome"], result["failed"], result["error"]["code"]) == ("source", True, "no_shadow_paging")
    assert "migration_mode: non-live" in result["error"]["mend"] and "logdirty" in result["error"]["found"]
    assert xen.running() == ["node1"] and xen.hypervisor.resumed == 1
    assert domain_definition.read_mark(xen.sides["node1"]["mark"])["arriving"] is None


def test_a_migration_of_xen_that_takes_too_long_is_not_called_aborted(xen, monkeypatch):
    monkeypatch.setattr(migration, "ABORT_TIMEOUT", 0.1)
    over = threading.Event()

    def end():
        xen.sides["node1"]["job"] = "unknown"
        over.wait(10)

    xen.ends = end
    result = xen.run(timeout=0.2)
    assert result["outcome"] == "unclear" and "cannot abort" in result["libvirt_error"] and xen.asked == []
    assert "run instance_migrate again" in result["error"]["mend"]
    # and the next run takes the same migration up again
    threading.Timer(0.3, ending(xen, None, "paused user")).start()
    result = xen.run()
    over.set()
    assert result["outcome"] == "target" and xen.running() == ["node2"]
    assert xen.executor.changes[0] == "finish the migration of domain web1 that an earlier run began"


def test_a_job_of_xen_that_is_no_migration_is_waited_for(xen):
    xen.sides["node1"]["job"] = "unknown"
    assert xen.run()["case"] == "job" and xen.running() == ["node1"]
