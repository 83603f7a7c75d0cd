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

"""``oslo-periodic ctl``: inspect and control a running service."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cliff import command
from cliff import lister
from oslo_config import cfg

from oslo_periodic.cmd import _client
from oslo_periodic.cmd import _service
from oslo_periodic.cmd import errors
from oslo_periodic import opts

#: What ``status`` returns for a task: the fields of a JSON object.
_TaskStatus = dict[str, Any]

_STATUS_COLUMNS = (
    'Task',
    'Spacing',
    'Activity',
    'Due or since',
    'Runs',
    'Failed',
    'Skipped',
    'Last start',
    'Took',
    'Late by',
    'Last outcome',
)
_TASK_HELP = 'name of the task, with or without its class'


class _CtlCommand(command.Command):
    """A command that is sent to the control socket of a service."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments that name the socket."""
        parser = super().get_parser(prog_name)
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            '--socket',
            metavar='PATH',
            help='control socket of the service: its [oslo_periodic] '
            'control_socket',
        )
        group.add_argument(
            '--config-file',
            metavar='PATH',
            action='append',
            default=[],
            help='configuration file of the service, to read control_socket '
            'from; may be repeated, later files take precedence. The '
            'environment variable OS_OSLO_PERIODIC__CONTROL_SOCKET takes '
            'precedence over all files',
        )
        return parser


def _socket_path(parsed_args: argparse.Namespace) -> str:
    """Return the path of the socket that the arguments name.

    :raises UserError: if neither the arguments nor the environment name one.
    """
    if parsed_args.socket:
        return str(parsed_args.socket)
    conf = _service.configure(parsed_args.config_file)
    opts.register(conf)
    try:
        path = conf[opts.GROUP].control_socket
    except (cfg.Error, ValueError) as exc:
        raise errors.UserError(errors.one_line(exc)) from exc
    if not path:
        places = ', '.join(parsed_args.config_file) or 'the environment'
        raise errors.UserError(
            f'[oslo_periodic] control_socket is not set in {places}: pass '
            '--socket PATH, or --config-file with a file that sets it'
        )
    if '{pid}' in path:
        raise errors.UserError(
            f'[oslo_periodic] control_socket = {path} names one socket for '
            'each process: pass the path of one of them with --socket'
        )
    return str(path)


class CtlStatus(_CtlCommand, lister.Lister):
    """Show the state of each periodic task of a running service.

    The formats other than "table" show all fields. -c selects columns.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'task',
            metavar='TASK',
            nargs='?',
            help=f'{_TASK_HELP}; by default, all tasks are shown',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Return a row for each task."""
        status = _client.call(_socket_path(parsed_args), 'status', expect=dict)
        tasks: list[_TaskStatus] = status['tasks']
        if parsed_args.task:
            tasks = _find(tasks, parsed_args.task)
        for problem in status['problems']:
            print(f'Unhealthy: {problem}', file=sys.stderr)
        if parsed_args.formatter == 'table':
            return _STATUS_COLUMNS, [_row(task) for task in tasks]
        columns = tuple(tasks[0]) if tasks else ()
        return columns, [tuple(task.values()) for task in tasks]


def _find(tasks: list[_TaskStatus], name: str) -> list[_TaskStatus]:
    """Return the tasks of a name, with or without its class.

    :raises UserError: if there is none.
    """
    found = [
        task
        for task in tasks
        if name in (task['task'], task['task'].partition('.')[2])
    ]
    if not found:
        raise errors.UserError(f'There is no periodic task {name}')
    return found


def _row(task: _TaskStatus) -> tuple[object, ...]:
    failures = str(task['failures'])
    if task['failures_in_a_row']:
        failures += f' ({task["failures_in_a_row"]} in a row)'
    outcome = task['last_outcome'] or ''
    if task['last_error']:
        outcome = f'{outcome}: {task["last_error"]}'
    return (
        task['task'],
        f'{task["spacing"]:g}',
        task['activity'],
        _time_of_day(task['running_since'] or task['due']),
        task['runs'],
        failures,
        sum(task['skipped'].values()),
        _time_of_day(task['last_start']),
        _seconds(task['last_duration']),
        _seconds(task['lateness']),
        outcome,
    )


def _time_of_day(timestamp: str | None) -> str:
    """Return the time of day of an ISO 8601 timestamp, in its time zone."""
    return timestamp[11:23] if timestamp else ''


def _seconds(seconds: float | None) -> str:
    return '' if seconds is None else f'{seconds:.3f}'


class CtlHealth(_CtlCommand):
    """Check the health of the periodic tasks of a running service.

    The exit code is 0 if they are healthy. It is 1 if they are unhealthy or
    the service does not answer. Use the command as a probe of a container or
    of a service manager.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--timeout',
            metavar='SECONDS',
            type=float,
            default=10.0,
            help='seconds to wait for the answer (default: 10)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print the problems and return the exit code."""
        health = _client.call(
            _socket_path(parsed_args),
            'health',
            expect=dict,
            timeout=parsed_args.timeout,
        )
        for problem in health['problems']:
            print(f'Unhealthy: {problem}')
        if health['healthy']:
            print('Periodic tasks are healthy')
        return 0 if health['healthy'] else 1


class _CtlTaskCommand(_CtlCommand):
    """A command that applies to one task."""

    #: The name of the command in the control protocol.
    protocol_command: str
    #: What is printed after the name of the task.
    result: str

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument('task', metavar='TASK', help=_TASK_HELP)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Send the command and print the names of the tasks it affects."""
        names = _client.call(
            _socket_path(parsed_args),
            self.protocol_command,
            parsed_args.task,
            expect=list,
        )
        for name in names:
            print(f'{name} {self.result}')
        return 0


class CtlPause(_CtlTaskCommand):
    """Pause a periodic task until it is resumed or the service restarts.

    A run in progress continues.
    """

    protocol_command, result = 'pause', 'is paused'


class CtlResume(_CtlTaskCommand):
    """Resume a paused periodic task."""

    protocol_command, result = 'resume', 'is resumed'


class CtlRun(_CtlTaskCommand):
    """Run a periodic task now, even if it is paused.

    The schedule of the task does not change.
    """

    protocol_command, result = 'run', 'will run as soon as a worker is free'


class CtlStop(_CtlCommand):
    """Stop the periodic tasks of a running service.

    No more tasks start. Tasks that are running have [oslo_periodic]
    graceful_stop_timeout seconds to end; the command does not wait for them.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Send the command."""
        _client.call(_socket_path(parsed_args), 'stop', expect=object)
        print('The runner is stopping')
        return 0
