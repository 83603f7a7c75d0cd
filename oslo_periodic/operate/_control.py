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
from concurrent import futures
import errno
import json
import os
import socket
import struct
import time
from typing import NamedTuple

from oslo_periodic import _log
from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic.operate import _lines
from oslo_periodic.operate import _listener

LOG = _log.get_logger('oslo_periodic.runner')

#: The largest number of connections.
_MOST = 32
#: Seconds before accepting again after an error.
_PAUSE = 1.0
#: Seconds between two log lines about connections that were closed.
_LOG_INTERVAL = 10.0
#: The socket is shut down if so many times in a row it was readable, and
#: there was no connection; and seconds between two of them.
_MOST_EMPTY, _EMPTY_PAUSE = 20, 0.05
#: pid, uid and gid, as SO_PEERCRED gives them.
_CREDENTIALS = struct.Struct('3i')


class Peer(NamedTuple):
    """The process that sent a request."""

    uid: int
    pid: int

    def __str__(self) -> str:
        return f'uid {self.uid}, pid {self.pid}'


#: Called with the task of the request, or None, and the process that sent it;
#: returns a JSON value.
Command = Callable[[str | None, Peer], object]


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
        :param commands: the functions of the commands, by name.
        :raises RunnerError: if it cannot be bound.
        """
        self._listener = _listener.Listener(path, backend)
        self._backend = backend
        self._commands = commands
        self._serving = False
        #: The connections, oldest first, each with the call that answers it
        #: once it is submitted.
        self._calls: dict[socket.socket, list[futures.Future[None]]] = {}
        self._evictions = _Evictions()
        # A connection that is closed to make room does not end at once.
        self._pool = backend.named_worker_pool(_MOST * 2, 'periodic-control')

    def serve(self) -> None:
        """Answer requests until the server is closed."""
        self._serving = True
        listener, empty = self._listener, 0
        while not listener.is_shut_down:
            readable = self._backend.wait_readable(
                listener.fileno(), self._evictions.seconds_to_log()
            )
            self._evictions.log()
            if not readable:
                continue
            try:
                connection = listener.accept()
            except ConnectionError:
                continue
            except OSError as exc:
                if listener.is_shut_down:
                    break
                is_empty = isinstance(exc, BlockingIOError)
                empty += is_empty
                if empty >= _MOST_EMPTY or exc.errno == errno.EINVAL:
                    LOG.error(
                        'The control socket %(path)s was shut down from '
                        'outside: this process answers no more ctl commands',
                        {'path': listener.path},
                    )
                    break
                self._wait_to_accept(None if is_empty else exc)
            else:
                empty = 0
                self._admit(connection)
        listener.close()

    def _wait_to_accept(self, error: OSError | None) -> None:
        if error is not None:
            LOG.warning(
                'The control socket cannot accept connections: %(error)s',
                {'error': error},
            )
        self._backend.sleep(_EMPTY_PAUSE if error is None else _PAUSE)

    def close(self) -> None:
        """Stop listening; requests that were read are still answered."""
        self._listener.shut_down()
        if not self._serving:
            self._listener.close()
        for connection in list(self._calls):
            _listener.shut_down(connection, socket.SHUT_RD)
        self._pool.shutdown(wait=False)
        self._evictions.log(at_once=True)

    def _admit(self, connection: socket.socket) -> None:
        peer = _peer(connection)
        if peer.uid not in (0, os.geteuid()):
            LOG.warning(
                'Refused a control connection from uid %(uid)s',
                {'uid': peer.uid},
            )
            connection.close()
            return
        if len(self._calls) >= _MOST:
            self._evict(next(iter(self._calls)))
        calls = self._calls[connection] = []
        self._listener.connections[connection] = None
        try:
            calls.append(self._pool.submit(self._answer_all, connection, peer))
        except RuntimeError:
            # The server is being closed, or no thread can be started.
            self._forget(connection)
            connection.close()

    def _evict(self, connection: socket.socket) -> None:
        """Close a connection to make room for a newer one."""
        self._evictions.count += 1
        calls = self._calls.pop(connection, [])
        _listener.shut_down(connection, socket.SHUT_RDWR)
        if calls and calls[0].cancel():
            # No worker has looked at it.
            self._forget(connection)
            connection.close()

    def _forget(self, connection: socket.socket) -> None:
        self._calls.pop(connection, None)
        self._listener.connections.pop(connection, None)

    def _answer_all(self, connection: socket.socket, peer: Peer) -> None:
        try:
            with connection:
                reader = _lines.LineReader(connection, self._backend)
                while (line := reader.line()) is not None:
                    answer = self._answer(line, peer)
                    _lines.send(connection, self._backend, answer)
                    if 'fatal' in answer:
                        break
        except OSError:
            pass  # The client has closed the connection.
        finally:
            self._forget(connection)

    def _answer(self, line: bytes, peer: Peer) -> dict[str, object]:
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
            return {'ok': True, 'result': handle(task, peer)}
        except exceptions.PeriodicError as exc:
            return {'ok': False, 'error': str(exc)}
        except Exception as exc:
            LOG.exception(
                'The control command %(command)s has failed',
                {'command': command},
            )
            return {'ok': False, 'error': f'{type(exc).__name__}: {exc}'}


class _Evictions:
    """Counts connections that were closed for newer ones, for the log."""

    def __init__(self) -> None:
        #: Those that were not logged yet.
        self.count = 0
        self._next_log = 0.0

    def seconds_to_log(self) -> float | None:
        """Return when to log; None if there is nothing to log."""
        if not self.count:
            return None
        return max(0.0, self._next_log - time.monotonic())

    def log(self, at_once: bool = False) -> None:
        """Log the count, unless it was logged a short time ago."""
        now = time.monotonic()
        if not self.count or (now < self._next_log and not at_once):
            return
        LOG.warning(
            'Closed %(count)d control connections to serve newer ones; at '
            'most %(most)d are open at a time',
            {'count': self.count, 'most': _MOST},
        )
        self.count = 0
        self._next_log = now + _LOG_INTERVAL


def _peer(connection: socket.socket) -> Peer:
    data = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    pid, uid, _gid = _CREDENTIALS.unpack(data)
    return Peer(uid, pid)
