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

"""Values that users have passed, and what came of them."""

import decimal
import fractions
import os
import resource
import sys

import fixtures

from oslo_periodic import exceptions
from oslo_periodic import fixture
from oslo_periodic import opts
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base
from tests.helpers import runners


class Scalar:
    """As a scalar of numpy."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)


class TestNumbers(runners.PolicyTestCase):
    def test_timeouts_of_any_type(self):
        """A Fraction kept the task running for ever on Python 3.11."""
        for timeout in (
            fractions.Fraction(1, 50),
            decimal.Decimal('0.02'),
            Scalar(0.02),
        ):
            tasks = self.one(self.waits, spacing=60, timeout=timeout)
            started = self.start(tasks)
            state = fixture.wait_for_runs(tasks, 'task')
            self.assertEqual('timeout', state.last.outcome)
            self.assertEqual(0.02, state.timeout)
            self.assertTrue(started.stop())

    @property
    def waits(self):
        return lambda tasks, context: runner.cancel_event().wait(base.TIMEOUT)

    def test_spacings_of_any_type(self):
        for spacing in (
            fractions.Fraction(5, 2),
            decimal.Decimal('2.5'),
            Scalar(2.5),
        ):
            tasks = self.one(self.recording('task'), spacing=spacing)
            self.assertEqual(2.5, tasks.periodic_state()['task'].spacing)

    def test_tiny_spacings(self):
        for spacing in (5e-324, 1e-9, 0.0009, fractions.Fraction(1, 10**6)):
            error = self.assertRaises(
                exceptions.InvalidPeriodicTaskArg,
                self.one,
                self.recording('task'),
                spacing=spacing,
            )
            self.assertIn('the least is 0.001 seconds', str(error))
        tasks = self.one(self.recording('task'), spacing=0.001)
        self.assertRaises(
            exceptions.InvalidPeriodicTaskArg,
            tasks._periodic_spacing.update,
            {'task': 1e-6},
        )

    def test_never(self):
        """Status failed for all tasks: year 33715 is out of range."""
        clock = self.useFixture(fixture.ClockFixture())
        for spacing in (999999999999, sys.maxsize, 1e299):
            tasks = self.one(self.recording('task'), spacing=spacing)
            started = self.start(tasks)
            fixture.wait_for_runs(tasks, 'task')
            clock.settle()
            (task,) = started.status()['tasks']
            self.assertTrue(task['due'].startswith('9999-12-31'), task['due'])
            self.assertTrue(started.stop())


class TestNoDescriptors(runners.PolicyTestCase):
    def test_start(self):
        """It left a runner that was started, healthy, and ran nothing."""
        tasks = self.one(self.recording('task'), spacing=60)
        directory = self.useFixture(fixtures.TempDir()).path
        path = os.path.join(directory, 'socket')
        self.conf.set_override('control_socket', path, 'oslo_periodic')
        refused = runner.PeriodicRunner(tasks)
        self.addCleanup(refused.stop)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(map(int, os.listdir('/proc/self/fd'))) + 1
        taken = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, hard))
        try:
            while True:
                try:
                    taken.append(os.dup(0))
                except OSError:
                    break
            self.assertRaises(exceptions.RunnerError, refused.start)
            self.assertEqual(['The runner is not running'], refused.health())
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        refused.start()
        fixture.wait_for_runs(tasks, 'task')
        self.assertTrue(refused.stop())


class TestBrokenInstances(runners.PolicyTestCase):
    def test_a_configuration_that_is_gone(self):
        external = periodic_task.PeriodicTasks(self.conf)
        self.add(
            external,
            'external',
            self.recording('external'),
            spacing=0.01,
            external_process_ok=True,
        )
        tasks = self.one(self.recording('task'), spacing=0.01)
        started = self.start(external, tasks)
        fixture.wait_for_runs(external, 'external')
        external.conf = None
        runs = tasks.periodic_state()['task'].runs
        fixture.wait_for_runs(tasks, 'task', runs + 5)
        self.await_condition(lambda: started.health())
        self.assertIn("'NoneType' object has no", started.health()[0])
        self.assertTrue(started.stop())


class TestAddedAgain(runners.PolicyTestCase):
    """A task is added again while its configuration says another thing."""

    def test_it_follows_the_configuration(self):
        opts.register_task(self.conf, 'PeriodicTasks', 'task')
        group = 'periodic_task:PeriodicTasks.task'
        tasks = periodic_task.PeriodicTasks(self.conf)
        decorate = periodic_task.periodic_task(name='task', spacing=10)
        function = decorate(self.recording('task'))
        for option, value, activity in (
            ('enabled', False, 'disabled'),
            ('enabled', True, 'idle'),
            ('spacing', -1, 'disabled'),
            ('spacing', 5, 'idle'),
            ('enabled', False, 'disabled'),
            ('enabled', True, 'idle'),
        ):
            self.conf.set_override(option, value, group)
            tasks.add_periodic_task(function)
            self.assertEqual(activity, self.state(tasks).activity, value)
        self.assertEqual(5, self.state(tasks).spacing)
