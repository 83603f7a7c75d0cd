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

"""The fixtures that services use in their own tests."""

import random
import time

import fixtures

from oslo_periodic import backends
from oslo_periodic.backends import _threading
from oslo_periodic import exceptions
from oslo_periodic import fixture
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base


class Tasks(periodic_task.PeriodicTasks):
    """Notes when its tasks ran, by the clock of the ticks."""

    def __init__(self, conf):
        super().__init__(conf)
        self.ran = []

    @periodic_task.periodic_task(spacing=10)
    def often(self, context):
        self.ran.append(('often', periodic_task.now()))

    @periodic_task.periodic_task(spacing=100, run_immediately=True)
    def rarely(self, context):
        self.ran.append(('rarely', periodic_task.now()))


class TestClockFixture(base.BackendTestCase):
    def test_stands_still(self):
        clock = self.useFixture(fixture.ClockFixture())
        self.assertEqual(1000, periodic_task.now())
        self.assertEqual(1000, periodic_task.now())
        self.assertEqual(1000, clock.now())

    def test_starts_where_told(self):
        self.useFixture(fixture.ClockFixture(start=5.5))
        self.assertEqual(5.5, periodic_task.now())

    def test_moves(self):
        clock = self.useFixture(fixture.ClockFixture())
        clock.advance(1.5)
        self.assertEqual(1001.5, periodic_task.now())
        clock.advance(-2)
        self.assertEqual(999.5, periodic_task.now())

    def test_drives_the_tasks(self):
        clock = self.useFixture(fixture.ClockFixture())
        tasks = Tasks(self.conf)
        self.assertEqual(10, tasks.run_periodic_tasks(None))
        clock.advance(9)
        self.assertEqual(1, tasks.run_periodic_tasks(None))
        self.assertEqual([('rarely', 1000)], tasks.ran)
        clock.advance(1)
        tasks.run_periodic_tasks(None)
        clock.advance(90)
        tasks.run_periodic_tasks(None)
        self.assertEqual(
            [
                ('rarely', 1000),
                ('often', 1010),
                ('often', 1100),
                ('rarely', 1100),
            ],
            tasks.ran,
        )

    def test_no_jitter(self):
        clock = self.useFixture(fixture.ClockFixture())
        tasks = Tasks(self.conf)
        tasks.run_periodic_tasks(None)
        clock.advance(100)
        tasks.run_periodic_tasks(None)
        self.assertEqual(1100, tasks._periodic_last_run['rarely'])

    def test_jitter(self):
        """All of it is 5% of the spacing, in whole seconds."""
        clock = self.useFixture(fixture.ClockFixture(jitter=1))
        tasks = Tasks(self.conf)
        tasks.run_periodic_tasks(None)
        clock.advance(100)
        tasks.run_periodic_tasks(None)
        self.assertEqual(1105, tasks._periodic_last_run['rarely'])

    def test_leaves_other_clocks_alone(self):
        real = time.monotonic
        self.useFixture(fixture.ClockFixture())
        self.assertIs(real, time.monotonic)
        self.assertNotEqual(1000, time.monotonic())
        self.assertTrue(0 <= random.random() < 1)

    def test_is_restored(self):
        real = periodic_task.now, periodic_task.random
        with fixture.ClockFixture(jitter=1):
            self.assertNotEqual(real[0], periodic_task.now)
        self.assertEqual(real, (periodic_task.now, periodic_task.random))

    def test_one_in_another(self):
        with fixture.ClockFixture(1):
            with fixture.ClockFixture(2):
                self.assertEqual(2, periodic_task.now())
            self.assertEqual(1, periodic_task.now())


class TestBackendFixture(base.BackendTestCase):
    def test_selects(self):
        with fixture.BackendFixture(self.backend) as selected:
            self.assertEqual(self.backend, selected.backend.name)
            self.assertIs(selected.backend, backends.get_backend())

    def test_ticks_run_on_it(self):
        Tasks(self.conf).run_periodic_tasks(None)
        self.assertIs(self.selected.backend, backends.selector.in_use)

    def test_is_restored_after_use(self):
        before = backends.selector
        with fixture.BackendFixture(self.backend):
            Tasks(self.conf).run_periodic_tasks(None)
        self.assertIs(before, backends.selector)
        self.assertIsNone(before.in_use)
        self.assertIs(self.selected.backend, backends.get_backend())

    def test_use_in_the_test_outside_goes_on(self):
        Tasks(self.conf).run_periodic_tasks(None)
        with fixture.BackendFixture('threading'):
            self.assertIsNone(backends.selector.in_use)
        self.assertIs(self.selected.backend, backends.selector.in_use)

    def test_not_in_use_at_first(self):
        backends.init_backend('threading')
        self.assertEqual('threading', backends.get_backend().name)

    def test_in_use_after_a_tick(self):
        Tasks(self.conf).run_periodic_tasks(None)
        other = 'eventlet' if self.backend == 'threading' else 'threading'
        error = self.assertRaises(
            exceptions.BackendAlreadySelected, backends.init_backend, other
        )
        self.assertIn('the first tick of Tasks', str(error))


