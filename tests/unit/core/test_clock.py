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

"""The clock: the grid of a task, and how a timer waits."""

import copy
import pickle
import time

import fixtures
from hypothesis import strategies

from oslo_periodic.core import _clock
from oslo_periodic import periodic_task
from tests import base


class _Event:
    """Notes for how long it was waited for."""

    def __init__(self):
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)


class TestNearestBoundary(base.TestCase):
    def boundary(self, now, last_run, spacing, jitter=0.0):
        return _clock.nearest_boundary(now, last_run, spacing, lambda: jitter)

    def test_what_never_ran(self):
        self.assertEqual(1000, self.boundary(1000, None, 60, 0.99))

    def test_the_last_boundary(self):
        for now, expected in ((100, 100), (109.5, 100), (110, 110), (99, 90)):
            self.assertEqual(expected, self.boundary(now, 100, 10))

    def test_jitter_is_up_to_a_twentieth(self):
        for spacing, most in (
            (19.9, 0),
            (20, 0),
            (21, 1),
            (100, 4),
            (201, 10),
        ):
            found = self.boundary(1000, 1000, spacing, 0.9999)
            self.assertEqual(1000 + most, found)
            self.assertEqual(1000, self.boundary(1000, 1000, spacing, 0.0))

    @base.property_test(
        strategies.integers(0, 10**6),
        strategies.integers(-(10**6), 10**6),
        strategies.integers(1, 10**5),
    )
    def test_it_is_on_the_grid(self, now, last_run, spacing):
        found = self.boundary(now, last_run, spacing)
        self.assertEqual(0, (found - last_run) % spacing)
        self.assertTrue(now - spacing < found <= now)


class TestClock(base.TestCase):
    def test_it_is_monotonic(self):
        clock = _clock.Clock()
        before, now, after = time.monotonic(), clock.now(), time.monotonic()
        self.assertTrue(before <= now <= after)

    def test_its_grid(self):
        self.useFixture(fixtures.MonkeyPatch('time.monotonic', lambda: 1234.0))
        self.useFixture(fixtures.MonkeyPatch('random.random', lambda: 0.5))
        clock = _clock.Clock()
        self.assertEqual(1202.0, clock.nearest_boundary(1000, 100))

    def test_waiting(self):
        self.useFixture(fixtures.MonkeyPatch('time.monotonic', lambda: 1000.0))
        event = _Event()
        _clock.Clock().wait(event, 1002.5)
        self.assertEqual([2.5], event.waits)

    def test_it_does_not_wait_for_the_past(self):
        self.useFixture(fixtures.MonkeyPatch('time.monotonic', lambda: 1000.0))
        event = _Event()
        _clock.Clock().wait(event, 1000.0)
        _clock.Clock().wait(event, 999.0)
        self.assertEqual([], event.waits)


class TestNamedClock(base.TestCase):
    def test_its_functions(self):
        clock = _clock.NamedClock(
            'a.module',
            'name',
            lambda: 5.0,
            lambda last_run, spacing: last_run + 3 * spacing,
        )
        self.assertEqual(5.0, clock.now())
        self.assertEqual(31.0, clock.nearest_boundary(1.0, 10.0))

    def test_it_waits_by_its_own_time(self):
        event = _Event()
        clock = _clock.NamedClock('m', 'n', lambda: 5.0, max)
        clock.wait(event, 5.5)
        self.assertEqual([0.5], event.waits)

    def test_a_copy_is_the_same(self):
        clock = periodic_task._tick_clock
        self.assertIs(clock, pickle.loads(pickle.dumps(clock)))
        self.assertIs(clock, copy.copy(clock))
        self.assertIs(clock, copy.deepcopy(clock))
