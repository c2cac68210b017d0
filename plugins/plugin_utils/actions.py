# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection's action plugins share.

Two kinds: a controller action works on the registry and plans; a node step runs the module of its own name on
the node the task is delegated to, after it has proven that the operation still holds its lock.
"""

from __future__ import annotations

import os

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.allocation import new_secret
from ansible_collections.gantry.cluster.plugins.plugin_utils.cluster_state import ClusterState
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry


class ControllerAction(ActionBase):
    """An action on the controller. Subclasses set ``SPEC`` and write :meth:`act`."""

    #: The argument spec; the documentation lives in the module of the same name.
    SPEC = {}
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        """Check the arguments, act, and turn a :class:`GantryError` into a failed result."""
        result = super().run(tmp, task_vars)
        self.vars = task_vars or {}
        arguments = self.validate_argument_spec(argument_spec=self.SPEC)[1]
        try:
            result.update(self.act(arguments))
        except GantryError as error:
            result.update(failed=True, **error.as_result())
        return result

    def act(self, arguments):
        """Do the work; return the result's keys. :raises GantryError: to fail."""
        raise GantryError("Action %s does nothing" % type(self).__name__, code="internal")

    @property
    def check_mode(self):
        """True when nothing may be changed."""
        return bool(self._task.check_mode)

    @property
    def host(self):
        """The inventory host the task runs for: an instance, in the workflows."""
        return self.vars["inventory_hostname"]

    def variable(self, name, default=None):
        """A variable of the host, templated."""
        value = self._templar.template(self.vars.get(name))
        return default if value is None else value

    def variable_of(self, host, name, default=None):
        """A variable of another host, templated."""
        value = self.vars["hostvars"][host].get(name)
        return default if value is None else value

    def registry_url(self):
        """The registry's URL. :raises GantryError: none is set."""
        url = self.variable("gantry_registry") or os.environ.get("GANTRY_REGISTRY")
        if not url:
            raise GantryError(
                "No registry is named", expected="the variable gantry_registry or the environment's GANTRY_REGISTRY",
                mend="set gantry_registry for all hosts, e.g. sqlite:///var/lib/gantry/registry.db", code="registry_unnamed",
            )
        return str(url)

    def state(self, create=False):
        """The cluster's state in the registry."""
        return ClusterState(open_registry(self.registry_url(), create=create))


class NodeStep(ControllerAction):
    """Runs the module of the same name on a node.

    With ``operation`` given, what the module has to know of the instance is filled in from it: name, UUID,
    generation, record, node, disks and (from the registry, never through a variable) the disks' secrets.
    A node that cannot be reached is a failed step, not an "unreachable" host: the instance is the host here, so
    the workflow's rescue can still look at the other node and settle.
    """

    _requires_connection = True
    MODULE = ""
    #: Whether the module takes the instance's disks.
    DISKS = True

    def run(self, tmp=None, task_vars=None):
        """Fill in, prove the lock, run the module."""
        result = ActionBase.run(self, tmp, task_vars)
        self.vars = task_vars or {}
        arguments = dict(self._task.args)
        operation = arguments.pop("operation", None)
        try:
            if operation is not None:
                self.prepare(arguments, operation)
            result.update(self.on_node(arguments))
        except GantryError as error:
            result.update(failed=True, **error.as_result())
        return result

    @property
    def node(self):
        """The node the task is delegated to, or the host itself."""
        return self._task.delegate_to or self.vars["inventory_hostname"]

    def prepare(self, arguments, operation):
        """Fill the module's arguments from the operation."""
        record = operation["instance"]
        state = self.state()
        if not self.check_mode:
            state.keep(operation)
        for key, value in (
            ("name", record["name"]), ("uuid", record["uuid"]), ("generation", operation["generation"]),
            ("record", {k: v for k, v in record.items() if k != "pending"}), ("node", self.node),
        ):
            arguments.setdefault(key, value)
        if self.DISKS:
            arguments.setdefault("disks", record["disks"])
            kept = state.secrets_of(record["uuid"])
            if operation["dry"] and not kept:
                # a new instance's secrets are made with its record; a prediction needs only that there are some
                kept = {str(disk["index"]): new_secret() for disk in record["disks"]}
            arguments.setdefault("secrets", kept)

    def on_node(self, arguments):
        """Run the module. :raises GantryError: the node does not answer."""
        try:
            return self._execute_module(module_name=self.MODULE, module_args=arguments, task_vars=self.vars)
        except AnsibleConnectionFailure as failure:
            raise GantryError(
                "Node %s does not answer" % self.node, found=str(failure).splitlines()[0] if str(failure) else "no answer",
                expected="an answer over SSH", mend="look at the node and the link to it; unreachable is not dead",
                code="unreachable",
            ) from failure
