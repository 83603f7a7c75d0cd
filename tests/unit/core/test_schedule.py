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
        strategies.tuples(strategies.just('give_back'), NAMES),
        strategies.tuples(strategies.just('wait'), strategies.integers(0, 30)),
        strategies.tuples(
            strategies.just('tick'),
            strategies.integers(0, 3),
            strategies.integers(0, 30),
        ),
    ),
    max_size=60,
)


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
        return [self.schedule.names[row] for row in rows]

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
        self.schedule.add(name, name.upper(), spacing, last_run)
        held = self.model.rows.get(name, (0, 0, 0))[2]
        self.model.rows[name] = [spacing, last_run, held]

    def do_remove(self, name):
        self.schedule.remove(name)
        del self.model.rows[name]
        self.model.requested.discard(name)

    def do_last_run(self, name, last_run):
        self.schedule.set_last_run(self.schedule.rows[name], last_run)
        self.model.rows[name][1] = last_run

    def do_spacing(self, name, spacing):
        self.schedule.set_spacing(self.schedule.rows[name], spacing)
        self.model.rows[name][0] = spacing

    def do_hold(self, name, reason, held):
        self.schedule.hold(self.schedule.rows[name], reason, held)
        if held:
            self.model.rows[name][2] |= reason
        else:
            self.model.rows[name][2] &= ~reason
        if held and reason == _schedule.DISABLED:
            self.model.requested.discard(name)
        self.assertEqual(
            self.model.rows[name][2],
            self.schedule.held(self.schedule.rows[name]),
        )

    def do_request(self, name):
        self.assertTrue(self.schedule.request(self.schedule.rows[name]))
        self.model.requested.add(name)

    def do_skip_missed(self, name):
        spacing, last_run, _held = self.model.rows[name]
        missed = self.schedule.skip_missed(self.schedule.rows[name], self.now)
        expected = 0
        if last_run is not None and spacing > 0:
            while last_run + spacing <= self.now:
                last_run += spacing
                expected += 1
            self.model.rows[name][1] = last_run
        self.assertEqual(expected, missed)

    def do_give_back(self, name):
        """Start what is due, and take it back."""
        row = self.schedule.rows[name]
        self.schedule.collect(self.now)
        if self.schedule.start(row):
            self.schedule.give_back(row)
            self.assertTrue(self.schedule.is_ready(row))
        self.schedule.give_back(row)  # It does not run, so nothing happens.

    def do_wait(self, seconds):
        self.now += seconds

    def do_tick(self, limit, takes):
        """Run up to `limit` of the due tasks; the rest stays ready."""
        due = self.model.all_due(self.now)
        self.assertEqual(due, self.due_names(self.now))
        for name in due[:limit]:
            row = self.schedule.rows[name]
            self.assertTrue(self.schedule.start(row))
            self.assertFalse(self.schedule.start(row))
            self.model.requested.discard(name)
            self.schedule.requested.discard(row)  # As a driver does.
            started, boundary = self.now, self.now
            self.schedule.move_last_run(row, boundary)
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
        row = self.schedule.add('a', None, 10, 0)
        for i in range(10000):
            self.schedule.set_last_run(row, i)
        self.assertLess(len(self.schedule._queue._times), 100)
        self.assertEqual(10, self.schedule.idle(9999, 60))

    def test_what_runs_is_left_alone_until_it_ends(self):
        row = self.schedule.add('a', None, 10, None)
        self.schedule.collect(0)
        self.assertTrue(self.schedule.start(row))
        self.schedule.set_last_run(row, None)
        self.schedule.set_spacing(row, 5)
        self.schedule.add('a', 'again', 7, None)
        self.assertEqual([], self.schedule.collect(0))
        self.schedule.finish(row, 0, 0, 0)
        self.assertEqual([row], self.schedule.collect(0))

    def test_removed_while_it_runs(self):
        row = self.schedule.add('a', None, 10, None)
        self.schedule.collect(0)
        self.assertTrue(self.schedule.start(row))
        self.schedule.remove('a')
        self.schedule.finish(row, 0, 0, 0)
        self.assertEqual([], self.schedule.collect(1000))
        self.assertEqual(60, self.schedule.idle(0, 60))

    def run_for(self, row, seconds):
        """Run a row that is due at 10, and has a spacing of 10."""
        self.schedule.collect(10)
        self.assertTrue(self.schedule.start(row))
        self.schedule.move_last_run(row, 10)
        return self.schedule.finish(row, 10, 10 + seconds, 10)

    def test_what_was_missed(self):
        """Next due, and what is skipped, of a run from 10 to 35."""
        for rows, due, skipped in (
            (None, 40, 2),
            ('run_once', 30, 1),
            ('queueing', 30, 1),
        ):
            self.schedule = _schedule.Schedule()
            row = self.schedule.add('a', None, 10, 0)
            if rows:
                getattr(self.schedule, rows).add(row)
            self.assertEqual(skipped, self.run_for(row, 25))
            self.assertEqual(due, self.schedule.due(row))

    def test_nothing_was_missed(self):
        for rows in ('run_once', 'queueing'):
            row = self.schedule.add(rows, None, 10, 0)
            getattr(self.schedule, rows).add(row)
            self.assertEqual(0, self.run_for(row, 10))
            self.assertEqual(20, self.schedule.due(row))

    def test_requested_while_it_runs(self):
        row = self.schedule.add('a', None, 10, None)
        self.schedule.collect(0)
        self.assertTrue(self.schedule.start(row))
        self.assertFalse(self.schedule.request(row))
        self.schedule.queueing.add(row)
        self.assertTrue(self.schedule.request(row))
        self.assertFalse(self.schedule.request(row))
        self.schedule.move_last_run(row, 0)
        self.schedule.finish(row, 0, 1, 0)
        self.assertEqual([row], self.schedule.collect(1))
        self.assertTrue(self.schedule.start(row))
        self.schedule.finish(row, 1, 2, 0)
        self.assertEqual(8, self.schedule.idle(2, 60))

    def test_what_is_disabled_forgets_a_request(self):
        for disable in (
            lambda row: self.schedule.hold(row, _schedule.DISABLED, True),
            lambda row: self.schedule.set_spacing(row, -1),
        ):
            self.schedule = _schedule.Schedule()
            row = self.schedule.add('a', None, 10, 0)
            self.schedule.queueing.add(row)
            self.schedule.request(row)
            disable(row)
            self.assertEqual([], self.schedule.collect(100))
            self.schedule.request(row)
            self.assertTrue(self.schedule.start(row))
            self.assertTrue(self.schedule.request(row))
            disable(row)
            self.schedule.finish(row, 0, 1, 0)
            self.assertEqual([], self.schedule.collect(100))

    def test_what_was_removed_cannot_be_requested(self):
        row = self.schedule.add('a', None, 10, 0)
        self.schedule.remove('a')
        self.assertFalse(self.schedule.request(row))
        self.assertEqual([], self.schedule.collect(100))

    def test_a_pause_while_it_runs_changes_nothing_of_the_run(self):
        row = self.schedule.add('a', None, 1, None)
        self.schedule.collect(0)
        self.schedule.start(row)
        self.schedule.move_last_run(row, 0)
        self.schedule.hold(row, _schedule.PAUSED, True)
        self.assertEqual(0, self.schedule.skip_missed(row, 2.3))
        self.schedule.hold(row, _schedule.PAUSED, False)
        self.assertEqual(5, self.schedule.finish(row, 0, 5.5, 0))
        self.assertEqual(6, self.schedule.due(row))

    def test_who_is_told_of_a_change(self):
        told = []
        row = self.schedule.add('a', None, 10, 0)
        self.schedule.on_change = lambda: told.append(1)
        for change in (
            lambda: self.schedule.set_spacing(row, 5),
            lambda: self.schedule.set_last_run(row, 1),
            lambda: self.schedule.hold(row, _schedule.PAUSED, False),
            lambda: self.schedule.request(row),
            lambda: self.schedule.skip_missed(row, 100),
            lambda: self.schedule.add('b', None, 10, 0),
        ):
            told.clear()
            change()
            self.assertEqual([1], told)

    def test_until_due_leaves_out_what_is_ready(self):
        self.schedule.add('a', None, 10, 0)
        self.schedule.add('b', None, 10, 20)
        self.schedule.collect(10)
        self.assertEqual(0, self.schedule.idle(10, 60))
        self.assertEqual(20, self.schedule.until_due(10, 60))
        self.assertEqual(5, self.schedule.until_due(10, 5))

    def test_postponed_after_it_was_collected(self):
        row = self.schedule.add('a', None, 10, 0)
        self.assertEqual([row], self.schedule.collect(10))
        self.schedule.set_last_run(row, 5)
        self.assertFalse(self.schedule.start(row))
        self.assertEqual(5, self.schedule.idle(10, 60))
        self.assertEqual([row], self.schedule.collect(15))
