# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who chooses nodes: the engine, or a program that speaks Ganeti's IAllocator protocol, version 2.

The caller says which nodes can take an instance at all; the one asked says which of them is best. What a program answers is
believed only where it names one of those nodes. Every choice changes the picture for the next one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import registry

BUILTIN = "builtin"
HAIL = "hail"
#: Where Debian's package puts it, when it is not on the path.
_HAIL_PATH = "/usr/lib/ganeti/iallocators/hail"
#: Seconds a program may take.
TIMEOUT = 600


def check_program(name):
    """The name as it is, if it is ``builtin``, ``hail`` and that is installed, or the absolute path of a program.

    :raises GantryError: anything else.
    """
    text = str(name)
    if text == BUILTIN:
        return text
    path = program_path(text)
    if path is None or not os.path.isabs(path) or not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise GantryError(
            "The allocator %s cannot be used" % text,
            found="no absolute path" if path is not None and not os.path.isabs(path) else (
                "no program %s on this controller" % (path or text)),
            expected="builtin, hail, or the absolute path of a program that can be run here",
            mend="install it (hail is in ganeti-htools), or correct gantry_iallocator", code="bad_iallocator",
        )
    return text


def program_path(name):
    """The program behind a setting; None for the engine's own, or where hail is not installed."""
    if name == BUILTIN:
        return None
    if name == HAIL:
        return shutil.which(HAIL) or (_HAIL_PATH if os.path.exists(_HAIL_PATH) else None)
    return name


class Chooser:
    """Answers one request after the other; each sees what the earlier ones took.

    :param settings: the cluster's settings; ``iallocator`` names who is asked.
    :param asked: specifications of instances that have no place yet.
    :param capacity: must the cluster be able to lose any node after an instance was added?
    :param force: waive what an operator may take upon himself: N+1, ratios, exclusion tags.
    """

    def __init__(self, settings, nodes, records, observations, asked=(), capacity=False, force=False):
        self.model = registry.load(settings, nodes, records, observations, asked)
        from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.allocate import Allocator
        from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.state import N1_UNALLOCATED, State
        self.settings = settings
        self.name = settings.get("iallocator") or BUILTIN
        self.state = State(self.model.cluster, n1_rule=N1_UNALLOCATED)
        self.allocator = Allocator(self.state, capacity, force, explain=True, waive=force)
        self.force = force

    # -- the picture ------------------------------------------------------------------------------------------

    def put(self, name, primary, secondary=None):
        """Note where an instance is from now on, without asking anybody."""
        from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.balance import put
        i = self.model.instances[name]
        places = self.model.nodes[primary], self.model.nodes[secondary] if secondary else -1
        if self.state.primary[i] < 0:
            self.allocator.place(i, [place for place in places if place >= 0])
        else:
            put(self.state, i, places)

    def score(self):
        """The cluster's score now, and its metrics: ``{"score", "metrics"}``."""
        from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import score
        self.state.set_scope(None)
        return {"score": score.score(self.state), "metrics": score.metrics(self.state)}

    # -- requests ---------------------------------------------------------------------------------------------

    def place(self, name, primaries, secondaries=None):
        """Nodes for a new instance.

        :param primaries: names of the nodes that can be its primary.
        :param secondaries: names of those that can be its secondary; None for an instance without one.
        :returns: ``{"nodes", "rejected": {node: reason}, "candidates": [{"nodes", "score"}], "fitting"}``; ``nodes`` is empty
            where none will do, and then ``why`` says it.
        :raises GantryError: the program's answer cannot be used.
        """
        i = self.model.instances[name]
        required = 1 if secondaries is None else 2
        if self.name != BUILTIN:
            nodes = self._ask_for_place(i, primaries, secondaries)
            self.put(name, *nodes)
            return {"nodes": nodes, "rejected": {}, "candidates": [], "fitting": None, "why": "chosen by %s" % self.name}
        group = None
        if len(primaries) == 1:
            # a node that was named may be in a group that takes nothing by itself
            group = int(self.model.cluster.nodes.group[self.model.nodes[primaries[0]]])
        choice = self.allocator.allocate(i, required, group, set(primaries), None if secondaries is None else set(secondaries))
        names = self.model.names
        return {
            "nodes": names(choice.nodes), "rejected": choice.rejected, "fitting": choice.fitting, "why": ", ".join(choice.log),
            "candidates": [{"nodes": names(nodes), "score": round(score, 6)} for score, nodes in choice.best],
        }

    def new_secondary(self, name, fitting):
        """A new node for the mirror of an instance, or None where the engine finds none.

        :param fitting: names of the nodes that can take it.
        :raises GantryError: the program's answer cannot be used.
        """
        i = self.model.instances[name]
        if self.name != BUILTIN:
            new = self._ask_for_secondary(i, fitting)
            self.put(name, self.model.names([self.state.primary[i]])[0], new)
            return new
        from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.evacuate import relocate
        only = {self.model.nodes[node] for node in fitting}
        leave = [int(self.state.secondary[i])]
        for soft in (False, True):
            try:
                return self.model.names([relocate(self.state, i, leave, soft, only)])[0]
            except GantryError as refusal:
                if refusal.code != "no_space":
                    raise
        return None

    # -- a program --------------------------------------------------------------------------------------------

    def _ask_for_place(self, i, primaries, secondaries):
        row = self.model.cluster.instances.rows[i]
        from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import iallocator
        if secondaries is not None and len(primaries) == 1:
            # the primary was named: only its mirror is to be placed
            request = {"type": "allocate-secondary", "name": row.name}
            message = self._message(request, set(primaries) | set(secondaries), {i: (self.model.nodes[primaries[0]], "plain")})
            return [primaries[0], read_node(self._run(message, row.name), row.name, secondaries)]
        count = 1 if secondaries is None else 2
        request = dict(iallocator.describe(row), type="allocate", name=row.name, required_nodes=count)
        message = self._message(request, set(primaries) | set(secondaries or ()), {})
        answer = self._run(message, row.name)
        return read_nodes(answer, row.name, [primaries] if count == 1 else [primaries, secondaries])

    def _ask_for_secondary(self, i, fitting):
        row, place = self.model.cluster.instances.rows[i], self.model.names
        here = place([self.state.primary[i], self.state.secondary[i]])
        request = {"type": "relocate", "name": row.name, "disk_space_total": int(row.disk), "required_nodes": 1,
                   "relocate_from": here[1:]}
        answer = self._run(self._message(request, set(fitting) | set(here), {}), row.name)
        return read_nodes(answer, row.name, [fitting])[0]

    def _message(self, request, closed_but, placed):
        """The request with the cluster as it is by now. Nodes that cannot take the instance are shown as offline.

        :param closed_but: names of the nodes that are open.
        :param placed: by position of an instance ``(primary, template)`` to show it with.
        """
        from ansible_collections.gantry.cluster.plugins.plugin_utils.placement import model as m
        from ansible_collections.gantry.cluster.plugins.plugin_utils.placement.formats import iallocator
        cluster, state, rows, nodes = self.model.cluster, self.state, [], []
        for i, row in enumerate(cluster.instances.rows):
            primary, template = placed.get(i, (int(state.primary[i]), row.template))
            rows.append(row._replace(primary=primary, secondary=int(state.secondary[i]), template=template))
        for index, name in enumerate(cluster.nodes.names):
            node = cluster.nodes.row(index)
            nodes.append(node._replace(
                free_memory=float(node.free_memory + state.base_memory[index] - state.memory_held[index]),
                free_disk=float(state.disk[index]), offline=node.offline or name not in closed_but))
        shown = m.Cluster(cluster.groups, nodes, rows, cluster.tags, cluster.policy)
        return dict(iallocator.render(shown, request), cluster_name=self.settings.get("name") or "cluster")

    def _run(self, message, name):
        return run(self.name, message, "instance %s" % name)


