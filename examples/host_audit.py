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

"""A service that audits the host it runs on.

It records the load, memory, processes, disks and installed packages of the
host in an SQLite database, and each run of its own tasks. No code in it
depends on the backend::

    oslo-periodic run examples.host_audit:HostAudit \\
        --config-file examples/host_audit.conf \\
        --config-file examples/threading.conf
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import functools
import os
import pathlib
import platform
import sqlite3
import time

from oslo_config import cfg
from oslo_config import types

from examples import host
from oslo_periodic import backends
from oslo_periodic import periodic_task

_OPTS = [
    cfg.StrOpt(
        'database',
        default='host_audit.sqlite',
        help='Path of the SQLite database to write to.',
    ),
    cfg.StrOpt(
        'backup_stamp',
        default='/var/lib/host-backup/last-success',
        help='File that the backup tool touches after each successful backup.',
    ),
    cfg.Opt(
        'spacing',
        type=types.Dict(types.Float()),
        default={},
        help='Seconds from one run to the next, for each task by name.',
    ),
]

# Times are in seconds since the epoch, durations in seconds, sizes in bytes.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS service (
    id INTEGER PRIMARY KEY, started REAL, backend TEXT, pid INTEGER,
    python TEXT);
CREATE TABLE IF NOT EXISTS task (
    service INTEGER, name TEXT, spacing REAL, enabled INTEGER);
CREATE TABLE IF NOT EXISTS run (
    service INTEGER, task TEXT, started REAL, lateness REAL, duration REAL,
    error TEXT);
CREATE TABLE IF NOT EXISTS load (
    at REAL, one REAL, five REAL, fifteen REAL);
CREATE TABLE IF NOT EXISTS memory (
    at REAL, total INTEGER, available INTEGER);
CREATE TABLE IF NOT EXISTS process (
    at REAL, number INTEGER, running INTEGER, threads INTEGER, largest TEXT,
    largest_size INTEGER);
CREATE TABLE IF NOT EXISTS disk (
    at REAL, mount TEXT, type TEXT, total INTEGER, available INTEGER);
CREATE TABLE IF NOT EXISTS package (
    name TEXT PRIMARY KEY, version TEXT);
CREATE TABLE IF NOT EXISTS package_change (
    at REAL, name TEXT, before TEXT, after TEXT);
CREATE TABLE IF NOT EXISTS backup (
    at REAL, finished REAL);
CREATE TABLE IF NOT EXISTS open_files (
    at REAL, number INTEGER);
"""

_Task = Callable[['HostAudit', object], None]


def recorded(function: _Task) -> _Task:
    """Record each run of a task and its outcome."""

    @functools.wraps(function)
    def run(audit: HostAudit, context: object) -> None:
        record = functools.partial(
            audit.record, function.__name__, time.time(), periodic_task.now()
        )
        try:
            function(audit, context)
        except Exception as exc:
            record(f'{type(exc).__name__}: {exc}')
            raise
        record(None)

    return run


