# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings as a sentence, as lines in Ganeti's manner, as a table, as JUnit XML. Pure."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from ansible_collections.gantry.cluster.plugins.plugin_utils.report import table as columns
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify import counts, reaches
from ansible_collections.gantry.cluster.plugins.plugin_utils.verify.codes import CODES

#: What XML 1.0 cannot hold.
_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _one_line(text):
    return " ".join(_UNPRINTABLE.sub("?", text).split())


def message(finding):
    """The finding in words, on one line."""
    return _one_line("%s. Found: %s. Expected: %s. To mend: %s." % (
        _capital(CODES[finding["code"]].meaning), finding["found"].rstrip("."), finding["expected"].rstrip("."),
        finding["mend"].rstrip(".")))


def _capital(text):
    return text[:1].upper() + text[1:]


def line(finding):
    """``ERROR:CODE:type:name:message``, as ``gnt-cluster verify --error-codes`` has it."""
    return "%s:%s:%s:%s:%s" % (
        finding["severity"].upper(), finding["code"], finding["object_type"], _one_line(finding["object"]), message(finding))


def summary(findings):
    """All of it in a few words."""
    number = counts(findings)
    if not findings:
        return "nothing found"
    return ", ".join("%d %s%s" % (number[severity], severity, "" if number[severity] == 1 else "s")
                     for severity in ("error", "warning", "note") if number[severity])


def table(findings):
    """The findings as a table."""
    return columns(
        ["SEVERITY", "CODE", "OBJECT", "FOUND", "TO MEND"],
        [[finding["severity"] + (" (ignored)" if finding["ignored"] else ""), finding["code"],
          "%s %s" % (finding["object_type"], _one_line(finding["object"])), _one_line(finding["found"]), _one_line(finding["mend"])]
         for finding in findings])


def junit(findings, level, name="cluster"):
    """JUnit XML: a suite for each type of object, in it a case for each check.

    A check that found nothing is a case that passed. Each finding at or above the level is a failed case, so the file is
    red exactly when the run fails; one below it is a case that passed, with its text as output.

    :param level: ``error`` or ``warning``.
    :param name: the cluster's name.
    :returns: text.
    """
    root = ET.Element("testsuites", name=_one_line("gantry cluster_verify %s" % name))
    suites = {}
    for code in CODES.values():
        suite = suites.setdefault(code.object_type, [])
        mine = [finding for finding in findings if finding["code"] == code.name]
        suite += _test_cases(code, mine, level)
    failed = 0
    for object_type, cases in suites.items():
        failures = len([case for case in cases if case.find("failure") is not None])
        failed += failures
        suite = ET.SubElement(root, "testsuite", name="gantry.verify.%s" % object_type, tests=str(len(cases)), failures=str(failures),
                              errors="0", skipped="0", time="0")
        suite.extend(cases)
    root.set("tests", str(sum(len(cases) for cases in suites.values())))
    root.set("failures", str(failed))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _test_cases(code, findings, level):
    """The cases of one check, each under a name of its own: a CI server takes two of one name for one."""
    if not findings:
        return [_test_case(code, code.name, None, level)]
    cases, used = [], {}
    for finding in findings:
        name = "%s %s" % (code.name, _one_line(finding["object"])) + (" on %s" % _one_line(finding["node"]) if finding["node"] else "")
        used[name] = used.get(name, 0) + 1
        cases.append(_test_case(code, name if used[name] == 1 else "%s (%d)" % (name, used[name]), finding, level))
    return cases


def _test_case(code, name, finding, level):
    case = ET.Element("testcase", classname="gantry.verify.%s" % code.object_type, name=name, time="0")
    if finding and reaches(finding, level):
        failure = ET.SubElement(case, "failure", type=finding["severity"], message=message(finding))
        failure.text = line(finding)
    elif finding:
        ET.SubElement(case, "system-out").text = line(finding)
    return case
