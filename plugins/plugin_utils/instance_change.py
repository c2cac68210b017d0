# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared of instances that exist, as changes of their records: what may change, and whether their nodes can take it. Pure.

A variable that is not declared says nothing: a survey may give the memory alone. What is taken away is declared empty.
"""

from __future__ import annotations

from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams, instance_spec, nic_spec, suitability
from ansible_collections.gantry.cluster.plugins.plugin_utils.instance_plan import choose_machine, pinned_model, refuse_unreadable
from ansible_collections.gantry.cluster.plugins.plugin_utils.node_space import candidates, silent
from ansible_collections.gantry.cluster.plugins.plugin_utils.room import growth
from ansible_collections.gantry.cluster.plugins.plugin_utils.units import show_mib

#: The verb.
MODIFY = "modify"

#: Parts of a record that change as they are declared; ``hvparams``, ``machine`` and ``nics`` have rules of their own.
_PLAIN = ("memory_mib", "vcpus", "iso", "kernel", "initrd", "kernel_args", "domain_template", "tags")

#: Parts that stay as they were made, with what mends a declaration that wants another.
_MADE = {
    "hypervisor": "declare it as it is; another hypervisor needs another instance",
    "disk_template": "declare it as it is; another template needs another instance",
    "image": "declare it as it is; the image was written when the instance was made",
}

#: Variables that say where an instance is made and whether it is started then. They mean nothing afterwards.
_FOR_CREATION = ("gantry_primary", "gantry_secondary", "gantry_start")

_CARD = ("mode", "bridge", "vlan", "ip", "mac", "model")


def propose(name, declared, record, settings):
    """What an instance would be as it is declared, as far as that can be said without a look at its nodes.

    :param declared: its variables; None and those that are missing say nothing.
    :param record: its record, or None.
    :param settings: the cluster's settings.
    :returns: ``{"name", "before": record, "after": record, "machine": a machine type still to be chosen or None}``.
    :raises GantryError: it does not exist, or what is declared cannot be, or not any more.
    """
    if record is None:
        raise GantryError("Unknown instance %s" % name, found="no record in the registry", expected="an instance that exists",
                          mend="run instance_add for it, or correct the name", code="unknown_instance")
    if record["status"] != "ready":
        raise GantryError("Instance %s is not complete" % name, found="status %s" % record["status"], expected="an instance that exists",
                          mend="run instance_add for it again", code="interrupted")
    record = dict({"hypervisor": "kvm"}, **record)
    given = {key: value for key, value in declared.items() if value is not None and key not in _FOR_CREATION}
    _refuse_made(name, given, record)
    spec = instance_spec.parse(name, dict(instance_spec.declared_as(record), **given))
    _refuse_other_disks(spec, record)
    after = dict(record, hvparams=_parameters(spec, record), **{key: spec[key] for key in _PLAIN if spec[key] != record.get(key)})
    after = hvparams.refresh(after, settings)
    after["nics"] = _cards(spec, after)
    machine = _machine(given.get("gantry_machine"), record)
    hvparams.refuse_conflicts(dict(after, machine=machine or after["machine"]), after["hvparams_effective"])
    return {"name": name, "before": record, "after": after, "machine": machine}


def _refuse_made(name, given, record):
    """:raises GantryError: something is declared that was settled when the instance was made."""
    for key, mend in _MADE.items():
        now = record.get(key)
        wanted = given.get("gantry_" + key, now) or None
        if wanted != now:
            raise GantryError("Instance %s: gantry_%s cannot be changed" % (name, key), found=repr(wanted),
                              expected=repr(now), mend=mend, code="not_changeable")


def _refuse_other_disks(spec, record):
    """:raises GantryError: other disks are declared than it has."""
    wanted = [disk["size_mib"] for disk in spec["disks"]]
    real = [disk["size_mib"] for disk in record["disks"] if not disk.get("purpose")]
    if wanted != real:
        raise GantryError(
            "Instance %s: its disks cannot be changed by this verb" % spec["name"], found="%s MiB" % wanted, expected="%s MiB" % real,
            mend="declare gantry_disks as they are", code="not_changeable")


def _parameters(spec, record):
    """The instance's own hypervisor parameters. :raises GantryError: one that was settled when it was made would be another."""
    known, now = hypervisors.backend(spec["hypervisor"]).parameters, hvparams.values_of(record)
    for key, value in sorted(spec["hvparams"].items()):
        if known[key].fixed and value != now[key]:
            raise GantryError(
                "Instance %s: the hypervisor parameter %s cannot be changed" % (spec["name"], key), found=repr(value),
                expected="%r, which was settled when it was made: its disks or its system depend on it" % now[key],
                mend="declare it as it is; another value needs another instance", code="not_changeable")
    return spec["hvparams"]


