# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify finds: nothing in a healthy cluster, each planted fault, and never a traceback."""

from __future__ import annotations

import json
import pathlib
import re
import xml.etree.ElementTree as ET

import cluster
import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor, node_facts
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import parse
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor
from ansible_collections.gantry.cluster.plugins.plugin_utils import verify
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify import output
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify.codes import CODES, OBJECT_TYPES, SEVERITIES
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = pathlib.Path(__file__).resolve().parents[3]
DRBD_DATA = ROOT / "tests/unit/drbd/data"

#: Ganeti's codes, all of them (CVErrorCode in Types.hs).
GANETI = set("""
    ECLUSTERCFG ECLUSTERCERT ECLUSTERCLIENTCERT ECLUSTERFILECHECK ECLUSTERDANGLINGNODES ECLUSTERDANGLINGINST
    EGROUPDIFFERENTPVSIZE EEXTAGS EINSTANCEBADNODE EINSTANCEDOWN EINSTANCELAYOUT EINSTANCEMISSINGDISK EINSTANCEFAULTYDISK
    EINSTANCEWRONGNODE EINSTANCESPLITGROUPS EINSTANCEPOLICY EINSTANCEUNSUITABLENODE EINSTANCEMISSINGCFGPARAMETER ENODEDRBD
    ENODEDRBDVERSION ENODEDRBDHELPER ENODEFILECHECK ENODEHOOKS ENODEHV ENODELVM ENODEN1 ENODENET ENODEOS ENODEORPHANINSTANCE
    ENODEORPHANLV ENODERPC ENODESSH ENODEVERSION ENODESETUP ENODETIME ENODEOOBPATH ENODEUSERSCRIPTS ENODEFILESTORAGEPATHS
    ENODEFILESTORAGEPATHUNUSABLE ENODESHAREDFILESTORAGEPATHUNUSABLE ENODEGLUSTERSTORAGEPATHUNUSABLE
""".split())


def test_a_healthy_cluster():
    assert cluster.look(cluster.healthy()) == []


@pytest.mark.parametrize("case", cluster.FAULTS, ids=[case["case"] for case in cluster.FAULTS])
def test_fault(case):
    """Exactly the expected findings, each complete."""
    findings = cluster.look(cluster.change(cluster.healthy(), case))
    assert cluster.found(findings) == sorted(cluster.whole(case["expect"]))
    for finding in findings:
        assert finding["severity"] == CODES[finding["code"]].severity
        assert finding["object_type"] == CODES[finding["code"]].object_type
        assert finding["found"] and finding["expected"] and finding["mend"], finding
        assert "{" not in finding["mend"] and "None" not in finding["mend"], finding
    if "says" in case:
        assert any(case["says"] in finding["found"] for finding in findings), [finding["found"] for finding in findings]


def test_every_code_is_planted():
    planted = {line.split()[0] for case in cluster.FAULTS for line in case["expect"]}
    assert planted == set(CODES)


def test_the_data_has_the_modules_form(tmp_path):
    """healthy.yml tells what the modules tell, no key more and none less."""
    (tmp_path / "etc/drbd.d").mkdir(parents=True)
    (tmp_path / "etc/drbd.d/x.res").write_text('resource "x" { }\n', encoding="utf-8")
    real = node_facts.collect(Executor(), hypervisor.drivers(["kvm"]), root=str(tmp_path), folder=str(tmp_path), timeout=1)
    state = parse.events2((DRBD_DATA / "9-healthy.events2").read_text(encoding="utf-8"))["web1.example.com-disk0"]
    for observation in cluster.healthy()["observations"].values():
        info = observation["node_info"]
        assert set(info) == set(real)
        for part in ("libvirt", "drbd", "lvm", "lvm_filter", "migration", "autostart_services"):
            assert set(info[part]) == set(real[part]), part
        for resource in info["drbd_resources"].values():
            # node_facts adds the evidence of a split brain
            assert set(resource) == set(state) | {"generations"}
            assert [set(volume) for volume in resource["volumes"]] == [set(volume) for volume in state["volumes"]]
        for binding in info["resource_bindings"].values():
            assert set(binding) == set(real["resource_bindings"]["x"])


