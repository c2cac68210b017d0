# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators declare, and the plan made of it: bad input is refused, good input becomes a record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_plan import choose_machine, plan
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_spec import differences, parse
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_space import metadata_mib
from ansible_collections.gantry.cluster.plugins.plugin_utils.units import parse_mib, show_mib

GOOD = {"gantry_memory": "512MiB", "gantry_disks": [{"size": "1GiB"}]}

BAD = [
    ("web_1", {}, "bad_name"),
    ("-web1", {}, "bad_name"),
    ("WEB1", {}, "bad_name"),
    ("web1..example.com", {}, "bad_name"),
    ("w" * 64, {}, "bad_name"),
    (".".join(["w" * 50] * 3), {}, "bad_name"),
    ("web1", {"gantry_memory": None}, "bad_size"),
    ("web1", {"gantry_memory": "0MiB"}, "bad_size"),
    ("web1", {"gantry_memory": "512"}, "bad_size"),
    ("web1", {"gantry_memory": 512}, "bad_size"),
    ("web1", {"gantry_memory": True}, "bad_size"),
    ("web1", {"gantry_disks": [{"size": "10"}]}, "bad_size"),
    ("web1", {"gantry_disks": [{"size": 10}]}, "bad_size"),
    ("web1", {"gantry_disks": [{"size": "10 apples"}]}, "bad_size"),
    ("web1", {"gantry_disks": [{"size": "-1GiB"}]}, "bad_size"),
    ("web1", {"gantry_disks": [{}]}, "bad_disk"),
    ("web1", {"gantry_disks": [{"size": "1GiB", "colour": "red"}]}, "bad_disk"),
    ("web1", {"gantry_disks": None}, "bad_disk"),
    ("web1", {"gantry_disk_template": "diskless"}, "bad_disk"),
    ("web1", {"gantry_disk_template": "floppy"}, "unknown_template"),
    ("web1", {"gantry_hypervisor": "bhyve"}, "unknown_hypervisor"),
    ("web1", {"gantry_vcpus": 0}, "bad_number"),
    ("web1", {"gantry_vcpus": "many"}, "bad_number"),
    ("web1", {"gantry_primary": "node1", "gantry_secondary": "node1"}, "same_node"),
    ("web1", {"gantry_secondary": "node1"}, "bad_nodes"),
    ("web1", {"gantry_disk_template": "plain", "gantry_primary": "node1", "gantry_secondary": "node2"}, "bad_nodes"),
    ("web1", {"gantry_nics": [{"mac": "52:54:00:00:00:01"}]}, "bad_nic"),
    ("web1", {"gantry_nics": [{"bridge": "br0", "mac": "01:00:5e:00:00:01"}]}, "bad_nic"),
    ("web1", {"gantry_nics": [{"bridge": "br0; rm"}]}, "bad_nic"),
    ("web1", {"gantry_image": "images/x.raw"}, "bad_path"),
    ("web1", {"gantry_initrd": "/boot/initrd"}, "bad_boot"),
    ("web1", {"gantry_tags": ["a b"]}, "bad_tag"),
    ("web1", {"gantry_machine": "pc' evil"}, "bad_machine"),
    ("web1", {"gantry_start": "perhaps"}, "bad_boolean"),
    ("web1\n", {}, "bad_name"),
    ("web1", {"gantry_tags": ["a\n"]}, "bad_tag"),
    ("web1", {"gantry_machine": "pc\n"}, "bad_machine"),
    ("web1", {"gantry_kernel": "/boot/a\nb"}, "bad_path"),
    ("web1", {"gantry_kernel_args": "a\x00b"}, "bad_boot"),
    ("web1", {"gantry_hvparams": {"acpy": True}}, "unknown_hvparam"),
    ("web1", {"gantry_hvparams": "vga"}, "bad_hvparam"),
    ("web1", {"gantry_hvparams": {"vnc_bind_address": "0.0.0.0"}}, "bad_hvparam"),
    ("web1", {"gantry_kernel": "/a", "gantry_hvparams": {"kernel_path": "/b"}}, "bad_boot"),
    ("web1", {"gantry_domain_template": "../../etc/passwd"}, "bad_template"),
    ("web1", {"gantry_disks": ["1GiB"] * 17}, "bad_disk"),
    ("web1", {"gantry_hypervisor": "lxc", "gantry_disks": ["1GiB", "1GiB"]}, "bad_disk"),
    ("web1", {"gantry_hypervisor": "lxc", "gantry_disk_template": "diskless", "gantry_disks": []}, "bad_disk"),
    ("web1", {"gantry_hypervisor": "lxc", "gantry_kernel": "/boot/k"}, "bad_boot"),
    ("web1", {"gantry_hypervisor": "lxc", "gantry_machine": "q35"}, "bad_machine"),
]


