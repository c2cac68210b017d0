# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk images, looked at and written with the real qemu-img."""

from __future__ import annotations

import os
import subprocess

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import image
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor

DATA = os.urandom(1 << 20)


def qemu_img(*argv):
    """Run the real tool."""
    subprocess.run(("qemu-img",) + argv, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def raw(tmp_path):
    """1 MiB of data, 1 MiB of zeros, 1 MiB of data."""
    path = tmp_path / "a.raw"
    path.write_bytes(DATA + bytes(1 << 20) + DATA)
    return str(path)


@pytest.fixture
def qcow2(raw, tmp_path):
    """The same as qcow2."""
    path = str(tmp_path / "a.qcow2")
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, path)
    return path


def refused(code, *args):
    """Inspection is refused with this word."""
    with pytest.raises(GantryError) as caught:
        image.inspect(Executor(), *args)
    assert caught.value.code == code
    return caught.value


def test_inspect(raw, qcow2):
    """Format found or told, size as the guest sees it."""
    size = 3 << 20
    assert image.inspect(Executor(), qcow2) == {"path": qcow2, "format": "qcow2", "size_bytes": size}
    assert image.inspect(Executor(), raw) == {"path": raw, "format": "raw", "size_bytes": size}
    assert image.inspect(Executor(), qcow2, "raw")["format"] == "raw"


@pytest.mark.parametrize("container", ["vmdk", "vdi", "vhdx"])
def test_other_containers(raw, tmp_path, container):
    """Formats of other hypervisors."""
    path = str(tmp_path / "b")
    qemu_img("convert", "-f", "raw", "-O", container, raw, path)
    assert image.inspect(Executor(), path)["format"] == container


def test_unreadable(tmp_path, raw):
    """Missing, empty, broken, or not an image."""
    assert "copy the image" in refused("no_image", str(tmp_path / "none")).mend
    refused("bad_image", "relative.qcow2")
    refused("bad_image", raw, "qcow2")
    refused("bad_image", raw, "floppy")
    refused("bad_image", str(tmp_path))
    (tmp_path / "empty").write_bytes(b"")
    refused("bad_image", str(tmp_path / "empty"))


def test_a_cut_qcow2(qcow2, tmp_path):
    """A download that ended early."""
    path = tmp_path / "cut.qcow2"
    with open(qcow2, "rb") as stream:
        path.write_bytes(stream.read(60))
    refused("bad_image", str(path), "qcow2")


def test_references_to_other_files(qcow2, tmp_path):
    """An image must not pull another file of the node into a guest."""
    backed = str(tmp_path / "backed.qcow2")
    qemu_img("create", "-f", "qcow2", "-b", qcow2, "-F", "qcow2", backed)
    assert "backing file" in refused("bad_image", backed).found
    split = str(tmp_path / "split.qcow2")
    qemu_img("create", "-f", "qcow2", "-o", "data_file=%s" % (tmp_path / "data"), split, "1M")
    assert "data file" in refused("bad_image", split).found


def test_too_large(raw):
    """A byte too much is too much."""
    seen = image.inspect(Executor(), raw)
    image.refuse_too_large(seen, {"name": "d", "size_mib": 3})
    with pytest.raises(GantryError) as caught:
        image.refuse_too_large(seen, {"name": "d", "size_mib": 2})
    assert caught.value.code == "image_too_large" and caught.value.found == "3 MiB"


@pytest.mark.parametrize("name", ["a.raw", "a.qcow2"])
def test_write_over_old_data(raw, qcow2, tmp_path, name):
    """The image's zeros are written too, what lies behind it stays."""
    device = tmp_path / "device"
    device.write_bytes(b"\xff" * (4 << 20))
    executor = Executor()
    before = executor.timeout
    image.write(executor, image.inspect(executor, str(tmp_path / name)), str(device))
    assert device.read_bytes() == DATA + bytes(1 << 20) + DATA + b"\xff" * (1 << 20)
    assert executor.timeout == before
    assert executor.changes == ["write image %s to %s" % (tmp_path / name, device)]


def test_check_mode_writes_nothing(raw, tmp_path):
    """The device need not even exist."""
    executor = Executor(check_mode=True)
    image.write(executor, image.inspect(executor, raw), str(tmp_path / "none"))
    assert len(executor.changes) == 1 and not (tmp_path / "none").exists()


def test_a_write_that_fails(qcow2, tmp_path):
    """It is an error, and the command's patience is as before."""
    executor = Executor()
    with pytest.raises(GantryError):
        image.write(executor, image.inspect(executor, qcow2), str(tmp_path / "none" / "device"))
    assert executor.timeout == 600


def test_an_image_at_the_end(tmp_path):
    """A guest's flash ends where its firmware begins."""
    path, device = tmp_path / "vars.fd", tmp_path / "device"
    path.write_bytes(DATA[:8192])
    device.write_bytes(b"x" * (1 << 20))
    seen = dict(image.inspect(Executor(), str(path), "raw"), place="end")
    image.write(Executor(), seen, str(device))
    assert device.read_bytes() == b"x" * ((1 << 20) - 8192) + DATA[:8192]
    device.write_bytes(b"x" * 5000)
    with pytest.raises(GantryError) as caught:
        image.write(Executor(), seen, str(device))
    assert caught.value.code == "bad_image"


def test_zeros(tmp_path):
    """The whole device, whatever its size, and nothing beyond; a second time it says the same."""
    path = tmp_path / "disk"
    path.write_bytes(DATA + DATA + b"an earlier guest's")
    executor = Executor()
    image.write(executor, {"zeros": True}, str(path))
    assert path.read_bytes() == bytes(2 * len(DATA) + 18) and executor.changes == ["write zeros to %s" % path]
    path.write_bytes(DATA)
    image.write(Executor(check_mode=True), {"zeros": True}, str(path))
    assert path.read_bytes() == DATA
