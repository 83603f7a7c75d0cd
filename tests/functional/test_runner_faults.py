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

"""A runner under faults: hangs, calls from tasks, threads that cannot start.

The faults are real ones, as far as a process stands them; where they leave
the timer alone, the test moves its clock.
"""

import os
import threading
import time

import fixtures

from oslo_periodic.backends import base as backend_base
from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base
from tests.helpers import runners


class TestCallsFromTasks(runners.ClockMixin, runners.PolicyTestCase):
    """Whatever a task calls, nothing waits for itself."""

    def call(self, function):
        results = []

        def work(tasks, context):
            try:
                results.append(function(self.started))
            except Exception as exc:
                results.append(exc)
            self.noted.set()

        tasks = self.one(work, spacing=3600)
        self.prepare(tasks).start()
        self.await_noted(lambda: results)
        return tasks, results[0]

    def prepare(self, tasks):
        """Make a runner that tasks reach before its start has returned."""
        self.started = runner.PeriodicRunner(tasks)
        self.addCleanup(self.started.stop, timeout=base.TIMEOUT)
        return self.started

    def test_stop(self):
        start = time.monotonic()
        tasks, result = self.call(lambda started: started.stop())
        self.assertLess(time.monotonic() - start, base.TIMEOUT / 2)
        self.assertIs(True, result)
        self.assertIsNone(self.started.wait())
        state = self.await_runs(tasks, 'task', 1)
        self.assertEqual('success', state.last.outcome)

    def test_stop_by_two_tasks(self):
        """Neither waits for the other, which waits for it."""
        results = []
        one_runs, two_runs = self.event(), self.event()

        def stopping(own, other):
            def work(tasks, context):
                own.set()
                self.await_event(other)
                results.append(self.started.stop(timeout=base.TIMEOUT * 2))
                self.noted.set()

            return work

        tasks = self.make(
            one=(3600, stopping(one_runs, two_runs)),
            two=(3600, stopping(two_runs, one_runs)),
        )
        self.prepare(tasks).start()
        self.await_noted(lambda: len(results) == 2)
        self.assertEqual([True, True], results)

    def test_wait(self):
        _tasks, result = self.call(lambda started: started.wait())
        self.assertIsInstance(result, exceptions.RunnerError)

    def test_start(self):
        _tasks, result = self.call(lambda started: started.start())
        self.assertIsInstance(result, exceptions.RunnerError)

    def test_reset_and_status(self):
        def look(started):
            started.reset()
            return started.status(), started.health()

        _tasks, (status, health) = self.call(look)
        self.assertEqual([], health)
        (task,) = status['tasks']
        self.assertEqual('running', task['activity'])
        self.assertIn('look', task['running_at'])

    def test_it_pauses_and_asks_for_itself(self):
        def steer(started):
            started.pause('task')
            started.run('task')

        _tasks, result = self.call(steer)
        self.assertIsInstance(result, exceptions.RunnerError)

    def test_it_ticks_its_own_instance(self):
        ran = []

        def work(tasks, context):
            ran.append(1)
            tasks._periodic_last_run['task'] = None
            tasks.run_periodic_tasks(None)
            tasks._periodic_last_run['task'] = periodic_task.now()

        tasks = self.one(work, spacing=3600)
        self.start(tasks)
        self.await_runs(tasks, 'task', 1)
        self.assertEqual([1], ran)

    def test_it_adds_and_removes_tasks(self):
        def work(tasks, context):
            self.add(tasks, 'other', self.recording('other'))
            tasks._periodic_tasks = [
                pair for pair in tasks._periodic_tasks if pair[0] != 'task'
            ]

        tasks = self.one(work, spacing=1)
        self.start(tasks)
        self.await_started('other')
        self.assertEqual(['other'], list(tasks.periodic_state()))


