# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the test guest of Xen into an initrd: the counting program, and the kernel module of its disk.

Usage::

    python3 lab/guest/initrd.py --program counter --module xen-blkfront.ko > initrd
"""

from __future__ import annotations

import argparse
import gzip
import lzma
import pathlib
import stat
import sys

DEVICE_CONSOLE = (5, 1)


def unpacked(module):
    """A kernel module as the kernel loads it: Debian's later releases have them compressed."""
    if module.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(module)
    if module.startswith(b"\x1f\x8b"):
        return gzip.decompress(module)
    if module.startswith(b"\x7fELF"):
        return module
    raise ValueError("this is no kernel module, or one in a compression unknown here")


def entry(number, name, mode, content=b"", device=(0, 0)):
    """One member of a cpio archive in the "newc" format, all zero dates and owned by root."""
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return padded(head) + padded(content)


def padded(data):
    """The data, filled up with zeros to a multiple of four."""
    return data + bytes(-len(data) % 4)


def initrd(program, module):
    """The archive.

    :param program: counter.asm, assembled with -DXEN.
    :param module: the content of xen-blkfront.ko, compressed or not.
    """
    return b"".join([
        entry(1, "dev", stat.S_IFDIR | 0o755),
        entry(2, "dev/console", stat.S_IFCHR | 0o600, device=DEVICE_CONSOLE),
        entry(3, "init", stat.S_IFREG | 0o755, program),
        entry(4, "sbin", stat.S_IFDIR | 0o755),
        # What the kernel runs when Xen asks the guest to end.
        entry(5, "sbin/poweroff", stat.S_IFLNK | 0o777, b"/init"),
        entry(6, "xen-blkfront.ko", stat.S_IFREG | 0o644, unpacked(module)),
        entry(0, "TRAILER!!!", 0),
    ])


def main():
    """The command line. :returns: 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="initrd.py", description="Packs the test guest of Xen into an initrd.")
    parser.add_argument("--program", required=True, type=pathlib.Path, help="counter.asm, assembled with -DXEN")
    parser.add_argument("--module", required=True, type=pathlib.Path, help="xen-blkfront.ko of the guest's kernel")
    options = parser.parse_args()
    try:
        sys.stdout.buffer.write(initrd(options.program.read_bytes(), options.module.read_bytes()))
    except (OSError, ValueError) as error:
        print(f"initrd.py: {options.module}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
