# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin, through Ansible's own commands and a real registry."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
from ansible.template import is_trusted_as_template

from ansible_collections.gantry.cluster.plugins.inventory import registry as plugin
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import Delete, Put

ROOT = pathlib.Path(__file__).resolve().parents[3]
COLLECTIONS = ROOT.parents[2] if ROOT.parent.parent.name == "ansible_collections" else ROOT / "collections"

NODES = {
    "node1": {"name": "node1", "group": "rack-a", "offline": False, "drained": False, "address": "10.77.0.11"},
    "node2": {
        "name": "node2", "group": "rack-a", "offline": False, "drained": True, "address": "10.77.0.12",
        "connection": {
            "ansible_host": "127.0.0.1", "ansible_port": 2202, "ansible_user": "admin",
            "ansible_ssh_common_args": "-o ProxyCommand=evil",
        },
    },
    "node3": {"name": "node3", "group": "default", "offline": True, "drained": False, "address": "10.77.0.13"},
}


def instance(name, **changes):
    """A record as instance_add writes it."""
    return dict({
        "name": name, "uuid": "u-" + name, "generation": 3, "status": "ready", "admin_state": "up", "hypervisor": "kvm",
        "disk_template": "drbd", "primary": "node1", "secondary": "node2", "memory_mib": 1024, "vcpus": 2,
        "machine": "pc-q35-7.2", "disks": [], "nics": [], "tags": [], "group": "rack-a",
    }, **changes)


INSTANCES = {
    "web1.example.com": instance("web1.example.com", tags=["shop", "tier-1"]),
    "db1.example.com": instance(
        "db1.example.com", primary="node2", secondary=None, disk_template="plain", admin_state="down",
    ),
    "new.example.com": instance("new.example.com", status="creating", tags=["{{ boom }}", ""]),
    "old.example.com": instance("old.example.com", status="creating", group=None, tags=None),
}


def fill(url, nodes, instances):
    """A registry with this in it."""
    writes = [Put("nodes/" + name, value) for name, value in nodes.items()]
    writes += [Put("instances/" + name, value) for name, value in instances.items()]
    writes += [Put("groups/spare", {"name": "spare"}), Put("cluster", {})]
    writes += [Put("secrets/u-web1.example.com", {"0": "deadbeef"})]
    with open_registry(url, create=True) as registry:
        registry.transaction([], writes)


@pytest.fixture
def url(tmp_path):
    """The URL of a registry with nodes and instances."""
    url = "sqlite://%s" % (tmp_path / "state" / "registry.db")
    fill(url, NODES, INSTANCES)
    return url


@pytest.fixture
def folder(tmp_path):
    """The inventory's folder."""
    folder = tmp_path / "inventory"
    folder.mkdir()
    return folder


@pytest.fixture
def ansible(tmp_path):
    """Runs one of Ansible's commands away from the user's settings."""
    def run(command, *arguments, status=0, **environment):
        trap = tmp_path / "trap"
        trap.mkdir(exist_ok=True)
        config = tmp_path / "ansible.cfg"
        config.write_text("[defaults]\n", encoding="ascii")
        (trap / "libvirt.py").write_text("raise RuntimeError('not needed here')\n", encoding="ascii")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "GANTRY_"))}
        clean.update(
            ANSIBLE_HOME=str(tmp_path / "home"), ANSIBLE_CONFIG=str(config), ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS),
            ANSIBLE_NOCOLOR="1", ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="1", PYTHONPATH=str(trap), COLUMNS="10000",
        )
        clean.update(environment)
        done = subprocess.run(
            [sys.executable, "-m", "ansible", command, *arguments], env=clean, cwd=tmp_path, capture_output=True,
            text=True, timeout=120, check=False,
        )
        assert bool(done.returncode) == bool(status), done.stdout + done.stderr
        return done
    return run


