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

"""The command ``oslo-periodic ctl``, and the signals of ``run``.

Each test runs a service in a separate process, with configuration files in
its own directory, and uses only what an operator has: commands, signals,
configuration files and log lines.
"""

import json
import os
import signal
import socket
import threading
import time

import testscenarios

from tests import base
from tests.helpers import commands

CONTROL_SOCKET = 'OS_OSLO_PERIODIC__CONTROL_SOCKET'
#: Seconds in which a process ends if it does not wait for running tasks,
#: including the 3 seconds that tasks have to react to being ended.
ENDS_WITHIN = 8
#: A graceful_stop_timeout that is longer than ENDS_WITHIN.
PATIENT = 12

SERVICES = """
    import os
    import threading
    import time

    from oslo_periodic import backends
    from oslo_periodic import periodic_task


    class Base(periodic_task.PeriodicTasks):
        def say(self, *words):
            # One write, because tasks may print at the same time.
            os.write(1, (' '.join(words) + '\\n').encode())

        def hold(self, name):
            '''Work until a file exists.'''
            self.say(name, 'started')
            end = time.monotonic() + 60
            while not os.path.exists(name) and time.monotonic() < end:
                backends.get_backend().sleep(0.01)
            self.say(name, 'ended')


    class Two(Base):
        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def rare(self, context):
            self.say('rare')

        @periodic_task.periodic_task(spacing=0.05, run_immediately=True)
        def often(self, context):
            self.say('often')

        @periodic_task.periodic_task(spacing=3600, enabled=False)
        def off(self, context):
            self.say('off')


    class Hanging(Base):
        @periodic_task.periodic_task(spacing=0.1, run_immediately=True)
        def hang(self, context):
            self.hold('hang')


    class Held(Base):
        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def first(self, context):
            self.hold('first')

        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def second(self, context):
            self.hold('second')


    class Stuck(Base):
        '''Hangs until the process ends.'''

        @periodic_task.periodic_task(spacing=3600, run_immediately=True)
        def wait_for_ever(self, context):
            self.say('stuck')
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
"""


class CtlTestCase(commands.CommandTestCase):
    #: The backend of the services.
    name = 'threading'

    def setUp(self):
        super().setUp()
        self.write('operated.py', SERVICES)
        self.socket = os.path.join(self.directory, 'control')
        self.conf_file = self.write_conf('')

    def write_conf(self, text, workers=8, **options):
        """Replace the configuration file of the service."""
        options = {
            'control_socket': self.socket,
            'workers': workers,
            **options,
        }
        lines = [f'{name} = {value}' for name, value in options.items()]
        group = '\n'.join(['[oslo_periodic]', *lines])
        return self.write('service.conf', f'{group}\n{text}\n')

    def start_with(self, variables, *arguments):
        """Start the command with environment variables."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(('OS_', 'OSLO_PERIODIC_'))
        }
        environment.update(variables)
        command = commands.Command(arguments, self.directory, environment)
        self.addCleanup(command.close)
        return command

    def run_service(self, service, *options):
        """Run a service; the options go before the name of the command."""
        return self.start(
            *options,
            'run',
            f'operated:{service}',
            '--config-file',
            self.conf_file,
            '--backend',
            self.name,
        )

    def ctl(self, name, *arguments, code=0):
        """Run a command of ctl to its end."""
        command = self.start(
            'ctl', name, '--config-file', self.conf_file, *arguments
        )
        self.assertEqual(
            code, command.wait(), f'{command.stdout} {command.stderr}'
        )
        return command

    def fail_ctl(self, *arguments):
        """Run a command of ctl that fails, and return its error line."""
        command = self.start('ctl', *arguments)
        self.assertEqual(1, command.wait(), command.stderr)
        self.assertEqual('', command.stdout)
        self.assertEqual(1, command.stderr.count('\n'), command.stderr)
        self.assertNotIn('Traceback', command.stderr)
        return command.stderr

    def tasks(self):
        """Return the status of each task, by full name."""
        tasks = json.loads(self.ctl('status', '-f', 'json').stdout)
        return {task['task']: task for task in tasks}

    def await_status(self, task, **values):
        deadline = time.monotonic() + base.TIMEOUT
        while True:
            found = self.tasks()[task]
            if all(found[name] == values[name] for name in values):
                return found
            self.assertLess(time.monotonic(), deadline, found)

    def end(self, command):
        """Stop a service and check its exit code."""
        command.send(signal.SIGTERM)
        self.assertEqual(0, command.wait(), command.stderr)

    def await_stopping(self, task):
        """Wait until the runner starts no more runs."""
        deadline = time.monotonic() + base.TIMEOUT
        while True:
            run = self.start('ctl', 'run', '--socket', self.socket, task)
            self.assertEqual(1, run.wait(), run.stdout)
            if 'the runner is not running' in run.stderr:
                return
            self.assertLess(time.monotonic(), deadline, run.stderr)

    def reload(self, command, times=1):
        command.send(signal.SIGHUP)
        command.expect_error('The configuration was reloaded', times)

    def listen(self, serve):
        """Listen on the socket in place of a service.

        :param serve: called with each connection, in a thread.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.socket)
        listener.listen()
        over = threading.Event()

        def accept():
            while True:
                connection, _address = listener.accept()
                with connection:
                    if over.is_set():
                        return
                    try:
                        serve(connection)
                    except OSError:
                        pass  # The client has gone.

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()

        def end():
            over.set()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
                last.connect(self.socket)
                thread.join(base.TIMEOUT)
            listener.close()

        self.addCleanup(end)


