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

"""The schedule against a model that looks at every row."""

import math

from hypothesis import strategies

from oslo_periodic.core import _schedule
from tests import base

NAMES = strategies.sampled_from('abcdef')
LAST_RUNS = strategies.one_of(strategies.none(), strategies.integers(-50, 150))
STEPS = strategies.lists(
    strategies.one_of(
        strategies.tuples(
            strategies.just('add'),
            NAMES,
            strategies.integers(-1, 20),
            LAST_RUNS,
        ),
        strategies.tuples(strategies.just('remove'), NAMES),
        strategies.tuples(strategies.just('last_run'), NAMES, LAST_RUNS),
        strategies.tuples(
            strategies.just('spacing'), NAMES, strategies.integers(-1, 20)
        ),
        strategies.tuples(
            strategies.just('hold'),
            NAMES,
            strategies.sampled_from(
                [_schedule.EXTERNAL, _schedule.PAUSED, _schedule.DISABLED]
            ),
            strategies.booleans(),
        ),
        strategies.tuples(strategies.just('request'), NAMES),
        strategies.tuples(strategies.just('skip_missed'), NAMES),
        strategies.tuples(strategies.just('requeue'), NAMES),
        strategies.tuples(strategies.just('wait'), strategies.integers(0, 30)),
        strategies.tuples(
            strategies.just('tick'),
            strategies.integers(0, 3),
            strategies.integers(0, 30),
        ),
    ),
    max_size=60,
)


def function(instance, context):
    pass


class _Model:
    """What the schedule promises, in the plainest code."""

    def __init__(self):
        self.rows = {}
        self.requested = set()

    def due(self, name):
        spacing, last_run, held = self.rows[name]
        if name in self.requested:
            return -math.inf
        if held or spacing < 0:
            return math.inf
        return -math.inf if last_run is None else last_run + spacing

    def idle(self, now):
        due = [self.due(name) for name in self.rows]
        return min([60, *(max(0, time - now) for time in due)])

    def all_due(self, now):
        return [name for name in self.rows if self.due(name) <= now]