@pytest.fixture
def listing(ansible):
    """The parsed inventory: (hostvars, group -> set of hosts)."""
    def run(source, *arguments, **environment):
        shown = json.loads(ansible("inventory", "-i", str(source), "--list", *arguments, **environment).stdout)
        hostvars = shown.pop("_meta")["hostvars"]

        def hosts(group):
            inside = set(shown.get(group, {}).get("hosts", []))
            return inside.union(*(hosts(child) for child in shown.get(group, {}).get("children", [])))

        names = {name for group in shown.values() for name in group.get("children", [])} | set(shown)
        return hostvars, {name: hosts(name) for name in names}
    return run


def plain(value):
    """Text that Ansible composed, without the mark that it must not be evaluated again."""
    return value["__ansible_unsafe"] if isinstance(value, dict) else value


def write(folder, text, name="gantry.yml"):
    """The plugin's file."""
    path = folder / name
    path.write_text("plugin: gantry.cluster.registry\n" + text, encoding="utf-8")
    return path


# -- pure parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("record", "status"), [
    ({"status": "ready", "admin_state": "up"}, "up"),
    ({"status": "ready", "admin_state": "down"}, "down"),
    ({"status": "creating", "admin_state": "up"}, "creating"),
    ({}, None),
])
def test_status_of(record, status):
    assert plugin.status_of(record) == status


def test_groups_of():
    assert plugin.groups_of(INSTANCES["web1.example.com"]) == [
        ("primary", "node1"), ("secondary", "node2"), ("group", "rack-a"), ("hypervisor", "kvm"), ("template", "drbd"),
        ("status", "up"), ("tag", "shop"), ("tag", "tier-1"),
    ]


@pytest.mark.parametrize("record", [
    {}, {"tags": "shop"}, {"tags": [None, 7, "", {}]}, {"primary": ["node1"], "status": 7},
])
def test_groups_of_a_strange_record(record):
    assert plugin.groups_of(record) == []


@pytest.mark.parametrize("text", ["", "web1", "a}b", "10%", "a # b", "\u2028"])
def test_harmless_text(text):
    marked = plugin.harmless({"a": [text, 1, None]})
    assert marked == {"a": [text, 1, None]}
    assert is_trusted_as_template(marked["a"][0])


@pytest.mark.parametrize("text", ["{{ x }}", "a{%", "{", "{#", "#jinja2: variable_start_string:'[%'\n[% x %]"])
def test_harmful_text(text):
    assert not is_trusted_as_template(plugin.harmless([text])[0])


@pytest.mark.parametrize(("name", "good"), [
    ("gantry.yml", True), ("gantry.yaml", True), ("10-gantry.yml", True), ("registry.yml", True),
    ("prod.registry.yaml", True),
    ("hosts.yml", False), ("gantry.ini", False), ("gantry.yml.orig", False),
])
def test_verify_file(folder, name, good):
    path = write(folder, "", name)
    assert plugin.InventoryModule().verify_file(str(path)) is good


def test_verify_file_needs_a_file(folder):
    assert plugin.InventoryModule().verify_file(str(folder / "gantry.yml")) is False


# -- what is listed ---------------------------------------------------------------------------------------------


