# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of this collection that no tool knows."""

from __future__ import annotations

import json
import pathlib
import re
import sys

import pytest
import yaml
from static_checks import ROOT

HEADER = (
    re.compile(r"# Copyright \(c\) 20\d\d The gantry\.cluster team"),
    re.compile(r"# GNU General Public License v3\.0\+ \(see LICENSE or https://www\.gnu\.org/licenses/gpl-3\.0\.txt\)"),
    re.compile(r"# SPDX-License-Identifier: GPL-3\.0-or-later"),
)

#: Kinds of plugin whose documentation `ansible-doc` reads.
DOCUMENTED = ("module", "inventory", "lookup", "filter", "test", "callback", "become", "cache", "connection", "vars")


def plugin_names(folder):
    """Names of the plugins in plugins/<folder>, without private files."""
    files = (ROOT / "plugins" / folder).glob("*")
    return {file.stem for file in files if file.suffix in (".py", ".yml") and not file.stem.startswith("_")}


@pytest.fixture(scope="session")
def documentation(bench):
    """What ansible-doc knows of the collection: {type: {name: documentation}}."""
    code, output = bench.run([
        sys.executable, "-W", "ignore", "-m", "ansible", "doc", "--metadata-dump", "--no-fail-on-errors",
        "gantry.cluster",
    ])
    assert code == 0, output
    return json.loads(output[output.index("{"):])["all"]


def test_python_files_name_their_licence(bench):
    """Copyright, licence and SPDX line within the first lines of every Python file."""
    lacking = []
    for name in bench.files:
        path = bench.collection / name
        if path.suffix == ".py" and path.stat().st_size:
            first = path.read_text(encoding="utf-8").splitlines()[:6]
            if not all(any(pattern.fullmatch(line) for line in first) for pattern in HEADER):
                lacking.append(name)
    assert not lacking, "without the three header lines of plugins/module_utils/errors.py: %s" % lacking


def test_lines_are_short(bench):
    """At most 140 characters in Python, as .yamllint has it for YAML."""
    long = []
    for name in bench.files:
        if name.endswith(".py"):
            lines = (bench.collection / name).read_text(encoding="utf-8").splitlines()
            long += ["%s:%d: %d" % (name, number, len(line)) for number, line in enumerate(lines, 1) if len(line) > 140]
    assert not long, "longer than 140 characters:\n" + "\n".join(long)


