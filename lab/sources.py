# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Debian packages come from on this machine: the same sources and proxies that its own APT uses."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

from .config import LabError

KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
RELEASES = {
    "buster", "bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable",
    "oldoldstable",
}


def parse_one_line(text: str) -> list:
    """Entries (uri, suite, components) of a one-line-style list."""
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)((?:\s+[^\s#]+)*)", line.strip())
        if match:
            found.append((match[1], match[2], match[3].split()))
    return found


def parse_deb822(text: str) -> list:
    """Entries (uri, suite, components) of a deb822 file."""
    found = []
    for stanza in re.split(r"\n\s*\n", "\n".join(line for line in text.splitlines() if not line.startswith("#"))):
        fields: dict = {}
        name = None
        for line in stanza.splitlines():
            if line[:1].isspace() and name:
                fields[name] += " " + line.strip()
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                found.append((uri, suite, fields.get("components", "").split()))
    return found


def host_entries(etc: pathlib.Path = pathlib.Path("/etc/apt")) -> list:
    """All entries of this machine's APT."""
    found = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if path.suffix == ".list":
            found += parse_one_line(text)
        elif path.suffix == ".sources":
            found += parse_deb822(text)
    return found


def mirrors(entries: list) -> tuple:
    """The archive's and the security archive's address (either None) among the entries."""
    archive = security = None
    for uri, suite, components in entries:
        if "main" not in components:
            continue
        base, _dash, pocket = suite.partition("-")
        if suite.endswith("/updates"):
            base, pocket = suite.split("/")[0], "security"
        if base not in RELEASES:
            continue
        if pocket == "security":
            security = security or uri
        elif pocket == "":
            archive = archive or uri
    return archive, security


def sources_list(suite: str, entries: list | None = None, override: str | None = None) -> str:
    """The node's sources.list. GANTRY_LAB_MIRROR wins over this machine's own. Raises LabError if there is none."""
    override = override if override is not None else os.environ.get("GANTRY_LAB_MIRROR")
    archive, security = (override, None) if override else mirrors(host_entries() if entries is None else entries)
    if not archive:
        raise LabError(
            "this machine's APT names no Debian mirror, so there is nothing to make the nodes from: "
            "set GANTRY_LAB_MIRROR to the address of one"
        )
    option = f" [signed-by={KEYRING}]"
    lines = [f"deb{option} {archive} {suite} main"]
    if not override:
        lines.append(f"deb{option} {archive} {suite}-updates main")
    if security:
        lines.append(f"deb{option} {security} {suite}-security main")
    return "\n".join(lines) + "\n"


def apt_options(dump: str | None = None) -> list:
    """This machine's APT settings that decide how a mirror is reached (proxies, retries, dates)."""
    if dump is None:
        try:
            dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return []
    wanted = re.compile(r"Acquire::(https?::|Check-|Retries|ForceIPv)", re.IGNORECASE)
    return [line.strip() for line in dump.splitlines() if wanted.match(line) and not line.rstrip().endswith(' "";')]