def test_hosts_groups_and_variables(folder, url, listing):
    hostvars, groups = listing(write(folder, "registry: '%s'\n" % url))
    everyone = set(INSTANCES)
    assert groups["gantry_instances"] == everyone
    assert groups["gantry_nodes"] == set(NODES)
    assert {name: hosts for name, hosts in groups.items() if hosts and name.startswith("gantry_")} == {
        "gantry_instances": everyone,
        "gantry_nodes": set(NODES),
        "gantry_primary_node1": everyone - {"db1.example.com"},
        "gantry_primary_node2": {"db1.example.com"},
        "gantry_secondary_node2": everyone - {"db1.example.com"},
        "gantry_group_rack_a": everyone - {"old.example.com"},
        "gantry_nodegroup_rack_a": {"node1", "node2"},
        "gantry_nodegroup_default": {"node3"},
        "gantry_hypervisor_kvm": everyone,
        "gantry_template_drbd": everyone - {"db1.example.com"},
        "gantry_template_plain": {"db1.example.com"},
        "gantry_status_up": {"web1.example.com"},
        "gantry_status_down": {"db1.example.com"},
        "gantry_status_creating": {"new.example.com", "old.example.com"},
        "gantry_tag_shop": {"web1.example.com"},
        "gantry_tag_tier_1": {"web1.example.com"},
        "gantry_tag____boom___": {"new.example.com"},
    }
    empty = {"gantry_primary_node3", "gantry_secondary_node3", "gantry_group_spare", "gantry_nodegroup_spare"}
    assert empty <= set(groups)
    web1 = hostvars["web1.example.com"]
    assert web1["gantry_record"] == INSTANCES["web1.example.com"]
    assert {name: value for name, value in web1.items() if name != "gantry_record"} == {
        "gantry_record_" + field: INSTANCES["web1.example.com"][field] for field in plugin.FIELDS
    }
    # Only what looks like a template is marked, so that AWX shows the rest as it is.
    assert hostvars["new.example.com"]["gantry_record_tags"] == [{"__ansible_unsafe": "{{ boom }}"}, ""]
    assert hostvars["node1"] == {"gantry_node_record": NODES["node1"]}
    assert hostvars["node2"] == {
        "gantry_node_record": NODES["node2"],
        "ansible_host": "127.0.0.1", "ansible_port": 2202, "ansible_user": "admin",
    }
    assert "deadbeef" not in json.dumps(hostvars)


def test_text_is_never_evaluated(folder, url, ansible):
    record = instance("{{boom}}", machine="{% raw", tags=["{{ lookup('pipe', 'touch evaluated') }}"])
    with open_registry(url) as registry:
        registry.transaction([], [Put("instances/{{boom}}", record)])
    write(folder, "registry: '%s'\ncompose:\n  copied: gantry_record.tags\n  named: gantry_record.name\n" % url)
    done = ansible(
        "adhoc", "-i", str(folder), "gantry_instances", "-m", "ansible.builtin.debug",
        "-a", "msg=\"{{ [gantry_record, gantry_record_tags, copied, named, inventory_hostname] }}\"",
    )
    assert "lookup('pipe', 'touch evaluated')" in done.stdout
    assert "{% raw" in done.stdout
    assert "{{ boom }}" in done.stdout
    assert not (folder.parent / "evaluated").exists()


def test_constructed(folder, url, listing):
    hostvars, groups = listing(write(folder, """
registry: '%s'
strict: true
include_nodes: false
hostvar_prefix: cluster_
compose:
  ansible_host: cluster_record.name ~ '.guests'
groups:
  busy: cluster_record.vcpus > 1 and cluster_record_status == 'ready'
keyed_groups:
  - key: cluster_record.machine
    prefix: machine
  - key: cluster_record.tags or []
    prefix: tag
""" % url))
    assert groups["busy"] == {"web1.example.com", "db1.example.com"}
    assert groups["machine_pc_q35_7_2"] == set(INSTANCES)
    assert groups["tag____boom___"] == {"new.example.com"}
    assert plain(hostvars["web1.example.com"]["ansible_host"]) == "web1.example.com.guests"
    assert hostvars["web1.example.com"]["cluster_record_primary"] == "node1"
    assert not any(name.startswith("gantry_") for name in hostvars["web1.example.com"])
    assert set(hostvars) == set(INSTANCES)
    assert groups.get("gantry_nodes", set()) == set()


def test_strict_tells_what_fails(folder, url, ansible, listing):
    path = write(folder, "registry: '%s'\nstrict: true\ncompose:\n  x: gantry_record.machine\n" % url)
    assert "node1" in ansible("inventory", "-i", str(path), "--list", status=1).stderr
    hostvars = listing(write(folder, "registry: '%s'\ncompose:\n  x: gantry_record.machine\n" % url))[0]
    assert plain(hostvars["web1.example.com"]["x"]) == "pc-q35-7.2"
    assert "x" not in hostvars["node1"]


