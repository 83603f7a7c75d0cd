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

"""The demo: the host audit, its report, and the checks of the Makefile."""

import contextlib
import importlib.metadata
import importlib.util
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import fixtures
import testscenarios

from examples import host
from examples import host_audit
from oslo_periodic import fixture
from tests import base

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / 'examples'

COMMAND = """
import sys
from oslo_periodic.cmd import main
sys.exit(main.main())
"""
REPORT = """
import sys
from examples import report
sys.exit(report.main())
"""


def run_report(*args):
    return base.run_python(REPORT, args=[str(arg) for arg in args], cwd=ROOT)


class _TestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.useFixture(fixtures.TempDir())
        self.folder = pathlib.Path(folder.path)
        self.database = self.folder / 'made' / 'audit.sqlite'

    def select(self, statement, *args):
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            return database.execute(statement, args).fetchall()


class TestDemo(testscenarios.WithScenarios, _TestCase):
    scenarios = [
        ('threading', {'chosen': 'threading'}),
        ('eventlet', {'chosen': 'eventlet'}),
    ]

    def setUp(self):
        super().setUp()
        own = self.folder / 'own.conf'
        spacing = ','.join(
            f'{name}:1'
            for name in 'load memory processes disks packages backup'.split()
        )
        own.write_text(
            f'[host_audit]\ndatabase = {self.database}\n'
            f'backup_stamp = {self.folder}/missing\nspacing = {spacing}\n'
        )
        files = [
            EXAMPLES / 'host_audit.conf',
            EXAMPLES / f'{self.chosen}.conf',
            own,
        ]
        args = ['run', 'examples.host_audit:HostAudit', '--for', '3.5']
        for file in files:
            args += ['--config-file', str(file)]
        self.done = base.run_python(COMMAND, args=args, cwd=ROOT)

    def test_records(self):
        self.assertEqual(0, self.done.returncode, self.done.stderr)
        self.check_runs()
        self.check_failures()
        self.check_grid()
        self.check_findings()
        self.check_report()

    def check_runs(self):
        self.assertEqual(
            [(self.chosen,)], self.select('SELECT backend FROM service')
        )
        runs = dict(
            self.select('SELECT task, count(*) FROM run GROUP BY task')
        )
        for name, enabled in self.select('SELECT name, enabled FROM task'):
            # Slow machines may miss some of the three or four runs.
            self.assertEqual(bool(enabled), runs.get(name, 0) >= 2, runs)
        self.assertEqual(
            [('open_files',)],
            self.select('SELECT name FROM task WHERE NOT enabled'),
        )

    def check_failures(self):
        failed = self.select(
            'SELECT task, error FROM run WHERE error IS NOT NULL'
        )
        self.assertEqual({'backup'}, {task for task, _ in failed})
        missing = str(self.folder / 'missing')
        for _, error in failed:
            self.assertRegex(error, f'^FileNotFoundError: .*{missing}')
        self.assertIn('Error during HostAudit.backup', self.done.stderr)
        runs = self.select('SELECT count(*) FROM run WHERE task = ?', 'backup')
        self.assertEqual([(len(failed),)], runs)

    def check_grid(self):
        """Each task is due at whole spacings after its first due time."""
        due = {}
        for task, started, lateness, duration in self.select(
            'SELECT task, started, lateness, duration FROM run ORDER BY rowid'
        ):
            self.assertTrue(0 <= lateness < 3, (task, lateness))
            self.assertGreaterEqual(duration, 0)
            due.setdefault(task, []).append(started - lateness)
        # A task that runs immediately has its grid from its first run on.
        for task in ('processes', 'disks', 'backup'):
            for time in due[task]:
                self.assertAlmostEqual(
                    round(time - due[task][0]), time - due[task][0], 1
                )

    def check_findings(self):
        memory = pathlib.Path('/proc/meminfo').read_text()
        root = os.statvfs('/')
        for table in ('load', 'memory', 'process', 'disk', 'package'):
            self.assertTrue(self.select(f'SELECT * FROM {table}'), table)
        for _, total, available in self.select('SELECT * FROM memory'):
            self.assertRegex(memory, f'MemTotal: +{total // 1024} kB')
            self.assertTrue(0 < available <= total)
        self.assertEqual(
            [(root.f_blocks * root.f_frsize,)],
            self.select(
                'SELECT DISTINCT total FROM disk WHERE mount = ?', '/'
            ),
        )
        self.assertEqual(
            [(importlib.metadata.version('oslo.config'),)],
            self.select(
                'SELECT version FROM package WHERE name = ?', 'oslo.config'
            ),
        )
        self.assertEqual([], self.select('SELECT * FROM package_change'))

    def check_report(self):
        good = run_report(
            self.database, '--backend', self.chosen, '--fails', 'backup'
        )
        self.assertEqual(0, good.returncode, good.stderr)
        self.assertIn(f'Backend {self.chosen}: ', good.stdout)
        self.assertIn('disabled, did not run', good.stdout)
        self.assertIn('FileNotFoundError', good.stdout)
        missing = str(self.folder / 'missing')
        for line in good.stdout.splitlines():
            self.assertLessEqual(len(line.replace(missing, '')), 100, line)
        bad = run_report(self.database, '--backend', 'gevent')
        self.assertEqual(1, bad.returncode)
        self.assertIn('the service did not run on gevent', bad.stderr)
        self.assertIn(f'backup on {self.chosen} failed', bad.stderr)


