# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's tests run in other processes; apart from them, so that a child starts quickly."""

from __future__ import annotations

import os
import random
import signal
import time

from ansible_collections.gantry.cluster.plugins.plugin_utils.registry import open_registry, sqlite
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import Delete, KeyAbsent, Put


def count_up(url, rounds):
    """Raise a counter by compare-and-swap."""
    with open_registry(url) as registry:
        for _round in range(rounds):
            registry.update("counter", lambda value: {"n": value["n"] + 1})


def take_turns(url, name, rounds, log, patience):
    """Lock by lease, note entering and leaving in a file, unlock."""
    with open_registry(url) as registry:
        for _round in range(rounds):
            lease = acquire(registry, name, 30, patience)
            with open(log, "a", encoding="ascii") as stream:
                stream.write("in %s\n" % name)
                stream.flush()
                time.sleep(0.001)
                stream.write("out %s\n" % name)
            registry.lease_revoke(lease)


def acquire(registry, name, ttl, patience):
    """A lock as callers take it: a key that must be absent, put with a lease."""
    lease = registry.lease_grant(ttl, {"holder": name})
    deadline = time.monotonic() + patience
    guard, write = KeyAbsent("locks/test/one"), Put("locks/test/one", {"holder": name}, lease)
    while not registry.transaction([guard], [write]).succeeded:
        if time.monotonic() > deadline:
            raise TimeoutError("no lock within %s s" % patience)
        time.sleep(random.uniform(0.001, 0.01))
    return lease


def lock_and_wait(url, ttl, pipe):
    """Take the lock, say so, and wait to be killed."""
    with open_registry(url) as registry:
        acquire(registry, "victim", ttl, 10)
        pipe.send("locked")
        signal.pause()


def write_twins(url, pipe):
    """Write two keys in one transaction for ever, report what was answered."""
    with open_registry(url) as registry:
        number = 0
        while True:
            number += 1
            registry.transaction([], [Put("twins/a", {"n": number}), Put("twins/b", {"n": number})])
            pipe.send(number)


def die_within_a_transaction(url, deaths_after):
    """Kill this process after so many writes of a transaction of three."""
    written = []
    original = sqlite.Backend._write

    def write(connection, each, revision):
        original(connection, each, revision)
        written.append(each)
        if len(written) == deaths_after:
            os.kill(os.getpid(), signal.SIGKILL)

    sqlite.Backend._write = staticmethod(write)
    with open_registry(url) as registry:
        registry.transaction([], [Put("a", {"n": 2}), Delete("b"), Put("c", {})])


def create_and_count(url):
    """Create the registry, or find that another process did; then count."""
    with open_registry(url, create=True) as registry:
        registry.update("counter", lambda value: {"n": (value or {"n": 0})["n"] + 1})
