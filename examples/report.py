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

"""Show what the host audit recorded: what ran, when, how late, what failed.

It ends with exit code 1 if that is not what was to be expected.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import contextlib
import pathlib
import sqlite3
import sys
import textwrap
import time

#: Characters; how wide the report is, and the picture of a task's runs.
_WIDTH, _PICTURE = 100, 36

_TASKS = """
SELECT name, spacing, enabled, count(run.task) AS runs,
    count(error) AS failures, avg(lateness) AS late,
    max(lateness) AS latest, avg(duration) AS took,
    max(duration) AS longest, max(started + duration) AS ended
FROM task LEFT JOIN run ON run.service = task.service AND run.task = name
WHERE task.service = ? GROUP BY name ORDER BY task.rowid
"""

# Next to max(), the other columns are those of the row that has it.
_FAILURES = """
SELECT task, count(*), max(started), error FROM run
WHERE service = ? AND error IS NOT NULL GROUP BY task
"""


class Service:
    """One run of the service, from its start to the end of its last task."""

    def __init__(self, database: sqlite3.Connection, row: sqlite3.Row) -> None:
        """Read how its tasks did."""
        self._database = database
        self._row = row
        self.id: int = row['id']
        self.backend: str = row['backend']
        self.tasks = database.execute(_TASKS, (self.id,)).fetchall()
        self._start: float = row['started']
        self._end = max(
            (task['ended'] for task in self.tasks if task['ended']),
            default=self._start,
        )

    def show(self) -> None:
        """Print a line for each task."""
        column = (self._end - self._start) / _PICTURE
        when = f'when: a column is {column:.2f} s'
        print(
            f'\nOn the backend {self.backend}: from {_clock(self._start)} to '
            f'{_clock(self._end)}, process {self._row["pid"]}, Python '
            f'{self._row["python"]}\n\n'
            f'{"late by (ms)":>44}{"took (ms)":>14}\n'
            f'  {"task":<11}{"every":>5}{"runs":>6}{"failed":>7}'
            f'{"mean":>6}{"max":>7}{"mean":>7}{"max":>7}  {when}'
        )
        for task in self.tasks:
            print(f'  {task["name"]:<11}{self._task_line(task)}')

    def _task_line(self, task: sqlite3.Row) -> str:
        if not task['runs']:
            return 'never ran' if task['enabled'] else 'disabled, never ran'
        late, latest, took, longest = (
            # A task that was called outside a tick was never due.
            '' if task[name] is None else f'{task[name] * 1000:.1f}'
            for name in ('late', 'latest', 'took', 'longest')
        )
        return (
            f'{task["spacing"]:3g} s{task["runs"]:6}'
            f'{task["failures"] or "-":>7}{late:>6}{latest:>7}'
            f'{took:>7}{longest:>7}  {self._picture(task["name"])}'
        )

    def _picture(self, task: str) -> str:
        marks = ['.'] * _PICTURE
        for started, error in self._database.execute(
            'SELECT started, error FROM run WHERE service = ? AND task = ?',
            (self.id, task),
        ):
            part = (started - self._start) / (self._end - self._start)
            marks[min(int(part * _PICTURE), _PICTURE - 1)] = (
                'x' if error else '#'
            )
        return ''.join(marks)

    def show_failures(self) -> None:
        """Print what failed, and with what error at last."""
        for task, number, last, error in self._database.execute(
            _FAILURES, (self.id,)
        ):
            print(
                f'  {task} on {self.backend}: {number} times, last at '
                f'{_clock(last)}'
            )
            for line in textwrap.wrap(error, _WIDTH - 6):
                print(f'      {line}')

    def unexpected(self, fails: list[str]) -> Iterator[str]:
        """Yield what did not go as it should.

        :param fails: the tasks that are to fail, each time.
        """
        for task in self.tasks:
            name, runs = task['name'], task['runs']
            failures = runs if name in fails else 0
            if task['enabled'] and not runs:
                yield f'{name} on {self.backend} never ran'
            elif runs and not task['enabled']:
                yield f'{name} on {self.backend} is disabled, and ran'
            elif task['failures'] != failures:
                yield (
                    f'{name} on {self.backend} failed in {task["failures"]} '
                    f'of {runs} runs, and should have in {failures}'
                )


def show_findings(database: sqlite3.Connection) -> None:
    """Print what the audit found."""
    for label, lines in (
        ('load', _load(database)),
        ('memory', _memory(database)),
        ('processes', _processes(database)),
        ('disks', _disks(database)),
        ('packages', _packages(database)),
    ):
        for line in lines:
            print(f'  {label:<11}{line}'[:_WIDTH])
            label = ''


def _load(database: sqlite3.Connection) -> Iterator[str]:
    number, lowest, highest = database.execute(
        'SELECT count(*), min(one), max(one) FROM load'
    ).fetchone()
    for row in database.execute('SELECT * FROM load ORDER BY at DESC LIMIT 1'):
        yield (
            f'{row["one"]} over a minute, {row["five"]} over 5, '
            f'{row["fifteen"]} over 15; from {lowest} to {highest} in '
            f'{number} samples'
        )


def _memory(database: sqlite3.Connection) -> Iterator[str]:
    number, lowest = database.execute(
        'SELECT count(*), min(available) FROM memory'
    ).fetchone()
    for row in database.execute(
        'SELECT * FROM memory ORDER BY at DESC LIMIT 1'
    ):
        yield (
            f'{_size(row["available"])} of {_size(row["total"])} available; '
            f'{_size(lowest)} at the least in {number} samples'
        )


def _processes(database: sqlite3.Connection) -> Iterator[str]:
    for row in database.execute(
        'SELECT * FROM process ORDER BY at DESC LIMIT 1'
    ):
        yield (
            f'{row["number"]} with {row["threads"]} threads, '
            f'{row["running"]} running; the largest is {row["largest"]}, '
            f'{_size(row["largest_size"])}'
        )


def _disks(database: sqlite3.Connection) -> Iterator[str]:
    for row in database.execute(
        'SELECT * FROM disk WHERE at = (SELECT max(at) FROM disk)'
    ):
        yield (
            f'{row["mount"]} ({row["type"]}): {_size(row["available"])} of '
            f'{_size(row["total"])} available'
        )


def _packages(database: sqlite3.Connection) -> Iterator[str]:
    number = database.execute('SELECT count(*) FROM package').fetchone()[0]
    changes = database.execute('SELECT * FROM package_change').fetchall()
    yield f'{number} installed; changed meanwhile: {len(changes) or "none"}'
    for row in changes:
        before, after = row['before'] or 'nothing', row['after'] or 'nothing'
        yield f'{_clock(row["at"])} {row["name"]}: from {before} to {after}'


def _clock(seconds: float) -> str:
    return time.strftime('%H:%M:%S', time.localtime(seconds))


def _size(number: float) -> str:
    unit = 'B'
    for larger in ('KiB', 'MiB', 'GiB', 'TiB'):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f'{number:.1f} {unit}'


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('database', type=pathlib.Path)
    parser.add_argument(
        '--backend',
        action='append',
        default=[],
        help='the service is to have run on it; may be repeated',
    )
    parser.add_argument(
        '--fails',
        metavar='TASK',
        action='append',
        default=[],
        help='the task is to fail, each time; may be repeated',
    )
    return parser.parse_args()


def report(database: sqlite3.Connection, options: argparse.Namespace) -> int:
    """Print the report.

    :returns: the exit code.
    """
    services = [
        Service(database, row)
        for row in database.execute('SELECT * FROM service ORDER BY id')
    ]
    print('What ran, when, and how late')
    for service in services:
        service.show()
    print(
        '\n  # is a run, x a run that failed; late is the start minus due: '
        'tasks run one by one'
    )
    print('\nWhat failed\n')
    for service in services:
        service.show_failures()
    print('\nWhat the audit found\n')
    show_findings(database)
    ran = {service.backend for service in services}
    wrong = [
        f'the service never ran on {backend}'
        for backend in options.backend
        if backend not in ran
    ]
    for service in services:
        wrong += service.unexpected(options.fails)
    print('' if wrong else '\nAll of it as expected.', flush=True)
    for line in wrong:
        print(f'Unexpected: {line}', file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    """Print the report that the command line asks for.

    :returns: the exit code.
    """
    options = _arguments()
    if not options.database.is_file():
        print(f'There is no {options.database}', file=sys.stderr)
        return 1
    with contextlib.closing(sqlite3.connect(options.database)) as database:
        database.row_factory = sqlite3.Row
        return report(database, options)


if __name__ == '__main__':
    sys.exit(main())
