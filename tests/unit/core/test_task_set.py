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

"""The life cycle of a run, and what operators do beside."""

import logging

import fixtures

from oslo_periodic.core import _schedule
from oslo_periodic import status
from tests import base
from tests.helpers import task_sets


class TaskSetTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
        self.tasks = task_sets.make()
        self.clock = self.tasks.clock
        self.schedule = self.tasks.schedule

    def take(self, row=0):
        self.schedule.collect(self.clock.time)
        return self.tasks.take(row)

    def begin(self, row=0):
        return self.tasks.begin(self.take(row), self.clock.time)

    def run_for(self, seconds, row=0, **outcome):
        begun = self.begin(row)
        self.clock.time += seconds
        self.tasks.finish(begun, **outcome)

    def skipped(self, row=0):
        return self.tasks.history.skipped.get(row, {})

    def record(self, row=0):
        return self.tasks.history.records[row]


class TestTake(TaskSetTestCase):
    def test_what_is_not_due(self):
        task_sets.add(self.tasks, last_run=991.0)
        self.assertIsNone(self.take())

    def test_once(self):
        task_sets.add(self.tasks, last_run=990.0)
        ref = self.take()
        self.assertEqual(
            ('one', 'Empty.one', 0), (ref.name, ref.full_name, ref.row)
        )
        self.assertIsNone(self.take())

    def test_requeue(self):
        task_sets.add(self.tasks, last_run=990.0)
        self.tasks.requeue(self.take())
        self.assertEqual(990.0, self.schedule.last_run(0))
        self.assertIsNotNone(self.take())

    def test_requeue_of_what_was_removed(self):
        task_sets.add(self.tasks, last_run=990.0)
        ref = self.take()
        self.tasks.remove('one')
        self.tasks.requeue(ref)
        self.assertIsNone(self.take())

    def test_policy(self):
        task_sets.add(self.tasks, timeout=5)
        self.assertEqual(5, self.take().policy.timeout)
        self.tasks.settings.clear()
        self.assertEqual(0, self.tasks.policy('one').timeout)


class TestBegin(TaskSetTestCase):
    def test_in_time(self):
        task_sets.add(self.tasks, last_run=990.0)
        begun = self.begin()
        self.assertIs(task_sets.function, begun.function)
        self.assertEqual(
            (0, 1000.0, 0.0, 1000.0),
            (begun.row, begun.started, begun.lateness, begun.boundary),
        )
        self.assertIs(begun, self.tasks.history.running[0])
        self.assertEqual(1000.0, self.schedule.last_run(0))
        self.assertIn('Running periodic task Empty.one', self.log.output)

    def test_a_note(self):
        task_sets.add(self.tasks)
        self.tasks.begin(self.take(), 1000.0, note=' in a worker')
        self.assertIn('task Empty.one in a worker', self.log.output)

    def test_the_first_run_is_not_late(self):
        task_sets.add(self.tasks)
        begun = self.begin()
        self.assertEqual((0.0, 1000.0), (begun.lateness, begun.boundary))

    def test_late(self):
        task_sets.add(self.tasks, last_run=987.0)
        begun = self.begin()
        self.assertEqual((3.0, 997.0), (begun.lateness, begun.boundary))
        self.assertEqual({}, self.skipped())

    def test_so_late_that_runs_were_missed(self):
        task_sets.add(self.tasks, last_run=955.0)
        begun = self.begin()
        self.assertEqual((35.0, 995.0), (begun.lateness, begun.boundary))
        self.assertEqual({'late': 3}, self.skipped())

    def test_late_by_exactly_one_spacing(self):
        task_sets.add(self.tasks, last_run=980.0)
        self.assertEqual(10.0, self.begin().lateness)
        self.assertEqual({'late': 1}, self.skipped())

    def test_a_tiny_spacing_is_bounded(self):
        task_sets.add(self.tasks, spacing=1e-300, last_run=0.0)
        self.begin()
        self.assertEqual({'late': 2**53}, self.skipped())

    def test_jitter_moves_the_grid(self):
        self.clock.jitter = 1.0
        task_sets.add(self.tasks, spacing=100.0, last_run=890.0)
        self.assertEqual(995.0, self.begin().boundary)

    def test_jitter_does_not_move_a_fixed_phase(self):
        self.clock.jitter = 1.0
        task_sets.add(self.tasks, spacing=100.0, last_run=890.0, spread=True)
        self.assertEqual(990.0, self.begin().boundary)

    def test_requested(self):
        """Its grid stays, and it is not late, however long it was not run."""
        for last_run, boundary in ((995.0, 995.0), (955.0, 995.0)):
            row = task_sets.add(self.tasks, f'{last_run}', last_run=last_run)
            self.assertTrue(self.schedule.request(row))
            begun = self.begin(row)
            self.assertEqual((0.0, boundary), (begun.lateness, begun.boundary))
            self.assertEqual({}, self.skipped(row))

    def test_removed(self):
        task_sets.add(self.tasks, last_run=990.0)
        ref = self.take()
        self.tasks.remove('one')
        self.assertIsNone(self.tasks.begin(ref, 1000.0))
        self.assertEqual({}, self.tasks.history.running)
        # And it can be added again.
        row = task_sets.add(self.tasks, last_run=990.0)
        self.assertIsNotNone(self.begin(row))


