# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which TPM a disk holds: asked of the TPM itself, on a copy of its state."""

from __future__ import annotations

import socket
import struct
import subprocess
import tempfile

#: What the state of swtpm on a device begins with.
MAGIC = b"nilmptws"
#: The endorsement key that swtpm_setup makes (RSA 2048): no other TPM has it.
ENDORSEMENT_KEY = 0x81010001
#: Codes of the TPM's own language: no session, and the public part of an object.
NO_SESSIONS, READ_PUBLIC = 0x8001, 0x00000173


def read_public(send, handle=ENDORSEMENT_KEY):
    """The public area of a key.

    :param send: sends a command to the TPM and returns its answer.
    :raises ValueError: the TPM has no such key, or does not answer as one.
    """
    answer = send(struct.pack(">HIII", NO_SESSIONS, 14, READ_PUBLIC, handle))
    if len(answer) < 12:
        raise ValueError("an answer of %d bytes" % len(answer))
    _tag, size, code = struct.unpack_from(">HII", answer)
    if code or size != len(answer):
        raise ValueError("the TPM says 0x%x to a question for its key 0x%x" % (code, handle))
    length = struct.unpack_from(">H", answer, 10)[0]
    if not length or 12 + length > len(answer):
        raise ValueError("a public area of %d bytes in an answer of %d" % (length, len(answer)))
    return answer[12:12 + length]


def identity(data, patience=60):
    """The public part of the endorsement key of the TPM whose state these bytes of a disk are.

    :raises ValueError: they are none, or swtpm does not take them.
    """
    if not data.startswith(MAGIC):
        raise ValueError("no state of a TPM: it begins with %r" % data[:8])
    # A pair of sockets that are connected from the start: nobody has to wait for a path that listens.
    ours, theirs = socket.socketpair()
    with ours, tempfile.NamedTemporaryFile(prefix="gantry-tpm-") as state, tempfile.TemporaryFile() as said:
        state.write(data)
        state.flush()
        with theirs:
            process = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--tpmstate", "backend-uri=file://%s" % state.name, "--fd", str(theirs.fileno()),
                 "--flags", "not-need-init,startup-clear"], stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()])
        ours.settimeout(patience)

        def send(command):
            """One question; an end of the connection is swtpm's refusal of the state."""
            try:
                ours.sendall(command)
                answer = ours.recv(4096)
            except ConnectionError:
                answer = b""
            if not answer:
                process.wait(patience)
                said.seek(0)
                raise ValueError("swtpm does not take the state: %s" % said.read().decode(errors="replace").strip())
            return answer

        try:
            return read_public(send)
        finally:
            process.kill()
            process.wait()