class TestSchedule(base.TestCase):
    def setUp(self):
        super().setUp()
        self.schedule = _schedule.Schedule()

    def due_names(self, now):
        rows = self.schedule.collect(now)
        return [self.schedule.name(row) for row in rows]

    def add(self, name, spacing, last_run):
        return self.schedule.add(name, function, spacing, last_run)

    def start(self, row, boundary):
        self.assertTrue(self.schedule.take(row))
        return self.schedule.begin(row, boundary)

    @base.property_test(STEPS, max_examples=400)
    def test_against_a_model(self, steps):
        self.schedule, self.model = _schedule.Schedule(), _Model()
        self.now = 100
        for action, *arguments in steps:
            if action in ('wait', 'tick', 'add') or (
                arguments[0] in self.model.rows
            ):
                getattr(self, f'do_{action}')(*arguments)
            self.assertEqual(
                self.model.idle(self.now), self.schedule.idle(self.now, 60)
            )
            if self.model.all_due(self.now):
                self.assertTrue(self.schedule.is_due(self.now))

    def do_add(self, name, spacing, last_run):
        self.add(name, spacing, last_run)
        held = self.model.rows.get(name, (0, 0, 0))[2]
        self.model.rows[name] = [spacing, last_run, held]

    def do_remove(self, name):
        self.schedule.remove(name)
        del self.model.rows[name]
        self.model.requested.discard(name)

    def do_last_run(self, name, last_run):
        self.schedule.set_last_run(self.schedule.row(name), last_run)
        self.model.rows[name][1] = last_run

    def do_spacing(self, name, spacing):
        self.schedule.set_spacing(self.schedule.row(name), spacing)
        self.model.rows[name][0] = spacing
        if spacing < 0:
            self.model.requested.discard(name)

    def do_hold(self, name, reason, held):
        self.schedule.hold(self.schedule.row(name), reason, held)
        if held:
            self.model.rows[name][2] |= reason
        else:
            self.model.rows[name][2] &= ~reason
        if held and reason == _schedule.DISABLED:
            self.model.requested.discard(name)
        self.assertEqual(
            self.model.rows[name][2],
            self.schedule.held(self.schedule.row(name)),
        )

    def do_request(self, name):
        self.assertTrue(self.schedule.request(self.schedule.row(name)))
        self.model.requested.add(name)

    def do_skip_missed(self, name):
        spacing, last_run, _held = self.model.rows[name]
        missed = self.schedule.skip_missed(self.schedule.row(name), self.now)
        expected = 0
        if last_run is not None and spacing > 0:
            while last_run + spacing <= self.now:
                last_run += spacing
                expected += 1
            self.model.rows[name][1] = last_run
        self.assertEqual(expected, missed)

    def do_requeue(self, name):
        """Take a due row, and put it back: nothing has changed."""
        row = self.schedule.row(name)
        self.schedule.collect(self.now)
        if self.schedule.take(row):
            self.schedule.requeue(row)
            self.assertIn(row, self.schedule.collect(self.now))
        self.schedule.requeue(row)  # It was not taken, so nothing happens.

    def do_wait(self, seconds):
        self.now += seconds

    def do_tick(self, limit, takes):
        """Run up to `limit` of the due tasks; the rest stays ready."""
        due = self.model.all_due(self.now)
        self.assertEqual(due, self.due_names(self.now))
        for name in due[:limit]:
            row = self.schedule.row(name)
            started, boundary = self.now, self.now
            requested = name in self.model.requested
            self.assertEqual((function, requested), self.start(row, boundary))
            self.assertFalse(self.schedule.take(row))
            self.model.requested.discard(name)
            self.now += takes
            missed = self.schedule.finish(row, started, self.now, boundary)
            spacing = self.model.rows[name][0]
            expected = 0
            while takes > spacing > 0 and (
                boundary + spacing * (expected + 1) < self.now
            ):
                expected += 1
            if spacing == 0:
                expected = missed
            self.assertEqual(expected, missed)
            self.model.rows[name][1] = boundary + missed * spacing

    def test_stale_items_do_not_pile_up(self):
        row = self.add('a', 10, 0)
        for i in range(10000):
            self.schedule.set_last_run(row, i)
        self.assertLess(len(self.schedule._queue._times), 100)
        self.assertEqual(10, self.schedule.idle(9999, 60))

    def test_a_running_row_is_placed_when_it_ends(self):
        row = self.add('a', 10, None)
        self.schedule.collect(0)
        self.start(row, 0)
        self.schedule.set_last_run(row, None)
        self.schedule.set_spacing(row, 5)
        self.add('a', 7, None)
        self.assertEqual([], self.schedule.collect(0))
        self.schedule.finish(row, 0, 0, 0)
        self.assertEqual([row], self.schedule.collect(0))

    def test_removed_while_it_runs(self):
        row = self.add('a', 10, None)
        self.schedule.collect(0)
        self.start(row, 0)
        self.schedule.remove('a')
        self.schedule.finish(row, 0, 0, 0)
        self.assertEqual([], self.schedule.collect(1000))
        self.assertEqual(60, self.schedule.idle(0, 60))

    def test_removed_before_it_begins(self):
        row = self.add('a', 10, None)
        self.schedule.collect(0)
        self.assertTrue(self.schedule.take(row))
        self.schedule.remove('a')
        self.assertIsNone(self.schedule.begin(row, 0))
        self.assertEqual([], self.schedule.collect(1000))
        other = self.add('a', 10, None)
        self.assertEqual([other], self.schedule.collect(1000))

    def test_removed_and_requeued(self):
        row = self.add('a', 10, None)
        self.schedule.collect(0)
        self.assertTrue(self.schedule.take(row))
        self.schedule.remove('a')
        self.schedule.requeue(row)
        self.assertEqual([], self.schedule.collect(1000))

    def test_added_again_while_it_runs(self):
        """It takes the row over, so it cannot run twice at once."""
        row = self.add('a', 10, None)
        self.schedule.collect(0)
        self.start(row, 0)
        self.schedule.remove('a')
        self.assertEqual(row, self.add('a', 5, None))
        self.assertEqual([], self.schedule.collect(0))
        self.schedule.finish(row, 0, 1, 0)
        self.assertEqual([row], self.schedule.collect(5))

    def test_rows_are_reused(self):
        """20,000 names that come and go leave 20,001 rows otherwise."""
        first = self.add('first', 10, 0)
        self.add('gone', 10, 0)
        last = self.add('last', 10, 0)
        self.schedule.remove('gone')
        for number in range(1000):
            row = self.add(f'{number}', 10, 0)
            # The order is that of registration, and not of rows.
            self.assertEqual([first, last, row], self.schedule.collect(10))
            self.assertGreater(
                self.schedule.order(row), self.schedule.order(last)
            )
            self.schedule.remove(f'{number}')
            self.assertEqual([first, last], self.schedule.collect(10))
        self.assertEqual(3, len(self.schedule._names))
        self.assertEqual(0, self.schedule.idle(10, 60))

    def test_a_running_row_is_not_reused(self):
        row = self.add('a', 10, 0)
        self.schedule.collect(10)
        self.start(row, 10)
        self.schedule.remove('a')
        other = self.add('b', 10, 0)
        self.assertNotEqual(row, other)
        self.assertIsNone(self.schedule.finish(row, 10, 11, 10))
        self.assertEqual(row, self.add('c', 10, 0))

    def run_for(self, row, seconds):
        """Run a row that is due at 10, and has a spacing of 10."""
        self.schedule.collect(10)
        self.start(row, 10)
        return self.schedule.finish(row, 10, 10 + seconds, 10)

    def test_missed_boundaries(self):
        """Next due, and what is skipped, of a run from 10 to 35."""
        for flag, due, skipped in (
            (0, 40, 2),
            (_schedule.RUN_ONCE, 30, 1),
            (_schedule.QUEUE_ONE, 30, 1),
        ):
            self.schedule = _schedule.Schedule()
            row = self.schedule.add('a', function, 10, 0, flags=flag)
            self.assertEqual(skipped, self.run_for(row, 25))
            self.assertEqual(due, self.schedule.due(row))

    def test_no_missed_boundary(self):
        for flag in (_schedule.RUN_ONCE, _schedule.QUEUE_ONE):
            row = self.schedule.add(f'{flag}', function, 10, 0, flags=flag)
            self.assertEqual(0, self.run_for(row, 10))
            self.assertEqual(20, self.schedule.due(row))

    def test_requested_while_it_runs(self):
        row = self.add('a', 10, None)
        self.schedule.collect(0)
        self.start(row, 0)
        self.assertFalse(self.schedule.request(row))
        self.schedule.set_flags(row, _schedule.QUEUE_ONE, _schedule.QUEUE_ONE)
        self.assertTrue(self.schedule.request(row))
        self.assertFalse(self.schedule.request(row))
        self.schedule.finish(row, 0, 1, 0)
        self.assertEqual([row], self.schedule.collect(1))
        self.assertEqual((function, True), self.start(row, 0))
        self.schedule.finish(row, 1, 2, 0)
        self.assertEqual(8, self.schedule.idle(2, 60))

    def test_requested_before_it_begins(self):
        row = self.schedule.add(
            'a', function, 10, 0, flags=_schedule.QUEUE_ONE
        )
        self.schedule.collect(10)
        self.assertTrue(self.schedule.take(row))
        self.assertTrue(self.schedule.request(row))
        self.assertEqual((function, False), self.schedule.begin(row, 10))
        self.schedule.finish(row, 10, 11, 10)
        self.assertEqual([row], self.schedule.collect(11))

    def test_a_request_outlives_a_failed_start(self):
        row = self.add('a', 10, 0)
        self.schedule.request(row)
        self.assertTrue(self.schedule.take(row))
        self.schedule.requeue(row)
        self.assertEqual([row], self.schedule.collect(1))
        self.assertEqual((function, True), self.start(row, 0))

    def test_a_disabled_row_forgets_a_request(self):
        for disable in (
            lambda row: self.schedule.hold(row, _schedule.DISABLED, True),
            lambda row: self.schedule.set_spacing(row, -1),
        ):
            self.schedule = _schedule.Schedule()
            row = self.schedule.add(
                'a', function, 10, 0, flags=_schedule.QUEUE_ONE
            )
            self.schedule.request(row)
            disable(row)
            self.assertEqual([], self.schedule.collect(100))
            self.schedule.request(row)
            self.start(row, 0)
            self.assertTrue(self.schedule.request(row))
            disable(row)
            self.schedule.finish(row, 0, 1, 0)
            self.assertEqual([], self.schedule.collect(100))

    def test_a_removed_row_cannot_be_requested(self):
        row = self.add('a', 10, 0)
        self.schedule.remove('a')
        self.assertFalse(self.schedule.request(row))
        self.assertEqual([], self.schedule.collect(100))

    def test_a_request_of_a_task_that_never_ran(self):
        """It was lost for ever once the request had been served."""
        row = self.add('a', 10, None)
        self.schedule.hold(row, _schedule.PAUSED, True)
        self.schedule.request(row)
        self.assertEqual([row], self.schedule.collect(0))
        self.start(row, 0)
        self.schedule.finish(row, 0, 1, 0)
        self.schedule.hold(row, _schedule.PAUSED, False)
        self.assertEqual([row], self.schedule.collect(10))

    def test_a_pause_does_not_change_a_run(self):
        row = self.add('a', 1, None)
        self.schedule.collect(0)
        self.start(row, 0)
        self.schedule.hold(row, _schedule.PAUSED, True)
        self.assertEqual(0, self.schedule.skip_missed(row, 2.3))
        self.schedule.hold(row, _schedule.PAUSED, False)
        self.assertEqual(5, self.schedule.finish(row, 0, 5.5, 0))
        self.assertEqual(6, self.schedule.due(row))

    def test_external_rows_are_held_together(self):
        external = self.schedule.add(
            'a', function, 10, 0, flags=_schedule.IS_EXTERNAL
        )
        other = self.add('b', 10, 0)
        self.schedule.hold_external(True)
        self.assertEqual([other], self.schedule.collect(10))
        self.schedule.hold_external(False)
        self.assertEqual([external, other], self.schedule.collect(10))

    def test_unfinished_rows(self):
        ready, taken, running, idle = (
            self.add(name, 10, last)
            for name, last in zip('abcd', (0, 0, 0, 9))
        )
        self.schedule.collect(10)
        self.assertTrue(self.schedule.take(taken))
        self.start(running, 10)
        self.assertEqual([ready, taken, running], self.schedule.unfinished())
        self.assertEqual(_schedule.QUEUED, self.schedule.place(idle))

    def test_until_due_ignores_ready_rows(self):
        self.add('a', 10, 0)
        self.add('b', 10, 20)
        self.schedule.collect(10)
        self.assertEqual(0, self.schedule.idle(10, 60))
        self.assertEqual(20, self.schedule.until_due(10, 60))
        self.assertEqual(5, self.schedule.until_due(10, 5))

    def test_postponed_after_it_was_collected(self):
        row = self.add('a', 10, 0)
        self.assertEqual([row], self.schedule.collect(10))
        self.schedule.set_last_run(row, 5)
        self.assertFalse(self.schedule.take(row))
        self.assertEqual(5, self.schedule.idle(10, 60))
        self.assertEqual([row], self.schedule.collect(15))