def _cards(spec, after):
    """The network cards. One without a MAC address or a model of its own keeps those of the card that had its number."""
    backend = hypervisors.backend(spec["hypervisor"])
    kept, found = {nic["index"]: nic for nic in after["nics"]}, []
    for nic in spec["nics"]:
        old = kept.get(nic["index"], {})
        one = dict(nic, mac=nic["mac"] or old.get("mac"),
                   model=nic["model"] or old.get("model") or backend.nic_model(after["hvparams_effective"]))
        same = old and all(one.get(key) == dict({"mode": nic_spec.BRIDGED}, **old).get(key) for key in _CARD)
        found.append(old if same else one)
    return nic_spec.refuse_twins(spec["name"], found)


def _machine(wanted, record):
    """The machine type that has to be chosen, or None where it stays. ``pc`` and ``q35`` are their versions, whichever is pinned."""
    if not wanted or str(wanted) == record.get("machine"):
        return None
    kind = "q35" if hypervisors.kvm.is_q35(record.get("machine")) else "pc"
    return None if str(wanted) == kind else str(wanted)


def to_ask(proposals, nodes):
    """Which nodes have to be looked at, and for which files: ``(names, paths)``.

    All nodes, where memory or processors grow (they keep room for each other) or a processor model is chosen.
    """
    changed = [one for one in proposals if needs_work(one)]
    wide = any(_grows(one) or _takes_baseline(one) for one in changed)
    names = set(nodes) if wide else {node for one in changed for node in places(one["before"])}
    paths = {path for one in changed for path in hvparams.files(one["after"]["hvparams_effective"])}
    return sorted(name for name in names if not nodes.get(name, {}).get("offline")), sorted(paths)


def places(record):
    """The nodes of an instance."""
    return [node for node in (record["primary"], record["secondary"]) if node]


def needs_work(proposal):
    """Whether anything differs, or an earlier run was cut off."""
    return bool(proposal["machine"] or changes(proposal) or interrupted(proposal["before"]))


def interrupted(record):
    """Whether a run of this verb was cut off."""
    return (record.get("pending") or {}).get("verb") == MODIFY


def changes(proposal):
    """The parts of the record that change, with their new values."""
    before, after = proposal["before"], proposal["after"]
    keys = _PLAIN + ("hvparams", "nics", "machine", "cpu_model")
    return {key: after[key] for key in keys if key in after and after[key] != _value(before, key)}


def _value(record, key):
    return record.get(key, {} if key == "hvparams" else [] if key == "tags" else "" if key == "kernel_args" else None)


def _grows(proposal):
    before, after = proposal["before"], proposal["after"]
    return after["memory_mib"] > before["memory_mib"] or after["vcpus"] > before["vcpus"]


def _takes_baseline(proposal):
    """Whether the processor's model becomes the cluster's baseline, which is pinned to the instance."""
    before, after = (hvparams.values_of(proposal[key]) for key in ("before", "after"))
    return after.get("cpu_type") == "baseline" and before.get("cpu_type") != "baseline"


def plan(proposals, records, nodes, observations, settings, force=False):
    """The changes of a run, checked against what the nodes show.

    :param proposals: as :func:`propose` returned them; all are refused where one is.
    :param records: the registry's instances by name.
    :param nodes: the registry's nodes by name.
    :param force: change it though a secondary is silent, or there is no room for what grows.
    :returns: ``{name: {"to_do": bool, "changes", "generation": as it was seen, "rows": [[name, setting, now, wanted]]}}``
    :raises GantryError: the first instance that cannot be as it is declared.
    """
    pool, plans = candidates(nodes, observations), {}
    seen = {observation["node"]: observation for observation in observations}
    for proposal in proposals:
        name, before = proposal["name"], proposal["before"]
        if needs_work(proposal):
            present = _present(before, nodes, seen, force)
            proposal = _choose(proposal, present, pool)
            _refuse_astray(before, seen)
            _refuse_lacks(proposal, present)
            earlier, records = records, dict(records, **{name: proposal["after"]})
            tight = growth(settings, nodes, earlier, records, observations, name) if _grows(proposal) else []
            if tight and not force:
                raise GantryError(
                    "Instance %s cannot grow" % name, found="; ".join(tight), expected="room on its nodes, also if one of them were lost",
                    mend="free space, move it with instance_migrate or instance_replace_disks, or take the risk with gantry_force=true",
                    code="no_space")
        plans[name] = {"to_do": needs_work(proposal), "changes": changes(proposal), "generation": before["generation"],
                       "rows": rows(before, proposal["after"])}
    return plans


