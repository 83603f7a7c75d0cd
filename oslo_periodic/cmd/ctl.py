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


"""``oslo-periodic ctl``: look at a runner, and steer it, while it runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
import sys
from typing import Any

from cliff import command
from cliff import lister
from oslo_config import cfg

from oslo_periodic.cmd import _client
from oslo_periodic.cmd import _service
from oslo_periodic.cmd import errors
from oslo_periodic import opts


class _Ctl(command.Command):
    """Something that is asked of a runner."""

    def get_parser(self, prog_name: str) -> Any:
        """Add what says which runner is meant."""
        parser = super().get_parser(prog_name)
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            '--socket',
            metavar='PATH',
            help='the [oslo_periodic] control_socket of the service',
        )
        group.add_argument(
            '--config-file',
            metavar='PATH',
            action='append',
            default=[],
            help='a configuration file of the service, which says the same, '
            'as does the environment; may be repeated, later ones win',
        )
        return parser


def socket_path(parsed_args: argparse.Namespace) -> str:
    """Return the socket that is meant.

    :raises UserError: if the configuration names none.
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
        raise errors.UserError(
            f'[oslo_periodic] control_socket is not set in '
            f'{", ".join(parsed_args.config_file) or "the environment"}: '
            'name it with --socket, or a file that sets it with --config-file'
        )
    if '{pid}' in path:
        raise errors.UserError(
            f'[oslo_periodic] control_socket = {path} is another one for each '
            'process: name one with --socket'
        )
    return str(path)


class CtlStatus(_Ctl, lister.Lister):
    """Show what each periodic task of a running service does.

    The table has what fits; the other formats have everything that is known.
    -c chooses columns.
    """

    def get_parser(self, prog_name: str) -> Any:
        """Add what the command takes."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'task',
            metavar='TASK',
            nargs='?',
            help='show this task alone: its name, with that of its class or '
            'alone',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        """Ask, and show it."""
        status = _client.ask(socket_path(parsed_args), 'status', expect=dict)
        tasks = [
            task
            for task in status['tasks']
            if parsed_args.task
            in (None, task['task'], task['task'].partition('.')[2])
        ]
        if parsed_args.task and not tasks:
            raise errors.UserError(
                f'There is no periodic task {parsed_args.task}'
            )
        for problem in status['problems']:
            print(f'Not well: {problem}', file=sys.stderr)
        if parsed_args.formatter != 'table':
            columns = tuple(tasks[0]) if tasks else ()
            return columns, [tuple(task.values()) for task in tasks]
        return _COLUMNS, [_row(task) for task in tasks]


_COLUMNS = (
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


def _row(task: dict[str, Any]) -> tuple[Any, ...]:
    moment = task['running_since'] or task['due']
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
        _clock(moment),
        task['runs'],
        failures,
        sum(task['skipped'].values()),
        _clock(task['last_start']),
        _seconds(task['last_duration']),
        _seconds(task['lateness']),
        outcome,
    )


def _clock(moment: str | None) -> str:
    """Return the time of day, in UTC as it came."""
    return moment[11:23] if moment else ''


def _seconds(seconds: float | None) -> str:
    return '' if seconds is None else f'{seconds:.3f}'


class CtlHealth(_Ctl):
    """Fail, with exit code 1, if the periodic tasks of a service are not well.

    It is meant for the probes of containers and of service managers.
    """

    def get_parser(self, prog_name: str) -> Any:
        """Add what the command takes."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--timeout',
            metavar='SECONDS',
            type=float,
            default=10.0,
            help='fail if there is no answer within so many seconds '
            '(default: 10)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Ask, and say it by the exit code."""
        health = _client.ask(
            socket_path(parsed_args),
            'health',
            expect=dict,
            timeout=parsed_args.timeout,
        )
        for problem in health['problems']:
            print(f'Not well: {problem}')
        if health['healthy']:
            print('The periodic tasks are well')
        return 0 if health['healthy'] else 1


class _OnTask(_Ctl):
    """What is done to one task."""

    ask: str
    done: str

    def get_parser(self, prog_name: str) -> Any:
        """Add what the command takes."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'task',
            metavar='TASK',
            help='its name, with that of its class or alone',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Have it done."""
        names = _client.ask(
            socket_path(parsed_args), self.ask, parsed_args.task
        )
        for name in names:
            print(f'{name} {self.done}')
        return 0


class CtlPause(_OnTask):
    """Keep a task from starting until it is resumed, or the service starts.

    A run that is under way goes on.
    """

    ask, done = 'pause', 'is paused'


class CtlResume(_OnTask):
    """Let a task start again that was paused."""

    ask, done = 'resume', 'is resumed'


class CtlRun(_OnTask):
    """Run a task now, paused or not; its schedule stays as it is."""

    ask, done = 'run', 'runs as soon as a worker is free'


class CtlStop(_Ctl):
    """Stop a runner: no more runs, and those that are running may end."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Have it stopped."""
        _client.ask(socket_path(parsed_args), 'stop', expect=object)
        print('The runner stops')
        return 0
