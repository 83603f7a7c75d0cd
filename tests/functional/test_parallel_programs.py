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

"""What becomes of the programs of tasks, and of signals to workers."""

import os
import signal
import threading

from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic.process import _payload
from oslo_periodic.process import _tree
from tests.helpers import faults
from tests.helpers import ticks

#: What reaches the process group or the cgroup of a service.
SIGNALS = ('HUP', 'INT', 'QUIT', 'TERM', 'USR1', 'USR2')
KINDS = ('group', 'session', 'detached')


def payload(service):
    return _payload.dump(service._periodic_state, service, None)


class TestSignals(ticks.ProgramsMixin, ticks.ParallelTestCase):
    def start_tick(self, service, context=None):
        thread = threading.Thread(
            target=self.tick, args=(service, context), daemon=True
        )
        thread.start()
        self.addCleanup(thread.join, ticks.BOUND)
        return thread

    def test_signals_that_are_meant_for_the_service(self):
        gate = self.path.with_name('gate')
        service = self.make(faults.wait_for_gate)
        thread = self.start_tick(service, str(gate))
        while not self.path.exists():
            self.assertTrue(thread.is_alive())
        (worker,) = self.selected.backend._workers._busy
        self.assertEqual(worker.pid, os.getpgid(worker.pid))
        for name in SIGNALS:
            os.kill(worker.pid, getattr(signal, f'SIG{name}'))
        gate.touch()
        thread.join(ticks.BOUND)
        self.assertEqual([f'passed {worker.pid}', 'waits'], self.said())
        self.assertNotIn('Error during', self.log.output)
        # Between runs, too.
        for name in SIGNALS:
            os.kill(worker.pid, getattr(signal, f'SIG{name}'))
        self.again(service)
        self.tick(service, str(gate))
        self.assertEqual([f'passed {worker.pid}', 'waits'], self.said())

    def test_while_a_worker_starts(self):
        workers = self.selected.backend.process_pool(1)._workers
        worker = workers.start()
        for name in SIGNALS:
            os.kill(worker.pid, getattr(signal, f'SIG{name}'))
        workers.add_idle(worker, 60)
        self.tick(self.make(faults.say_pid))
        self.assertEqual([f'pid {worker.pid}'], self.said())

    def test_children_of_a_task_get_their_signals(self):
        self.tick(self.make(faults.terminate_children))
        ends = [-signal.SIGTERM, -signal.SIGHUP, -signal.SIGUSR1]
        self.assertEqual(
            sorted(
                f'{kind} {n}' for n in ends for kind in ('fork', 'program')
            ),
            self.said(),
        )


class TestPrograms(ticks.ProgramsMixin, ticks.ParallelTestCase):
    """Programs end with the run that has started them, if it is ended."""

    def test_timeout(self):
        self.tick(self.make(faults.start_programs), timeout=1)
        self.assertIn('in start_programs', self.log.output)
        self.assert_ended(self.await_programs(*KINDS))
        self.assertLess(self.seconds, 5)

    def test_timeout_of_one_that_ignores_signals(self):
        service = self.make(faults.leave_programs_and_hang)
        self.tick(service, timeout=1)
        self.assert_ended(self.await_programs('group', 'detached'))

    def test_stop(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        service = self.make(faults.start_programs)
        events = self.selected.backend.process_pool(1).run(
            payload(service),
            [base.Call('start_programs', 'start_programs', False)],
            base.PoolSettings(end_fd=read),
        )
        next(events)
        pids = self.await_programs(*KINDS)
        os.write(write, b'x')
        (ended,) = events
        self.assertIsInstance(ended.failure, exceptions.TaskTimeout)
        self.assert_ended(pids)

    def test_close_of_the_run_and_of_the_pool(self):
        service = self.make(faults.start_programs)
        backend = self.selected.backend
        for close in ('events', 'pool'):
            events = backend.process_pool(1).run(
                payload(service),
                [base.Call('start_programs', 'start_programs', False)],
                base.PoolSettings(),
            )
            next(events)
            pids = self.await_programs(*KINDS)
            if close == 'events':
                events.close()
            else:
                backend.close()
            self.assert_ended(pids)
            self.path.unlink()
        (ended,) = events
        self.assertIsInstance(ended.failure, exceptions.WorkerDied)

    def test_death_of_the_worker(self):
        """Those outside the group cannot be found any more."""
        service = self.make(faults.start_programs)
        thread = threading.Thread(target=self.tick, args=(service,))
        thread.start()
        pids = self.await_programs(*KINDS)
        (worker,) = self.selected.backend._workers._busy
        os.kill(worker.pid, signal.SIGKILL)
        thread.join(ticks.BOUND)
        self.assertIn('WorkerDied', self.log.output)
        self.assert_ended(pids[:1])

    def test_a_run_that_ends_leaves_its_programs(self):
        self.tick(self.make(faults.leave_programs))
        pids = self.await_programs('group', 'detached')
        self.selected.backend.process_pool(1).end_idle()
        self.assertEqual([], self.workers())
        self.assert_running(pids)
        self.selected.backend.close()
        self.assert_running(pids)

    def test_what_an_earlier_run_has_detached(self):
        self.tick(self.make(faults.detach))
        pids = self.await_programs('detached')
        (worker,) = self.workers()
        # Starts are counted in hundredths of a second.
        started = _tree._read(pids[0]).started
        while _tree.now() * _tree._TICKS_PER_SECOND <= started + 1:
            pass
        self.tick(self.make(faults.hang), timeout=0.5)
        self.assertFalse(ticks.is_running(worker.pid))
        self.assert_running(pids)

    def test_orphans_that_have_ended_do_not_pile_up(self):
        service = self.make(faults.leave_an_orphan)
        pids, most = set(), 0
        for _ in range(80):
            self.tick(service, processes=1)
            pids.update(self.said())
            self.again(service)
            for worker in self.workers():
                children = f'/proc/{worker.pid}/task/{worker.pid}/children'
                with open(children) as file:
                    most = max(most, len(file.read().split()))
        self.assertLess(most, 40)
        self.assertIn(len(pids), (2, 3))


class TestService(ticks.ProgramsMixin, ticks.ParentTestCase):
    def test_the_service_is_killed(self):
        process = self.start(
            self.program('''
                service = make(faults.start_programs)
                service.run_periodic_tasks_in_parallel(None, processes=1)
            ''')
        )
        pids = self.await_programs(*KINDS)
        workers = self.workers_of(process)
        process.kill()
        self.assert_gone(workers, 2)
        self.assert_ended(pids[:1])

    def test_ctrl_c(self):
        process = self.start(
            self.program('''
                service = make(faults.start_programs)
                service.run_periodic_tasks_in_parallel(None, processes=1)
            ''')
        )
        pids = self.await_programs(*KINDS)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=ticks.PROGRAM_BOUND)
        self.assert_ended(pids)
