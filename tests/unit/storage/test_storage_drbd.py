# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DRBD disks on two nodes: promotion, windows, lost links and nodes, leftovers."""

from __future__ import annotations

import os

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import helper, resource_file
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.storage import renewal, stack
from ansible_collections.gantry.cluster.plugins.module_utils.storage.drbd import metadata_mib
from storage_node import OTHER, SECRETS, UUID, drbd_disk, states

DISK = drbd_disk(0)
NAME = DISK["name"]


def at(cluster, node, check_mode=False):
    """The leading arguments of every operation."""
    return (cluster.on(node, check_mode), UUID, node, [DISK])


def create(cluster):
    """A disk in sync, primary on node1, with a guest's data."""
    for node in ("node2", "node1"):
        stack.ensure_present(*at(cluster, node), secrets=SECRETS, primary="node1")
        stack.activate(*at(cluster, node))
    stack.initialize(*at(cluster, "node1"))
    cluster.sync()
    cluster.nodes["node1"].write("/dev/drbd10", "first")


def refused(code, operation, *args, **kwargs):
    """The operation is refused with this word. Returns the error."""
    with pytest.raises(GantryError) as caught:
        operation(*args, **kwargs)
    assert caught.value.code == code, caught.value.sentence()
    return caught.value


def test_created_on_both_nodes(cluster):
    """Volumes, tags, file, metadata and roles are what an admin expects to see."""
    create(cluster)
    for name, node in cluster.nodes.items():
        assert set(node.volumes) == {NAME, NAME + "-meta"}
        assert node.volumes[NAME]["size_mib"] == 204 and node.volumes[NAME + "-meta"]["size_mib"] == 4
        for volume in node.volumes.values():
            assert volume["tags"] == {"gantry", lvm.tag_of(UUID)}
        path = node.path("drbd.d", NAME + ".res")
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert SECRETS["0"] in open(path, encoding="utf-8").read()
        assert node.volumes[NAME]["content"] == "first", name
    one, two = (stack.status(cluster.on(node), node, [DISK])[0] for node in ("node1", "node2"))
    assert (one["role"], two["role"]) == ("Primary", "Secondary")
    assert one["sync_percent"] == two["sync_percent"] == 100.0
    assert one["device"] == "/dev/drbd10"


def test_the_other_node_is_never_forced(cluster):
    """The node that is not to be the first cannot initialise, even while everything is new."""
    for node in ("node2", "node1"):
        stack.ensure_present(*at(cluster, node), secrets=SECRETS, primary="node1")
        stack.activate(*at(cluster, node))
    refused("disk_inconsistent", stack.initialize, *at(cluster, "node2"), wait_connect=0)


def test_no_initialisation_without_the_other_node(cluster):
    """Force needs a peer that shows it has no data either."""
    stack.ensure_present(*at(cluster, "node1"), secrets=SECRETS)
    stack.activate(*at(cluster, "node1"))
    refused("not_connected", stack.initialize, *at(cluster, "node1"), wait_connect=0)


def test_no_initialisation_over_the_others_data(cluster):
    """A new copy beside a node with data becomes its target, whatever is asked."""
    create(cluster)
    cluster.nodes["node2"].volumes.clear()
    cluster.nodes["node2"].resources.clear()
    os.unlink(cluster.nodes["node2"].path("drbd.d", NAME + ".res"))
    cluster.power_off("node2")
    stack.ensure_present(*at(cluster, "node2"), secrets=SECRETS)
    stack.activate(*at(cluster, "node2"))
    assert states(cluster.nodes["node2"])[NAME]["replication"] == "SyncTarget"
    refused("peer_not_new", stack.initialize, *at(cluster, "node2"), wait_connect=0)
    cluster.sync()
    assert cluster.nodes["node2"].volumes[NAME]["content"] == "first"


