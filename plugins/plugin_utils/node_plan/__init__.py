# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verb on a node does with each instance of it: pure functions, one per verb.

All instances are planned together on one pool of free memory and disk, so that what is moved at the same time never
counts on the same space. The plan is made before anything is touched; each step's own verb looks again before it acts.

An observation is what the action node_info returned for a node. A plan is
``{"verb", "node", "instances": [entry], "notes": [sentence]}``; an entry has ``name``, ``steps`` (in order, each
``{"do": migrate | failover | replace | activate | repair, ...}``), ``why`` (in words), ``left`` (why it is not, or not
wholly, done; None when nothing is left), ``lost`` (it can do nothing but wait for the node) and ``rejected``
(``{node: [reasons]}``, the nodes that could not take its mirror).
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_plan import leaving, returning

VERBS = {
    "migrate": leaving.migrate,
    "failover": leaving.failover,
    "evacuate": leaving.evacuate,
    "reboot": leaving.reboot,
    "readd": returning.readd,
}


def plan(verb, node, records, nodes, observations, params=None):
    """The plan of one verb for one node.

    :param node: the node's name.
    :param records: all instance records by name.
    :param nodes: all node records by name.
    :param observations: a list; nodes that are marked offline may be missing.
    :param params: ``evacuate`` (primary, secondary or all), ``force``, ``allow_failover``, ``dead_node`` (the operator's
        word), ``can_fence``, ``waited``.
    :raises GantryError: the verb must not touch anything.
    """
    if node not in nodes:
        raise GantryError(
            "Unknown node %s" % node, found="nodes: " + (", ".join(sorted(nodes)) or "none"),
            mend="correct gantry_node_name, or run node_add", code="unknown_node",
        )
    return dict(VERBS[verb](node, records, nodes, observations, params or {}), verb=verb, node=node)


def to_ask(verb, node, nodes):
    """The nodes whose state the plan needs: all that are not marked offline, and for a return the node itself."""
    return sorted(name for name, record in nodes.items() if not record.get("offline") or (verb == "readd" and name == node))
