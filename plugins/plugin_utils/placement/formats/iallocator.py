# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ganeti's IAllocator protocol, version 2: one JSON message in, one out."""

from __future__ import annotations

import json
import math

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import moves as m
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.allocate import Allocator
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.evacuate import MODES, Evacuator, relocate
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import (
    ALLOC_POLICIES, TEMPLATES, Cluster, Group, Instance, Node, Policy, Spec,
)
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State

REQUESTS = ("allocate", "allocate-secondary", "multi-allocate", "relocate", "node-evacuate", "change-group")
_LARGEST = 2 ** 53
#: Memory in MiB that a KVM node is taken to need for itself, whatever it reports: as hail has it. On KVM the memory a
#: node uses says nothing, as guests that are balloon-free grow into theirs.
KVM_NODE_MEMORY = 4096
_STATUS = {"up": "running", "down": "ADMIN_down", "offline": "ADMIN_offline"}
_SPEC = (("memory-size", "memory"), ("cpu-count", "cpus"), ("disk-size", "disk"), ("disk-count", "disks"),
         ("nic-count", "nics"), ("spindle-use", "spindles"))


def _bad(where, found, expected):
    return GantryError(
        "The allocation request cannot be read: %s" % where, found=found, expected=expected,
        mend="write it as doc/iallocator.rst of Ganeti says, protocol version 2", code="bad_input",
    )


def _of_kind(value, kind, where):
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    if not isinstance(value, kind):
        raise _bad(where, _short(value), words[kind])
    return value


def _short(value):
    text = json.dumps(value) if not isinstance(value, float) or math.isfinite(value) else str(value)
    return text if len(text) < 60 else text[:57] + "..."


def _get(data, key, kind, where, *default):
    if key not in data or (data[key] is None and default):
        if default:
            return default[0]
        raise _bad("%s has no %s" % (where, key), "keys %s" % (", ".join(sorted(data)[:12]) or "none at all"), key)
    return _of_kind(data[key], kind, "%s of %s" % (key, where))


def _number(data, key, where, default=None, least=None, whole=True):
    value = data.get(key)
    if value is None:
        if default is not None:
            return default
        raise _bad("%s has no %s" % (where, key), "keys %s" % (", ".join(sorted(data)[:12]) or "none at all"), "a number")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST or (
            whole and value != int(value)):
        raise _bad("%s of %s" % (key, where), _short(value), "a whole number" if whole else "a number")
    if least is not None and value < least:
        raise _bad("%s of %s" % (key, where), _short(value), "%s or more" % least)
    return float(value)


def _texts(data, key, where, *default):
    values = _get(data, key, list, where, *default)
    for value in values:
        _of_kind(value, str, "%s of %s" % (key, where))
    return tuple(values)


def _policy(data, where):
    def spec(values, what):
        _of_kind(values, dict, what)
        return Spec(**{name: _number(values, key, what, least=0) for key, name in _SPEC})

    pairs = []
    for pair in _get(data, "minmax", list, where):
        _of_kind(pair, dict, "minmax of " + where)
        pairs.append((spec(pair.get("min"), "min of " + where), spec(pair.get("max"), "max of " + where)))
    return Policy(
        std=spec(data.get("std"), "std of " + where), pairs=tuple(pairs), templates=_texts(data, "disk-templates", where),
        vcpu_ratio=_number(data, "vcpu-ratio", where, whole=False),
        spindle_ratio=_number(data, "spindle-ratio", where, whole=False, least=0),
    )


def _group(uuid, data):
    where = "node group %s" % uuid
    _of_kind(data, dict, where)
    policy = _get(data, "alloc_policy", str, where)
    if policy not in ALLOC_POLICIES:
        raise _bad("alloc_policy of " + where, policy, "one of " + ", ".join(ALLOC_POLICIES))
    return Group(
        name=_get(data, "name", str, where), uuid=uuid, alloc_policy=policy, tags=_texts(data, "tags", where),
        networks=_texts(data, "networks", where), policy=_policy(_get(data, "ipolicy", dict, where), "ipolicy of " + where),
    )


