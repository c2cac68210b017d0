# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process killed before or after any change of any operation: the next run finishes, and no data is ever lost."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.storage import stack
from ansible_collections.gantry.cluster.plugins.module_utils.storage.instance import bring_disks
from storage_node import SECRETS, UUID, Cluster, Killed, drbd_disk, plain_disk


def options(disks, node, **changes):
    """The options of instance_disks."""
    params = {
        "name": "web1.example.com",
        "uuid": UUID,
        "generation": 1,
        "node": node,
        "disks": disks,
        "secrets": SECRETS,
        "record": {"name": "web1.example.com", "primary": "node1", "secondary": "node2"},
        "state": "active",
        "role": None,
        "window": None,
        "initialize": False,
        "images": {},
        "renew": False,
        "give_up": False,
        "drop_aside": False,
        "peer_dead": False,
        "wait_connect": 0,
        "wait_sync": 0,
    }
    params.update(changes)
    return params


class Story:
    """What is done before, the run that is killed, and what must be true at the end."""

    node = "node1"
    disks = [drbd_disk(0), drbd_disk(1)]

    def before(self, cluster, picture):
        """Everything up to the run."""

    def changes(self, picture):
        """The run's options."""
        return {}

    def after(self, cluster, picture):
        """What must be true once it was run to the end."""

    def run(self, cluster, node, **changes):
        """One undisturbed run."""
        return bring_disks(cluster.on(node), options(self.disks, node, **changes))

    def created(self, cluster):
        """Disks in sync with a guest's data, primary on node1."""
        self.run(cluster, "node2", state="present")
        self.run(cluster, "node1", state="present", role="primary", initialize=True)
        cluster.sync()
        for disk in self.disks:
            cluster.nodes["node1"].write("/dev/drbd%d" % disk["nodes"]["node1"]["minor"], "data")

    def contents(self, cluster):
        """The data on each node."""
        return [
            [node.volumes[disk["name"]]["content"] for disk in self.disks if disk["name"] in node.volumes]
            for node in cluster.nodes.values()
        ]


class CreateSecondary(Story):
    """The first disks on the other node."""

    node = "node2"

    def changes(self, picture):
        return {"state": "present"}

    def after(self, cluster, picture):
        assert not any(lvm.TAG_NEW in volume["tags"] for volume in cluster.nodes["node2"].volumes.values())
        assert {seen["disk"] for seen in cluster.nodes["node2"].resources.values()} == {"Inconsistent"}


class CreatePrimary(Story):
    """Disks, first promotion and image."""

    def before(self, cluster, picture):
        self.run(cluster, "node2", state="present")

    def changes(self, picture):
        return {"state": "present", "role": "primary", "initialize": True, "images": {"0": {"path": picture}}}

    def after(self, cluster, picture):
        cluster.sync()
        assert self.contents(cluster) == [["image " + picture, "blank"]] * 2
        for node in cluster.nodes.values():
            assert not any(lvm.TAG_NEW in volume["tags"] for volume in node.volumes.values())


class CreatePlain(CreatePrimary):
    """The same on one node."""

    disks = [plain_disk(0), plain_disk(1)]

    def before(self, cluster, picture):
        pass

    def after(self, cluster, picture):
        assert self.contents(cluster) == [["image " + picture, "blank"], []]
        assert not any(lvm.TAG_NEW in volume["tags"] for volume in cluster.nodes["node1"].volumes.values())


class OpenWindow(Story):
    """The target of a migration becomes primary beside the source."""

    node = "node2"

    def before(self, cluster, picture):
        self.created(cluster)
        self.run(cluster, "node1", window="open")

    def changes(self, picture):
        return {"window": "open", "role": "primary"}

    def after(self, cluster, picture):
        assert {seen["role"] for node in cluster.nodes.values() for seen in node.resources.values()} == {"Primary"}
        assert self.contents(cluster) == [["data", "data"]] * 2


class CloseWindow(Story):
    """The source lets go and closes the window."""

    def before(self, cluster, picture):
        self.created(cluster)
        self.run(cluster, "node1", window="open")
        self.run(cluster, "node2", window="open", role="primary")

    def changes(self, picture):
        return {"window": "closed", "role": "secondary"}

    def after(self, cluster, picture):
        assert {seen["role"] for seen in cluster.nodes["node1"].resources.values()} == {"Secondary"}
        assert not any(seen["two"] for node in cluster.nodes.values() for seen in node.resources.values())
        assert self.contents(cluster) == [["data", "data"]] * 2


class TakeOver(Story):
    """The other node is dead."""

    node = "node2"

    def before(self, cluster, picture):
        self.created(cluster)
        cluster.power_off("node1")

    def changes(self, picture):
        return {"role": "primary", "peer_dead": True}

    def after(self, cluster, picture):
        assert {seen["role"] for seen in cluster.nodes["node2"].resources.values()} == {"Primary"}
        assert self.contents(cluster)[1] == ["data", "data"]


class ComeBack(Story):
    """A node that was dead rejoins."""

    def before(self, cluster, picture):
        TakeOver.before(self, cluster, picture)
        self.run(cluster, "node2", role="primary", peer_dead=True)
        for minor in (10, 11):
            cluster.nodes["node2"].write("/dev/drbd%d" % minor, "newer")
        cluster.boot("node1")

    def after(self, cluster, picture):
        cluster.sync()
        assert self.contents(cluster) == [["newer", "newer"]] * 2


