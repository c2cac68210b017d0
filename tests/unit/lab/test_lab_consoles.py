# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps the consoles of containers on a lab node, against a terminal that is no container's."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import threading
import time
import tty

import pytest

from ansible_collections.gantry.cluster.lab import image

PROGRAM = image.HERE / "files" / "usr" / "local" / "lib" / "gantry-lab" / "consoles"
STATUS = "<domstatus><domain><devices><console type='pty' tty='%s'><source path='%s'/></console></devices></domain></domstatus>"


@pytest.fixture(name="consoles")
def _consoles(tmp_path, monkeypatch):
    """The program, looking into folders of ours, and soon done when there is nothing to do."""
    # What lies beside the program goes into the image.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("gantry_lab_consoles", str(PROGRAM))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    module.RUN, module.LOGS = str(tmp_path / "run"), str(tmp_path / "log")
    module.PAUSE = module.LOOK = 0.01
    module.IDLE = 0.3
    for folder in ("run", "log"):
        (tmp_path / folder).mkdir()
    return module


def wait(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_containers_say_is_appended_until_they_are_gone(consoles, tmp_path):
    inside, outside = os.openpty()
    tty.setraw(outside)
    name = os.ttyname(outside)
    log = tmp_path / "log" / "one-console.log"
    log.write_bytes(b"an earlier life\n")
    (tmp_path / "run" / "half.xml").write_text("<domstatus>")
    (tmp_path / "run" / "one.xml").write_text(STATUS % (name, name))
    (tmp_path / "run" / "one.pid").write_text("1")
    thread = threading.Thread(target=consoles.main, daemon=True)
    thread.start()
    for line in (b"T 1\n", b"T 2\n"):
        os.write(inside, line)
        wait(lambda line=line: log.read_bytes().endswith(line))
    assert log.read_bytes() == b"an earlier life\nT 1\nT 2\n"
    (tmp_path / "run" / "one.xml").unlink()
    os.close(outside)
    os.close(inside)
    thread.join(20)
    assert not thread.is_alive()
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["one-console.log"]


def test_without_containers_it_ends(consoles):
    thread = threading.Thread(target=consoles.main, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
