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

"""Report the runs, lateness, failures and findings of the host audit.

The exit code is 1 if a task did not run or fail as expected.
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

#: Widths in characters: of the report, and of the timeline of a task.
_WIDTH, _TIMELINE = 100, 36

_TASKS = """
SELECT name, spacing, enabled, count(run.task) AS runs,
    count(error) AS failures, avg(lateness) AS late,
    max(lateness) AS latest, avg(duration) AS took,
    max(duration) AS longest, max(started + duration) AS ended
FROM task LEFT JOIN run ON run.service = task.service AND run.task = name
WHERE task.service = ? GROUP BY name ORDER BY task.rowid
"""

# With max(), SQLite takes the other columns from the row of the maximum.
_FAILURES = """
SELECT task, count(*), max(started), error FROM run
WHERE service = ? AND error IS NOT NULL GROUP BY task
"""


class Service:
    """One run of the service, from its start to the end of its last task."""

    def __init__(self, database: sqlite3.Connection, row: sqlite3.Row) -> None:
        """Read the counts and times of its tasks."""
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
        column = (self._end - self._start) / _TIMELINE
        when = f'timeline, {column:.2f} s per column'
        print(
            f'\nBackend {self.backend}: {_clock(self._start)} to '
            f'{_clock(self._end)}, process {self._row["pid"]}, Python '
            f'{self._row["python"]}\n\n'
            f'{"lateness (ms)":>44}{"duration (ms)":>14}\n'
            f'  {"task":<11}{"every":>5}{"runs":>6}{"failed":>7}'
            f'{"mean":>6}{"max":>7}{"mean":>7}{"max":>7}  {when}'
        )
        for task in self.tasks:
            print(f'  {task["name"]:<11}{self._task_line(task)}')

    def _task_line(self, task: sqlite3.Row) -> str:
        if not task['runs']:
            return (
                'did not run' if task['enabled'] else 'disabled, did not run'
            )
        late, latest, took, longest = (
            # None if the task was called directly, and so was not due.
            '' if task[name] is None else f'{task[name] * 1000:.1f}'
            for name in ('late', 'latest', 'took', 'longest')
        )
        return (
            f'{task["spacing"]:3g} s{task["runs"]:6}'
            f'{task["failures"] or "-":>7}{late:>6}{latest:>7}'
            f'{took:>7}{longest:>7}  {self._timeline(task["name"])}'
        )

    def _timeline(self, task: str) -> str:
        marks = ['.'] * _TIMELINE
        for started, error in self._database.execute(
            'SELECT started, error FROM run WHERE service = ? AND task = ?',
            (self.id, task),
        ):
            part = (started - self._start) / (self._end - self._start)
            marks[min(int(part * _TIMELINE), _TIMELINE - 1)] = (
                'x' if error else '#'
            )
        return ''.join(marks)

    def show_failures(self) -> None:
        """Print the tasks that failed, with their last errors."""
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
        """Yield a line for each unexpected result.

        :param fails: the tasks of which every run should fail.
        """
        for task in self.tasks:
            name, runs = task['name'], task['runs']
            failures = runs if name in fails else 0
            if task['enabled'] and not runs:
                yield f'{name} on {self.backend} did not run'
            elif runs and not task['enabled']:
                yield f'{name} on {self.backend} ran although it is disabled'
            elif task['failures'] != failures:
                yield (
                    f'{name} on {self.backend} failed in {task["failures"]} '
                    f'of {runs} runs, expected {failures}'
                )


def show_findings(database: sqlite3.Connection) -> None:
    """Print the findings of the audit."""
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
            f'{row["one"]}, {row["five"]} and {row["fifteen"]} over 1, 5 and '
            f'15 minutes; 1 minute: {lowest} to {highest} '
            f'in {number} samples'
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
            f'minimum {_size(lowest)} in {number} samples'
        )


def _processes(database: sqlite3.Connection) -> Iterator[str]:
    for row in database.execute(
        'SELECT * FROM process ORDER BY at DESC LIMIT 1'
    ):
        yield (
            f'{row["number"]} with {row["threads"]} threads, '
            f'{row["running"]} running; largest: {row["largest"]}, '
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
    yield f'{number} installed; changes: {len(changes) or "none"}'
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
        help='expect the service to have run on this backend; may be repeated',
    )
    parser.add_argument(
        '--fails',
        metavar='TASK',
        action='append',
        default=[],
        help='expect every run of this task to fail; may be repeated',
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
    print('Runs')
    for service in services:
        service.show()
    print(
        '\n  Timeline: # is a run, x a failed run. Lateness is the start of a '
        'run minus its due time.'
    )
    print('\nFailures\n')
    for service in services:
        service.show_failures()
    print('\nFindings\n')
    show_findings(database)
    ran = {service.backend for service in services}
    wrong = [
        f'the service did not run on {backend}'
        for backend in options.backend
        if backend not in ran
    ]
    for service in services:
        wrong += service.unexpected(options.fails)
    print('' if wrong else '\nAll results are as expected.', flush=True)
    for line in wrong:
        print(f'Unexpected: {line}', file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    """Print the report of the database named on the command line.

    :returns: the exit code.
    """
    options = _arguments()
    if not options.database.is_file():
        print(f'{options.database} does not exist', file=sys.stderr)
        return 1
    with contextlib.closing(sqlite3.connect(options.database)) as database:
        database.row_factory = sqlite3.Row
        return report(database, options)


if __name__ == '__main__':
    sys.exit(main())
