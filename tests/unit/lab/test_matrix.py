# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix of the hypervisors, and the variables of a firmware, as the lab's tests use them; no node is booted here."""

from __future__ import annotations

import pytest

from ansible_collections.gantry.cluster.lab import config, matrix, uefi
from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors


def result(hypervisor="kvm", template="drbd", verb="add", outcome=matrix.RAN, note=None, date="2026-01-02"):
    return {"hypervisor": hypervisor, "template": template, "verb": verb, "outcome": outcome, "note": note, "date": date,
            "suite": "bookworm"}


def test_there_is_a_cell_for_every_hypervisor_template_and_verb():
    assert set(matrix.HYPERVISORS) == set(hypervisors.names()) - {"fake"}
    assert set(matrix.HYPERVISORS.values()) == set(config.FLAVOURS)
    assert len(matrix.cells()) == len(set(matrix.cells())) == len(matrix.HYPERVISORS) * len(matrix.TEMPLATES) * len(matrix.VERBS)
    assert sorted(cell for flavour in config.FLAVOURS for cell in matrix.cells(flavour)) == sorted(matrix.cells())
    for playbook, _given in matrix.PLAYBOOKS.values():
        assert (config.ROOT / "playbooks" / (playbook + ".yml")).exists()


@pytest.mark.parametrize(("cell", "says"), [
    (("kvm", "drbd", "migrate"), None), (("kvm", "plain", "migrate"), "has only one node"), (("kvm", "plain", "reboot"), None),
    (("lxc", "drbd", "migrate"), "cannot migrate live"), (("lxc", "drbd", "migrate or failover"), None),
    (("lxc", "drbd", "failover"), None), (("lxc", "plain", "failover"), "has only one node"), (("xen-pv", "drbd", "migrate"), None),
    (("xen-hvm", "drbd", "add"), None), (("xen-pvh", "plain", "migrate or failover"), "has only one node"),
])
def test_what_is_impossible(cell, says):
    refusal = matrix.refusal(*cell)
    assert (refusal is None) is (says is None)
    assert says is None or says in refusal.says and refusal.reason


def test_the_runs_of_each_hypervisor_are_put_together(tmp_path):
    content, page = tmp_path / "matrix.json", tmp_path / "matrix.md"
    for found in ([result(verb="add"), result(verb="stop")], [result("lxc", outcome=matrix.IMPOSSIBLE, note="why")],
                  [result(verb="stop", outcome=matrix.FAILED, date="2026-01-03")]):
        matrix.record(found, content, page)
    kept = matrix.load(content)
    assert [(one["hypervisor"], one["verb"], one["outcome"]) for one in kept] == [
        ("kvm", "stop", "failed"), ("lxc", "add", "impossible")], "a row is that of its last run"
    text = page.read_text()
    assert "| `kvm` | `drbd` |  | failed |" in text and "| `lxc` | `drbd` | impossible (1) |" in text and "1. why" in text
    assert text == matrix.render(kept)
    with pytest.raises(ValueError, match="no result"):
        matrix.merge([], [result(verb="fly")])


def test_the_page_is_what_was_found():
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.render(matrix.load())


def firmware(room=256):
    """A variable file of a firmware that has never run."""
    store = uefi.STORE + (28 + room).to_bytes(4, "little") + b"\x5a\xfe" + bytes(6) + b"\xff" * room
    head = bytes(16) + uefi.VOLUME + bytes(8) + b"_FVH" + bytes(4) + (72).to_bytes(2, "little")
    return head + bytes(72 - len(head)) + store


def test_variables_of_a_firmware():
    owner, other = "11111111-2222-3333-4444-555555555555", "8be4df61-93ca-11d2-aa0d-00e098032b8c"
    data = firmware()
    assert uefi.variables(data) == {}
    for number, name in enumerate(("Odd", "Boot0000")):
        data = uefi.planted(data, (owner, other)[number], name, b"x" * (number + 1))
    assert len(data) == len(firmware()) and uefi.variables(data) == {(owner, "Odd"): b"x", (other, "Boot0000"): b"xx"}
    assert uefi.variables(bytes(1024) + data) == uefi.variables(data), "it lies at the end of a disk"
    place = data.find("Odd".encode("utf-16-le")) - uefi.HEAD.size
    deleted = data[:place + 2] + bytes([uefi.ADDED & uefi.DELETED]) + data[place + 3:]
    assert uefi.variables(deleted) == {(other, "Boot0000"): b"xx"}
    with pytest.raises(ValueError, match="no room"):
        uefi.planted(data, owner, "Large", bytes(300))
    for broken in (b"", bytes(4096), data.replace(uefi.STORE, bytes(16))):
        with pytest.raises(ValueError, match="no "):
            uefi.variables(broken)
