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

"""A client for the control socket of a service."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import json
import os
import pathlib
import socket
import stat
import struct
import time
from typing import TypeVar

from oslo_periodic.cmd import errors

_Result = TypeVar('_Result')

#: Largest accepted answer in bytes; a status takes a few KB for each task.
_MAX_ANSWER = 1 << 28
#: pid, uid and gid, as SO_PEERCRED gives them.
_CREDENTIALS = struct.Struct('3i')


class NotListening(errors.UserError):
    """No process listens on the path."""


def call(
    path: str,
    command: str,
    task: str | None = None,
    *,
    expect: type[_Result],
    timeout: float = 10.0,
) -> _Result:
    """Send a command to a service and return the result.

    :param path: the path of the control socket.
    :param command: the name of the command.
    :param task: the name of the task, for commands that take one.
    :param expect: the type of the result.
    :param timeout: seconds to wait for the complete answer.
    :raises UserError: if the answer does not arrive, or reports an error, or
        the process that listens is not trusted.
    """
    request = json.dumps({'command': command, 'task': task})
    try:
        answer = _exchange(path, request.encode() + b'\n', timeout)
    except TimeoutError as exc:
        raise errors.UserError(
            f'No answer from {path} within {timeout:g} seconds: the process '
            'is blocked or very busy'
        ) from exc
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        is_gone = isinstance(exc, ConnectionRefusedError | FileNotFoundError)
        raise (NotListening if is_gone else errors.UserError)(
            f'Cannot connect to {path}: {reason}. Check that the service is '
            'running and that [oslo_periodic] control_socket is this path'
        ) from exc
    if not answer:
        raise errors.UserError(
            f'{path} closed the connection without an answer: run this '
            'command as the user of the service, or as root'
        )
    return _result(path, answer, expect)


def _exchange(path: str, request: bytes, timeout: float) -> bytes:
    """Send a line and return the line that comes back.

    :returns: an empty string if the server closed the connection at once.
    :raises TimeoutError: if the line is not complete in time.
    """
    deadline = time.monotonic() + timeout
    chunks = []
    length = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(timeout, 0.001))
        connection.connect(path)
        _check_peer(connection, path)
        connection.sendall(request)
        while length < _MAX_ANSWER:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            connection.settimeout(remaining)
            chunk = connection.recv(1 << 16)
            chunks.append(chunk)
            length += len(chunk)
            if not chunk or b'\n' in chunk:
                break
    return b''.join(chunks)


def _check_peer(connection: socket.socket, path: str) -> None:
    """Check that the process that listens may be believed.

    That is a process of root, or of the user of this command, or of the owner
    of the file if other users cannot create a file there.

    :raises UserError: if it is another process.
    """
    data = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    pid, uid, _gid = _CREDENTIALS.unpack(data)
    if uid in (0, os.geteuid()):
        return
    listens = f'The process that listens on {path} (pid {pid})'
    owner = os.stat(path).st_uid
    if uid != owner:
        raise errors.UserError(
            f'{listens} has uid {uid}, and the file belongs to uid {owner}: '
            'its answers are not trusted'
        )
    for directory in pathlib.Path(os.path.realpath(path)).parents:
        if directory.stat().st_mode & stat.S_IWOTH:
            raise errors.UserError(
                f'{listens} has uid {uid}, and every user can create a '
                f'socket in {directory}: its answers are not trusted. Run '
                'this command as that user if it is the user of the service, '
                'or set [oslo_periodic] control_socket to a path in a '
                'directory of the service, such as /run/SERVICE'
            )


def _result(path: str, answer: bytes, expect: type[_Result]) -> _Result:
    """Take the result out of an answer.

    :raises UserError: if the answer reports an error, or is not an answer of
        the control protocol.
    """
    with protocol_of(path):
        message = json.loads(answer)
        succeeded = bool(message['ok'])
        result: object = message['result' if succeeded else 'error']
        if succeeded and not isinstance(result, expect):
            raise TypeError(f'{type(result)} is not {expect}')
    if not succeeded:
        raise errors.UserError(str(result))
    assert isinstance(result, expect)  # noqa: S101 # nosec B101
    return result


@contextlib.contextmanager
def protocol_of(path: str) -> Iterator[None]:
    """Report an answer that lacks a field, or has one of a wrong type.

    :param path: the socket that the answer came from.
    :raises UserError: if the block fails on the contents of the answer.
    """
    try:
        yield
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as exc:
        raise errors.UserError(
            f'The process that listens on {path} does not use the control '
            'protocol of oslo.periodic'
        ) from exc
