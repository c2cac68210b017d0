# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry is deleted, and rebuilt from the nodes: all instances as before, every verb works, nothing dead comes back."""

from __future__ import annotations

import json

import pytest

MIRRORED, STOPPED, PLAIN = "rec1.example.com", "rec2.example.com", "rec3.example.com"
CLUSTER = {"cluster_name": "test.example.com"}


@pytest.fixture(name="lose")
def _lose(clean):
    """Takes the registry away; puts it back should the test end without another one."""
    kept = {}
    paths = [clean.folder / ("registry.db" + tail) for tail in ("", "-wal", "-shm")]

    def lose():
        for path in paths:
            if path.exists():
                kept[path] = path.read_bytes()
                path.unlink()

    yield lose
    if kept and not paths[0].exists():
        for path, content in kept.items():
            path.write_bytes(content)


def content(cluster):
    """What must come back: all but the journal, what the watcher keeps, and when the cluster was made."""
    return {key: {name: value for name, value in entry.items() if name != "created" or key != "cluster"}
            for key, entry in cluster.registry().items() if not key.startswith(("operations/", "watch/"))}


def recover(cluster, **options):
    """Run cluster_recover."""
    return cluster.play("cluster_recover", **CLUSTER, **options)


def test_a_deleted_registry_comes_back(clean, guest, lose, counted):
    cluster = clean
    guest(MIRRORED, primary="node1", secondary="node2", nics=[{"bridge": "br0"}])
    guest(STOPPED, primary="node2", secondary="node3")
    guest(PLAIN, primary="node3", disk_template="plain")
    run = cluster.play("instance_add", ",".join((MIRRORED, STOPPED, PLAIN)))
    assert run.ok, run.text
    assert cluster.play("instance_migrate", MIRRORED, target_node="node2").ok
    assert cluster.play("instance_stop", STOPPED).ok
    before = content(cluster)
    secrets = [secret for key, entry in before.items() if key.startswith("secrets/") for secret in entry.values()]
    lose()

    run = recover(cluster, check=True)
    assert run.ok and run.changed > 0 and MIRRORED in run.text and not (cluster.folder / "registry.db").exists(), run.text
    run = recover(cluster, count=True)
    assert run.ok and run.changed > 0, run.text
    counted("cluster_recover, 3 nodes", run.calls, 3)
    assert not [secret for secret in secrets if secret in run.text], "a secret is told"
    assert content(cluster) == before
    assert cluster.violations() == []
    run = recover(cluster)
    assert run.ok and run.changed == 0, run.text
    assert cluster.play("node_add", all=True).changed == 0, "the nodes are registered as node_add does it"

    # the verbs go on
    run = cluster.play("instance_migrate", MIRRORED, target_node="node1")
    assert run.ok and cluster.instance(MIRRORED)["primary"] == "node1" and cluster.violations() == [], run.text
    run = cluster.play("instance_start", STOPPED)
    assert run.ok and cluster.violations() == [], run.text
    run = cluster.play("instance_reboot", PLAIN)
    assert run.ok and cluster.violations() == [], run.text
    name = guest("rec4.example.com", primary="node1", secondary="node2")
    run = cluster.play("instance_add", name)
    assert run.ok and cluster.violations() == [], run.text


def test_what_contradicts_is_left_out(clean, guest, lose):
    cluster = clean
    guest(MIRRORED, primary="node1", secondary="node2")
    guest(STOPPED, primary="node2", secondary="node3")
    assert cluster.play("instance_add", ",".join((MIRRORED, STOPPED))).ok
    before = content(cluster)
    uuid = cluster.instance(MIRRORED)["uuid"]
    path = "/var/lib/gantry/instances/%s.json" % uuid
    lose()
    text = cluster.ssh("node2", "cat " + path)
    memory = json.loads(text)
    memory["record"]["memory_mib"] = 1
    cluster.ssh("node2", "cat > %s <<'END'\n%s\nEND" % (path, json.dumps(memory)))
    run = recover(cluster)
    assert not run.ok and "different records" in run.words and cluster.instance(MIRRORED) is None, run.text
    assert cluster.instance(STOPPED) == before["instances/" + STOPPED], "one that contradicts does not stop the other"
    run = recover(cluster, recover_accept={MIRRORED: "node1"})
    assert run.ok and cluster.instance(MIRRORED) == before["instances/" + MIRRORED], run.text
    assert content(cluster) == before
    run = cluster.play("instance_migrate", MIRRORED, target_node="node2")
    assert run.ok and cluster.violations() == [], run.text


def test_a_removed_instance_does_not_come_back(clean, guest, lose):
    cluster = clean
    guest(MIRRORED, primary="node1", secondary="node2")
    assert cluster.play("instance_add", MIRRORED).ok
    uuid = cluster.instance(MIRRORED)["uuid"]
    path = "/var/lib/gantry/instances/%s.json" % uuid
    text = cluster.ssh("node1", "cat " + path)
    assert cluster.play("instance_remove", MIRRORED).ok
    lose()
    cluster.ssh("node1", "cat > %s <<'END'\n%s\nEND" % (path, text))
    try:
        run = recover(cluster)
        assert run.ok and "only the record is left" in run.words, run.text
        assert cluster.instance(MIRRORED) is None
    finally:
        cluster.ssh("node1", "rm " + path)


def test_a_dead_node_s_instances_wait(clean, guest, lose):
    cluster = clean
    guest(MIRRORED, primary="node1", secondary="node2")
    assert cluster.play("instance_add", MIRRORED).ok
    before = content(cluster)
    lose()
    cluster.power_off("node2")
    try:
        run = recover(cluster)
        assert not run.ok and "may hold a newer record" in run.words and cluster.instance(MIRRORED) is None, run.text
    finally:
        cluster.power_on("node2")
    run = recover(cluster)
    assert run.ok and content(cluster) == before, run.text
    run = cluster.play("instance_start", MIRRORED)
    assert run.ok, run.text
    cluster.wait_redundant("node1", MIRRORED + "-disk0")
    assert cluster.violations() == []
