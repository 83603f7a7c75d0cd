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

"""Ticks among green threads, in a monkey-patched process and in a plain one.

The tox environment ``eventlet`` runs this in a patched process.
"""

import eventlet  # noqa: H905
import eventlet.event  # noqa: H905

from oslo_periodic import periodic_task
from tests import base


class TestGreenTicks(base.TestCase):
    backend = 'eventlet'

    def make(self, *functions):
        tasks = periodic_task.PeriodicTasks(self.conf)
        for number, function in enumerate(functions):
            decorate = periodic_task.periodic_task(
                name=f'task_{number}', spacing=60, run_immediately=True
            )
            tasks.add_periodic_task(decorate(function))
        return tasks

    def test_the_hub_gets_its_turn_after_every_task(self):
        order = []

        def work(tasks, context):
            order.append('task')

        def other():
            while True:
                order.append('other')
                eventlet.sleep(0)

        thread = eventlet.spawn(other)
        self.addCleanup(thread.kill)
        tasks = self.make(work, work, work)
        tasks.run_periodic_tasks(None)
        text = ' '.join(order)
        self.assertIn('task other task other task other', text)

    def test_a_kill_within_a_task_ends_the_tick(self):
        ran = []
        started = eventlet.event.Event()

        def hang(tasks, context):
            started.send()
            eventlet.sleep(base.TIMEOUT)

        def work(tasks, context):
            ran.append('work')

        tasks = self.make(hang, work)
        thread = eventlet.spawn(tasks.run_periodic_tasks, None)
        with eventlet.Timeout(base.TIMEOUT):
            started.wait()
            thread.kill()
        self.assertTrue(thread.dead)
        self.assertEqual([], ran)
        # The task that was killed has had its run; the other has not.
        tasks.run_periodic_tasks(None)
        self.assertEqual(['work'], ran)

    def test_a_kill_between_tasks_ends_the_tick(self):
        ran = []
        threads = []

        def work(tasks, context):
            ran.append('work')
            eventlet.spawn(threads[0].kill)

        def rest(tasks, context):
            ran.append('rest')

        tasks = self.make(work, rest)
        threads.append(eventlet.spawn(tasks.run_periodic_tasks, None))
        with eventlet.Timeout(base.TIMEOUT):
            while not threads[0].dead:
                eventlet.sleep(0)
        self.assertEqual(['work'], ran)
        tasks.run_periodic_tasks(None)
        self.assertEqual(['work', 'rest'], ran)

    def test_a_task_that_sleeps_lets_another_tick_go_on(self):
        order = []
        gate = eventlet.event.Event()

        def slow(tasks, context):
            order.append('slow starts')
            gate.wait()
            order.append('slow ends')

        def quick(tasks, context):
            order.append('quick')

        tasks = self.make(slow, quick)
        thread = eventlet.spawn(tasks.run_periodic_tasks, None)
        with eventlet.Timeout(base.TIMEOUT):
            while not order:
                eventlet.sleep(0)
            tasks.run_periodic_tasks(None)
            gate.send()
            thread.wait()
        self.assertEqual(['slow starts', 'quick', 'slow ends'], order)
