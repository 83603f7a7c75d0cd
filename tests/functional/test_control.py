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

"""The control socket of a runner, and who misuses it.

The clients are in the process of the runner and in turns with it: their
sockets do not block, and they wait through the backend.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import time

import fixtures

from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base
from tests.helpers import runners

#: Seconds in which a silent client is hung up on, where a test lowers it.
PATIENCE = 0.25
#: Seconds that are far more than what does not wait needs.
LONG = 3
#: A user that is neither root nor the one of the tests.
NOBODY = 65534

#: Listens at a path, and says so by a file, until it is killed.
LISTENS = """
import socket, sys, time
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    open(sys.argv[1] + '.ready', 'w').close()
    time.sleep(60)
"""

#: Becomes nobody, asks, and writes what it read to a file.
ASKS_AS_NOBODY = """
import os, socket, sys
file = open(sys.argv[2], 'wb')
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(30)
    try:
        client.connect(sys.argv[1])
        client.sendall(b'{"command": "stop"}\\n')
        file.write(client.recv(1000) or b'hung up')
    except (BrokenPipeError, ConnectionResetError):
        file.write(b'hung up')
    except PermissionError:
        file.write(b'no permission')
"""


class Other(periodic_task.PeriodicTasks):
    """Another class, whose tasks may have the same names."""


class WithDisabled(periodic_task.PeriodicTasks):
    @periodic_task.periodic_task(spacing=60, enabled=False)
    def off(self, context):
        pass


def descriptors():
    return len(os.listdir('/proc/self/fd'))


class Client:
    """A client of the socket that does not stop the hub."""

    def __init__(self, backend, path):
        self._backend = backend
        self._buffer = b''
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.connect(path)

    def send(self, data):
        """Send everything; an OSError says that the other has hung up."""
        deadline = time.monotonic() + base.TIMEOUT
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise AssertionError('nobody reads') from None
                self._backend.sleep(0.001)

    def read_some(self):
        """Return what there is; nothing, if the other has hung up."""
        while True:
            fd = self.socket.fileno()
            if not self._backend.wait_readable(fd, base.TIMEOUT):
                raise AssertionError('there is neither an answer nor an end')
            try:
                return self.socket.recv(65536)
            except BlockingIOError:
                continue
            except ConnectionError:
                return b''

    def line(self):
        """Return the next line, or None if the other has hung up."""
        while b'\n' not in self._buffer:
            data = self.read_some()
            if not data:
                return None
            self._buffer += data
        line, _newline, self._buffer = self._buffer.partition(b'\n')
        return line

    def request(self, command, task=None):
        request = {'command': command}
        if task is not None:
            request['task'] = task
        self.send(json.dumps(request).encode() + b'\n')

    def ask(self, command, task=None):
        """Request something, and return the answer."""
        self.request(command, task)
        line = self.line()
        return None if line is None else json.loads(line)

    def is_hung_up_on(self):
        """Say whether that can be seen without reading anything."""
        try:
            self.socket.send(b' ')
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    def close(self):
        self.socket.close()


class ControlTestCase(runners.RunnerTestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(
            fixtures.FakeLogger(
                level=logging.DEBUG, format='%(levelname)s %(message)s'
            )
        )
        opts.register(self.conf)
        self.directory = self.useFixture(fixtures.TempDir()).path
        self.path = os.path.join(self.directory, 'control')
        self.set_socket(self.path)

    def set_socket(self, path):
        self.conf.set_override('control_socket', path, 'oslo_periodic')

    def patience(self, seconds=PATIENCE):
        """Lower the patience with silent clients for a while."""
        return fixtures.MonkeyPatch(
            'oslo_periodic.operate._lines.PATIENCE', seconds
        )

    def make_of(self, cls, **functions):
        tasks = cls(self.conf)
        for name, (arguments, function) in functions.items():
            decorate = periodic_task.periodic_task(
                name=name, run_immediately=True, **arguments
            )
            tasks.add_periodic_task(decorate(function))
        return tasks

    def connect(self, path=None):
        client = Client(self.selected.backend, path or self.path)
        self.addCleanup(client.close)
        return client

    def ask(self, command, task=None, path=None):
        """Ask on a connection of its own."""
        client = self.connect(path)
        try:
            return client.ask(command, task)
        finally:
            client.close()

    def succeed(self, command, task=None, path=None):
        answer = self.ask(command, task, path)
        self.assertIsNotNone(answer, self.log.output)
        self.assertTrue(answer['ok'], answer)
        return answer['result']

    def run_task(self, task):
        """Have a task run; one that is just ending still counts as running."""
        answers = []

        def is_accepted():
            answers.append(self.ask('run', task))
            return answers[-1]['ok']

        self.await_condition(is_accepted)
        return answers[-1]['result']

    def fail_to(self, command, task=None):
        """Ask for what cannot be, and return what is said to that."""
        answer = self.ask(command, task)
        self.assertIs(False, answer['ok'])
        self.assertNotIn('Traceback', self.log.output)
        return answer['error']

    def state(self, task):
        (state,) = [
            state
            for state in self.succeed('status')['tasks']
            if state['task'] == task
        ]
        return state

    def await_activity(self, task, activity):
        self.await_condition(lambda: self.state(task)['activity'] == activity)

    def await_more_runs(self, name, more=3):
        """Wait until a task has run, and so the runner has turned."""
        runs = self.count(name) + more
        self.await_condition(lambda: self.count(name) >= runs)

    def spawn(self, code, *arguments):
        process = subprocess.Popen(
            [sys.executable, '-c', code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
        )

        def end():
            if process.poll() is None:
                process.kill()
            process.wait(base.TIMEOUT)

        self.addCleanup(end)
        return process


class TestSocket(ControlTestCase):
    def test_its_mode_is_right_from_the_first_moment(self):
        modes = []

        def watch(frame, event, called):
            if event == 'c_return' and called.__name__ == 'bind':
                modes.append(os.stat(self.path).st_mode)

        self.addCleanup(os.umask, os.umask(0))
        self.addCleanup(sys.setprofile, sys.getprofile())
        sys.setprofile(watch)
        self.start(self.make())
        sys.setprofile(None)
        modes.append(os.stat(self.path).st_mode)
        self.assertEqual([stat.S_IFSOCK | 0o600] * 2, modes)

    def test_there_is_none_unless_it_is_set(self):
        self.conf.clear_override('control_socket', 'oslo_periodic')
        self.start(self.make(one=(60, self.recording('one'))))
        self.await_condition(lambda: self.ran)
        self.assertEqual([], os.listdir(self.directory))

    def test_it_is_gone_after_a_stop_and_back_after_a_start(self):
        started = self.start(self.make(one=(0.01, self.recording('one'))))
        for again in (True, False):
            self.assertTrue(self.succeed('health')['healthy'])
            self.assertTrue(started.stop(timeout=base.TIMEOUT))
            self.assertEqual([], os.listdir(self.directory))
            self.assertRaises(OSError, self.connect)
            if again:
                started.start()

    def test_no_descriptor_is_left_behind(self):
        started = self.start(self.make(one=(0.01, self.recording('one'))))
        self.succeed('status')
        started.stop(timeout=base.TIMEOUT)
        before = descriptors()
        for _time in range(3):
            started.start()
            self.succeed('status')
            started.stop(timeout=base.TIMEOUT)
        self.await_condition(lambda: descriptors() <= before)

    def test_a_stop_leaves_the_socket_of_another(self):
        started = self.start(self.make())
        os.unlink(self.path)
        another = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(another.close)
        another.bind(self.path)
        started.stop(timeout=base.TIMEOUT)
        self.assertEqual(['control'], os.listdir(self.directory))

    def test_a_path_with_the_process_id(self):
        self.set_socket(os.path.join(self.directory, 'at-{pid}.socket'))
        self.start(self.make())
        name = f'at-{os.getpid()}.socket'
        self.assertEqual([name], os.listdir(self.directory))
        status = self.succeed('status', path=f'{self.directory}/{name}')
        self.assertEqual(os.getpid(), status['pid'])

    def test_one_that_a_dead_process_has_left_is_replaced(self):
        process = self.spawn(LISTENS, self.path)
        ready = f'{self.path}.ready'
        self.await_condition(lambda: os.path.exists(ready))
        process.send_signal(signal.SIGKILL)
        self.await_condition(lambda: process.poll() is not None)
        self.assertTrue(os.path.exists(self.path))
        self.start(self.make())
        self.assertEqual(os.getpid(), self.succeed('status')['pid'])
        self.assertEqual(stat.S_IFSOCK | 0o600, os.stat(self.path).st_mode)

    def test_another_user_is_refused(self):
        if os.geteuid() != 0:
            self.skipTest('only root can become another user')
        started = self.start(self.make(one=(0.01, self.recording('one'))))
        # The temporary directory is in another one, of the test alone.
        for directory in (self.directory, os.path.dirname(self.directory)):
            os.chmod(directory, 0o755)
        answer = os.path.join(self.directory, 'answer')
        for mode, says in ((0o600, b'no permission'), (0o666, b'hung up')):
            os.chmod(self.path, mode)
            process = self.spawn(ASKS_AS_NOBODY, self.path, answer, NOBODY)
            self.await_condition(lambda p=process: p.poll() is not None)
            with open(answer, 'rb') as f:
                self.assertEqual(says, f.read())
        self.await_condition(
            lambda: (
                f'WARNING Refused a control connection from uid {NOBODY}'
                in self.log.output
            )
        )
        self.await_more_runs('one')
        self.assertEqual([], started.health())
        self.assertTrue(self.succeed('health')['healthy'])


class TestRefusedStart(ControlTestCase):
    """A start that fails has not started anything, and may be repeated."""

    def check_refused(self, path, *says):
        self.set_socket(path)
        tasks = self.make(one=(60, self.recording('one')))
        refused = runner.PeriodicRunner(tasks)
        self.addCleanup(refused.stop, timeout=base.TIMEOUT)
        before = descriptors()
        error = self.assertRaises(exceptions.RunnerError, refused.start)
        self.assertIn('control_socket', str(error))
        for text in (path, *says):
            self.assertIn(text, str(error))
        self.await_condition(lambda: descriptors() <= before)
        self.assertEqual(['The runner is not running'], refused.health())
        self.assertTrue(refused.stop())
        self.assertEqual(0, self.count('one'))
        self.set_socket(os.path.join(self.directory, 'good'))
        refused.start()
        self.await_condition(lambda: self.count('one') == 1)
        self.assertEqual(
            {'healthy': True, 'problems': []},
            self.succeed('health', path=f'{self.directory}/good'),
        )

    def test_nobody_waits_for_what_does_not_run(self):
        self.set_socket('relative')
        refused = runner.PeriodicRunner(self.make())
        self.assertRaises(exceptions.RunnerError, refused.start)
        pool = self.selected.backend.worker_pool(1)
        self.addCleanup(pool.shutdown, wait=False)
        waiting = pool.submit(refused.wait)
        self.assertIsNone(waiting.result(LONG))

    def test_a_relative_path(self):
        self.check_refused('control.socket', 'absolute path')
        self.assertFalse(os.path.exists('control.socket'))

    def test_a_path_that_is_too_long(self):
        self.check_refused(os.path.join(self.directory, 'x' * 108), 'too long')

    def test_a_component_that_is_too_long(self):
        self.check_refused(os.path.join(self.directory, 'x' * 300))

    def test_a_directory_that_is_not_there(self):
        self.check_refused(
            os.path.join(self.directory, 'nothing', 'control'),
            'No such file or directory',
        )

    def test_a_directory(self):
        self.check_refused(self.directory)
        self.assertTrue(os.path.isdir(self.directory))

    def test_a_regular_file(self):
        with open(self.path, 'w') as f:
            f.write('precious')
        self.check_refused(self.path)
        with open(self.path) as f:
            self.assertEqual('precious', f.read())

    def test_a_datagram_socket(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as another:
            another.bind(self.path)
            self.check_refused(self.path)
        self.assertTrue(os.path.exists(self.path))

    def test_a_path_with_a_null(self):
        self.check_refused(f'{self.path}\0')

    def test_where_another_runner_listens(self):
        self.start(self.make(other=(0.01, self.recording('other'))))
        self.check_refused(self.path, 'another process listens on it')
        (task,) = self.succeed('status')['tasks']
        self.assertEqual('PeriodicTasks.other', task['task'])

    def test_where_somebody_listens_who_does_not_accept(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as another:
            another.bind(self.path)
            another.listen(0)
            waiting = [self.connect()]
            with contextlib.suppress(BlockingIOError):
                while len(waiting) < 100:
                    waiting.append(self.connect())
            self.check_refused(self.path, 'another process listens on it')


class TestCommands(ControlTestCase):
    def test_status(self):
        tasks = self.make(
            slow=(3600, self.blocking('slow')),
            quick=(3600, self.recording('quick')),
        )
        self.start(tasks, workers=3)
        self.await_condition(lambda: self.count('slow') == 1)
        self.await_activity('PeriodicTasks.quick', 'idle')
        status = self.succeed('status')
        self.assertEqual(os.getpid(), status['pid'])
        self.assertEqual(self.backend, status['backend'])
        self.assertEqual(3, status['workers'])
        self.assertEqual(1, status['workers_busy'])
        self.assertIs(True, status['healthy'])
        self.assertEqual([], status['problems'])
        slow, quick = status['tasks']
        self.assertEqual('PeriodicTasks.slow', slow['task'])
        self.assertEqual('running', slow['activity'])
        self.assertLessEqual(slow['running_since'], status['time'])
        self.assertIn('block (', slow['running_at'])
        self.assertIn('it has been running for 0.', slow['reason'])
        self.assertEqual('PeriodicTasks.quick', quick['task'])
        self.assertEqual(3600, quick['spacing'])
        self.assertEqual('it is not due', quick['reason'])
        self.assertEqual('success', quick['last_outcome'])
        self.assertEqual(1, quick['runs'])
        self.assertEqual(1, len(quick['last_runs']))
        self.assertGreater(quick['due'], status['time'])

    def test_status_of_a_failure(self):
        def fail(tasks, context):
            raise LookupError('no "thing" \N{SNOWMAN}\nin two lines')

        self.start(self.make(fail=(3600, fail)))
        self.await_condition(
            lambda: self.state('PeriodicTasks.fail')['failures'] == 1
        )
        state = self.state('PeriodicTasks.fail')
        self.assertEqual('failure', state['last_outcome'])
        self.assertEqual(
            'LookupError: no "thing" \N{SNOWMAN}', state['last_error']
        )
        self.assertEqual(1, state['failures_in_a_row'])

    def test_health(self):
        self.conf.set_override('overdue_factor', 1, 'oslo_periodic')
        self.start(self.make(slow=(0.05, self.blocking('slow'))))
        self.await_condition(lambda: not self.succeed('health')['healthy'])
        (problem,) = self.succeed('health')['problems']
        self.assertIn('PeriodicTasks.slow is', problem)
        self.assertIn('it has been running for', problem)
        status = self.succeed('status')
        self.assertIs(False, status['healthy'])
        self.assertIn('PeriodicTasks.slow is', status['problems'][0])
        self.gate.set()
        self.await_condition(lambda: self.succeed('health')['healthy'])

    def test_pause_and_resume(self):
        names = ['PeriodicTasks.quick']
        self.start(
            self.make(
                quick=(0.01, self.recording('quick')),
                other=(0.01, self.recording('other')),
            )
        )
        self.await_more_runs('quick')
        self.assertEqual(names, self.succeed('pause', 'PeriodicTasks.quick'))
        self.await_activity('PeriodicTasks.quick', 'paused')
        # What had been handed to a worker before has begun, too.
        self.await_more_runs('other')
        ran = self.count('quick')
        # To pause it twice is no mistake.
        self.assertEqual(names, self.succeed('pause', 'quick'))
        self.await_more_runs('other', 10)
        self.assertEqual(ran, self.count('quick'))
        state = self.state('PeriodicTasks.quick')
        self.assertEqual('paused', state['activity'])
        self.assertEqual('it is paused', state['reason'])
        self.assertIsNone(state['due'])
        self.assertEqual(names, self.succeed('resume', 'quick'))
        self.await_more_runs('quick')
        self.assertGreater(
            self.state('PeriodicTasks.quick')['skipped']['paused'], 0
        )
        # Nothing was paused.
        self.assertEqual([], self.succeed('resume', 'quick'))

    def test_pause_lets_a_run_end(self):
        self.start(self.make(slow=(0.01, self.blocking('slow'))))
        self.await_condition(lambda: self.count('slow') == 1)
        self.succeed('pause', 'slow')
        self.assertEqual(
            'running', self.state('PeriodicTasks.slow')['activity']
        )
        self.gate.set()
        self.await_activity('PeriodicTasks.slow', 'paused')
        self.assertEqual(1, self.count('slow'))

    def test_pause_of_a_task_that_waits_for_a_worker(self):
        tasks = self.make(
            slow=(60, self.blocking('slow')),
            late=(60, self.recording('late')),
            last=(60, self.recording('last')),
        )
        self.start(tasks, workers=1)
        self.await_activity('PeriodicTasks.late', 'waiting')
        self.assertIn(
            'it waits for a worker; all 1 are busy with PeriodicTasks.slow',
            self.state('PeriodicTasks.late')['reason'],
        )
        self.succeed('pause', 'late')
        self.gate.set()
        self.await_condition(lambda: self.count('last') == 1)
        self.assertEqual(0, self.count('late'))
        self.succeed('resume', 'late')
        self.await_condition(lambda: self.count('late') == 1)

    def test_run(self):
        self.start(self.make(rare=(3600, self.recording('rare'))))
        self.await_condition(
            lambda: self.state('PeriodicTasks.rare')['runs'] == 1
        )
        self.assertEqual(['PeriodicTasks.rare'], self.run_task('rare'))
        self.await_condition(
            lambda: self.state('PeriodicTasks.rare')['runs'] == 2
        )
        self.await_activity('PeriodicTasks.rare', 'idle')
        self.assertEqual(2, self.count('rare'))

    def test_run_of_a_paused_task_is_one_run(self):
        self.start(
            self.make(
                quick=(0.01, self.recording('quick')),
                other=(0.01, self.recording('other')),
            )
        )
        self.succeed('pause', 'quick')
        self.await_activity('PeriodicTasks.quick', 'paused')
        # What had been handed to a worker before has begun, too.
        self.await_more_runs('other')
        ran = self.count('quick')
        self.assertEqual(['PeriodicTasks.quick'], self.run_task('quick'))
        self.await_condition(lambda: self.count('quick') == ran + 1)
        self.await_more_runs('other', 10)
        self.assertEqual(ran + 1, self.count('quick'))
        self.assertEqual(
            'paused', self.state('PeriodicTasks.quick')['activity']
        )

    def test_run_of_a_running_task_that_skips(self):
        self.start(self.make(slow=(3600, self.blocking('slow'))))
        self.await_condition(lambda: self.count('slow') == 1)
        error = self.fail_to('run', 'slow')
        self.assertIn('PeriodicTasks.slow is running', error)
        self.assertIn('skip', error)
        self.gate.set()
        self.await_activity('PeriodicTasks.slow', 'idle')
        self.assertEqual(1, self.count('slow'))

    def test_run_of_a_running_task_that_queues(self):
        arguments = {'spacing': 3600, 'overlap': 'queue'}
        tasks = self.make_of(Other, slow=(arguments, self.blocking('slow')))
        self.start(tasks)
        self.await_condition(lambda: self.count('slow') == 1)
        self.assertEqual(['Other.slow'], self.succeed('run', 'slow'))
        error = self.fail_to('run', 'slow')
        self.assertIn('Other.slow is running', error)
        self.assertIn('another run is queued', error)
        self.gate.set()
        self.await_condition(lambda: self.state('Other.slow')['runs'] == 2)
        self.await_activity('Other.slow', 'idle')
        self.assertEqual(2, self.count('slow'))

    def test_stop(self):
        started = self.start(self.make(slow=(0.01, self.blocking('slow'))))
        self.await_condition(lambda: self.count('slow') == 1)
        pool = self.selected.backend.worker_pool(1)
        self.addCleanup(pool.shutdown)
        waiting = pool.submit(started.wait)
        self.assertIsNone(self.succeed('stop'))
        # It can still be watched, as long as something runs.
        self.assertEqual(
            'running', self.state('PeriodicTasks.slow')['activity']
        )
        self.assertIsNone(self.succeed('stop'))
        self.assertFalse(waiting.done())
        self.gate.set()
        self.assertIsNone(waiting.result(base.TIMEOUT))
        self.assertEqual(1, self.count('slow'))
        self.assertEqual([], os.listdir(self.directory))
        self.assertEqual(['The runner is not running'], started.health())

    def test_run_while_it_stops(self):
        self.start(
            self.make(
                slow=(3600, self.blocking('slow')),
                other=(3600, self.recording('other')),
            )
        )
        self.await_condition(lambda: len(self.ran) == 2)
        self.succeed('stop')
        answers = []

        def is_refused():
            answers.append(self.ask('run', 'other'))
            return not answers[-1]['ok']

        self.await_condition(is_refused)
        self.assertIn('is not running', answers[-1]['error'])

    def test_unknown_task(self):
        self.start(self.make(synchronise=(60, self.recording('one'))))
        for command in ('pause', 'resume', 'run'):
            for task in ('synchronize', 'PeriodicTasks.sync', 'Periodic.x'):
                error = self.fail_to(command, task)
                self.assertIn(f'no periodic task {task}', error)
                self.assertIn('mean PeriodicTasks.synchronise?', error)

    def test_unknown_task_of_nothing(self):
        self.start(self.make())
        self.assertIn('no periodic task any', self.fail_to('run', 'any'))

    def test_task_that_is_missing(self):
        self.start(self.make(one=(60, self.recording('one'))))
        for command in ('pause', 'resume', 'run'):
            self.assertIn('needs a task', self.fail_to(command))

    def test_ambiguous_name(self):
        self.start(
            self.make(sync=(3600, self.recording('first'))),
            self.make_of(
                Other, sync=({'spacing': 3600}, self.recording('second'))
            ),
        )
        self.await_condition(lambda: len(self.ran) == 2)
        for command in ('pause', 'resume', 'run'):
            error = self.fail_to(command, 'sync')
            self.assertIn('Other.sync and PeriodicTasks.sync', error)
        self.assertEqual(['Other.sync'], self.run_task('Other.sync'))
        self.await_condition(lambda: self.count('second') == 2)
        self.assertEqual(1, self.count('first'))

    def test_one_name_in_two_instances_of_a_class(self):
        names = ['PeriodicTasks.sync'] * 2
        self.start(
            self.make(sync=(0.01, self.recording('first'))),
            self.make(sync=(0.01, self.recording('second'))),
            self.make(other=(0.01, self.recording('other'))),
        )
        self.await_more_runs('first')
        self.await_more_runs('second')
        self.assertEqual(names, self.succeed('pause', 'sync'))
        self.await_condition(
            lambda: (
                [task['activity'] for task in self.succeed('status')['tasks']][
                    :2
                ]
                == ['paused'] * 2
            )
        )
        # What had been handed to a worker before has begun, too.
        self.await_more_runs('other')
        ran = self.count('first'), self.count('second')
        self.await_more_runs('other')
        self.assertEqual(ran, (self.count('first'), self.count('second')))
        self.assertEqual(names, self.succeed('resume', 'sync'))
        self.await_more_runs('first')
        self.await_more_runs('second')

    def test_disabled_task(self):
        self.start(WithDisabled(self.conf))
        self.assertEqual(
            'disabled', self.state('WithDisabled.off')['activity']
        )
        for command in ('pause', 'resume', 'run'):
            for task in ('off', 'WithDisabled.off'):
                error = self.fail_to(command, task)
                self.assertIn('WithDisabled.off is disabled', error)
                self.assertIn('[periodic_task:WithDisabled.off]', error)

    def test_several_requests_on_one_connection(self):
        self.start(self.make(one=(3600, self.recording('one'))))
        self.succeed('pause', 'one')
        client = self.connect()
        for _time in range(3):
            self.assertTrue(client.ask('health')['result']['healthy'])
        self.assertIs(False, client.ask('run', 'nothing')['ok'])
        self.assertEqual(
            ['PeriodicTasks.one'], client.ask('resume', 'one')['result']
        )
        # All in one piece, and the last without an end of line at first.
        requests = b'{"command": "health"}\n' * 5 + b'{"command": "health"}'
        client.send(requests)
        answers = [client.line() for _time in range(5)]
        client.send(b'\n')
        answers.append(client.line())
        self.assertEqual(
            [{'healthy': True, 'problems': []}] * 6,
            [json.loads(answer)['result'] for answer in answers],
        )

    def test_a_request_in_pieces(self):
        self.start(self.make(one=(3600, self.recording('one'))))
        client = self.connect()
        for byte in b'{"command": "pause",\t"task": "one", "more": [1]}':
            client.send(bytes([byte]))
            self.selected.backend.sleep(0)
        client.send(b'\n')
        self.assertTrue(json.loads(client.line())['ok'])

    def test_unknown_command(self):
        self.start(self.make())
        client = self.connect()
        for command in ('reload', '', 'STATUS', '__class__', 7, None, 1e999):
            answer = client.ask(command)
            self.assertIs(False, answer['ok'])
            self.assertIn(f'no command {command!r}', answer['error'])
            self.assertIn('status, health, pause', answer['error'])
        self.assertTrue(client.ask('health')['ok'])


class TestMisuse(ControlTestCase):
    """Whoever misuses the socket harms neither tasks nor other clients."""

    def setUp(self):
        super().setUp()
        self.started = self.start(
            self.make(quick=(0.01, self.recording('quick')))
        )
        self.await_condition(lambda: self.count('quick'))
        self.succeed('health')

    @contextlib.contextmanager
    def unharmed(self):
        """See that the runner is the same after a misuse as before."""
        before = descriptors()
        yield
        self.check_served()
        self.await_condition(lambda: descriptors() <= before)
        self.assertEqual([], self.started.health())
        for text in ('Traceback', 'ERROR', 'CRITICAL'):
            self.assertNotIn(text, self.log.output)

    def check_served(self):
        """See that others are served, and tasks run, at the moment."""
        self.assertTrue(self.succeed('health')['healthy'])
        self.await_more_runs('quick')

    def check_ends(self, client):
        """See that a client is hung up on, perhaps after an error."""
        while (line := client.line()) is not None:
            self.assertIs(False, json.loads(line)['ok'])
        client.close()

    def test_rubbish(self):
        with self.unharmed():
            for line in (
                b'rubbish',
                b'',
                b'   ',
                b'\0',
                bytes(range(11, 256)),
                b'\xff\xfe{\0"\0',
                b'GET / HTTP/1.1\r',
                b'{"command": "status"',
                b'{"command": "status"}}',
                b"{'command': 'status'}",
                b'\x80\x04N.',
                b'1' * 10000,
            ):
                client = self.connect()
                client.send(line + b'\n')
                answer = json.loads(client.line())
                self.assertIs(False, answer['ok'])
                self.assertIn('a line of JSON', answer['error'])
                self.check_ends(client)

    def test_json_of_a_wrong_type(self):
        with self.unharmed():
            for value in (
                None,
                True,
                7,
                float('nan'),
                'status',
                [],
                ['status'],
                {},
                {'Command': 'status'},
                {'command': ['status']},
                {'command': {'status': 1}},
                {'command': 'pause', 'task': 7},
                {'command': 'pause', 'task': ['quick']},
                {'command': 'pause', 'task': {}},
                {'command': 'status', 'task': False},
            ):
                client = self.connect()
                client.send(json.dumps(value).encode() + b'\n')
                answer = json.loads(client.line())
                self.assertIs(False, answer['ok'], value)
                self.assertIn('a line of JSON', answer['error'])
                self.check_ends(client)

    def test_names_that_are_none(self):
        with self.unharmed():
            for task in ('', '\0', '\ud800', 'x' * 60000, '../quick', '%s{}'):
                answer = self.ask('run', task)
                self.assertIs(False, answer['ok'])
                self.assertIn('mean PeriodicTasks.quick?', answer['error'])

    def test_many_brackets(self):
        with self.unharmed():
            for data in (
                b'[' * 100_000,
                b'[' * 60_000,
                b'{"command":' * 5_000,
                b'{"command": "run", "task": ' + b'[' * 60_000,
            ):
                client = self.connect()
                with contextlib.suppress(ConnectionError):
                    client.send(data + b'\n')
                self.check_ends(client)

    def test_megabytes_without_an_end_of_line(self):
        with self.unharmed():
            client = self.connect()
            self.assertRaises(OSError, client.send, b'x' * (1 << 23))
            self.check_ends(client)

    def test_half_a_line_and_silence(self):
        with self.unharmed(), self.patience():
            client = self.connect()
            client.send(b'{"command": "sta')
            self.check_served()
            self.check_ends(client)

    def test_a_byte_now_and_then(self):
        with self.unharmed(), self.patience():
            client = self.connect()
            self.await_condition(client.is_hung_up_on)
            self.check_ends(client)

    def test_nothing_at_all(self):
        with self.unharmed(), self.patience():
            client = self.connect()
            self.check_served()
            self.check_ends(client)

    def test_silence_after_a_request(self):
        with self.unharmed(), self.patience():
            client = self.connect()
            self.assertTrue(client.ask('health')['ok'])
            self.check_ends(client)

    def test_clients_that_are_gone(self):
        with self.unharmed():
            for data in (b'', b'{"command"', b'{"command": "status"}\n' * 50):
                for half in (False, True):
                    client = self.connect()
                    client.send(data)
                    if half:
                        client.socket.shutdown(socket.SHUT_WR)
                    client.close()

    def test_the_answers_to_half_a_connection(self):
        with self.unharmed():
            client = self.connect()
            client.send(b'{"command": "health"}\n' * 3)
            client.socket.shutdown(socket.SHUT_WR)
            for _time in range(3):
                self.assertTrue(json.loads(client.line())['ok'])
            self.assertIsNone(client.line())
            client.close()

    def test_a_client_that_never_reads(self):
        with self.unharmed(), self.patience():
            client = self.connect()
            # The answers are some MB, which no buffer of a socket holds.
            client.send(b'{"command": "status"}\n' * 2000)
            self.check_served()
            self.await_condition(client.is_hung_up_on)
            client.close()

    def test_a_large_answer_that_is_taken_in_pieces(self):
        functions = {
            f'task_{number}': (3600, lambda *_arguments: None)
            for number in range(1500)
        }
        many = self.make(**functions)
        self.set_socket(f'{self.path}.many')
        self.start(many)
        client = self.connect(f'{self.path}.many')
        client.request('status')
        # No buffer of a socket holds it, so the runner has to wait for us.
        data = b''
        for _time in range(8):
            self.selected.backend.sleep(0.02)
            data += client.read_some()
        self.assertNotIn(b'\n', data)
        rest = client.line()
        self.assertIsNotNone(rest)
        status = json.loads(data + rest)['result']
        self.assertEqual(1500, len(status['tasks']))

    def test_more_silent_clients_than_are_served(self):
        with self.unharmed(), self.patience():
            clients = [self.connect() for _time in range(5)]
            # Its turn comes when they are hung up on.
            self.check_served()
            for client in clients:
                self.check_ends(client)

    def test_forty_silent_connections(self):
        with self.unharmed(), self.patience(0.05):
            clients = [self.connect() for _time in range(40)]
            self.await_more_runs('quick')
            for client in clients:
                self.check_ends(client)

    def test_others_are_served_beside_forty_silent_connections(self):
        with self.unharmed():
            clients = [self.connect() for _time in range(40)]
            start = time.monotonic()
            self.check_served()
            # Nobody's patience had to come to its end for that.
            self.assertLess(time.monotonic() - start, LONG)
            for client in clients:
                client.close()

    def test_forty_requests_at_once(self):
        with self.unharmed():
            clients = [self.connect() for _time in range(40)]
            served = 0
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    client.request('health')
            for client in clients:
                answer = client.line()
                if answer is not None:
                    self.assertTrue(json.loads(answer)['ok'])
                    served += 1
                client.close()
            # The others are more than there may be at a time.
            self.assertGreaterEqual(served, 32)

    def test_forty_pieces_of_rubbish_at_once(self):
        with self.unharmed(), self.patience():
            clients = [self.connect() for _time in range(40)]
            for number, client in enumerate(clients):
                data = (b'x\n', b'[' * 5000, b'', b'\xff' * 200_000)[
                    number % 4
                ]
                with contextlib.suppress(ConnectionError):
                    client.socket.send(data)
            for client in clients:
                self.check_ends(client)

    def test_a_stop_while_clients_are_silent(self):
        clients = [self.connect() for _time in range(6)]
        start = time.monotonic()
        self.assertTrue(self.started.stop(timeout=base.TIMEOUT))
        self.assertLess(time.monotonic() - start, 4)
        self.assertEqual([], os.listdir(self.directory))
        for client in clients:
            client.close()
