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

"""Parallel ticks where the surroundings are unusual."""

import logging
import multiprocessing.spawn
import os
import resource
import signal
import sys
import textwrap
import threading
import time

import fixtures

from oslo_periodic import backends
from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from tests.helpers import faults
from tests.helpers import ticks


class TestEdges(ticks.ParallelTestCase):
    def test_descriptors_above_1023(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 2048:
            self.skipTest('the limit of descriptors is too low')
        resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
        self.addCleanup(
            resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard)
        )
        held = [os.open('/dev/null', os.O_RDONLY) for _ in range(1100)]
        for fd in held:
            self.addCleanup(os.close, fd)
        self.conf.set_override('process_max_tasks', 1, 'oslo_periodic')
        service = self.make(faults.one, faults.two)
        before = len(os.listdir('/proc/self/fd'))
        for _ in range(3):
            self.again(service)
            self.tick(service)
        self.selected.backend.close()
        self.assertEqual(before, len(os.listdir('/proc/self/fd')))
        self.assertEqual(3, self.said().count('one'))

    def test_a_record_that_does_not_unpickle(self):
        service = self.make(faults.log_awkward, faults.one)
        self.tick(service)
        self.wait_for_log('after it')
        self.assertIn('awkward', self.log.output)
        self.assertNotIn('Error during', self.log.output)
        self.assertEqual(['one'], self.said())

    def test_a_child_of_a_task_that_logs(self):
        service = self.make(faults.log_beside_a_child)
        self.tick(service)
        self.assertEqual(['children 0'], self.said())
        self.wait_for_log('task 49')
        self.assertNotIn('Error during', self.log.output)

    def test_a_signal_handler_that_logs(self):
        service = self.make(faults.log_in_a_signal_handler)
        self.tick(service, timeout=ticks.BOUND)
        self.assertEqual(['handled'], self.said())
        self.wait_for_log('2999')

    def test_closed_during_a_tick(self):
        service = self.make(faults.hang, faults.one, faults.two)
        backend = self.selected.backend
        workers = backend.process_pool(2)._workers
        raised = []

        def tick():
            try:
                self.tick(service, processes=1)
            except exceptions.WorkerStartError as exc:
                raised.append(str(exc))

        thread = threading.Thread(target=tick)
        thread.start()
        self.await_said('hangs')
        backend.close()
        thread.join(ticks.BOUND)
        self.assertFalse(thread.is_alive())
        self.assertIn('closed', raised[0])
        self.assertEqual([], workers._idle)
        self.assertEqual(set(), workers._busy)
        self.assertIsNone(service._periodic_last_run['one'])
        # A new pool serves the next tick.
        self.tick(service, timeout=0.5)
        self.assertIn('two', self.said())

    def await_said(self, text):
        deadline = time.monotonic() + ticks.BOUND
        while not self.path.exists() or text not in self.path.read_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_many_idle_workers_that_have_died(self):
        names = ('one', 'two', 'three', 'say_pid', 'say_context', 'count_up')
        service = self.make(*(getattr(faults, name) for name in names))
        self.tick(service, processes=6)
        for worker in self.workers():
            os.kill(worker.pid, signal.SIGKILL)
        for worker in self.workers():
            self.assertTrue(worker.has_ended(ticks.BOUND))
        self.said()
        self.again(service)
        self.tick(service, processes=6)
        self.assertEqual(6, len(self.said()))
        self.assertNotIn('Error', self.log.output)

    def test_a_task_that_the_worker_does_not_have(self):
        cls = type(faults.Service)('Changed', (faults.Service,), {})
        cls.__module__, cls.__qualname__ = __name__, 'Changed'
        task = periodic_task.periodic_task(run_immediately=True)(faults.one)
        cls._add_periodic_task(task)
        globals()['Changed'] = cls
        self.addCleanup(globals().pop, 'Changed')
        exc = self.assertRaises(
            exceptions.WorkerStartError,
            self.tick,
            cls(self.conf, str(self.path)),
        )
        self.assertIn('Changed', str(exc))

    def test_a_module_function_that_was_added_to_the_class(self):
        task = periodic_task.periodic_task(run_immediately=True)(faults.two)
        Extended._add_periodic_task(task)
        self.tick(Extended(self.conf, str(self.path)))
        self.assertEqual(['two'], self.said())

    def test_a_huge_timeout(self):
        service = self.make(faults.one)
        self.tick(service, timeout=1e12)
        self.assertEqual(['one'], self.said())

    def test_a_huge_idle_timeout(self):
        self.conf.set_override('process_idle_timeout', 1e12, 'oslo_periodic')
        self.tick(self.make(faults.one))
        keeper = self.selected.backend._workers._keeper
        self.assertTrue(keeper.is_alive())


