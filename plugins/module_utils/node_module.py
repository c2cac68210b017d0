# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every node-side module shares: common arguments, the executor, errors, the exit."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor

#: One disk of an instance, as the registry's record has it. A fresh copy per module: see :func:`disk_spec`.
_DISK = {
    "index": {"type": "int", "required": True},
    "name": {"type": "str", "required": True},
    "template": {"type": "str", "required": True},
    "size_mib": {"type": "int", "required": True},
    "vg": {"type": "str"},
    "port": {"type": "int"},
    "purpose": {"type": "str"},
    "nodes": {"type": "dict", "default": {}},
}


#: What names the instance and the operation. The action plugin fills it in from ``operation``; a task may also name it.
_IDENTITY = ("name", "uuid", "generation", "node")


def instance_spec():
    """Arguments that name the instance and the operation acting on it."""
    return {
        "operation": {"type": "dict"},
        "name": {"type": "str"},
        "uuid": {"type": "str"},
        "generation": {"type": "int"},
        "record": {"type": "dict"},
        "node": {"type": "str"},
    }


def disks_spec():
    """Arguments that name the instance's disks and their shared secrets."""
    return {
        "disks": {"type": "list", "elements": "dict", "default": [], "options": {k: dict(v) for k, v in _DISK.items()}},
        "secrets": {"type": "dict", "default": {}, "no_log": True},
    }


def _refuse_nameless(params):
    """An instance's module must know which instance, on which node, in which operation."""
    missing = [key for key in _IDENTITY if key in params and params[key] is None]
    if "operation" in params and missing:
        raise GantryError(
            "It is not said which instance is meant", found="no " + ", ".join(missing),
            expected="operation, or all of " + ", ".join(_IDENTITY), code="nameless",
        )


def run_module(argument_spec, work, **kwargs):
    """Build the module, run ``work(module, executor)`` and exit with its result.

    :param work: returns a dict for ``exit_json``; raises :class:`GantryError` to fail.
    :param kwargs: further arguments of ``AnsibleModule``; check mode is always supported.
    """
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **kwargs)
    executor = Executor(check_mode=module.check_mode)
    try:
        _refuse_nameless(module.params)
        result = work(module, executor)
    except GantryError as error:
        module.fail_json(changed=executor.changed and not module.check_mode, actions=executor.changes, **error.as_result())
    result.setdefault("changed", executor.changed)
    result.setdefault("actions", executor.changes)
    if module._diff:
        result["diff"] = executor.diff()
    module.exit_json(**result)
