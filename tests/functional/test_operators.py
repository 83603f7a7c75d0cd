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

"""What operators see: stopping, pauses, failures, and who did what."""

import os
import threading

from oslo_periodic import periodic_task
from oslo_periodic import runner
import tests
from tests import base
from tests.functional import test_control


def make_class(module):
    """Make a class that differs from others of its name by its module."""

    class Manager(periodic_task.PeriodicTasks):
        @periodic_task.periodic_task(spacing=3600)
        def sync(self, context):
            pass

    Manager.__module__ = module
    Manager.__qualname__ = 'Manager'
    return Manager


class TestStopping(test_control.ControlTestCase):
    def test_due_tasks_are_not_late(self):
        self.conf.set_override('overdue_factor', 1, 'oslo_periodic')
        started = self.start(
            self.make(
                slow=(3600, self.blocking('slow')),
                quick=(0.2, self.recording('quick')),
            )
        )
        self.await_condition(
            lambda: self.count('slow') and self.count('quick')
        )
        self.assertIs(False, self.succeed('status')['stopping'])
        self.succeed('stop')
        self.await_condition(lambda: self.succeed('status')['stopping'])
        self.await_activity('PeriodicTasks.quick', 'waiting')
        self.selected.backend.sleep(0.5)
        status = self.succeed('status')
        self.assertEqual([], status['problems'])
        self.assertTrue(self.succeed('health')['healthy'])
        self.assertEqual([], started.health())
        self.assertEqual(
            'the runner is stopping and starts no more tasks',
            self.state('PeriodicTasks.quick')['reason'],
        )
        self.assertNotIn('WARNING', self.log.output)
        self.gate.set()
        self.await_condition(lambda: not os.path.exists(self.path))


class TestWhoDidWhat(test_control.ControlTestCase):
    def test_a_pause_while_the_task_runs(self):
        started = self.start(self.make(slow=(3600, self.blocking('slow'))))
        self.await_activity('PeriodicTasks.slow', 'running')
        self.assertIs(False, self.state('PeriodicTasks.slow')['paused'])
        self.succeed('pause', 'slow')
        state = self.state('PeriodicTasks.slow')
        self.assertEqual('running', state['activity'])
        self.assertIs(True, state['paused'])
        # What is not paused cannot be resumed, and says so.
        self.assertEqual(
            ['PeriodicTasks.slow'], self.succeed('resume', 'slow')
        )
        self.assertEqual([], self.succeed('resume', 'slow'))
        self.assertEqual([], started.resume('slow'))
        self.assertIs(False, self.state('PeriodicTasks.slow')['paused'])

    def test_the_log_names_the_sender(self):
        started = self.start(self.make(task=(3600, self.recording('task'))))
        self.await_condition(lambda: self.count('task'))
        self.succeed('pause', 'task')
        self.succeed('resume', 'task')
        self.run_task('task')
        started.pause('task')
        self.succeed('stop')
        sender = f' by uid {os.geteuid()}, pid {os.getpid()}\n'
        for text in (
            'Periodic task PeriodicTasks.task is paused',
            'Periodic task PeriodicTasks.task is resumed',
            'Run of periodic task PeriodicTasks.task requested',
            'Stop of the periodic task runner requested',
        ):
            self.assertIn(f'INFO {text}{sender}', self.log.output)
        # Code has no sender.
        self.assertIn(
            'Periodic task PeriodicTasks.task is paused\n', self.log.output
        )

    def test_classes_of_one_name(self):
        self.start(
            make_class('first.module')(self.conf),
            make_class('second.module')(self.conf),
            self.make(other=(3600, self.recording('other'))),
        )
        first, second = (
            'first.module.Manager.sync',
            'second.module.Manager.sync',
        )
        tasks = self.succeed('status')['tasks']
        self.assertEqual(
            [first, second, 'PeriodicTasks.other'],
            [task['task'] for task in tasks],
        )
        self.assertEqual('first.module', tasks[0]['module'])
        error = self.fail_to('pause', 'Manager.sync')
        self.assertIn(f'{first} and {second}', error)
        self.succeed('pause', second)
        self.assertEqual('paused', self.state(second)['activity'])
        self.assertEqual('idle', self.state(first)['activity'])

    def test_the_module_may_always_be_named(self):
        cls = make_class('first.module')
        self.start(cls(self.conf))
        self.succeed('pause', 'first.module.Manager.sync')
        self.assertEqual('paused', self.state('Manager.sync')['activity'])


class TestFailing(test_control.ControlTestCase):
    def setUp(self):
        super().setUp()
        self.fails = True

    def failing(self):
        def fail(tasks, context):
            self.ran.append(('fail', context))
            if self.fails:
                raise ValueError('no database')

        return fail

    def test_failures_in_a_row(self):
        self.conf.set_override('failing_after', 3, 'oslo_periodic')
        # Far from late, whatever else this machine does.
        self.conf.set_override('overdue_factor', 0, 'oslo_periodic')
        started = self.start(self.make(fail=(0.05, self.failing())))
        self.await_condition(lambda: not self.succeed('health')['healthy'])
        self.assertGreaterEqual(self.count('fail'), 3)
        (problem,) = started.health()
        self.assertRegex(
            problem,
            r'^PeriodicTasks\.fail has failed \d+ times in a row; the last '
            r'run: failure: ValueError: no database$',
        )
        started.pause('fail')
        self.assertEqual([], started.health())
        started.resume('fail')
        self.assertEqual(1, len(started.health()))
        self.conf.set_override('failing_after', 0, 'oslo_periodic')
        started.reset()
        self.assertEqual([], started.health())
        self.conf.set_override('failing_after', 3, 'oslo_periodic')
        started.reset()
        self.assertEqual(1, len(started.health()))
        self.fails = False
        self.await_condition(lambda: not started.health())

    def test_the_default_is_five(self):
        started = self.start(self.make(fail=(3600, self.failing())))
        for runs in range(1, 6):
            self.await_condition(
                lambda n=runs: self.state('PeriodicTasks.fail')['runs'] == n
            )
            self.assertEqual(runs >= 5, bool(started.health()), runs)
            if runs < 5:
                self.run_task('fail')


class TestIsolation(test_control.ControlTestCase):
    scenarios = [('threading', {'backend': 'threading'})]

    def test_what_does_not_pickle_is_logged_at_a_reload(self):
        if tests.MONKEY_PATCHED:
            self.skipTest('a patched process has no process pool')
        tasks = self.make(task=(3600, self.recording('task')))
        tasks.lock = threading.Lock()
        started = runner.PeriodicRunner(tasks)
        self.addCleanup(started.stop, timeout=base.TIMEOUT)
        started.start()
        self.assertNotIn('isolation = process', self.log.output)
        self.conf.set_override('default_isolation', 'process', 'oslo_periodic')
        started.reset()
        self.assertIn(
            'ERROR Periodic task PeriodicTasks.task', self.log.output
        )
        self.assertIn('each of its runs will fail', self.log.output)