class Remove(Story):
    """Everything of this node goes; the other node's copy stays."""

    def before(self, cluster, picture):
        self.created(cluster)

    def changes(self, picture):
        return {"state": "absent"}

    def after(self, cluster, picture):
        assert cluster.nodes["node1"].volumes == {}
        assert cluster.nodes["node1"].resources == {}
        assert self.contents(cluster)[1] == ["data", "data"]


class TakeDown(Story):
    """Down on the secondary."""

    node = "node2"

    def before(self, cluster, picture):
        self.created(cluster)

    def changes(self, picture):
        return {"state": "inactive"}

    def after(self, cluster, picture):
        assert cluster.nodes["node2"].resources == {}
        assert self.contents(cluster)[0] == ["data", "data"]


class RenewSecondary(Story):
    """The secondary's copy is made anew; the old one stays."""

    node = "node2"

    def before(self, cluster, picture):
        self.created(cluster)

    def changes(self, picture):
        return {"state": "present", "renew": True}

    def after(self, cluster, picture):
        node = cluster.nodes[self.node]
        cluster.sync()
        assert self.contents(cluster) == [["data", "data"]] * 2
        assert [node.volumes[disk["name"] + ".aside"]["content"] for disk in self.disks] == ["data", "data"]
        assert not any(lvm.TAG_NEW in volume["tags"] for volume in node.volumes.values())
        assert {seen["disk"] for seen in node.resources.values()} == {"UpToDate"}


class RenewPrimary(RenewSecondary):
    """The same under a running guest, which lives off its peer meanwhile."""

    node = "node1"

    def after(self, cluster, picture):
        super().after(cluster, picture)
        if not self.rebooted(cluster):
            assert {seen["role"] for seen in cluster.nodes["node1"].resources.values()} == {"Primary"}

    @staticmethod
    def rebooted(cluster):
        return any(seen["role"] == "Secondary" for seen in cluster.nodes["node1"].resources.values())


class DropAside(Story):
    """The new copies are the same: the old ones go."""

    node = "node2"

    def before(self, cluster, picture):
        self.created(cluster)
        self.run(cluster, "node2", state="present", renew=True)
        cluster.sync()

    def changes(self, picture):
        return {"drop_aside": True}

    def after(self, cluster, picture):
        assert self.contents(cluster) == [["data", "data"]] * 2
        assert not any(name.endswith(".aside") for name in cluster.nodes["node2"].volumes)


STORIES = [
    CreateSecondary, CreatePrimary, CreatePlain, OpenWindow, CloseWindow, TakeOver, ComeBack, Remove, TakeDown, RenewSecondary,
    RenewPrimary, DropAside,
]


@pytest.mark.parametrize("reboot", [False, True], ids=["", "reboot"])
@pytest.mark.parametrize("story", STORIES)
def test_killed_anywhere(story, reboot, tmp_path, monkeypatch, picture, cluster):
    """Once for every change of the run, before it and after it; then with the node's power cut as well."""
    story = story()
    killed = 0
    for number in itertools.count():
        for after in (False, True):
            world = Cluster(tmp_path / ("%d%s" % (number, after)), monkeypatch)
            story.before(world, picture)
            executor = world.on(story.node)
            executor.kill_at, executor.kill_after = number, after
            try:
                bring_disks(executor, options(story.disks, story.node, **story.changes(picture)))
            except Killed:
                killed += 1
            else:
                assert killed == 2 * number > 0
                story.after(world, picture)
                return
            if reboot and story.node == "node1" and not isinstance(story, (OpenWindow, CloseWindow)):
                world.power_off(story.node)
                world.boot(story.node)
            story.run(world, story.node, **story.changes(picture))
            story.after(world, picture)
            again = world.on(story.node)
            bring_disks(again, options(story.disks, story.node, **story.changes(picture)))
            assert again.changes == [], "the second full run changed something"


def test_an_interrupted_image_is_not_started(cluster, picture):
    """Between the first promotion and the end of the image the disk is refused to a guest."""
    story = CreatePrimary()
    kill = [number for number, what in enumerate(_log(cluster, story, picture)) if "convert" in what][0]
    story.before(cluster, picture)
    executor = cluster.on("node1")
    executor.kill_at, executor.kill_after = kill, True
    with pytest.raises(Killed):
        bring_disks(executor, options(story.disks, "node1", **story.changes(picture)))
    assert cluster.nodes["node1"].volumes[story.disks[0]["name"]]["content"].startswith("half of ")
    with pytest.raises(stack.GantryError) as caught:
        stack.promote(cluster.on("node1"), UUID, "node1", story.disks, wait_connect=0)
    assert caught.value.code == "never_initialized"


def _log(cluster, story, picture):
    """The changes of an undisturbed run."""
    world = Cluster(cluster.folder / "log", cluster.monkeypatch)
    story.before(world, picture)
    executor = world.on("node1")
    bring_disks(executor, options(story.disks, "node1", **story.changes(picture)))
    return executor.log
