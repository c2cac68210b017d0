# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of what the registry knows: instances and nodes, in the groups operators reach for."""

from __future__ import annotations

DOCUMENTATION = r"""
name: registry
author:
  - The gantry.cluster team (@gantry-cluster)
version_added: 1.0.0
short_description: Instances and nodes known to the registry of a cluster
description:
  - Lists the instances and the nodes that the cluster's registry holds, and groups them.
  - It reads the registry alone, so it works while nodes are down. What really runs where is known only to the
    nodes; every verb looks there before it acts.
  - The name of the inventory file must end with C(gantry.yml), C(gantry.yaml), C(registry.yml) or C(registry.yaml).
  - A registry that does not exist yet gives an empty inventory and a note at verbosity 1, because the same inventory
    serves the playbook that creates it. A registry that exists and cannot be read is an error.
  - Every instance is in the group C(gantry_instances), and in C(gantry_primary_<node>), C(gantry_secondary_<node>),
    C(gantry_group_<node group>), C(gantry_tag_<tag>), C(gantry_hypervisor_<hypervisor>),
    C(gantry_template_<disk template>) and C(gantry_status_<status>), where the status is C(up) or C(down) as the
    operator wants it, or C(creating) while that is not finished.
  - Every node is in the group C(gantry_nodes), and in C(gantry_nodegroup_<node group>).
  - Characters that a group name cannot hold become underscores. When two names become the same group, a warning
    says so.
  - The groups of every known node and node group, and those of every status, exist even when they are empty.
  - An instance gets the variable C(gantry_record), its whole record, which holds no secrets, and for each of its
    fields C(name), C(uuid), C(status), C(admin_state), C(primary), C(secondary), C(group), C(hypervisor),
    C(disk_template), C(memory_mib), C(vcpus) and C(tags) a variable such as C(gantry_record_primary).
    They never replace the variables that declare an instance, such as C(gantry_primary) or C(gantry_memory).
  - A node gets the variable C(gantry_node_record). If its record holds the connection with which it was added
    (C(ansible_host), C(ansible_port), C(ansible_user)), those are set as well, unless the host has such
    a variable from an inventory source read before.
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices: [gantry.cluster.registry]
  registry:
    description:
      - URL of the registry, such as C(sqlite:////var/lib/gantry/registry.db). It may be a template, in which extra
        variables, the variables of the group C(all), C(inventory_dir) and C(inventory_file) can be used.
      - It is looked for here, then as the extra variable C(gantry_registry), then in the environment, then as the
        variable C(gantry_registry) of the group C(all), from C(group_vars) beside this file or from an inventory source
        read before. Declare it there and playbooks and inventory use the same registry.
    type: str
    env:
      - name: GANTRY_REGISTRY
    vars:
      - name: gantry_registry
  include_nodes:
    description: Add the nodes as hosts, not only the instances.
    type: bool
    default: true
  hostvar_prefix:
    description:
      - What the names of the variables C(gantry_record), C(gantry_record_*) and C(gantry_node_record) begin with,
        instead of C(gantry_). Names of groups stay.
    type: str
    default: gantry_
extends_documentation_fragment:
  - constructed
  - inventory_cache
notes:
  - With O(cache) the registry is not read while the cache is fresh, so instances that have been added, moved or removed
    since appear as they were. It is of use when the registry is far away; verbs read the registry themselves anyway.
  - With O(strict), O(compose), O(groups) and O(keyed_groups) must work for nodes as well as for instances. Use
    a default for what one of them lacks, or set O(include_nodes) to V(false).
  - Text from the registry is never evaluated as a template.
"""

EXAMPLES = r"""
# inventory/gantry.yml, the registry being named by gantry_registry in inventory/group_vars/all.yml
plugin: gantry.cluster.registry

---
# inventory/shop.gantry.yml
plugin: gantry.cluster.registry
registry: "sqlite://{{ inventory_dir }}/../state/registry.db"
include_nodes: false
compose:
  # How to reach the guests themselves.
  ansible_host: gantry_record.name ~ '.guests.example.com'
groups:
  big: gantry_record.memory_mib >= 16384
keyed_groups:
  - key: gantry_record.machine
    prefix: machine

---
# inventory/nodes.gantry.yml: nodes that take no new instances, on top of the usual groups
plugin: gantry.cluster.registry
groups:
  resting_nodes: gantry_node_record is defined and (gantry_node_record.offline or gantry_node_record.drained)

# ansible-playbook -i inventory gantry.cluster.instance_migrate -l gantry_primary_node3
# ansible-playbook -i inventory gantry.cluster.instance_start -l 'gantry_tag_shop:&gantry_status_down'
"""

