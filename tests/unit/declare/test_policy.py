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

"""Which policies the decorator takes, and which source of several wins."""

import math

from hypothesis import strategies

from oslo_periodic.declare import _policy
from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from tests import base

VALUES = {
    'overlap': ('skip', 'queue'),
    'missed': ('coalesce', 'run_once'),
    'timeout': (0.0, 1.5),
    'isolation': ('thread', 'process'),
    'spread': (False, True),
}
#: What one source sets; a policy that is not in it stays open.
SOURCES = strategies.fixed_dictionaries(
    {},
    optional={
        name: strategies.sampled_from(values)
        for name, values in VALUES.items()
    },
)


def declare(**policies):
    """Decorate a function."""

    @periodic_task.periodic_task(name='sync', **policies)
    def function(tasks, context):
        pass

    return function


class TestMerge(base.TestCase):
    @base.property_test(SOURCES, SOURCES, SOURCES)
    def test_the_first_source_that_sets_a_policy_wins(
        self, group, decorator, defaults
    ):
        merged = _policy.merge(
            _policy.UNSET._replace(**group),
            _policy.UNSET._replace(**decorator),
            _policy.DEFAULT._replace(**defaults),
        )
        expected = {
            **_policy.DEFAULT._asdict(),
            **defaults,
            **decorator,
            **group,
        }
        self.assertEqual(expected, merged._asdict())

    def test_nothing_is_set(self):
        self.assertEqual(
            _policy.DEFAULT,
            _policy.merge(_policy.UNSET, _policy.UNSET, _policy.DEFAULT),
        )


class TestDefault(base.TestCase):
    def test_nothing_is_open(self):
        self.assertEqual(list(VALUES), list(_policy.DEFAULT._fields))
        self.assertNotIn(None, _policy.DEFAULT)

    def test_values(self):
        self.assertEqual(
            {name: values[0] for name, values in VALUES.items()},
            _policy.DEFAULT._asdict(),
        )


class TestCheck(base.TestCase):
    def refuse(self, name, value):
        error = self.assertRaises(
            exceptions.InvalidPeriodicTaskArg, declare, **{name: value}
        )
        text = str(error)
        self.assertIn(f"The {name} of the periodic task 'sync'", text)
        self.assertTrue(text.endswith(f'not {value!r}.'), text)
        return text

    def test_valid_values(self):
        for name, values in VALUES.items():
            for value in (*values, None):
                declare(**{name: value})
        declare(timeout=3)

    def test_words(self):
        for name in ('overlap', 'missed', 'isolation'):
            for value in ('', 'Skip', 'no such word', 3, ['skip']):
                text = self.refuse(name, value)
                self.assertIn(' or '.join(map(repr, VALUES[name])), text)

    def test_timeout(self):
        for value in ('3', 'soon', -1, -0.1, math.inf, math.nan, True, []):
            self.assertIn('number of seconds', self.refuse('timeout', value))

    def test_spread(self):
        for value in ('true', 'no', 2, []):
            self.assertIn('True or False', self.refuse('spread', value))