def _node(name, data, groups):
    where = "node %s" % name
    _of_kind(data, dict, where)
    group = _get(data, "group", str, where)
    if group not in groups:
        raise _bad("group of " + where, group, "the UUID of a group in nodegroups")
    params = _get(data, "ndparams", dict, where)
    exclusive = _get(params, "exclusive_storage", bool, "ndparams of " + where)
    live = not _get(data, "offline", bool, where) and _get(data, "vm_capable", bool, where, True)
    drained = _get(data, "drained", bool, where)

    def dynamic(key, least=None, whole=True):
        return _number(data, key, where, least=least, whole=whole) if live else 0.0

    return Node(
        name=name, group=groups[group], total_memory=dynamic("total_memory", 0, False), node_memory=dynamic("reserved_memory"),
        free_memory=dynamic("free_memory"), total_disk=dynamic("total_disk", 0, False), free_disk=dynamic("free_disk"),
        total_cpus=dynamic("total_cpus", 0, False), node_cpus=dynamic("reserved_cpus"), offline=not live or drained,
        exclusive_storage=exclusive, free_spindles=dynamic("free_spindles"),
        spindles=dynamic("total_spindles") if exclusive else _number(params, "spindle_count", "ndparams of " + where),
        tags=_texts(data, "tags", where, ()),
    )


def _instance(name, data, where, nodes=None):
    """An instance of the cluster, or with ``nodes=None`` one that is asked for."""
    _of_kind(data, dict, where)
    template = _get(data, "disk_template", str, where)
    if template not in TEMPLATES:
        raise _bad("disk_template of " + where, template, "one of " + ", ".join(TEMPLATES))
    sizes, spindles = [], []
    for disk in _get(data, "disks", list, where):
        _of_kind(disk, dict, "disks of " + where)
        sizes.append(_number(disk, "size", "a disk of " + where, least=0))
        spindles.append(None if disk.get("spindles") is None else _number(disk, "spindles", "a disk of " + where, least=0))
    networks = []
    for nic in _get(data, "nics", list, where):
        networks.append(_get(_of_kind(nic, dict, "nics of " + where), "network", str, "a NIC of " + where, None))
    primary = secondary = -1
    if nodes is not None:
        placed = _texts(data, "nodes", where)
        for node in placed:
            if node not in nodes:
                raise _bad("nodes of " + where, node, "nodes of the cluster")
        if not placed:
            raise _bad("nodes of " + where, "an empty list", "the primary, then the secondary")
        primary = nodes[placed[0]]
        secondary = nodes[placed[1]] if len(placed) > 1 else -1
        if secondary == primary:
            raise _bad("nodes of " + where, _short(placed), "two different nodes")
    return Instance(
        name=name, memory=_number(data, "memory", where, least=0), disk=_number(data, "disk_space_total", where, least=0),
        vcpus=_number(data, "vcpus", where, least=0), status=_STATUS.get(data.get("admin_state") if isinstance(
            data.get("admin_state"), str) else "up", "running"),
        primary=primary, secondary=secondary, template=template, tags=_texts(data, "tags", where),
        spindle_use=_number(data, "spindle_use", where, least=0), disks=tuple(sizes), disk_spindles=tuple(spindles),
        networks=tuple(networks), forthcoming=_get(data, "forthcoming", bool, where, False),
    )


