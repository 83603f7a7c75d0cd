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

"""``oslo-periodic ctl status``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from oslo_periodic.cmd import _client
from oslo_periodic.cmd import _tables
from oslo_periodic.cmd import _targets
from oslo_periodic.cmd import _text
from oslo_periodic.cmd import ctl
from oslo_periodic.cmd import errors

#: What ``status`` returns for a process, and in it for a task: the fields of
#: a JSON object.
_Status = dict[str, Any]
_TaskStatus = dict[str, Any]

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


class CtlStatus(_tables.Table):
    """Show the state of each periodic task of a running service.

    Times are relative to the time of the service; a time that is not today
    has its date, in UTC. The formats other than "table" show all fields. -c
    selects columns.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments of the command."""
        parser = super().get_parser(prog_name)
        _targets.add_arguments(parser)
        parser.add_argument(
            'task',
            metavar='TASK',
            nargs='?',
            help=f'{ctl.TASK_HELP}; by default, all tasks are shown',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Return a row for each task."""
        answers = _targets.call(parsed_args, 'status', expect=dict)
        in_table = parsed_args.formatter == 'table'
        rows: list[tuple[object, ...]] = []
        tasks: list[_TaskStatus] = []
        for path, label, status in answers.succeeded:
            with _client.protocol_of(path):
                _report(status, label)
                for task in _select(status, parsed_args.task):
                    tasks.append({'pid': status['pid'], **task})
                    if in_table:
                        rows.append(_row(task, status, answers.several))
        if parsed_args.task and not tasks:
            raise errors.UserError(
                f'There is no periodic task {parsed_args.task}'
            )
        self.exit_code = ctl.report_failures(answers.failed)
        if in_table:
            return (('PID',) if answers.several else ()) + _COLUMNS, rows
        columns = tuple(tasks[0]) if tasks else ()
        return columns, [
            tuple(task.get(column) for column in columns) for task in tasks
        ]


def _report(status: _Status, label: str) -> None:
    """Print what concerns a whole process."""
    lines = [f'Unhealthy: {problem}' for problem in status['problems']]
    if status.get('stopping'):
        lines.append('The runner is stopping: no more tasks start')
    for line in lines:
        text = f'{label}: {line}' if label else line
        print(_text.clean(text), file=sys.stderr)


def _select(status: _Status, name: str | None) -> list[_TaskStatus]:
    """Return the tasks of a name, with or without its class; None: all."""
    return [
        task
        for task in status['tasks']
        if not name or name in _names(str(task['task']))
    ]


def _names(full_name: str) -> list[str]:
    """Return the names of a task: with its class, or module and class."""
    parts = full_name.split('.')
    return ['.'.join(parts[start:]) for start in range(len(parts))]


def _row(
    task: _TaskStatus, status: _Status, with_pid: bool
) -> tuple[object, ...]:
    failures = str(task['failures'])
    if task['failures_in_a_row']:
        failures += f' ({task["failures_in_a_row"]} in a row)'
    outcome = task['last_outcome'] or ''
    if task['last_error']:
        outcome = f'{outcome}: {task["last_error"]}'
    activity = task['activity']
    if task.get('paused') and activity != 'paused':
        activity = f'{activity}, paused'
    now = status['time']
    row = (
        task['task'],
        f'{task["spacing"]:g}',
        activity,
        _text.relative(task['running_since'] or task['due'], now),
        task['runs'],
        failures,
        sum(task['skipped'].values()),
        _text.relative(task['last_start'], now),
        _seconds(task['last_duration']),
        _seconds(task['lateness']),
        outcome,
    )
    return (status['pid'], *row) if with_pid else row


def _seconds(seconds: float | None) -> str:
    return '' if seconds is None else f'{seconds:.3f}'