def test_no_two_tests_share_a_file_name():
    """pytest imports test files that are in no package by their bare name, and refuses the second in one session."""
    found = [path for path in (ROOT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    names = [path.name for path in found]
    assert len(names) > 50
    assert not (double := sorted({name for name in names if names.count(name) > 1})), "rename one of each: %s" % double


def test_action_group():
    """The group cluster of meta/runtime.yml holds every module, and every action."""
    listed = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]["cluster"]
    present = plugin_names("modules") | plugin_names("action")
    assert sorted(listed) == sorted(present), (
        "meta/runtime.yml, action_groups.cluster: add %s, remove %s"
        % (sorted(present - set(listed)), sorted(set(listed) - present))
    )
    assert listed == sorted(listed), "meta/runtime.yml: keep action_groups.cluster in order"


def test_every_action_is_documented():
    """An action is documented under its module's name, in plugins/modules."""
    lacking = plugin_names("action") - plugin_names("modules")
    assert not lacking, "actions without plugins/modules/<name>.py or .yml: %s" % sorted(lacking)


def undescribed(options, where=""):
    """Names of options, at any depth, that lack a description."""
    for name, option in (options or {}).items():
        if not option.get("description"):
            yield where + name
        yield from undescribed(option.get("suboptions") or option.get("options"), where + name + ".")


def module_gaps(name, entry):
    """What a module's documentation lacks, as sentences."""
    doc = entry["doc"]
    for part in ("short_description", "description", "author", "version_added"):
        if not doc.get(part):
            yield "%s: no %s" % (name, part)
    for option in undescribed(doc.get("options")):
        yield "%s: option %s is not described" % (name, option)
    for attribute in ("check_mode", "diff_mode", "idempotent"):
        if not doc.get("attributes", {}).get(attribute, {}).get("support"):
            yield "%s: attribute %s has no support" % (name, attribute)
    if "gantry.cluster.cluster" not in doc.get("attributes", {}).get("action_group", {}).get("membership", []):
        yield "%s: not documented as a member of the action group" % name
    for part in ("examples", "return"):
        if not entry.get(part):
            yield "%s: %s is empty" % (name, part)


def plugin_gaps(name, entry):
    """What another plugin's documentation lacks, as sentences."""
    doc = entry["doc"]
    for part in ("short_description", "description", "version_added"):
        if not doc.get(part):
            yield "%s: no %s" % (name, part)
    for option in undescribed(doc.get("options")):
        yield "%s: option %s is not described" % (name, option)


def test_plugins_are_documented(documentation):
    """ansible-doc finds every plugin and every option of it described."""
    gaps = []
    for kind in DOCUMENTED:
        present = {"gantry.cluster." + name for name in plugin_names("modules" if kind == "module" else kind)}
        known = documentation.get(kind, {})
        gaps += ["%s %s: ansible-doc knows nothing of it" % (kind, name) for name in sorted(present - set(known))]
        for name, entry in sorted(known.items()):
            if "doc" not in entry:
                gaps.append("%s %s: %s" % (kind, name, entry))
                continue
            gaps += (module_gaps if kind == "module" else plugin_gaps)(name, entry)
    assert not gaps, "\n".join(gaps)


def test_roles_are_documented(documentation):
    """Every role has a README and an argument specification in which every entry point and option is described."""
    gaps = []
    for role in sorted(path for path in (ROOT / "roles").glob("*") if path.is_dir()):
        if not (role / "README.md").is_file():
            gaps.append("%s: no README.md, which Galaxy refuses" % role.name)
        entry = documentation.get("role", {}).get("gantry.cluster." + role.name)
        if not entry or "entry_points" not in entry:
            gaps.append("%s: no readable meta/argument_specs.yml (%s)" % (role.name, entry))
            continue
        for point, doc in entry["entry_points"].items():
            where = "%s/%s" % (role.name, point)
            if not (role / "tasks" / (point + ".yml")).is_file():
                gaps.append("%s: described, but there is no tasks/%s.yml" % (where, point))
            gaps += ["%s: no %s" % (where, part) for part in ("short_description", "description") if not doc.get(part)]
            gaps += ["%s: option %s is not described" % (where, name) for name in undescribed(doc.get("options"))]
    assert not gaps, "\n".join(gaps)


def machine_paths():
    """Paths that only this machine has: the checkout, and the folder it lies in where that is no common one."""
    common = {pathlib.Path(name) for name in ("/", "/tmp", "/var/tmp", "/home", "/root", "/srv", "/opt", "/usr/src")}
    paths = {str(ROOT)}
    if ROOT.parent not in common:
        paths.add(str(ROOT.parent) + "/")
    return paths


def test_no_path_of_this_machine(bench):
    """No file names a folder that exists here only."""
    named = []
    for name in bench.files:
        path = bench.collection / name
        text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        named += ["%s: %s" % (name, here) for here in machine_paths() if here in text]
    assert not named, "\n".join(named)


def test_the_traps_tests_exist():
    """Every row of docs/traps.md is there, and every test it names."""
    text = (ROOT / "docs/traps.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (T\d+) \|", text, re.MULTILINE) == ["T%d" % number for number in range(1, 46)]
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text))
    lacking = []
    for file, test in sorted(named):
        path = ROOT / file
        if not path.is_file() or not re.search(r"^ *def %s\(" % test, path.read_text(encoding="utf-8"), re.MULTILINE):
            lacking.append("%s::%s" % (file, test))
    assert len(named) > 30 and not lacking, lacking


def test_every_dependency_is_explained():
    """Each direct requirement has its line in docs/dependencies.md."""
    explained = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    wanted = []
    for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines():
        found = re.match(r"[A-Za-z0-9_.-]+", line)
        wanted += [found.group()] if found else []
    for file in ("script/lib/host-packages.txt", "script/lib/oracle-packages.txt", "lab/host-packages.txt"):
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            name = line.split("#")[0].strip()
            wanted += [name] if name else []
    lacking = [name for name in wanted if "`%s`" % name not in explained]
    assert not lacking, "docs/dependencies.md says nothing of: %s" % lacking