def _present(record, nodes, seen, force):
    """Observations of the nodes that have to take the change, by name. :raises GantryError: one is silent."""
    found = {}
    for node in places(record):
        why = "is marked offline" if nodes.get(node, {}).get("offline") else silent(seen.get(node))
        if why is None:
            found[node] = seen[node]
        elif node == record["primary"] or not (force or nodes.get(node, {}).get("offline")):
            raise GantryError(
                "Instance %s cannot be changed: node %s %s" % (record["name"], node, why), found="no answer", expected="an answer",
                mend="wait until it answers" + (", or move the instance with instance_failover" if node == record["primary"] else
                                                ", mark it offline with node_modify, or do without it with gantry_force=true"),
                code="unreachable")
    return found


def _choose(proposal, present, pool):
    """The proposal with the machine type and the processor's model, which depend on nodes."""
    after = dict(proposal["after"])
    chosen = [entry for entry in pool if entry["name"] in present]
    if proposal["machine"]:
        after["machine"] = choose_machine(proposal["name"], proposal["machine"], chosen)
        hvparams.refuse_conflicts(after, after["hvparams_effective"])
    if _takes_baseline(proposal):
        after["cpu_model"] = pinned_model(after, after["hvparams_effective"], chosen, pool)
    return dict(proposal, after=after)


def _refuse_astray(record, seen):
    """:raises GantryError: the guest lives on a node that is not its primary."""
    for node in sorted(seen):
        info = seen[node].get("node_info") or {}
        for domain in info.get("domains") or []:
            if domain["uuid"] == record["uuid"] and domain["state"] != "shutoff" and node != record["primary"]:
                raise GantryError(
                    "Instance %s is active on node %s, and its primary is %s" % (record["name"], node, record["primary"]),
                    found=domain["state"], expected="a guest that runs on its primary or is off",
                    mend="run instance_migrate or instance_repair for it first", code="wrong_node")


def _refuse_lacks(proposal, present):
    """:raises GantryError: a node cannot run the instance as it would be, and could as it was."""
    before, after = proposal["before"], proposal["after"]
    old = hvparams.files(hvparams.values_of(before))
    new = [path for path in hvparams.files(after["hvparams_effective"]) if path not in old]
    for node, observation in present.items():
        facts = suitability.facts(observation["node_info"])
        had = [lack["what"] for lack in suitability.lacks(before, facts)]
        for lack in suitability.lacks(after, facts):
            if lack["what"] not in had:
                raise GantryError(
                    "Instance %s: node %s cannot run it as it is declared: %s" % (proposal["name"], node, lack["what"]),
                    found=lack["what"], expected=lack["expected"], mend="on %s: %s; or declare something else" % (node, lack["mend"]),
                    code=lack["code"])
        refuse_unreadable(proposal["name"], node, observation["node_info"], new)


def rows(before, after):
    """What changes, a row for each setting: name, setting, now, wanted."""
    found, name = [], before["name"]
    for key in ("memory_mib", "vcpus", "machine", "cpu_model") + _PLAIN[2:]:
        old, new = _value(before, key), after.get(key, _value(before, key))
        if old != new:
            found.append([name, "memory" if key == "memory_mib" else key, _shown(key, old), _shown(key, new)])
    old, new = before.get("hvparams") or {}, after.get("hvparams") or {}
    found += [[name, key, _shown(key, old.get(key)), _shown(key, new.get(key))] for key in sorted(set(old) | set(new))
              if old.get(key) != new.get(key)]
    for index in range(max(len(before["nics"]), len(after["nics"]))):
        old, new = (nics[index] if index < len(nics) else None for nics in (before["nics"], after["nics"]))
        if old != new:
            found.append([name, "NIC %d" % index, _card(old), _card(new)])
    return found


def _shown(key, value):
    if key == "memory_mib":
        return show_mib(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(str(one) for one in value) or "-"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value in (None, "") else str(value)


def _card(nic):
    if nic is None:
        return "-"
    words = [nic.get("mode", nic_spec.BRIDGED)] + [str(nic[key]) for key in ("bridge", "vlan", "ip", "model") if nic.get(key)]
    return " ".join(words + [nic["mac"] or "a new MAC address"])
