# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes can run on here: KVM, else User-Mode Linux, else emulation. Only a kernel that booted is a proof."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import tempfile
import time

from . import config, host, uml_machine
from .config import LabError, say
from .image import Image

KVM = pathlib.Path("/dev/kvm")
# The kernel has no root disk, so this is the end of a complete boot.
PROOF = b"Kernel panic - not syncing: VFS"
TIMEOUT = 20.0
UML_TIMEOUT = 10.0


def choose(image: Image) -> str:
    """kvm, uml or tcg: what GANTRY_LAB_ACCEL says, else what a probe shows (kept until the machine restarts)."""
    wanted = os.environ.get("GANTRY_LAB_ACCEL", "auto")
    if wanted == "uml" and not image.uml.is_file():
        say("this image has no User-Mode Linux: the nodes are emulated")
        return "tcg"
    if wanted in ("kvm", "uml", "tcg"):
        return wanted
    if wanted != "auto":
        raise LabError(f"GANTRY_LAB_ACCEL is {wanted!r}; it may be auto, kvm, uml or tcg")
    return probe(image)["accelerator"]


def probe(image: Image, again: bool = False) -> dict:
    """{accelerator, reason, seconds}; boots the image's kernels with a time limit, unless what comes of it is known."""
    no_kvm = without_kvm()
    if no_kvm and not image.uml.is_file():
        return {"accelerator": "tcg", "reason": no_kvm, "seconds": 0.0}
    key = f"{_read('/proc/sys/kernel/random/boot_id')} {_version()} {image.path.name} {no_kvm}"
    path = config.cache_dir() / "accelerator.json"
    with config.lock(config.cache_dir() / "accelerator.lock", "another run is trying out what works here"):
        try:
            known = config.read_json(path, {})
        except LabError:
            known = {}
        if known.get("key") == key and not again:
            return known["result"]
        say(f"trying out what works here (at most {TIMEOUT + UML_TIMEOUT:g} s, once until this machine restarts)")
        result = best(image, no_kvm)
        config.write_json(path, {"key": key, "result": result})
    say(f"  {result['accelerator']}: {result['reason']}")
    return result


def without_kvm() -> str:
    """Why KVM need not be tried; empty if it has to be."""
    if not KVM.exists():
        return f"there is no {KVM}"
    return "" if os.access(KVM, os.R_OK | os.W_OK) else f"this user may not open {KVM}"


def best(image: Image, no_kvm: str = "") -> dict:
    """What the first kernel that boots runs on; the reason tells of the others, too."""
    found = {"accelerator": "tcg", "reason": no_kvm, "seconds": 0.0} if no_kvm else boot(image)
    if found["accelerator"] != "kvm" and image.uml.is_file():
        uml = boot_uml(image)
        found = uml | {
            "reason": f"{uml['reason']} (KVM: {found['reason']})",
            "seconds": found["seconds"] + uml["seconds"],
        }
    return found


def boot(image: Image, timeout: float = TIMEOUT) -> dict:
    """Boots the kernel under KVM and watches its console for at most `timeout` seconds."""
    command = [
        host.find("qemu-system-x86_64") or "qemu-system-x86_64", "-nodefaults", "-no-user-config",
        "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256M",
        "-kernel", str(image.kernel), "-append", "console=ttyS0 panic=-1", "-serial", "stdio",
    ]  # fmt: skip
    return _verdict("kvm", "KVM", command, timeout)


def boot_uml(image: Image, timeout: float = UML_TIMEOUT) -> dict:
    """Boots the kernel that is a program, as far as its missing root disk; and asks QEMU for the cables it needs."""
    qemu = host.find("qemu-system-x86_64") or "qemu-system-x86_64"
    try:
        kinds = subprocess.run([qemu, "-netdev", "help"], capture_output=True, text=True, check=False).stdout.split()
    except OSError as error:
        return {"accelerator": "tcg", "reason": f"QEMU does not start ({error})", "seconds": 0.0}
    if "dgram" not in kinds:
        return {"accelerator": "tcg", "reason": "User-Mode Linux needs QEMU 7.2 or newer", "seconds": 0.0}
    with tempfile.TemporaryDirectory(prefix="gantry-lab-probe-") as folder:
        memory = uml_machine.memory_folder(uml_machine.SHM, 128, pathlib.Path(folder))
        command = [str(image.uml), f"uml_dir={folder}/", "umid=probe", "mem=128M", "con=null", "con0=null,fd:1", "console=tty0"]
        return _verdict("uml", "User-Mode Linux", command, timeout, folder, uml_machine.environment(memory))


def _verdict(kind: str, name: str, command: list, timeout: float, folder: str = "/", environment: dict | None = None) -> dict:
    """{accelerator, reason, seconds}: `kind` if the command boots a kernel in time, else tcg and the reason."""
    started = time.monotonic()
    seen = b""
    verdict = f"{name} ended before the kernel had booted"
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            cwd=folder, env=environment,
        )  # fmt: skip
    except OSError as error:
        return {"accelerator": "tcg", "reason": f"{name} does not start ({error})", "seconds": 0.0}
    try:
        os.set_blocking(process.stdout.fileno(), False)
        while True:
            with contextlib.suppress(BlockingIOError):
                seen += os.read(process.stdout.fileno(), 65536)
            if PROOF in seen:
                seconds = round(time.monotonic() - started, 1)
                return {"accelerator": kind, "reason": f"a kernel booted in {seconds} s", "seconds": seconds}
            if process.poll() is not None:
                break
            if time.monotonic() - started > timeout:
                verdict = f"{name} is there, but no kernel booted within {timeout:g} s"
                break
            time.sleep(0.1)
    finally:
        if kind == "uml":
            uml_machine.end(pathlib.Path(folder))
        process.kill()
        process.wait()
        process.stdout.close()
    text = (seen.decode(errors="replace").strip().splitlines() or ["none"])[-1].strip()
    return {
        "accelerator": "tcg",
        "reason": f"{verdict} (its last words: {text[-120:]})",
        "seconds": round(time.monotonic() - started, 1),
    }


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return "unknown"


def _version() -> str:
    try:
        done = subprocess.run(
            [host.find("qemu-system-x86_64") or "qemu-system-x86_64", "--version"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return "unknown"
    return done.stdout.partition("\n")[0]
