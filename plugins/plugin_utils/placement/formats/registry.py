# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as the registry remembers it and as its nodes show it now, as a model for the engine. Pure.

What is counted twice by nobody: free memory and free disk space are what the nodes show, less what the registry has
promised and the nodes do not show yet (a guest that should run and does not, a volume that is still to be made).
"""

from __future__ import annotations

import uuid as uuids

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_space import EXTENT_MIB, candidates, disk_request
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import model as m

#: Larger than anything, and still exact in every format.
_ANY = 2 ** 40
#: Templates that instances of this collection can have.
TEMPLATES = ("drbd", "plain", "diskless")
#: The policy of a cluster that has none: it forbids nothing. Its standard is what cluster_capacity counts.
OPEN = m.Policy(
    std=m.Spec(1024, 1, 10240, 1, 1, 1),
    pairs=((m.Spec(0, 0, 0, 0, 0, 0), m.Spec(_ANY, _ANY, _ANY, _ANY, _ANY, _ANY)),),
    templates=TEMPLATES, vcpu_ratio=-1.0, spindle_ratio=1e6,
)
_SPECS = {"memory-size": "memory", "cpu-count": "cpus", "disk-size": "disk", "disk-count": "disks", "nic-count": "nics",
          "spindle-use": "spindles"}
_POLICY_KEYS = ("std", "minmax", "disk-templates", "vcpu-ratio", "spindle-ratio")
#: hvparams are no matter of placement; see hvparams.py.
_GROUP_KEYS = ("alloc_policy", "tags", "ipolicy", "hvparams")


def _bad(what, found, expected):
    return GantryError("%s cannot be used" % what, found=found, expected=expected, mend="correct it, and run cluster_init again",
                       code="bad_policy")


def _of_kind(value, kind, what, words):
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _bad(what, repr(value), words)
    return value


def _known_keys(value, keys, what):
    unknown = sorted(set(_of_kind(value, dict, what, "a dictionary with some of " + ", ".join(keys))) - set(keys))
    if unknown:
        raise _bad(what, ", ".join(str(key) for key in unknown), "some of " + ", ".join(keys))
    return value


def _number(value, what, whole=True):
    try:
        number = float(str(value))
    except ValueError:
        number = None
    if number is None or isinstance(value, bool) or not abs(number) <= _ANY or (whole and number != int(number)):
        raise _bad(what, repr(value), "a whole number" if whole else "a number")
    return number


def _texts(value, what, allowed=None):
    found = tuple(_of_kind(value, (list, tuple), what, "a list"))
    for one in found:
        if not isinstance(one, str) or not one or "," in one or "|" in one or (allowed and one not in allowed):
            raise _bad(what, repr(one), "one of " + ", ".join(allowed) if allowed else "a text without a comma and |")
    return found


def _spec(value, base, what):
    given = _known_keys(value, tuple(_SPECS), what)
    return base._replace(**{_SPECS[key]: _number(number, "%s of %s" % (key, what)) for key, number in given.items()})


def policy(given, base=OPEN, what="The instance policy"):
    """An instance policy with Ganeti's names; what is not given is the base's.

    :param given: ``std``, ``minmax`` (a list of ``min`` and ``max``), ``disk-templates``, ``vcpu-ratio``, ``spindle-ratio``,
        or None.
    :raises GantryError: what cannot be used.
    """
    if given is None:
        return base
    _known_keys(given, _POLICY_KEYS, what)
    pairs, found = [], {}
    for pair in _of_kind(given.get("minmax") or [], list, "minmax of " + what, "a list of pairs"):
        _known_keys(pair, ("min", "max"), "A pair in minmax of " + what)
        low = _spec(pair.get("min", {}), OPEN.pairs[0][0], "min of " + what)
        high = _spec(pair.get("max", {}), OPEN.pairs[0][1], "max of " + what)
        if any(one > other for one, other in zip(low, high)):
            raise _bad("minmax of " + what, "a minimum above its maximum", "min, then max")
        pairs.append((low, high))
    if pairs:
        found["pairs"] = tuple(pairs)
    if "std" in given:
        found["std"] = _spec(given["std"], base.std, "std of " + what)
    if "disk-templates" in given:
        found["templates"] = _texts(given["disk-templates"], "disk-templates of " + what, m.TEMPLATES)
    for key, field in (("vcpu-ratio", "vcpu_ratio"), ("spindle-ratio", "spindle_ratio")):
        if key in given:
            found[field] = _number(given[key], "%s of %s" % (key, what), whole=False)
    return m.Policy(**{**{name: getattr(base, name) for name in ("std", "pairs", "templates", "vcpu_ratio", "spindle_ratio")}, **found})


def groups(settings, names, base=OPEN):
    """The node groups: those that have settings, and those that nodes are in. Returns a list of :class:`.model.Group`."""
    own = settings.get("groups") or {}
    _of_kind(own, dict, "groups", "a dictionary of node groups")
    whole, found = policy(settings.get("ipolicy"), base), []
    for name in sorted(set(own) | set(names)):
        given, what = own.get(name) or {}, "Node group %s" % name
        _known_keys(given, _GROUP_KEYS, what)
        alloc = given.get("alloc_policy", "preferred")
        if alloc not in m.ALLOC_POLICIES:
            raise _bad("alloc_policy of %s" % what, repr(alloc), "one of " + ", ".join(m.ALLOC_POLICIES))
        found.append(m.Group(
            name=name, uuid=str(uuids.uuid5(uuids.NAMESPACE_DNS, "group." + name)), alloc_policy=alloc,
            tags=_texts(given.get("tags") or [], "tags of " + what),
            policy=policy(given.get("ipolicy"), whole, "The instance policy of node group %s" % name)))
    return found


def check_settings(settings):
    """:raises GantryError: tags, groups or an instance policy that the model cannot be made of."""
    _texts(settings.get("tags") or [], "tags of the cluster")
    groups(settings, ())


class Model:
    """The engine's cluster, with the way back to names.

    :ivar cluster: :class:`.model.Cluster`.
    :ivar nodes: position of each node by name.
    :ivar instances: position of each instance by name, those asked for too.
    """

    def __init__(self, cluster):
        self.cluster = cluster
        self.nodes = {name: index for index, name in enumerate(cluster.nodes.names)}
        self.instances = {name: index for index, name in enumerate(cluster.instances.names)}

    def names(self, positions):
        """Names of some nodes; none for -1."""
        return [self.cluster.nodes.names[position] for position in positions if position >= 0]


def need_numpy():
    """:raises GantryError: the engine cannot calculate on this controller."""
    if m.np is None:
        raise GantryError(
            "Placement needs numpy on the controller", found="no module numpy for this Python", expected="numpy 2",
            mend="install it where ansible-core is: pip install numpy, or your distribution's python3-numpy", code="no_numpy",
        )


def load(settings, nodes, records, observations, asked=(), base=OPEN):
    """The model of a cluster.

    :param settings: the cluster's settings: ``tags``, ``ipolicy``, ``groups``.
    :param nodes: the registry's nodes by name.
    :param records: the registry's instances by name.
    :param observations: what node_info returned for each node that was asked.
    :param asked: specifications (:func:`instance_spec.parse`) of instances that have no place yet; they follow the others.
    :param base: policy of what the settings leave open.
    :returns: :class:`Model`. A node that is drained, marked offline or silent counts as offline, as Ganeti has it.
    :raises GantryError: numpy is missing, the settings or a record cannot be used.
    """
    need_numpy()
    seen = {entry["name"]: entry for entry in candidates(nodes, observations)}
    kinds = groups(settings, {node.get("group", "default") for node in nodes.values()}, base)
    by_group = {group.name: index for index, group in enumerate(kinds)}
    positions = {name: index for index, name in enumerate(sorted(nodes))}
    promised = _promised(records, seen)
    rows = [_node(seen[name], by_group[nodes[name].get("group", "default")], promised.get(name, (0, 0))) for name in sorted(nodes)]
    instances = [_instance(record, positions, seen) for _name, record in sorted(records.items())]
    own = {node["vg"] for node in nodes.values()}
    instances += [_asked(spec, own) for spec in asked]
    return Model(m.Cluster(kinds, rows, instances, _texts(settings.get("tags") or [], "tags of the cluster"),
                           policy(settings.get("ipolicy"), base)))


def own_disk_mib(record, node):
    """MiB that an instance takes in the volume group that counts on a node, whose :func:`candidates` entry is given."""
    vg = node["vg"] if node else None
    extent = (node or {}).get("extent_mib", {}).get(vg, EXTENT_MIB)
    need = disk_request(record, extent)
    return sum(mib for group, mib in need.items() if vg is None or (group or vg) == vg)


def _promised(records, seen):
    """MiB of memory and of disk by node that the registry has promised and the node does not show: ``{name: (memory, disk)}``."""
    promised = {}
    for record in records.values():
        for role in ("primary", "secondary"):
            node = seen.get(record.get(role))
            if node is None or not node["info"]:
                continue
            memory, disk = promised.get(node["name"], (0, 0))
            if role == "primary" and record["admin_state"] == "up" and not _active(record, node):
                memory += record["memory_mib"]
            there = {volume["name"] for volume in node["info"].get("volumes", [])}
            lacking = dict(record, disks=[one for one in record["disks"] if one["name"] not in there])
            disk += own_disk_mib(lacking, node) if lacking["disks"] else 0
            promised[node["name"]] = memory, disk
    return promised


def _active(record, node):
    return any(domain["uuid"] == record["uuid"] and domain["state"] != "shutoff" for domain in node["info"].get("domains", []))


def _node(entry, group, promised):
    tags = tuple(entry["node"].get("tags") or ())
    if not entry["info"]:
        return m.Node(name=entry["name"], group=group, offline=True, tags=tags)
    vg = entry["vg"]
    return m.Node(
        name=entry["name"], group=group, total_memory=entry["memory_total_mib"],
        free_memory=max(entry["memory_free_mib"] - promised[0], 0), total_disk=entry["disk_total_mib"].get(vg, 0),
        free_disk=max(entry["disk_free_mib"].get(vg, 0) - promised[1], 0), total_cpus=entry["info"].get("cpus") or 0, node_cpus=0.0,
        offline=not entry["usable"], tags=tags,
    )


def _instance(record, positions, seen):
    for role in ("primary", "secondary"):
        if record.get(role) and record[role] not in positions:
            raise GantryError(
                "Instance %s has a %s that the registry does not know" % (record["name"], role), found="node %s" % record[role],
                expected="one of " + ", ".join(sorted(positions)), mend="run node_add for it; cluster_verify says what else is wrong",
                code="unknown_node",
            )
    node = seen[record["primary"]]
    up = record["admin_state"] == "up" or _active(record, node)
    return m.Instance(
        name=record["name"], memory=record["memory_mib"], disk=own_disk_mib(record, node if node["info"] else None),
        vcpus=record.get("vcpus", 1), status="running" if up else "ADMIN_down", primary=positions[record["primary"]],
        secondary=positions[record["secondary"]] if record.get("secondary") else -1, template=record["disk_template"],
        tags=tuple(record.get("tags") or ()), **_disks(record["disks"]),
    )


def _disks(disks):
    """The disks that the guest sees: no policy is about the few megabytes that its firmware writes to."""
    sizes = tuple(disk["size_mib"] for disk in disks if not disk.get("purpose"))
    return {"disks": sizes, "disk_spindles": (None,) * len(sizes)}


def _asked(spec, own):
    disk = sum(mib for group, mib in disk_request(spec).items() if not group or group in own)
    return m.Instance(
        name=spec["name"], memory=spec["memory_mib"], disk=disk, vcpus=spec["vcpus"],
        status="running" if spec["start"] else "ADMIN_down", template=spec["disk_template"], tags=tuple(spec["tags"]),
        **_disks(spec["disks"]),
    )
