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

"""Parallel ticks: real processes, real faults, and a bound to each."""

import collections
import contextlib
import gc
import logging
import os
import pathlib
import random
import resource
import signal
import threading
import time

import fixtures
from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from oslo_periodic.process import _workers
from tests.helpers import faults
from tests.helpers import ticks

#: Seconds within which any tick here has ended, or it hangs.
BOUND = ticks.BOUND
SOAK_TICKS = int(os.environ.get('OSLO_PERIODIC_SOAK_TICKS', 1000))


class TestTicks(ticks.ParallelTestCase):
    def test_due_tasks_run_and_the_rest_does_not(self):
        service = self.make(faults.one, faults.two)
        service._periodic_last_run['two'] = periodic_task.now()
        idle = self.tick(service)
        self.assertEqual(['one'], self.said())
        self.assertTrue(0 < idle <= 60)
        self.assertEqual(60, self.tick(service))
        self.assertEqual([], self.said())

    def test_nothing_due_starts_nothing(self):
        self.tick(self.make())
        self.assertEqual([], self.workers())

    def test_tasks_of_the_class_run(self):
        service = Collected(self.conf, str(self.path))
        self.tick(service, context={'a': 1})
        self.assertEqual(["mine {'a': 1}", "other {'a': 1}"], self.said())

    def test_a_method_that_was_replaced_on_the_class(self):
        service = Collected(self.conf, str(self.path))
        original = Collected.mine
        self.addCleanup(setattr, Collected, 'mine', original)
        Collected.mine = lambda self, context: None
        self.tick(service)
        self.assertEqual(['mine None', 'other None'], self.said())

    def test_workers_stay_warm_and_few(self):
        service = self.make(faults.say_pid)
        self.tick(service, processes=4)
        pids = [line.split()[1] for line in self.said()]
        self.assertEqual(1, len(self.workers()))
        for _ in range(3):
            self.again(service)
            self.tick(service, processes=4)
        self.assertEqual({f'pid {pids[0]}'}, set(self.said()))

    def test_no_more_workers_than_processes(self):
        service = self.make(
            faults.one, faults.two, faults.three, faults.say_pid
        )
        self.tick(service, processes=2)
        self.assertEqual(2, len(self.workers()))
        self.again(service)
        self.tick(service, processes=1)
        self.assertEqual(2, len(self.workers()))

    def test_the_default_is_the_usable_cpus(self):
        pool = self.selected.backend.process_pool()
        self.assertEqual(len(os.sched_getaffinity(0)), pool.processes)

    def test_wrong_arguments(self):
        service = self.make(faults.one)
        for arguments in (
            {'processes': 0},
            {'processes': -1},
            {'timeout': -1},
        ):
            self.assertRaises(ValueError, self.tick, service, **arguments)
        self.assertIsNone(service._periodic_last_run['one'])

    def test_a_fresh_copy_for_every_task(self):
        service = self.make(faults.count_up)
        for _ in range(3):
            self.again(service)
            self.tick(service, processes=1)
        self.assertEqual(['count 1'] * 3, self.said())
        self.assertFalse(hasattr(service, 'count'))

    def test_a_run_has_no_context_of_an_earlier_one(self):
        service = self.make(faults.set_contexts, faults.say_contexts)
        for _ in range(2):
            self.tick(service, processes=1)
            self.assertEqual(['contexts unset None'], self.said())
            self.again(service)
        self.assertEqual(1, len(self.workers()))

    def test_two_instances_do_not_mix(self):
        first, second = self.make(faults.say_context), self.make(faults.one)
        for number in range(5):
            self.again(first)
            self.again(second)
            self.tick(first, context=number)
            self.tick(second)
            self.assertEqual([f'context {number}', 'one'], self.said())
        self.assertEqual(1, len(self.workers()))

    def test_two_threads_run_no_task_twice(self):
        service = self.make(faults.one, faults.two, faults.three)
        threads = [
            threading.Thread(
                target=service.run_periodic_tasks_in_parallel, args=(None,)
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
        self.assertEqual(['one', 'three', 'two'], self.said())

    def test_idle_workers_end(self):
        self.conf.set_override('process_idle_timeout', 0.2, 'oslo_periodic')
        service = self.make(faults.say_pid)
        self.tick(service)
        pid = int(self.said()[0].split()[1])
        self.wait_until_gone([pid])
        self.assertEqual([], self.workers())
        self.again(service)
        self.tick(service)
        self.assertEqual(1, len(self.said()))

    def wait_until_gone(self, pids):
        deadline = time.monotonic() + BOUND
        while any(os.path.exists(f'/proc/{pid}') for pid in pids):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_a_fresh_process_for_every_task(self):
        self.conf.set_override('process_max_tasks', 1, 'oslo_periodic')
        service = self.make(faults.say_pid)
        for _ in range(3):
            self.again(service)
            self.tick(service, processes=1)
        self.assertEqual(3, len(set(self.said())))
        self.assertEqual([], self.workers())

    def test_external_tasks(self):
        service = self.make()
        service.add_periodic_task(
            periodic_task.periodic_task(
                run_immediately=True, external_process_ok=True
            )(faults.one)
        )
        self.conf.set_override('run_external_periodic_tasks', False)
        self.tick(service)
        self.assertEqual([], self.said())
        self.conf.set_override('run_external_periodic_tasks', True)
        self.tick(service)
        self.assertEqual(['one'], self.said())

    def test_a_task_sees_the_schedule(self):
        service = self.make(faults.note_schedule, faults.one)
        self.tick(service)
        self.assertIn("schedule ['note_schedule', 'one']", self.said())


class Collected(faults.Service):
    @periodic_task.periodic_task(run_immediately=True)
    def mine(self, context):
        self.say('mine', context)

    @periodic_task.periodic_task(run_immediately=True)
    def other(self, context):
        self.say('other', context)


class TestFaultsOfTasks(ticks.ParallelTestCase):
    def test_killed(self):
        exc = self.failure(faults.kill_itself)
        self.assertIsInstance(exc, exceptions.WorkerDied)
        self.assertEqual('Service.kill_itself', exc.task)
        self.assertIn('SIGKILL', str(exc))

    def test_segmentation_fault(self):
        exc = self.failure(faults.crash)
        self.assertIsInstance(exc, exceptions.WorkerDied)
        self.assertIn('SIGSEGV', str(exc))

    def test_os_exit(self):
        exc = self.failure(faults.exit_at_once)
        self.assertIsInstance(exc, exceptions.WorkerDied)
        self.assertIn('code 7', str(exc))

    def test_system_exit_and_interrupt_are_failures(self):
        for function, text in (
            (faults.raise_system_exit, 'SystemExit: 3'),
            (faults.raise_interrupt, 'KeyboardInterrupt: by a task'),
        ):
            exc = self.failure(function)
            self.assertIsInstance(exc, exceptions.RemoteError)
            self.assertIn(text, str(exc))

    def test_an_exception_arrives_with_its_traceback(self):
        exc = self.failure(faults.fail)
        self.assertIsInstance(exc, ValueError)
        self.assertEqual('on purpose', str(exc))
        self.assertIsInstance(exc.__cause__, exceptions.RemoteTraceback)
        self.assertIn('in fail', str(exc.__cause__))

    def test_exceptions_that_cannot_travel(self):
        for function, name, text in (
            (faults.raise_awkward, 'Awkward', 'cannot travel'),
            (faults.raise_unpicklable, 'ValueError', 'has a lock'),
            (faults.raise_local, 'Local', 'only here'),
        ):
            exc = self.failure(function)
            self.assertIsInstance(exc, exceptions.RemoteError)
            self.assertIn(name, str(exc))
            self.assertIn(text, str(exc))
            self.assertIn('Traceback', str(exc.__cause__))

    def test_errors_are_logged(self):
        service = self.make(faults.fail, faults.kill_itself, faults.one)
        self.tick(service)
        self.assertEqual(['one'], self.said())
        self.assertIn('Error during Service.fail\n', self.log.output)
        self.assertIn('in fail', self.log.output)
        self.assertIn('Error during Service.kill_itself\n', self.log.output)

    def test_the_first_error_is_raised_with_the_others(self):
        service = self.make(faults.fail, faults.kill_itself, faults.one)
        exc = self.assertRaises(
            ValueError, self.tick, service, processes=1, raise_on_error=True
        )
        self.assertIn('Service.kill_itself failed', exc.__notes__[0])
        self.assertIn('Error during Service.kill_itself', self.log.output)
        self.assertNotIn('Error during Service.fail\n', self.log.output)
        self.assertEqual(['one'], self.said())

    def test_timeout(self):
        for function in (faults.hang, faults.hang_in_c):
            exc = self.failure(function, timeout=0.5)
            self.assertIsInstance(exc, exceptions.TaskTimeout)
            self.assertIn(f'in {function.__name__}', exc.stack)
            self.assertIn(f'Service.{function.__name__}', str(exc))
            self.assertGreaterEqual(exc.seconds, 0.5)

    def test_timeout_of_one_that_ignores_signals(self):
        exc = self.failure(faults.hang_stubbornly, timeout=0.5)
        self.assertIsInstance(exc, exceptions.TaskTimeout)

    def test_timeout_from_the_configuration(self):
        self.conf.set_override('process_task_timeout', 0.5, 'oslo_periodic')
        self.tick(self.make(faults.hang))
        self.assertIn('Error during Service.hang', self.log.output)
        self.assertIn('in hang', self.log.output)

    def test_closed_descriptors(self):
        exc = self.failure(faults.close_descriptors)
        self.assertIsInstance(exc, exceptions.WorkerDied)

    def test_a_thread_that_is_left_behind(self):
        service = self.make(faults.leave_a_thread, faults.one)
        self.tick(service, processes=1)
        self.again(service)
        self.tick(service, processes=1)
        self.assertEqual(['one', 'one'], self.said())
        start = time.monotonic()
        self.selected.backend.close()
        self.assertLess(time.monotonic() - start, 5)

    def test_a_child_that_holds_the_pipes(self):
        service = self.make(faults.leave_a_child, faults.one)
        self.tick(service)
        said = self.said()
        os.kill(int(said[0].split()[1]), signal.SIGKILL)
        self.assertIn('one', said)
        self.assertIn('code 9', self.log.output)
        self.assertLess(self.seconds, 15)

    def test_children_of_a_task(self):
        self.tick(self.make(faults.use_multiprocessing))
        self.assertEqual(['from a child'], self.said())


class TestFaultsOfWorkers(ticks.ParallelTestCase):
    def test_killed_while_idle(self):
        service = self.make(faults.one, faults.two)
        self.tick(service)
        for worker in self.workers():
            os.kill(worker.pid, signal.SIGKILL)
        self.said()
        self.again(service)
        self.tick(service)
        self.assertEqual(['one', 'two'], self.said())
        self.assertNotIn('Error', self.log.output)

    def test_dying_before_a_task_begins_is_bounded(self):
        """An instance that kills the process that loads it."""
        service = self.make(faults.one)
        service.poison = Poison()
        exc = self.assertRaises(
            exceptions.WorkerStartError, self.tick, service
        )
        self.assertIn('in a row died', str(exc))
        self.assertIsNone(service._periodic_last_run['one'])
        del service.poison
        self.tick(service)
        self.assertEqual(['one'], self.said())

    def test_an_instance_that_does_not_load(self):
        service = self.make(faults.one, faults.two)
        service.trap = Trap()
        exc = self.assertRaises(
            exceptions.WorkerStartError, self.tick, service
        )
        self.assertIn('sprung', str(exc))
        self.assertIn('Traceback', str(exc.__cause__.__cause__))
        self.assertEqual(
            {'one': None, 'two': None}, service._periodic_last_run
        )

    def test_no_descriptors_left(self):
        service = self.make(faults.one, faults.two)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        highest = max(map(int, os.listdir('/proc/self/fd')))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, limits[1]))
        filling = []
        with contextlib.suppress(OSError):
            while True:
                filling.append(os.open('/dev/null', os.O_RDONLY))
        for left in (0, 1, 4):
            while len(filling) and left:
                os.close(filling.pop())
                left -= 1
            exc = self.assertRaises(
                exceptions.WorkerStartError, self.tick, service
            )
            self.assertIn('Too many open files', str(exc))
        for fd in filling:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        self.assertIsNone(service._periodic_last_run['one'])
        self.tick(service)
        self.assertEqual(['one', 'two'], self.said())

    def test_fewer_workers_where_no_more_can_be_had(self):
        service = self.make(faults.one, faults.two, faults.three)
        real = _workers.Workers.start
        started = []

        def start(workers):
            if started:
                raise OSError('no more')
            started.append(1)
            return real(workers)

        self.useFixture(
            fixtures.MonkeyPatch(
                'oslo_periodic.process._workers.Workers.start', start
            )
        )
        self.tick(service, processes=3)
        self.assertEqual(['one', 'three', 'two'], self.said())
        self.assertEqual(1, len(self.workers()))

    def test_random_kills(self):
        """Every task of every tick is accounted for exactly once."""
        chance = random.Random(4711)
        service = self.make(
            faults.note_one, faults.note_two, faults.note_three
        )
        names = sorted(service._periodic_last_run)
        expected, possible = [], []
        for tick in range(SOAK_TICKS):
            self.again(service)
            self.log.reset_output()
            if chance.random() < 0.1:
                self.kill_soon(chance.random() * 0.004)
            with contextlib.suppress(exceptions.WorkerStartError):
                self.tick(service, context=tick)
            for name in names:
                line = f'{name} {tick}'
                if service._periodic_last_run[name] is None:
                    continue  # It is still due, and must not have run.
                if f'Error during Service.{name}\n' in self.log.output:
                    # The kill may have come after the line was written.
                    possible.append(line)
                else:
                    expected.append(line)
        said = collections.Counter(self.said())
        self.assertEqual([], [line for line in said if said[line] != 1])
        self.assertEqual([], [line for line in expected if not said[line]])
        self.assertEqual(set(), set(said) - set(expected) - set(possible))
        self.assertGreater(len(expected), SOAK_TICKS * 2)

    def kill_soon(self, seconds):
        """Kill a worker that is busy then, from another thread."""

        def kill():
            workers = self.selected.backend._workers
            busy = list(workers._busy) if workers else []
            for worker in busy[:1]:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(worker.sentinel, signal.SIGKILL)

        timer = threading.Timer(seconds, kill)
        timer.start()
        self.addCleanup(timer.join)