def test_promotion_moves_only_when_the_other_let_go(cluster):
    """One primary at a time."""
    create(cluster)
    refused("peer_primary", stack.promote, *at(cluster, "node2"), wait_connect=0)
    stack.demote(*at(cluster, "node1"))
    stack.promote(*at(cluster, "node2"), wait_connect=0)
    assert states(cluster.nodes["node2"])[NAME]["role"] == "Primary"
    refused("peer_primary", stack.promote, *at(cluster, "node1"), wait_connect=0)


def test_a_lost_link_is_no_death(cluster):
    """Neither side may take over; the word peer_dead is for a node, and counts only while it is silent."""
    create(cluster)
    refused("peer_alive", stack.promote, *at(cluster, "node2"), peer_dead=True, wait_connect=0)
    cluster.cut()
    refused("not_connected", stack.promote, *at(cluster, "node2"), wait_connect=0)


def test_takeover_from_a_dead_node_and_its_return(cluster):
    """The survivor's writes win; the returned node is filled again and cannot be promoted before."""
    create(cluster)
    cluster.power_off("node1")
    stack.promote(*at(cluster, "node2"), peer_dead=True, wait_connect=0)
    cluster.nodes["node2"].write("/dev/drbd10", "second")
    cluster.boot("node1")
    stack.activate(*at(cluster, "node1"))
    assert states(cluster.nodes["node1"])[NAME]["replication"] == "SyncTarget"
    refused("disk_inconsistent", stack.promote, *at(cluster, "node1"), wait_connect=0)
    cluster.sync()
    assert cluster.nodes["node1"].volumes[NAME]["content"] == "second"


def test_split_brain_is_shown_and_left_alone(cluster):
    """Nobody's data is thrown away; the error quotes the kernel."""
    create(cluster)
    cluster.cut()
    cluster.nodes["node1"].write("/dev/drbd10", "left")
    stack.promote(*at(cluster, "node2"), peer_dead=True, wait_connect=0)
    cluster.nodes["node2"].write("/dev/drbd10", "right")
    cluster.mend()
    stack.activate(*at(cluster, "node1"))
    error = refused("stand_alone", stack.activate, *at(cluster, "node2"))
    assert "split brain" in error.mend and "Split-Brain detected" in error.found
    assert "Primary" in error.found
    contents = [node.volumes[NAME]["content"] for node in cluster.nodes.values()]
    assert contents == ["left", "right"]


def test_window_of_a_migration(cluster):
    """Open, both primary, the source lets go, closed; read back each time."""
    create(cluster)
    stack.open_window(*at(cluster, "node1"), wait_connect=0)
    refused("peer_primary", stack.promote, *at(cluster, "node2"), wait_connect=0)
    stack.open_window(*at(cluster, "node2"), wait_connect=0)
    stack.promote(*at(cluster, "node2"), wait_connect=0, dual=True)
    assert all(states(node)[NAME]["role"] == "Primary" for node in cluster.nodes.values())
    refused("both_primary", stack.close_window, *at(cluster, "node2"))
    stack.demote(*at(cluster, "node1"))
    for node in ("node1", "node2"):
        stack.close_window(*at(cluster, node))
        assert stack.status(cluster.on(node), node, [DISK])[0]["allow_two_primaries"] is False
    text = open(cluster.nodes["node1"].path("drbd.d", NAME + ".res"), encoding="utf-8").read()
    assert "allow-two-primaries no;" in text


def test_no_window_on_a_disk_that_is_not_redundant(cluster):
    """Nor a second primary when the window was opened earlier and the link went since."""
    create(cluster)
    stack.open_window(*at(cluster, "node1"), wait_connect=0)
    cluster.cut()
    refused("not_connected", stack.promote, *at(cluster, "node2"), wait_connect=0, dual=True)
    stack.close_window(*at(cluster, "node1"))
    refused("not_redundant", stack.open_window, *at(cluster, "node1"), wait_connect=0)


