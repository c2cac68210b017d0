# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Xen and LXC do otherwise than QEMU: what a node's Xen tells of itself, and how a container is asked to end."""

from __future__ import annotations

import libvirt
import pytest

from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition, libvirt_facts
from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.hypervisor import lxc, xen

INFO = """host                   : node1
release                : 6.1.0-37-amd64
xen_major              : 4
virt_caps              :%s
total_memory           : 2559
xen_caps               : xen-3.0-x86_64
"""

CAPS = [
    (" pv gnttab-v1 gnttab-v2", ["pv", "gnttab-v1", "gnttab-v2"]),
    (" pv hvm hvm_directio pv_directio hap shadow", ["pv", "hvm", "hvm_directio", "pv_directio", "hap", "shadow"]),
    (" hvm hvm_directio", None), ("", None), (" ", None),
]


@pytest.mark.parametrize(("line", "words"), CAPS)
def test_what_xl_info_says(line, words):
    assert xen.parse_virt_caps(INFO % line) == words
    assert xen.parse_virt_caps("") is None


@pytest.mark.parametrize(("kind", "mode", "caps", "refused"), [
    ("xen-pv", "live", ["pv"], True), ("xen-pv", "live", ["pv", "hap", "shadow"], False), ("xen-pv", "live", None, False),
    ("xen-pv", "non-live", ["pv"], False), ("xen-pvh", "live", ["hvm", "hap"], False), ("xen-hvm", "live", ["hvm", "hap"], False),
    ("kvm", None, None, False),
])
def test_what_a_live_migration_needs(kind, mode, caps, refused):
    lack = hypervisors.backend(kind).obstacle({"migration_mode": mode}, caps)
    assert bool(lack) is refused
    if refused:
        assert lack["code"] == "no_shadow_paging" and "non-live" in lack["mend"] and "stands still" in lack["mend"]


@pytest.mark.parametrize("kind", ["xen-pv", "xen-pvh", "xen-hvm"])
def test_the_mode_decides_on_one_flag(kind):
    backend = hypervisors.backend(kind)
    assert backend.values_of(None)["migration_mode"] == "live"
    live, still = (backend.migrate_flags(libvirt, {"migration_mode": mode}) for mode in ("live", "non-live"))
    assert live ^ still == libvirt.VIR_MIGRATE_LIVE and live == backend.migrate_flags(libvirt)


LIST = """Name                                        ID   Mem VCPUs\tState\tTime(s)
web1                                         7   128     1     %s       3.1
"""


@pytest.mark.parametrize(("state", "going"), [
    ("r-----", True), ("-b----", True), ("------", True), ("--p---", False), ("---s--", False), ("----c-", False), ("-----d", False)])
def test_what_xl_list_says(state, going):
    assert xen.is_going(LIST % state, "7") is going
    assert not xen.is_going(LIST % state, "8") and not xen.is_going("", "7")


def test_no_processor_is_compared_where_the_driver_cannot():
    for kind, cpu in (("xen", "<cpu mode='custom'><model>Nehalem</model></cpu>"), ("lxc", "")):
        assert domain_definition.processor("<domain type='%s'><os><type arch='x86_64'>x</type></os>%s</domain>" % (kind, cpu)) is None


class Container:
    """A container and who is its init."""

    def __init__(self, hears, error=None):
        self.hears, self.error, self.on = hears, error, True

    def shutdownFlags(self, flags):  # libvirt's name
        assert flags == libvirt.VIR_DOMAIN_SHUTDOWN_INITCTL
        if self.error:
            error = libvirt.libvirtError("no pipe")
            error.err = (self.error, 0, "no pipe", 2, None, None, None, 0, 0)
            raise error
        self.on = self.on and self.hears != "pipe"

    def sendProcessSignal(self, process, signal, flags):  # libvirt's name
        assert process == 1, "libvirt knows a container's first process only"
        self.on = self.on and signal != self.hears


@pytest.mark.parametrize(("hears", "signal", "presses"), [
    ("pipe", "SIGTERM", 1), (lxc.SYSTEMD_HALT, "SIGTERM", 1), (15, "SIGTERM", 2), (12, "SIGUSR2", 2), (12, "SIGTERM", None)])