def test_codes_are_well_formed():
    for code in CODES.values():
        assert code.severity in SEVERITIES and code.object_type in OBJECT_TYPES
        prefix = {"cluster": ("REGISTRY_", "CLUSTER_")}.get(code.object_type, (code.object_type.upper() + "_",))
        assert code.name.startswith(prefix), code.name
        assert code.ganeti is None or code.ganeti in GANETI, code.name
        assert code.meaning == code.meaning.rstrip(".") and code.mend == code.mend.rstrip(".")


def documented():
    """The table of docs/verify.md: (ours, Ganeti's, severity, meaning, what mends it)."""
    rows = []
    for line in (ROOT / "docs/verify.md").read_text(encoding="utf-8").splitlines():
        if re.match(r"\| `(REGISTRY|CLUSTER|NODE|INSTANCE|DISK)_", line):
            rows.append(tuple(cell.strip().strip("`") for cell in line.strip().strip("|").split(" | ")))
    return rows


def test_docs_and_code_list_the_same():
    names = str.maketrans({"{": "<", "}": ">"})
    wanted = [(code.name, code.ganeti or "", code.severity, code.meaning, code.mend.translate(names)) for code in CODES.values()]
    assert documented() == wanted


def test_each_of_ganetis_codes_is_accounted_for():
    """It stands beside one of ours, or in the table of those that have none."""
    assert len(GANETI) == 41
    text = (ROOT / "docs/verify.md").read_text(encoding="utf-8")
    beside = {code.ganeti for code in CODES.values() if code.ganeti}
    without = set(re.findall(r"`(E[A-Z0-9]+)`", text.partition("## Ganeti's codes without")[2]))
    assert beside | without == GANETI and not beside & without


# -- the worst first, ignoring, levels ------------------------------------------------------------------------------------

def faulty(*names):
    """The findings of several cases planted together."""
    data = cluster.healthy()
    for case in cluster.FAULTS:
        if case["case"] in names:
            cluster.change(data, case)
    return cluster.look(data)


MIXED = ("no fence device", "another kernel on one node", "autostart is on", "a sync")


def test_the_worst_comes_first():
    findings = faulty(*MIXED)
    assert [finding["code"] for finding in findings] == [
        "INSTANCE_AUTOSTART", "NODE_FENCE", "DISK_SYNCING", "CLUSTER_KERNEL_VERSIONS"]
    assert verify.worst(findings) == "error"
    assert verify.counts(findings) == {"error": 1, "warning": 2, "note": 1}
    assert output.summary(findings) == "1 error, 2 warnings, 1 note"


def test_ignored_codes_become_notes():
    findings = verify.ignore(faulty(*MIXED), ["instance_autostart", "NODE_FENCE"])
    assert verify.counts(findings) == {"error": 0, "warning": 1, "note": 3}
    assert verify.worst(findings) == "warning"
    assert sorted(finding["code"] for finding in findings if finding["ignored"]) == ["INSTANCE_AUTOSTART", "NODE_FENCE"]
    assert verify.ignore(findings, []) == findings


def test_a_mistyped_code_is_refused():
    with pytest.raises(GantryError) as refusal:
        verify.ignore([], ["NODE_FENCES"])
    assert refusal.value.code == "unknown_code" and "NODE_FENCES" in str(refusal.value)


def test_nothing_found():
    assert verify.worst([]) == "none"
    assert output.summary([]) == "nothing found"
    assert verify.counts([]) == {"error": 0, "warning": 0, "note": 0}


@pytest.mark.parametrize(("level", "bad"), [
    ("error", ["INSTANCE_AUTOSTART"]), ("warning", ["INSTANCE_AUTOSTART", "NODE_FENCE", "DISK_SYNCING"])])