class TestBackendFixtureChoice(base.TestCase):
    def test_instance(self):
        class Own(_threading.ThreadingBackend):
            name = 'own'

        own = Own()
        selected = self.useFixture(fixture.BackendFixture(own))
        self.assertIs(own, selected.backend)
        Tasks(self.conf).run_periodic_tasks(None)
        self.assertIs(own, backends.selector.in_use)

    def test_none_chooses_as_a_new_process(self):
        self.useFixture(
            fixtures.EnvironmentVariable(backends.ENVIRONMENT_VARIABLE)
        )
        selected = self.useFixture(fixture.BackendFixture())
        expected = backends.automatic_choice()
        self.assertEqual(expected, backends.selector.choice)
        self.assertEqual(expected.name, selected.backend.name)

    def test_none_reads_the_environment(self):
        self.useFixture(
            fixtures.EnvironmentVariable(
                backends.ENVIRONMENT_VARIABLE, 'eventlet'
            )
        )
        selected = self.useFixture(fixture.BackendFixture())
        self.assertEqual('eventlet', selected.backend.name)

    def assert_fails(self, failing):
        """Fixtures puts what happened first among what it raises."""
        error = self.assertRaises(fixtures.MultipleExceptions, failing.setUp)
        self.assertIsInstance(error.args[0][1], exceptions.BackendError)

    def test_failure_restores_what_was(self):
        before = backends.selector
        for name in ('no-such-backend', 'broken'):
            self.assert_fails(fixture.BackendFixture(name))
            self.assertIs(before, backends.selector)

    def test_failure_in_the_environment_restores_what_was(self):
        before = backends.selector
        for name in ('no-such-backend', 'broken'):
            self.useFixture(
                fixtures.EnvironmentVariable(
                    backends.ENVIRONMENT_VARIABLE, name
                )
            )
            self.assert_fails(fixture.BackendFixture())
            self.assertIs(before, backends.selector)


class TestMissingFixtures(base.TestCase):
    """The package fixtures is an extra, which the error names."""

    code = """
        import sys


        class Block:
            def find_spec(self, name, path=None, target=None):
                if name == 'fixtures':
                    raise ModuleNotFoundError(f'no {name}', name=name)


        sys.meta_path.insert(0, Block())
        import oslo_periodic.periodic_task
        print('the library itself does not need it')
        import oslo_periodic.fixture
    """

    def test_says_what_to_install(self):
        done = base.run_python(self.code)
        self.assertEqual(1, done.returncode)
        self.assertIn('does not need it', done.stdout)
        last = done.stderr.splitlines()[-1]
        self.assertTrue(last.startswith('ModuleNotFoundError: '), last)
        self.assertTrue(
            last.endswith("pip install 'oslo.periodic[fixtures]'"), last
        )


class TestTimerFollowsTheClock(base.BackendTestCase):
    """The clock decides when the timer of a runner wakes."""

    def setUp(self):
        super().setUp()
        self.clock = self.useFixture(fixture.ClockFixture())
        self.ran = []

    def start(self, **spacings):
        tasks = periodic_task.PeriodicTasks(self.conf)
        for name, spacing in spacings.items():
            decorate = periodic_task.periodic_task(name=name, spacing=spacing)
            tasks.add_periodic_task(decorate(self.record(name)))
        started = runner.PeriodicRunner(tasks)
        self.addCleanup(started.stop, timeout=base.TIMEOUT)
        started.start()
        self.clock.settle()
        return tasks, started

    def record(self, name):
        return lambda tasks, context: self.ran.append((name, self.clock.time))

    def test_nothing_runs_before_its_time(self):
        tasks, _started = self.start(one=10)
        self.clock.advance(9.999)
        self.clock.settle()
        self.assertEqual([], self.ran)
        self.clock.advance(0.001)
        fixture.wait_for_runs(tasks, 'one')
        self.assertEqual([('one', 1010.0)], self.ran)

    def test_an_hour_in_steps(self):
        tasks, _started = self.start(fast=60, slow=600)
        for minute in range(1, 61):
            self.clock.advance(60)
            self.clock.settle()
            fixture.wait_for_runs(tasks, 'fast', minute)
        fixture.wait_for_runs(tasks, 'slow', 6)
        self.assertEqual(66, len(self.ran))
        self.assertEqual(
            [1000.0 + 600 * i for i in range(1, 7)],
            [at for name, at in self.ran if name == 'slow'],
        )

    def test_changes_wake_it(self):
        tasks, started = self.start(one=3600)
        started.run('one')
        fixture.wait_for_runs(tasks, 'one')
        tasks._periodic_spacing['one'] = 5
        self.clock.settle()
        self.clock.advance(5)
        fixture.wait_for_runs(tasks, 'one', 2)
        self.assertEqual([('one', 1000.0), ('one', 1005.0)], self.ran)

    def test_a_run_that_does_not_come(self):
        tasks, _started = self.start(one=3600)
        error = self.assertRaises(
            TimeoutError, fixture.wait_for_runs, tasks, 'one', 1, 0.01
        )
        self.assertIn('one has run 1 times', str(error))
        self.assertRaises(KeyError, fixture.wait_for_runs, tasks, 'two')

    def test_it_can_be_stopped_and_started(self):
        tasks, started = self.start(one=10)
        self.assertTrue(started.stop())
        self.clock.advance(10)
        self.assertEqual([], self.ran)
        started.start()
        fixture.wait_for_runs(tasks, 'one')
