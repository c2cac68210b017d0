# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the storage tests."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import image
from storage_node import Cluster


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two empty nodes."""
    monkeypatch.setattr(image, "flush", lambda device: None)
    return Cluster(tmp_path, monkeypatch)


@pytest.fixture
def picture(tmp_path):
    """An image of 100 MiB, as qemu-img describes it."""
    path = tmp_path / "image.qcow2"
    path.write_text(json.dumps({"format": "qcow2", "virtual-size": 100 << 20}), encoding="utf-8")
    return str(path)