class TestChanges(runners.ClockMixin, runners.PolicyTestCase):
    """What changes under the hands of a runner."""

    def test_a_task_is_removed_before_it_begins(self):
        removed = []

        def context():
            # The worker asks for it when the run has been handed out.
            if not removed:
                tasks._periodic_tasks = []
                removed.append(1)

        tasks = self.one(self.recording('task'), spacing=1)
        self.add(tasks, 'other', self.recording('other'), spacing=1)
        self.start(tasks, context=context, workers=1)
        self.await_started('task')
        self.assertEqual({}, tasks.periodic_state())
        for _ in range(5):
            self.step(1)
        self.add(tasks, 'new', self.recording('new'))
        # The only worker has done by then what it was given before.
        self.await_runs(tasks, 'new', 1)
        self.assertNotIn('Error', self.log.output)
        self.assertEqual([('task', None), ('new', None)], self.ran)

    def test_a_tick_beside(self):
        """It takes a run, and the runner takes the next."""
        tasks = self.one(self.recording('task'), spacing=10)
        self.start(tasks)
        self.await_runs(tasks, 'task', 1)
        self.clock.advance(5)
        # Both see that it is due now, and either may be the first.
        tasks._periodic_last_run['task'] = None
        tasks.run_periodic_tasks('tick')
        self.await_runs(tasks, 'task', 2)
        for run in (3, 4):
            self.step(10)
            self.await_runs(tasks, 'task', run)
        self.assertEqual([('task', None)] * 2, self.ran[2:])

    def test_a_tick_between(self):
        """It takes a run that the runner has not handed out."""
        tasks = self.make(
            slow=(3600, self.blocking('slow')),
            task=(10, self.recording('task')),
        )
        self.start(tasks, workers=1)
        self.await_started('slow')
        tasks.run_periodic_tasks('tick')
        self.assertEqual([('slow', None), ('task', 'tick')], self.ran)
        self.gate.set()
        self.await_runs(tasks, 'slow', 1)
        self.step(10)
        self.await_runs(tasks, 'task', 2)
        self.assertEqual(('task', None), self.ran[-1])

    def test_a_wrong_value_of_the_reference_s_option(self):
        tasks = periodic_task.PeriodicTasks(self.conf)
        self.add(
            tasks,
            'task',
            self.recording('task'),
            spacing=1,
            external_process_ok=True,
        )
        path = self.useFixture(fixtures.TempDir()).join('service.conf')
        with open(path, 'w') as file:
            file.write('[DEFAULT]\nrun_external_periodic_tasks = perhaps\n')
        started = self.start(tasks)
        self.await_runs(tasks, 'task', 1)
        # oslo.config may cache an old value that is read while it parses.
        started.stop()
        self.conf([], default_config_files=[path], use_env=False)
        started.start()
        self.await_log('perhaps')
        for run in (2, 3):
            self.clock.advance(1)
            self.await_runs(tasks, 'task', run)
        self.assertEqual([], started.health())
        self.assertEqual(1, self.log.output.count('perhaps'))

    def test_two_runners_of_one_instance(self):
        """The end of one leaves the other."""
        tasks = self.one(self.recording('task'), spacing=3600)
        first, _second = self.start(tasks), self.start(tasks)
        self.await_runs(tasks, 'task', 1)
        first.stop()
        self.add(tasks, 'new', self.recording('new'))
        self.await_runs(tasks, 'new', 1)


class TestContext(runners.ClockMixin, runners.PolicyTestCase):
    def test_a_context_that_cannot_be_made(self):
        fails = [True, True, False]

        def context():
            if fails.pop(0):
                raise LookupError('no context')
            fails.append(False)
            return 'context'

        tasks = self.one(self.recording('task'), spacing=1)
        self.start(tasks, context=context)
        for run, failures in ((1, 1), (2, 2), (3, 2)):
            state = self.await_runs(tasks, 'task', run)
            self.assertEqual(failures, state.failures)
            self.step(1)
        self.assertEqual(('task', 'context'), self.ran[0])
        self.assertIn('LookupError: no context', self.log.output)
        self.assertIn('Error during PeriodicTasks.task', self.log.output)


