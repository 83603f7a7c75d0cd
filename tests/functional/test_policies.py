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

"""The policies of a task under a runner, on every backend."""

import os
import signal
import sys
import time

import fixtures

from oslo_periodic.backends import base as backend_base
from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base
from tests.helpers import runners
from tests.helpers import ticks


class TestOverlapAndMissed(runners.ClockMixin, runners.PolicyTestCase):
    def overrun(self, expected, spacing=10, lasts=25, **arguments):
        """Have a task outlast its spacing in its first run.

        :param expected: when it runs, until ten seconds after that.
        """
        starts = []
        end = self.event()
        self.addCleanup(end.set)

        def work(tasks, context):
            starts.append(self.clock.time - 1000)
            self.noted.set()
            if len(starts) == 1:
                end.wait(base.TIMEOUT)

        self.tasks = self.one(work, spacing=spacing, **arguments)
        started = self.start(self.tasks)
        self.await_noted(lambda: starts)
        self.step(lasts)
        end.set()
        for second in range(lasts, lasts + 10):
            runs = len([start for start in expected if start <= second])
            self.await_runs(self.tasks, 'task', runs)
            self.step(1)
        self.assertTrue(started.stop(timeout=base.TIMEOUT))
        self.assertEqual(expected, starts)

    def test_skip(self):
        self.overrun([0, 30])
        self.assertEqual({'overlap': 2}, self.state(self.tasks).skipped)
        self.assertIn('missed runs: 2', self.log.output)

    def test_run_once(self):
        self.overrun([0, 25, 30], missed='run_once')
        self.assertEqual({'overlap': 1}, self.state(self.tasks).skipped)

    def test_queue(self):
        self.overrun([0, 25, 30], overlap='queue')
        self.assertEqual({'overlap': 1}, self.state(self.tasks).skipped)

    def test_queue_that_is_not_needed(self):
        self.overrun([0, 10], lasts=3, overlap='queue')
        self.assertEqual({}, self.state(self.tasks).skipped)

    def pausing(self, **arguments):
        starts = []
        self.tasks = self.one(
            lambda tasks, context: starts.append(self.clock.time - 1000),
            spacing=10,
            **arguments,
        )
        self.started = self.start(self.tasks)
        self.await_runs(self.tasks, 'task', 1)
        self.started.pause('task')
        self.assertEqual('paused', self.state(self.tasks).activity)
        self.step(25)
        self.assertIsNone(self.state(self.tasks).due)
        self.started.resume('task')
        return starts

    def test_pause_and_coalesce(self):
        starts = self.pausing()
        self.assertEqual(1030, self.state(self.tasks).due)
        self.assertEqual({'paused': 2}, self.state(self.tasks).skipped)
        self.step(5)
        self.await_runs(self.tasks, 'task', 2)
        self.assertEqual([0, 30], starts)

    def test_pause_and_run_once(self):
        starts = self.pausing(missed='run_once')
        state = self.await_runs(self.tasks, 'task', 2)
        self.assertEqual([0, 25], starts)
        self.assertEqual(1030, state.due)

    def test_pause_while_nothing_is_missed(self):
        starts = self.pausing(spread=False)
        self.started.pause('task')
        self.started.resume('task')
        self.assertEqual(1030, self.state(self.tasks).due)
        self.settle()
        self.assertEqual([0], starts)


class TestRunNow(runners.ClockMixin, runners.PolicyTestCase):
    def test_the_grid_stays(self):
        tasks = self.one(self.recording('task'), spacing=60)
        started = self.start(tasks)
        self.await_runs(tasks, 'task', 1)
        self.step(20)
        self.assertEqual(['PeriodicTasks.task'], started.run('task'))
        state = self.await_runs(tasks, 'task', 2)
        self.assertEqual(1060, state.due)
        self.assertEqual(0, state.last.lateness)

    def test_paused(self):
        tasks = self.one(self.recording('task'), run_immediately=False)
        started = self.start(tasks)
        started.pause('PeriodicTasks.task')
        started.run('PeriodicTasks.task')
        state = self.await_runs(tasks, 'task', 1)
        self.assertEqual('paused', state.activity)

    def test_it_is_not_lost_while_it_waits(self):
        """Whatever is changed until a worker is free."""
        tasks = self.make(
            slow=(3600, self.blocking('slow')),
            task=(3600, self.recording('task')),
        )
        started = self.start(tasks, workers=1)
        self.await_started('slow')
        started.pause('task')
        started.run('task')
        tasks._periodic_spacing['task'] = 1800
        started.resume('task')
        started.pause('task')
        self.assertEqual('waiting', self.state(tasks).activity)
        self.gate.set()
        state = self.await_runs(tasks, 'task', 1)
        self.assertEqual(1, self.count('task'))
        self.assertEqual('paused', state.activity)

    def test_while_it_runs(self):
        tasks = self.one(self.blocking('task'))
        started = self.start(tasks)
        self.await_started('task')
        exc = self.assertRaises(exceptions.RunnerError, started.run, 'task')
        self.assertIn('is running', str(exc))
        self.gate.set()
        self.await_runs(tasks, 'task', 1)
        self.settle()
        self.assertEqual(1, self.count('task'))

    def test_while_it_runs_and_queues(self):
        tasks = self.one(self.blocking('task'), overlap='queue')
        started = self.start(tasks)
        self.await_started('task')
        started.run('task')
        exc = self.assertRaises(exceptions.RunnerError, started.run, 'task')
        self.assertIn('another run is queued', str(exc))
        self.gate.set()
        self.await_runs(tasks, 'task', 2)

    def test_names(self):
        class One(periodic_task.PeriodicTasks):
            @periodic_task.periodic_task
            def same(self, context):
                """Do nothing."""

            @periodic_task.periodic_task(enabled=False)
            def off(self, context):
                """Do nothing."""

        class Two(One):
            pass

        started = self.start(One(self.conf), Two(self.conf), Two(self.conf))
        for name, words in (
            ('same', ('One.same and Two.same', 'the full name')),
            ('One.sane', ('no periodic task', 'One.same?')),
            ('One.off', ('disabled', '[periodic_task:One.off]')),
        ):
            exc = self.assertRaises(
                exceptions.RunnerError, started.pause, name
            )
            for word in words:
                self.assertIn(word, str(exc))
        # Several instances of one class are meant together.
        self.assertEqual(['Two.same', 'Two.same'], started.pause('Two.same'))


