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

It looks at the load, the memory, the processes, the disks and the installed
packages, and writes what it finds into an SQLite database, together with a
record of its own runs. Nothing in it depends on the backend::

    oslo-periodic run examples.host_audit:HostAudit \\
        --config-file examples/host_audit.conf \\
        --config-file examples/threading.conf
"""

# A decorator whose type is Any counts as untyped.

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import os
import pathlib
import platform
import sqlite3
import time
from typing import Any

from oslo_config import cfg
from oslo_config import types

from examples import host
from oslo_periodic import backends
from oslo_periodic import periodic_task

_OPTS = [
    cfg.StrOpt(
        'database',
        default='host_audit.sqlite',
        help='The SQLite file that takes the findings.',
    ),
    cfg.StrOpt(
        'backup_stamp',
        default='/var/lib/host-backup/last-success',
        help='The file that a backup tool touches when it has succeeded.',
    ),
    cfg.Opt(
        'spacing',
        type=types.Dict(types.Float()),
        default={},
        help='Seconds from one run of a task to the next, by task.',
    ),
]

# Times are seconds since the epoch, lengths of time seconds, sizes bytes.
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
    """Record each run of a task, and how it ended."""

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
    """Audits this host, a piece at a time."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Prepare the database.

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
        """Write down a run that has ended.

        :param task: the task's name.
        :param at: when it started, in seconds since the epoch.
        :param started: the same on the clock of the ticks.
        :param error: what it failed with, or None.
        """
        ended = periodic_task.now()
        # None, if the task was called by somebody else.
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
        """Note the load averages."""
        self._insert('INSERT INTO load VALUES (?, ?, ?, ?)', host.load())

    @periodic_task.periodic_task(spacing=10, run_immediately=True)
    @recorded
    def memory(self, context: object) -> None:
        """Note how much memory there is, and how much is available."""
        self._insert('INSERT INTO memory VALUES (?, ?, ?)', host.memory())

    @periodic_task.periodic_task(spacing=30)
    @recorded
    def processes(self, context: object) -> None:
        """Count the processes, and note the largest."""
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
        """Note how full the file systems of this host are."""
        self._insert('INSERT INTO disk VALUES (?, ?, ?, ?, ?)', *host.disks())

    @periodic_task.periodic_task(spacing=300, run_immediately=True)
    @recorded
    def packages(self, context: object) -> None:
        """Compare the installed packages with those of the last run."""
        now = host.packages()
        with self._database() as database:
            before = dict(database.execute('SELECT * FROM package'))
            changes = [
                (time.time(), name, before.get(name), now.get(name))
                for name in sorted(before | now)
                if before.get(name) != now.get(name)
            ]
            # At first everything is new, which is no news.
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
        """Note when the last backup finished; no backup is an error."""
        stamp = self.conf.host_audit.backup_stamp
        self._insert(
            'INSERT INTO backup VALUES (?, ?)', [os.stat(stamp).st_mtime]
        )

    @periodic_task.periodic_task(spacing=60, enabled=False)
    @recorded
    def open_files(self, context: object) -> None:
        """Count the open files; disabled, as only root sees all of them."""
        self._insert(
            'INSERT INTO open_files VALUES (?, ?)', [host.open_files()]
        )

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open the database for one transaction.

        A connection stays in the thread that made it, which tasks need not.
        """
        path = self.conf.host_audit.database
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            yield database

    def _insert(self, statement: str, *rows: Any) -> None:
        """Insert rows of findings, and before each the time."""
        now = time.time()
        with self._database() as database:
            database.executemany(statement, [(now, *row) for row in rows])

    def _describe_tasks(self) -> Iterator[tuple[Any, ...]]:
        """Describe every task of this class, in order."""
        for value in vars(type(self)).values():
            if getattr(value, '_periodic_task', False):
                name = value._periodic_name
                spacing = self._periodic_spacing.get(name, -1)
                yield self._service, name, spacing, spacing >= 0
