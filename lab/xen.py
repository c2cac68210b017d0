# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Xen that sends paravirtual guests live: Debian's source, built with the shadow paging that Debian's package leaves out.

``GANTRY_LAB_XEN=$(script/lab xen)`` makes Xen nodes boot it. All else on them stays Debian's.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
import time

from . import config, host, image, sources
from .config import LabError, say

#: What the build needs on this machine, beside what the lab does.
PROGRAMS = {"gcc": "gcc", "make": "make", "flex": "flex", "bison": "bison", "patch": "patch", "dpkg-source": "dpkg-dev"}


def ensure(suite: str) -> pathlib.Path:
    """The hypervisor, as QEMU boots it; built now if the cache does not hold it. Raises LabError."""
    target = config.cache_dir() / "hypervisors" / f"xen-{suite}-shadow"
    if target.is_file():
        return target
    lacking = sorted(package for program, package in PROGRAMS.items() if not host.find(program))
    if lacking:
        line = f"apt-get install -y {' '.join(lacking)}"
        raise LabError(f"building Xen needs packages that this machine lacks; as root, run:\n\n    {line}\n")
    target.parent.mkdir(parents=True, exist_ok=True)
    with config.lock(target.with_suffix(".lock"), "another run is building Xen"):
        if not target.is_file():
            _build(target, suite)
    return target


def _build(target: pathlib.Path, suite: str) -> None:
    started = time.monotonic()
    log = target.with_suffix(".build.log")
    say(f"building Xen with shadow paging from {suite}'s source (once; what it says goes to {log})")
    work = pathlib.Path(tempfile.mkdtemp(prefix=".build-", dir=target.parent))
    try:
        log.write_text("")
        tree = _source(work, suite, log, started)
        settings = tree / "xen" / ".config"
        settings.write_text((tree / "debian" / "xen-kconfig").read_text() + "\nCONFIG_SHADOW_PAGING=y\n")
        make = ["make", "-C", str(tree / "xen"), "XEN_TARGET_ARCH=x86_64", "PYTHON=python3"]
        image.run([*make, "olddefconfig"], log, started)
        if "CONFIG_SHADOW_PAGING=y" not in settings.read_text().splitlines():
            raise LabError(f"Xen's configuration did not take CONFIG_SHADOW_PAGING: see {log}")
        image.run([*make, f"-j{len(os.sched_getaffinity(0))}", "build"], log, started)
        shutil.copyfile(tree / "xen" / "xen", work / "finished")
        (work / "finished").rename(target)
        say(f"  {time.monotonic() - started:4.0f} s: {target} is ready")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _source(work: pathlib.Path, suite: str, log: pathlib.Path, started: float) -> pathlib.Path:
    """Fetches and patches the source with an APT that has folders of its own; the tree's path."""
    for folder in ("lists/partial", "cache/archives/partial", "etc"):
        (work / folder).mkdir(parents=True)
    # Of the archive only: not every mirror of the security archive has its sources.
    archive = sources.sources_list(suite).splitlines()[0]
    (work / "sources.list").write_text(archive.replace("deb ", "deb-src ", 1) + "\n")
    options = [f"Dir::State::lists={work}/lists", f"Dir::Cache={work}/cache", f"Dir::Etc::sourcelist={work}/sources.list",
               f"Dir::Etc::sourceparts={work}/etc", "APT::Sandbox::User=root"]  # fmt: skip
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    image.run([*apt, "update"], log, started)
    image.run([*apt, "source", "xen"], log, started, cwd=work)
    return next(work.glob("xen-*/xen")).parent