def test_a_window_left_open_while_the_other_node_rebooted(cluster):
    """Both sides must agree to connect; bringing the disk up again heals it."""
    create(cluster)
    stack.open_window(*at(cluster, "node1"), wait_connect=0)
    cluster.power_off("node2")
    cluster.boot("node2")
    refused("stand_alone", stack.activate, *at(cluster, "node2"), wait_connect=1)
    stack.activate(*at(cluster, "node1"))
    stack.activate(*at(cluster, "node2"))
    cluster.sync()
    assert stack.wait_sync(*at(cluster, "node1"), seconds=0) == (True, None)
    assert stack.status(cluster.on("node1"), "node1", [DISK])[0]["allow_two_primaries"] is False


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, monkeypatch, at_second=None, happens=None):
        self.now, self.at_second, self.happens = 0.0, at_second, happens
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def sleep(self, seconds):
        """Let it pass; what was planned for a moment happens then."""
        self.now += seconds
        if self.at_second is not None and self.now >= self.at_second:
            self.at_second = self.happens()


@pytest.mark.parametrize(("node", "why"), [
    ("node1", "disk 0 on node node1: the other node's disk is gone (Diskless)"),
    ("node2", "disk 0 on node node2: its own disk is gone (Diskless)"),
])
def test_nobody_waits_for_a_disk_that_is_gone(cluster, monkeypatch, node, why):
    """Of four hours only the seconds until it is certain are waited."""
    create(cluster)
    cluster.on("node2").change("fail", ["drbdadm", "detach", NAME])
    clock = Clock(monkeypatch)
    assert stack.wait_sync(*at(cluster, node), seconds=14400, sleep=clock.sleep) == (False, why)
    assert clock.now == stack.STUCK_SECONDS


def test_nobody_waits_for_a_pair_that_has_parted(cluster, monkeypatch):
    """Nothing connects it again by itself; a peer that is only away may come back."""
    create(cluster)
    cluster.cut()
    clock = Clock(monkeypatch)
    assert stack.wait_sync(*at(cluster, "node1"), seconds=60, sleep=clock.sleep) == (False, None)
    assert clock.now == 60
    cluster.nodes["node1"].resources[NAME]["connection"] = "StandAlone"
    done, why = stack.wait_sync(*at(cluster, "node1"), seconds=60, sleep=clock.sleep)
    assert done is False and "StandAlone" in why and clock.now == 60 + stack.STUCK_SECONDS


def test_a_copy_that_is_back_in_time_is_waited_for(cluster, monkeypatch):
    """A peer shows no disk for a moment while it comes up."""
    create(cluster)
    lost = cluster.nodes["node2"].resources[NAME]
    kept = dict(lost)
    cluster.on("node2").change("fail", ["drbdadm", "detach", NAME])
    clock = Clock(monkeypatch, at_second=3, happens=lambda: lost.update(kept))
    assert stack.wait_sync(*at(cluster, "node1"), seconds=60, sleep=clock.sleep) == (True, None)
    assert clock.now == 3


def test_held_open(cluster, monkeypatch):
    """A demotion that fails names the reason and leaves the disk primary."""
    create(cluster)
    monkeypatch.setattr("time.monotonic", iter(range(0, 10000, 100)).__next__)
    cluster.nodes["node1"].opened.add(NAME)
    error = refused("held_open", stack.demote, *at(cluster, "node1"))
    assert "/dev/drbd10" in error.what
    assert cluster.nodes["node1"].resources[NAME]["role"] == "Primary"


def test_what_promotion_of_several_disks_did_is_taken_back(cluster):
    """All or none."""
    disks = [drbd_disk(0), drbd_disk(1)]
    for node in ("node2", "node1"):
        stack.ensure_present(cluster.on(node), UUID, node, disks, secrets=SECRETS, primary="node1")
        stack.activate(cluster.on(node), UUID, node, disks)
    stack.initialize(cluster.on("node1"), UUID, "node1", disks)
    cluster.sync()
    stack.demote(cluster.on("node1"), UUID, "node1", disks[:1])
    refused("peer_primary", stack.promote, cluster.on("node2"), UUID, "node2", disks, wait_connect=0)
    assert states(cluster.nodes["node2"])[disks[0]["name"]]["role"] == "Secondary"


