# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeded random clusters for tests and benchmarks: the same seed gives the same cluster everywhere."""

from __future__ import annotations

import os
import random

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import (
    Cluster, Group, Instance, Node, Policy, Spec,
)

#: Wide enough for every instance made here.
POLICY = Policy(
    std=Spec(1024, 1, 10240, 1, 1, 1),
    pairs=((Spec(64, 1, 256, 1, 1, 1), Spec(65536, 16, 1048576, 16, 8, 12)),),
    templates=("drbd", "plain", "diskless", "file", "sharedfile", "blockdev", "rbd", "ext"),
)


def sample(usual):
    """How many random clusters a comparison takes: a sample, or as many as GANTRY_CLUSTERS says for a long run."""
    return int(os.environ.get("GANTRY_CLUSTERS") or usual)


def bench_cluster(nodes, instances, seed=1, spread=0.5):
    """An imbalanced cluster of DRBD instances with room to spare, of one group.

    :param nodes: number of nodes, of one kind, as most real clusters have.
    :param instances: number of instances of a few sizes.
    :param spread: share of the nodes on which the instances lie at first; the others are empty, or nearly so.
    """
    rng = random.Random("bench %d %d %d" % (nodes, instances, seed))
    per_node = instances / nodes
    sizes = (1024, 2048, 4096, 8192)
    mean = sum(sizes) / len(sizes)
    memory = int(per_node * mean * 2.6 // 1024 + 24) * 1024
    disk = int(per_node * 2 * 60 * 1024 * 1.9)
    rows = []
    free_memory = [memory - 1024] * nodes
    free_disk = [disk] * nodes
    held = [[0] * nodes for unused in range(nodes)]
    busy = max(2, int(nodes * spread))
    for index in range(instances):
        size = rng.choice(sizes)
        space = rng.choice((10, 20, 50, 100)) * 1024
        while True:
            pool = busy if rng.random() < 0.7 else nodes
            primary, secondary = rng.sample(range(pool), 2)
            worst = max(*held[secondary], held[secondary][primary] + size)
            if (free_memory[primary] - size > max(held[primary]) and free_memory[secondary] > worst
                    and min(free_disk[primary], free_disk[secondary]) > space):
                break
        free_memory[primary] -= size
        held[secondary][primary] += size
        free_disk[primary] -= space
        free_disk[secondary] -= space
        rows.append(Instance(
            name="instance%05d.example.com" % index, memory=size, disk=space, vcpus=rng.choice((1, 2, 4)), primary=primary,
            secondary=secondary, disks=(space,), disk_spindles=(None,),
        ))
    vcpus = sum(row.vcpus for row in rows)
    made = [
        Node(
            name="node%04d.example.com" % index, group=0, total_memory=memory, node_memory=1024,
            free_memory=free_memory[index], total_disk=disk, free_disk=free_disk[index],
            total_cpus=max(8, int(vcpus / nodes)), master=index == 0, spindles=max(8, int(per_node / 4)),
        )
        for index in range(nodes)
    ]
    return Cluster([Group("default", "uuid-default", policy=POLICY)], made, rows, policy=POLICY)


def random_cluster(seed, nodes=None, instances=None, features=True, templates=None):
    """A cluster with everything mixed, feasible or not: sizes, tags, offline nodes, groups, forthcoming instances.

    :param features: False leaves one group of online nodes and plain DRBD instances.
    :param templates: disk templates to choose from.
    """
    rng = random.Random("random %s" % seed)
    count = nodes or rng.randint(3, 12)
    having = {name: features and rng.random() < 0.35 for name in (
        "groups", "offline", "exclusion", "location", "desired", "migration", "forthcoming", "idle", "speeds", "missing",
        "templates", "manual",
    )}
    groups = [Group("group%d" % index, "uuid-%d" % index, policy=POLICY)
              for index in range(rng.randint(2, 3) if having["groups"] and count >= 6 else 1)]
    tags = []
    if having["exclusion"]:
        tags += ["htools:iextags:service"]
    if having["location"] or having["desired"]:
        tags += ["htools:nlocation:power"]
    if having["desired"]:
        tags += ["htools:desiredlocation:power"]
    if having["migration"]:
        tags += ["htools:migration:hv", "htools:allowmigration:hv:1::hv:2"]
    made = []
    for index in range(count):
        node_tags = []
        if having["location"] or having["desired"]:
            node_tags.append("power:%d" % rng.randint(1, 3))
        if having["migration"]:
            node_tags.append("hv:%d" % rng.randint(1, 2))
        total = rng.choice((32, 48, 64, 96)) * 1024
        disk = rng.choice((2, 4, 6)) * 1024 * 1024
        made.append(Node(
            name="node%02d" % index, group=index % len(groups), total_memory=total, node_memory=rng.choice((512, 1024)),
            free_memory=0, total_disk=disk, free_disk=disk, total_cpus=rng.choice((8, 16, 24)),
            offline=having["offline"] and index > 2 and rng.random() < 0.25, master=index == 0,
            spindles=rng.choice((8, 12)), tags=tuple(node_tags),
            cpu_speed=rng.choice((1.0, 1.5)) if having["speeds"] else 1.0,
        ))
    free_memory = [node.total_memory - node.node_memory - (rng.choice((0, 300)) if having["missing"] else 0) for node in made]
    free_disk = [node.free_disk for node in made]
    rows = []
    for index in range(instances if instances is not None else rng.randint(count, 6 * count)):
        kinds = templates or (("drbd", "drbd", "plain", "rbd", "sharedfile", "ext", "diskless", "file")
                              if having["templates"] else ("drbd",))
        template = rng.choice(kinds)
        memory, disk = rng.randint(4, 96) * 64, rng.randint(1, 400) * 256
        status = rng.choice(("running", "ADMIN_down", "ADMIN_offline", "ERROR_up")) if having["idle"] else "running"
        forthcoming = having["forthcoming"] and rng.random() < 0.2
        group = rng.randrange(len(groups))
        own = [one for one in range(count) if made[one].group == group]
        if len(own) < 2:
            continue
        # Skewed, so that there is something to balance.
        primary = own[min(int(rng.random() ** 1.7 * len(own)), len(own) - 1)]
        secondary = rng.choice([one for one in own if one != primary]) if template == "drbd" else -1
        needs = not forthcoming and status in ("running", "ERROR_up")
        space = disk if template in ("drbd", "plain") and not forthcoming else 0
        if (needs and free_memory[primary] - memory < 512) or free_disk[primary] - space < 1024 or (
                secondary >= 0 and free_disk[secondary] - space < 1024):
            continue
        free_memory[primary] -= memory if needs else 0
        free_disk[primary] -= space
        if secondary >= 0:
            free_disk[secondary] -= space
        wanted = []
        if having["exclusion"] and rng.random() < 0.5:
            wanted.append("service:%d" % rng.randint(1, 4))
        if having["desired"] and rng.random() < 0.5:
            wanted.append("power:%d" % rng.randint(1, 3))
        rows.append(Instance(
            name="inst%03d" % index, memory=memory, disk=disk, vcpus=rng.randint(1, 4), status=status,
            auto_balance=not (having["manual"] and rng.random() < 0.2), primary=primary, secondary=secondary,
            template=template, tags=tuple(wanted), spindle_use=rng.choice((1, 1, 2)), disks=(disk,), disk_spindles=(None,),
            forthcoming=forthcoming,
        ))
    made = [node._replace(free_memory=free_memory[index], free_disk=free_disk[index]) for index, node in enumerate(made)]
    return Cluster(groups, made, rows, tags, POLICY)