import hashlib
import os

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.template import trust_as_template
from ansible.utils.vars import combine_vars
from ansible.vars.plugins import get_vars_from_inventory_sources

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry

#: What the names of inventory files end with.
SUFFIXES = ("gantry.yml", "gantry.yaml", "registry.yml", "registry.yaml")

#: Fields of an instance's record that get a variable of their own.
FIELDS = (
    "name", "uuid", "status", "admin_state", "primary", "secondary", "group", "hypervisor", "disk_template",
    "memory_mib", "vcpus", "tags",
)

STATUSES = ("up", "down", "creating")

#: What a node's record may say about reaching it. Nothing else: other connection variables could run commands.
CONNECTION = ("ansible_host", "ansible_port", "ansible_user")


def harmless(value):
    """Mark text that cannot be a template as harmless, at any depth; the rest stays unmarked, so it is never evaluated.

    Without the mark every text is ``{"__ansible_unsafe": ...}`` in the output of ansible-inventory, which AWX imports.
    """
    if isinstance(value, dict):
        return {name: harmless(item) for name, item in value.items()}
    if isinstance(value, list):
        return [harmless(item) for item in value]
    if isinstance(value, str) and "{" not in value and not value.startswith("#"):
        return trust_as_template(value)
    return value


def status_of(record):
    """What the group gantry_status_* says of an instance, or None."""
    status = record.get("status")
    return record.get("admin_state") if status == "ready" else status


def groups_of(record):
    """The groups of an instance, as pairs of a kind and a name."""
    pairs = [
        ("primary", record.get("primary")),
        ("secondary", record.get("secondary")),
        ("group", record.get("group")),
        ("hypervisor", record.get("hypervisor")),
        ("template", record.get("disk_template")),
        ("status", status_of(record)),
    ]
    tags = record.get("tags")
    pairs += [("tag", tag) for tag in (tags if isinstance(tags, list) else [])]
    return [(kind, name) for kind, name in pairs if isinstance(name, str) and name]