def code(function, *args):
    """The code of the refusal."""
    with pytest.raises(GantryError) as refusal:
        function(*args)
    return refusal.value.code


@pytest.mark.parametrize(("name", "variables", "expected"), BAD)
def test_bad_input_is_refused(name, variables, expected):
    assert code(parse, name, dict(GOOD, **variables)) == expected


def test_a_survey_s_text_is_as_good_as_numbers():
    typed = parse("web1", dict(GOOD, gantry_vcpus=2, gantry_tags=["a", "b"], gantry_start=False))
    texts = parse("web1", {"gantry_memory": "512 MiB", "gantry_disks": "1GiB", "gantry_vcpus": " 2", "gantry_tags": "b, a",
                           "gantry_start": "no"})
    assert typed == texts


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_refused(text):
    try:
        assert parse_mib(text, "size") > 0
    except GantryError as refusal:
        assert refusal.code == "bad_size"


@given(st.integers(1, 10**7))
def test_sizes_are_shown_as_they_can_be_read_back(mib):
    assert abs(parse_mib("%dMiB" % mib, "size") - mib) == 0
    assert show_mib(mib)


@pytest.mark.parametrize(("size", "expected"), [(1, 2), (64, 2), (32768, 2), (32769, 3), (1024 * 1024, 33), (16 * 1024 * 1024, 513)])
def test_metadata_grows_with_the_disk(size, expected):
    assert metadata_mib(size) == expected


def observe(node, memory=1024, disk=4096, **more):
    """What a healthy node shows."""
    info = {
        "memory_total_mib": 2048, "memory_free_mib": memory, "cpus": 1, "bridges": ["br0"], "domains": [], "volumes": [], "paths": {},
        "libvirt": {"ok": True, "machines": {"pc": "pc-i440fx-7.2"}, "machine_list": ["pc-i440fx-7.2", "pc-i440fx-7.1"],
                    "domain_types": ["qemu"]},
        "drbd": {"ok": True}, "drbd_resources": {},
        "volume_groups": {"gantry": {"size_mib": 8192, "free_mib": disk, "extent_mib": 4}},
    }
    info.update(more)
    return {"node": node, "reachable": True, "error": None, "node_info": info}


NODES = {name: {"name": name, "hostname": name, "address": "10.0.0.%s" % name[-1], "vg": "gantry", "group": "default"}
         for name in ("node1", "node2", "node3")}


def planned(variables=(), observations=None, instances=(), nodes=None, name="web1"):
    """Plan one instance."""
    spec = parse(name, dict(GOOD, **dict(variables)))
    seen = observations or [observe(node) for node in NODES]
    return plan([spec], dict(instances), NODES if nodes is None else nodes, seen)[name]


def test_a_plan_names_nodes_machine_and_disks():
    record = planned()["record"]
    assert (record["primary"], record["secondary"]) == ("node1", "node2")
    assert record["machine"] == "pc-i440fx-7.2" and record["domain_type"] == "qemu"
    assert record["disks"][0]["name"] == "web1-disk0" and sorted(record["disks"][0]["nodes"]) == ["node1", "node2"]