class TestThreads(runners.ClockMixin, runners.PolicyTestCase):
    scenarios = [('threading', {'backend': 'threading'})]

    def counting(self, refused, of_workers=True):
        """Let threads not start, by their number, as the system may.

        Workers are started by the timer, and all else by the test, at the
        same time: only those of one kind are counted.
        """
        start = threading.Thread.start
        test = threading.current_thread()
        lock = threading.Lock()
        counted = []

        def refuse(thread):
            if (threading.current_thread() is not test) != of_workers:
                start(thread)
                return
            with lock:
                counted.append(thread)
                number = len(counted)
            if number in refused:
                raise RuntimeError("can't start new thread")
            start(thread)

        return fixtures.MonkeyPatch('threading.Thread.start', refuse)

    def test_no_worker_at_all(self):
        tasks = self.make(one=(3600, self.recording('one')))
        tried = runner.PeriodicRunner(tasks)
        self.addCleanup(tried.stop)
        self.useFixture(self.counting(range(1, 4)))
        tried.start()
        for seconds in (1, 2, 4):
            self.await_log(f'retrying in {seconds} seconds')
            self.assertEqual(0, self.count('one'))
            self.step(seconds)
        state = self.await_runs(tasks, 'one', 1)
        self.assertEqual(1007, state.last.start)
        self.assertEqual(1, self.count('one'))
        self.assertIn("can't start new thread", self.log.output)
        self.assertIn(
            'No worker can be started for PeriodicTasks.one', self.log.output
        )
        self.assertTrue(tried.stop())

    def test_the_runner_itself_cannot_start(self):
        for number in (1, 2):
            tasks = self.make(one=(3600, self.recording('one')))
            tried = runner.PeriodicRunner(tasks)
            # The timer, and the monitor.
            with self.counting([number], of_workers=False):
                exc = self.assertRaises(exceptions.RunnerError, tried.start)
            self.assertIn("can't start new thread", str(exc))
            self.assertIsNone(tried.wait())
            tried.start()
            self.await_runs(tasks, 'one', 1)
            self.assertTrue(tried.stop())

    def test_few_threads(self):
        """Those that there are do the work of those that cannot start."""
        tasks = self.make(
            **{
                f'task_{number}': (3600, self.recording(f'task_{number}'))
                for number in range(20)
            }
        )
        with self.counting(range(2, 1000)):
            self.start(tasks)
            self.await_noted(lambda: len(self.ran) == 20)

    def test_nothing_is_left_behind(self):
        tasks = self.make(one=(1, self.recording('one')))
        before = set(threading.enumerate())

        def cycle(run):
            self.clock.advance(1)
            started = self.start(tasks)
            self.await_runs(tasks, 'one', run)
            self.assertTrue(started.stop(timeout=base.TIMEOUT))
            for thread in set(threading.enumerate()) - before:
                thread.join(base.TIMEOUT)
                self.assertFalse(thread.is_alive(), thread)

        cycle(1)
        fds = len(os.listdir('/dev/fd'))
        for run in range(2, 22):
            cycle(run)
        self.assertEqual(fds, len(os.listdir('/dev/fd')))


class TestStopping(runners.ClockMixin, runners.PolicyTestCase):
    def test_it_starts_again(self):
        tasks = self.make(one=(1, self.recording('one')))
        started = self.start(tasks)
        for run in range(3):
            self.await_runs(tasks, 'one', run + 1)
            self.clock.advance(1)
            self.assertTrue(started.stop())
            self.assertEqual(['The runner is not running'], started.health())
            started.start()
        self.assertEqual([], started.health())

    def test_twice_and_before_the_start(self):
        started = runner.PeriodicRunner(self.make())
        self.assertTrue(started.stop())
        self.assertIsNone(started.wait())
        started.start()
        self.assertTrue(started.stop())
        self.assertTrue(started.stop())

    def test_a_second_stop_does_not_wait(self):
        tasks = self.one(self.blocking('task'), spacing=3600)
        started = self.start(tasks)
        self.await_started('task')
        pool = self.selected.backend.worker_pool(1)
        self.addCleanup(pool.shutdown, wait=False)
        stops = self.event()

        def stop():
            stops.set()
            return started.stop(timeout=base.TIMEOUT * 2)

        first = pool.submit(stop)
        self.await_event(stops)
        start = time.monotonic()
        self.assertFalse(started.stop(graceful=False))
        self.gate.set()
        first.result(base.TIMEOUT)
        self.assertLess(time.monotonic() - start, base.TIMEOUT)
        state = self.await_runs(tasks, 'task', 1)
        self.assertEqual('stopped', state.last.outcome)

    def test_what_is_due_waits_for_the_next_start(self):
        tasks = self.make(
            slow=(3600, self.blocking('slow')),
            quick=(3600, self.recording('quick')),
        )
        started = self.start(tasks, workers=1)
        self.await_started('slow')
        self.assertEqual('waiting', tasks.periodic_state()['quick'].activity)
        self.assertFalse(started.stop(timeout=0.01))
        self.assertEqual(0, self.count('quick'))
        self.gate.set()
        started.start()
        self.await_runs(tasks, 'quick', 1)

    def test_a_pause_counts_until_the_start(self):
        tasks = self.make(
            slow=(3600, self.blocking('slow')),
            quick=(3600, self.recording('quick')),
        )
        started = self.start(tasks, workers=1)
        self.await_started('slow')
        started.pause('quick')
        self.gate.set()
        self.await_runs(tasks, 'slow', 1)
        self.settle()
        self.assertEqual('paused', tasks.periodic_state()['quick'].activity)
        self.assertEqual(0, self.count('quick'))
        started.resume('quick')
        self.await_runs(tasks, 'quick', 1)

    def test_workers_change_while_it_runs(self):
        tasks = periodic_task.PeriodicTasks(self.conf)
        for number in range(4):
            self.add(tasks, f'task_{number}', self.blocking('task'))
        started = self.start(tasks, workers=1)
        self.await_started('task')
        self.assertEqual((1, 1), started.workers)
        self.conf.set_override('workers', 3, 'oslo_periodic')
        started.reset()
        self.await_started('task', 3)
        self.settle()
        self.assertEqual(3, self.count('task'))
        self.assertEqual((3, 3), started.workers)
        self.assertIn('changed: 1 -> 3', self.log.output)
        self.gate.set()
        self.await_started('task', 4)


