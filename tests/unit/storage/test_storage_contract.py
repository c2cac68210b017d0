# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of every storage backend, on nodes in memory; the lab runs the same steps on real ones."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.storage import BACKENDS, backend, base, stack
from storage_node import OTHER, SECRETS, UUID, drbd_disk, plain_disk

STATUS_KEYS = {
    "index",
    "name",
    "template",
    "device",
    "present",
    "new",
    "role",
    "connection",
    "disk",
    "peer_disk",
    "peer_role",
    "replication",
    "out_of_sync_kib",
    "sync_percent",
    "allow_two_primaries",
}


def snapshot(cluster):
    """Everything that a change could touch."""
    return copy.deepcopy([(node.volumes, node.resources) for node in cluster.nodes.values()])


class Contract:
    """What holds for every template. Subclasses set the disks and how the other node is prepared."""

    disks = ()

    def prepare(self, cluster):
        """What the other node must have before the first promotion."""

    def here(self, cluster, check_mode=False):
        """The leading arguments of every operation, on node1."""
        return (cluster.on("node1", check_mode), UUID, "node1", self.disks)

    def create(self, cluster, image=None):
        """A disk in use on node1."""
        self.prepare(cluster)
        stack.ensure_present(*self.here(cluster), secrets=SECRETS)
        stack.activate(*self.here(cluster))
        stack.initialize(*self.here(cluster), images={0: image} if image else None)
        cluster.sync()

    def changes(self, cluster, operation, *args, **kwargs):
        """Run one operation on node1 and return what it says it changed."""
        here = self.here(cluster)
        operation(*here, *args, **kwargs)
        return here[0].changes

    def status(self, cluster):
        """The status on node1."""
        return stack.status(cluster.on("node1"), "node1", self.disks)

    def test_documented_status(self, cluster):
        """The same keys whether the disk is there or not."""
        assert [set(entry) for entry in self.status(cluster)] == [STATUS_KEYS for _disk in self.disks]
        assert not any(entry["present"] for entry in self.status(cluster))
        self.create(cluster)
        assert [set(entry) for entry in self.status(cluster)] == [STATUS_KEYS for _disk in self.disks]
        assert all(entry["present"] and not entry["new"] for entry in self.status(cluster))
        assert all(entry["role"] == "Primary" and entry["disk"] == "UpToDate" for entry in self.status(cluster))

    def test_everything_a_second_time_changes_nothing(self, cluster):
        """Each operation is idempotent."""
        self.create(cluster)
        for operation, options in (
            (stack.ensure_present, {"secrets": SECRETS}),
            (stack.activate, {"secrets": SECRETS}),
            (stack.activate, {}),
            (stack.initialize, {}),
            (stack.promote, {}),
            (stack.close_window, {}),
        ):
            assert self.changes(cluster, operation, **options) == []
        for operation in (stack.demote, stack.deactivate, stack.remove):
            self.changes(cluster, operation)
            before = snapshot(cluster)
            assert self.changes(cluster, operation) == []
            assert snapshot(cluster) == before

    def test_check_mode_changes_nothing(self, cluster, picture):
        """Every operation can be predicted, also on what is not there yet, and says what it would do."""
        steps = (
            lambda here: stack.ensure_present(*here, secrets=SECRETS),
            lambda here: stack.activate(*here, secrets=SECRETS),
            lambda here: stack.initialize(*here, images={0: {"path": picture, "format": "raw", "size_bytes": 1}}),
            lambda here: stack.promote(*here),
            lambda here: stack.demote(*here),
            lambda here: stack.close_window(*here),
            lambda here: stack.deactivate(*here),
            lambda here: stack.remove(*here),
        )
        empty = snapshot(cluster)
        for step in steps:
            step(self.here(cluster, check_mode=True))
        assert snapshot(cluster) == empty
        here = self.here(cluster, check_mode=True)
        for step in steps[:3]:
            step(here)
        assert any("create volume" in change for change in here[0].changes)
        self.create(cluster)
        there = snapshot(cluster)
        for step in steps:
            step(self.here(cluster, check_mode=True))
        assert snapshot(cluster) == there
        here = self.here(cluster, check_mode=True)
        stack.remove(*here)
        assert any("remove volume" in change for change in here[0].changes)

    def test_the_image_is_written_once(self, cluster, picture):
        """To a new disk, and never again."""
        image = {"path": picture, "format": "raw", "size_bytes": 1}
        self.create(cluster, image)
        name = self.disks[0]["name"]
        assert cluster.nodes["node1"].volumes[name]["content"] == "image " + picture
        cluster.nodes["node1"].volumes[name]["content"] = "the guest's data"
        assert self.changes(cluster, stack.initialize, images={0: image}) == []
        assert cluster.nodes["node1"].volumes[name]["content"] == "the guest's data"

    def test_a_disk_never_initialised_is_not_started(self, cluster):
        """Promotion without initialisation is refused."""
        self.prepare(cluster)
        stack.ensure_present(*self.here(cluster), secrets=SECRETS)
        stack.activate(*self.here(cluster))
        with pytest.raises(GantryError) as caught:
            stack.promote(*self.here(cluster), wait_connect=0)
        assert caught.value.code in ("never_initialized", "disk_inconsistent")

    def test_nothing_is_made_on_the_way_to_a_promotion(self, cluster):
        """A missing volume is an error when a disk is activated."""
        with pytest.raises(GantryError) as caught:
            stack.activate(*self.here(cluster), secrets=SECRETS)
        assert caught.value.code == "missing_volume"
        assert snapshot(cluster) == [({}, {}), ({}, {})]

    def test_too_little_space_is_said_before_anything_is_made(self, cluster):
        """All disks together must fit."""
        cluster.nodes["node1"].size_mib = 300
        with pytest.raises(GantryError) as caught:
            stack.ensure_present(*self.here(cluster), secrets=SECRETS)
        assert caught.value.code == "no_space"
        assert "300 MiB free" in caught.value.found
        assert cluster.nodes["node1"].volumes == {}

    @pytest.mark.parametrize("tags", [set(), {"gantry"}, {"gantry", lvm.tag_of(OTHER)}])
    def test_somebody_elses_volume_is_never_touched(self, cluster, tags):
        """Neither used nor removed, and the other disks are not touched either."""
        name = self.disks[-1]["name"]
        cluster.nodes["node1"].volumes[name] = {"size_mib": 300, "tags": tags, "active": True, "content": "theirs"}
        before = snapshot(cluster)
        for operation, options in (
            (stack.ensure_present, {"secrets": SECRETS}),
            (stack.activate, {"secrets": SECRETS}),
            (stack.remove, {}),
            (stack.deactivate, {}),
        ):
            if operation is stack.deactivate and self.disks[0]["template"] == "drbd":
                continue
            with pytest.raises(GantryError) as caught:
                self.changes(cluster, operation, **options)
            assert caught.value.code in ("foreign_volume", "missing_volume")
        assert snapshot(cluster) == before

    def test_another_instances_operation_is_refused(self, cluster):
        """Every operation checks the owner."""
        self.create(cluster)
        before = snapshot(cluster)
        for operation in (stack.ensure_present, stack.activate, stack.promote, stack.remove, stack.initialize):
            with pytest.raises(GantryError) as caught:
                operation(cluster.on("node1"), OTHER, "node1", self.disks)
            assert caught.value.code in ("foreign_volume", "foreign_resource")
        assert snapshot(cluster) == before

    def test_a_smaller_volume_is_refused_a_larger_one_kept(self, cluster):
        """Sizes are never changed on the side."""
        self.create(cluster)
        name = self.disks[0]["name"]
        cluster.nodes["node1"].volumes[name]["size_mib"] = 150
        with pytest.raises(GantryError) as caught:
            stack.ensure_present(*self.here(cluster), secrets=SECRETS)
        assert caught.value.code == "wrong_size"
        cluster.nodes["node1"].volumes[name]["size_mib"] = 250
        assert self.changes(cluster, stack.ensure_present, secrets=SECRETS) == []

    def test_removed_without_a_trace(self, cluster):
        """Nothing of the disk stays on the node; what is not ours does."""
        self.create(cluster)
        cluster.nodes["node1"].volumes["other"] = {"size_mib": 4, "tags": set(), "active": True, "content": "theirs"}
        stack.demote(*self.here(cluster))
        stack.remove(*self.here(cluster))
        assert set(cluster.nodes["node1"].volumes) == {"other"}
        assert cluster.nodes["node1"].resources == {}

    def test_this_must_be_the_node(self, cluster, monkeypatch):
        """A wrong address in the inventory must not create disks elsewhere."""
        here = self.here(cluster)
        monkeypatch.setattr(base, "this_host", lambda: "mallory")
        with pytest.raises(GantryError) as caught:
            stack.ensure_present(*here, secrets=SECRETS)
        assert caught.value.code == "wrong_node"
        with pytest.raises(GantryError) as caught:
            stack.activate(cluster.on("node1"), UUID, "node9", self.disks)
        assert caught.value.code == "wrong_node"

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "../etc"},
            {"name": "-x"},
            {"name": "a b"},
            {"name": "x_tmeta"},
            {"name": ""},
            {"name": "a" * 101},
            {"vg": "a/b"},
            {"vg": None},
            {"size_mib": 0},
            {"size_mib": -5},
            {"nodes": {}},
            {"template": "floppy"},
        ],
    )
    def test_impossible_disks_are_refused(self, cluster, change):
        """Before anything is read."""
        executor = cluster.on("node1")
        with pytest.raises(GantryError):
            stack.ensure_present(executor, UUID, "node1", [dict(self.disks[0], **change)], secrets=SECRETS)
        assert snapshot(cluster) == [({}, {}), ({}, {})]

    def test_two_disks_cannot_share_a_name(self, cluster):
        """Nor an index."""
        for change in ({"index": 7}, {"name": "x-disk0"}):
            with pytest.raises(GantryError):
                stack.open_disks(cluster.on("node1"), UUID, "node1", [self.disks[0], dict(self.disks[0], **change)])

    @pytest.mark.parametrize("uuid", [None, "", "x", "11111111-2222-4333-8444-55555555555/"])
    def test_impossible_uuids_are_refused(self, cluster, uuid):
        """The UUID becomes a tag."""
        with pytest.raises(GantryError):
            stack.open_disks(cluster.on("node1"), uuid, "node1", self.disks)


