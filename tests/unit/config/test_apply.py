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

"""A task set that is filled from a class and a configuration."""

import logging

import fixtures
from oslo_config import cfg

from oslo_periodic.config import _apply
from oslo_periodic.declare import _attributes
from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task
from tests import base
from tests.helpers import task_sets


class Manager(periodic_task.PeriodicTasks):
    @periodic_task.periodic_task(spacing=10, run_immediately=True)
    def one(self, context):
        """Do nothing."""

    @periodic_task.periodic_task(spacing=20, overlap='queue')
    def two(self, context):
        """Do nothing."""

    @periodic_task.periodic_task(spacing=30, enabled=False)
    def off(self, context):
        """Do nothing."""

    @periodic_task.periodic_task(spacing=lambda conf: conf.interval)
    def deferred(self, context):
        """Do nothing."""


class Stub:
    interval = 40
    run_external_periodic_tasks = True


def added(name='added', **arguments):
    decorate = periodic_task.periodic_task(name=name, **arguments)
    return decorate(lambda tasks, context: None)


def described(*arguments, **keywords):
    return _attributes.read_added(added(*arguments, **keywords))


class ApplyTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.INFO))
        self.tasks = task_sets.make(Manager)
        self.schedule = self.tasks.schedule

    def populate(self, conf=None):
        _apply.populate(self.tasks, Stub() if conf is None else conf)

    def configured(self, **groups):
        """Make a ConfigOpts in which code sets options of tasks."""
        self.conf.register_opts([cfg.IntOpt('interval', default=40)])
        opts.register(self.conf)
        for name, options in groups.items():
            opts.register_task(self.conf, 'Manager', name)
            for option, value in options.items():
                self.conf.set_override(
                    option, value, opts.task_group('Manager', name)
                )
        return self.conf

    def names(self):
        return [name for name, _row in self.schedule.items()]


class TestPopulate(ApplyTestCase):
    def test_schedule(self):
        self.populate()
        self.assertEqual(['one', 'two', 'deferred'], self.names())
        self.assertEqual(
            [10, 20, 40], [self.schedule.spacing(row) for row in range(3)]
        )
        self.assertEqual(
            [None, 1000.0, 1000.0],
            [self.schedule.last_run(row) for row in range(3)],
        )

    def test_what_is_plain_needs_no_settings(self):
        self.populate()
        self.assertEqual(['two', 'deferred'], list(self.tasks.settings))
        self.assertEqual({}, self.tasks.unscheduled)

    def test_with_a_configuration_everything_may_be_set(self):
        self.populate(self.configured())
        self.assertEqual(
            {'one', 'two', 'deferred', 'off'}, set(self.tasks.settings)
        )
        self.assertEqual(['off'], list(self.tasks.unscheduled))
        self.assertEqual(
            ['one', 'two', 'deferred', 'off'], self.tasks.task_names()
        )

    def test_it_enables_and_disables(self):
        self.populate(
            self.configured(off={'enabled': True}, one={'spacing': -1})
        )
        self.assertEqual(['two', 'deferred', 'off'], self.names())
        self.assertEqual(['one'], list(self.tasks.unscheduled))
        self.assertIn(
            'Skipping periodic task one because its interval is negative',
            self.log.output,
        )

    def test_what_the_class_has_logged_is_not_logged_again(self):
        self.populate(self.configured())
        self.assertNotIn('Skipping', self.log.output)

    def test_defaults(self):
        conf = self.configured()
        conf.set_override('default_timeout', 5.0, 'oslo_periodic')
        self.populate(conf)
        self.assertEqual(5.0, self.tasks.defaults.timeout)
        self.assertEqual(5.0, self.tasks.policy('one').timeout)

    def test_what_the_class_changed(self):
        class Changed(Manager):
            """Its tasks were changed after it was made."""

        Changed._periodic_spacing['one'] = 15
        Changed._periodic_tasks.pop()
        self.tasks = task_sets.make(Changed)
        self.populate()
        self.assertEqual(15, self.tasks.schedule.spacing(0))
        self.assertNotIn('deferred', self.tasks.schedule)

    def test_an_invalid_value(self):
        class Conf:
            interval = 'often'

        self.assertRaises(
            exceptions.InvalidPeriodicTaskArg, self.populate, Conf()
        )

    def test_changes_are_followed(self):
        conf = self.configured(one={'spacing': 5})
        self.populate(conf)
        conf.set_override('spacing', 6, opts.task_group('Manager', 'one'))
        conf.mutate_config_files()
        self.assertEqual(6, self.schedule.spacing(0))


