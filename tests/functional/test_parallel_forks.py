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

"""Tasks that fork in worker processes, and workers that break."""

import os

from oslo_periodic import exceptions
from tests.helpers import faults
from tests.helpers import ticks


class TestForkedChildren(ticks.ParallelTestCase):
    """A forked child ends where its code ends, and reports nothing."""

    def check(self, function, *expected):
        """Run a task that forks, and another, on one worker."""
        service = self.make(function, faults.say_pid)
        self.tick(service, processes=1)
        pids = set()
        for _ in range(5):
            said = self.said()
            pids.update(line for line in said if line.startswith('pid'))
            self.assertEqual(
                sorted(expected), [line for line in said if line[:3] != 'pid']
            )
            self.again(service)
            self.tick(service, processes=1)
        # Every task ran in the one worker.
        self.assertEqual(1, len(pids))
        self.assertEqual(1, len(self.workers()))

    def test_exec_that_fails(self):
        self.check(faults.fail_to_execute, 'child 1')
        self.assertNotIn('Error during', self.log.output)

    def test_no_exit(self):
        self.check(faults.forget_to_exit, 'child 0', 'forked')
        self.assertNotIn('Error during', self.log.output)

    def test_system_exit(self):
        self.check(faults.exit_in_a_fork, 'child 5')
        self.assertNotIn('Error during', self.log.output)

    def test_both_fail(self):
        self.check(faults.fork_and_fail, 'child 1')
        self.assertEqual(6, self.log.output.count('Error during'))

    def test_fork_while_the_instance_is_loaded(self):
        service = self.make(faults.one, faults.two)
        service.forking = Forking()
        self.tick(service, processes=1)
        self.assertEqual(['one', 'two'], self.said())


class Forking:
    """Forks when it is unpickled."""

    def __reduce__(self):
        return fork, ()


def fork():
    os.fork()
    return 'forked'


class TestBrokenWorkers(ticks.ParallelTestCase):
    def test_a_worker_without_memory_is_not_kept(self):
        service = self.make(faults.limit_memory, faults.one)
        service.blob = bytes(64 << 20)
        for _ in range(3):
            self.tick(service, processes=1)
            self.assertEqual(['one'], self.said())
            self.again(service)
        self.assertNotIn('Error during', self.log.output)

    def test_a_worker_that_cannot_load_is_not_kept(self):
        service = self.make(faults.one)
        service.trap = Trap()
        self.assertRaises(exceptions.WorkerStartError, self.tick, service)
        self.assertEqual([], self.workers())

    def test_a_loop_that_fails_beside_a_thread(self):
        """The worker does not wait for a thread that a task left behind."""
        service = self.make(faults.break_the_loop, faults.one)
        self.tick(service, processes=1)
        self.assertEqual(['one'], self.said())
        self.assertLess(self.seconds, 10)


class Trap:
    def __reduce__(self):
        return spring, ()


def spring():
    raise RuntimeError('sprung')