def test_the_last_good_copy_is_not_removed_under_a_guest(cluster):
    """While the other node's guest lives off this copy."""
    create(cluster)
    cluster.nodes["node1"].resources[NAME]["disk"] = "Diskless"
    refused("last_copy", stack.remove, *at(cluster, "node2"))
    refused("last_copy", stack.deactivate, *at(cluster, "node2"))
    assert NAME in cluster.nodes["node2"].volumes


@pytest.mark.parametrize("lost, code", [("", "data_missing"), ("-meta", "metadata_missing")])
def test_half_a_disk_is_never_completed(cluster, lost, code):
    """A fresh volume beside old metadata would look current, fresh metadata would call old data new."""
    create(cluster)
    cluster.power_off("node2")
    del cluster.nodes["node2"].volumes[NAME + lost]
    refused(code, stack.ensure_present, *at(cluster, "node2"), secrets=SECRETS)
    stack.remove(*at(cluster, "node2"))
    assert cluster.nodes["node2"].volumes == {}


def test_lost_metadata_is_not_made_anew(cluster):
    """It would declare the copy current."""
    create(cluster)
    cluster.power_off("node2")
    cluster.boot("node2")
    cluster.nodes["node2"].volumes[NAME + "-meta"]["content"] = "noise"
    refused("metadata_missing", stack.ensure_present, *at(cluster, "node2"), secrets=SECRETS)


def test_a_former_users_metadata_is_written_over(cluster):
    """Metadata on a volume whose own was never finished belongs to whoever had the space before."""
    stack.ensure_present(*at(cluster, "node1"), secrets=SECRETS)
    node = cluster.nodes["node1"]
    node.volumes[NAME + "-meta"].update(content={"current": 0x77, "history": set()})
    node.volumes[NAME + "-meta"]["tags"].add(lvm.TAG_NEW)
    stack.ensure_present(*at(cluster, "node1"), secrets=SECRETS)
    assert node.metadata(NAME)["current"] == 4


@pytest.mark.parametrize(
    "change, code", [({"port": 11000}, "number_taken"), ({"minor": 10}, "number_taken"), ({}, None)]
)
def test_numbers_of_another_resource_are_refused(cluster, change, code):
    """A second use of a port or minor would join two guests' disks."""
    create(cluster)
    other = drbd_disk(1)
    other["port"] = change.get("port", other["port"])
    other["nodes"]["node1"]["minor"] = change.get("minor", 11)
    before = dict(cluster.nodes["node1"].volumes)
    arguments = (cluster.on("node1"), UUID, "node1", [other])
    if code is None:
        stack.ensure_present(*arguments, secrets=SECRETS)
    else:
        refused(code, stack.ensure_present, *arguments, secrets=SECRETS)
        assert cluster.nodes["node1"].volumes == before


def test_somebody_elses_resource_file_is_kept(cluster):
    """Neither overwritten nor removed."""
    path = cluster.nodes["node1"].path("drbd.d", NAME + ".res")
    text = resource_file.render(DISK, SECRETS["0"], OTHER)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    refused("foreign_resource", stack.ensure_present, *at(cluster, "node1"), secrets=SECRETS)
    refused("foreign_resource", stack.remove, *at(cluster, "node1"))
    assert open(path, encoding="utf-8").read() == text
    assert cluster.nodes["node1"].volumes == {}


def test_the_secret_is_needed_once(cluster):
    """Without it a disk cannot be made; later the file has it."""
    error = refused("no_secret", stack.ensure_present, *at(cluster, "node1"))
    assert cluster.nodes["node1"].volumes == {}
    assert SECRETS["0"] not in error.sentence()
    create(cluster)
    stack.activate(*at(cluster, "node1"))
    refused("bad_secret", stack.ensure_present, *at(cluster, "node1"), secrets={"0": 'x"; allow-two-primaries yes; #'})


