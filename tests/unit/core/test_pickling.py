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

"""A schedule in a pickle, a copy, and a worker process."""

import pickle

from oslo_periodic.core import _pickling
from oslo_periodic.core import _schedule
from tests import base
from tests.helpers import task_sets


def other(tasks, context):
    """Do nothing, as another task."""


class Owner:
    """The class of an instance."""

    def own(self, context):
        """Do nothing."""


LISTED = {'own': Owner.own, 'listed': task_sets.function}


class PicklingTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.schedule = _schedule.Schedule()


class TestRows(PicklingTestCase):
    def unpack(self, rows, listed=LISTED):
        schedule = _schedule.Schedule()
        _pickling.unpack_rows(schedule, rows, listed, 'Owner')
        return schedule

    def test_there_and_back(self):
        self.schedule.add('added', other, 20.0, None)
        self.schedule.add(
            'own',
            Owner.own,
            10.0,
            5.0,
            _schedule.EXTERNAL,
            _schedule.IS_EXTERNAL | _schedule.RUN_ONCE,
        )
        rows = pickle.loads(
            pickle.dumps(_pickling.pack_rows(self.schedule, LISTED))
        )
        found = self.unpack(rows)
        self.assertEqual([('added', 0), ('own', 1)], found.items())
        for row in (0, 1):
            for column in ('function', 'spacing', 'last_run', 'held', 'flags'):
                self.assertEqual(
                    getattr(self.schedule, column)(row),
                    getattr(found, column)(row),
                )
        self.assertEqual([0], found.collect(100.0))

    def test_what_the_class_lists_goes_by_name(self):
        """A profiler may have replaced it: then it cannot be imported."""
        local = lambda tasks, context: None  # noqa: E731
        self.schedule.add('own', local, 10.0, None)
        rows = _pickling.pack_rows(self.schedule, {'own': local})
        found = self.unpack(pickle.loads(pickle.dumps(rows)))
        self.assertIs(Owner.own, found.function(0))

    def test_another_function_of_a_listed_name(self):
        self.schedule.add('own', other, 10.0, None)
        rows = _pickling.pack_rows(self.schedule, LISTED)
        self.assertIs(other, self.unpack(rows).function(0))

    def test_a_class_without_it(self):
        self.schedule.add('own', Owner.own, 10.0, None)
        rows = _pickling.pack_rows(self.schedule, LISTED)
        error = self.assertRaises(LookupError, self.unpack, rows, {})
        self.assertIn("Owner has no periodic task 'own' here", str(error))

    def test_neither_running_nor_paused(self):
        for name in ('running', 'paused'):
            self.schedule.add(name, other, 10.0, None)
        self.schedule.hold(1, _schedule.PAUSED, True)
        self.schedule.hold(1, _schedule.DISABLED, True)
        self.schedule.collect(0.0)
        self.schedule.take(0)
        self.schedule.begin(0, 0.0)
        found = self.unpack(_pickling.pack_rows(self.schedule, {}))
        self.assertEqual([0], found.collect(10.0))
        self.assertEqual(_schedule.DISABLED, found.held(1))
        self.assertEqual(_schedule.RUNNING, self.schedule.place(0))

    def test_what_was_removed(self):
        for name in ('one', 'two', 'three'):
            self.schedule.add(name, other, 10.0, None)
        self.schedule.remove('two')
        found = self.unpack(_pickling.pack_rows(self.schedule, {}))
        self.assertEqual([('one', 0), ('three', 1)], found.items())


class TestForWorker(PicklingTestCase):
    def state(self):
        state = _pickling.for_worker(self.schedule, Owner)
        return pickle.loads(pickle.dumps(state))

    def test_what_the_class_has_is_not_packed(self):
        self.schedule.add('own', Owner.own, 10.0, 5.0)
        state = self.state()
        self.assertEqual({}, state.added)
        found = state.schedule(LISTED)
        self.assertEqual([('own', 0)], found.items())
        self.assertIs(Owner.own, found.function(0))
        self.assertEqual((10.0, 5.0), (found.spacing(0), found.last_run(0)))

    def test_what_was_added_and_can_be_imported(self):
        self.schedule.add('added', other, 10.0, None)
        state = self.state()
        self.assertEqual({'added': other}, state.added)
        self.assertIs(other, state.schedule({}).function(0))

    def test_what_cannot_be_imported_stays_behind(self):
        self.schedule.add('local', lambda tasks, context: None, 10.0, None)
        self.schedule.add('added', other, 10.0, None)
        state = self.state()
        self.assertEqual({'added': other}, state.added)
        self.assertEqual([('added', 0)], state.schedule({}).items())

    def test_what_was_added_goes_before_what_is_listed(self):
        self.schedule.add('own', other, 10.0, None)
        self.assertIs(other, self.state().schedule(LISTED).function(0))

    def test_what_was_removed(self):
        self.schedule.add('one', other, 10.0, None)
        self.schedule.remove('one')
        self.assertEqual([], self.state().schedule({'one': other}).items())

    def test_importable(self):
        for function, expected in (
            (other, True),
            (Owner.own, True),
            (Owner().own, True),
            (lambda tasks, context: None, False),
            (_Unpicklable(), False),
        ):
            self.assertIs(expected, _pickling.is_importable(function))


class _Unpicklable:
    def __call__(self, tasks, context):
        """Do nothing."""

    def __reduce__(self):
        raise RuntimeError('not today')