class TestCtl(testscenarios.WithScenarios, CtlTestCase):
    """An operator's session, on each backend."""

    scenarios = [
        (name, {'name': name}) for name in ('threading', 'eventlet', 'gevent')
    ]

    def test_a_session(self):
        command = self.run_service('Two')
        command.expect('rare')
        self.assertEqual(
            'Periodic tasks are healthy\n', self.ctl('health').stdout
        )
        rare = self.tasks()['Two.rare']
        self.assertEqual(1, rare['runs'])
        self.assertEqual('idle', rare['activity'])
        paused = self.ctl('pause', 'often')
        self.assertEqual('Two.often is paused\n', paused.stdout)
        often = self.await_status('Two.often', activity='paused')
        self.assertIsNone(often['due'])
        self.assertEqual(often['runs'], self.tasks()['Two.often']['runs'])
        asked = self.ctl('run', 'Two.rare')
        self.assertIn('Two.rare will run', asked.stdout)
        command.expect('rare')
        resumed = self.ctl('resume', 'Two.often')
        self.assertEqual('Two.often is resumed\n', resumed.stdout)
        command.expect('often')
        stopped = self.ctl('stop')
        self.assertEqual('The runner is stopping\n', stopped.stdout)
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertFalse(os.path.exists(self.socket))

    def test_health(self):
        self.write_conf('', overdue_factor=5)
        command = self.run_service('Hanging')
        command.expect('hang started')
        deadline = time.monotonic() + base.TIMEOUT
        while True:
            health = self.start('ctl', 'health', '--socket', self.socket)
            if health.wait():
                break
            self.assertLess(time.monotonic(), deadline, health.stdout)
        self.assertEqual('', health.stderr)
        self.assertRegex(
            health.stdout,
            r'^Unhealthy: Hanging.hang is \d+\.\d seconds late: it has been '
            r'running for \d+\.\d seconds, at hold \(.*operated.py:\d+\).*\n$',
        )
        # ctl status shows the problem, too, with exit code 0.
        self.assertIn('Unhealthy: Hanging.hang', self.ctl('status').stderr)
        self.write('hang', '')
        command.expect('hang ended')
        deadline = time.monotonic() + base.TIMEOUT
        while self.start('ctl', 'health', '--socket', self.socket).wait():
            self.assertLess(time.monotonic(), deadline)
        self.end(command)

    def test_stop_waits_for_what_runs(self):
        command = self.run_service('Held')
        command.expect('second started')
        self.ctl('pause', 'first')
        self.ctl('stop')
        self.assertEqual('running', self.tasks()['Held.first']['activity'])
        status = self.ctl('status', 'first')
        self.assertIn('| running, paused |', status.stdout)
        self.assertEqual(
            'The runner is stopping: no more tasks start\n', status.stderr
        )
        self.ctl('health')
        self.write('first', '')
        self.write('second', '')
        self.assertEqual(0, command.wait(), command.stderr)
        for task in ('first', 'second'):
            self.assertIn(f'{task} ended\n', command.stdout)


