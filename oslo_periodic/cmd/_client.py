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

import json
import os
import socket
import time
from typing import TypeVar

from oslo_periodic.cmd import errors

_Result = TypeVar('_Result')

#: Largest accepted answer in bytes; a status takes a few KB for each task.
_MAX_ANSWER = 1 << 28


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
    :raises UserError: if the answer does not arrive, or reports an error.
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
        raise errors.UserError(
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
        connection.settimeout(timeout)
        connection.connect(path)
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


def _result(path: str, answer: bytes, expect: type[_Result]) -> _Result:
    """Take the result out of an answer.

    :raises UserError: if the answer reports an error, or is not an answer of
        the control protocol.
    """
    wrong_protocol = errors.UserError(
        f'The process that listens on {path} does not use the control '
        'protocol of oslo.periodic'
    )
    try:
        message = json.loads(answer)
        succeeded = bool(message['ok'])
        result: object = message['result' if succeeded else 'error']
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise wrong_protocol from exc
    if not succeeded:
        raise errors.UserError(str(result))
    if not isinstance(result, expect):
        raise wrong_protocol
    return result