def test_the_emptier_nodes_are_chosen():
    record = planned(observations=[observe("node1", memory=700), observe("node2"), observe("node3", disk=3000)])["record"]
    assert record["primary"] == "node2"


def test_two_of_one_run_do_not_count_on_the_same_memory():
    specs = [parse(name, dict(GOOD, gantry_memory="700MiB", gantry_disk_template="plain")) for name in ("a", "b", "c")]
    plans = plan(specs, {}, NODES, [observe(node) for node in NODES])
    assert sorted(one["record"]["primary"] for one in plans.values()) == ["node1", "node2", "node3"]


REFUSED = [
    ({"gantry_primary": "node9", "gantry_secondary": "node1"}, {}, "unknown_node"),
    ({"gantry_primary": "node1", "gantry_secondary": "node2"}, {"node2": {"disk": 100}}, "no_space"),
    ({"gantry_primary": "node1", "gantry_secondary": "node2"}, {"node1": {"memory": 100}}, "no_space"),
    ({"gantry_disks": [{"size": "9TiB"}]}, {}, "no_space"),
    ({"gantry_memory": "1TiB"}, {}, "no_space"),
    ({"gantry_nics": [{"bridge": "br9"}]}, {}, "no_bridge"),
    ({"gantry_image": "/srv/none.raw"}, {}, "unreadable_image"),
    ({"gantry_machine": "microvm"}, {}, "no_machine_type"),
    ({"gantry_primary": "node1", "gantry_secondary": "node2"}, {"node1": {"libvirt": {"ok": False, "error": "down"}}}, "node_unusable"),
    ({"gantry_primary": "node1", "gantry_secondary": "node2"}, {"node2": {"drbd": {"ok": False, "error": "no module"}}}, "no_drbd"),
    ({}, {"node3": {"domains": [{"name": "web1", "uuid": "x", "state": "shutoff", "memory_mib": 1}]}}, "duplicate"),
    ({}, {"node3": {"volumes": [{"vg": "gantry", "name": "web1-disk0", "tags": []}]}}, "duplicate"),
]


@pytest.mark.parametrize(("variables", "changed", "expected"), REFUSED)
def test_what_cannot_be_is_refused(variables, changed, expected):
    observations = [observe(node, **changed.get(node, {})) for node in NODES]
    assert code(planned, variables, observations) == expected


def test_a_silent_node_is_not_chosen():
    observations = [{"node": "node1", "reachable": False, "error": "timed out", "node_info": None}, observe("node2"), observe("node3")]
    assert planned(observations=observations)["record"]["primary"] == "node2"


def test_drbd_needs_two_nodes():
    only = {"node1": NODES["node1"]}
    assert code(planned, {}, [observe("node1")], {}, only) == "too_few_nodes"


def test_a_node_s_name_is_taken():
    assert code(planned, {}, None, {}, None, "node1") == "duplicate"


def test_the_image_must_fit():
    paths = {"/srv/a.raw": {"ok": True, "virtual_size_mib": 2048}}
    observations = [observe(node, paths=paths) for node in NODES]
    assert code(planned, {"gantry_image": "/srv/a.raw"}, observations) == "image_too_large"
    assert planned({"gantry_image": "/srv/a.raw", "gantry_disks": "2GiB"}, observations)["record"]["image"] == "/srv/a.raw"


def test_an_instance_that_exists_is_left_alone_or_refused():
    record = dict(planned()["record"], status="ready")
    assert planned(instances={"web1": record})["exists"] is True
    assert planned(instances={"web1": dict(record, status="creating")})["exists"] is False
    assert code(planned, {"gantry_memory": "600MiB"}, None, {"web1": record}) == "duplicate"
    assert code(planned, {}, None, {"web1": dict(record, pending={"verb": "remove"})}) == "removing"
    assert differences(parse("web1", GOOD), record) == []


