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
from oslo_periodic import fixture
from oslo_periodic import opts
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base
from tests.helpers import runners
from tests.helpers import ticks


class TestOverlapAndMissed(runners.PolicyTestCase):
    """On a clock that the test moves, so that nothing depends on timing."""

    def setUp(self):
        super().setUp()
        self.clock = self.useFixture(fixture.ClockFixture())

    def overrun(self, spacing=10, lasts=25, **arguments):
        """Have a task outlast its spacing in its first run.

        :returns: when it ran, within some seconds after that.
        """
        starts = []
        end = self.event()
        self.addCleanup(end.set)

        def work(tasks, context):
            starts.append(self.clock.time - 1000)
            if len(starts) == 1:
                end.wait(base.TIMEOUT)

        self.tasks = self.one(work, spacing=spacing, **arguments)
        self.started = self.start(self.tasks)
        self.await_condition(lambda: starts)
        self.clock.advance(lasts)
        end.set()
        self.await_condition(lambda: self.state(self.tasks).runs >= 1)
        for _ in range(10):
            # The timer sleeps on real time.
            runs = self.state(self.tasks).runs
            self.started.reset()
            self.await_condition(
                lambda: self.state(self.tasks).activity == 'idle'
            )
            if self.state(self.tasks).due <= self.clock.time:
                self.await_condition(
                    lambda runs=runs: self.state(self.tasks).runs > runs
                )
            self.clock.advance(1)
        return starts

    def test_skip(self):
        self.assertEqual([0, 30], self.overrun())
        self.assertEqual({'overlap': 2}, self.state(self.tasks).skipped)
        self.assertIn('missed runs: 2', self.log.output)

    def test_run_once(self):
        self.assertEqual([0, 25, 30], self.overrun(missed='run_once'))
        self.assertEqual({'overlap': 1}, self.state(self.tasks).skipped)

    def test_queue(self):
        self.assertEqual([0, 25, 30], self.overrun(overlap='queue'))
        self.assertEqual({'overlap': 1}, self.state(self.tasks).skipped)

    def test_queue_that_is_not_needed(self):
        self.assertEqual([0, 10], self.overrun(lasts=3, overlap='queue'))
        self.assertEqual({}, self.state(self.tasks).skipped)

    def pausing(self, **arguments):
        starts = []
        self.tasks = self.one(
            lambda tasks, context: starts.append(self.clock.time - 1000),
            spacing=10,
            **arguments,
        )
        self.started = self.start(self.tasks)
        self.await_condition(lambda: self.state(self.tasks).runs == 1)
        self.started.pause('task')
        self.assertEqual('paused', self.state(self.tasks).activity)
        self.clock.advance(25)
        self.started.reset()
        self.assertIsNone(self.state(self.tasks).due)
        self.started.resume('task')
        return starts

    def test_pause_and_coalesce(self):
        starts = self.pausing()
        self.assertEqual(1030, self.state(self.tasks).due)
        self.assertEqual({'paused': 2}, self.state(self.tasks).skipped)
        self.clock.advance(5)
        self.started.reset()
        self.await_condition(lambda: len(starts) == 2)
        self.assertEqual([0, 30], starts)

    def test_pause_and_run_once(self):
        starts = self.pausing(missed='run_once')
        self.await_condition(lambda: len(starts) == 2)
        self.assertEqual([0, 25], starts)
        self.await_condition(lambda: self.state(self.tasks).due == 1030)

    def test_pause_while_nothing_is_missed(self):
        starts = self.pausing(spread=False)
        self.started.pause('task')
        self.started.resume('task')
        self.assertEqual(1030, self.state(self.tasks).due)
        self.assertEqual([0], starts)


class TestRunNow(runners.PolicyTestCase):
    def test_the_grid_stays(self):
        clock = self.useFixture(fixture.ClockFixture())
        tasks = self.one(self.recording('task'), spacing=60)
        started = self.start(tasks)
        self.await_condition(lambda: self.state(tasks).runs == 1)
        clock.advance(20)
        self.assertEqual(['PeriodicTasks.task'], started.run('task'))
        self.await_condition(lambda: self.state(tasks).runs == 2)
        self.assertEqual(1060, self.state(tasks).due)
        self.assertEqual(0, self.state(tasks).last.lateness)

    def test_paused(self):
        tasks = self.one(self.recording('task'), run_immediately=False)
        started = self.start(tasks)
        started.pause('PeriodicTasks.task')
        started.run('PeriodicTasks.task')
        self.await_condition(lambda: self.state(tasks).runs == 1)
        self.assertEqual('paused', self.state(tasks).activity)

    def test_it_is_not_lost_while_it_waits(self):
        """Whatever is changed until a worker is free."""
        tasks = self.make(
            slow=(3600, self.blocking('slow')),
            task=(3600, self.recording('task')),
        )
        started = self.start(tasks, workers=1)
        self.await_condition(lambda: self.count('slow') == 1)
        started.pause('task')
        started.run('task')
        tasks._periodic_spacing['task'] = 1800
        started.resume('task')
        started.pause('task')
        self.assertEqual('waiting', self.state(tasks).activity)
        self.gate.set()
        self.await_condition(lambda: self.count('task') == 1)
        self.await_condition(lambda: self.state(tasks).activity == 'paused')

    def test_while_it_runs(self):
        tasks = self.one(self.blocking('task'))
        started = self.start(tasks)
        self.await_condition(lambda: self.count('task') == 1)
        exc = self.assertRaises(exceptions.RunnerError, started.run, 'task')
        self.assertIn('is running', str(exc))
        self.gate.set()
        self.await_condition(lambda: self.state(tasks).runs == 1)
        self.assertEqual(1, self.count('task'))

    def test_while_it_runs_and_queues(self):
        tasks = self.one(self.blocking('task'), overlap='queue')
        started = self.start(tasks)
        self.await_condition(lambda: self.count('task') == 1)
        started.run('task')
        exc = self.assertRaises(exceptions.RunnerError, started.run, 'task')
        self.assertIn('another run is queued', str(exc))
        self.gate.set()
        self.await_condition(lambda: self.state(tasks).runs == 2)

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