def test_level(level, bad):
    assert [finding["code"] for finding in faulty(*MIXED) if verify.reaches(finding, level)] == bad


# -- text and XML -----------------------------------------------------------------------------------------------------------

def test_lines_are_ganetis():
    lines = [output.line(finding) for finding in faulty(*MIXED)]
    assert [line.split(":")[:4] for line in lines] == [
        ["ERROR", "INSTANCE_AUTOSTART", "instance", "web1.example.com"],
        ["WARNING", "NODE_FENCE", "node", "node2"],
        ["WARNING", "DISK_SYNCING", "disk", "web1.example.com-disk0"],
        ["NOTE", "CLUSTER_KERNEL_VERSIONS", "cluster", "cluster.example.com"],
    ]
    assert lines[1].split(":", 4)[4] == (
        "No fence device is configured, so a failover from this node needs your word. Found: gantry_fence is empty. "
        "Expected: at least one fence device. To mend: set gantry_fence for node2.")


def test_table():
    text = output.table(verify.ignore(faulty(*MIXED), ["NODE_FENCE"]))
    rows = text.splitlines()
    assert rows[0].split() == ["SEVERITY", "CODE", "OBJECT", "FOUND", "TO", "MEND"]
    assert rows[2].startswith("error ") and "instance web1.example.com" in rows[2]
    assert any(row.startswith("note (ignored)") and "NODE_FENCE" in row for row in rows)


def read_junit(findings, level):
    """The XML through a parser: ({suite: (tests, failures)}, {case: failed}, root)."""
    root = ET.fromstring(output.junit(findings, level, "cluster.example.com"))
    suites = {suite.get("name"): (int(suite.get("tests")), int(suite.get("failures"))) for suite in root}
    for suite in root:
        assert suite.tag == "testsuite" and {case.tag for case in suite} == {"testcase"}
        assert len(suite) == int(suite.get("tests"))
        assert len(suite.findall("testcase/failure")) == int(suite.get("failures"))
        assert {case.get("classname") for case in suite} == {suite.get("name")}
    cases = {case.get("name"): case.find("failure") is not None for case in root.iter("testcase")}
    assert len(cases) == len(list(root.iter("testcase"))), "two cases with one name would be one to a CI server"
    assert int(root.get("tests")) == len(cases) and int(root.get("failures")) == sum(cases.values())
    return suites, cases, root


def test_junit_of_a_healthy_cluster():
    suites, cases, root = read_junit([], "warning")
    assert root.tag == "testsuites" and "cluster.example.com" in root.get("name")
    assert set(cases) == set(CODES) and not any(cases.values())
    assert list(suites) == ["gantry.verify." + kind for kind in OBJECT_TYPES]


def test_junit_of_findings():
    findings = faulty(*MIXED)
    _suites, cases, root = read_junit(findings, "error")
    assert [name for name, failed in cases.items() if failed] == ["INSTANCE_AUTOSTART web1.example.com on node1"]
    failure = root.find(".//failure")
    assert failure.get("type") == "error" and failure.text.startswith("ERROR:INSTANCE_AUTOSTART:instance:web1.example.com:")
    assert "virsh autostart --disable" in failure.get("message")
    below = next(case for case in root.iter("testcase") if case.get("name") == "NODE_FENCE node2")
    assert below.find("system-out").text.startswith("WARNING:NODE_FENCE:")
    assert "INSTANCE_AUTOSTART" not in cases and cases["INSTANCE_TWICE"] is False
    _suites, cases, _root = read_junit(findings, "warning")
    assert len([name for name, failed in cases.items() if failed]) == 3


def test_junit_with_the_same_finding_twice():
    data = cluster.healthy()
    cluster.change(data, {"set": {"node1/autostart_services": {"drbd": True, "libvirt-guests": True}}})
    _suites, cases, _root = read_junit(cluster.look(data), "error")
    assert [name for name, failed in cases.items() if failed] == ["NODE_AUTOSTART_SERVICE node1", "NODE_AUTOSTART_SERVICE node1 (2)"]