def test_the_machine_is_the_newest_that_all_nodes_have():
    def node(name, newest, known):
        return {"name": name, "info": {"libvirt": {"machines": {"pc": newest}, "machine_list": known}}}
    old = node("node1", "pc-i440fx-7.2", ["pc-i440fx-7.2", "pc-i440fx-6.2"])
    new = node("node2", "pc-i440fx-10.0", ["pc-i440fx-10.0", "pc-i440fx-7.2", "pc-i440fx-6.2"])
    assert choose_machine("web1", "pc", [old, new]) == "pc-i440fx-7.2"
    assert choose_machine("web1", "pc-i440fx-6.2", [old, new]) == "pc-i440fx-6.2"
    assert code(choose_machine, "web1", "pc-i440fx-10.0", [old, new]) == "no_machine_type"


def with_settings(settings, variables=(), nodes=None, observations=None):
    """Plan one instance in a cluster with settings."""
    spec = parse("web1", dict(GOOD, **dict(variables)))
    seen = observations or [observe(node) for node in NODES]
    return plan([spec], {}, nodes or NODES, seen, settings)["web1"]["record"]


FIRMWARE = {path: {"ok": True, "virtual_size_mib": 1} for path in ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")}


def test_the_variables_of_uefi_lie_on_a_mirrored_disk_of_their_own():
    """So they are where the guest is, after a migration as after a failover."""
    seen = [observe(node, paths=FIRMWARE) for node in NODES]
    record = with_settings({}, {"gantry_hvparams": {"firmware": "efi"}}, observations=seen)
    assert [(disk["size_mib"], disk.get("purpose"), disk["template"]) for disk in record["disks"]] == [
        (1024, None, "drbd"), (4, "nvram", "drbd")]
    assert record["hvparams_settled"]["firmware"] == "efi"
    assert differences(parse("web1", dict(GOOD, gantry_hvparams={"firmware": "efi"})), record) == []
    # the cluster says so
    record = with_settings({"hvparams": {"kvm": {"firmware": "efi"}}}, observations=seen)
    assert record["disks"][-1]["purpose"] == "nvram" and record["hvparams"] == {}


def test_uefi_is_refused_where_it_cannot_work():
    wants = {"gantry_hvparams": {"firmware": "efi"}}
    assert code(with_settings, {}, wants) == "unreadable_image"
    large = {"gantry": {"size_mib": 8192, "free_mib": 4096, "extent_mib": 32}}
    seen = [observe(node, paths=FIRMWARE, volume_groups=large) for node in NODES]
    assert code(with_settings, {}, wants, None, seen) == "large_extents"


def disks(record):
    return [(disk["index"], disk["name"], disk["size_mib"], disk.get("purpose")) for disk in record["disks"]]


def test_the_state_of_a_tpm_lies_on_a_mirrored_disk_of_its_own():
    seen = [observe(node, paths=FIRMWARE) for node in NODES]
    wants = {"gantry_hvparams": {"tpm": "2.0"}}
    record = with_settings({}, wants)
    assert disks(record) == [(0, "web1-disk0", 1024, None), (1, "web1-disk1", 4, "tpm")]
    assert record["hvparams_settled"]["tpm"] == "2.0" and differences(parse("web1", dict(GOOD, **wants)), record) == []
    record = with_settings({}, {"gantry_hvparams": {"tpm": "2.0", "firmware": "efi"}}, observations=seen)
    assert disks(record)[1:] == [(1, "web1-disk1", 4, "nvram"), (2, "web1-disk2", 4, "tpm")]
    # without mirrored disks libvirt keeps it in a folder of the node
    assert disks(with_settings({}, dict(wants, gantry_disk_template="plain"))) == [(0, "web1-disk0", 1024, None)]


def test_only_the_group_it_comes_to_settles_which_disks_it_has():
    """Room is planned for what any group wants; the disks are numbered by what the chosen one does."""
    groups = {"a": {"hvparams": {"kvm": {"tpm": "2.0"}}}, "b": {"hvparams": {"kvm": {"firmware": "efi"}}}}
    for group, wanted in (("a", [(1, "web1-disk1", 4, "tpm")]), ("b", [(1, "web1-disk1", 4, "nvram")]), ("default", [])):
        nodes = {name: dict(node, group=group) for name, node in NODES.items()}
        seen = [observe(node, paths=FIRMWARE) for node in NODES]
        assert disks(with_settings({"groups": groups}, nodes=nodes, observations=seen))[1:] == wanted


@pytest.mark.parametrize(("tpm", "template", "refused"), [
    ({"lacking": ["swtpm", "swtpm-tools"], "hook": True}, "drbd", "apt install swtpm swtpm-tools"),
    ({"lacking": ["swtpm"], "hook": True}, "plain", "apt install swtpm"), ({"lacking": [], "hook": False}, "drbd", "node_add"),
    ({"lacking": [], "hook": False}, "plain", None), ({"lacking": [], "hook": True}, "drbd", None), (None, "drbd", None),
])
def test_a_node_that_cannot_give_a_tpm_is_refused_before_anything_is_touched(tpm, template, refused):
    wants = {"gantry_hvparams": {"tpm": "2.0"}, "gantry_disk_template": template}
    seen = [observe(node, tpm=tpm) for node in NODES]
    if not refused:
        with_settings({}, wants, observations=seen)
        return
    with pytest.raises(GantryError) as refusal:
        with_settings({}, wants, observations=seen)
    assert refusal.value.code == "no_tpm" and refused in refusal.value.mend
    with_settings({}, {"gantry_disk_template": template}, observations=seen)


def test_parameters_are_inherited_and_the_settled_ones_stay():
    settings = {"hvparams": {"kvm": {"vga": "cirrus", "nic_type": "e1000"}},
                "groups": {"default": {"hvparams": {"kvm": {"vga": "virtio"}}}}}
    record = with_settings(settings, {"gantry_nics": ["br0"], "gantry_hvparams": "rng=yes"})
    assert record["hvparams"] == {"rng": True}
    assert [record["hvparams_effective"][key] for key in ("vga", "rng", "nic_type")] == ["virtio", True, "e1000"]
    assert record["nics"][0]["model"] == "e1000"


def test_the_cluster_s_baseline_is_pinned():
    def seen(node, models):
        info = observe(node)
        info["node_info"]["libvirt"].update(domain_types=["kvm", "qemu"], cpu_models=models)
        return info
    nodes = [seen("node1", ["Haswell", "Nehalem"]), seen("node2", ["Haswell", "Nehalem"]), seen("node3", ["Nehalem"])]
    named = {"gantry_primary": "node1", "gantry_secondary": "node2"}
    assert with_settings({}, named, observations=nodes)["cpu_model"] == "Nehalem"
    assert with_settings({}, named)["cpu_model"] is None, "in emulation it is QEMU's own"
    assert code(with_settings, {}, dict(named, gantry_hvparams={"cpu_type": "EPYC"}), None, nodes) == "no_cpu_model"


def test_a_container_goes_where_containers_run():
    def seen(node):
        info = observe(node)
        info["node_info"]["libvirt"].update(domain_types=["lxc"], machine_list=[], machines={})
        return info
    nodes = {name: dict(node, hypervisors=["lxc"]) for name, node in NODES.items()}
    record = with_settings({}, {"gantry_hypervisor": "lxc", "gantry_nics": ["br0"]}, nodes, [seen(node) for node in NODES])
    assert (record["domain_type"], record["machine"], record["nics"][0]["model"]) == ("lxc", None, None)
    assert code(with_settings, {}, {"gantry_hypervisor": "lxc"}) == "no_space", "no node runs it"
