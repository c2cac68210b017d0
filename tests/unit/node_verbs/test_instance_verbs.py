# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks on instances that tell people something, whole: on a real registry, and nodes that pretend."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from bench import Bench  # noqa: E402  pylint: disable=wrong-import-position

#: Whole playbooks run against stand-in nodes: too slow for script/test --fast.
pytestmark = pytest.mark.playbook


@pytest.fixture(name="bench")
def _bench(tmp_path):
    bench = Bench(tmp_path)
    bench.instance("web1", "node1", "node2")
    bench.instance("web2", "node2", "node3", running=False)
    return bench


def test_declared_settings_become_the_record_s_once(bench):
    bench.hosts(web1={"gantry_memory": "1GiB", "gantry_hvparams": {"vga": "virtio"}}, web2={"gantry_nics": ["br0"]})
    before = bench.state.instances()
    run = bench.play("instance_modify", "--check", all=True)
    assert run.ok and run.changed == 4 and bench.state.instances() == before and bench.state.locks() == {}, run.text
    assert "web1 memory 512 MiB 1 GiB" in run.words and "web2 NIC 0 - bridged br0 virtio a new MAC address" in run.words
    run = bench.play("instance_modify", all=True)
    records = bench.state.instances()
    assert run.ok and records["web1"]["memory_mib"] == 1024 and records["web1"]["hvparams_effective"]["vga"] == "virtio", run.text
    assert records["web2"]["nics"][0]["mac"] in bench.state.allocations()["macs"]
    assert bench.state.locks() == {} and not any(record.get("pending") for record in records.values())
    called = len(bench.calls())
    run = bench.play("instance_modify", all=True)
    assert run.ok and run.changed == 0 and bench.state.instances() == records, run.text
    assert len(bench.calls()) == called, "nothing changes, so nobody has to be asked"


def test_one_that_cannot_be_changed_stops_all(bench):
    bench.hosts(web1={"gantry_memory": "1GiB"}, web2={"gantry_disks": ["1GiB"]})
    before = bench.state.instances()
    run = bench.play("instance_modify", all=True)
    assert not run.ok and "Instance web2: its disks cannot be changed by this verb" in run.words, run.text
    assert bench.calls() == [] and bench.state.instances() == before


def test_what_libvirt_refuses_is_taken_back(bench):
    bench.hosts(web2={})
    before = bench.state.instance("web2")
    bench.fail("node2", "domain", "this is no definition")
    run = bench.play("instance_modify", "-l", "web2", vcpus=2, nics="br0")
    after = bench.state.instance("web2")
    assert not run.ok and "this is no definition" in run.words, run.text
    assert dict(after, generation=None) == dict(before, generation=None, hvparams_effective=after["hvparams_effective"])
    assert bench.state.locks() == {} and bench.state.allocations()["macs"] == {}


def test_what_waits_is_shown(bench):
    bench.hosts(web1={}, web2={})
    bench.waits("node1", "web1", "memory: 1048576 instead of 524288")
    for verb, words in (("instance_info", ["-l", "web1"]), ("cluster_info", [])):
        run = bench.play(verb, *words)
        assert run.ok and run.changed == 0 and "1 setting waits for the next start" in run.words, run.text
    # web2 is off, so nothing can wait
    assert bench.calls().count("node1 domain_pending") == 2 and "node2 domain_pending" not in bench.calls()
    run = bench.play("instance_info", "-l", "web1", output="json")
    assert run.ok and "memory: 1048576 instead of 524288" in run.words, run.text


def test_copies_that_waiting_does_not_make_the_same_are_told(bench):
    bench.hosts(web2={})
    run = bench.play("instance_activate_disks", "-l", "web2")
    assert run.ok and "To mend" not in run.words, run.text
    bench.stick("node3", "disk 0 on node node3: its own disk is gone (Diskless)")
    run = bench.play("instance_activate_disks", "-l", "web2")
    assert run.ok and "Found: disk 0 on node node3: its own disk is gone (Diskless). To mend: see to the disk" in run.words, run.text
