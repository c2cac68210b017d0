# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client for QMP, QEMU's monitor."""

from __future__ import annotations

import json
import socket
import time

from .config import LabError


class QmpError(LabError):
    """The monitor refused a command, or did not answer."""


class Qmp:
    """One conversation with one QEMU. Use it as a context manager."""

    def __init__(self, path, timeout: float = 10.0):
        """Connects to the socket at `path`; every wait is bounded by `timeout` seconds. Raises QmpError."""
        self._path = str(path)
        self._buffer = b""
        self._timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(self._path)
            greeting = self._line(time.monotonic() + timeout)
            if "QMP" not in greeting:
                raise QmpError(f"{self._path} does not speak QMP: it said {greeting}")
            self.execute("qmp_capabilities")
        except OSError as error:
            self.close()
            raise QmpError(f"the monitor at {self._path} cannot be reached ({error})") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Qmp:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def _line(self, deadline: float) -> dict:
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpError(f"the monitor at {self._path} did not answer within {self._timeout:g} s")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError as error:
                raise QmpError(f"the monitor at {self._path} did not answer within {self._timeout:g} s") from error
            except OSError as error:
                raise QmpError(f"the monitor at {self._path} broke off ({error})") from error
            if not data:
                raise QmpError(f"the monitor at {self._path} hung up")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            return json.loads(line)
        except ValueError as error:
            raise QmpError(f"the monitor at {self._path} sent no JSON: {line[:200]!r}") from error

    def execute(self, command: str, **arguments):
        """Runs a command, skips events, returns what it returned. Raises QmpError."""
        message = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"the monitor at {self._path} broke off ({error})") from error
        deadline = time.monotonic() + self._timeout
        while True:
            answer = self._line(deadline)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise QmpError(f"QEMU refused {command}: {answer['error'].get('desc', answer['error'])}")