class TestStatus(CtlTestCase):
    def test_formats(self):
        command = self.run_service('Two')
        command.expect('rare')
        self.ctl('pause', 'often')
        tasks = json.loads(self.ctl('status', '-f', 'json').stdout)
        self.assertEqual(
            ['Two.rare', 'Two.often', 'Two.off'],
            [task['task'] for task in tasks],
        )
        rare, _often, off = tasks
        self.assertEqual(3600, rare['spacing'])
        self.assertEqual('success', rare['last_outcome'])
        self.assertEqual('it is not due', rare['reason'])
        self.assertGreaterEqual(rare['last_duration'], 0)
        self.assertLess(rare['last_start'], rare['due'])
        self.assertEqual(1, len(rare['last_runs']))
        self.assertEqual('disabled', off['activity'])
        self.assertEqual(0, off['runs'])
        table = self.ctl('status').stdout
        rows = [
            [cell.strip() for cell in line.strip('|').split('|')]
            for line in table.splitlines()
            if line.startswith('|')
        ]
        self.assertEqual(
            ['Task', 'Spacing', 'Activity', 'Due or since', 'Runs'],
            rows[0][:5],
        )
        self.assertEqual(['Two.rare', '3600', 'idle'], rows[1][:3])
        # The date follows if midnight is within the hour.
        self.assertRegex(rows[1][3], r'^in (59 m \d+ s|1 h 0 m)')
        self.assertRegex(rows[1][7], r'^\d+\.\d s ago')
        self.assertEqual(['Two.often', '0.05', 'paused', ''], rows[2][:4])
        self.assertEqual(['Two.off', '3600', 'disabled'], rows[3][:3])
        out = self.ctl('status', '-f', 'value', '-c', 'Task', 'rare').stdout
        self.assertEqual('Two.rare\n', out)
        self.end(command)

    def test_one_task(self):
        command = self.run_service('Two')
        command.expect('rare')
        for task in ('rare', 'Two.rare'):
            out = self.ctl('status', '-f', 'json', task).stdout
            (found,) = json.loads(out)
            self.assertEqual('Two.rare', found['task'])
        file = ('--config-file', self.conf_file)
        error = self.fail_ctl('status', *file, 'rar')
        self.assertIn('no periodic task rar', error)
        self.end(command)

    def test_mistakes_about_tasks(self):
        command = self.run_service('Two')
        command.expect('rare')
        file = ('--config-file', self.conf_file)
        for name in ('pause', 'resume', 'run'):
            error = self.fail_ctl(name, *file, 'Two.oftn')
            self.assertIn('did you mean Two.often?', error)
            error = self.fail_ctl(name, *file, 'off')
            self.assertIn('[periodic_task:Two.off]', error)
        self.end(command)

    def test_a_failing_task(self):
        self.write(
            'failing.py',
            """
            from oslo_periodic import periodic_task


            class Failing(periodic_task.PeriodicTasks):
                @periodic_task.periodic_task(spacing=60, run_immediately=True)
                def fail(self, context):
                    print('fails', flush=True)
                    raise ValueError('on | purpose')
            """,
        )
        file = ('--config-file', self.conf_file)
        command = self.start('run', 'failing:Failing', *file)
        command.expect_error('ValueError: on | purpose')
        self.await_status('Failing.fail', failures=1, runs=1)
        out = self.ctl('status').stdout
        self.assertIn('1 (1 in a row)', out)
        self.assertIn('failure: ValueError: on | purpose', out)
        self.end(command)


