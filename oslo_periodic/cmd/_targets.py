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

"""The processes that a ``ctl`` command is sent to."""

from __future__ import annotations

import argparse
from concurrent import futures
import glob
import re
from typing import Generic
from typing import NamedTuple
from typing import TypeVar

from oslo_config import cfg

from oslo_periodic.cmd import _client
from oslo_periodic.cmd import _service
from oslo_periodic.cmd import _text
from oslo_periodic.cmd import errors
from oslo_periodic import opts

_Result = TypeVar('_Result')

#: What stands for the process ID in a path.
_PID = '{pid}'
#: How many processes are asked at the same time.
_MOST = 32


class Answer(NamedTuple, Generic[_Result]):
    """What one process has answered."""

    path: str
    #: The process in the output; empty if only one is addressed.
    label: str
    result: _Result


class Answers(NamedTuple, Generic[_Result]):
    """What the addressed processes have answered."""

    #: Whether the output has to name the processes.
    several: bool
    succeeded: list[Answer[_Result]]
    #: One line for each process that has not answered, or with an error.
    failed: list[str]


class _Target(NamedTuple):
    path: str
    label: str
    #: The file may be that of a process that was killed.
    may_be_stale: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name the sockets."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '--socket',
        metavar='PATH',
        action='append',
        default=[],
        help='control socket of the service: its [oslo_periodic] '
        'control_socket. {pid} in the path stands for any process ID; may be '
        'repeated',
    )
    group.add_argument(
        '--config-file',
        metavar='PATH',
        action='append',
        default=[],
        help='configuration file of the service, to read control_socket '
        'from; may be repeated, later files take precedence. The '
        'environment variable OS_OSLO_PERIODIC__CONTROL_SOCKET takes '
        'precedence over all files. If the path contains {pid}, the command '
        'is sent to every process of the service',
    )
    parser.add_argument(
        '--timeout',
        metavar='SECONDS',
        type=_text.seconds,
        default=10.0,
        help='seconds to wait for the answer of a process (default: 10)',
    )


def call(
    parsed_args: argparse.Namespace,
    command: str,
    task: str | None = None,
    *,
    expect: type[_Result],
) -> Answers[_Result]:
    """Send a command to every process that the arguments name.

    :param parsed_args: the arguments.
    :param command: the name of the command.
    :param task: the name of the task, for commands that take one.
    :param expect: the type of the result.
    :raises UserError: if no process listens, or the only one fails.
    """
    patterns = parsed_args.socket or [_configured(parsed_args.config_file)]
    targets = [target for path in patterns for target in _expand(path)]
    several = len(patterns) > 1 or _PID in patterns[0]

    def ask(target: _Target) -> _Result | errors.UserError:
        timeout = parsed_args.timeout
        try:
            return _client.call(
                target.path, command, task, expect=expect, timeout=timeout
            )
        except errors.UserError as exc:
            return exc

    with futures.ThreadPoolExecutor(_MOST) as pool:
        results = list(pool.map(ask, targets))
    answers: Answers[_Result] = Answers(several, [], [])
    for target, result in zip(targets, results, strict=True):
        label = target.label if several else ''
        if not isinstance(result, errors.UserError):
            answers.succeeded.append(Answer(target.path, label, result))
        elif not several:
            raise result
        elif not (
            target.may_be_stale and isinstance(result, _client.NotListening)
        ):
            answers.failed.append(f'{label}: {result}')
    if not answers.succeeded and not answers.failed:
        raise _client.NotListening(
            f'No process listens on {" or ".join(patterns)}. Check that the '
            'service is running'
        )
    return answers


def _configured(files: list[str]) -> str:
    """Return the path that the configuration files and the environment set.

    :raises UserError: if they set none.
    """
    conf = _service.configure(files)
    opts.register(conf)
    try:
        path = conf[opts.GROUP].control_socket
    except (cfg.Error, ValueError) as exc:
        raise errors.UserError(errors.one_line(exc)) from exc
    if not path:
        places = ', '.join(files) or 'the environment'
        raise errors.UserError(
            f'[oslo_periodic] control_socket is not set in {places}: pass '
            '--socket PATH, or --config-file with a file that sets it'
        )
    return str(path)


def _expand(pattern: str) -> list[_Target]:
    """Return the sockets of a path, in which {pid} is any number."""
    if _PID not in pattern:
        return [_Target(pattern, pattern, False)]
    parts = pattern.split(_PID)
    # The same number, if it is there several times.
    expression = re.compile(
        '([0-9]+)'.join(map(re.escape, parts[:2]))
        + ''.join(rf'\1{re.escape(part)}' for part in parts[2:])
    )
    found = []
    for path in glob.glob('*'.join(map(glob.escape, parts))):
        match = expression.fullmatch(path)
        if match:
            found.append((int(match[1]), path))
    return [_Target(path, f'pid {pid}', True) for pid, path in sorted(found)]