class Listener:
    def __init__(self):
        self.heard = []

    def due_changed(self, due):
        self.heard.append(due)


class TestListener(base.TestCase):
    def setUp(self):
        super().setUp()
        self.schedule = _schedule.Schedule()
        self.row = self.schedule.add('a', function, 10, 0)
        self.listener = Listener()

    def test_it_hears_when_rows_are_due(self):
        self.schedule.listen(self.listener)
        self.assertTrue(self.schedule.is_listener(self.listener))
        for change, due in (
            (lambda: self.schedule.set_spacing(self.row, 5), 5),
            (lambda: self.schedule.set_last_run(self.row, 1), 6),
            (
                lambda: self.schedule.hold(self.row, _schedule.PAUSED, False),
                6,
            ),
            (lambda: self.schedule.skip_missed(self.row, 100), 101),
            (lambda: self.schedule.add('b', function, 10, 0), 10),
            (lambda: self.schedule.request(self.row), -math.inf),
        ):
            self.listener.heard.clear()
            change()
            self.assertEqual([due], self.listener.heard)

    def test_it_hears_of_the_end_of_a_run(self):
        self.schedule.listen(self.listener)
        self.schedule.collect(10)
        self.schedule.take(self.row)
        self.schedule.begin(self.row, 10)
        self.schedule.finish(self.row, 10, 11, 10)
        self.assertEqual([20], self.listener.heard)

    def test_it_collects_each_ready_row_once(self):
        other = self.schedule.add('b', function, 10, 5)
        self.schedule.collect(10)
        self.schedule.listen(self.listener)
        # What was ready before it came, and what becomes so in any way.
        self.assertEqual([self.row], self.schedule.collect_new(10))
        self.assertEqual([], self.schedule.collect_new(10))
        self.schedule.collect(15)
        self.assertEqual([other], self.schedule.collect_new(15))
        idle = self.schedule.add('c', function, 10, 15)
        self.schedule.request(idle)
        self.assertEqual([idle], self.schedule.collect_new(15))
        self.schedule.take(idle)
        self.schedule.requeue(idle)
        self.assertEqual([idle], self.schedule.collect_new(15))

    def test_without_one_nothing_piles_up(self):
        for now in range(10, 1000, 10):
            self.schedule.collect(now)
            self.schedule.take(self.row)
            self.schedule.begin(self.row, now)
            self.schedule.finish(self.row, now, now, now)
        self.schedule.listen(self.listener)
        self.assertEqual([], self.schedule.collect_new(999))
