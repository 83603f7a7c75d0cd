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

from oslo_periodic import _schedule
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
            strategies.just('hold'), NAMES, strategies.booleans()
        ),
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

    def due(self, name):
        spacing, last_run, held = self.rows[name]
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
        held = self.model.rows.get(name, (0, 0, False))[2]
        self.model.rows[name] = [spacing, last_run, held]

    def do_remove(self, name):
        self.schedule.remove(name)
        del self.model.rows[name]

    def do_last_run(self, name, last_run):
        self.schedule.set_last_run(self.schedule.rows[name], last_run)
        self.model.rows[name][1] = last_run

    def do_spacing(self, name, spacing):
        self.schedule.set_spacing(self.schedule.rows[name], spacing)
        self.model.rows[name][0] = spacing

    def do_hold(self, name, held):
        self.schedule.hold(self.schedule.rows[name], _schedule.PAUSED, held)
        self.model.rows[name][2] = held

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

    def test_postponed_after_it_was_collected(self):
        row = self.schedule.add('a', None, 10, 0)
        self.assertEqual([row], self.schedule.collect(10))
        self.schedule.set_last_run(row, 5)
        self.assertFalse(self.schedule.start(row))
        self.assertEqual(5, self.schedule.idle(10, 60))
        self.assertEqual([row], self.schedule.collect(15))

    def test_a_million_rows(self):
        for i in range(1_000_000):
            self.schedule.add(f't{i}', None, 10, i % 7)
        self.assertFalse(self.schedule.is_due(9))
        due = self.schedule.collect(12)
        self.assertEqual(list(due), [i for i in range(1_000_000) if i % 7 < 3])
