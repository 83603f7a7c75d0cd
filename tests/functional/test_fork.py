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

"""A process that forks, in a task or beside one."""

import contextvars
import os
import signal
import sys
import types

import fixtures

from oslo_periodic import fixture
from tests import base
from tests.helpers import runners


def in_child(call, timeout=base.TIMEOUT):
    """Fork, call in the child, and return the exit code there."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            signal.alarm(timeout)
            code = call() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class TestRunnerInTheChild(runners.PolicyTestCase):
    """The child has no timer, no workers and no runs of its parent."""

    def test_its_runner_is_not_running(self):
        tasks = self.make(
            held=(3600, self.blocking('held')),
            quick=(0.01, self.recording('quick')),
        )
        started = self.start(tasks)
        self.await_condition(lambda: self.count('quick') > 1)
        self.await_condition(lambda: self.count('held') == 1)

        def child():
            if started.health() != ['The runner is not running']:
                return 1
            if tasks.periodic_state()['held'].activity == 'running':
                return 2
            if not started.stop(timeout=1):
                return 3
            started.wait()  # It returns: nothing runs here.
            # Green threads of the parent must not run on here.
            ran = len(self.ran)
            for _ in range(20):
                self.selected.backend.sleep(0.005)
            return 4 if len(self.ran) != ran else 0

        self.assertEqual(0, in_child(child))
        # The parent goes on.
        ran = self.count('quick')
        self.await_condition(lambda: self.count('quick') > ran + 2)
        self.assertEqual([], started.health())

    def test_it_can_be_started_there(self):
        tasks = self.make(quick=(0.01, self.recording('quick')))
        started = self.start(tasks)
        self.await_condition(lambda: self.count('quick') > 1)

        def child():
            del self.ran[:]
            started.start()
            fixture.wait_for_runs(
                tasks, 'quick', tasks.periodic_state()['quick'].runs + 3
            )
            return 0 if started.stop(timeout=5) else 1

        self.assertEqual(0, in_child(child))
        self.assertEqual([], started.health())

    def test_a_child_of_a_task(self):
        """It ends where its code ends, and is not a copy of the service."""
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'pids')

        def forks(tasks, context):
            if os.fork() == 0:
                signal.alarm(base.TIMEOUT)
            with open(path, 'a') as file:
                file.write(f'{os.getpid()}\n')

        def others(tasks, context):
            with open(path, 'a') as file:
                file.write(f'{os.getpid()}\n')

        tasks = self.make(forks=(3600, forks), others=(0.01, others))
        started = self.start(tasks)
        fixture.wait_for_runs(tasks, 'forks')
        self.await_condition(lambda: os.waitpid(-1, os.WNOHANG)[0])
        fixture.wait_for_runs(tasks, 'others', 5)
        self.assertTrue(started.stop())
        with open(path) as file:
            pids = file.read().split()
        self.assertEqual(1, tasks.periodic_state()['forks'].runs)
        # One line of the child: it runs no other task, nor the test.
        self.assertEqual(1, sum(pid != str(os.getpid()) for pid in pids), pids)


VARIABLE = contextvars.ContextVar('variable', default='unset')


class TestContexts(runners.PolicyTestCase):
    """What a run leaves around never reaches the next."""

    def setUp(self):
        super().setUp()
        # What oslo.context keeps, in its shape.
        self.store = types.SimpleNamespace()
        module = types.ModuleType('oslo_context.context')
        module._request_store = self.store
        module.get_current = lambda: getattr(self.store, 'context', None)
        sys.modules['oslo_context.context'] = module
        self.addCleanup(sys.modules.pop, 'oslo_context.context')

    def leaves(self):
        def leave(tasks, context):
            request = getattr(self.store, 'context', 0)
            self.seen.append((VARIABLE.get(), request))
            VARIABLE.set('of a run')
            self.store.context = 'request of a run'

        return leave

    def test_under_a_runner(self):
        self.seen = []
        tasks = self.make(one=(0.01, self.leaves()), two=(0.01, self.leaves()))
        started = self.start(tasks, workers=1)
        for name in ('one', 'two'):
            fixture.wait_for_runs(tasks, name, 3)
        self.assertTrue(started.stop())
        self.assertEqual({('unset', 0)}, set(self.seen))

    def test_a_context_that_is_made_is_that_of_the_run(self):
        self.seen = []

        def make_context():
            VARIABLE.set('made')
            self.store.context = 'request made'

        tasks = self.make(one=(3600, self.leaves()))
        started = self.start(tasks, context=make_context)
        fixture.wait_for_runs(tasks, 'one')
        self.assertTrue(started.stop())
        self.assertEqual([('made', 'request made')], self.seen)

    def test_under_a_tick(self):
        self.seen = []
        tasks = self.make(one=(60, self.leaves()), two=(60, self.leaves()))
        VARIABLE.set("the caller's")
        self.addCleanup(VARIABLE.set, 'unset')
        self.store.context = "the caller's request"
        tasks.run_periodic_tasks(None)
        self.assertEqual(
            [("the caller's", "the caller's request")] * 2, self.seen
        )
        self.assertEqual("the caller's", VARIABLE.get())
        self.assertEqual("the caller's request", self.store.context)
