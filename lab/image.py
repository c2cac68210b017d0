# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node images: a Debian root file system, its kernel and its initrd, cached by the digest of what goes in."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time

from . import config, host, ports, sources
from .config import LabError, say

HERE = pathlib.Path(__file__).resolve().parent / "image"
# Part of the digest: raise it when this file changes what an image holds.
FORMAT = 1
ROOT_GIB = 8
PARTS = {
    # The last one is the kernel as an ordinary program, which not every suite has.
    "linux": ("rootfs.raw", "vmlinuz", "initrd.img", "linux.uml"),
    # The hypervisor as QEMU boots it, and the one kernel module that the test guest needs.
    "xen": ("rootfs.raw", "vmlinuz", "initrd.img", "xen", "xen-blkfront.ko"),
}


@dataclasses.dataclass(frozen=True)
class Image:
    """A finished image in the cache."""

    path: pathlib.Path

    @property
    def rootfs(self) -> pathlib.Path:
        return self.path / "rootfs.raw"

    @property
    def kernel(self) -> pathlib.Path:
        return self.path / "vmlinuz"

    @property
    def initrd(self) -> pathlib.Path:
        return self.path / "initrd.img"

    @property
    def uml(self) -> pathlib.Path:
        return self.path / "linux.uml"

    @property
    def xen(self) -> pathlib.Path:
        return self.path / "xen"

    @property
    def blkfront(self) -> pathlib.Path:
        return self.path / "xen-blkfront.ko"

    @property
    def ready(self) -> bool:
        """Whether it is whole: the manifest is the last file to be written before the folder gets its name."""
        return (self.path / "manifest.json").is_file() and self.rootfs.is_file()


def node_packages(kind: str) -> list:
    """The packages that go in: those of all nodes, of this kind, and what GANTRY_LAB_PACKAGES names."""
    files = ("packages.txt", f"packages_{kind}.txt")
    extra = os.environ.get("GANTRY_LAB_PACKAGES", "").replace(",", " ").split()
    return [name for file in files for name in host.packages(HERE / file)] + extra