class Poison:
    def __reduce__(self):
        return os._exit, (5,)


class Trap:
    def __reduce__(self):
        return spring, ()


def spring():
    raise RuntimeError('sprung')


class TestPickling(ticks.ParallelTestCase):
    def refused(self, service, context=None):
        exc = self.assertRaises(
            exceptions.NotPicklableError, self.tick, service, context
        )
        self.assertEqual({None}, set(service._periodic_last_run.values()))
        self.assertEqual([], self.said())
        return str(exc)

    def test_the_attribute_is_named(self):
        service = self.make(faults.one)
        service.connection = Holder()
        text = self.refused(service)
        self.assertIn('self.connection.lock', text)
        self.assertIn('_thread.lock', text)

    def test_the_item_is_named(self):
        service = self.make(faults.one)
        service.things = {'a': [1, (2, lambda: None)]}
        self.assertIn("self.things['a'][1][1]", self.refused(service))

    def test_the_context_is_named(self):
        text = self.refused(self.make(faults.one), {'k': threading.Lock()})
        self.assertIn("context['k']", text)

    def test_a_function_that_cannot_be_imported(self):
        service = self.make(faults.one)

        @periodic_task.periodic_task(run_immediately=True)
        def local(self, context):
            pass

        service.add_periodic_task(local)
        text = self.refused(service)
        self.assertIn("'local'", text)
        self.assertIn('test_parallel.py', text)

    def test_one_that_is_not_due_does_no_harm(self):
        service = self.make(faults.one)

        @periodic_task.periodic_task(spacing=100)
        def local(self, context):
            pass

        service.add_periodic_task(local)
        self.tick(service)
        self.assertEqual(['one'], self.said())

    def test_a_large_instance(self):
        service = self.make(faults.one, faults.two)
        service.blob = os.urandom(10 << 20)
        self.tick(service)
        self.assertEqual(['one', 'two'], self.said())

    def test_lost_changes_are_logged_once(self):
        service = self.make(faults.change, faults.one)
        for _ in range(2):
            self.again(service)
            self.tick(service)
        lines = [
            line
            for line in self.log.output.splitlines()
            if 'Service.change changed' in line
        ]
        self.assertEqual(1, len(lines), self.log.output)
        self.assertIn('fresh, path', lines[0])
        self.assertNotIn('Service.one changed', self.log.output)

    def test_lost_changes_are_not_logged(self):
        self.conf.set_override('warn_lost_changes', False, 'oslo_periodic')
        service = self.make(faults.count_up)
        self.tick(service)
        self.assertNotIn('changed', self.log.output)


