# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the cluster healthy, group by group, and would it be after balancing?"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import moves as m
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.balance import balance
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.model import np
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.redundancy import Redundancy
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.score import score
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import State

#: What is counted, and in words.
COUNTS = {
    "N1_FAIL": "nodes that would not survive a peer's loss",
    "CONFLICT_TAGS": "nodes with instances that exclude each other",
    "OFFLINE_PRI": "instances whose primary is offline",
    "OFFLINE_SEC": "instances whose secondary is offline",
    "GN1_FAIL": "nodes that cannot be evacuated",
}


def group_counts(state, group, capacity=True):
    """Counts of one group: ``{key of COUNTS: number}``.

    :param capacity: look at the loss of each node too.
    """
    inside = state.cluster.nodes.group == group
    online = inside & ~state.offline
    offline = inside & state.offline
    counts = {
        "N1_FAIL": int((state.fails_n1[online] > 0).sum()),
        "CONFLICT_TAGS": int((state.tags_on[:, inside] > 1).any(axis=0).sum()) if len(state.tags_on) else 0,
        "OFFLINE_PRI": int(state.primaries[offline].sum()),
        "OFFLINE_SEC": int(state.secondaries[offline].sum()),
    }
    if capacity:
        counts["GN1_FAIL"] = len(Redundancy(state, inside).reasons())
    return counts


def check(cluster, capacity=True, simulate=True, options=m.Options(), limit=-1, effort=0.0):
    """Check all groups, and again after balancing each if anything is wrong.

    :returns: ``{"groups": [{"name", "uuid", "initial": counts, "score", "final": …, "final_score", "moves"}],
        "initial": sums, "final": sums, "healthy": bool, "mendable": bool}``
    """
    groups = []
    present = set(cluster.nodes.group.tolist())
    for index, group in enumerate(cluster.groups):
        if index not in present:
            continue
        state = State(cluster, index)
        groups.append({"index": index, "name": group.name, "uuid": group.uuid, "initial": group_counts(state, index, capacity),
                       "score": score(state), "state": state})
    initial = _sums(groups, "initial")
    healthy = not any(initial.values())
    for one in groups:
        state = one.pop("state")
        one["moves"] = 0
        if simulate and not healthy and len(cluster.instances):
            one["moves"] = len(balance(state, options, limit, effort).steps)
        one["final"] = group_counts(state, one["index"], capacity)
        one["final_score"] = score(state)
    final = _sums(groups, "final")
    return {"groups": groups, "initial": initial, "final": final, "healthy": healthy, "mendable": not any(final.values())}


def _sums(groups, key):
    return {name: int(np.sum([one[key][name] for one in groups])) for name in (groups[0][key] if groups else ())}