def test_no_error_shows_a_secret(cluster):
    """drbdadm repeats its arguments when it fails."""
    stack.ensure_present(*at(cluster, "node1"), secrets=SECRETS)
    cluster.nodes["node1"].volumes[NAME + "-meta"]["content"] = "noise"
    error = refused("command_failed", stack.activate, *at(cluster, "node1"))
    assert SECRETS["0"] not in error.sentence() and "***" in error.sentence()


def test_the_file_follows_the_record(cluster):
    """A new address reaches the running resource, but not in the middle of a migration."""
    create(cluster)
    moved = drbd_disk(0)
    moved["nodes"]["node2"]["address"] = "10.0.0.9"
    stack.open_window(*at(cluster, "node1"), wait_connect=0)
    refused("window_open", stack.activate, cluster.on("node1"), UUID, "node1", [moved])
    stack.close_window(*at(cluster, "node1"))
    executor = cluster.on("node1")
    stack.activate(executor, UUID, "node1", [moved])
    assert any("adjust" in change for change in executor.changes)
    assert "10.0.0.9:11000" in open(cluster.nodes["node1"].path("drbd.d", NAME + ".res"), encoding="utf-8").read()


def test_fencing_only_with_our_helper(cluster, monkeypatch):
    """Without the helper DRBD would refuse every takeover, so the option is left out."""
    create(cluster)
    path = cluster.nodes["node1"].path("drbd.d", NAME + ".res")
    assert "fencing" not in open(path, encoding="utf-8").read()
    program = cluster.nodes["node1"].path("helper")
    with open(program, "w", encoding="utf-8") as stream:
        stream.write(helper.TEXT)
    os.chmod(program, 0o755)
    monkeypatch.setattr(helper, "PATH", program)
    with open(cluster.nodes["node1"].path("usermode_helper"), "w", encoding="utf-8") as stream:
        stream.write(program + "\n")
    stack.activate(*at(cluster, "node1"))
    assert "        fencing resource-only;\n" in open(path, encoding="utf-8").read()
    os.chmod(program, 0o644) if os.getuid() else os.unlink(program)
    stack.activate(*at(cluster, "node1"))
    assert "fencing" not in open(path, encoding="utf-8").read()


@pytest.mark.parametrize(
    "change",
    [
        {"port": None},
        {"port": 0},
        {"port": 70000},
        {"minor": -1},
        {"minor": None},
        {"minor": 2**20},
        {"minor": True},
        {"address": "node2"},
        {"address": None},
        {"address": "10.0.0.1"},
        {"hostname": "node1"},
        {"hostname": "a b"},
        {"hostname": None},
        {"nodes": 1},
        {"name": "a" + "-a" * 45},
    ],
)
def test_impossible_resources_are_refused(cluster, change):
    """Before anything is read or made."""
    disk = drbd_disk(0)
    for key, value in change.items():
        if key == "nodes":
            del disk["nodes"]["node2"]
        elif key in ("port", "name"):
            disk[key] = value
        else:
            disk["nodes"]["node2"][key] = value
    with pytest.raises(GantryError) as caught:
        stack.ensure_present(cluster.on("node1"), UUID, "node1", [disk], secrets=SECRETS)
    assert caught.value.code in ("bad_disk", "bad_name")


@pytest.mark.parametrize("size_mib, expected", [(1, 2), (1024, 2), (32768, 2), (32769, 3), (1048576, 33)])
def test_size_of_metadata(size_mib, expected):
    """A bit for 4 KiB, and one MiB."""
    assert metadata_mib(size_mib) == expected


