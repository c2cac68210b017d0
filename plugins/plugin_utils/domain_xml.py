# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain's XML from an instance's record and a Jinja2 template that the user may replace.

Every value is escaped: a name or a kernel argument cannot add XML of its own. libvirt checks the result
against its schema when the domain is defined.
"""

from __future__ import annotations

from xml.etree import ElementTree

from jinja2 import Environment, StrictUndefined, TemplateError

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: How the device letters of disks run: vda, vdb, …
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def device_path(disk):
    """The block device of a disk; the same on every node that has the disk."""
    if disk["template"] == "drbd":
        return "/dev/drbd%d" % next(iter(disk["nodes"].values()))["minor"]
    return "/dev/%s/%s" % (disk["vg"], disk["name"])


def render(record, template, source="the domain template"):
    """The XML text of an instance's domain.

    :param template: the template's text; it sees ``instance`` (the record) and ``disks`` (with ``device`` and ``target``).
    :param source: where the template came from, for errors.
    :raises GantryError: the template does not render, or what it renders is no XML.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    disks = [dict(disk, device=device_path(disk), target="vd" + LETTERS[disk["index"]]) for disk in record["disks"]]
    try:
        text = environment.from_string(template).render(instance=record, disks=disks)
        ElementTree.fromstring(text)
    except (TemplateError, ElementTree.ParseError) as broken:
        raise GantryError(
            "The domain of instance %s cannot be written" % record["name"], found=str(broken),
            expected="%s renders to XML" % source, mend="correct %s" % source, code="bad_template",
        ) from broken
    return text
