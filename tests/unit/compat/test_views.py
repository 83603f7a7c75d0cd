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

"""The attributes of the reference, as views of a schedule."""

import decimal

from oslo_periodic.compat import _views
from oslo_periodic import exceptions
from tests import base
from tests.helpers import task_sets


class ViewTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.tasks = task_sets.make()
        task_sets.add(self.tasks, 'one', 10.0)
        task_sets.add(self.tasks, 'two', 20.0, 5.0)
        self.schedule = self.tasks.schedule


class TestLastRun(ViewTestCase):
    def setUp(self):
        super().setUp()
        self.view = _views.LastRunView(self.tasks)

    def test_it_is_a_mapping(self):
        self.assertEqual({'one': None, 'two': 5.0}, self.view)
        self.assertEqual(['one', 'two'], list(self.view))
        self.assertEqual(2, len(self.view))
        self.assertEqual("{'one': None, 'two': 5.0}", repr(self.view))

    def test_it_follows_the_schedule(self):
        self.schedule.set_last_run(0, 7.0)
        task_sets.add(self.tasks, 'three')
        self.assertEqual(
            {'one': 7.0, 'two': 5.0, 'three': None}, self.view.copy()
        )

    def test_a_change_takes_effect(self):
        self.view['one'] = decimal.Decimal('990.5')
        self.view['two'] = None
        self.assertEqual(1000.5, self.schedule.due(0))
        self.assertEqual([1], self.schedule.collect(1000.0))

    def test_a_copy_does_not(self):
        self.view.copy()['two'] = 99.0
        self.assertEqual(5.0, self.schedule.last_run(1))

    def test_deleted_is_never(self):
        del self.view['two']
        self.assertIsNone(self.view['two'])
        self.view['two'] = 3.0
        self.view.clear()
        self.assertEqual({'one': None, 'two': None}, self.view)

    def test_no_time(self):
        for value in ('5', True, float('nan'), float('inf'), object()):
            exc = self.assertRaises(
                exceptions.InvalidPeriodicTaskArg,
                self.view.__setitem__,
                'two',
                value,
            )
            self.assertIn("'two'", str(exc))
        self.assertEqual(5.0, self.view['two'])

    def test_no_name_can_be_added(self):
        exc = self.assertRaises(KeyError, self.view.__setitem__, 'three', None)
        self.assertIn('add_periodic_task()', str(exc))
        self.assertRaises(KeyError, self.view.__getitem__, 'three')
        self.assertRaises(KeyError, self.view.__delitem__, 'three')
        self.assertIsNone(self.view.get('three'))
        self.assertNotIn('three', self.view)


class TestSpacing(ViewTestCase):
    def setUp(self):
        super().setUp()
        self.view = _views.SpacingView(self.tasks)

    def test_it_is_a_mapping(self):
        self.assertEqual({'one': 10.0, 'two': 20.0}, self.view)

    def test_a_change_takes_effect(self):
        self.view['two'] = 30
        self.assertEqual(35.0, self.schedule.due(1))
        self.view['two'] = 0
        self.assertEqual(65.0, self.schedule.due(1))

    def test_deleted_is_what_it_was(self):
        self.view.update(one=1, two=2)
        del self.view['one']
        self.assertEqual({'one': 10.0, 'two': 2.0}, self.view)

    def test_no_spacing(self):
        self.assertRaises(
            exceptions.InvalidPeriodicTaskArg,
            self.view.__setitem__,
            'two',
            'often',
        )
        self.assertEqual(20.0, self.view['two'])


class TestTaskList(ViewTestCase):
    def setUp(self):
        super().setUp()
        self.applied = []
        self.list = _views.task_list(
            self.tasks, lambda pairs: self.applied.append(list(pairs))
        )
        self.one, self.two = (
            (name, task_sets.function) for name in ('one', 'two')
        )

    def test_it_is_a_list(self):
        self.assertEqual([self.one, self.two], self.list)
        self.assertEqual([], self.applied)

    def test_every_change_is_applied(self):
        three = ('three', task_sets.function)
        for change, expected in (
            (lambda: self.list.append(three), [self.one, self.two, three]),
            (lambda: self.list.remove(self.two), [self.one, three]),
            (lambda: self.list.pop(), [self.one]),
            (lambda: self.list.extend([three]), [self.one, three]),
            (
                lambda: self.list.insert(0, self.two),
                [self.two, self.one, three],
            ),
            (lambda: self.list.__delitem__(1), [self.two, three]),
            (lambda: self.list.__setitem__(0, self.one), [self.one, three]),
            (
                lambda: self.list.__iadd__([self.two]),
                [self.one, three, self.two],
            ),
            (lambda: self.list.clear(), []),
        ):
            change()
            self.assertEqual(expected, self.applied.pop())
            self.assertEqual([], self.applied)
