# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a node can run an instance, beside space: hypervisor, machine, processor, network, devices. Pure.

One list of questions for all who ask: placement before an instance is made, the verbs before it moves.
"""

from __future__ import annotations

import re

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils import tpm_hook
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor import parameters
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams, nic_spec

#: The first libvirt that takes a TPM which somebody else emulates.
EXTERNAL_TPM = (9, 0)


def facts(info):
    """What of a node's ``node_info`` is asked for here."""
    libvirt = info.get("libvirt") or {}
    return {
        "machines": libvirt.get("machine_list") or [], "domain_types": libvirt.get("domain_types") or [],
        "cpu_models": libvirt.get("cpu_models") or [], "bridges": info.get("bridges"),
        "ovs_bridges": info.get("ovs_bridges") or [], "vlan_bridges": info.get("vlan_bridges") or [],
        "pci_devices": info.get("pci_devices"), "cpus": info.get("cpus"), "cpu": info.get("cpu"),
        "libvirt_version": libvirt.get("version"), "qemu_version": libvirt.get("qemu_version"),
        "virt_caps": libvirt.get("virt_caps"), "tpm": info.get("tpm"),
    }


def lacks(record, node):
    """What a node lacks: a list of ``{"what", "expected", "mend", "code"}``; ``mend`` is said of the node.

    :param node: as :func:`facts` returns; a question that the node does not answer is not held against it.
    """
    found = []

    def add(what, expected, mend, code):
        found.append({"what": what, "expected": expected, "mend": mend, "code": code})

    if node["domain_types"] and record["domain_type"] not in node["domain_types"] or not node["domain_types"]:
        add("domain types %s" % (", ".join(node["domain_types"]) or "none"), record["domain_type"],
            "enable hardware virtualisation" if record["domain_type"] == "kvm" else "let it run hypervisor %s (gantry_node_hypervisors)"
            % record.get("hypervisor", "kvm"), "no_domain_type")
    if node["machines"] and record.get("machine") and record["machine"] not in node["machines"]:
        add("its QEMU has no machine type %s" % record["machine"], "the machine type the instance is pinned to", "upgrade QEMU",
            "no_machine_type")
    for nic in record["nics"]:
        lack = nic_spec.lacks(nic, node["bridges"] or [], node["ovs_bridges"], node["vlan_bridges"])
        if lack:
            add(*lack, "no_bridge")
    if record.get("hypervisor", "kvm") in hypervisors.BACKENDS:
        values = hvparams.values_of(dict({"hypervisor": "kvm"}, **record))
        model = cpu_model(record, values)
        if model and node["cpu_models"] and model not in node["cpu_models"]:
            add("its processor cannot be a %s" % model, "one of the models it has ('virsh domcapabilities')",
                "give the instance a cpu_type that all its nodes have", "no_cpu_model")
        for address in values.get("pci_devices") or []:
            if node["pci_devices"] is not None and address not in node["pci_devices"]:
                add("no PCI device %s" % address, "the device that is handed to the guest", "install it in the same slot", "no_pci_device")
        if values.get("tpm") == "2.0":
            found += _tpm(record, values, node)
        most = most_cpu(values.get("cpu_mask") or "all")
        if node["cpus"] and most is not None and most >= node["cpus"]:
            add("no processor %d" % most, "the processors of cpu_mask", "give the instance another cpu_mask", "no_cpu")
    return found


def _tpm(record, values, node):
    """What a node lacks for a guest with a TPM: an emulator; for mirrored disks also libvirt's hook, and a libvirt that knows such TPMs."""
    found, seen = [], node.get("tpm")
    seen = seen if isinstance(seen, dict) else {}
    if seen.get("lacking"):
        found.append({"what": "no emulator of a TPM: it lacks %s" % ", ".join(seen["lacking"]),
                      "expected": "the packages swtpm and swtpm-tools", "mend": "apt install %s" % " ".join(seen["lacking"]),
                      "code": "no_tpm"})
    version = _version(node.get("libvirt_version"))
    if hvparams.needs_tpm(record, values) and version and version < EXTERNAL_TPM:
        found.append({"what": "libvirt %s knows no TPM on a mirrored disk" % node["libvirt_version"],
                      "expected": "%d.%d or newer" % EXTERNAL_TPM, "mend": "upgrade libvirt", "code": "no_tpm"})
    elif hvparams.needs_tpm(record, values) and seen.get("hook") is False:
        found.append({"what": "libvirt's hook for a TPM on a mirrored disk is not there", "expected": tpm_hook.PATH,
                      "mend": "run node_add for it again", "code": "no_tpm"})
    return found


def cpu_model(record, values):
    """The named processor model the guest is given, or None: QEMU's own, or the host's."""
    wanted = values.get("cpu_type")
    if wanted == "baseline":
        return record.get("cpu_model")
    return None if wanted in (None, "host", "host-model") else wanted


def most_cpu(mask):
    """The highest number of a ``cpu_mask``, None for all."""
    numbers = [number for part in mask.split(":") if part != "all" for number in parameters.read_set(part)]
    return max(numbers, default=None)


def bound_to_node(record, source=None):
    """Why the running guest can move to no other node, as sentences; empty when it can.

    :param source: :func:`facts` of the node it runs on, whose hypervisor may be unable to send it; None: that is not asked.
    """
    whole = dict({"hypervisor": "kvm"}, **record)
    backend, values = hypervisors.backend(whole["hypervisor"]), hvparams.values_of(whole)
    obstacle = backend.obstacle(values, source.get("virt_caps")) if source else None
    return backend.bound_to_node(values) + ([obstacle["what"]] if obstacle else [])


def migration_obstacles(record, source, target):
    """Why a guest cannot move live from one node to another although both can run it: as :func:`lacks`.

    :param source: :func:`facts` of the node it runs on; ``target`` of the other.
    """
    found = []
    values = hvparams.values_of(dict({"hypervisor": "kvm"}, **record))
    for why in bound_to_node(record):
        found.append({"what": why, "expected": "a guest that can leave its node",
                      "mend": "move it with instance_failover, which stops it here and starts it there", "code": "not_migratable"})
    obstacle = hypervisors.backend(record.get("hypervisor", "kvm")).obstacle(values, source.get("virt_caps"))
    if obstacle:
        found.append(obstacle)
    for what, key in (("QEMU", "qemu_version"), ("libvirt", "libvirt_version")):
        here, there = _version(source[key]), _version(target[key])
        if here and there and there < here:
            found.append({
                "what": "%s is %s there and %s here" % (what, target[key], source[key]), "expected": "the same version or a newer one",
                "mend": "upgrade the target, or move the instance with instance_failover", "code": "older_version"})
    passed = values.get("cpu_type") == "host" and record["domain_type"] == "kvm"
    if passed and source["cpu"] and target["cpu"] and source["cpu"] != target["cpu"]:
        found.append({
            "what": "its processor is that of the node (cpu_type=%s), and the other node's is another: %s and %s" % (
                values["cpu_type"], source["cpu"]["model"], target["cpu"]["model"]),
            "expected": "the same processor with the same features",
            "mend": "give it cpu_type=baseline and restart it, or move it with instance_failover", "code": "other_cpu"})
    return found


def _version(text):
    """Major and minor number: what is after them is made not to matter."""
    numbers = re.findall(r"\d+", text or "")
    return tuple(int(number) for number in numbers[:2]) if numbers else None