class TestTimeout(runners.PolicyTestCase):
    def can_kill(self):
        backend = self.selected.backend
        return backend_base.Capability.KILL in backend.capabilities

    def test_what_waits(self):
        """It is killed, or asked to end and named."""
        ended = []

        def work(tasks, context):
            try:
                runner.cancel_event().wait(base.TIMEOUT)
            finally:
                ended.append(1)

        tasks = self.one(work, timeout=0.05)
        self.start(tasks)
        self.await_condition(lambda: self.state(tasks).runs == 1)
        self.assertEqual([1], ended)
        last = self.state(tasks).last
        self.assertEqual('timeout', last.outcome)
        self.assertIn('timeout of 0.05 s', last.error)
        self.assertGreaterEqual(last.end - last.start, 0.05)
        self.assertIn(
            'PeriodicTasks.task has exceeded its timeout of 0.05 seconds',
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
        tasks = self.one(self.blocking('task'), timeout=0.05)
        started = self.start(tasks)
        self.await_condition(
            lambda: 'has exceeded its timeout' in self.log.output
        )
        self.assertEqual('running', self.state(tasks).activity)
        for _ in range(5):
            started.reset()
            self.selected.backend.sleep(0.01)
        self.assertEqual(1, self.log.output.count('has exceeded its timeout'))
        self.gate.set()
        self.await_condition(lambda: self.state(tasks).runs == 1)
        self.assertEqual('timeout', self.state(tasks).last.outcome)

    def test_the_pool_goes_on(self):
        """Killed runs leave their workers free."""
        if not self.can_kill():
            self.skipTest('a native thread cannot be killed')
        tasks = self.make(good=(0.01, self.recording('good')))
        for number in range(3):
            self.add(
                tasks,
                f'hangs_{number}',
                self.blocking('hangs'),
                spacing=0.02,
                timeout=0.02,
            )
        self.start(tasks, workers=4)
        self.await_condition(lambda: self.count('hangs') >= 9)
        good = self.count('good')
        self.await_condition(lambda: self.count('good') > good + 5)

    def test_in_time(self):
        tasks = self.one(self.recording('task'), spacing=0.01, timeout=5)
        self.start(tasks)
        self.await_condition(lambda: self.state(tasks).runs >= 5)
        self.assertEqual('success', self.state(tasks).last.outcome)
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


class TestIsolation(runners.PolicyTestCase):
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

    def outcome(self, kind):
        tasks = self.isolate(kind)
        self.await_condition(lambda: self.state(tasks).runs == 1)
        self.assertNotIn(os.getpid(), self.pids())
        self.assertEqual(1, len(self.pids()))
        return self.state(tasks).last

    def test_it_runs_in_a_process(self):
        last = self.outcome('work')
        self.assertEqual(('success', None), (last.outcome, last.error))

    def test_it_raises(self):
        last = self.outcome('raise')
        self.assertEqual('failure', last.outcome)
        self.assertEqual('ValueError: on purpose', last.error)
        # It is logged when the process has been given back.
        self.await_condition(
            lambda: 'Error during Isolated.task' in self.log.output
        )

    def test_it_dies(self):
        for kind, word in (('exit', 'code 7'), ('die', 'SIGKILL')):
            last = self.outcome(kind)
            self.assertEqual('died', last.outcome)
            self.assertIn(word, last.error)
            os.unlink(self.path)

    def test_timeout(self):
        tasks = self.isolate('hang', default_timeout=0.2)
        self.await_condition(lambda: self.state(tasks).runs == 1)
        last = self.state(tasks).last
        self.assertEqual('timeout', last.outcome)
        self.assertIn('Isolated.task was ended after 0.2', last.error)
        # Its stack.
        self.await_condition(lambda: 'in task' in self.log.output)
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
        self.await_condition(lambda: self.state(tasks).runs == 1)
        self.assertIn('no context', self.state(tasks).last.error)

    def test_what_does_not_pickle(self):
        tasks = Isolated(self.conf)
        tasks.lock = sys._getframe()
        self.start(tasks, context=('work', self.path))
        self.await_condition(lambda: self.state(tasks).runs == 1)
        last = self.state(tasks).last
        self.assertEqual('failure', last.outcome)
        self.assertIn('NotPicklableError', last.error)
        # It waits for its next boundary, and not for a moment.
        self.assertGreater(self.state(tasks).due, periodic_task.now() + 30)

    def test_a_pool_that_cannot_start(self):
        """What was not run is tried again, and nothing is lost."""
        self.useFixture(
            fixtures.MonkeyPatch(
                'oslo_periodic.drivers._retries._FIRST_RETRY', 0.05
            )
        )
        with fixtures.MonkeyPatch('sys.executable', '/nowhere'):
            tasks = self.isolate('work')
            self.await_condition(
                lambda: 'retrying in 0.1 seconds' in self.log.output
            )
            self.assertEqual(0, self.state(tasks).runs)
            self.assertEqual('waiting', self.state(tasks).activity)
            (task,) = self.started.status()['tasks']
            self.assertIn('no worker could be started', task['reason'])
        self.await_condition(lambda: self.state(tasks).runs == 1)
        self.assertEqual('success', self.state(tasks).last.outcome)


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