class TestWhichSocket(CtlTestCase):
    """Where the path of the control socket comes from."""

    def test_option_and_file(self):
        command = self.run_service('Two')
        command.expect('rare')
        earlier = self.write(
            'earlier.conf', '[oslo_periodic]\ncontrol_socket = /nothing\n'
        )
        for arguments in (
            ('--socket', self.socket),
            ('--config-file', self.conf_file),
            ('--config-file', earlier, '--config-file', self.conf_file),
        ):
            self.succeed('ctl', 'health', *arguments)
        self.end(command)

    def test_the_environment(self):
        variables = {CONTROL_SOCKET: self.socket}
        command = self.start_with(variables, 'run', 'operated:Two')
        command.expect('rare')
        health = self.start_with(variables, 'ctl', 'health')
        self.assertEqual(0, health.wait(), health.stderr)
        # It takes precedence over the files, as it does for the service.
        conf = self.write(
            'other.conf', '[oslo_periodic]\ncontrol_socket = /nothing\n'
        )
        health = self.start_with(
            variables, 'ctl', 'health', '--config-file', conf
        )
        self.assertEqual(0, health.wait(), health.stderr)
        self.end(command)

    def test_option_and_file_together(self):
        command = self.start(
            'ctl',
            'health',
            '--socket',
            self.socket,
            '--config-file',
            self.conf_file,
        )
        self.assertEqual(2, command.wait())
        self.assertIn('not allowed with', command.stderr)

    def test_none_is_configured(self):
        empty = self.write('empty.conf', '[DEFAULT]\n')
        for name in ('health', 'status', 'stop'):
            self.assertIn('control_socket is not set', self.fail_ctl(name))
        error = self.fail_ctl('health', '--config-file', empty)
        self.assertIn(empty, error)
        self.assertIn('--socket', error)

    def test_no_such_file(self):
        error = self.fail_ctl('health', '--config-file', 'nothing.conf')
        self.assertIn('nothing.conf', error)

    def test_one_for_each_process(self):
        pattern = os.path.join(self.directory, '{pid}.socket')
        self.write_conf('', control_socket=pattern)
        command = self.run_service('Two')
        command.expect('rare')
        self.ctl('health')
        (name,) = [
            name
            for name in os.listdir(self.directory)
            if name.endswith('.socket')
        ]
        self.succeed('ctl', 'health', '--socket', f'{self.directory}/{name}')
        self.end(command)


