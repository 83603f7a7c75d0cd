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


"""Speak to a runner over its control socket."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

from oslo_periodic.cmd import errors

#: Bytes of an answer, at most: some KB for each task.
_MAX_ANSWER = 1 << 28


def ask(
    path: str,
    command: str,
    task: str | None = None,
    expect: type = list,
    timeout: float = 10.0,
) -> Any:
    """Ask for something, and return the result.

    :param path: the socket.
    :param command: what to do.
    :param task: which task to do it to.
    :param expect: the class of the result.
    :param timeout: seconds for all of it, at most.
    :raises UserError: if there is no answer, or it is an error.
    """
    request = json.dumps({'command': command, 'task': task})
    try:
        line = _exchange(path, request.encode() + b'\n', timeout)
    except TimeoutError as exc:
        raise errors.UserError(
            f'No answer from {path} within {timeout:g} seconds: the process '
            'is blocked or very busy'
        ) from exc
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        raise errors.UserError(
            f'No runner can be asked at {path}: {reason}. Does the service '
            'run, and is its [oslo_periodic] control_socket that?'
        ) from exc
    if not line:
        raise errors.UserError(
            f'The connection to {path} was refused: use it as the user of '
            'the service, or as root'
        )
    try:
        answer = json.loads(line)
        result = answer['result'] if answer['ok'] else str(answer['error'])
        if answer['ok'] and not isinstance(result, expect):
            raise TypeError(f'{command} gives {type(result).__name__}')
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise errors.UserError(
            f'What listens at {path} is no runner of periodic tasks'
        ) from exc
    if not answer['ok']:
        raise errors.UserError(result)
    return result


def _exchange(path: str, request: bytes, timeout: float) -> bytes:
    """Send a line and return one; empty if the connection was closed."""
    end = time.monotonic() + timeout
    chunks = []
    length = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(request)
        while length < _MAX_ANSWER:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            chunk = connection.recv(1 << 16)
            chunks.append(chunk)
            length += len(chunk)
            if not chunk or b'\n' in chunk:
                break
    return b''.join(chunks)