class TestTimeout(runners.ClockMixin, runners.PolicyTestCase):
    def can_kill(self):
        backend = self.selected.backend
        return backend_base.Capability.KILL in backend.capabilities

    def test_what_waits(self):
        """It is killed, or asked to end and named."""
        ended = []

        def work(tasks, context):
            self.note('work')
            try:
                runner.cancel_event().wait(base.TIMEOUT)
            finally:
                ended.append(1)

        tasks = self.one(work, timeout=5)
        self.start(tasks)
        self.await_started('work')
        self.step(4.999)
        self.assertEqual('running', self.state(tasks).activity)
        self.assertNotIn('timeout', self.log.output)
        self.step(0.001)
        last = self.await_runs(tasks, 'task', 1).last
        self.assertEqual([1], ended)
        self.assertEqual('timeout', last.outcome)
        self.assertIn('timeout of 5 s', last.error)
        self.assertEqual((1000.0, 1005.0), (last.start, last.end))
        self.assertIn(
            'PeriodicTasks.task has exceeded its timeout of 5 seconds',
            self.log.output,
        )
        done = 'cannot be killed'
        if self.can_kill():
            done = 'its green thread is killed'
        self.assertIn(done, self.log.output)
        # The stack that is logged is that of the task.
        self.assertIn('in work', self.log.output)

    def test_what_does_not_listen(self):
        """A native thread goes on; that is told once, and counted."""
        if self.can_kill():
            self.skipTest('what waits is killed')
        tasks = self.one(self.blocking('task'), timeout=5)
        started = self.start(tasks)
        self.await_started('task')
        self.step(5)
        self.assertIn('has exceeded its timeout', self.log.output)
        self.assertEqual('running', self.state(tasks).activity)
        for _ in range(5):
            started.reset()
            self.step(60)
        self.assertEqual(1, self.log.output.count('has exceeded its timeout'))
        self.gate.set()
        state = self.await_runs(tasks, 'task', 1)
        self.assertEqual('timeout', state.last.outcome)

    def test_the_pool_goes_on(self):
        """Killed runs leave their workers free."""
        if not self.can_kill():
            self.skipTest('a native thread cannot be killed')
        tasks = self.make(good=(1, self.recording('good')))
        hanging = [f'hangs_{number}' for number in range(3)]
        for name in hanging:
            self.add(tasks, name, self.blocking(name), spacing=2, timeout=2)
        self.start(tasks, workers=4)
        for second in range(10):
            self.await_runs(tasks, 'good', second + 1)
            for name in hanging:
                self.await_runs(tasks, name, second // 2)
                self.await_started(name, second // 2 + 1)
            self.step(1)
        self.await_runs(tasks, 'good', 11)

    def test_in_time(self):
        tasks = self.one(self.recording('task'), spacing=1, timeout=5)
        self.start(tasks)
        for run in range(5):
            state = self.await_runs(tasks, 'task', run + 1)
            self.assertEqual('success', state.last.outcome)
            self.step(1)
        self.step(5)
        self.assertNotIn('timeout', self.log.output)

    def test_cancel_event_outside_of_a_run(self):
        self.assertFalse(runner.cancel_event().is_set())


class Isolated(periodic_task.PeriodicTasks):
    """What runs in a process; the context says what it does."""

    @periodic_task.periodic_task(
        spacing=60, run_immediately=True, isolation='process'
    )
    def task(self, context):
        kind, path = context
        with open(path, 'a') as file:
            file.write(f'{os.getpid()}\n')
        if kind == 'raise':
            raise ValueError('on purpose')
        if kind == 'exit':
            os._exit(7)
        if kind == 'die':
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == 'hang':
            time.sleep(base.TIMEOUT)


class IsolationTestCase(runners.PolicyTestCase):
    scenarios = [('threading', {'backend': 'threading'})]

    def setUp(self):
        super().setUp()
        from tests import MONKEY_PATCHED

        if MONKEY_PATCHED:
            self.skipTest('a patched process has no pool of processes')
        self.path = self.useFixture(fixtures.TempDir()).join('x')
        self.addCleanup(ticks.close, self.selected.backend)

    def isolate(self, kind, **options):
        opts.register(self.conf)
        for name, value in options.items():
            self.conf.set_override(name, value, 'oslo_periodic')
        self.tasks = Isolated(self.conf)
        self.started = self.start(self.tasks, context=(kind, self.path))
        return self.tasks

    def pids(self):
        try:
            with open(self.path) as file:
                return [int(line) for line in file]
        except FileNotFoundError:
            return []


class TestIsolation(IsolationTestCase):
    """In real time, as the processes are real."""

    def outcome(self, kind):
        tasks = self.isolate(kind)
        state = self.await_runs(tasks, 'task', 1)
        self.assertNotIn(os.getpid(), self.pids())
        self.assertEqual(1, len(self.pids()))
        return state.last

    def test_it_runs_in_a_process(self):
        last = self.outcome('work')
        self.assertEqual(('success', None), (last.outcome, last.error))

    def test_it_raises(self):
        last = self.outcome('raise')
        self.assertEqual('failure', last.outcome)
        self.assertEqual('ValueError: on purpose', last.error)
        # It is logged when the process has been given back.
        self.await_log('Error during Isolated.task')

    def test_it_dies(self):
        for kind, word in (('exit', 'code 7'), ('die', 'SIGKILL')):
            last = self.outcome(kind)
            self.assertEqual('died', last.outcome)
            self.assertIn(word, last.error)
            os.unlink(self.path)

    def test_timeout(self):
        tasks = self.isolate('hang', default_timeout=0.2)
        last = self.await_runs(tasks, 'task', 1).last
        self.assertEqual('timeout', last.outcome)
        self.assertIn('Isolated.task was ended after 0.2', last.error)
        # Its stack.
        self.await_log('in task')
        self.assertIn(
            'Isolated.task has exceeded its timeout of 0.2 seconds: its '
            'process is killed',
            self.log.output,
        )
        self.await_gone(self.pids())

    def await_gone(self, pids):
        self.assertTrue(pids)
        for pid in pids:
            self.await_condition(
                lambda pid=pid: not os.path.exists(f'/proc/{pid}')
            )

    def test_stop_ends_it(self):
        tasks = self.isolate('hang')
        self.await_condition(self.pids)
        self.assertFalse(self.started.stop(timeout=0.05))
        self.assertIn('its process is killed', self.log.output)
        self.await_gone(self.pids())
        self.assertEqual('stopped', self.state(tasks).last.outcome)

    def test_a_context_that_cannot_be_made(self):
        def context():
            raise LookupError('no context')

        tasks = Isolated(self.conf)
        self.start(tasks, context=context)
        state = self.await_runs(tasks, 'task', 1)
        self.assertIn('no context', state.last.error)

    def test_what_does_not_pickle(self):
        tasks = Isolated(self.conf)
        tasks.lock = sys._getframe()
        self.start(tasks, context=('work', self.path))
        last = self.await_runs(tasks, 'task', 1).last
        self.assertEqual('failure', last.outcome)
        self.assertIn('NotPicklableError', last.error)
        # It waits for its next boundary, and not for a moment.
        self.assertGreater(self.state(tasks).due, periodic_task.now() + 30)


class TestNoPool(runners.ClockMixin, IsolationTestCase):
    def test_a_pool_that_cannot_start(self):
        """What was not run is tried again, and nothing is lost."""
        with fixtures.MonkeyPatch('sys.executable', '/nowhere'):
            tasks = self.isolate('work')
            for seconds in (1, 2):
                self.await_log(f'retrying in {seconds} seconds')
                self.settle()
                self.assertEqual(0, self.state(tasks).runs)
                self.assertEqual('waiting', self.state(tasks).activity)
                (task,) = self.started.status()['tasks']
                self.assertIn('no worker could be started', task['reason'])
                if seconds == 1:
                    self.step(1)
        self.step(1.999)
        self.assertEqual(0, self.state(tasks).runs)
        self.step(0.001)
        state = self.await_runs(tasks, 'task', 1)
        self.assertEqual('success', state.last.outcome)


class TestNoProcesses(runners.PolicyTestCase):
    def test_it_is_an_error_at_the_start(self):
        backend = self.selected.backend
        if backend_base.Capability.PROCESSES in backend.capabilities:
            self.skipTest('it has processes')
        started = runner.PeriodicRunner(Isolated(self.conf))
        exc = self.assertRaises(
            exceptions.UnsupportedBackendError, started.start
        )
        for word in ('Isolated.task', 'isolation = process', self.backend):
            self.assertIn(word, str(exc))
        # And nothing is left that would keep it from starting.
        opts.register_task(self.conf, 'Isolated', 'task')
        self.conf.set_override(
            'isolation', 'thread', 'periodic_task:Isolated.task'
        )
        started.reset()
        started.start()
        self.assertTrue(started.stop())