class TestPlain(Contract):
    """Two plain disks."""

    disks = [plain_disk(0), plain_disk(1)]

    def test_window_is_refused(self, cluster):
        """There is one copy."""
        self.create(cluster)
        with pytest.raises(GantryError) as caught:
            stack.open_window(*self.here(cluster))
        assert caught.value.code == "not_mirrored"

    @pytest.mark.parametrize("operation", [stack.remove, stack.deactivate])
    def test_in_use(self, cluster, operation):
        """An open volume stays."""
        self.create(cluster)
        cluster.nodes["node1"].opened.add(self.disks[1]["name"])
        before = snapshot(cluster)
        with pytest.raises(GantryError) as caught:
            operation(*self.here(cluster))
        assert caught.value.code == "held_open"
        if operation is stack.remove:
            assert snapshot(cluster) == before

    def test_synced(self, cluster):
        """One copy equals itself."""
        assert stack.wait_sync(*self.here(cluster), seconds=0) == (True, None)


class TestDrbd(Contract):
    """Two DRBD disks on two nodes."""

    disks = [drbd_disk(0), drbd_disk(1)]

    def prepare(self, cluster):
        """The other node's copies, up."""
        there = (cluster.on("node2"), UUID, "node2", self.disks)
        stack.ensure_present(*there, secrets=SECRETS, primary="node1")
        stack.activate(*there)


def test_table():
    """Each template is found by its name."""
    for template, found in BACKENDS.items():
        assert backend(template) is found
        assert found.TEMPLATE == template
    with pytest.raises(GantryError) as caught:
        backend("floppy")
    assert caught.value.code == "bad_template"


def test_no_disks_at_all(cluster):
    """A diskless instance has nothing to do."""
    here = (cluster.on("node1"), UUID, "node1", [])
    for operation in (
        stack.ensure_present,
        stack.activate,
        stack.promote,
        stack.demote,
        stack.open_window,
        stack.close_window,
        stack.deactivate,
        stack.remove,
        stack.initialize,
    ):
        operation(*here)
    assert stack.status(here[0], "node1", []) == []
    assert here[0].changes == []