class Message:
    """A message as read: the cluster and the request.

    :param cluster: use this one instead of the message's.
    :param kvm_node_memory: see :data:`KVM_NODE_MEMORY`; 0 takes what the message says.
    :ivar cluster: :class:`.model.Cluster`; instances asked for follow those that exist, not placed.
    :ivar new: positions of the instances asked for.
    """

    def __init__(self, text, cluster=None, exclusion_tags=(), kvm_node_memory=KVM_NODE_MEMORY):
        try:
            data = json.loads(text) if isinstance(text, (str, bytes)) else text
        except (ValueError, RecursionError) as error:
            raise _bad("it is not JSON", str(error)[:200], "a JSON object") from None
        _of_kind(data, dict, "the message")
        self.request = _get(data, "request", dict, "the message")
        self.type = _get(self.request, "type", str, "the request")
        if self.type not in REQUESTS:
            raise _bad("type of the request", self.type, "one of " + ", ".join(REQUESTS))
        if cluster is None:
            groups, nodes, rows, tags = self._cluster(data, kvm_node_memory)
        else:
            groups, rows, tags = cluster.groups, list(cluster.instances.rows), cluster.tags
            nodes = [cluster.nodes.row(index) for index in range(len(cluster.nodes))]
        asked = self._asked()
        known = {row.name for row in rows}
        for row in asked:
            if row.name in known:
                raise _bad("name of the instance asked for", row.name, "a name that no other instance has")
            known.add(row.name)
        self.new = list(range(len(rows), len(rows) + len(asked)))
        if self.type == "allocate-secondary":
            rows = [row._replace(template="drbd") if row.name == self.request.get("name") else row for row in rows]
        policy = cluster.policy if cluster is not None else None
        self.cluster = Cluster(groups, nodes, rows + asked, tags, policy, exclusion_tags)

    @staticmethod
    def _cluster(data, kvm_node_memory):
        where = "the message"
        groups = [_group(uuid, one) for uuid, one in _get(data, "nodegroups", dict, where).items()]
        by_uuid = {group.uuid: index for index, group in enumerate(groups)}
        nodes = [_node(name, one, by_uuid) for name, one in _get(data, "nodes", dict, where).items()]
        hypervisors = _texts(data, "enabled_hypervisors", where)
        if kvm_node_memory > 0 and hypervisors[:1] == ("kvm",):
            nodes = [node._replace(node_memory=float(kvm_node_memory)) for node in nodes]
        by_name = {node.name: index for index, node in enumerate(nodes)}
        rows = [_instance(name, one, "instance " + name, by_name) for name, one in _get(data, "instances", dict, where).items()]
        return groups, nodes, rows, list(_texts(data, "cluster_tags", where))

    def _asked(self):
        if self.type == "allocate":
            return [_instance(_get(self.request, "name", str, "the request"), self.request, "the request")]
        if self.type == "multi-allocate":
            asked = []
            for one in _get(self.request, "instances", list, "the request"):
                _of_kind(one, dict, "instances of the request")
                asked.append(_instance(_get(one, "name", str, "an instance of the request"), one, "an instance of the request"))
            return asked
        return []


def answer(message, capacity=True, ignore_soft=False, explain=False):
    """Answer a request.

    :param message: :class:`Message`.
    :param capacity: must the cluster be able to lose any node after an allocation?
    :returns: ``{"success", "info", "result"}``, and with ``explain`` also ``explanation``.
    """
    state = State(message.cluster)
    handler = {
        "allocate": _allocate, "multi-allocate": _multi_allocate, "allocate-secondary": _allocate_secondary,
        "relocate": _relocate, "node-evacuate": _node_evacuate, "change-group": _change_group,
    }[message.type]
    try:
        info, result, explanation = handler(message, state, capacity, ignore_soft, explain)
    except GantryError as error:
        if error.code == "bad_input":
            raise
        return {"success": False, "info": "Request failed: " + error.sentence(), "result": []}
    if result is None:
        response = {"success": False, "info": "Request failed: " + info, "result": []}
    else:
        response = {"success": True, "info": "Request successful: " + info, "result": result}
    if explain and explanation is not None:
        response["explanation"] = explanation
    return response


def _required(data):
    number = _number(data, "required_nodes", "the request")
    if number not in (1, 2):
        raise _bad("required_nodes of the request", _short(number), "1 or 2")
    return int(number)


def _group_named(message, data):
    name = _get(data, "group_name", str, "the request", None)
    if name is None:
        return None
    for position, group in enumerate(message.cluster.groups):
        if name == group.name:
            return position
    raise _bad("group_name of the request", name, "one of " + ", ".join(group.name for group in message.cluster.groups))


def _names(message, nodes):
    return [message.cluster.nodes.names[node] for node in nodes]


def _explained(choice):
    return {"fitting": choice.fitting, "failures": choice.failures, "rejected": choice.rejected, "score": choice.score}


def _allocate(message, state, capacity, ignore_soft, explain):
    request = message.request
    restrict = _texts(request, "restrict-to-nodes", "the request", None) if request.get("restrict-to-nodes") is not None else None
    allocator = Allocator(state, capacity, ignore_soft, explain)
    choice = allocator.allocate(message.new[0], _required(request), _group_named(message, request), restrict)
    info = ", ".join(choice.log) or "no node group has online nodes"
    return info, _names(message, choice.nodes) if choice.nodes else None, _explained(choice)


