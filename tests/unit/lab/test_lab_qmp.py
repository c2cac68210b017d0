# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QMP client, against a server that behaves, and against ones that do not."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from ansible_collections.gantry.cluster.lab.qmp import Qmp, QmpError

GREETING = {"QMP": {"version": {}, "capabilities": []}}


class Server:
    """Speaks line by line: sends `first`, then for each command what `answer` makes of it."""

    def __init__(self, folder, answer, first=None):
        self.path = folder / "qmp"
        self.seen = []
        self._answer = answer
        self._first = first or GREETING
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        connection, _address = self._listener.accept()
        with connection, connection.makefile("rb") as lines:
            self._send(connection, self._first)
            for line in lines:
                command = json.loads(line)
                self.seen.append(command)
                if command["execute"] == "qmp_capabilities":
                    self._send(connection, {"return": {}})
                    continue
                answers = self._answer(command)
                if answers is None:
                    return
                for item in answers:
                    self._send(connection, item)

    @staticmethod
    def _send(connection, item):
        if item is not None:
            connection.sendall(item if isinstance(item, bytes) else json.dumps(item).encode() + b"\r\n")

    def close(self):
        self._listener.close()
        self._thread.join(5)


@pytest.fixture(name="serve")
def _serve(tmp_path):
    servers = []

    def start(answer, **words):
        servers.append(Server(tmp_path, answer, **words))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_returns_what_the_monitor_returned(serve):
    server = serve(lambda command: [{"return": {"status": "running"}}])
    with Qmp(server.path, 5) as monitor:
        assert monitor.execute("query-status") == {"status": "running"}
        assert monitor.execute("set_link", name="eth1", up=False) == {"status": "running"}
    assert server.seen[0] == {"execute": "qmp_capabilities"}
    assert server.seen[2] == {"execute": "set_link", "arguments": {"name": "eth1", "up": False}}


def test_events_are_passed_over(serve):
    server = serve(lambda command: [{"event": "STOP"}, {"event": "RESUME"}, {"return": 1}, {"event": "LATE"}])
    with Qmp(server.path, 5) as monitor:
        assert [monitor.execute("x"), monitor.execute("x")] == [1, 1]


def test_a_refusal_is_an_error_with_its_reason(serve):
    server = serve(lambda command: [{"error": {"class": "GenericError", "desc": "Device 'eth7' not found"}}])
    with Qmp(server.path, 5) as monitor, pytest.raises(QmpError, match="refused set_link: Device 'eth7' not found"):
        monitor.execute("set_link", name="eth7", up=True)


def test_an_answer_in_pieces_and_bytes_that_are_no_utf8(serve):
    server = serve(lambda command: [b'{"ret', b'urn": "', "\u00e4".encode(), b'"}\r\n'])
    with Qmp(server.path, 5) as monitor:
        assert monitor.execute("x") == "\u00e4"


def test_silence_is_bounded(serve):
    server = serve(lambda command: [])
    with Qmp(server.path, 0.3) as monitor, pytest.raises(QmpError, match="did not answer within 0.3 s"):
        monitor.execute("x")


def test_events_do_not_prolong_the_wait(serve):
    server = serve(lambda command: [{"event": "TICK"}] * 50)
    with Qmp(server.path, 0.3) as monitor, pytest.raises(QmpError, match="did not answer"):
        monitor.execute("x")


def test_hanging_up_is_an_error(serve):
    server = serve(lambda command: None)
    with Qmp(server.path, 5) as monitor, pytest.raises(QmpError, match="hung up|broke off"):
        monitor.execute("x")


def test_nonsense_is_an_error(serve):
    server = serve(lambda command: [b"hello\n"])
    with Qmp(server.path, 5) as monitor, pytest.raises(QmpError, match="no JSON"):
        monitor.execute("x")


def test_something_else_at_the_socket(serve):
    server = serve(lambda command: [], first={"hello": "there"})
    with pytest.raises(QmpError, match="does not speak QMP"):
        Qmp(server.path, 5)


def test_nobody_there(tmp_path):
    with pytest.raises(QmpError, match="cannot be reached"):
        Qmp(tmp_path / "qmp", 1)
