# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LVM: reports as recorded from a node, names, space, and the commands that are run."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import lvm
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor, Result
from hypothesis import given
from hypothesis import strategies as st

UUID = "11111111-2222-4333-8444-555555555555"

#: LVM 2.03.16 on Debian 12.
VGS = """
  {
      "report": [
          {
              "vg": [
                  {"vg_name":"gantry", "vg_size":"3217031168", "vg_free":"3003121664", "vg_extent_size":"4194304",
                   "vg_missing_pv_count":"0"}
              ]
          }
      ]
  }
"""
LVS = """
  {
      "report": [
          {
              "lv": [
                  {"vg_name":"gantry", "lv_name":"web1.example.com-disk0", "lv_size":"209715200", "lv_tags":"gantry,\
gantry.instance=11111111-2222-4333-8444-555555555555,gantry.new", "lv_active":"active", "lv_device_open":"open"},
                  {"vg_name":"system", "lv_name":"root", "lv_size":"4194304", "lv_tags":"", "lv_active":"", \
"lv_device_open":""}
              ]
          }
      ]
  }
"""


class Scripted(Executor):
    """Answers each command from a list and keeps what was asked."""

    def __init__(self, *answers, check_mode=False):
        super().__init__(check_mode=check_mode)
        self.answers = list(answers)
        self.asked = []

    def _run(self, argv, ok, stdin):
        self.asked.append(argv)
        rc, out, err = self.answers.pop(0) if self.answers else (0, "", "")
        if ok is not None and rc not in ok:
            raise GantryError("failed", found=err, code="command_failed")
        return Result(rc, out, err)


def test_volume_groups():
    """Sizes in MiB, free space rounded down."""
    assert lvm.volume_groups(Scripted((0, VGS, ""))) == {
        "gantry": {"size_mib": 3068, "free_mib": 2864, "extent_mib": 4, "missing_pvs": 0}
    }


def test_volumes_and_ours():
    """Only tagged volumes are ours."""
    found = lvm.volumes(Scripted((0, LVS, "")))
    assert found[0] == {
        "vg": "gantry",
        "name": "web1.example.com-disk0",
        "size_mib": 200,
        "active": True,
        "open": True,
        "tags": ["gantry", "gantry.instance=" + UUID, "gantry.new"],
    }
    assert found[1]["tags"] == [] and not found[1]["active"] and not found[1]["open"]
    assert lvm.our_volumes(Scripted((0, LVS, ""))) == found[:1]
    assert lvm.find(found, "system", "root") is found[1]
    assert lvm.find(found, "gantry", "root") is None


@pytest.mark.parametrize(
    "old, new",
    [('"vg_size":"3217031168"', '"vg_size":"3.0g"'), ('"vg_free"', '"free"'), ("}", ""), ('"report"', '"reports"')],
)
def test_broken_reports_are_refused(old, new):
    """Nothing is guessed."""
    with pytest.raises(GantryError) as caught:
        lvm.volume_groups(Scripted((0, VGS.replace(old, new, 1), "")))
    assert caught.value.code == "unreadable_lvm"


@given(
    st.one_of(
        st.text(max_size=30),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["report", "lv", "vg_name"]), inner, max_size=3),
            max_leaves=8,
        ).map(json.dumps),
    )
)
def test_any_report_is_read_or_refused(text):
    """Nothing but GantryError comes out."""
    try:
        lvm.volumes(Scripted((0, text, "")))
    except GantryError as error:
        assert error.code == "unreadable_lvm"


@pytest.mark.parametrize("name", ["web1.example.com-disk0-meta", "a", "A_b+c.d-e", "0x"])
def test_good_names(name):
    """What instances are called."""
    lvm.check_name("volume", name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        ".",
        "..",
        "a/b",
        "a b",
        "a\n",
        "ü",
        "a" * 101,
        "snapshot1",
        "pvmove0",
        "x_tdata",
        "x_mimage_0",
        "x_vorigin",
        None,
        7,
    ],
)
def test_bad_names(name):
    """What LVM refuses, keeps for itself or would read as an option."""
    with pytest.raises(GantryError):
        lvm.check_name("volume", name)