class TestInterpreter(ticks.ParallelTestCase):
    def set_executable(self, path):
        before = multiprocessing.spawn.get_executable()
        self.addCleanup(multiprocessing.set_executable, before)
        multiprocessing.set_executable(path)

    def wrapper(self):
        """Return an interpreter that says that it was used."""
        path = self.path.with_name('interpreter')
        path.write_text(
            f'#!/bin/sh\necho used >> {self.path}\n'
            f'exec {sys.executable} "$@"\n'
        )
        path.chmod(0o755)
        return str(path)

    def refused(self, text):
        service = self.make(faults.one)
        exc = self.assertRaises(
            exceptions.WorkerStartError, self.tick, service
        )
        self.assertLess(self.seconds_of(service), 5)
        self.assertIn(text, str(exc))
        self.assertIn('multiprocessing.set_executable', str(exc))
        self.assertIsNone(service._periodic_last_run['one'])
        infos = {info.name: info for info in backends.available_backends()}
        self.assertIn(text, infos['eventlet'].error)

    def seconds_of(self, service):
        start = time.monotonic()
        self.assertRaises(exceptions.WorkerStartError, self.tick, service)
        return time.monotonic() - start

    def test_a_frozen_program(self):
        """It would start copies of itself inside each other."""
        self.useFixture(fixtures.MonkeyPatch('sys.frozen', True))
        self.refused('frozen')
        self.set_executable(self.wrapper())
        self.tick(self.make(faults.one))
        self.assertEqual(['one', 'used'], self.said())

    def test_no_interpreter(self):
        self.set_executable('')
        self.useFixture(fixtures.MonkeyPatch('sys.executable', ''))
        self.refused('sys.executable is not set')

    def test_the_interpreter_of_multiprocessing(self):
        self.set_executable(self.wrapper())
        self.tick(self.make(faults.one))
        self.assertEqual(['one', 'used'], self.said())
        backends.available_backends()
        self.assertIn('used', self.said())


class Extended(faults.Service):
    """Gets a task at run time, in the parent alone."""


class TestDriversThatFail(ticks.ParallelTestCase):
    """What raises where only our own code should run."""

    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch(
                'oslo_periodic.periodic_task._nearest_boundary',
                self.boundary,
            )
        )
        self.broken = True

    def boundary(self, last_run, spacing):
        if self.broken:
            raise RuntimeError('broken on purpose')
        return periodic_task.now()

    def check(self, method):
        service = self.make(faults.one, faults.two)
        logging.getLogger('oslo_periodic').setLevel(logging.DEBUG)
        self.addCleanup(
            logging.getLogger('oslo_periodic').setLevel, logging.NOTSET
        )
        self.assertRaises(RuntimeError, getattr(service, method), None)
        self.said()
        self.broken = False
        getattr(service, method)(None)
        self.assertEqual(['one', 'two'], self.said())

    def test_nothing_is_stuck_after_a_serial_tick(self):
        self.check('run_periodic_tasks')

    def test_nothing_is_stuck_after_a_parallel_tick(self):
        self.check('run_periodic_tasks_in_parallel')


class TestPoolOfAThirdParty(ticks.ParallelTestCase):
    """Ticks on a pool that is written against the public interface."""

    backend = 'executor'

    def setUp(self):
        super().setUp()
        self.pool = self.selected.backend.process_pool(2)
        self.selected.backend.process_pool = lambda processes=None: self.pool
        self.addCleanup(self.pool.close)

    def test_tasks_run(self):
        service = self.make(faults.one, faults.fail, faults.say_context)
        exc = self.assertRaises(
            ValueError, self.tick, service, {'a': 1}, raise_on_error=True
        )
        self.assertIn('in fail', str(exc.__cause__))
        self.assertEqual(["context {'a': 1}", 'one'], self.said())
        self.again(service)
        self.tick(service)
        self.assertEqual(['context None', 'one'], self.said())

    def test_tasks_end(self):
        service = self.make(faults.hang, faults.kill_itself, faults.one)
        self.tick(service, timeout=0.5)
        self.assertEqual(['hangs', 'one'], self.said())
        self.assertIn('Error during Service.hang', self.log.output)
        self.assertIn('Error during Service.kill_itself', self.log.output)

    def test_lost_changes(self):
        self.tick(Changing(self.conf, str(self.path)))
        self.assertIn('fresh, path', self.log.output)


class Changing(faults.Service):
    """A class whose changes no other test has logged yet."""

    @periodic_task.periodic_task(run_immediately=True)
    def change(self, context):
        faults.change(self, context)


class TestPrograms(ticks.ParentTestCase):
    def test_a_class_in_the_main_program_of_another_pool(self):
        path = self.write(
            'guarded.py',
            ticks.SERVICE
            + textwrap.dedent("""
            if __name__ == '__main__':
                from oslo_periodic import backends
                backends.init_backend('executor')
                make().run_periodic_tasks_in_parallel('c', processes=1)
            """),
        )
        for command in (
            [sys.executable, str(path)],
            [sys.executable, '-m', 'guarded'],
        ):
            code, output = self.run_to_end(command=command)
            self.assertEqual((0, 'ran c\n'), (code, output))

    def test_modules_of_the_current_directory_are_not_imported(self):
        self.write('json.py', 'raise SystemExit("imported")')
        code, output = self.run_to_end(
            self.program('''
                service = make(faults.one)
                service.run_periodic_tasks_in_parallel(None, processes=1)
            '''),
            isolated=True,
        )
        self.assertEqual(0, code, output)
        self.assertEqual('one\n', self.path.read_text())

    def test_output_that_is_not_flushed(self):
        path = self.directory / 'out'
        with path.open('w') as file:
            code, _ = self.run_to_end(
                self.program('''
                    service = make(faults.print_plainly)
                    service.run_periodic_tasks_in_parallel(None, processes=1)
                '''),
                stdout=file,
            )
        self.assertEqual(0, code)
        self.assertIn('not flushed\n', path.read_text())