# -- programs ----------------------------------------------------------------------------------------------------------


def _untrusted(program, what, found, expected):
    return GantryError("The allocator %s gave no usable answer for %s" % (program, what), found=found, expected=expected,
                       mend="correct the program, or set gantry_iallocator to builtin with cluster_init", code="bad_answer")


def run(program, message, what):
    """Run an allocator on a message; its answer with everything checked but the result.

    :param program: a value that :func:`check_program` lets through.
    :param what: whom it is about, for errors.
    :returns: ``{"program", "result"}``.
    :raises GantryError: it cannot be run, says no, or answers something else.
    """
    path = program_path(check_program(program))
    handle, name = tempfile.mkstemp(prefix="gantry-iallocator-", suffix=".json")  # readable by its owner alone
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(message, stream)
        try:
            done = subprocess.run([path, name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise _untrusted(program, what, "nothing within %d s" % TIMEOUT, "an answer") from None
        except OSError as error:
            raise _untrusted(program, what, "it cannot be run: %s" % error.strerror, "a program") from None
    finally:
        os.unlink(name)
    if done.returncode:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        raise _untrusted(program, what, "exit code %d: %s" % (done.returncode, last[:200]), "exit code 0")
    return read(program, done.stdout, what)


def read(program, text, what):
    """Check an answer's outside. Pure."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise _untrusted(program, what, "no JSON: %r" % text[:80], "a JSON object") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("success"), bool) or not isinstance(answer.get("info"), str) \
            or "result" not in answer:
        raise _untrusted(program, what, json.dumps(answer)[:120], "an object with success (true or false), info (a text) and result")
    if not answer["success"]:
        raise GantryError(
            "The allocator %s has no place for %s" % (program, what), found=answer["info"], expected="nodes with room for it",
            mend="free space, add a node with node_add, or make the instance smaller", code="no_space",
        )
    return {"program": program, "result": answer["result"]}


def read_nodes(answer, name, allowed):
    """The nodes of a result. Pure.

    :param answer: see :func:`read`.
    :param allowed: for each node that is needed the names it may have.
    """
    program, result, what = answer["program"], answer["result"], "instance %s" % name
    if not isinstance(result, list) or not all(isinstance(node, str) for node in result) or len(result) != len(allowed) \
            or len(set(result)) != len(result):
        raise _untrusted(program, what, json.dumps(result)[:120], "%d different node%s" % (len(allowed), "s" if len(allowed) > 1 else ""))
    for node, names in zip(result, allowed):
        if node not in names:
            raise _untrusted(program, what, "node %s" % node, "one of " + ", ".join(sorted(names)))
    return result


def read_node(answer, name, allowed):
    """The one node of a result that is a text. Pure."""
    return read_nodes(dict(answer, result=[answer["result"]]), name, [allowed])[0]