@pytest.mark.parametrize(
    "tag, good",
    [
        ("gantry.instance=" + UUID, True),
        ("a:b/c", True),
        ("-a", False),
        ("a b", False),
        ("", False),
        ("a,b", False),
        ("@a", False),
        ("a" * 129, False),
    ],
)
def test_tags(tag, good):
    """What LVM takes as a tag."""
    if good:
        lvm.check_tag(tag)
    else:
        with pytest.raises(GantryError):
            lvm.check_tag(tag)


@given(st.integers(1, 10**7), st.sampled_from([1, 4, 32, 0.125]))
def test_rounding_never_loses(size, extent):
    """Whole extents, at least the size, less than one extent more."""
    rounded = lvm.rounded(size, extent)
    assert size <= rounded < size + max(extent, 1)
    assert rounded % max(extent, 1) == 0


def test_space():
    """All volumes of a group together, each rounded up."""
    groups = {"gantry": {"size_mib": 100, "free_mib": 16, "extent_mib": 4}}
    wants = [{"vg": "gantry", "name": "a", "size_mib": 5}, {"vg": "gantry", "name": "b", "size_mib": 8}]
    lvm.require_space(groups, wants)
    with pytest.raises(GantryError) as caught:
        lvm.require_space(groups, wants + [{"vg": "gantry", "name": "c", "size_mib": 1}])
    assert caught.value.code == "no_space"
    assert caught.value.found == "16 MiB free" and caught.value.expected == "20 MiB for a, b, c"
    with pytest.raises(GantryError) as caught:
        lvm.require_space(groups, [{"vg": "other", "name": "a", "size_mib": 1}])
    assert caught.value.code == "no_volume_group"


def test_creation_is_one_command():
    """With its tags, wiped, asking nothing."""
    executor = Scripted()
    lvm.create(executor, "gantry", "a", 8, ["gantry", "gantry.new"])
    assert executor.asked == [
        [
            "lvcreate",
            "--yes",
            "--wipesignatures",
            "y",
            "--zero",
            "y",
            "--size",
            "8m",
            "--name",
            "a",
            "--addtag",
            "gantry",
            "--addtag",
            "gantry.new",
            "gantry",
        ]
    ]


def test_check_mode_runs_nothing():
    """Changes are noted only."""
    executor = Scripted(check_mode=True)
    lvm.create(executor, "gantry", "a", 8, [])
    lvm.extend(executor, "gantry", "a", 12)
    lvm.activate(executor, "gantry", "a")
    lvm.deactivate(executor, "gantry", "a")
    lvm.change_tags(executor, "gantry", "a", add=["x"], remove=["y"])
    lvm.remove(executor, "gantry", "a")
    assert executor.asked == []
    assert len(executor.changes) == 6


IN_USE = (5, "", "  Logical volume gantry/a in use.\n")


def test_removal_waits_for_a_short_look():
    """udev looks at a device that was just closed."""
    waits = []
    executor = Scripted(IN_USE, IN_USE, (0, "", ""))
    lvm.remove(executor, "gantry", "a", sleep=waits.append)
    assert len(executor.asked) == 3 and len(waits) == 2


@pytest.mark.parametrize("answer, code", [(IN_USE, "held_open"), ((5, "", "  Something else"), "command_failed")])
def test_removal_that_fails(answer, code):
    """It says why."""
    with pytest.raises(GantryError) as caught:
        lvm.remove(Scripted(answer), "gantry", "a", patience=0)
    assert caught.value.code == code


def test_removal_of_what_is_gone():
    """Somebody was faster."""
    lvm.remove(Scripted((5, "", '  Failed to find logical volume "gantry/a"')), "gantry", "a")


def test_foreign():
    """Only the instance's own tag makes a volume its own."""
    volume = {"vg": "gantry", "name": "a", "tags": ["gantry", "gantry.instance=other"]}
    with pytest.raises(GantryError) as caught:
        lvm.refuse_foreign(volume, UUID)
    assert caught.value.code == "foreign_volume"
    lvm.refuse_foreign(dict(volume, tags=[lvm.tag_of(UUID)]), UUID)
