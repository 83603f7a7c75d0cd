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


"""The control socket: operators send commands, and get answers.

A request is a line of JSON, ``{"command": "pause", "task": "Manager.sync"}``,
and so is the answer: ``{"ok": true, "result": ...}`` or ``{"ok": false,
"error": "..."}``. A connection takes any number of requests. A request that is
not of this form is answered with an error, and the connection is closed.
Clients that send too much, or nothing for too long, are disconnected without
an answer. At the limit of connections, the oldest one is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import errno
import json
import os
import socket
import stat
import struct
import time

from oslo_periodic import _log
from oslo_periodic.backends import base
from oslo_periodic import exceptions

LOG = _log.get_logger('oslo_periodic.runner')

#: The largest request, in bytes.
MAX_REQUEST = 1 << 16
#: Seconds for a client to send a request, and to receive the answer.
PATIENCE = 5.0
#: The largest number of connections.
_MOST = 32
#: Seconds before accepting again after an error.
_PAUSE = 1.0
#: pid, uid and gid, as SO_PEERCRED gives them.
_CREDENTIALS = struct.Struct('3i')

#: Called with the task of the request, or None; returns a JSON value.
Command = Callable[[str | None], object]


class Server:
    """Listens for requests, and answers them."""

    def __init__(
        self,
        path: str,
        backend: base.Backend,
        commands: Mapping[str, Command],
    ) -> None:
        """Bind the socket; requests are not answered yet.

        :param path: the path of the socket; ``{pid}`` stands for the process
            ID.
        :param backend: the backend that waits.
        :param commands: the functions of the commands, by name; each is called
            with the task of the request, or None.
        :raises RunnerError: if it cannot be bound.
        """
        self.path = path.replace('{pid}', str(os.getpid()))
        self._backend = backend
        self._commands = commands
        self._socket = _bind(self.path)
        self._inode = os.stat(self.path).st_ino
        self._closed = False
        self._serving = False
        #: The open connections, oldest first.
        self._connections: dict[socket.socket, None] = {}
        # A connection that is closed to make room does not end at once.
        self._pool = backend.named_worker_pool(_MOST * 2, 'periodic-control')

    def serve(self) -> None:
        """Answer requests until the server is closed."""
        self._serving = True
        with self._socket:
            while not self._closed:
                if not self._backend.wait_readable(self._socket.fileno()):
                    continue
                try:
                    connection, _address = self._socket.accept()
                except (BlockingIOError, ConnectionError):
                    continue
                except OSError as exc:
                    if not self._closed:
                        LOG.warning(
                            'The control socket cannot accept connections: '
                            '%(error)s',
                            {'error': exc},
                        )
                        self._backend.sleep(_PAUSE)
                    continue
                self._admit(connection)

    def close(self) -> None:
        """Stop listening; requests that were read are still answered."""
        self._closed = True
        try:
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        except OSError:
            pass  # It has been removed already.
        _shut_down(self._socket, socket.SHUT_RDWR)
        if not self._serving:
            self._socket.close()
        for connection in list(self._connections):
            _shut_down(connection, socket.SHUT_RD)
        self._pool.shutdown(wait=False)

    def _admit(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        uid = _peer(connection)
        if uid not in (0, os.geteuid()):
            LOG.warning(
                'Refused a control connection from uid %(uid)s', {'uid': uid}
            )
            connection.close()
            return
        if len(self._connections) >= _MOST:
            _shut_down(next(iter(self._connections)), socket.SHUT_RDWR)
        self._connections[connection] = None
        try:
            self._pool.submit(self._answer_all, connection)
        except RuntimeError:
            # The server is being closed, or no thread can be started.
            self._connections.pop(connection)
            connection.close()

    def _answer_all(self, connection: socket.socket) -> None:
        try:
            with connection:
                reader = _LineReader(connection, self._backend)
                while (line := reader.line()) is not None:
                    answer = self._answer(line)
                    _send(connection, self._backend, answer)
                    if 'fatal' in answer:
                        break
        except OSError:
            pass  # The client has closed the connection.
        finally:
            self._connections.pop(connection, None)

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
            command, task = request['command'], request.get('task')
            if not isinstance(task, str | None):
                raise TypeError('the task is no string')
            handle = self._commands.get(command)
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            return {
                'ok': False,
                'error': 'a request is a line of JSON, as in {"command": '
                f'"status"}}: {type(exc).__name__}: {exc}',
                'fatal': True,
            }
        except RecursionError:
            return {'ok': False, 'error': 'too deep', 'fatal': True}
        if handle is None:
            known = ', '.join(self._commands)
            return {
                'ok': False,
                'error': f'there is no command {command!r}; there are {known}',
            }
        try:
            return {'ok': True, 'result': handle(task)}
        except exceptions.PeriodicError as exc:
            return {'ok': False, 'error': str(exc)}
        except Exception as exc:
            LOG.exception(
                'The control command %(command)s has failed',
                {'command': command},
            )
            return {'ok': False, 'error': f'{type(exc).__name__}: {exc}'}


class _LineReader:
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


def _send(
    connection: socket.socket, backend: base.Backend, answer: dict[str, object]
) -> None:
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


def _shut_down(connection: socket.socket, how: int) -> None:
    """Shut a socket down, which wakes every thread that waits for it."""
    try:
        connection.shutdown(how)
    except OSError:
        pass  # The socket is closed already.


def _peer(connection: socket.socket) -> int:
    data = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    uid: int = _CREDENTIALS.unpack(data)[1]
    return uid


def _bind(path: str) -> socket.socket:
    if not os.path.isabs(path):
        raise exceptions.RunnerError(
            f'control_socket must be an absolute path, not {path!r}'
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before bind, so that the file never exists with another mode.
        os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)
        _remove_stale(path)
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
    except (OSError, ValueError) as exc:
        listener.close()
        raise exceptions.RunnerError(
            f'cannot listen on control_socket = {path}: {exc}'
        ) from exc
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket file on which no process listens.

    :raises OSError: if a process does.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # bind will refuse the path.
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full backlog of a process that does not accept must not block.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, 'another process listens on it')
