# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster as arrays: what is given (:class:`Cluster`). What follows from a placement is in ``state.py``.

Units: memory and disk in MiB, processors in cores, utilisation in shares of a node. Nodes, instances and groups are
named by their position; -1 stands for none.
"""

from __future__ import annotations

import dataclasses
import typing as t

try:
    import numpy as np
except ImportError:  # said by the command that needs it, not by an import
    np = None

#: Disk templates with the node's own disks; a move copies them.
LOCAL_TEMPLATES = ("plain", "drbd")
#: Mirrored outside the nodes: any node can take the instance over without copying.
EXTERNAL_TEMPLATES = ("diskless", "sharedfile", "blockdev", "rbd", "ext", "gluster")
TEMPLATES = ("diskless", "file", "sharedfile", "plain", "blockdev", "drbd", "rbd", "ext", "gluster")
#: What a balancer moves; a diskless instance is only moved when its node is emptied.
BALANCED_TEMPLATES = ("drbd", "blockdev", "sharedfile", "gluster", "rbd", "ext")
#: Status: does the instance hold memory on its primary?
STATUS_HOLDS_MEMORY = {
    "running": True, "ERROR_up": True, "ERROR_nodedown": True, "ERROR_nodeoffline": True, "ERROR_wrongnode": True,
    "ADMIN_down": False, "ADMIN_offline": False, "ERROR_down": False, "USER_down": False,
}
STATUS_OFFLINE = "ADMIN_offline"
#: From best to worst: groups are tried in this order.
ALLOC_POLICIES = ("preferred", "last_resort", "unallocable")

EXCLUSION_PREFIX = "htools:iextags:"
MIGRATION_PREFIX = "htools:migration:"
ALLOW_MIGRATION_PREFIX = "htools:allowmigration:"
LOCATION_PREFIX = "htools:nlocation:"
DESIRED_LOCATION_PREFIX = "htools:desiredlocation:"
STANDBY_PREFIX = "htools:standby:"


class Spec(t.NamedTuple):
    """One corner of an instance policy."""

    memory: int = 128
    cpus: int = 1
    disk: int = 1024
    disks: int = 1
    nics: int = 1
    spindles: int = 1


@dataclasses.dataclass(frozen=True)
class Policy:
    """Instance policy: allowed (minimum, maximum) pairs, the standard spec, templates and ratios."""

    std: Spec = Spec()
    pairs: tuple = ((Spec(), Spec(32768, 8, 1048576, 16, 8, 12)),)
    templates: tuple = TEMPLATES
    vcpu_ratio: float = 4.0
    spindle_ratio: float = 32.0


@dataclasses.dataclass
class Group:
    """A node group."""

    name: str
    uuid: str
    alloc_policy: str = "preferred"
    tags: tuple = ()
    networks: tuple = ()
    policy: Policy = dataclasses.field(default_factory=Policy)


class Node(t.NamedTuple):
    """One node as it is read; :class:`Nodes` holds all of them as arrays."""

    name: str
    group: int
    total_memory: float = 0.0
    node_memory: float = 0.0
    free_memory: float = 0.0
    total_disk: float = 0.0
    free_disk: float = 0.0
    total_cpus: float = 0.0
    node_cpus: float = 1.0
    cpu_speed: float = 1.0
    offline: bool = False
    master: bool = False
    exclusive_storage: bool = False
    spindles: float = 1.0
    free_spindles: float = 0.0
    tags: tuple = ()


class Instance(t.NamedTuple):
    """One instance as it is read or asked for; :class:`Instances` holds all of them as arrays."""

    name: str
    memory: float
    disk: float
    vcpus: float
    status: str = "running"
    auto_balance: bool = True
    primary: int = -1
    secondary: int = -1
    template: str = "drbd"
    tags: tuple = ()
    spindle_use: float = 1.0
    #: Sizes of the disks in MiB, and their spindles or None: the policy looks at each.
    disks: tuple = ()
    disk_spindles: tuple = ()
    networks: tuple = ()
    forthcoming: bool = False

    def total_spindles(self):
        """Spindles of all disks, or None where one does not say."""
        return None if None in self.disk_spindles else float(sum(self.disk_spindles))


_NODE_NUMBERS = ("total_memory", "node_memory", "free_memory", "total_disk", "free_disk", "total_cpus", "node_cpus",
                 "cpu_speed", "spindles", "free_spindles")


class Nodes:
    """All nodes: a list of names and tags, and one array for each number."""

    def __init__(self, rows):
        columns = list(zip(*rows)) or [()] * len(Node._fields)
        column = dict(zip(Node._fields, columns))
        self.names = list(column["name"])
        self.tags = list(column["tags"])
        self.group = np.array(column["group"], dtype=np.int64)
        for name in _NODE_NUMBERS:
            setattr(self, name, np.array(column[name], dtype=float))
        for name in ("offline", "master", "exclusive_storage"):
            setattr(self, name, np.array(column[name], dtype=bool))

    def __len__(self):
        return len(self.names)

    def row(self, index):
        """The :class:`Node` at a position."""
        values = {name: float(getattr(self, name)[index]) for name in _NODE_NUMBERS}
        return Node(
            name=self.names[index], group=int(self.group[index]), tags=self.tags[index], offline=bool(self.offline[index]),
            master=bool(self.master[index]), exclusive_storage=bool(self.exclusive_storage[index]), **values,
        )


class Instances:
    """All instances; ``primary`` and ``secondary`` are the placement that was read and are never changed here."""

    def __init__(self, rows):
        self.rows = rows
        columns = list(zip(*rows)) or [()] * len(Instance._fields)
        column = dict(zip(Instance._fields, columns))
        self.names = list(column["name"])
        for name in ("memory", "disk", "vcpus", "spindle_use"):
            setattr(self, name, np.array(column[name], dtype=float))
        for name in ("primary", "secondary"):
            setattr(self, name, np.array(column[name], dtype=np.int64))
        for name in ("auto_balance", "forthcoming"):
            setattr(self, name, np.array(column[name], dtype=bool))
        templates = column["template"]
        self.templates = templates
        self.local = np.array([one in LOCAL_TEMPLATES for one in templates], dtype=bool)
        self.mirrored = np.array([one == "drbd" for one in templates], dtype=bool)
        self.external = np.array([one in EXTERNAL_TEMPLATES for one in templates], dtype=bool)
        self.balanced = np.array([one in BALANCED_TEMPLATES for one in templates], dtype=bool)
        holds = STATUS_HOLDS_MEMORY
        real = ~self.forthcoming
        self.holds_memory = np.array([holds[one] for one in column["status"]], dtype=bool) & real
        self.counts_cpu = np.array([one != STATUS_OFFLINE for one in column["status"]], dtype=bool)
        self.util = np.ones((len(rows), 4))

    def __len__(self):
        return len(self.names)


class Cluster:
    """Everything that is given: groups, nodes, instances with their placement, cluster tags and policy.

    :param exclusion_tags: further prefixes of exclusion tags, beside those the cluster's tags name.
    """

    def __init__(self, groups, nodes, instances, tags=(), policy=None, exclusion_tags=()):
        self.groups = list(groups)
        self.nodes = Nodes(nodes)
        self.instances = Instances(list(instances))
        self.tags = list(tags)
        self.policy = policy or Policy()
        self.exclusion_prefixes = tuple(exclusion_tags) + _values(self.tags, EXCLUSION_PREFIX)
        self.desired_prefixes = _values(self.tags, DESIRED_LOCATION_PREFIX)
        self._tag_tables()

    def _tag_tables(self):
        nodes = self.nodes
        locations = _values(self.tags, LOCATION_PREFIX)
        #: For each node the set of common-failure tags it carries.
        self.node_locations = [
            frozenset(tag for tag in tags if any(tag.startswith(one + ":") for one in locations)) for tags in nodes.tags
        ] if locations else [frozenset()] * len(nodes)
        wanted = set().union(*self.node_locations) if locations else set()
        desired = [self.desired(row.tags) for row in self.instances.rows] if self.desired_prefixes else []
        wanted = wanted.union(*desired) if desired else wanted
        self.location_names = {name: position for position, name in enumerate(sorted(wanted))}
        #: (nodes, tags): which node carries which common-failure tag.
        self.locations = np.zeros((len(nodes), len(self.location_names)))
        for index, tags in enumerate(self.node_locations):
            for tag in tags:
                self.locations[index, self.location_names[tag]] = 1.0
        #: (nodes, nodes): common-failure tags two nodes share.
        self.shared_locations = self.locations @ self.locations.T if self.location_names else None
        self.may_migrate = _migration_table(self.tags, nodes.tags)

    def exclusion(self, tags):
        """The exclusion tags among an instance's tags."""
        prefixes = self.exclusion_prefixes
        return [tag for tag in tags if tag.startswith(prefixes)] if prefixes else []

    def desired(self, tags):
        """The desired-location tags among an instance's tags, as a set."""
        prefixes = self.desired_prefixes
        return {tag for tag in tags if tag.startswith(prefixes)} if prefixes else set()


def _values(tags, prefix):
    """What follows the prefix in each tag that has it; an empty rest counts for nothing."""
    return tuple(tag[len(prefix):] for tag in tags if tag.startswith(prefix) and len(tag) > len(prefix))


def _migration_table(cluster_tags, node_tags):
    """(from, to) booleans: may a running instance go from one node to the other; None when all may."""
    prefixes = [tag[len(MIGRATION_PREFIX):] for tag in cluster_tags if tag.startswith(MIGRATION_PREFIX)]
    if not prefixes:
        return None
    own = [{tag for tag in tags if any(tag.startswith(one + ":") for one in prefixes)} for tags in node_tags]
    if not any(own):
        return None
    allowed = []
    for tag in cluster_tags:
        if tag.startswith(ALLOW_MIGRATION_PREFIX):
            source, separator, target = tag[len(ALLOW_MIGRATION_PREFIX):].partition("::")
            # A tag with two separators could be read in two ways, so it allows nothing.
            if separator and "::" not in target:
                allowed.append((source, target))
    receives = [tags | {source for source, target in allowed if target in tags} for tags in own]
    return np.array([[source <= target for target in receives] for source in own], dtype=bool)