class TestAdd(ApplyTestCase):
    def test_it_comes_last(self):
        self.populate()
        _apply.add(self.tasks, Stub(), described(spacing=5))
        self.assertEqual(['one', 'two', 'deferred', 'added'], self.names())
        self.assertEqual(1005.0, self.schedule.due(3))

    def test_with_a_group(self):
        conf = self.configured(added={'spacing': 6})
        _apply.add(self.tasks, conf, described(spacing=5))
        self.assertEqual(6, self.schedule.spacing(0))

    def test_a_disabled_one(self):
        _apply.add(self.tasks, Stub(), described(enabled=lambda conf: False))
        self.assertEqual([], self.names())
        self.assertEqual(['added'], list(self.tasks.unscheduled))
        self.assertIn(
            'Skipping periodic task added because it is disabled',
            self.log.output,
        )

    def test_again(self):
        """It takes its new spacing, and keeps its row."""
        task = described(spacing=5)
        _apply.add(self.tasks, Stub(), task)
        _apply.add(self.tasks, Stub(), task._replace(spacing=6))
        self.assertEqual([('added', 0)], self.schedule.items())
        self.assertEqual(6, self.schedule.spacing(0))

    def test_one_that_was_disabled(self):
        task = described(enabled=lambda conf: conf.on)
        for on in (False, True):
            conf = Stub()
            conf.on = on
            _apply.add(self.tasks, conf, task)
        self.assertEqual(['added'], self.names())
        self.assertEqual({}, self.tasks.unscheduled)


class TestReplace(ApplyTestCase):
    def setUp(self):
        super().setUp()
        self.populate()
        self.pairs = [
            (name, self.tasks.function(name)) for name in self.names()
        ]

    def test_the_same(self):
        self.schedule.set_last_run(1, 5.0)
        _apply.replace(self.tasks, Stub(), self.pairs)
        self.assertEqual(['one', 'two', 'deferred'], self.names())
        self.assertEqual(5.0, self.schedule.last_run(1))

    def test_less(self):
        _apply.replace(self.tasks, Stub(), self.pairs[1:])
        self.assertEqual(['two', 'deferred'], self.names())

    def test_nothing(self):
        _apply.replace(self.tasks, Stub(), [])
        self.assertEqual([], self.names())
        self.assertEqual({}, self.tasks.settings)

    def test_more(self):
        function = added(spacing=5)
        _apply.replace(self.tasks, Stub(), [*self.pairs, ('added', function)])
        self.assertEqual(['one', 'two', 'deferred', 'added'], self.names())
        self.assertIs(function, self.tasks.function('added'))
        self.assertEqual(5, self.schedule.spacing(3))

    def test_another_function_of_that_name(self):
        function = added('two', spacing=5)
        pairs = [self.pairs[0], ('two', function), self.pairs[2]]
        _apply.replace(self.tasks, Stub(), pairs)
        self.assertEqual(['one', 'two', 'deferred'], self.names())
        self.assertIs(function, self.tasks.function('two'))
        self.assertEqual(5, self.schedule.spacing(1))


class _Configured:
    """An instance, as far as its configuration."""

    def __init__(self):
        self.conf = Stub()


class TestExternal(ApplyTestCase):
    def setUp(self):
        super().setUp()
        self.instance = _Configured()
        self.gate = _apply.ExternalGate(self.tasks, self.instance)

    def add(self):
        task = described(external_process_ok=True, run_immediately=True)
        _apply.add(self.tasks, self.instance.conf, task)

    def is_held(self):
        self.gate()
        return self.schedule.collect(1000.0) == []

    def test_it_follows(self):
        self.add()
        for run in (True, False, True):
            self.instance.conf.run_external_periodic_tasks = run
            self.assertIs(not run, self.is_held())

    def test_code_may_replace_the_configuration(self):
        self.add()
        self.instance.conf = Stub()
        self.instance.conf.run_external_periodic_tasks = False
        self.assertTrue(self.is_held())

    def test_a_task_that_is_added_later(self):
        self.add()
        self.instance.conf.run_external_periodic_tasks = False
        self.gate()
        task = described('later', external_process_ok=True)
        _apply.add(self.tasks, self.instance.conf, task)
        self.assertEqual([], self.schedule.collect(9999.0))

    def test_without_external_tasks_it_is_not_read(self):
        self.instance.conf = _Invalid()
        self.gate()
        self.assertEqual('', self.log.output)

    def test_an_invalid_value_is_logged_once(self):
        self.add()
        self.instance.conf = _Invalid()
        for _ in range(3):
            self.assertFalse(self.is_held())
        self.assertEqual(1, self.log.output.count('is unchanged: perhaps'))
        self.instance.conf = Stub()
        self.gate()
        self.instance.conf = _Invalid()
        self.gate()
        self.assertEqual(2, self.log.output.count('is unchanged: perhaps'))


class _Invalid:
    @property
    def run_external_periodic_tasks(self):
        raise ValueError('perhaps')