def _multi_allocate(message, state, capacity, ignore_soft, explain):
    allocator = Allocator(state, capacity, ignore_soft, explain)
    done, failed, explanation = [], [], {}
    for i, data in zip(message.new, message.request["instances"]):
        group = _group_named(message, data if data.get("group_name") is not None else message.request)
        choice = allocator.allocate(i, _required(data), group)
        name = message.cluster.instances.names[i]
        explanation[name] = _explained(choice)
        if choice.nodes:
            done.append([name, _names(message, choice.nodes)])
        else:
            failed.append([name, ", ".join(choice.log)])
    info = "%d instances failed to allocate and %d were allocated successfully" % (len(failed), len(done))
    return info, [done, failed], explanation


def _instance_named(message, name):
    names = message.cluster.instances.names
    if name not in names:
        raise _bad("instance of the request", name, "an instance of the cluster")
    return names.index(name)


def _allocate_secondary(message, state, capacity, ignore_soft, explain):
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np
    from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.redundancy import Redundancy
    i = _instance_named(message, _get(message.request, "name", str, "the request"))
    if state.secondary[i] >= 0:
        return "Instance already has a secondary", None, None
    primary = int(state.primary[i])
    state.remove_primary(i)
    state.primary[i] = -1
    allocator = Allocator(state, capacity, ignore_soft, explain)
    group = state.cluster.nodes.group
    others = np.flatnonzero((group == group[primary]) & ~state.offline)
    others = others[others != primary]
    if not len(others):
        return "Not enough online nodes", None, None
    redundancy = Redundancy(state) if capacity else None
    unready = redundancy.reasons() if capacity else None
    choice = allocator.choose(i, 2, np.array([primary]), others, allocator.tables(None), redundancy, unready)
    return ", ".join(choice.log), _names(message, choice.nodes)[1] if choice.nodes else None, _explained(choice)


def _relocate(message, state, unused_capacity, ignore_soft, unused_explain):
    request = message.request
    if _number(request, "required_nodes", "the request") != 1:
        raise _bad("required_nodes of the request", _short(request["required_nodes"]), "1")
    i = _instance_named(message, _get(request, "name", str, "the request"))
    leave = []
    for name in _texts(request, "relocate_from", "the request"):
        if name not in message.cluster.nodes.names:
            raise _bad("relocate_from of the request", name, "a node of the cluster")
        leave.append(message.cluster.nodes.names.index(name))
    return "success", _names(message, [relocate(state, i, leave, ignore_soft)]), None


def _evacuation(message, result):
    names = message.cluster.instances.names
    moved = [[names[i], message.cluster.groups[group].name, _names(message, nodes)] for i, group, nodes, made in result.moved]
    failed = [[names[i], reason] for i, reason in result.failed]
    jobs = [[code for move in made for code in opcodes(message.cluster, move)] for i, group, nodes, made in result.moved]
    info = "%d instances failed to move and %d were moved successfully" % (len(failed), len(moved))
    return info, [moved, failed, jobs], None


def _node_evacuate(message, state, unused_capacity, ignore_soft, unused_explain):
    mode = _get(message.request, "evac_mode", str, "the request")
    if mode not in MODES:
        raise _bad("evac_mode of the request", mode, "one of " + ", ".join(MODES))
    wanted = [_instance_named(message, name) for name in _texts(message.request, "instances", "the request")]
    return _evacuation(message, Evacuator(state, ignore_soft).nodes(wanted, mode))


def _change_group(message, state, unused_capacity, ignore_soft, unused_explain):
    wanted = [_instance_named(message, name) for name in _texts(message.request, "instances", "the request")]
    targets = []
    for name in _texts(message.request, "target_groups", "the request", ()):
        found = [index for index, group in enumerate(message.cluster.groups) if name in (group.uuid, group.name)]
        if not found:
            raise _bad("target_groups of the request", name, "the UUID of a group in nodegroups")
        targets.append(found[0])
    return _evacuation(message, Evacuator(state, ignore_soft).change_group(wanted, targets))