def test_beside_static_inventory(folder, url, listing):
    """What the user declares stays what it is, whichever file is read first."""
    (folder / "10-static.yml").write_text("""
gantry_instances:
  hosts:
    web1.example.com:
      gantry_primary: node9
      gantry_memory: 4G
      gantry_tags: [declared]
    planned.example.com:
      gantry_memory: 1G
gantry_nodes:
  vars:
    ansible_user: root
  hosts:
    node2:
      ansible_port: 22
""", encoding="utf-8")
    (folder / "zz-static.ini").write_text("[gantry_instances]\ndb1.example.com gantry_memory=8G\n", encoding="utf-8")
    (folder / "group_vars").mkdir()
    (folder / "group_vars" / "all.yml").write_text(
        "gantry_registry: 'sqlite://{{ inventory_dir }}/../state/{{ database }}'\ndatabase: registry.db\n",
        encoding="utf-8",
    )
    write(folder, "")
    hostvars, groups = listing(folder)
    assert groups["gantry_instances"] == {*INSTANCES, "planned.example.com"}
    web1 = hostvars["web1.example.com"]
    assert (web1["gantry_primary"], web1["gantry_memory"], web1["gantry_tags"]) == ("node9", "4G", ["declared"])
    assert web1["gantry_record"]["primary"] == "node1"
    assert hostvars["db1.example.com"]["gantry_memory"] == "8G"
    assert hostvars["db1.example.com"]["gantry_record_memory_mib"] == 1024
    assert "gantry_record" not in hostvars["planned.example.com"]
    node2 = hostvars["node2"]
    assert (node2["ansible_host"], node2["ansible_port"], node2["ansible_user"]) == ("127.0.0.1", 22, "root")


def test_connection_from_variable_files_stays(folder, url, listing):
    write(folder, "registry: '%s'\n" % url)
    (folder / "group_vars").mkdir()
    (folder / "group_vars" / "gantry_nodes.yml").write_text("ansible_user: root\n", encoding="utf-8")
    (folder / "host_vars").mkdir()
    (folder / "host_vars" / "node2.yml").write_text("ansible_port: 22\n", encoding="utf-8")
    node2 = listing(folder)[0]["node2"]
    assert (node2["ansible_host"], node2["ansible_port"], node2["ansible_user"]) == ("127.0.0.1", 22, "root")


def test_limit_by_groups(folder, url, ansible):
    write(folder, "registry: '%s'\n" % url)
    done = ansible("adhoc", "-i", str(folder), "gantry_tag_shop:&gantry_primary_node1", "--list-hosts")
    assert done.stdout.split() == ["hosts", "(1):", "web1.example.com"]


def test_names_that_become_one_group_are_told(folder, tmp_path, ansible):
    url = "sqlite://%s" % (tmp_path / "r.db")
    fill(url, nodes={name: {"name": name, "group": "default"} for name in ("n.1", "n-1", "twice")},
         instances={"twice": instance("twice", tags=["a-b"]), "one": instance("one", tags=["a.b"])})
    done = ansible("inventory", "-i", str(write(folder, "registry: '%s'\n" % url)), "--list")
    assert "gantry_primary_n_1 holds the hosts of several names: n-1, n.1" in done.stderr
    assert "gantry_tag_a_b holds the hosts of several names: a-b, a.b" in done.stderr
    assert "twice is an instance and a node" in done.stderr


# -- which registry ---------------------------------------------------------------------------------------------


def test_where_the_registry_comes_from(folder, url, listing, tmp_path):
    """The file, then an extra variable, then the environment, then the group all."""
    other = "sqlite://%s" % (tmp_path / "other.db")
    fill(other, nodes={}, instances={"other.example.com": instance("other.example.com")})
    static = folder / "10-static.ini"
    static.write_text("[all:vars]\ngantry_registry=%s\n" % url, encoding="ascii")
    write(folder, "")
    assert "web1.example.com" in listing(folder)[0]
    assert set(listing(folder, GANTRY_REGISTRY=other)[0]) == {"other.example.com"}
    assert "web1.example.com" in listing(folder, "-e", "gantry_registry=" + url, GANTRY_REGISTRY=other)[0]
    write(folder, "registry: '{{ place }}'\n")
    assert set(listing(folder, "-e", "place=" + other, "-e", "gantry_registry=" + url)[0]) == {"other.example.com"}