class TestIdle(runners.PolicyTestCase):
    def test_it_takes_no_time(self):
        """Neither when nothing is due, nor when all workers are held.

        The timer waits in real time, as in a service.
        """
        tasks = self.make(slow=(3600, self.blocking('slow')))
        for number in range(50):
            self.add(
                tasks,
                f'task_{number}',
                self.recording('task'),
                spacing=3600,
                run_immediately=number % 2 == 0,
            )
        self.start(tasks, workers=1)
        self.await_started('slow')
        for _ in range(2):
            used = time.process_time()
            self.selected.backend.sleep(0.5)
            used = time.process_time() - used
            # A busy loop would take all of it.
            self.assertLess(used, 0.2)
            self.gate.set()
            self.await_noted(lambda: self.count('task') == 25)


class TestLastingTasks(runners.ClockMixin, runners.PolicyTestCase):
    def test_base_exceptions(self):
        class Strange(BaseException):
            pass

        kinds = [SystemExit, KeyboardInterrupt, Strange, MemoryError]
        raised = []

        def work(tasks, context):
            kind = kinds[len(raised) % len(kinds)]
            raised.append(kind)
            raise kind('on purpose')

        tasks = self.one(work, spacing=1)
        started = self.start(tasks)
        for run in range(12):
            state = self.await_runs(tasks, 'task', run + 1)
            self.assertEqual(state.runs, state.failures)
            self.assertEqual(state.runs, state.failures_in_a_row)
            self.step(1)
        self.assertTrue(started.stop())
        self.assertEqual(kinds * 3, raised[:12])
        state = self.state(tasks)
        self.assertEqual([], [r for r in state.last_runs if not r.error])
        self.assertEqual(10, len(state.last_runs))

    def test_the_ticks_clock_is_stepped(self):
        """As it would be by a virtual machine that was suspended."""
        tasks = self.one(self.recording('task'), spacing=60)
        self.start(tasks)
        self.await_runs(tasks, 'task', 1)
        self.step(1000)
        state = self.await_runs(tasks, 'task', 2)
        self.assertEqual({'late': 15}, state.skipped)
        self.assertEqual(2020, state.due)

    def test_the_time_of_day_is_stepped(self):
        tasks = self.one(self.recording('task'), spacing=60)
        started = self.start(tasks)
        self.await_runs(tasks, 'task', 1)
        real = time.time
        for run, step in ((2, -86400.0), (3, 86400.0)):
            with fixtures.MonkeyPatch('time.time', lambda s=step: real() + s):
                self.step(60)
                self.await_runs(tasks, 'task', run)
                self.assertTrue(started.status()['healthy'])
        self.assertEqual({}, self.state(tasks).skipped)