def read_registry(url):
    """What the inventory shows, as plain data: instances, nodes and the names of node groups.

    :returns: None when there is no registry yet.
    :raises GantryError: it cannot be read.
    """
    try:
        with open_registry(url) as registry:
            entries = registry.range("groups/", "instances/", "nodes/").entries
    except GantryError as error:
        if error.code == "no_registry":
            return None
        raise
    data = {"groups": {}, "instances": {}, "nodes": {}}
    for entry in entries:
        kind, _slash, name = entry.key.partition("/")
        data[kind][name] = entry.value
    return {"groups": sorted(data["groups"]), "instances": data["instances"], "nodes": data["nodes"]}


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The plugin."""

    # Names and tags may look like templates; see harmless().
    trusted_by_default = False

    NAME = "gantry.cluster.registry"

    def verify_file(self, path):
        return super().verify_file(path) and path.endswith(SUFFIXES)

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        self._path = path
        url = self._registry_url(path)
        data = self._load(path, url, cache)
        if data is None:
            self.display.v("%s: there is no registry yet, so it adds no hosts; cluster_init makes it" % path)
            data = {"groups": [], "instances": {}, "nodes": {}}
        self._fill(data)

    # -- where the data come from -----------------------------------------------------------------------------

    def _registry_url(self, path):
        every = self.inventory.groups["all"]
        variables = combine_vars(every.get_vars(), get_vars_from_inventory_sources(self.loader, [path], [every], "all"))
        variables = combine_vars(variables, self._vars)
        url = self.get_option("registry")
        if url is None:
            url = variables.get("gantry_registry")
        if url is None:
            raise AnsibleParserError(
                "%s names no registry. To mend: set its option registry, the environment variable GANTRY_REGISTRY, or"
                " gantry_registry in group_vars/all.yml beside it" % path
            )
        places = {"inventory_dir": os.path.dirname(os.path.abspath(path)), "inventory_file": os.path.abspath(path)}
        self.templar.available_variables = combine_vars(variables, places)
        try:
            return self.templar.template(url)
        except AnsibleError as error:
            raise AnsibleParserError("The registry URL of %s cannot be evaluated: %s" % (path, error)) from error

    def _load(self, path, url, cache):
        """The data, from the cache if the user wants it and it is fresh. None: there is no registry yet."""
        wanted = self.get_option("cache")
        if not wanted:
            return self._read(path, url)
        # One file may be used with several registries, by an extra variable.
        key = "%s_%s" % (self.get_cache_key(path), hashlib.sha256(str(url).encode()).hexdigest()[:12])
        if cache:
            try:
                return self._cache[key]
            except KeyError:
                pass
        data = self._read(path, url)
        # That there is none is not remembered: cluster_init may run next.
        if data is not None:
            self._cache[key] = data
        return data

    @staticmethod
    def _read(path, url):
        try:
            return read_registry(url)
        except GantryError as error:
            raise AnsibleParserError("%s: %s" % (path, error)) from error

    # -- where they go ----------------------------------------------------------------------------------------

    def _fill(self, data):
        prefix = self.get_option("hostvar_prefix")
        if not (prefix + "record").isidentifier():
            raise AnsibleParserError(
                "The option hostvar_prefix cannot begin names of variables. Found: %r. Expected: letters, digits and"
                " underscores, no digit first" % prefix
            )
        # Group name -> the names that became it.
        self._origins = {}
        self.inventory.add_group("gantry_instances")
        self.inventory.add_group("gantry_nodes")
        for status in STATUSES:
            self._group("status", status)
        for group in data["groups"]:
            self._group("group", group)
            self._group("nodegroup", group)
        for node in data["nodes"]:
            self._group("primary", node)
            self._group("secondary", node)
        for name, record in sorted(data["nodes"].items()):
            if self.get_option("include_nodes"):
                self._add_node(name, record, prefix)
        for name, record in sorted(data["instances"].items()):
            if name in data["nodes"]:
                self.display.warning("%s is an instance and a node: a limit with this name means both" % name)
            self._add_instance(name, record, prefix)
        for group, origins in sorted(self._origins.items()):
            if len(origins) > 1:
                names = ", ".join(sorted(origins))
                self.display.warning("The inventory group %s holds the hosts of several names: %s" % (group, names))

    def _group(self, kind, name):
        """Make sure of a group; returns its name."""
        group = self.inventory.add_group(self._sanitize_group_name("gantry_%s_%s" % (kind, name)))
        self._origins.setdefault(group, set()).add(name)
        return group

    def _add_instance(self, name, record, prefix):
        host = self.inventory.add_host(name, "gantry_instances")
        for kind, value in groups_of(record):
            self.inventory.add_host(host, self._group(kind, value))
        record = harmless(record)
        self.inventory.set_variable(host, prefix + "record", record)
        for field in FIELDS:
            if field in record:
                self.inventory.set_variable(host, "%srecord_%s" % (prefix, field), record[field])
        self._construct(host)

    def _add_node(self, name, record, prefix):
        host = self.inventory.add_host(name, "gantry_nodes")
        group = record.get("group")
        if isinstance(group, str) and group:
            self.inventory.add_host(host, self._group("nodegroup", group))
        self.inventory.set_variable(host, prefix + "node_record", harmless(record))
        connection = record.get("connection")
        known = self._known_variables(host)
        for variable in CONNECTION:
            if isinstance(connection, dict) and connection.get(variable) is not None and variable not in known:
                self.inventory.set_variable(host, variable, harmless(connection[variable]))
        self._construct(host)

    def _known_variables(self, name):
        """Names of the variables a host has already, itself or by its groups, for they would lose against ours."""
        host = self.inventory.get_host(name)
        groups = [self.inventory.groups["all"], *host.get_groups()]
        names = set(get_vars_from_inventory_sources(self.loader, [self._path], [*groups, host], "all"))
        for one in (host, *groups):
            names.update(one.get_vars())
        return names

    def _construct(self, host):
        strict = self.get_option("strict")
        variables = self.inventory.get_host(host).get_vars()
        self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        # Both read the host's variables again, with the composed ones.
        self._add_host_to_composed_groups(self.get_option("groups"), {}, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), {}, host, strict=strict)