class TestNoService(CtlTestCase):
    """Each error is one line, and the exit code is 1."""

    def check(self, *expected):
        file = ('--config-file', self.conf_file)
        for arguments in (('health',), ('status',), ('run', 'rare')):
            line = self.fail_ctl(arguments[0], *file, *arguments[1:])
            for text in (self.socket, *expected):
                self.assertIn(text, line)

    def test_no_socket(self):
        self.check('No such file', 'Check that the service is running')

    def test_a_stale_socket(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(self.socket)
        self.check('Connection refused', 'Check that the service is running')

    def test_a_regular_file(self):
        self.write('control', '')
        self.check('Connection refused')

    def test_something_else_listens(self):
        answers = [
            b'220 mail.example.org ESMTP\r\n',
            b'HTTP/1.1 400 Bad Request\r\n\r\n',
            b'\xff\xfe\0\n',
            b'[]\n',
            b'{}\n',
            b'null\n',
            b'half of {"ok":',
            b'{"ok": true}\n',
        ]

        def serve(connection):
            connection.recv(65536)
            connection.sendall(answer)

        self.listen(serve)
        file = ('--config-file', self.conf_file)
        for answer in answers:
            line = self.fail_ctl('health', *file)
            self.assertIn(self.socket, line, answer)
            self.assertIn('does not use the control protocol', line, answer)

    def test_something_that_hangs_up(self):
        self.listen(lambda connection: connection.recv(65536))
        self.check('closed the connection without an answer')

    def test_something_that_does_not_answer(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(self.socket)
            listener.listen()
            start = time.monotonic()
            line = self.fail_ctl(
                'health', '--socket', self.socket, '--timeout', '0.2'
            )
            self.assertLess(time.monotonic() - start, ENDS_WITHIN)
        self.assertIn(f'No answer from {self.socket} within 0.2 sec', line)

    def test_something_that_answers_a_byte_at_a_time(self):
        over = threading.Event()
        self.addCleanup(over.set)

        def serve(connection):
            for _time in range(100):
                connection.sendall(b' ')
                if over.wait(0.05):
                    return

        self.listen(serve)
        start = time.monotonic()
        line = self.fail_ctl(
            'health', '--socket', self.socket, '--timeout', '0.3'
        )
        self.assertLess(time.monotonic() - start, 4)
        self.assertIn(f'No answer from {self.socket} within 0.3 sec', line)

    def test_a_path_that_is_too_long(self):
        error = self.fail_ctl('health', '--socket', '/' + 'x' * 200)
        self.assertIn('too long', error)

    def test_a_service_that_was_killed(self):
        command = self.run_service('Two')
        command.expect('rare')
        command.send(signal.SIGKILL)
        self.assertEqual(-signal.SIGKILL, command.wait())
        self.check('Connection refused')
        # A new process replaces the stale socket.
        command = self.run_service('Two')
        command.expect('rare')
        self.ctl('health')
        self.end(command)

    def test_a_socket_that_is_taken(self):
        command = self.run_service('Two')
        command.expect('rare')
        second = self.run_service('Two')
        self.assertEqual(1, second.wait(), second.stderr)
        self.assertEqual('', second.stdout)
        self.assertNotIn('Traceback', second.stderr)
        self.assertIn(
            'another process listens on it', second.stderr.splitlines()[-1]
        )
        self.ctl('health')
        self.end(command)


class TestReload(testscenarios.WithScenarios, CtlTestCase):
    """SIGHUP changes the tasks, on each backend."""

    scenarios = [
        (name, {'name': name}) for name in ('threading', 'eventlet', 'gevent')
    ]

    def test_spacing_and_enabled(self):
        command = self.run_service('Two')
        command.expect('rare')
        self.write_conf(
            """
[periodic_task:Two.rare]
spacing = 0.05
[periodic_task:Two.often]
enabled = false
[periodic_task:Two.off]
enabled = true
spacing = 0.05
"""
        )
        self.reload(command)
        for text in (
            'Periodic task Two.rare changed: spacing 3600 -> 0.05',
            'Periodic task Two.often changed: enabled True -> False',
            'Periodic task Two.off is now enabled',
        ):
            self.assertIn(text, command.stderr)
        for _time in range(3):
            command.expect('rare')
        command.expect('off')
        often = self.await_status('Two.often', activity='disabled')
        self.assertEqual('it is disabled', often['reason'])
        command.expect('rare')
        command.expect('rare')
        self.assertEqual(often['runs'], self.tasks()['Two.often']['runs'])
        # Back to the decorator, by removing the groups.
        self.write_conf('')
        self.reload(command, 2)
        self.assertIn('spacing 0.05 -> 3600', command.stderr)
        self.assertIn('enabled False -> True', command.stderr)
        self.await_status('Two.off', activity='disabled')
        self.assertEqual(3600, self.tasks()['Two.rare']['spacing'])
        command.expect('often')
        self.end(command)

    def test_workers(self):
        self.write_conf('', workers=1)
        command = self.run_service('Held')
        command.expect('first started')
        second = self.await_status('Held.second', activity='waiting')
        self.assertIn('busy with Held.first', second['reason'])
        self.write_conf('', workers=2)
        self.reload(command)
        self.assertIn(
            'Workers for periodic tasks changed: 1 -> 2', command.stderr
        )
        command.expect('second started')
        self.write('first', '')
        self.write('second', '')
        command.expect('ended')
        self.end(command)

    def test_fewer_workers(self):
        self.write_conf('', workers=2)
        command = self.run_service('Held')
        command.expect('second started')
        self.write_conf('', workers=1)
        self.reload(command)
        self.assertIn('changed: 2 -> 1', command.stderr)
        self.write('second', '')
        command.expect('second ended')
        # The only worker left is busy.
        self.ctl('run', 'second')
        second = self.await_status('Held.second', activity='waiting')
        self.assertIn('busy with Held.first', second['reason'])
        self.write('first', '')
        command.expect('first ended')
        command.expect('second ended')
        self.end(command)

    def test_timeout(self):
        command = self.run_service('Held')
        command.expect('second started')
        self.write_conf('[periodic_task:Held.second]\ntimeout = 0.1\n')
        self.reload(command)
        self.assertIn(
            'Held.second changed: timeout 0.0 -> 0.1', command.stderr
        )
        # The timeout applies to runs that start after the reload.
        self.write('second', '')
        command.expect('second ended')
        os.unlink(os.path.join(self.directory, 'second'))
        self.ctl('run', 'second')
        command.expect('second started')
        command.expect_error(
            'Held.second has exceeded its timeout of 0.1 seconds'
        )
        command.expect_error('in hold\n')
        self.assertNotIn('Held.first has exceeded', command.stderr)
        self.write('first', '')
        self.write('second', '')
        second = self.await_status('Held.second', runs=2)
        self.assertEqual('timeout', second['last_outcome'])
        self.end(command)


class TestWrongFiles(CtlTestCase):
    """Invalid configuration files, at the start and at SIGHUP."""

    def reload_fails(self, command, times=1):
        command.send(signal.SIGHUP)
        command.expect_error('The configuration could not be reloaded', times)

    def test_broken_file(self):
        self.write_conf('[periodic_task:Two.rare]\nspacing = 1800\n')
        command = self.run_service('Two', '--log-file', 'log')
        command.expect('rare')
        self.write('service.conf', '[periodic_task:Two.rare\nspacing = 1\n')
        self.reload_fails(command)
        self.assertIn('service.conf', command.stderr)
        command.expect('often')
        # The client reads the broken file, too.
        out = self.succeed(
            'ctl', 'status', '-f', 'json', '--socket', self.socket
        )
        self.assertEqual(1800, json.loads(out)[0]['spacing'])
        os.unlink(self.conf_file)
        self.reload_fails(command, 2)
        command.expect('often')
        self.write_conf('[periodic_task:Two.rare]\nspacing = 0.05\n')
        self.reload(command)
        self.assertIn('spacing 1800.0 -> 0.05', command.stderr)
        command.expect('rare')
        with open(os.path.join(self.directory, 'log')) as f:
            log = f.read()
        self.assertRegex(log, r'ERROR .* configuration could not be reloaded')
        self.end(command)

    def test_wrong_value_in_one_group(self):
        command = self.run_service('Two', '--log-file', 'log')
        command.expect('rare')
        for times, value in enumerate(
            ('spacing = soon', 'spacing = nan', 'timeout = -1', 'spread = 7')
        ):
            self.write_conf(
                f"""
[periodic_task:Two.often]
{value}
enabled = false
[periodic_task:Two.rare]
spacing = {1000 + times}
"""
            )
            self.reload(command, times + 1)
            tasks = self.tasks()
            self.assertEqual(0.05, tasks['Two.often']['spacing'], value)
            self.assertNotEqual('disabled', tasks['Two.often']['activity'])
            self.assertEqual(1000 + times, tasks['Two.rare']['spacing'])
            command.expect('often')
        with open(os.path.join(self.directory, 'log')) as f:
            log = f.read()
        unchanged = 'The settings of periodic task Two.often are unchanged'
        self.assertEqual(4, log.count(unchanged), log)
        self.assertRegex(log, f'ERROR .* {unchanged}')
        self.write_conf('[periodic_task:Two.often]\nspacing = 7200\n')
        self.reload(command, 5)
        self.assertIn(
            'Two.often changed: spacing 0.05 -> 7200', command.stderr
        )
        self.end(command)

    def test_wrong_value_of_the_runner(self):
        command = self.run_service('Two')
        command.expect('rare')
        for times, value in enumerate(('many', '0', '-3')):
            self.write_conf('', workers=value)
            self.reload(command, times + 1)
            command.expect_error(
                'keeps using [oslo_periodic] workers = 8', times + 1
            )
            command.expect('often')
            self.succeed('ctl', 'health', '--socket', self.socket)
        self.assertNotIn('Workers for', command.stderr)
        self.write_conf('', workers=3)
        self.reload(command, 4)
        self.assertIn('changed: 8 -> 3', command.stderr)
        self.end(command)

    def test_wrong_default(self):
        command = self.run_service('Two')
        command.expect('rare')
        self.write_conf('', default_overlap='perhaps')
        self.reload(command)
        command.expect_error(
            'keeps using [oslo_periodic] default_overlap = skip'
        )
        command.expect('often')
        self.write_conf('', default_overlap='queue')
        self.reload(command, 2)
        self.assertIn(
            'Two.often changed: overlap skip -> queue', command.stderr
        )
        self.assertEqual('queue', self.tasks()['Two.rare']['overlap'])
        self.end(command)

    def test_typo_at_a_reload(self):
        command = self.run_service('Two')
        command.expect('rare')
        self.write_conf('[periodic_task:Two.oftn]\nspacing = 1\n')
        self.reload(command)
        self.assertIn('mean [periodic_task:Two.often]?', command.stderr)
        self.end(command)

    def test_wrong_value_at_the_start(self):
        self.write_conf('[periodic_task:Two.often]\nspacing = soon\n')
        command = self.run_service('Two')
        self.assertEqual(1, command.wait())
        self.assertEqual('', command.stdout)
        self.assertNotIn('Traceback', command.stderr)
        line = command.stderr.splitlines()[-1]
        self.assertIn('[periodic_task:Two.often]', line)
        self.assertIn('soon', line)

    def test_typos_at_the_start(self):
        self.write_conf(
            """
[periodic_task:Two.oftn]
spacing = 1
[periodic_task:Two.rare]
spacin = 1
time-out = 1
[periodic_task:Tow.often]
spacing = 1
[periodic_task:Quite.another]
spacing = 1
[periodic_task:two.OFF]
timeout = 1
"""
        )
        command = self.run_service('Two', '--log-file', 'log')
        command.expect('rare')
        self.end(command)
        with open(os.path.join(self.directory, 'log')) as f:
            warnings = [line for line in f if 'WARNING' in line]
        for group, text in (
            ('[periodic_task:Two.oftn]', 'mean [periodic_task:Two.often]?'),
            ('[periodic_task:Two.rare] sets', 'spacin, which'),
            ('[periodic_task:Two.rare] sets', 'mean spacing?'),
            ('[periodic_task:Two.rare] sets', 'mean timeout?'),
            ('[periodic_task:Tow.often]', 'mean [periodic_task:Two.often]?'),
        ):
            self.assertTrue(
                any(group in line and text in line for line in warnings),
                f'{group}: {warnings}',
            )
        # Names of groups are not case-sensitive. A group of a class that is
        # not similar to one of this process may belong to another process.
        self.assertEqual(4, len(warnings), warnings)


class TestSignals(testscenarios.WithScenarios, CtlTestCase):
    """How a service ends, on each backend."""

    scenarios = [
        (name, {'name': name}) for name in ('threading', 'eventlet', 'gevent')
    ]

    def check_ends(self, command, start):
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertLess(time.monotonic() - start, ENDS_WITHIN, command.stderr)
        self.assertFalse(os.path.exists(self.socket))

    def test_sigterm_waits_for_what_runs(self):
        command = self.run_service('Held')
        command.expect('second started')
        command.send(signal.SIGTERM)
        command.expect_error('Received SIGTERM: stopping')
        # ctl still works while the service waits.
        self.await_status('Held.second', activity='running')
        self.write('first', '')
        command.expect('first ended')
        self.await_status('Held.second', activity='running')
        self.write('second', '')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertTrue(command.stdout.endswith('second ended\n'))
        self.assertNotIn('still running', command.stderr)

    def test_a_second_sigterm_does_not_wait(self):
        self.write_conf('', graceful_stop_timeout=PATIENT)
        command = self.run_service('Held')
        command.expect('second started')
        command.send(signal.SIGTERM)
        command.expect_error('Received SIGTERM: stopping')
        self.await_stopping('first')
        start = time.monotonic()
        command.send(signal.SIGTERM)
        command.expect_error('Received SIGTERM while stopping')
        for task in ('first', 'second'):
            command.expect_error(f'Held.{task} is still running after')
        self.check_ends(command, start)
        self.assertNotIn('ended', command.stdout)

    def test_sigterm_after_ctl_stop(self):
        self.write_conf('', graceful_stop_timeout=PATIENT)
        command = self.run_service('Held')
        command.expect('second started')
        self.ctl('stop')
        start = time.monotonic()
        command.send(signal.SIGTERM)
        command.expect_error('Received SIGTERM: stopping')
        command.send(signal.SIGINT)
        command.expect_error('Received SIGINT while stopping')
        self.check_ends(command, start)

    def test_graceful_stop_timeout(self):
        self.write_conf('', graceful_stop_timeout=0.2)
        command = self.run_service('Held')
        command.expect('second started')
        self.write('first', '')
        command.expect('first ended')
        start = time.monotonic()
        command.send(signal.SIGTERM)
        self.check_ends(command, start)
        self.assertRegex(
            command.stderr,
            r'Periodic task Held\.second is still running after \d+\.\d '
            r'seconds: .*\. Stack:\n(.*\n)*.*operated\.py".* in second\n',
        )
        self.assertIn("self.hold('second')", command.stderr)
        self.assertNotIn('Held.first is still', command.stderr)

    def test_sighup_while_it_ends(self):
        command = self.run_service('Held')
        command.expect('second started')
        command.send(signal.SIGTERM)
        command.expect_error('Received SIGTERM: stopping')
        self.write_conf('', workers=1, graceful_stop_timeout=1)
        self.reload(command)
        self.write('first', '')
        self.write('second', '')
        self.assertEqual(0, command.wait(), command.stderr)


class TestHungThread(CtlTestCase):
    """A native thread cannot be ended; the process can."""

    def check_ends(self, command, *numbers):
        command.expect('stuck')
        for number in numbers:
            start = time.monotonic()
            command.send(number)
            command.expect_error(signal.Signals(number).name)
            if number != numbers[-1]:
                self.await_stopping('wait_for_ever')
        self.assertEqual(0, command.wait(), command.stderr)
        self.assertLess(time.monotonic() - start, ENDS_WITHIN)
        self.assertIn('Stuck.wait_for_ever is still running', command.stderr)
        self.assertIn('a native thread cannot be killed', command.stderr)
        self.assertIn('lock.acquire()', command.stderr)

    def test_graceful_stop_timeout(self):
        self.write_conf('', graceful_stop_timeout=0.1)
        self.check_ends(self.run_service('Stuck'), signal.SIGTERM)

    def test_a_second_signal(self):
        self.write_conf('', graceful_stop_timeout=PATIENT)
        command = self.run_service('Stuck')
        self.check_ends(command, signal.SIGTERM, signal.SIGINT)