class TestTimeOfDay(runners.PolicyTestCase):
    def test_it_is_stepped(self):
        """It matters to nothing; the ticks' clock is monotonic, and real."""
        self.assertIs(time.monotonic, periodic_task.now)
        tasks = self.one(self.recording('task'), spacing=0.05)
        started = self.start(tasks)
        self.await_started('task', 2)
        real = time.time
        for step in (-86400.0, 86400.0):
            with fixtures.MonkeyPatch('time.time', lambda s=step: real() + s):
                self.await_started('task', self.count('task') + 3)
                self.assertTrue(started.status()['healthy'])
        # A busy machine may have made some of them late.
        skipped = sum(self.state(tasks).skipped.values())
        self.assertLess(skipped, base.TIMEOUT / 0.05)


class TestServices(runners.RunnerTestCase):
    """The runner in the services of other libraries, in fresh processes."""

    scenarios = [('threading', {'backend': 'threading'})]

    TASKS = """
        import threading
        from oslo_config import cfg
        from oslo_periodic import periodic_task
        from oslo_periodic import runner

        class Tasks(periodic_task.PeriodicTasks):
            @periodic_task.periodic_task(spacing=0.05, run_immediately=True)
            def tell(self, context):
                print('ran', flush=True)
                ran.set()

        ran = threading.Event()
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], use_env=False)
        """

    def run_service(self, code):
        done = base.run_python(_dedent(self.TASKS) + _dedent(code))
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn('ran', done.stdout)
        self.assertNotIn('Traceback', done.stderr)
        return done

    def test_oslo_service(self):
        done = self.run_service("""
            from oslo_service import backend
            backend.init_backend(backend.BackendType.THREADING)
            from oslo_service import service

            class Service(service.Service):
                def __init__(self):
                    super().__init__()
                    self.runner = runner.PeriodicRunner(Tasks(conf))
                def start(self):
                    self.runner.start()
                    print('started', flush=True)
                def stop(self, graceful=False):
                    self.runner.stop(graceful)
                    super().stop(graceful)
                    print('stopped', flush=True)
                def wait(self):
                    self.runner.wait()
                def reset(self):
                    self.runner.reset()

            one = Service()
            one.start()
            assert ran.wait(60)
            one.reset()
            one.stop(graceful=True)
            ran.clear()
            one.start()
            assert ran.wait(60)
            one.stop()
            one.wait()
            """)
        self.assertEqual(2, done.stdout.count('stopped'))

    def test_cotyledon(self):
        """Its services run in processes of their own, and SIGTERM ends it."""
        done = self.run_service("""
            import os
            import signal
            import cotyledon

            class Service(cotyledon.Service):
                def __init__(self, worker_id):
                    super().__init__(worker_id)
                    self.runner = runner.PeriodicRunner(Tasks(conf))
                def run(self):
                    self.runner.start()
                    self.runner.wait()
                def terminate(self):
                    print('stopped', self.runner.stop(), flush=True)

            class Manager(cotyledon.ServiceManager):
                pass

            manager = Manager()
            manager.add(Service, workers=1)
            read, write = os.pipe()
            def end():
                # The first line of the service is there.
                os.read(read, 1)
                os.kill(os.getpid(), signal.SIGTERM)
            threading.Thread(target=end, daemon=True).start()
            told = Tasks.tell
            def tell(self, context):
                told(self, context)
                os.write(write, b'x')
            Tasks._periodic_tasks = [
                ('tell', periodic_task.periodic_task(
                    spacing=0.05, run_immediately=True, name='tell')(tell))
            ]
            manager.run()
            """)
        self.assertIn('stopped True', done.stdout)

    def test_a_process_whose_task_hangs_ends(self):
        done = self.run_service("""
            class Hanging(Tasks):
                @periodic_task.periodic_task(run_immediately=True)
                def hang(self, context):
                    hangs.set()
                    threading.Event().wait()

            hangs = threading.Event()
            started = runner.PeriodicRunner(Hanging(conf))
            started.start()
            assert ran.wait(60) and hangs.wait(60)
            assert not started.stop(timeout=0.1)
            print('stopped', flush=True)
            """)
        self.assertIn('stopped', done.stdout)
        self.assertIn('Hanging.hang is still running after', done.stderr)


def _dedent(code):
    import textwrap

    return textwrap.dedent(code)


class TestCapabilities(runners.PolicyTestCase):
    def test_what_a_backend_declares_is_what_is_done(self):
        kill = backend_base.Capability.KILL
        self.assertEqual(
            self.backend in ('eventlet', 'gevent'),
            kill in self.selected.backend.capabilities,
        )
