# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps an instance where it is, and how it gets to other nodes."""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import node_space, suitability
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan.pool import interrupted
from ansible_collections.gantry.cluster.plugins.plugin_utils.verdicts import view as views


def refuse_silent(nodes, observations):
    seen = {observation["node"]: observation for observation in observations}
    silent = ["%s %s" % (name, node_space.silent(seen.get(name))) for name, node in sorted(nodes.items())
              if not node.get("offline") and node_space.silent(seen.get(name))]
    if silent:
        raise GantryError(
            "Nothing is moved: not every node answers", found="; ".join(silent),
            expected="an answer of every node that is not marked offline",
            mend="repair it; or if it is dead, run node_failover, which proves that and marks it offline", code="unreachable",
        )


def not_now(nodes, records, pool, allow_failover=False):
    """Instances whose move was cut off, with the steps that finish it, and those that cannot move, with the reason.

    :param allow_failover: what cannot migrate live may be stopped and started instead.
    """
    begun, stuck = {}, {}
    for name, record in sorted(records.items()):
        if record["disk_template"] != "drbd":
            continue
        pending = record.get("pending") or {}
        target = (pending.get("params") or {}).get("new_node" if pending.get("verb") == "replace_disks" else "target")
        if pending.get("verb") == "replace_disks" and target:
            begun[name] = {"why": "the move of its mirror to %s was interrupted and is finished" % target,
                           "steps": [{"do": "replace", "new_node": target}], "record": dict(record, secondary=target)}
        elif pending.get("verb") in ("migrate", "failover") and target in (record["primary"], record["secondary"]):
            other = record["secondary"] if target == record["primary"] else record["primary"]
            begun[name] = {"why": "its move to %s was interrupted and is finished" % target,
                           "steps": [{"do": pending["verb"], "target": target}], "record": dict(record, primary=target, secondary=other)}
        else:
            why = _stuck(record, nodes, pool, allow_failover)
            if why:
                stuck[name] = why
    return begun, stuck


def _stuck(record, nodes, pool, allow_failover):
    if record["status"] != "ready":
        return "it is %s: finish instance_add, or remove it" % record["status"]
    left = interrupted(record, None)
    if left:
        return left
    if nodes[record["primary"]].get("offline"):
        return "its primary %s is marked offline: node_failover starts it elsewhere" % record["primary"]
    picture = pool.picture(record)
    bound = _bound(record, picture)
    if bound and not allow_failover:
        return "it cannot migrate live: %s; gantry_allow_failover=true lets it be restarted" % "; ".join(bound)
    if picture["owner"] not in (None, record["primary"]) or picture["waiting"] or len(picture["alive"]) > 1:
        return "it is not where it should be: run instance_repair"
    lone = bool(nodes.get(record["secondary"], {}).get("offline"))
    for disk in picture["disks"]:
        if disk["verdict"] not in (views.REDUNDANT, views.DOWN) and not (lone and record["primary"] in disk["good"]):
            return "disk %d is %s (%s)" % (disk["index"], disk["verdict"], disk["detail"])
        if disk["verdict"] == views.DOWN and picture["alive"]:
            return "disk %d is %s (%s)" % (disk["index"], disk["verdict"], disk["detail"])
    return None


def _bound(record, picture):
    """Why an instance that runs cannot migrate live; nothing where it can, or does not run."""
    return suitability.bound_to_node(record, picture["nodes"].get(picture["owner"])) if picture["alive"] else []


def unfit(record, places, pool):
    """Why an instance cannot be on these nodes, beside what the engine knows; None when it can."""
    for name in set(places) - {record["primary"], record["secondary"]}:
        lacking = node_space.unsuited(record, pool.nodes[name])
        node = pool.nodes[name]
        need = node_space.disk_request(record, max(node["extent_mib"].values(), default=node_space.EXTENT_MIB))
        # the node's own volume group is the engine's business: it knows what leaves first
        foreign = {group: mib for group, mib in need.items() if (group or node["vg"]) != node["vg"]}
        request = {"memory_mib": 0, "disk_mib": foreign, "hypervisor": record["hypervisor"]}
        reasons = lacking + node_space.refusals(request, node, "secondary")
        if reasons:
            return "%s: %s" % (name, ", ".join(reasons))
    return None


def steps(record, places, pool):
    """The verbs that bring a mirrored instance to its places, primary first."""
    (primary, secondary), (target, mirror) = (record["primary"], record["secondary"]), places
    picture = pool.picture(record)
    verb = "migrate" if picture["alive"] and not _bound(record, picture) else "failover"
    found = []
    if not picture["alive"] and any(disk["verdict"] == views.DOWN for disk in picture["disks"]):
        found.append({"do": "activate"})

    def move(node):
        found.append({"do": verb, "target": node})

    def renew(node):
        found.append({"do": "replace", "new_node": node})

    if target == primary:
        renew(mirror)
    elif target == secondary:
        move(target)
        if mirror != primary:
            renew(mirror)
    elif mirror == secondary:
        # the guest waits on its mirror's node while the other copy is made
        move(secondary)
        renew(target)
        move(target)
    else:
        renew(target)
        move(target)
        if mirror != primary:
            renew(mirror)
    return found


def plain(value):
    """The same without numpy's numbers, which Ansible's variables do not hold."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return float(value) if isinstance(value, float) else value