class TestSteps(_TestCase):
    """The first part of the demo, which takes half a minute."""

    def test_steps(self):
        done = base.run_python(
            'import sys\nfrom examples import demo\nsys.exit(demo.main())',
            cwd=ROOT,
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        self.assertEqual('', done.stderr)
        for text in (
            'one after the other, in a serial tick',
            'each in a worker, on threading',
            'each in a worker, on eventlet',
            'Unhealthy: Beats.backup is',
            'it has been running for',
            'Beats.backup changed: spacing 0.5 -> 60',
            'Beats.heartbeat is paused',
            'Beats.heartbeat is resumed',
            'The runner is stopping',
        ):
            self.assertIn(text, done.stdout)
        for line in done.stdout.splitlines():
            # The layout of log lines is oslo.log's, where it is installed.
            if 'Unhealthy' not in line and ' INFO ' not in line:
                self.assertLessEqual(len(line), 100, line)


class TestReport(_TestCase):
    def test_no_database(self):
        done = run_report(self.database)
        self.assertEqual(1, done.returncode)
        self.assertEqual(f'{self.database} does not exist\n', done.stderr)


class TestHostAudit(_TestCase):
    def setUp(self):
        super().setUp()
        self.clock = self.useFixture(fixture.ClockFixture())
        self.conf.register_opts(host_audit._OPTS, group='host_audit')
        self.conf.set_override('database', str(self.database), 'host_audit')
        self.conf.set_override('spacing', {'load': 4}, 'host_audit')
        self.audit = host_audit.HostAudit(self.conf)

    def lateness(self, task):
        return [
            late
            for (late,) in self.select(
                'SELECT lateness FROM run WHERE task = ? ORDER BY rowid', task
            )
        ]

    def tick(self, seconds):
        self.clock.advance(seconds)
        self.audit.run_periodic_tasks(None)

    def test_lateness(self):
        """It counts from the due time, even if boundaries were missed.

        A task that runs immediately is due at the first tick.
        """
        self.tick(0.5)  # At once, so the grid is 0.5, 4.5, 8.5, ...
        self.tick(4.25)  # 4.75
        self.tick(3.75)  # 8.5
        self.tick(9)  # 17.5, due at 12.5
        self.tick(3)  # 20.5, on the grid again
        self.assertEqual([0, 0.25, 0, 5, 0], self.lateness('load'))

    def test_delayed_by_another_task(self):
        self.useFixture(
            fixtures.MockPatchObject(
                host, 'disks', lambda: self.clock.advance(7) or ()
            )
        )
        self.audit._periodic_spacing['backup'] = 60
        self.tick(60)
        self.assertEqual([0], self.lateness('disks'))
        self.assertEqual([7], self.lateness('backup'))

    def test_outside_a_tick(self):
        self.audit.load(None)
        self.assertEqual([None], self.lateness('load'))

    def test_package_changes(self):
        self.useFixture(
            fixtures.MonkeyPatch('sys.path', [*sys.path, str(self.folder)])
        )
        self.audit.packages(None)
        for before, after in (('', '1.0'), ('1.0', '1.1'), ('1.1', '')):
            if before:
                shutil.rmtree(self.folder / f'thing-{before}.dist-info')
            if after:
                info = self.folder / f'thing-{after}.dist-info'
                info.mkdir()
                (info / 'METADATA').write_text(
                    f'Metadata-Version: 2.1\nName: thing\nVersion: {after}\n'
                )
            importlib.invalidate_caches()
            self.audit.packages(None)
        self.assertEqual(
            [('thing', None, '1.0'), ('thing', '1.0', '1.1')]
            + [('thing', '1.1', None)],
            self.select('SELECT name, before, after FROM package_change'),
        )

    def test_backup(self):
        stamp = self.folder / 'stamp'
        stamp.touch()
        self.conf.set_override('backup_stamp', str(stamp), 'host_audit')
        self.audit.backup(None)
        self.assertEqual(
            [(stamp.stat().st_mtime,)],
            self.select('SELECT finished FROM backup'),
        )


class TestMakefile(_TestCase):
    """The Makefile reports what is missing before it does anything."""

    def setUp(self):
        super().setUp()
        if shutil.which('make') is None:
            self.skipTest('there is no make here')

    def make(self, python, **env):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith('MAKE')
        }
        done = subprocess.run(
            ['make', 'python', f'PYTHON={python}'],
            cwd=ROOT,
            env={**environment, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=base.TIMEOUT,
        )
        return done.returncode, done.stderr

    def test_fine(self):
        if importlib.util.find_spec('ensurepip') is None:
            self.skipTest('this Python lacks ensurepip')
        self.assertEqual((0, ''), self.make(sys.executable))

    def test_no_python(self):
        code, error = self.make('python-of-nobody')
        self.assertEqual(2, code)
        self.assertIn('There is no python-of-nobody: install', error)

    def test_old_python(self):
        python = self.folder / 'python'
        python.write_text(
            '#!/bin/sh\n'
            '[ "$1" = --version ] && echo Python 3.10.13 || exit 1\n'
        )
        python.chmod(0o755)
        code, error = self.make(python)
        self.assertEqual(2, code)
        self.assertIn('is Python 3.10.13, which is too old', error)

    def test_no_ensurepip(self):
        (self.folder / 'ensurepip.py').write_text('raise ImportError')
        code, error = self.make(sys.executable, PYTHONPATH=str(self.folder))
        self.assertEqual(2, code)
        major, minor = sys.version_info[:2]
        self.assertIn(f'apt install python{major}.{minor}-venv', error)
