# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a disk image to a new disk: looked at before anything is made, written with qemu-img, on stable storage."""

from __future__ import annotations

import json
import os

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

MIB = 1024 * 1024

#: What a write past the page cache has to be a multiple of, bytes.
BLOCK = 4096

#: Formats that can be a guest's disk. Anything else is more likely a mistake than an image.
FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc")

#: A large image over a slow link takes its time, in seconds.
TIMEOUT = 24 * 3600


def inspect(executor, path, image_format=None):
    """Look at an image on this node.

    :param image_format: one of :data:`FORMATS`; None lets qemu-img find out.
    :returns: ``{"path", "format", "size_bytes"}``; the size is what the guest would see.
    :raises GantryError: it cannot be read, or refers to other files of this node.
    """
    if image_format is not None and image_format not in FORMATS:
        raise GantryError(
            "The image format %s is not known" % image_format, expected="one of " + ", ".join(FORMATS),
            code="bad_image",
        )
    if not os.path.isabs(path):
        raise GantryError(
            "The image's path is not absolute", found=path, expected="/path/on/the/node", code="bad_image")
    if not os.path.exists(path):
        raise GantryError(
            "There is no image %s on this node" % path, expected="a readable disk image",
            mend="copy the image to the node, or correct the path", code="no_image",
        )
    argv = ["qemu-img", "info", "--output", "json"] + (["-f", image_format] if image_format else []) + [path]
    answer = executor.read(argv, ok=None)
    try:
        if answer.rc != 0:
            raise ValueError(answer.err.strip() or "exit code %d" % answer.rc)
        info = json.loads(answer.out)
        found, size = str(info["format"]), int(info["virtual-size"])
    except (ValueError, KeyError, TypeError) as broken:
        raise GantryError(
            "The image %s cannot be read" % path, found=str(broken), expected="a disk image",
            mend="look at it with 'qemu-img check %s'; copy it again if it is broken" % path, code="bad_image",
        ) from broken
    if found not in FORMATS:
        raise GantryError(
            "The image %s has a format that is not a guest's disk" % path, found=found,
            expected="one of " + ", ".join(FORMATS), code="bad_image")
    specific = (info.get("format-specific") or {}).get("data") or {}
    for key, value in (
        ("a backing file", info.get("backing-filename")), ("a data file", specific.get("data-file")),
        ("encryption", info.get("encrypted")),
    ):
        if value:
            raise GantryError(
                "The image %s does not stand alone" % path, found="%s (%s)" % (key, value),
                expected="an image without references to other files and without encryption",
                mend="flatten it with 'qemu-img convert -O qcow2 %s NEW'" % path, code="bad_image",
            )
    if size <= 0:
        raise GantryError("The image %s is empty" % path, found="0 bytes", expected="a disk image", code="bad_image")
    return {"path": path, "format": found, "size_bytes": size}


def refuse_too_large(image, disk):
    """Refuse an image that does not fit. :raises GantryError: it is larger than the disk."""
    if image["size_bytes"] > disk["size_mib"] * MIB:
        raise GantryError(
            "The image %s does not fit on disk %s" % (image["path"], disk["name"]),
            found="%d MiB" % -(-image["size_bytes"] // MIB), expected="at most %d MiB" % disk["size_mib"],
            mend="make the disk larger, or the image smaller", code="image_too_large",
        )


def named(image):
    """What is written, in words."""
    return "zeros" if image.get("zeros") else "image %s" % image["path"]


def write(executor, image, device):
    """Overwrite the beginning of a device with the image; zeros of the image are written too.

    :param image: as :func:`inspect` returned; with ``place`` "end" its last byte becomes that of the device. With ``zeros``
        there is no image: the whole device becomes zero.
    """
    if image.get("zeros"):
        executor.call("write %s to %s" % (named(image), device), _write_zeros_now, device)
        return
    step = _write_end_now if image.get("place") == "end" else _write_now
    executor.call("write %s to %s" % (named(image), device), step, executor, image, device)


def _write_end_now(executor, image, device):
    """A guest's flash ends where its firmware's code begins, so the variables have to be the last bytes of it."""
    descriptor = os.open(device, os.O_RDONLY)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
    start = size - image["size_bytes"]
    if start < 0 or start % BLOCK or image["size_bytes"] % BLOCK:
        raise GantryError(
            "The image %s cannot be put at the end of %s" % (image["path"], device),
            found="%d bytes, and a device of %d" % (image["size_bytes"], size),
            expected="both multiples of %d, and the image not larger" % BLOCK, mend="name another firmware_vars", code="bad_image")
    # oflag=direct: past the page cache, as above
    executor.read(["dd", "if=" + image["path"], "of=" + device, "bs=%d" % BLOCK, "seek=%d" % (start // BLOCK),
                   "conv=notrunc,fsync", "oflag=direct", "status=none"])
    flush(device)


def _write_now(executor, image, device):
    before, executor.timeout = executor.timeout, TIMEOUT
    try:
        # -n: the target is there and may hold anything. -t none: past the page cache, which a guest would not see.
        executor.read([
            "qemu-img", "convert", "-n", "-t", "none", "-f", image["format"], "-O", "raw", image["path"], device])
    finally:
        executor.timeout = before
    flush(device)


def _write_zeros_now(device):
    """A new logical volume holds what was there before, such as an earlier guest's secrets."""
    with open(device, "r+b", buffering=0) as stream:
        left = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        while left > 0:
            left -= stream.write(bytes(min(MIB, left)))
    flush(device)


def flush(device):
    """Have everything written to the device on stable storage."""
    descriptor = os.open(device, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