@pytest.mark.parametrize("text", ["\x00\x1b[31m", "<a>&\"'", "\ud800", "two\nlines", "]]>"])
def test_no_text_breaks_the_output(text):
    data = cluster.healthy()
    data["observations"]["node2"] = {"node": "node2", "reachable": False, "error": text, "node_info": None}
    findings = cluster.look(data)
    assert "NODE_UNREACHABLE" in {finding["code"] for finding in findings}
    read_junit(findings, "warning")
    output.junit(findings, "error").encode("utf-8")
    for line in [output.line(finding) for finding in findings] + output.table(findings).splitlines():
        assert line.isprintable()


# -- no observation, however broken, makes a traceback -------------------------------------------------------------------------

def paths(value, path=()):
    """The path of every key and item of the data."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield path + (step,)
        yield from paths(inner, path + (step,))


PATHS = list(paths(cluster.healthy()))
BROKEN = (None, "", "nonsense", 0, -1, 10 ** 400, float("nan"), float("inf"), True, [], {}, [None], {"x": None}, [[]], {"a": {"b": []}})


def at(data, path):
    """The container and the last step, or None where an earlier change took it away."""
    for step in path[:-1]:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    fits = isinstance(data, dict) and path[-1] in data
    if isinstance(data, list):
        fits = isinstance(path[-1], int) and path[-1] < len(data)
    return data if fits else None


def must_not_raise(data):
    """Everything that is made of findings can be made."""
    findings = cluster.look(data)
    json.dumps(findings)
    for finding in findings:
        output.line(finding)
    output.table(findings)
    ET.fromstring(output.junit(findings, "warning"))
    return findings


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(BROKEN + ("delete",))), min_size=1, max_size=6))
def test_no_broken_part_makes_a_traceback(changes):
    data = cluster.healthy()
    for path, value in changes:
        place = at(data, path)
        if place is None:
            continue
        if value == "delete":
            del place[path[-1]]
        else:
            place[path[-1]] = value
    if isinstance(data.get("observations"), dict) and {"content", "controller"} <= set(data):
        must_not_raise(data)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["node", "node_info", "reachable", "domains", "name", "uuid", "volumes", "libvirt", "x"]) | st.text(max_size=2),
        inner, max_size=4),
    max_leaves=12)


@settings(max_examples=200)
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_nothing_at_all_makes_a_traceback(content, observations, controller, before):
    assert isinstance(verify.verify(content, observations, controller, before), list)


@pytest.mark.parametrize("key", sorted(cluster.healthy()["observations"]["node1"]["node_info"]))
@pytest.mark.parametrize("value", [None, "nonsense", "delete"])
def test_a_missing_part_is_no_other_finding(key, value):
    """What a node did not tell is said to be missing; nothing wrong is concluded from it about its instances and disks."""
    data = cluster.healthy()
    if value == "delete":
        del data["observations"]["node2"]["node_info"][key]
    else:
        data["observations"]["node2"]["node_info"][key] = value
    findings = must_not_raise(data)
    # what verify does not look at may be missing
    unread = ("cpus", "cpu", "boot_id", "paths", "pci_devices", "tcp_ports", "vlan_bridges", "tpm")
    unknown = {"libvirt": ["INSTANCE_NODE_DOWN db1.example.com"], "domains": ["INSTANCE_NODE_DOWN db1.example.com"]}
    names = {"hostname": ["NODE_HOSTNAME node2"], "kernel": ["CLUSTER_KERNEL_VERSIONS cluster.example.com"],
             "architecture": ["CLUSTER_ARCHITECTURES cluster.example.com"]}
    if key in unread:
        wanted = []
    elif key in names and value == "nonsense":
        wanted = names[key]
    else:
        wanted = ["NODE_INCOMPLETE node2"] + unknown.get(key, [])
    assert cluster.found(findings) == sorted(wanted)