class HostAudit(periodic_task.PeriodicTasks):
    """A service with one periodic task for each part of the audit."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Create the tables of the database.

        :param conf: the configuration; the options are in [host_audit].
        """
        super().__init__(conf)
        conf.register_opts(_OPTS, group='host_audit')
        self._periodic_spacing.update(conf.host_audit.spacing)
        path = pathlib.Path(conf.host_audit.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._database() as database:
            database.executescript(_SCHEMA)
            self._service = database.execute(
                'INSERT INTO service VALUES (NULL, ?, ?, ?, ?)',
                (
                    time.time(),
                    backends.get_backend().name,
                    os.getpid(),
                    platform.python_version(),
                ),
            ).lastrowid
            database.executemany(
                'INSERT INTO task VALUES (?, ?, ?, ?)', self._describe_tasks()
            )

    def record(
        self, task: str, at: float, started: float, error: str | None
    ) -> None:
        """Record a run that has ended.

        :param task: the task's name.
        :param at: the start of the run, in seconds since the epoch.
        :param started: the start on the clock of ``periodic_task.now``.
        :param error: the exception that ended the run, or None.
        """
        ended = periodic_task.now()
        # None if the task was called directly, and not by a tick or runner.
        lateness = self.periodic_state()[task].running_lateness
        with self._database() as database:
            database.execute(
                'INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)',
                (
                    self._service,
                    task,
                    at,
                    lateness,
                    ended - started,
                    error,
                ),
            )

    @periodic_task.periodic_task(spacing=10, run_immediately=True)
    @recorded
    def load(self, context: object) -> None:
        """Record the load averages."""
        self._insert('INSERT INTO load VALUES (?, ?, ?, ?)', host.load())

    @periodic_task.periodic_task(spacing=10, run_immediately=True)
    @recorded
    def memory(self, context: object) -> None:
        """Record the total and the available memory."""
        self._insert('INSERT INTO memory VALUES (?, ?, ?)', host.memory())

    @periodic_task.periodic_task(spacing=30)
    @recorded
    def processes(self, context: object) -> None:
        """Record the number of processes and the largest one."""
        found = list(host.processes())
        size, largest = max((size, name) for name, _, _, size in found)
        running = sum(state == 'R' for _, state, _, _ in found)
        threads = sum(threads for _, _, threads, _ in found)
        self._insert(
            'INSERT INTO process VALUES (?, ?, ?, ?, ?, ?)',
            (len(found), running, threads, largest, size),
        )

    @periodic_task.periodic_task(spacing=60)
    @recorded
    def disks(self, context: object) -> None:
        """Record the size and the free space of the file systems."""
        self._insert('INSERT INTO disk VALUES (?, ?, ?, ?, ?)', *host.disks())

    @periodic_task.periodic_task(spacing=300, run_immediately=True)
    @recorded
    def packages(self, context: object) -> None:
        """Record changes of the installed packages since the last run."""
        now = host.packages()
        with self._database() as database:
            before = dict(database.execute('SELECT * FROM package'))
            changes = [
                (time.time(), name, before.get(name), now.get(name))
                for name in sorted(before | now)
                if before.get(name) != now.get(name)
            ]
            # In the first run every package is new: record no change.
            if before:
                database.executemany(
                    'INSERT INTO package_change VALUES (?, ?, ?, ?)', changes
                )
            database.execute('DELETE FROM package')
            database.executemany(
                'INSERT INTO package VALUES (?, ?)', now.items()
            )

    @periodic_task.periodic_task(spacing=600)
    @recorded
    def backup(self, context: object) -> None:
        """Record the time of the last backup; fail if there is none."""
        stamp = self.conf.host_audit.backup_stamp
        self._insert(
            'INSERT INTO backup VALUES (?, ?)', [os.stat(stamp).st_mtime]
        )

    @periodic_task.periodic_task(spacing=60, enabled=False)
    @recorded
    def open_files(self, context: object) -> None:
        """Record the number of open files; only root sees all of them."""
        self._insert(
            'INSERT INTO open_files VALUES (?, ?)', [host.open_files()]
        )

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open the database for one transaction.

        Each call opens a new connection: SQLite ties a connection to one
        thread, and a runner may run each task in another thread.
        """
        path = self.conf.host_audit.database
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            yield database

    def _insert(self, statement: str, *rows: Sequence[object]) -> None:
        """Insert rows, each with the current time as its first column."""
        now = time.time()
        with self._database() as database:
            database.executemany(statement, [(now, *row) for row in rows])

    def _describe_tasks(self) -> Iterator[tuple[object, ...]]:
        """Yield a row for each task of this class, in order."""
        for value in vars(type(self)).values():
            if getattr(value, '_periodic_task', False):
                name = value._periodic_name
                spacing = self._periodic_spacing.get(name, -1)
                yield self._service, name, spacing, spacing >= 0
