# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""More of the cluster's own playbooks."""

from __future__ import annotations

import pathlib

from lab import accelerator, image


def test_node_add_predicts_what_it_would_mend(clean):
    clean.ssh("node2", "rm -f /etc/modules-load.d/gantry.conf")
    predicted = clean.play("node_add", "node2", check=True)
    assert predicted.ok and predicted.changed > 0, predicted.text
    run = clean.play("node_add", "node2")
    assert run.ok and run.changed > 0, run.text
    predicted = clean.play("node_add", "node2", check=True)
    assert predicted.ok and predicted.changed == 0, predicted.text


def test_node_add_refuses_everything_unasked(clean):
    run = clean.play("node_add")
    assert not run.ok and "unasked" in run.text


def test_cluster_info_shows_every_node(clean, counted):
    run = clean.play("cluster_info", count=True)
    assert run.ok and run.changed == 0
    counted("cluster_info, 3 nodes", run.calls, 3)
    for word in ("NODE", "node1", "node3", "10.77.0.12", "8.4.11"):
        assert word in run.text


def test_migration_key_opens_nothing_else(clean):
    key = "/etc/gantry/migration/id_ed25519"
    known = "/etc/gantry/migration/known_hosts"
    shell = clean.ssh("node1", "timeout 20 ssh -i %s -o UserKnownHostsFile=%s -o BatchMode=yes gantry-migrate@10.77.0.12 id </dev/null"
                      % (key, known), check=False)
    assert "uid=" not in shell
    uri = "qemu+ssh://gantry-migrate@10.77.0.12/system?keyfile=%s&known_hosts=%s&proxy=native&no_tty=1" % (key, known)
    assert "node2" in clean.ssh("node1", "timeout 60 virsh -c '%s' hostname" % uri)


def test_what_the_nodes_run_on_proves_itself(cluster):
    lab = cluster.made_of()
    proofs = {"kvm": accelerator.boot, "uml": accelerator.boot_uml}
    if lab["accelerator"] in proofs:
        result = proofs[lab["accelerator"]](image.Image(pathlib.Path(lab["images"]["linux"])))
        assert result["accelerator"] == lab["accelerator"], result["reason"]
