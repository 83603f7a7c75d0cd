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

"""What ``ctl`` shows and believes: hostile servers, many processes, times."""

import json
import os
import signal
import socket
import subprocess
import sys

import fixtures

from oslo_periodic.cmd import _client
from oslo_periodic.cmd import _text
from oslo_periodic.cmd import errors
from tests import base
from tests.functional import test_ctl

#: A sequence that clears the terminal, in what a task raises.
CLEARS = '\x1b[2J\x9b2J'
FAILS = f"""
    from oslo_periodic import periodic_task


    class Failing(periodic_task.PeriodicTasks):
        @periodic_task.periodic_task(spacing=60, run_immediately=True)
        def fail(self, context):
            print('fails', flush=True)
            raise ValueError({CLEARS!r} + '\\u202e right to left')
"""
#: Listens as another user, and says that all is well.
LISTENS = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print('listening', flush=True)
    while True:
        connection, _address = listener.accept()
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(
                    b'{"ok": true, "result": '
                    b'{"healthy": true, "problems": []}}\\n'
                )
            except OSError:
                pass
"""
NOBODY = 1234


class TestText(base.TestCase):
    def test_clean(self):
        for text, cleaned in (
            ('plain text: 1 %', 'plain text: 1 %'),
            ('\N{SNOWMAN} caf\xe9', '\N{SNOWMAN} caf\xe9'),
            ('\x1b[2J', '\\x1b[2J'),
            ('\x9b2J', '\\x9b2J'),
            ('a\nb\r\tc', 'a\\nb\\r\\tc'),
            ('\x7f\0', '\\x7f\\x00'),
            ('\u202e\u2066\u200b', '\\u202e\\u2066\\u200b'),
            ('\u2028', '\\u2028'),
            ('\ud800', '\\ud800'),
        ):
            self.assertEqual(cleaned, _text.clean(text))
            self.assertEqual(cleaned, str(errors.UserError(text)))

    def test_relative(self):
        now = '2026-11-25T12:00:00.000+00:00'
        for moment, text in (
            ('2026-11-25T12:00:00.250+00:00', 'in 0.2 s'),
            ('2026-11-25T11:59:18.500+00:00', '41.5 s ago'),
            ('2026-11-25T12:59:03.000+00:00', 'in 59 m 3 s'),
            ('2026-11-25T00:00:00.000+00:00', '12 h 0 m ago'),
            (
                '2026-11-28T11:30:00.000+00:00',
                'in 2 d 23 h (2026-11-28 11:30 UTC)',
            ),
            (
                '2026-11-24T23:30:00.000+00:00',
                '12 h 30 m ago (2026-11-24 23:30 UTC)',
            ),
        ):
            self.assertEqual(text, _text.relative(moment, now))
        self.assertEqual('', _text.relative(None, now))


class TestHostileServers(test_ctl.CtlTestCase):
    def test_escape_sequences(self):
        self.write('failing.py', FAILS)
        self.write_conf('', failing_after=1)
        command = self.start(
            'run', 'failing:Failing', '--config-file', self.conf_file
        )
        command.expect('fails')
        self.await_status('Failing.fail', failures=1)
        for arguments in (
            ('status',),
            ('status', '-f', 'value'),
            ('status', '-f', 'csv'),
        ):
            done = self.ctl(*arguments)
            self.assertNotIn('\x1b', done.stdout)
            self.assertNotIn('\u202e', done.stdout)
            self.assertIn('\\x1b[2J', done.stdout)
            self.assertNotIn('\x1b', done.stderr)
        # JSON keeps the text, in its own escapes.
        (task,) = json.loads(self.ctl('status', '-f', 'json').stdout)
        self.assertIn(CLEARS, task['last_error'])
        health = self.ctl('health', code=1)
        self.assertIn('\\x1b[2J', health.stdout)
        self.assertNotIn('\x1b', health.stdout)
        for name in ('pause', 'resume', 'run'):
            error = self.ctl(name, CLEARS, code=1).stderr
            self.assertNotIn('\x1b', error)
            self.assertIn('\\x1b[2J', error)
        self.end(command)

    def test_another_user_at_the_path(self):
        if os.geteuid() != 0:
            self.skipTest('only root can become another user')
        for directory in (self.directory, os.path.dirname(self.directory)):
            os.chmod(directory, 0o777)
        process = self.popen(LISTENS, self.socket, NOBODY)
        self.assertEqual(b'listening\n', process.stdout.readline())
        error = self.fail_ctl('health', '--socket', self.socket)
        self.assertIn(f'has uid {NOBODY}', error)
        self.assertIn('not trusted', error)
        # Another owner of the file does not help.
        os.chown(self.socket, 0, 0)
        error = self.fail_ctl('health', '--socket', self.socket)
        self.assertIn('the file belongs to uid 0', error)

    def test_the_user_of_the_service_in_its_directory(self):
        if os.geteuid() != 0 or not os.access('/run', os.W_OK):
            self.skipTest('only root can become another user')
        directory = self.useFixture(fixtures.TempDir('/run')).path
        os.chown(directory, NOBODY, NOBODY)
        path = os.path.join(directory, 'control')
        process = self.popen(LISTENS, path, NOBODY)
        self.assertEqual(b'listening\n', process.stdout.readline())
        self.succeed('ctl', 'health', '--socket', path)

    def popen(self, code, *arguments):
        process = subprocess.Popen(
            [sys.executable, '-c', code, *map(str, arguments)],
            stdout=subprocess.PIPE,
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, base.TIMEOUT)
        self.addCleanup(process.kill)
        return process

    def test_a_timeout_that_is_no_time(self):
        for text in ('nan', 'inf', '-1', 'soon', '1e300'):
            command = self.start(
                'ctl', 'health', '--socket', self.socket, '--timeout', text
            )
            self.assertEqual(2, command.wait(), command.stderr)
            self.assertIn(text, command.stderr.splitlines()[-1])
            self.assertNotIn('Traceback', command.stderr)


class TestWrongAnswers(test_ctl.CtlTestCase):
    """Answers of the control protocol that lack fields."""

    TASK = {
        'task': 'A.b',
        'spacing': 1,
        'activity': 'idle',
        'running_since': None,
        'due': '2026-11-25T12:00:00+00:00',
        'runs': 1,
        'failures': 0,
        'failures_in_a_row': 0,
        'skipped': {},
        'last_start': None,
        'last_duration': None,
        'lateness': None,
        'last_outcome': None,
        'last_error': None,
    }
    STATUS = {
        'pid': 1,
        'time': '2026-11-25T12:00:00+00:00',
        'problems': [],
        'tasks': [TASK],
    }

    def answer(self, result):
        self.result = result

        def serve(connection):
            connection.recv(65536)
            data = json.dumps({'ok': True, 'result': self.result})
            connection.sendall(data.encode() + b'\n')

        self.listen(serve)

    def test_health(self):
        self.answer(None)
        for result in (
            {},
            {'healthy': True},
            {'problems': []},
            {'healthy': True, 'problems': 7},
            [],
        ):
            self.result = result
            error = self.fail_ctl('health', '--socket', self.socket)
            self.assertIn('does not use the control protocol', error, result)

    def test_status(self):
        wrong = [
            {name: value for name, value in self.STATUS.items() if name != n}
            for n in self.STATUS
        ]
        wrong += [
            {**self.STATUS, 'tasks': 7},
            {**self.STATUS, 'tasks': [7]},
            {**self.STATUS, 'tasks': [{**self.TASK, 'due': 'soon'}]},
            {**self.STATUS, 'tasks': [{**self.TASK, 'spacing': 'x'}]},
            {**self.STATUS, 'tasks': [{**self.TASK, 'skipped': 7}]},
        ]
        self.answer(self.STATUS)
        self.succeed('ctl', 'status', '--socket', self.socket)
        for result in wrong:
            self.result = result
            error = self.fail_ctl('status', '--socket', self.socket)
            self.assertIn('does not use the control protocol', error, result)


class TestProcesses(test_ctl.CtlTestCase):
    """A service of several processes, each with a socket of its own."""

    def setUp(self):
        super().setUp()
        self.pattern = os.path.join(self.directory, 'service-{pid}.socket')
        self.write_conf('', control_socket=self.pattern)

    def start_two(self):
        services = [self.run_service('Two') for _time in range(2)]
        for service in services:
            service.expect('rare')
        return services, sorted(s.pid for s in services)

    def test_all_processes(self):
        services, pids = self.start_two()
        # A killed process has left its socket, and others have theirs.
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(os.path.join(self.directory, 'service-1.socket'))
        self.write('service-x.socket', '')
        health = self.ctl('health')
        self.assertEqual('Periodic tasks are healthy\n', health.stdout)
        self.assertEqual('', health.stderr)
        tasks = json.loads(self.ctl('status', '-f', 'json', 'rare').stdout)
        self.assertEqual(pids, [task['pid'] for task in tasks])
        table = self.ctl('status').stdout
        self.assertIn('| PID', ' '.join(table.replace('|  ', '| ').split()))
        for pid in pids:
            self.assertEqual(3, table.count(f' {pid} '), table)
        paused = self.ctl('pause', 'often').stdout
        self.assertEqual(
            ''.join(f'pid {pid}: Two.often is paused\n' for pid in pids),
            paused,
        )
        # Several sockets may be named.
        paths = [self.pattern.replace('{pid}', str(pid)) for pid in pids]
        sockets = [f for path in paths for f in ('--socket', path)]
        out = self.succeed('ctl', 'resume', *sockets, 'often')
        self.assertIn(f'{paths[0]}: Two.often is resumed\n', out)
        out = self.succeed('ctl', 'run', '--socket', self.pattern, 'rare')
        self.assertEqual(2, out.count('Two.rare will run'))
        stopped = self.ctl('stop').stdout
        self.assertEqual(2, stopped.count('The runner is stopping'))
        for service in services:
            self.assertEqual(0, service.wait(), service.stderr)

    def test_one_that_fails(self):
        services, pids = self.start_two()
        services[0].send(signal.SIGSTOP)
        blocked = services[0].pid
        try:
            for name in ('health', 'status', 'stop'):
                done = self.ctl(name, '--timeout', '0.5', code=1)
                self.assertIn(f'pid {blocked}: No answer', done.stderr)
            self.assertNotIn('are healthy', done.stdout)
        finally:
            services[0].send(signal.SIGCONT)
        self.assertEqual(0, services[1].wait(), services[1].stderr)

    def test_none(self):
        for name in ('health', 'status', 'stop'):
            error = self.ctl(name, code=1).stderr
            self.assertIn('No process listens on', error)
            self.assertIn(self.pattern, error)


class TestResume(test_ctl.CtlTestCase):
    def test_what_is_not_paused(self):
        command = self.run_service('Two')
        command.expect('rare')
        out = self.ctl('resume', 'often').stdout
        self.assertEqual('often is not paused\n', out)
        self.ctl('pause', 'often')
        out = self.ctl('resume', 'often').stdout
        self.assertEqual('Two.often is resumed\n', out)
        # The case of letters is no other name.
        error = self.ctl('pause', 'TWO.RARE', code=1).stderr
        self.assertIn('did you mean Two.rare?', error)
        self.ctl('stop')
        self.assertEqual(0, command.wait())
        for text in (
            'Periodic task Two.often is paused by uid ',
            'Periodic task Two.often is resumed by uid ',
            'Stop of the periodic task runner requested by uid ',
        ):
            self.assertIn(text, command.stderr)


class TestTrust(base.TestCase):
    def test_no_listener(self):
        self.assertRaises(
            _client.NotListening, _client.call, '/no', 'health', expect=dict
        )
