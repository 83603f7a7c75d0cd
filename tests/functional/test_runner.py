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

"""The runner, under every backend, on real time and bounded waits."""

import time

import fixtures

from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base
from tests.helpers import runners


class TestRunner(runners.RunnerTestCase):
    def test_a_slow_task_delays_no_other(self):
        tasks = self.make(
            slow=(0.01, self.blocking('slow')),
            quick=(0.01, self.recording('quick')),
        )
        self.start(tasks)
        self.await_condition(lambda: self.count('quick') >= 5)
        self.assertEqual(1, self.count('slow'))

    def test_a_task_runs_again_after_it_has_ended(self):
        tasks = self.make(slow=(0.01, self.blocking('slow')))
        self.start(tasks)
        self.await_condition(lambda: self.count('slow') == 1)
        self.gate.set()
        self.await_condition(lambda: self.count('slow') >= 3)

    def test_several_instances_and_a_context_for_each_run(self):
        contexts = iter(range(1000))
        self.start(
            self.make(one=(60, self.recording('one'))),
            self.make(two=(60, self.recording('two'))),
            context=lambda: next(contexts),
        )
        self.await_condition(lambda: len(self.ran) == 2)
        self.assertEqual({0, 1}, {context for _name, context in self.ran})

    def test_due_tasks_wait_for_a_worker_in_due_order(self):
        tasks = self.make(
            first=(60, self.blocking('first')),
            late=(60, self.recording('late')),
            later=(60, self.recording('later')),
        )
        now = periodic_task.now()
        tasks._periodic_last_run['later'] = now - 61
        tasks._periodic_last_run['late'] = now - 62
        started = self.start(tasks, workers=1)
        self.await_condition(lambda: self.count('first') == 1)
        self.await_condition(
            lambda: (
                self.names(started, 'waiting')
                == ['PeriodicTasks.late', 'PeriodicTasks.later']
            )
        )
        self.gate.set()
        self.await_condition(lambda: len(self.ran) == 3)
        self.assertEqual(
            ['first', 'late', 'later'], [name for name, _context in self.ran]
        )

    def test_adding_a_task_wakes_it(self):
        tasks = self.make(one=(3600, self.recording('one')))
        self.start(tasks)
        self.await_condition(lambda: self.count('one') == 1)
        tasks.add_periodic_task(
            periodic_task.periodic_task(name='two', run_immediately=True)(
                self.recording('two')
            )
        )
        self.await_condition(lambda: self.count('two') == 1)

    def test_a_change_from_outside_wakes_it(self):
        tasks = self.make(one=(3600, self.recording('one')))
        self.start(tasks)
        self.await_condition(lambda: self.count('one') == 1)
        tasks._periodic_last_run['one'] = None
        self.await_condition(lambda: self.count('one') == 2)
        tasks._periodic_spacing['one'] = 0.01
        self.await_condition(lambda: self.count('one') >= 4)

    def test_errors_are_the_tasks_own(self):
        def fail(tasks, context):
            self.ran.append(('fail', context))
            raise self.kind('on purpose')

        for self.kind in (ValueError, SystemExit, KeyboardInterrupt):
            self.ran.clear()
            started = self.start(
                self.make(
                    fail=(0.01, fail), good=(0.01, self.recording('good'))
                )
            )
            self.await_condition(
                lambda: self.count('fail') > 1 and self.count('good') > 1
            )
            self.assertTrue(started.stop(timeout=base.TIMEOUT))
            states = {s.full_name: s for s in started.periodic_state()}
            state = states['PeriodicTasks.fail']
            self.assertEqual(state.runs, state.failures)
            self.assertEqual(0, states['PeriodicTasks.good'].failures)
        self.assertIn('Error during PeriodicTasks.fail', self.log.output)

    def test_states(self):
        tasks = self.make(slow=(60, self.blocking('slow')))
        started = self.start(tasks)
        self.await_condition(lambda: self.count('slow') == 1)
        (state,) = started.periodic_state()
        self.assertEqual('running', state.activity)
        self.assertIsNotNone(state.running_since)
        self.assertIn('block (', state.running_at)
        self.assertIsNone(state.last)
        self.gate.set()
        self.await_condition(lambda: tasks.periodic_state()['slow'].runs == 1)
        state = tasks.periodic_state()['slow']
        self.assertEqual('idle', state.activity)
        self.assertIsNone(state.running_since)
        self.assertEqual('success', state.last.outcome)
        self.assertGreaterEqual(state.last.end, state.last.start)
        self.assertGreaterEqual(state.last.lateness, 0)


class TestStopping(runners.RunnerTestCase):
    def test_stop_waits_for_what_runs_and_starts_no_more(self):
        done = []

        def work(tasks, context):
            self.ran.append(('work', context))
            self.selected.backend.sleep(0.05)
            done.append(1)

        tasks = self.make(work=(60, work), queued=(60, self.recording('q')))
        started = self.start(tasks, workers=1)
        self.await_condition(lambda: self.ran)
        self.assertTrue(started.stop(timeout=base.TIMEOUT))
        self.assertEqual([1], done)
        self.assertEqual(0, self.count('q'))
        # What has not run is as due as it was.
        self.assertIsNone(tasks._periodic_last_run['queued'])
        tasks.run_periodic_tasks(None)
        self.assertEqual(1, self.count('q'))

    def test_stop_names_what_it_leaves_behind(self):
        started = self.start(self.make(slow=(60, self.blocking('slow'))))
        self.await_condition(lambda: self.count('slow') == 1)
        self.assertFalse(started.stop(timeout=0.05))
        self.assertIn(
            'PeriodicTasks.slow is still running after', self.log.output
        )
        self.assertIn('in block', self.log.output)

    def test_stop_is_not_graceful(self):
        started = self.start(self.make(slow=(60, self.blocking('slow'))))
        self.await_condition(lambda: self.count('slow') == 1)
        start = time.monotonic()
        self.assertFalse(started.stop(graceful=False))
        self.assertLess(time.monotonic() - start, 10)

    def test_wait_ends_with_stop(self):
        started = self.start(self.make(one=(60, self.recording('one'))))
        pool = self.selected.backend.worker_pool(1)
        self.addCleanup(pool.shutdown)
        waiting = pool.submit(started.wait)
        self.await_condition(lambda: self.ran)
        self.assertFalse(waiting.done())
        started.stop()
        self.assertIsNone(waiting.result(base.TIMEOUT))

    def test_it_starts_once(self):
        started = self.start(self.make())
        self.assertRaises(exceptions.RunnerError, started.start)
        self.assertRaises(ValueError, runner.PeriodicRunner, [])

    def test_a_timer_that_fails_is_not_silent(self):
        started = self.start(self.make(one=(60, self.recording('one'))))
        self.await_condition(lambda: self.ran)
        self.useFixture(
            fixtures.MonkeyPatch('oslo_periodic.periodic_task.now', None)
        )
        started.reset()
        self.assertRaises(exceptions.RunnerError, started.wait)
        self.assertIn(
            'runner of the periodic tasks has failed', self.log.output
        )
