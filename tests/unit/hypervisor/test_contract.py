# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every hypervisor keeps: its driver, its parameters, its template, whatever its name."""

from __future__ import annotations

import pathlib
import subprocess

import libvirt
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from records import FOLDER, make_record, records, text_of

from ansible_collections.gantry.cluster.plugins.module_utils import domain_definition
from ansible_collections.gantry.cluster.plugins.module_utils import hypervisor as hypervisors
from ansible_collections.gantry.cluster.plugins.module_utils.domain_compare import differences
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils import hvparams

SCHEMA = "/usr/share/libvirt/schemas/domain.rng"
DOCUMENT = pathlib.Path(__file__).resolve().parents[3] / "docs" / "hypervisors.md"

NAMES = pytest.mark.parametrize("name", hypervisors.names())

#: Text that tries to leave its place in the XML.
EVIL = ["]]>", "'/><evil/><a b='", '"/><evil/><a b="', "<evil/>", "--><evil/><!--", "&evil;", "]]><![CDATA["]


def good(name, **given):
    """A record that the hypervisor's own rules accept."""
    if name in ("xen-pv", "xen-pvh"):
        given.setdefault("kernel_path", "/boot/vmlinuz")
    return make_record(name, hvparams=given)


def validate(texts, folder):
    """Have libvirt's schema judge definitions, as libvirt does before it takes one."""
    paths = []
    for number, text in enumerate(texts):
        path = folder / ("%d.xml" % number)
        path.write_text(text, encoding="utf-8")
        paths.append(str(path))
    done = subprocess.run(["xmllint", "--noout", "--relaxng", SCHEMA, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, "\n".join(line for line in done.stderr.splitlines() if not line.endswith(" validates"))


@NAMES
def test_the_driver(name):
    backend = hypervisors.backend(name)
    assert backend.name == name and backend.domain_types and backend.uri.endswith(":///system")
    assert backend.define_flags(libvirt) & libvirt.VIR_DOMAIN_DEFINE_VALIDATE
    assert not backend.undefine_flags(libvirt, keep_firmware=True) & libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    assert backend.remote_uri("u", "10.0.0.1").startswith(backend.scheme + "+ssh://u@10.0.0.1/system?")
    assert "[fd00::1]" in backend.remote_uri("u", "fd00::1")
    if backend.live_migration:
        flags = backend.migrate_flags(libvirt)
        assert flags & libvirt.VIR_MIGRATE_PAUSED, "or a lost answer lets the guest run twice"
        assert flags & libvirt.VIR_MIGRATE_PEER2PEER and flags & libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
        assert not flags & libvirt.VIR_MIGRATE_UNSAFE
        assert backend.bound_to_node(backend.defaults()) == []
    else:
        assert backend.bound_to_node(backend.defaults())
        with pytest.raises(GantryError) as refused:
            backend.migrate_flags(libvirt)
        assert refused.value.code == "no_live_migration" and "instance_failover" in refused.value.mend


@NAMES
def test_its_defaults_go_together(name):
    one = good(name)
    hvparams.refuse_conflicts(one, hvparams.values_of(one))


@NAMES
def test_its_template_says_who_it_is(name, tmp_path):
    one = good(name)
    text = text_of(one)
    domain_definition.check(text, one["name"], one["uuid"], ["/dev/drbd7"])
    tree = domain_definition.parse(text)
    assert tree.get("type") in hypervisors.backend(name).domain_types
    assert "/dev/drbd7" in text and "52:54:00:00:00:01" in text
    validate([text], tmp_path)


@NAMES
def test_random_parameters_are_valid_for_libvirt_s_schema(name, tmp_path):
    """Hundreds of random sets for each hypervisor, judged in one go."""
    texts = []

    @settings(max_examples=200, phases=(Phase.explicit, Phase.generate), database=None)
    @given(records(name))
    def collect(record):
        texts.append(text_of(record))
    collect()
    validate(sorted(set(texts)), tmp_path)


@NAMES
@pytest.mark.parametrize("evil", EVIL)
def test_no_value_adds_elements(name, evil):
    """Every text of the record and of the parameters, one after the other."""
    backend = hypervisors.backend(name)
    one = good(name)
    values = hvparams.values_of(one)
    texts = [key for key, parameter in backend.parameters.items()
             if isinstance(values[key], str) and key not in ("cpu_mask", "memory_min", "hugepages")]
    for key in texts:
        # what the templates compare with a word keeps its word, whatever stands in front of it
        wanted = text_of(dict(one, hvparams=dict(one["hvparams"], **{key: "plain"})))
        found = text_of(dict(one, hvparams=dict(one["hvparams"], **{key: "plain" + evil})))
        assert shape(found) == shape(wanted), key
    for key in ("name", "machine", "uuid"):
        assert shape(text_of(dict(one, **{key: "x" + evil}))) == shape(text_of(dict(one, **{key: "x"}))), key
    for key in ("bridge", "mac", "model"):
        wanted = dict(one, nics=[dict(one["nics"][0], **{key: "x"})])
        found = dict(one, nics=[dict(one["nics"][0], **{key: "x" + evil})])
        assert shape(text_of(found)) == shape(text_of(wanted)), key


def shape(text):
    """Elements and names of attributes, without values."""
    return [(one.tag, sorted(one.attrib)) for one in domain_definition.parse(text).iter()]


@NAMES
@given(st.sampled_from(["\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\ud800", "\uffff"]))
def test_what_xml_cannot_hold_is_refused(name, character):
    with pytest.raises(GantryError) as refused:
        text_of(dict(good(name), name="a%sb" % character))
    assert refused.value.code == "unwritable"


@NAMES
def test_a_definition_does_not_differ_from_itself(name):
    text = text_of(good(name))
    assert differences(text, domain_definition.with_mark(text, "u", 7)) == []


@NAMES
def test_its_parameters_are_documented(name):
    lacking = [key for key in hypervisors.backend(name).parameters if "`%s`" % key not in DOCUMENT.read_text(encoding="utf-8")]
    assert not lacking, "not in docs/hypervisors.md: %s" % ", ".join(lacking)


def test_every_template_has_its_hypervisor():
    there = {path.name for path in FOLDER.glob("domain_*.xml.j2")} - {"domain_parts.xml.j2", "domain_parts_xen.xml.j2"}
    assert there == {"domain_%s.xml.j2" % name for name in hypervisors.names()}


def test_one_connection_serves_all_that_share_a_driver():
    assert [one.name for one in hypervisors.drivers(["xen-hvm", "lxc", "xen-pv", "xen-pvh"])] == ["xen-hvm", "lxc"]