@pytest.mark.parametrize("error", [None, libvirt.VIR_ERR_OPERATION_UNSUPPORTED])
def test_a_container_is_asked_in_the_language_of_its_init(hears, signal, presses, error):
    if hears == "pipe" and error:
        return
    one, backend = Container(hears, error), hypervisors.backend("lxc")
    values, asked = dict(backend.defaults(), stop_signal=signal), 0
    while one.on and asked < 6:
        backend.ask_to_stop(libvirt, one, values, asked)
        asked += 1
    assert (None if one.on else asked) == presses


def test_other_errors_of_the_pipe_are_told():
    with pytest.raises(libvirt.libvirtError):
        hypervisors.backend("lxc").ask_to_stop(libvirt, Container("pipe", libvirt.VIR_ERR_INTERNAL_ERROR), lxc.Lxc().defaults(), 0)


class Refusing:
    """A guest whose power button ends with an error."""

    def __init__(self, code, looks=None):
        self.code, self.looks = code, looks

    def isActive(self):  # libvirt's name
        if self.looks is not None:
            self.looks -= 1
        return self.looks is None or self.looks >= 0

    def shutdownFlags(self, flags):  # libvirt's name
        error = libvirt.libvirtError("Failed to shutdown domain '1' with libxenlight")
        error.err = (self.code, 0, "Failed to shutdown domain '1' with libxenlight", 2, None, None, None, 0, 0)
        raise error


def test_a_xen_guest_that_is_off_before_libxl_has_its_answer_is_no_failure(monkeypatch):
    monkeypatch.setattr(xen, "SEEN_OFF", 0.5)
    backend, quick = hypervisors.backend("xen-pv"), Refusing(libvirt.VIR_ERR_INTERNAL_ERROR)
    backend.ask_to_stop(libvirt, quick, backend.defaults(), 0)
    with pytest.raises(libvirt.libvirtError):
        backend.ask_to_stop(libvirt, quick, backend.defaults(), 1)
    for asked in (0, 1):
        backend.ask_to_stop(libvirt, Refusing(libvirt.VIR_ERR_INTERNAL_ERROR, looks=2), backend.defaults(), asked)
    with pytest.raises(libvirt.libvirtError):
        backend.ask_to_stop(libvirt, Refusing(libvirt.VIR_ERR_OPERATION_FAILED), backend.defaults(), 0)


def test_the_signals_are_linux_s_own():
    import signal
    assert {name: getattr(signal, name) for name in lxc.STOP_SIGNALS} == lxc.STOP_SIGNALS
    assert signal.SIGRTMIN + 3 == lxc.SYSTEMD_HALT
    assert libvirt.VIR_DOMAIN_PROCESS_SIGNAL_RT5 == lxc.SYSTEMD_HALT


class Listed:
    """A domain as a driver without bulk statistics shows it."""

    def __init__(self, name, uuid):
        self.names = name, uuid

    def name(self):
        return self.names[0]

    def UUIDString(self):  # libvirt's name
        return self.names[1]

    def state(self):
        return [1, 1]

    def info(self):
        return [1, 131072, 131072, 1, 7]

    #: What libvirt says when it is asked for the mark.
    lacks = libvirt.VIR_ERR_NO_DOMAIN_METADATA

    def metadata(self, *_words):
        error = libvirt.libvirtError("none")
        error.err = (self.lacks, 0, "none", 2, None, None, None, 0, 0)
        raise error


class Lists:
    """libvirt's connection to Xen: the node itself is among its domains."""

    def listAllDomains(self, _flags=0):  # libvirt's name
        return [Listed("Domain-0", libvirt_facts.DOM0), Listed("web1", "11111111-2222-3333-4444-555555555555")]

    def getAllDomainStats(self, _kinds, _flags):  # libvirt's name
        error = libvirt.libvirtError("no such call")
        error.err = (libvirt.VIR_ERR_NO_SUPPORT, 0, "no such call", 2, None, None, None, 0, 0)
        raise error


def test_a_domain_that_is_off_and_undefined_has_no_mark(monkeypatch):
    """libxl keeps it for a moment; the node answers all the same."""
    monkeypatch.setattr(Listed, "lacks", libvirt.VIR_ERR_OPERATION_INVALID)
    assert [domain["generation"] for domain, _handle in libvirt_facts.read_domains(Lists(), libvirt)] == [None]


def test_the_node_itself_is_no_guest():
    """Neither a stray domain to cluster_verify, nor memory that a guest takes."""
    found = libvirt_facts.read_domains(Lists(), libvirt)
    assert [(domain["name"], domain["memory_mib"]) for domain, _handle in found] == [("web1", 128)]
