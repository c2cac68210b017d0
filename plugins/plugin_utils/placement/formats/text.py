# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""htools' text format (``-t FILE``): groups, nodes, instances, cluster tags, instance policies.

Five sections with one empty line between them, fields separated by ``|``, lists by commas, memory and disk in MiB.
The last section and the last fields of a line may be missing.
"""

from __future__ import annotations

import math

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import (
    ALLOC_POLICIES, STATUS_HOLDS_MEMORY, TEMPLATES, Cluster, Group, Instance, Node, Policy, Spec,
)

_SECTIONS = ("groups", "nodes", "instances", "cluster tags", "instance policies")
#: Larger numbers are no longer exact.
_LARGEST = 2 ** 53


class _Line:
    """One line and where it stands, for errors and for reading its fields."""

    def __init__(self, number, text, kind, least):
        self.number = number
        self.kind = kind
        self.fields = text.split("|")
        if len(self.fields) < least:
            raise self.error("%d fields" % len(self.fields), "at least %d, separated by |" % least)

    def error(self, found, expected, mend=None):
        return GantryError(
            "Line %d of the cluster's data, in the section %s, cannot be read" % (self.number, self.kind),
            found=found, expected=expected, mend=mend or "correct the line", code="bad_input",
        )

    def text(self, index, default=""):
        return self.fields[index] if index < len(self.fields) else default

    def list(self, index):
        text = self.text(index)
        return tuple(text.split(",")) if text else ()

    def number_at(self, index, what, default=None, whole=True, least=None):
        """The number in a field.

        :param whole: whole numbers only.
        :param least: the smallest that makes sense.
        """
        text = self.fields[index] if index < len(self.fields) else None
        if text is None and default is not None:
            return default
        return self.convert(text, "%s (field %d)" % (what, index + 1), whole, least)

    def convert(self, text, what, whole=True, least=None):
        """A number from a text."""
        try:
            value = int(text) if whole else float(text)
        except (TypeError, ValueError):
            value = None
        if value is None or not math.isfinite(value) or abs(value) > _LARGEST or "_" in text:
            raise self.error("%s is %s" % (what, repr(text)), "a %snumber" % ("whole " if whole else ""))
        if least is not None and value < least:
            raise self.error("%s is %s" % (what, text), "%s or more" % least)
        return float(value)

    def choice(self, index, what, allowed, default=None):
        text = self.text(index, default)
        if text not in allowed:
            raise self.error("%s is %s" % (what, repr(text)), "one of " + ", ".join(allowed))
        return text

    def known(self, index, what, positions):
        text = self.text(index)
        if text not in positions:
            raise self.error("%s %s, which is not in the data" % (what, repr(text)), "a known %s" % what)
        return positions[text]


def parse(text, exclusion_tags=()):
    """Read a cluster.

    :param text: the whole text.
    :param exclusion_tags: see :class:`.model.Cluster`.
    :raises GantryError: with the line and what was expected there.
    """
    sections = _sections(text)
    groups = [_group(_Line(number, line, "groups", 4)) for number, line in sections[0]]
    by_uuid = _positions([group.uuid for group in groups], "groups", sections[0])
    by_name = _positions([group.name for group in groups], "groups", sections[0])
    nodes = [_node(_Line(number, line, "nodes", 9), by_uuid) for number, line in sections[1]]
    node_positions = _positions([node.name for node in nodes], "nodes", sections[1])
    instances = [_instance(_Line(number, line, "instances", 10), node_positions) for number, line in sections[2]]
    _positions([instance.name for instance in instances], "instances", sections[2])
    policy = Policy()
    for number, line in sections[4]:
        read = _Line(number, line, "instance policies", 6)
        if not read.text(0):
            policy = _policy(read)
        else:
            groups[read.known(0, "group", by_name)].policy = _policy(read)
    return Cluster(groups, nodes, instances, [line for number, line in sections[3]], policy, exclusion_tags)


def _sections(text):
    """The lines of each section with their numbers; five of them, the last maybe empty."""
    sections = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        if line:
            sections[-1].append((number, line))
        else:
            sections.append([])
    if len(sections) < 4:
        raise GantryError(
            "The cluster's data is not in htools' text format", found="%d sections separated by an empty line" % len(sections),
            expected="at least four: " + ", ".join(_SECTIONS), mend="write it with hscan, or with gnt-cluster's tools",
            code="bad_input",
        )
    return (sections + [[]])[:5]


def _positions(names, kind, lines):
    positions = {}
    for index, name in enumerate(names):
        if name in positions:
            raise GantryError(
                "Line %d of the cluster's data, in the section %s, names %s again" % (lines[index][0], kind, repr(name)),
                found="the same name in line %d" % lines[positions[name]][0], expected="each name once",
                mend="remove one of the lines", code="bad_input",
            )
        positions[name] = index
    return positions


def _group(line):
    return Group(
        name=line.text(0), uuid=line.text(1), alloc_policy=line.choice(2, "allocation policy", ALLOC_POLICIES),
        tags=line.list(3), networks=line.list(4),
    )


def _node(line, groups):
    group = line.known(8, "group", groups)
    # What a node did not tell is a question mark; it is then as good as offline.
    if "?" in line.fields[1:7]:
        return Node(name=line.text(0), group=group, offline=True, spindles=0.0)
    flag = line.choice(7, "offline or master", ("N", "Y", "M"))
    return Node(
        name=line.text(0),
        group=group,
        total_memory=line.number_at(1, "total memory", whole=False, least=0),
        node_memory=line.number_at(2, "memory of the node itself"),
        free_memory=line.number_at(3, "free memory"),
        total_disk=line.number_at(4, "total disk", whole=False, least=0),
        free_disk=line.number_at(5, "free disk"),
        total_cpus=line.number_at(6, "processors", whole=False, least=0),
        offline=flag == "Y",
        master=flag == "M",
        spindles=line.number_at(9, "spindles", default=1.0),
        tags=line.list(10),
        exclusive_storage=line.choice(11, "exclusive storage", ("N", "Y"), "N") == "Y",
        free_spindles=line.number_at(12, "free spindles", default=0.0),
        node_cpus=line.number_at(13, "processors of the node itself", default=1.0),
        cpu_speed=line.number_at(14, "speed of a processor", default=1.0, whole=False, least=0.000001),
    )


def _instance(line, nodes):
    fields = line.fields
    name = fields[0]
    primary = line.known(6, "node", nodes)
    secondary = line.known(7, "node", nodes) if fields[7] else -1
    template = line.choice(8, "disk template", TEMPLATES)
    if template == "drbd" and secondary == primary:
        raise line.error("%s is both the primary and the secondary" % fields[6], "two nodes")
    disk = line.number_at(2, "disk", least=0)
    spindles = line.text(11, "-")
    spindles = None if spindles == "-" else line.convert(spindles, "spindles (field 12)")
    return Instance(
        name=name,
        memory=line.number_at(1, "memory", least=0),
        disk=disk,
        vcpus=line.number_at(3, "processors", least=0),
        status=line.choice(4, "status", STATUS_HOLDS_MEMORY),
        auto_balance=line.choice(5, "auto balance", ("Y", "N")) == "Y",
        primary=primary,
        secondary=secondary,
        template=template,
        tags=line.list(9),
        spindle_use=line.number_at(10, "spindle use", default=1.0, least=0),
        disks=(disk,),
        disk_spindles=(spindles,),
        forthcoming=line.choice(12, "forthcoming", ("N", "Y"), "N") == "Y",
    )


def _spec(line, text, what):
    fields = text.split(",")
    if len(fields) < len(Spec._fields):
        raise line.error("%s has %d numbers" % (what, len(fields)), "six: memory,cpus,disk,disks,nics,spindles")
    return Spec(*(line.convert(value, what, least=0) for value in fields[:len(Spec._fields)]))


def _policy(line):
    corners = line.text(2).split(";") if line.text(2) else []
    if len(corners) % 2:
        raise line.error("%d specs in field 3" % len(corners), "pairs of minimum;maximum")
    specs = [_spec(line, text, "minimum or maximum") for text in corners]
    for template in line.list(3):
        if template not in TEMPLATES:
            raise line.error("disk template %s" % repr(template), "some of " + ", ".join(TEMPLATES))
    return Policy(
        std=_spec(line, line.text(1), "standard"),
        pairs=tuple(zip(specs[::2], specs[1::2])),
        templates=line.list(3),
        vcpu_ratio=line.number_at(4, "vcpu ratio", whole=False),
        spindle_ratio=line.number_at(5, "spindle ratio", whole=False, least=0),
    )


def render(cluster, primary=None, secondary=None, nodes=None):
    """A cluster as text, the reverse of :func:`parse`.

    :param primary: the primaries to write instead of those that were read, by position of the instance.
    :param secondary: likewise.
    :param nodes: rows to write instead of the cluster's, as a placement changes what is free.
    """
    primary = cluster.instances.primary if primary is None else primary
    secondary = cluster.instances.secondary if secondary is None else secondary
    names = cluster.nodes.names
    lines = [
        "|".join((group.name, group.uuid, group.alloc_policy, ",".join(group.tags), ",".join(group.networks)))
        for group in cluster.groups
    ] + [""]
    for node in nodes or [cluster.nodes.row(index) for index in range(len(cluster.nodes))]:
        lines.append("|".join((
            node.name, _number(node.total_memory), _number(node.node_memory), _number(node.free_memory),
            _number(node.total_disk), _number(node.free_disk), _number(node.total_cpus),
            "Y" if node.offline else "M" if node.master else "N", cluster.groups[node.group].uuid, _number(node.spindles),
            ",".join(node.tags), "Y" if node.exclusive_storage else "N", _number(node.free_spindles),
            _number(node.node_cpus), repr(float(node.cpu_speed)),
        )))
    lines.append("")
    for index, row in enumerate(cluster.instances.rows):
        spindles = row.total_spindles()
        lines.append("|".join((
            row.name, _number(row.memory), _number(row.disk), _number(row.vcpus), row.status,
            "Y" if row.auto_balance else "N", names[primary[index]],
            names[secondary[index]] if secondary[index] >= 0 else "", row.template, ",".join(row.tags),
            _number(row.spindle_use), "-" if spindles is None else _number(spindles), "Y" if row.forthcoming else "N",
        )))
    lines += [""] + cluster.tags + [""]
    lines.append(_policy_line("", cluster.policy))
    lines += [_policy_line(group.name, group.policy) for group in cluster.groups]
    return "\n".join(lines) + "\n"


def moved(cluster, state):
    """``cluster`` as text with the placement and the free space of a state."""
    nodes = []
    for index in range(len(cluster.nodes)):
        node = cluster.nodes.row(index)
        free = node.free_memory + state.base_memory[index] - state.memory_held[index]
        nodes.append(node._replace(
            free_memory=float(free), free_disk=float(state.disk[index]),
            free_spindles=float(state.spindles_free[index]) if node.exclusive_storage else node.free_spindles,
        ))
    return render(cluster, state.primary, state.secondary, nodes)


def _number(value):
    value = float(value)
    return "%d" % value if value == int(value) else repr(value)


def _policy_line(owner, policy):
    specs = [",".join(_number(value) for value in spec) for pair in policy.pairs for spec in pair]
    return "|".join((
        owner, ",".join(_number(value) for value in policy.std), ";".join(specs), ",".join(policy.templates),
        repr(float(policy.vcpu_ratio)), repr(float(policy.spindle_ratio)),
    ))
