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


"""Rules of a runner that a fault has broken once."""

import threading

from oslo_periodic import fixture
from oslo_periodic import periodic_task
from oslo_periodic import runner
import tests
from tests import base
from tests.helpers import runners


class TestRetries(runners.PolicyTestCase):
    """Where no worker can be started for a long time."""

    def test_a_task_waits_for_its_worker(self):
        clock = self.useFixture(fixture.ClockFixture())
        tasks = self.one(self.recording('task'), spacing=3600)
        backend = self.selected.backend
        make, broken = backend.named_worker_pool, [True]

        class Pool:
            def __init__(self, pool):
                self.pool = pool
                self.tries = 0

            def submit(self, *call):
                if broken:
                    self.tries += 1
                    raise RuntimeError("can't start new thread")
                return self.pool.submit(*call)

            def shutdown(self, **kwargs):
                self.pool.shutdown(**kwargs)

        def make_pool(workers, name):
            pool = make(workers, name)
            if name == 'periodic-worker':
                self.pool = pool = Pool(pool)
            return pool

        backend.named_worker_pool = make_pool
        started = self.start(tasks)
        for tries in range(1, 10):
            self.await_condition(lambda tries=tries: self.pool.tries >= tries)
            clock.settle()
            clock.advance(60)
        (state,) = started.status()['tasks']
        self.assertIn("can't start new thread", state['reason'])
        broken.clear()
        clock.advance(60)
        fixture.wait_for_runs(tasks, 'task')
        self.assertEqual(1, self.count('task'))
        self.assertTrue(started.stop())


class TestHandedOut(runners.PolicyTestCase):
    """A task that was handed to a worker which never begins it."""

    def test_health_sees_it(self):
        clock = self.useFixture(fixture.ClockFixture())
        tasks = self.one(self.recording('task'), spacing=10)
        backend = self.selected.backend
        make = backend.named_worker_pool
        held = []

        class Pool:
            def __init__(self, pool):
                self.pool = pool

            def submit(self, *call):
                held.append((self.pool, call))
                return self.pool.submit(self_gate.wait, base.TIMEOUT)

            def shutdown(self, **kwargs):
                self.pool.shutdown(**kwargs)

        self_gate = self.gate

        def make_pool(workers, name):
            pool = make(workers, name)
            return Pool(pool) if name == 'periodic-worker' else pool

        backend.named_worker_pool = make_pool
        started = self.start(tasks)
        self.await_condition(lambda: held)
        clock.settle()
        clock.advance(100)
        clock.settle()
        self.assertEqual(
            [
                'PeriodicTasks.task is 100.0 seconds late: it was handed to a '
                'worker, which has not begun it'
            ],
            started.health(),
        )
        (state,) = started.status()['tasks']
        self.assertEqual('waiting', state['activity'])
        # The run is only late: it takes place.
        self.gate.set()
        for pool, (call, *arguments) in held:
            pool.submit(call, *arguments)
        fixture.wait_for_runs(tasks, 'task')


class TestThreadNames(base.TestCase):
    """A stack dump tells the threads of a runner apart."""

    backend = 'threading'

    def test_roles_and_tasks(self):
        if tests.MONKEY_PATCHED:
            self.skipTest('green threads have no names of their own')
        began, gate = threading.Event(), threading.Event()
        names = []

        class Manager(periodic_task.PeriodicTasks):
            @periodic_task.periodic_task(spacing=60, run_immediately=True)
            def sync(self, context):
                names.append(threading.current_thread().name)
                began.set()
                gate.wait(base.TIMEOUT)

        manager = Manager(self.conf)
        started = runner.PeriodicRunner(manager)
        self.addCleanup(started.stop)
        self.addCleanup(gate.set)
        started.start()
        self.assertTrue(began.wait(base.TIMEOUT))
        self.assertEqual(['periodic-worker_0: Manager.sync'], names)
        present = {thread.name for thread in threading.enumerate()}
        self.assertLessEqual(
            {'periodic-timer_0', 'periodic-monitor_0'}, present
        )
        gate.set()
        fixture.wait_for_runs(manager, 'sync')
        names = {thread.name for thread in threading.enumerate()}
        self.assertIn('periodic-worker_0', names)


class Driver:
    def __init__(self):
        self.polled = 0

    @periodic_task.periodic_task(spacing=10, run_immediately=True)
    def poll(self, tasks, context):
        self.polled += 1


class TestBoundMethods(base.TestCase):
    """Each look-up of a bound method makes a new object."""

    def test_added_twice(self):
        driver = Driver()
        tasks = periodic_task.PeriodicTasks(self.conf)
        tasks.add_periodic_task(driver.poll)
        tasks.add_periodic_task(driver.poll)
        tasks.run_periodic_tasks(None)
        self.assertEqual(1, driver.polled)
        self.assertEqual(1, len(tasks._periodic_tasks))

    def test_added_to_a_class_twice(self):
        driver = Driver()

        class Tasks(periodic_task.PeriodicTasks):
            pass

        self.assertTrue(Tasks._add_periodic_task(driver.poll))
        self.assertTrue(Tasks._add_periodic_task(driver.poll))
        Tasks(self.conf).run_periodic_tasks(None)
        self.assertEqual(1, driver.polled)

    def test_in_the_list_of_tasks(self):
        driver = Driver()
        tasks = periodic_task.PeriodicTasks(self.conf)
        tasks._periodic_tasks = [('poll', driver.poll)]
        tasks.run_periodic_tasks(None)
        tasks._periodic_tasks = [('poll', driver.poll)]
        tasks.run_periodic_tasks(None)
        self.assertEqual(1, driver.polled)

    def test_another_instance_is_another_task(self):
        tasks = periodic_task.PeriodicTasks(self.conf)
        tasks.add_periodic_task(Driver().poll)
        self.assertRaises(
            periodic_task.InvalidPeriodicTaskArg,
            tasks.add_periodic_task,
            Driver().poll,
        )