class Holder:
    def __init__(self):
        self.lock = threading.Lock()


class TestConfiguration(ticks.ParallelTestCase):
    def setUp(self):
        super().setUp()
        cfg.CONF.register_opt(cfg.StrOpt('value', default='d'), group='tests')
        self.addCleanup(cfg.CONF.reset)
        self.conf.register_opt(cfg.StrOpt('value', default='d'), group='tests')

    def test_values_of_files_and_overrides(self):
        directory = self.useFixture(fixtures.TempDir())
        for name in ('own', 'global'):
            pathlib.Path(directory.join(name)).write_text(
                f'[tests]\nvalue = {name} file\n'
            )
        self.conf([], default_config_files=[directory.join('own')])
        cfg.CONF([], default_config_files=[directory.join('global')])
        service = self.make(faults.read_option)
        service.reference = cfg.CONF
        self.tick(service)
        self.assertEqual(['own own file global global file'], self.said())
        cfg.CONF.set_override('value', 'overridden', 'tests')
        self.addCleanup(cfg.CONF.clear_override, 'value', 'tests')
        self.again(service)
        self.tick(service)
        self.assertEqual(['own own file global overridden'], self.said())

    def test_option_types_that_do_not_pickle(self):
        """As nova has them: lambdas for types."""
        conf = cfg.CONF
        opt = cfg.Opt('odd', type=lambda value: f'<{value}>')
        conf.register_opt(opt, group='tests')
        self.addCleanup(conf.unregister_opt, opt, 'tests')
        self.addCleanup(conf.reset)
        path = self.useFixture(fixtures.TempDir()).join('conf')
        pathlib.Path(path).write_text('[tests]\nvalue = file\nodd = x\n')
        conf([], default_config_files=[path])
        self.conf = conf
        service = self.make(faults.read_option)
        self.tick(service)
        self.assertEqual(['own file global file'], self.said())
        conf.set_override('value', 'overridden', 'tests')
        self.addCleanup(conf.clear_override, 'value', 'tests')
        self.again(service)
        self.tick(service)
        self.assertEqual(['own overridden global overridden'], self.said())

    def odd(self, **arguments):
        """Register an option that does not pickle, in one configuration."""
        opt = cfg.Opt('odd', **arguments)
        self.conf.register_opt(opt, group='tests')
        return self.make(faults.read_odd_option)

    def test_the_value_of_an_option_that_does_not_pickle(self):
        path = self.useFixture(fixtures.TempDir()).join('conf')
        pathlib.Path(path).write_text('[tests]\nodd = x\n')
        self.conf([], default_config_files=[path])
        service = self.odd(type=lambda value: [f'<{value}>'])
        self.tick(service)
        self.assertEqual(["odd ['<x>']"], self.said())
        self.conf.set_override('odd', 'y', 'tests')
        self.again(service)
        self.tick(service)
        self.assertEqual(["odd ['<y>']"], self.said())

    def test_the_same_of_the_global_configuration(self):
        """In a warm worker; the task registers the option itself, too."""
        self.conf = cfg.CONF
        service = self.odd(type=lambda value: f'<{value}>', default='x')
        self.addCleanup(
            cfg.CONF.unregister_opt,
            cfg.CONF._groups['tests']._opts['odd']['opt'],
            'tests',
        )
        self.addCleanup(cfg.CONF.reset)
        for value in 'xyz':
            cfg.CONF.set_default('odd', value, 'tests')
            self.again(service)
            self.tick(service)
            self.assertEqual([f'odd <{value}>'], self.said())
        service = self.make(faults.register_odd_option)
        self.tick(service)
        self.assertEqual(['odd <z>'], self.said())

    def test_an_option_that_cannot_be_carried(self):
        service = self.odd(type=lambda value: threading.Lock(), default='x')
        exc = self.assertRaises(
            exceptions.NotPicklableError, self.tick, service
        )
        self.assertIn('odd in [tests]', str(exc))
        self.assertEqual([], self.said())


