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

"""The control socket: its file, its processes, and too many clients."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time

import tests
from tests import base
from tests.functional import test_control

#: Starts a runner on a backend and prints a line; then does as it is told.
RUNS = """
import os, signal, sys, time
from oslo_config import cfg
from oslo_periodic import backends, opts, periodic_task, runner

backends.init_backend(sys.argv[1])
conf = cfg.ConfigOpts()
conf([], default_config_files=[], use_env=False)
opts.register(conf)
conf.set_override('control_socket', sys.argv[2], 'oslo_periodic')

class Tasks(periodic_task.PeriodicTasks):
    @periodic_task.periodic_task(spacing=60)
    def task(self, context):
        pass

started = runner.PeriodicRunner(Tasks(conf))
started.start()
backends.get_backend().sleep(0.1)
"""
FORKS = """
child = os.fork()
if not child:
    time.sleep(60)
    os._exit(0)
os.write(1, f'{child}\\n'.encode())
backends.get_backend().sleep(60)
"""
EXITS_IN_CHILD = """
child = os.fork()
if not child:
    started._surface.close()
    sys.exit()
os.waitpid(child, 0)
os.write(1, b'alone\\n')
backends.get_backend().sleep(60)
"""
#: Binds stale paths at the same moments as other processes do.
BINDS = """
import sys, time
from oslo_periodic import backends, exceptions
from oslo_periodic.operate import _control

start, kept = float(sys.argv[1]), []
for number, path in enumerate(sys.argv[2:]):
    while time.time() < start + number * 0.02:
        pass
    try:
        kept.append(_control.Server(path, backends.get_backend(), {}))
    except exceptions.RunnerError as exc:
        assert 'another process listens on it' in str(exc), exc
    else:
        print(path, flush=True)
time.sleep(3)
"""


class SocketTestCase(test_control.ControlTestCase):
    def run_code(self, code, *arguments):
        process = self.popen(RUNS + code, self.backend, *arguments)
        self.addCleanup(process.stdout.close)
        return process

    def popen(self, code, *arguments):
        process = subprocess.Popen(
            [sys.executable, '-c', code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )

        def end():
            if process.poll() is None:
                process.kill()
            process.wait(base.TIMEOUT)

        self.addCleanup(end)
        return process


class TestFile(SocketTestCase):
    """The file belongs to the process that made it."""

    def test_an_exit_removes_it(self):
        path = os.path.join(self.directory, '{pid}')
        process = self.run_code(
            'print(os.listdir(sys.argv[3])); sys.exit()', path, self.directory
        )
        self.assertEqual(
            f"['{process.pid}']\n", process.stdout.read().decode()
        )
        self.assertEqual(0, process.wait(base.TIMEOUT))
        self.assertEqual([], os.listdir(self.directory))

    def test_the_exit_of_a_child_does_not(self):
        process = self.run_code(EXITS_IN_CHILD, self.path)
        self.assertEqual(b'alone\n', process.stdout.readline())
        self.assertEqual(['control'], os.listdir(self.directory))
        self.assertTrue(self.succeed('health')['healthy'])
        status = self.succeed('status')
        self.assertEqual(process.pid, status['pid'])

    def test_a_child_that_outlives_its_parent_does_not_keep_it(self):
        process = self.run_code(FORKS, self.path)
        child = int(process.stdout.readline())
        self.addCleanup(os.kill, child, signal.SIGKILL)
        waiting = self.connect()
        process.kill()
        process.wait(base.TIMEOUT)
        # Nor do the connections of the parent stay open in it.
        self.assertIsNone(waiting.line())
        self.start(self.make())
        self.assertEqual(os.getpid(), self.succeed('status')['pid'])


class TestBinding(SocketTestCase):
    scenarios = [('threading', {'backend': 'threading'})]

    def test_one_process_wins(self):
        paths = []
        for number in range(60):
            paths.append(os.path.join(self.directory, str(number)))
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(paths[-1])
        start = time.time() + 2
        racers = [self.popen(BINDS, start, *paths) for _time in range(3)]
        won = []
        for racer in racers:
            won += racer.stdout.read().decode().split()
            racer.stdout.close()
            self.assertEqual(0, racer.wait(base.TIMEOUT))
        self.assertEqual(sorted(paths), sorted(won))
        left = [n for n in os.listdir(self.directory) if 'lock' in n]
        self.assertEqual([], left)

    def test_a_lock_that_a_killed_process_has_left(self):
        with open(f'{self.path}.lock', 'w'):
            pass
        self.start(self.make())
        self.assertTrue(self.succeed('health')['healthy'])
        self.assertEqual(['control'], os.listdir(self.directory))


class TestClients(SocketTestCase):
    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = min(4096, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        self.addCleanup(
            resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard)
        )
        self.started = self.start(
            self.make(quick=(0.05, self.recording('quick')))
        )

    def connect_patiently(self):
        while True:
            try:
                return self.connect()
            except BlockingIOError:
                self.selected.backend.sleep(0.001)

    def test_a_thousand_idle_connections(self):
        self.succeed('health')
        before = test_control.descriptors()
        clients = [self.connect_patiently() for _time in range(1000)]
        start = time.monotonic()
        self.assertTrue(self.connect_patiently().ask('health')['ok'])
        self.assertLess(time.monotonic() - start, test_control.LONG)
        # Ours, those that are served, and those that are being closed.
        own = len(clients) + 1
        self.assertLess(test_control.descriptors() - before - own, 120)
        self.await_condition(lambda: 'to serve newer ones' in self.log.output)
        for client in clients:
            client.close()
        self.started.stop(timeout=base.TIMEOUT)
        counts = [
            int(line.split()[2])
            for line in self.log.output.splitlines()
            if 'to serve newer ones' in line
        ]
        self.assertTrue(960 <= sum(counts) <= 1001, counts)
        # Not a line for each.
        self.assertLess(len(counts), 10)

    def test_a_socket_that_is_shut_down_from_outside(self):
        if tests.MONKEY_PATCHED:
            self.skipTest('a patched socket cannot adopt any descriptor')
        (number,) = [
            number
            for number in os.listdir('/proc/self/fd')
            if self.is_listener(int(number))
        ]
        with socket.socket(fileno=os.dup(int(number))) as shared:
            start = time.process_time()
            shared.shutdown(socket.SHUT_RDWR)
            self.await_condition(
                lambda: 'was shut down from outside' in self.log.output
            )
            self.assertIn('ERROR The control socket', self.log.output)
            self.assertLess(time.process_time() - start, 1)
        self.await_more_runs('quick')
        self.assertEqual([], self.started.health())
        self.assertTrue(self.started.stop(timeout=base.TIMEOUT))
        self.assertEqual([], os.listdir(self.directory))
        self.started.start()
        self.assertTrue(self.succeed('health')['healthy'])

    def is_listener(self, number):
        try:
            with socket.socket(fileno=os.dup(number)) as found:
                return found.getsockname() == self.path
        except OSError:
            return False