@pytest.mark.parametrize(
    "command, code, operation, node",
    [
        ("do_drbdadm_net_options", "window_not_set", stack.open_window, "node1"),
        ("do_drbdadm_secondary", "role_not_reached", stack.demote, "node1"),
        ("do_drbdsetup_down", "still_up", stack.deactivate, "node2"),
        ("do_drbdadm_create_md", "metadata_missing", None, "node1"),
    ],
)
def test_a_command_that_only_says_it_worked(cluster, monkeypatch, command, code, operation, node):
    """What was done is read back, not believed."""
    if operation is not None:
        create(cluster)
    monkeypatch.setattr(cluster.nodes[node], command, lambda argv: (0, "", ""))
    if operation is None:
        refused(code, stack.ensure_present, *at(cluster, node), secrets=SECRETS)
    else:
        refused(code, operation, *at(cluster, node))


def test_a_window_that_stays_open_is_an_error(cluster, monkeypatch):
    """Two primaries left allowed would be the next split brain."""
    create(cluster)
    stack.open_window(*at(cluster, "node1"), wait_connect=0)
    monkeypatch.setattr(cluster.nodes["node1"], "do_drbdadm_net_options", lambda argv: (0, "", ""))
    refused("window_not_set", stack.close_window, *at(cluster, "node1"))


def test_old_copies_stay_until_the_new_ones_are_the_same(cluster):
    """What was set aside goes only beside a copy that is connected and the same; and with the disk itself."""
    create(cluster)
    renewal.renew(*at(cluster, "node2"), secrets=SECRETS)
    refused("not_synced", renewal.drop_aside, *at(cluster, "node2"))
    cluster.cut()
    refused("not_synced", renewal.drop_aside, *at(cluster, "node2"))
    cluster.mend()
    cluster.sync()
    renewal.drop_aside(*at(cluster, "node2"))
    assert set(cluster.nodes["node2"].volumes) == {NAME, NAME + "-meta"}
    executor = cluster.on("node2")
    renewal.drop_aside(executor, UUID, "node2", [DISK])
    assert executor.changes == []


def test_a_primary_lives_off_its_peer_while_its_copy_is_made_anew(cluster):
    """Whatever the guest writes meanwhile is on both copies at the end."""
    create(cluster)
    renewal.renew(*at(cluster, "node1"), secrets=SECRETS)
    assert cluster.nodes["node1"].resources[NAME]["role"] == "Primary"
    cluster.nodes["node1"].write("/dev/drbd10", "second")
    cluster.sync()
    assert cluster.nodes["node1"].volumes[NAME]["content"] == "second"
    assert cluster.nodes["node1"].volumes[NAME + ".aside"]["content"] == "first"


def test_the_only_good_copy_is_not_set_aside(cluster):
    """Not under a guest, not where the other one is lost, and no foreign volume under the old one's name."""
    create(cluster)
    cluster.cut()
    for node in ("node1", "node2"):
        refused("last_copy", renewal.renew, *at(cluster, node), secrets=SECRETS)
    cluster.mend()
    cluster.nodes["node2"].volumes[NAME + ".aside"] = {"size_mib": 4, "tags": set(), "active": True, "content": "foreign"}
    refused("foreign_volume", renewal.renew, *at(cluster, "node2"), secrets=SECRETS)


def test_no_copy_is_set_aside_without_room_for_a_new_one(cluster):
    """Before any change."""
    create(cluster)
    cluster.nodes["node2"].size_mib = 300
    before = set(cluster.nodes["node2"].volumes)
    refused("no_space", renewal.renew, *at(cluster, "node2"), secrets=SECRETS)
    assert set(cluster.nodes["node2"].volumes) == before


def test_renewal_in_check_mode_changes_nothing(cluster):
    """It says what it would do."""
    create(cluster)
    executor = cluster.on("node2", check_mode=True)
    renewal.renew(executor, UUID, "node2", [DISK], SECRETS)
    assert any("rename volume" in change for change in executor.changes)
    assert set(cluster.nodes["node2"].volumes) == {NAME, NAME + "-meta"}


def test_removal_takes_what_was_set_aside(cluster):
    """Nothing of the disk stays."""
    create(cluster)
    renewal.renew(*at(cluster, "node2"), secrets=SECRETS)
    cluster.sync()
    stack.remove(*at(cluster, "node2"))
    assert cluster.nodes["node2"].volumes == {}
