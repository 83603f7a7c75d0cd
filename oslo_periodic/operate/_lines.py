# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Lines of JSON on a connection of the control socket, within bounds."""

from __future__ import annotations

import json
import socket
import time

from oslo_periodic.backends import base

#: The largest request, in bytes.
MAX_REQUEST = 1 << 16
#: Seconds for a client to send a request, and to receive the answer.
PATIENCE = 5.0


class LineReader:
    """Reads lines from a connection, within bounds."""

    def __init__(
        self, connection: socket.socket, backend: base.Backend
    ) -> None:
        self._connection = connection
        self._backend = backend
        self._buffer = b''

    def line(self) -> bytes | None:
        """Return the next line; None at the end, or from a slow client."""
        deadline = time.monotonic() + PATIENCE
        while b'\n' not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or len(self._buffer) > MAX_REQUEST:
                return None
            if not self._backend.wait_readable(
                self._connection.fileno(), left
            ):
                return None
            try:
                data = self._connection.recv(MAX_REQUEST)
            except BlockingIOError:
                continue
            if not data:
                return None
            self._buffer += data
        line, _newline, self._buffer = self._buffer.partition(b'\n')
        return line


def send(
    connection: socket.socket, backend: base.Backend, answer: dict[str, object]
) -> None:
    """Send an answer as a line.

    :raises OSError: if the client does not take it in time, or has gone.
    """
    data = memoryview(json.dumps(answer).encode() + b'\n')
    deadline = time.monotonic() + PATIENCE
    while data:
        try:
            data = data[connection.send(data) :]
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            # Only for a large answer to a slow client.
            backend.sleep(0.01)