def test_no_registry_named(folder, ansible):
    done = ansible("inventory", "-i", str(write(folder, "")), "--list", status=1)
    assert "gantry_registry in group_vars/all.yml" in done.stderr


def test_an_undefined_variable_in_the_url(folder, ansible):
    done = ansible("inventory", "-i", str(write(folder, "registry: '{{ nowhere }}'\n")), "--list", status=1)
    assert "cannot be evaluated" in done.stderr
    assert "nowhere" in done.stderr


def test_a_registry_not_yet_created(folder, tmp_path, ansible, listing):
    path = write(folder, "registry: 'sqlite://%s/none.db'\n" % tmp_path)
    hostvars, groups = listing(path)
    assert hostvars == {}
    assert {"gantry_instances", "gantry_nodes", "gantry_status_up"} <= set(groups)
    assert not (tmp_path / "none.db").exists()
    assert "cluster_init" in ansible("inventory", "-i", str(path), "--list", "-v").stdout


def test_a_registry_that_cannot_be_read(folder, tmp_path, ansible):
    (tmp_path / "text.db").write_text("no database " * 100, encoding="ascii")
    path = write(folder, "registry: 'sqlite://%s/text.db'\n" % tmp_path)
    done = ansible("inventory", "-i", str(path), "--list", status=1)
    assert "is no registry" in done.stderr
    assert "To mend" in done.stderr


def test_a_bad_url_hides_its_password(folder, ansible):
    path = write(folder, "registry: 'nosuch://admin:s3cret@host/x'\n")
    done = ansible("inventory", "-i", str(path), "--list", status=1)
    assert "nosuch://admin:***@host/x" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_a_bad_prefix(folder, url, ansible):
    path = write(folder, "registry: '%s'\nhostvar_prefix: 1-x\n" % url)
    assert "hostvar_prefix" in ansible("inventory", "-i", str(path), "--list", status=1).stderr


# -- cache ------------------------------------------------------------------------------------------------------


CACHE = "cache: true\ncache_plugin: ansible.builtin.jsonfile\ncache_connection: '%s/cache'\n"


def test_cache(folder, url, listing, tmp_path):
    path = write(folder, "registry: '%s'\n" % url + CACHE % tmp_path)
    database = tmp_path / "state" / "registry.db"
    away = database.rename(tmp_path / "away.db")
    assert listing(path)[0] == {}
    away.rename(database)
    # That there was none has not been remembered.
    first = listing(path)
    assert "web1.example.com" in first[0]
    database.rename(away)
    assert listing(path) == first
    assert listing(path, "--flush-cache")[0] == {}
    away.rename(database)
    with open_registry(url) as registry:
        registry.transaction([], [Delete("instances/web1.example.com")])
    assert "web1.example.com" in listing(path)[0]
    assert "web1.example.com" not in listing(path, "--flush-cache")[0]
    assert "web1.example.com" not in listing(path)[0]


def test_cache_is_one_for_each_registry(folder, url, listing, tmp_path):
    other = "sqlite://%s" % (tmp_path / "other.db")
    fill(other, nodes={}, instances={"other.example.com": instance("other.example.com")})
    path = write(folder, CACHE % tmp_path)
    assert "web1.example.com" in listing(path, "-e", "gantry_registry=" + url)[0]
    assert set(listing(path, "-e", "gantry_registry=" + other)[0]) == {"other.example.com"}
    assert "deadbeef" not in "".join(each.read_text(encoding="utf-8") for each in (tmp_path / "cache").iterdir())


def test_documentation(ansible):
    name = "gantry.cluster.registry"
    shown = json.loads(ansible("doc", "-t", "inventory", "-j", name).stdout)[name]
    options = shown["doc"]["options"]
    assert {"plugin", "registry", "include_nodes", "hostvar_prefix", "strict", "keyed_groups", "cache"} <= set(options)
    assert all(option["description"] for option in options.values())
    assert "gantry_registry" in shown["examples"]