def opcodes(cluster, move):
    """The Ganeti opcodes that make a move."""
    name = cluster.instances.names[move.instance]
    node = cluster.nodes.names[move.target] if move.target >= 0 else None
    migrate = {"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": name, "allow_runtime_changes": False, "ignore_ipolicy": False,
               "cleanup": False, "allow_failover": True, "ignore_hvversions": True}
    if cluster.instances.forthcoming[move.instance]:
        migrate = {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": name, "shutdown_timeout": 120,
                   "ignore_consistency": False, "ignore_ipolicy": False, "cleanup": False}
    replace = {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": name, "early_release": False, "ignore_ipolicy": False,
               "mode": "replace_new_secondary", "disks": [], "remote_node": node}
    return {
        m.FAILOVER: [migrate],
        m.REPLACE_SECONDARY: [replace],
        m.REPLACE_AND_FAILOVER: [replace, migrate],
        m.REPLACE_PRIMARY: [migrate, replace, migrate],
        m.FAILOVER_AND_REPLACE: [migrate, replace],
        m.FAILOVER_TO_ANY: [dict(migrate, target_node=node)],
    }[move.kind]


def render(cluster, request):
    """A cluster and a request as a message: what Ganeti would send, for tests, benchmarks and other allocators."""
    def spec(values):
        return {key: int(getattr(values, name)) for key, name in _SPEC}

    def policy(one):
        return {
            "std": spec(one.std), "minmax": [{"min": spec(low), "max": spec(high)} for low, high in one.pairs],
            "disk-templates": list(one.templates), "vcpu-ratio": one.vcpu_ratio, "spindle-ratio": one.spindle_ratio,
        }

    nodes, names = {}, cluster.nodes.names
    for index, name in enumerate(names):
        node = cluster.nodes.row(index)
        nodes[name] = {
            "tags": list(node.tags), "primary_ip": "192.0.2.1", "secondary_ip": "198.51.100.1", "offline": node.offline,
            "drained": False, "master_candidate": True, "group": cluster.groups[node.group].uuid, "master_capable": True,
            "vm_capable": True, "total_memory": int(node.total_memory), "reserved_memory": int(node.node_memory),
            "free_memory": int(node.free_memory), "total_disk": int(node.total_disk), "free_disk": int(node.free_disk),
            "total_spindles": int(node.spindles), "free_spindles": int(node.free_spindles),
            "total_cpus": int(node.total_cpus), "reserved_cpus": int(node.node_cpus), "i_pri_memory": 0, "i_pri_up_memory": 0,
            "ndparams": {"spindle_count": int(node.spindles), "exclusive_storage": node.exclusive_storage,
                         "oob_program": None, "cpu_speed": node.cpu_speed},
        }
    return {
        "version": 2, "cluster_name": "cluster", "cluster_tags": cluster.tags, "enabled_hypervisors": ["kvm"],
        "ipolicy": policy(cluster.policy),
        "nodegroups": {group.uuid: {
            "name": group.name, "alloc_policy": group.alloc_policy, "networks": list(group.networks),
            "ipolicy": policy(group.policy), "tags": list(group.tags)} for group in cluster.groups},
        "nodes": nodes,
        "instances": {row.name: dict(describe(row), nodes=[names[row.primary]] + (
            [names[row.secondary]] if row.secondary >= 0 else [])) for row in cluster.instances.rows if row.primary >= 0},
        "request": request,
    }


def describe(row):
    """The keys of an instance in a message, without its nodes."""
    state = {"running": "up", "ADMIN_down": "down", "ADMIN_offline": "offline"}
    return {
        "tags": list(row.tags), "admin_state": state.get(row.status, "up"), "vcpus": int(row.vcpus), "memory": int(row.memory),
        "spindle_use": int(row.spindle_use), "os": "debian", "nics": [
            {"mac": "aa:00:00:00:00:01", "ip": None, "mode": "bridged", "link": "br0", "network": one} for one in row.networks],
        "disks": [{"size": int(size), "mode": "rw", "spindles": None if spindles is None else int(spindles)}
                  for size, spindles in zip(row.disks, row.disk_spindles)],
        "disk_template": row.template, "disk_space_total": int(row.disk), "hypervisor": "kvm", "disks_active": True,
        "forthcoming": row.forthcoming,
    }
