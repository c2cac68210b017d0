# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's Ansible inventory, ready to use."""

from __future__ import annotations

import json
import re

from . import config, node as nodes
from .config import Paths


def trust_options(paths: Paths) -> list:
    """Options of ssh that say whom to trust; every way into a node has them."""
    return [
        ("UserKnownHostsFile", str(paths.known_hosts)),
        ("StrictHostKeyChecking", "yes"),
        ("IdentitiesOnly", "yes"),
    ]


def reuse_options(paths: Paths) -> list:
    """Options of ssh that keep a connection for the next command: each new one costs an emulated CPU a second."""
    return [
        ("ControlMaster", "auto"),
        ("ControlPersist", "120s"),
        ("ControlPath", f"{paths.run}/%C"),
        ("ServerAliveInterval", "10"),
        ("ServerAliveCountMax", "6"),
    ]


def build(paths: Paths, lab: dict) -> dict:
    """The inventory as data."""
    hosts = {}
    flavours = {nodes.flavour(lab, node) for node in lab["nodes"]}
    for node, own in sorted(lab["nodes"].items(), key=lambda item: nodes.number(item[0])):
        hosts[node] = {
            "ansible_host": "127.0.0.1",
            "ansible_port": own["ssh_port"],
            "gantry_node_address": nodes.address(node),
            "gantry_node_hypervisors": list(config.HYPERVISORS[nodes.flavour(lab, node)]),
            # Guests never move from one hypervisor to another.
            **({"gantry_node_group": nodes.flavour(lab, node)} if len(flavours) > 1 else {}),
            "gantry_fence": [
                {
                    "agent": str(config.ROOT / "lab" / "fence_lab"),
                    "options": {"lab": str(paths.state), "plug": node},
                }
            ],
        }
    trust, reuse = (
        " ".join(f"-o {name}={quote(value)}" for name, value in part)
        for part in (trust_options(paths), reuse_options(paths))
    )
    return {
        "all": {
            "vars": {
                "gantry_registry": f"sqlite:///{paths.state / 'registry.db'}",
            },
            "children": {
                "gantry_nodes": {
                    "hosts": hosts,
                    "vars": {
                        "ansible_user": "root",
                        "ansible_ssh_private_key_file": str(paths.client_key),
                        "ansible_ssh_common_args": trust,
                        # In place of ansible-core's own: those compress, and their socket's path may grow too long.
                        "ansible_ssh_args": reuse,
                        "ansible_ssh_pipelining": True,
                        "ansible_ssh_timeout": 30,
                        "ansible_python_interpreter": "/usr/local/bin/gantry-lab-python",
                        "gantry_node_vg": config.VOLUME_GROUP,
                    },
                }
            },
        }
    }


def quote(value: str) -> str:
    """The value, in quotes if ssh's own argument splitting would break it."""
    return value if re.fullmatch(r"[\w@%+=:,./-]+", value) else f"'{value}'"


def to_yaml(value, indent: int = 0) -> str:
    """YAML for dicts, lists and scalars; strings are quoted when YAML could take them for something else."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                lines.append(f"{pad}{_scalar(key)}:\n{to_yaml(item, indent + 1)}")
            else:
                lines.append(f"{pad}{_scalar(key)}: {_scalar(item)}")
        return "\n".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            text = to_yaml(item, indent + 1)
            lines.append(f"{pad}- {text.lstrip()}")
        return "\n".join(lines)
    return f"{pad}{_scalar(value)}"


def _scalar(value) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_/][\w./:-]*", value) and not value.endswith(":"):
        if value.lower() not in ("y", "n", "yes", "no", "on", "off", "true", "false", "null"):
            return value
    return json.dumps(value, ensure_ascii=False)


def write(paths: Paths, lab: dict) -> None:
    """Writes hosts.yml and registry.gantry.yml into the inventory folder, whose other files are the user's.

    The second one lists what the registry knows, with groups such as gantry_primary_node1.
    """
    head = "# Written by script/lab up. Put your own inventory files beside this one; this one is written anew.\n---\n"
    config.write(paths.inventory / "hosts.yml", head + to_yaml(build(paths, lab)) + "\n")
    config.write(paths.inventory / "registry.gantry.yml", head + "plugin: gantry.cluster.registry\n")