class TestLogging(ticks.ParallelTestCase):
    def setUp(self):
        super().setUp()
        self.records = []
        handler = logging.Handler()
        handler.emit = self.records.append
        logger = logging.getLogger('tests.faults')
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        quiet = logging.getLogger('tests.quiet')
        quiet.setLevel(logging.ERROR)
        self.addCleanup(quiet.setLevel, logging.NOTSET)

    def test_records_arrive_with_their_attributes(self):
        self.tick(self.make(faults.log_records))
        self.wait_for_log('object')
        hello, failed, last = self.records
        self.assertEqual('hello parent', hello.getMessage())
        self.assertEqual('red', hello.colour)
        self.assertEqual('periodic-worker-1', hello.processName)
        self.assertNotEqual(os.getpid(), hello.process)
        self.assertEqual('Service.log_records', hello.periodic_task)
        self.assertEqual('log_records', hello.funcName)
        self.assertIn('ValueError: with a traceback', failed.exc_text)
        self.assertIn('lock', last.lock)
        self.assertNotIn('not wanted', self.log.output)
        self.assertNotIn('below its level', self.log.output)

    def test_a_level_that_changes(self):
        service = self.make(faults.log_records)
        self.tick(service)
        self.wait_for_log('object')
        logger = logging.getLogger('tests.faults')
        logger.setLevel(logging.DEBUG)
        self.addCleanup(logger.setLevel, logging.NOTSET)
        self.again(service)
        self.tick(service)
        self.wait_until(lambda: len(self.records) == 7)
        self.assertEqual('not wanted', self.records[3].getMessage())

    def wait_until(self, condition):
        deadline = time.monotonic() + BOUND
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_a_handler_that_is_stuck(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        handler = logging.Handler()
        handler.emit = lambda record: gate.wait(BOUND)
        logger = logging.getLogger('tests.faults')
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        self.tick(self.make(faults.log_a_lot, faults.one))
        self.assertEqual(['one'], self.said())
        self.assertLess(len(self.records), 3)
        gate.set()
        self.wait_until(lambda: len(self.records) == 2000)
        self.assertEqual(
            list(range(2000)),
            [int(record.getMessage().split()[0]) for record in self.records],
        )

    def slow_handler(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        handler = logging.Handler()
        handler.emit = lambda record: gate.wait(BOUND)
        logger = logging.getLogger('tests.faults')
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        return gate

    def test_records_behind_a_slow_handler_have_a_bound(self):
        """Those that do not fit are dropped, and counted where they were."""
        # Less than in production: the log of a test is kept whole.
        self.useFixture(
            fixtures.MonkeyPatch(
                'oslo_periodic.process._logs._MAX_WAITING', 1 << 20
            )
        )
        gate = self.slow_handler()
        service = self.make(faults.log_a_lot)
        self.tick(service)
        before = self.resident()
        for _ in range(30):  # Of 2,000 records of 1 KB each.
            self.again(service)
            self.tick(service)
        self.assertLess(self.resident() - before, 30 << 20)
        gate.set()
        self.wait_for_log('were dropped here')
        collector = self.selected.backend._workers.collector
        collector.drain()
        self.again(service)
        self.tick(service)
        last = '1999 ' + 'x' * 1000
        self.wait_until(lambda: self.records[-1].getMessage() == last)
        (line,) = [
            line
            for line in self.log.output.splitlines()
            if 'were dropped' in line
        ]
        dropped = int(line.split()[0])
        self.assertEqual(32 * 2000, dropped + len(self.records))
        self.assertIn(last, self.log.output.partition(line)[2])

    def resident(self):
        with open('/proc/self/statm') as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def test_logging_that_fails(self):
        """A filter that raises, for our own lines too, stops no record."""

        def broken(record):
            raise RuntimeError('broken on purpose')

        handler = logging.Handler()
        handler.addFilter(broken)
        logging.root.addHandler(handler)
        self.addCleanup(logging.root.removeHandler, handler)
        self.tick(self.make(faults.log_records))
        self.wait_until(lambda: len(self.records) == 3)


class TestLeaks(ticks.ParallelTestCase):
    def test_nothing_is_left(self):
        service = self.make(faults.one, faults.fail, faults.say_pid)
        before = len(os.listdir('/proc/self/fd'))
        self.tick(service)
        pids = [
            int(line.split()[1])
            for line in self.said()
            if line.startswith('pid')
        ]
        self.selected.backend.close()
        self.assertEqual([], [p for p in pids if os.path.exists(f'/proc/{p}')])
        self.assertEqual(before, len(os.listdir('/proc/self/fd')))
        # It may be used again.
        self.again(service)
        self.tick(service)
        self.assertIn('one', self.said())

    def test_nothing_piles_up(self):
        service = self.make(faults.one, faults.two)
        self.tick(service)
        before = self.usage()
        for _ in range(SOAK_TICKS):
            self.again(service)
            self.tick(service)
        after = self.usage()
        self.assertEqual(before[:2], after[:2])
        self.assertLess(after[2] - before[2], 20 << 20)
        self.assertEqual(2 * (SOAK_TICKS + 1), len(self.said()))

    def usage(self):
        """Return the descriptors, the children, and the resident memory."""
        with open('/proc/self/statm') as file:
            resident = int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
        with open(f'/proc/self/task/{os.getpid()}/children') as file:
            children = len(file.read().split())
        return len(os.listdir('/proc/self/fd')), children, resident

    def test_garbage_collection(self):
        with backends.override('threading') as selector:
            service = self.make(faults.say_pid)
            self.tick(service)
        pid = int(self.said()[0].split()[1])
        self.assertTrue(os.path.exists(f'/proc/{pid}'))
        del selector
        gc.collect()
        self.assertFalse(os.path.exists(f'/proc/{pid}'))