class TestFinish(TaskSetTestCase):
    def test_history(self):
        task_sets.add(self.tasks, last_run=988.0)
        self.run_for(1.5, outcome=status.Outcome.FAILURE, error='Error: x')
        self.assertEqual({}, self.tasks.history.running)
        self.assertEqual(
            [(1000.0, 1001.5, 2.0, 'failure', 'Error: x')],
            self.record().last_runs,
        )
        self.assertEqual(1008.0, self.schedule.due(0))

    def test_success_is_the_default(self):
        task_sets.add(self.tasks)
        self.run_for(1.0)
        self.assertEqual((1, 0), (self.record().runs, self.record().failures))

    def test_as_long_as_the_spacing(self):
        """The next run is due at the end of this one."""
        task_sets.add(self.tasks, last_run=990.0)
        self.run_for(10.0)
        self.assertEqual(1010.0, self.schedule.due(0))
        self.assertEqual({}, self.skipped())
        self.assertNotIn('missed runs', self.log.output)

    def overrun(self, **policies):
        task_sets.add(self.tasks, last_run=990.0, **policies)
        self.run_for(35.0)
        return self.schedule.due(0), self.skipped()

    def test_overrun(self):
        self.assertEqual((1040.0, {'overlap': 3}), self.overrun())
        self.assertIn(
            'Periodic task Empty.one ran for 35.000 seconds, longer than its '
            'spacing of 10 seconds; missed runs: 3',
            self.log.output,
        )

    def test_overrun_of_what_makes_one_up(self):
        self.assertEqual(
            (1030.0, {'overlap': 2}), self.overrun(missed='run_once')
        )

    def test_overrun_of_what_queues_one(self):
        self.assertEqual(
            (1030.0, {'overlap': 2}), self.overrun(overlap='queue')
        )

    def test_requested_while_it_runs(self):
        task_sets.add(self.tasks, last_run=990.0, overlap='queue')
        begun = self.begin()
        self.assertTrue(self.schedule.request(0))
        self.tasks.finish(begun)
        begun = self.begin()
        self.assertEqual((0.0, 1000.0), (begun.lateness, begun.boundary))

    def test_moved_while_it_runs(self):
        """What code sets during a run counts."""
        task_sets.add(self.tasks, last_run=990.0)
        begun = self.begin()
        self.schedule.set_last_run(0, 1003.0)
        self.clock.time += 35.0
        self.tasks.finish(begun)
        self.assertEqual(1013.0, self.schedule.due(0))
        self.assertEqual({}, self.skipped())

    def test_removed_while_it_runs(self):
        task_sets.add(self.tasks, last_run=990.0)
        begun = self.begin()
        self.tasks.remove('one')
        self.clock.time += 35.0
        self.tasks.finish(begun)
        self.assertEqual({}, self.tasks.history.records)
        self.assertEqual({}, self.tasks.history.running)
        self.assertEqual({}, self.tasks.history.skipped)
        self.assertNotIn('missed runs', self.log.output)

    def test_two_tasks(self):
        for name in ('one', 'two'):
            task_sets.add(self.tasks, name)
        first, second = self.begin(0), self.begin(1)
        self.tasks.finish(first)
        self.assertEqual([1], list(self.tasks.history.running))
        self.tasks.finish(second)
        self.assertEqual([1, 1], [self.record(row).runs for row in (0, 1)])


class TestPause(TaskSetTestCase):
    def pause_for(self, seconds, **policies):
        task_sets.add(self.tasks, last_run=995.0, **policies)
        self.tasks.pause(0)
        self.clock.time += seconds
        self.assertIsNone(self.take())
        self.assertTrue(self.tasks.resume(0))
        return self.schedule.due(0), self.skipped()

    def test_nothing_is_missed(self):
        self.assertEqual((1005.0, {}), self.pause_for(4.0))

    def test_runs_are_missed(self):
        self.assertEqual((1035.0, {'paused': 3}), self.pause_for(25.0))

    def test_one_is_made_up(self):
        self.assertEqual(
            (1025.0, {'paused': 2}), self.pause_for(25.0, missed='run_once')
        )
        self.assertIsNotNone(self.take())

    def test_what_is_not_paused(self):
        task_sets.add(self.tasks, last_run=900.0)
        self.assertFalse(self.tasks.resume(0))
        self.assertEqual({}, self.skipped())
        self.assertEqual(910.0, self.schedule.due(0))

    def test_another_reason_stays(self):
        task_sets.add(self.tasks, last_run=995.0)
        self.schedule.hold(0, _schedule.DISABLED, True)
        self.tasks.pause(0)
        self.assertTrue(self.tasks.resume(0))
        self.clock.time += 5.0
        self.assertIsNone(self.take())
        self.schedule.hold(0, _schedule.DISABLED, False)
        self.assertIsNotNone(self.take())

    def test_while_it_runs(self):
        task_sets.add(self.tasks, last_run=990.0)
        begun = self.begin()
        self.tasks.pause(0)
        self.clock.time += 25.0
        self.tasks.finish(begun)
        self.assertEqual(1, self.record().runs)
        self.assertIsNone(self.take())
