# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source on libvirt's in-process test driver."""

from __future__ import annotations

import asyncio
import importlib.util
import pathlib

import libvirt
import pytest

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(name="source", scope="module")
def _source():
    path = ROOT / "extensions" / "eda" / "plugins" / "event_source" / "libvirt_events.py"
    spec = importlib.util.spec_from_file_location("libvirt_events", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def told(queue):
    """The next event."""
    return (await asyncio.wait_for(queue.get(), 30))["gantry"]


def test_what_happens_to_a_domain_is_told(source):
    async def follow():
        queue = asyncio.Queue()
        task = asyncio.ensure_future(source.main(queue, {"nodes": {"node1": "test:///default"}}))
        assert await told(queue) == {"node": "node1", "event": "connected"}
        own = libvirt.open("test:///default")
        domain = own.lookupByName("test")
        domain.destroy()
        stopped = await told(queue)
        domain.create()
        started = await told(queue)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return domain.UUIDString(), stopped, started

    uuid, stopped, started = asyncio.run(follow())
    assert stopped == {"node": "node1", "event": "stopped", "detail": "destroyed", "instance": "test", "uuid": uuid}
    assert (started["event"], started["detail"], started["instance"]) == ("started", "booted", "test")


def test_a_node_that_cannot_be_reached_is_told_once(source):
    async def follow():
        queue = asyncio.Queue()
        args = {"nodes": {"node1": "test:///no/such/file.xml"}, "retry": 0.01}
        task = asyncio.ensure_future(source.main(queue, args))
        lost = await told(queue)
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return lost, queue.qsize()

    lost, more = asyncio.run(follow())
    assert (lost["node"], lost["event"], more) == ("node1", "lost", 0)
    assert "no/such/file.xml" in lost["detail"]


@pytest.mark.parametrize("nodes", [None, {}, ["node1"]])
def test_no_nodes(source, nodes):
    with pytest.raises(ValueError, match="nodes is"):
        asyncio.run(source.main(asyncio.Queue(), {"nodes": nodes}))


def test_libvirt_s_words_are_known(source):
    assert source.EVENTS[libvirt.VIR_DOMAIN_EVENT_STOPPED] == "stopped"
    assert source.DETAILS[libvirt.VIR_DOMAIN_EVENT_STOPPED][libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED] == "crashed"
    assert set(source.DETAILS) == set(source.EVENTS)