def node_files() -> list:
    """The files that are laid into the root file system: (path from its root, content, executable), sorted."""
    top = HERE / "files"
    return [
        (path.relative_to(top).as_posix(), path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in sorted(top.rglob("*"))
        if path.is_file() and path.parent.name != "__pycache__"
    ]


def digest(suite: str, packages: list, files: list, customise: bytes) -> str:
    """The digest of everything that decides what an image holds (mirrors and proxies do not)."""
    total = hashlib.sha256()
    parts = [str(FORMAT), str(ROOT_GIB), suite, " ".join(sorted(set(packages))), customise]
    for name, content, executable in files:
        parts += [name, "x" if executable else "-", content]
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def files_tar(files: list) -> bytes:
    """The files as a tar archive, all owned by root, folders included."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folders = {parent.as_posix() for name, _c, _x in files for parent in pathlib.PurePosixPath(name).parents}
        for folder in sorted(folders - {"."}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content, executable in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if executable else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def current(suite: str, kind: str = "linux") -> Image:
    """The image that the files of this checkout ask for, whether or not it is built."""
    name = digest(suite, node_packages(kind), node_files(), (HERE / "customise.sh").read_bytes())[:16]
    return Image(config.cache_dir() / "images" / f"{kind}-{suite}-{name}")


def ensure(suite: str, kind: str = "linux") -> Image:
    """The image of a suite, built now if the cache does not hold it. Raises LabError."""
    image = current(suite, kind)
    if image.ready:
        return image
    host.require()
    label = f"{kind}-{suite}"
    with config.lock(image.path.parent / f"{label}.lock", f"another run is building the {label} image"):
        if not image.ready:
            _build(image, suite, kind)
    return image


def _build(image: Image, suite: str, kind: str) -> None:
    """Builds into a folder beside the final one and gives it its name at the end. Raises LabError."""
    started = time.monotonic()
    parent, label = image.path.parent, f"{kind}-{suite}"
    parts = tuple(name for name in PARTS[kind] if name != "linux.uml" or suite in config.UML_SUITES)
    for stale in parent.glob(f".build-{label}-*"):
        # The lock is ours, so whoever made it is gone.
        shutil.rmtree(stale, ignore_errors=True)
    apt = sources.sources_list(suite)
    say(f"building the {label} image (once; kept in {parent})")
    finished = pathlib.Path(tempfile.mkdtemp(prefix=f".build-{label}-", dir=parent))
    # Without root, mmdebstrap works as other users of a name space, whom this user's home may keep out.
    work = pathlib.Path(tempfile.mkdtemp(prefix="work-", dir=finished if os.geteuid() == 0 else None))
    try:
        work.chmod(0o755)
        (work / "sources.list").write_text(apt)
        (work / "files.tar").write_bytes(files_tar(node_files()))
        shutil.copyfile(HERE / "customise.sh", work / "customise.sh")
        for name in parts:
            (work / name).touch()
            (work / name).chmod(0o666)
        log = work / "build.log"
        with _keep_log(log, parent / f"{label}.build.log"):
            run(_mmdebstrap(suite, kind, work), log, started)
            say(f"  {time.monotonic() - started:4.0f} s: making the disk")
            run(_to_disk(work, parts), log, started)
            run(["mv", *(str(work / name) for name in parts), str(finished)], log, started)
        shutil.rmtree(work)
        for name in parts:
            (finished / name).chmod(0o755 if name == "linux.uml" else 0o644)
            if not (finished / name).stat().st_size:
                raise LabError(f"the build left an empty {name}: see {parent / f'{label}.build.log'}")
        built = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        config.write_json(
            finished / "manifest.json",
            {"suite": suite, "kind": kind, "packages": node_packages(kind), "built": built},
        )
        finished.chmod(0o755)
        finished.rename(image.path)
        say(f"  {time.monotonic() - started:4.0f} s: {label} image ready")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(finished, ignore_errors=True)


@contextlib.contextmanager
def _keep_log(log: pathlib.Path, target: pathlib.Path):
    try:
        yield
    finally:
        if log.exists():
            shutil.copyfile(log, target)


def _mmdebstrap(suite: str, kind: str, work: pathlib.Path) -> list:
    files = shlex.quote(str(work / "files.tar"))
    command = [
        host.find("mmdebstrap"),
        "--variant=minbase",
        "--format=tar",
        # If the machine dies now, the image is built anew anyway.
        "--dpkgopt=force-unsafe-io",
        f"--include={','.join(node_packages(kind))}",
        # The initrd is made while packages are configured, so what steers it has to be there before them.
        f'--setup-hook=tar -xpf {files} -C "$1" etc/initramfs-tools',
        f'--customize-hook=tar -xpf {files} -C "$1" --no-overwrite-dir',
        f'--customize-hook=chroot "$1" sh -s < {shlex.quote(str(work / "customise.sh"))}',
    ]
    command += [f"--aptopt={option}" for option in sources.apt_options()]
    return command + [suite, str(work / "root.tar"), str(work / "sources.list")]


def _to_disk(work: pathlib.Path, parts: tuple) -> list:
    """The command that turns root.tar into an ext4 disk, kernel and initrd; without root, in a user name space."""
    uml = 'cat "$tree"/usr/bin/linux.uml > linux.uml;'
    xen = 'gunzip -c "$tree"/boot/xen-[0-9]*.gz > xen; cat "$tree"/lib/modules/*/kernel/drivers/block/xen-blkfront.ko* > xen-blkfront.ko;'
    script = (
        'set -eu; cd "$1"; tree=$(mktemp -d "$3/gantry-lab-tree.XXXXXX"); trap "rm -rf \\"$tree\\"" EXIT;'
        "tar -xpf root.tar -C \"$tree\" --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*';"
        'cat "$tree"/boot/vmlinuz-* > vmlinuz; cat "$tree"/boot/initrd.img-* > initrd.img;'
        f"{uml if 'linux.uml' in parts else ''}{xen if 'xen' in parts else ''}"
        f'truncate -s {ROOT_GIB}G rootfs.raw; "$2" -q -F -t ext4 -L gantry-root -d "$tree" rootfs.raw'
    )
    command = ["sh", "-c", script, "sh", str(work), host.find("mke2fs"), "/tmp" if os.geteuid() else str(work)]
    if os.geteuid() != 0:
        command = [host.find("mmdebstrap"), "--unshare-helper", *command]
    return command


def run(command: list, log: pathlib.Path, started: float, cwd: pathlib.Path | None = None) -> None:
    """Runs a step of a build, everything into the log, its own headlines to the screen. Raises LabError."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    with log.open("a") as stream, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=cwd
    ) as process:
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            stream.write(line + "\n")
            if re.match(r"I: ", line):
                say(f"  {time.monotonic() - started:4.0f} s: {line[3:]}")
    if process.returncode:
        tail = "\n".join(log.read_text().splitlines()[-25:])
        raise LabError(f"{pathlib.Path(command[0]).name} failed with status {process.returncode}:\n{tail}")


def images(lab: dict) -> dict:
    """The images of a lab, {kind: folder}. (A lab made before there were kinds has one.)"""
    return lab.get("images") or ({"linux": lab["image"]} if "image" in lab else {})


def cached() -> list:
    """All finished images of this cache."""
    found = (Image(path) for path in sorted((config.cache_dir() / "images").glob("*")) if not path.name.startswith("."))
    return [image for image in found if image.ready]


def prune() -> list:
    """Deletes the images that neither this checkout nor an existing lab uses; returns their folders."""
    keep = {current(suite, kind).path for suite in config.SUITES for kind in PARTS}
    for state in ports.states():
        keep.update(map(pathlib.Path, images(config.read_json(state / "lab.json", {}) or {}).values()))
    gone = [image.path for image in cached() if image.path not in keep]
    for path in gone:
        shutil.rmtree(path)
    return gone
