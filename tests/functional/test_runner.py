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

"""The runner, under every backend, with bounded waits."""

import time

import fixtures

from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base
from tests.helpers import runners


class TestRunner(runners.ClockMixin, runners.RunnerTestCase):
    def test_a_slow_task_delays_no_other(self):
        tasks = self.make(
            slow=(1, self.blocking('slow')),
            quick=(1, self.recording('quick')),
        )
        self.start(tasks)
        for run in range(5):
            self.await_runs(tasks, 'quick', run + 1)
            self.step(1)
        self.assertEqual(1, self.count('slow'))

    def test_a_task_runs_again_after_it_has_ended(self):
        tasks = self.make(slow=(1, self.blocking('slow')))
        self.start(tasks)
        self.await_started('slow')
        self.gate.set()
        for run in range(3):
            self.await_runs(tasks, 'slow', run + 1)
            self.step(1)

    def test_several_instances_and_a_context_for_each_run(self):
        contexts = iter(range(1000))
        self.start(
            self.make(one=(60, self.recording('one'))),
            self.make(two=(60, self.recording('two'))),
            context=lambda: next(contexts),
        )
        self.await_noted(lambda: len(self.ran) == 2)
        self.assertEqual({0, 1}, {context for _name, context in self.ran})

    def test_due_tasks_wait_for_a_worker_in_due_order(self):
        tasks = self.make(
            first=(60, self.blocking('first')),
            late=(60, self.recording('late')),
            later=(60, self.recording('later')),
        )
        tasks._periodic_last_run['later'] = 1000 - 61
        tasks._periodic_last_run['late'] = 1000 - 62
        started = self.start(tasks, workers=1)
        self.await_started('first')
        self.assertEqual(
            ['PeriodicTasks.late', 'PeriodicTasks.later'],
            self.names(started, 'waiting'),
        )
        self.gate.set()
        self.await_noted(lambda: len(self.ran) == 3)
        self.assertEqual(
            ['first', 'late', 'later'], [name for name, _context in self.ran]
        )

    def test_adding_a_task_wakes_it(self):
        tasks = self.make(one=(3600, self.recording('one')))
        self.start(tasks)
        self.await_runs(tasks, 'one', 1)
        tasks.add_periodic_task(
            periodic_task.periodic_task(name='two', run_immediately=True)(
                self.recording('two')
            )
        )
        self.await_runs(tasks, 'two', 1)

    def test_a_change_from_outside_wakes_it(self):
        tasks = self.make(one=(3600, self.recording('one')))
        self.start(tasks)
        self.await_runs(tasks, 'one', 1)
        tasks._periodic_last_run['one'] = None
        self.await_runs(tasks, 'one', 2)
        tasks._periodic_spacing['one'] = 10
        self.settle()
        for run in (3, 4):
            self.step(10)
            self.await_runs(tasks, 'one', run)

    def fail_with(self, kind):
        def fail(tasks, context):
            self.note('fail')
            raise kind('on purpose')

        tasks = self.make(fail=(1, fail), good=(1, self.recording('good')))
        started = self.start(tasks)
        for run in (1, 2, 3):
            state = self.await_runs(tasks, 'fail', run)
            self.assertEqual(run, state.failures)
            state = self.await_runs(tasks, 'good', run)
            self.assertEqual(0, state.failures)
            self.step(1)
        self.assertTrue(started.stop(timeout=base.TIMEOUT))
        self.assertIn('Error during PeriodicTasks.fail', self.log.output)

    def test_errors_are_the_tasks_own(self):
        self.fail_with(ValueError)

    def test_an_exit_is_the_tasks_own(self):
        self.fail_with(SystemExit)

    def test_an_interrupt_is_the_tasks_own(self):
        self.fail_with(KeyboardInterrupt)

    def test_states(self):
        tasks = self.make(slow=(60, self.blocking('slow')))
        started = self.start(tasks)
        self.await_started('slow')
        (state,) = started.periodic_state()
        self.assertEqual('running', state.activity)
        self.assertEqual(1000.0, state.running_since)
        self.assertIn('block (', state.running_at)
        self.assertIsNone(state.last)
        self.step(2.5)
        self.gate.set()
        state = self.await_runs(tasks, 'slow', 1)
        self.assertEqual('idle', state.activity)
        self.assertIsNone(state.running_since)
        self.assertEqual('success', state.last.outcome)
        self.assertEqual(1000.0, state.last.start)
        self.assertEqual(1002.5, state.last.end)
        self.assertEqual(0.0, state.last.lateness)


class TestStopping(runners.RunnerTestCase):
    """In real time, as the runner's waits for its runs are."""

    def test_stop_waits_for_what_runs_and_starts_no_more(self):
        done = []

        def work(tasks, context):
            self.note('work', context)
            self.selected.backend.sleep(0.05)
            done.append(1)

        tasks = self.make(work=(60, work), queued=(60, self.recording('q')))
        started = self.start(tasks, workers=1)
        self.await_started('work')
        self.assertTrue(started.stop(timeout=base.TIMEOUT))
        self.assertEqual([1], done)
        self.assertEqual(0, self.count('q'))
        # What has not run is as due as it was.
        self.assertIsNone(tasks._periodic_last_run['queued'])
        tasks.run_periodic_tasks(None)
        self.assertEqual(1, self.count('q'))

    def test_stop_names_what_it_leaves_behind(self):
        started = self.start(self.make(slow=(60, self.blocking('slow'))))
        self.await_started('slow')
        self.assertFalse(started.stop(timeout=0.05))
        self.assertIn(
            'PeriodicTasks.slow is still running after', self.log.output
        )
        self.assertIn('in block', self.log.output)

    def test_stop_is_not_graceful(self):
        started = self.start(self.make(slow=(60, self.blocking('slow'))))
        self.await_started('slow')
        start = time.monotonic()
        self.assertFalse(started.stop(graceful=False))
        self.assertLess(time.monotonic() - start, 10)

    def test_wait_ends_with_stop(self):
        started = self.start(self.make(one=(60, self.recording('one'))))
        pool = self.selected.backend.worker_pool(1)
        self.addCleanup(pool.shutdown)
        waiting = pool.submit(started.wait)
        self.await_started('one')
        self.assertFalse(waiting.done())
        started.stop()
        self.assertIsNone(waiting.result(base.TIMEOUT))

    def test_it_starts_once(self):
        started = self.start(self.make())
        self.assertRaises(exceptions.RunnerError, started.start)
        self.assertRaises(ValueError, runner.PeriodicRunner, [])

    def test_a_timer_that_fails_is_not_silent(self):
        started = self.start(self.make(one=(60, self.recording('one'))))
        self.await_started('one')
        self.useFixture(
            fixtures.MonkeyPatch('oslo_periodic.periodic_task.now', None)
        )
        started.reset()
        self.assertRaises(exceptions.RunnerError, started.wait)
        # It reaches wait() before it is logged.
        self.await_log('periodic task runner has failed')
