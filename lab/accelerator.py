# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether KVM truly works here: a device file proves nothing, a kernel that booted does."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import time

from . import config, host
from .config import LabError, say
from .image import Image

KVM = pathlib.Path("/dev/kvm")
# The kernel has no root disk, so this is the end of a complete boot.
PROOF = b"Kernel panic - not syncing: VFS"
TIMEOUT = 20.0


def choose(image: Image) -> str:
    """kvm or tcg: what GANTRY_LAB_ACCEL says, else what a probe shows (kept until the machine restarts)."""
    wanted = os.environ.get("GANTRY_LAB_ACCEL", "auto")
    if wanted in ("kvm", "tcg"):
        return wanted
    if wanted != "auto":
        raise LabError(f"GANTRY_LAB_ACCEL is {wanted!r}; it may be auto, kvm or tcg")
    return probe(image)["accelerator"]


def probe(image: Image, again: bool = False) -> dict:
    """{accelerator, reason, seconds}; boots the image's kernel under KVM with a time limit, unless that is known."""
    if not KVM.exists():
        return {"accelerator": "tcg", "reason": f"there is no {KVM}", "seconds": 0.0}
    if not os.access(KVM, os.R_OK | os.W_OK):
        return {"accelerator": "tcg", "reason": f"this user may not open {KVM}", "seconds": 0.0}
    key = f"{_read('/proc/sys/kernel/random/boot_id')} {_version()} {image.path.name}"
    path = config.cache_dir() / "accelerator.json"
    with config.lock(config.cache_dir() / "accelerator.lock", "another run is trying KVM out"):
        try:
            known = config.read_json(path, {})
        except LabError:
            known = {}
        if known.get("key") == key and not again:
            return known["result"]
        say(f"trying KVM out (at most {TIMEOUT:g} s, once until this machine restarts)")
        result = boot(image)
        config.write_json(path, {"key": key, "result": result})
    say(f"  {result['accelerator']}: {result['reason']}")
    return result


def boot(image: Image, timeout: float = TIMEOUT) -> dict:
    """Boots the kernel under KVM and watches its console for at most `timeout` seconds."""
    command = [
        host.find("qemu-system-x86_64") or "qemu-system-x86_64", "-nodefaults", "-no-user-config",
        "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256M",
        "-kernel", str(image.kernel), "-append", "console=ttyS0 panic=-1", "-serial", "stdio",
    ]  # fmt: skip
    started = time.monotonic()
    seen = b""
    verdict = "QEMU with KVM ended before the kernel had booted"
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        return {"accelerator": "tcg", "reason": f"QEMU does not start ({error})", "seconds": 0.0}
    try:
        os.set_blocking(process.stdout.fileno(), False)
        while True:
            with contextlib.suppress(BlockingIOError):
                seen += os.read(process.stdout.fileno(), 65536)
            if PROOF in seen:
                seconds = round(time.monotonic() - started, 1)
                return {"accelerator": "kvm", "reason": f"a kernel booted in {seconds} s", "seconds": seconds}
            if process.poll() is not None:
                break
            if time.monotonic() - started > timeout:
                verdict = f"KVM is there, but no kernel booted within {timeout:g} s"
                break
            time.sleep(0.1)
    finally:
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
