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

"""The conformance suite: what a backend has to keep, rule by rule.

The author of a backend derives a test case and gets all rules tested::

    import unittest

    from oslo_periodic import testing


    class TestMyBackend(testing.BackendConformance, unittest.TestCase):
        def make_backend(self):
            return MyBackend()

A failure names the rule that was broken. Where threads of execution share a
native thread, run it in a process that is set up as a service's would be
(monkey-patched or not).
"""

from __future__ import annotations

from collections.abc import Callable
import concurrent.futures
import functools
import os
import time
from typing import Any
from typing import TYPE_CHECKING
import unittest

from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from oslo_periodic import runner

if TYPE_CHECKING:
    _TestCase = unittest.TestCase
else:
    _TestCase = object

#: Seconds that a call may take that a conforming backend does at once. Rules
#: about waiting are checked by order and not by measuring time.
PATIENCE = 10.0
#: Seconds; a wait that is meant to time out.
_SHORT = 0.05


def _rule(text: str) -> Callable[[Callable[[Any], None]], Any]:
    """Make a test of a rule: its failure names the rule."""

    def decorate(test: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(test)
        def checked(self: Any) -> None:
            try:
                test(self)
            except unittest.SkipTest:
                raise
            except BaseException as exc:
                raise AssertionError(
                    f'The backend {self.backend!r} breaks the rule: {text}. '
                    f'({type(exc).__name__}: {exc})'
                ) from exc

        checked.__doc__ = f'{text[0].upper()}{text[1:]}.'
        return checked

    return decorate


class BackendConformance(_TestCase):
    """Tests of every rule; mix it into a test case."""

    backend: base.Backend

    def make_backend(self) -> base.Backend:
        """Make the backend under test; override this."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Make the backend."""
        super().setUp()
        self.backend = self.make_backend()

    def _pool(self, workers: int) -> concurrent.futures.Executor:
        pool = self.backend.worker_pool(workers)
        self.addCleanup(pool.shutdown, wait=False, cancel_futures=True)
        return pool

    def _gate(self) -> base.Event:
        """Make an event that is set at the end, so that nobody is left."""
        event = self.backend.event()
        self.addCleanup(event.set)
        return event

    # What a backend says of itself.

    @_rule('a backend has a name, a string that is not empty')
    def test_name(self) -> None:
        self.assertIsInstance(self.backend.name, str)
        self.assertTrue(self.backend.name)

    @_rule('capabilities is a frozenset of Capability members')
    def test_capabilities(self) -> None:
        self.assertIsInstance(self.backend.capabilities, frozenset)
        for capability in self.backend.capabilities:
            self.assertIsInstance(capability, base.Capability)

    @_rule(
        'process_pool raises UnsupportedBackendError, naming the backend, '
        'unless the capability PROCESSES is declared'
    )
    def test_process_pool(self) -> None:
        if base.Capability.PROCESSES in self.backend.capabilities:
            raise unittest.SkipTest('the backend declares PROCESSES')
        with self.assertRaises(exceptions.UnsupportedBackendError) as caught:
            self.backend.process_pool(1)
        self.assertIn(self.backend.name, str(caught.exception))

    @_rule('a backend can be closed, more than once, and used again')
    def test_close(self) -> None:
        self.backend.close()
        self.backend.close()
        self.assertEqual(3, self._pool(1).submit(len, 'abc').result(PATIENCE))

    # Sleeping.

    @_rule('sleep lasts at least as long as it was told')
    def test_sleep_lasts(self) -> None:
        start = time.monotonic()
        self.backend.sleep(_SHORT)
        # Clocks of different resolution may be involved.
        self.assertGreaterEqual(time.monotonic() - start, _SHORT * 0.9)

    @_rule('sleep lets the others run')
    def test_sleep_lets_others_run(self) -> None:
        ran: list[int] = []
        self._pool(1).submit(ran.append, 1)
        end = time.monotonic() + PATIENCE
        while not ran and time.monotonic() < end:
            self.backend.sleep(0.001)
        self.assertEqual([1], ran)

    @_rule('sleep(0) gives the others a turn')
    def test_sleep_zero_gives_a_turn(self) -> None:
        ran: list[int] = []
        self._pool(1).submit(ran.append, 1)
        end = time.monotonic() + PATIENCE
        while not ran and time.monotonic() < end:
            self.backend.sleep(0)
        self.assertEqual([1], ran)

    # Events.

    @_rule('an event is not set when it is made')
    def test_event_starts_unset(self) -> None:
        self.assertFalse(self.backend.event().is_set())

    @_rule('wait of an event that is not set returns False after the timeout')
    def test_event_wait_times_out(self) -> None:
        event = self.backend.event()
        start = time.monotonic()
        self.assertIs(False, event.wait(_SHORT))
        self.assertGreaterEqual(time.monotonic() - start, _SHORT * 0.9)

    @_rule('wait of an event that is set returns True at once, and again')
    def test_event_set(self) -> None:
        event = self.backend.event()
        event.set()
        event.set()
        self.assertTrue(event.is_set())
        self.assertIs(True, event.wait(PATIENCE))
        self.assertIs(True, event.wait(PATIENCE))

    @_rule('clear makes an event waitable anew')
    def test_event_clear(self) -> None:
        event = self.backend.event()
        event.set()
        event.clear()
        self.assertFalse(event.is_set())
        self.assertIs(False, event.wait(_SHORT))
        event.set()
        self.assertIs(True, event.wait(PATIENCE))

    @_rule('wait of an event blocks only the one who waits')
    def test_event_wait_blocks_the_waiter_only(self) -> None:
        event = self._gate()
        self._pool(1).submit(event.set)
        self.assertIs(True, event.wait(PATIENCE))

    @_rule('set of an event wakes everybody who waits')
    def test_event_wakes_all(self) -> None:
        event = self._gate()
        pool = self._pool(3)
        waiting = [pool.submit(event.wait, PATIENCE) for _ in range(2)]
        pool.submit(event.set)
        self.assertEqual(
            [True, True], [future.result(PATIENCE) for future in waiting]
        )

    # The worker pool.

    @_rule('a worker pool has at least one worker: 0 is a ValueError')
    def test_pool_needs_workers(self) -> None:
        for workers in (0, -1):
            with self.assertRaises(ValueError):
                self.backend.worker_pool(workers)

    @_rule('submit passes the arguments on, and its future has the result')
    def test_pool_result(self) -> None:
        future = self._pool(1).submit(dict, [('a', 1)], b=2)
        self.assertIsInstance(future, concurrent.futures.Future)
        self.assertEqual({'a': 1, 'b': 2}, future.result(PATIENCE))
        self.assertTrue(future.done())
        self.assertIsNone(future.exception(PATIENCE))

    @_rule("an exception of a call is its future's, whatever its class")
    def test_pool_exception(self) -> None:
        def fail(kind: type[BaseException]) -> None:
            raise kind('on purpose')

        pool = self._pool(1)
        for kind in (ValueError, SystemExit, KeyboardInterrupt):
            future = pool.submit(fail, kind)
            self.assertIsInstance(future.exception(PATIENCE), kind)
            with self.assertRaises(kind):
                future.result(PATIENCE)
        self.assertEqual(3, pool.submit(len, 'abc').result(PATIENCE))

    @_rule('result raises TimeoutError where the call takes too long')
    def test_pool_result_times_out(self) -> None:
        future = self._pool(1).submit(self._gate().wait, PATIENCE)
        with self.assertRaises(TimeoutError):
            future.result(_SHORT)
        with self.assertRaises(TimeoutError):
            future.exception(_SHORT)

    @_rule('waiting for a future blocks only the one who waits')
    def test_pool_waiting_in_a_worker(self) -> None:
        pool = self._pool(2)
        gate = self._gate()
        first = pool.submit(gate.wait, PATIENCE)
        second = pool.submit(first.result, PATIENCE)
        gate.set()
        self.assertIs(True, second.result(PATIENCE))

    @_rule('no more calls run at a time than there are workers')
    def test_pool_is_bounded(self) -> None:
        pool = self._pool(2)
        running: list[int] = []
        most: list[int] = []

        def call() -> None:
            running.append(1)
            most.append(len(running))
            self.backend.sleep(0.005)
            running.pop()

        futures = [pool.submit(call) for _ in range(10)]
        for future in futures:
            future.result(PATIENCE)
        self.assertEqual(2, max(most))

    @_rule('submit does not block when all workers are busy')
    def test_pool_submit_does_not_block(self) -> None:
        pool = self._pool(1)
        gate = self._gate()
        pool.submit(gate.wait, PATIENCE)
        start = time.monotonic()
        second = pool.submit(len, 'ab')
        third = pool.submit(len, 'abc')
        self.assertLess(time.monotonic() - start, PATIENCE / 2)
        self.assertFalse(second.done())
        gate.set()
        self.assertEqual(3, third.result(PATIENCE))

    @_rule('what waits for a worker runs in the order of submission')
    def test_pool_order(self) -> None:
        pool = self._pool(1)
        gate = self._gate()
        order: list[int] = []
        pool.submit(gate.wait, PATIENCE)
        futures = [pool.submit(order.append, i) for i in range(20)]
        gate.set()
        for future in futures:
            future.result(PATIENCE)
        self.assertEqual(list(range(20)), order)

    @_rule('a call that was cancelled before it started never runs')
    def test_pool_cancel(self) -> None:
        pool = self._pool(1)
        gate = self._gate()
        ran: list[int] = []
        pool.submit(gate.wait, PATIENCE)
        cancelled = pool.submit(ran.append, 1)
        last = pool.submit(ran.append, 2)
        self.assertTrue(cancelled.cancel())
        with self.assertRaises(concurrent.futures.CancelledError):
            cancelled.result(PATIENCE)
        gate.set()
        last.result(PATIENCE)
        self.assertEqual([2], ran)

    @_rule('after shutdown, submit raises RuntimeError')
    def test_pool_shutdown(self) -> None:
        pool = self._pool(1)
        pool.shutdown()
        with self.assertRaises(RuntimeError):
            pool.submit(len, '')

    @_rule('shutdown waits for what was submitted')
    def test_pool_shutdown_waits(self) -> None:
        pool = self._pool(1)
        done: list[int] = []

        def call(number: int) -> None:
            self.backend.sleep(0.01)
            done.append(number)

        for number in range(3):
            pool.submit(call, number)
        pool.shutdown(wait=True)
        self.assertEqual([0, 1, 2], done)

    @_rule('shutdown with cancel_futures=True cancels what has not started')
    def test_pool_shutdown_cancels(self) -> None:
        pool = self._pool(1)
        gate, started = self._gate(), self._gate()
        ran: list[int] = []

        def first() -> bool:
            started.set()
            return gate.wait(PATIENCE)

        running = pool.submit(first)
        self.assertTrue(started.wait(PATIENCE))
        queued = pool.submit(ran.append, 1)
        pool.shutdown(wait=False, cancel_futures=True)
        self.assertTrue(queued.cancelled())
        gate.set()
        self.assertIs(True, running.result(PATIENCE))
        self.assertEqual([], ran)

    @_rule('a pool of 10 workers runs 1,000 calls')
    def test_pool_many_calls(self) -> None:
        pool = self._pool(10)
        futures = [pool.submit(pow, i, 2) for i in range(1000)]
        self.assertEqual(
            [i * i for i in range(1000)],
            [future.result(PATIENCE) for future in futures],
        )

    # Descriptors.

    def _pipe(self) -> tuple[int, int]:
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        return read, write

    @_rule('wait_readable returns False after the timeout')
    def test_wait_readable_times_out(self) -> None:
        read, write = self._pipe()
        self.addCleanup(os.close, write)
        start = time.monotonic()
        self.assertIs(False, self.backend.wait_readable(read, _SHORT))
        self.assertGreaterEqual(time.monotonic() - start, _SHORT * 0.9)
        self.assertIs(False, self.backend.wait_readable(read, 0))

    @_rule('wait_readable returns True where there is something to read')
    def test_wait_readable(self) -> None:
        read, write = self._pipe()
        self.addCleanup(os.close, write)
        os.write(write, b'ab')
        self.assertIs(True, self.backend.wait_readable(read, PATIENCE))
        os.read(read, 1)
        self.assertIs(True, self.backend.wait_readable(read, PATIENCE))
        os.read(read, 1)
        self.assertIs(False, self.backend.wait_readable(read, _SHORT))

    @_rule('wait_readable returns True when the other end is closed')
    def test_wait_readable_end(self) -> None:
        read, write = self._pipe()
        os.close(write)
        self.assertIs(True, self.backend.wait_readable(read, PATIENCE))

    @_rule('wait_readable blocks only the one who waits')
    def test_wait_readable_blocks_the_waiter_only(self) -> None:
        read, write = self._pipe()
        self.addCleanup(os.close, write)
        self._pool(1).submit(os.write, write, b'a')
        self.assertIs(True, self.backend.wait_readable(read, PATIENCE))

    # The end of a call.

    @_rule(
        'kill raises UnsupportedBackendError, naming the backend, unless the '
        'capability KILL is declared'
    )
    def test_kill_is_declared(self) -> None:
        if base.Capability.KILL in self.backend.capabilities:
            raise unittest.SkipTest('the backend declares KILL')
        call = self._pool(1).submit(len, '')
        with self.assertRaises(exceptions.UnsupportedBackendError) as caught:
            self.backend.kill(call)
        self.assertIn(self.backend.name, str(caught.exception))

    def _killing(self) -> None:
        if base.Capability.KILL not in self.backend.capabilities:
            raise unittest.SkipTest('the backend does not declare KILL')

    @_rule(
        'kill ends a call that waits: its finally clauses run, and its future '
        'has an exception that is no Exception'
    )
    def test_kill(self) -> None:
        self._killing()
        gate, started = self._gate(), self._gate()
        cleaned: list[int] = []

        def call() -> None:
            try:
                started.set()
                gate.wait(PATIENCE * 2)
            except Exception:
                cleaned.append(0)
            finally:
                cleaned.append(1)

        future = self._pool(1).submit(call)
        self.assertTrue(started.wait(PATIENCE))
        self.backend.kill(future)
        error = future.exception(PATIENCE)
        self.assertIsNotNone(error)
        self.assertNotIsInstance(error, Exception)
        self.assertEqual([1], cleaned)

    @_rule('kill cancels a call that has not started')
    def test_kill_before_the_start(self) -> None:
        self._killing()
        pool = self._pool(1)
        gate = self._gate()
        ran: list[int] = []
        first = pool.submit(gate.wait, PATIENCE)
        future = pool.submit(ran.append, 1)
        self.backend.kill(future)
        with self.assertRaises(concurrent.futures.CancelledError):
            future.result(PATIENCE)
        gate.set()
        self.assertIs(True, first.result(PATIENCE))
        self.assertEqual([], ran)

    @_rule('kill leaves a call that has ended alone, and the pool goes on')
    def test_kill_after_the_end(self) -> None:
        self._killing()
        pool = self._pool(1)
        future = pool.submit(len, 'ab')
        self.assertEqual(2, future.result(PATIENCE))
        self.backend.kill(future)
        self.assertEqual(2, future.result(PATIENCE))
        self.assertEqual(3, pool.submit(len, 'abc').result(PATIENCE))

    # Ticks.

    def _tasks(
        self, *functions: Callable[[Any, Any], Any], **policy: Any
    ) -> Any:
        conf = cfg.ConfigOpts()
        conf([], project='conformance', use_env=False, default_config_files=[])
        tasks = periodic_task.PeriodicTasks(conf)
        for number, function in enumerate(functions):
            decorate = periodic_task.periodic_task(
                name=f'task_{number}',
                spacing=60,
                run_immediately=True,
                **policy,
            )
            tasks.add_periodic_task(decorate(function))
        return tasks

    @_rule('a tick runs 1,000 due tasks in their order, and then idles')
    def test_tick(self) -> None:
        ran: list[Any] = []

        def make(number: int) -> Callable[[Any, Any], None]:
            return lambda self, context: ran.append((number, context))

        with backends.override(self.backend):
            tasks = self._tasks(*map(make, range(1000)))
            idle = tasks.run_periodic_tasks('context')
            self.assertEqual([(i, 'context') for i in range(1000)], ran)
            self.assertTrue(0 < idle <= 60, idle)
            tasks.run_periodic_tasks('context')
            self.assertEqual(1000, len(ran))

    @_rule('a tick of a COOPERATIVE backend gives a turn after every task')
    def test_tick_gives_turns(self) -> None:
        if base.Capability.COOPERATIVE not in self.backend.capabilities:
            raise unittest.SkipTest('the backend is pre-emptive')
        order: list[str] = []
        ended: list[bool] = []

        def other() -> None:
            while not ended:
                order.append('other')
                self.backend.sleep(0)

        with backends.override(self.backend):
            tasks = self._tasks(
                lambda self, context: order.append('first'),
                lambda self, context: order.append('second'),
            )
            watching = self._pool(1).submit(other)
            tasks.run_periodic_tasks(None)
            ended.append(True)
            watching.result(PATIENCE)
        first, second = order.index('first'), order.index('second')
        self.assertIn('other', order[first:second])

    @_rule(
        'a task that wants the process to end ends the tick, and the rest '
        'runs in the next one'
    )
    def test_tick_is_ended(self) -> None:
        ran: list[int] = []

        def leave(self: Any, context: Any) -> None:
            raise SystemExit('on purpose')

        with backends.override(self.backend):
            tasks = self._tasks(leave, lambda self, context: ran.append(1))
            with self.assertRaises(SystemExit):
                tasks.run_periodic_tasks(None)
            self.assertEqual([], ran)
            tasks.run_periodic_tasks(None)
            self.assertEqual([1], ran)

    @_rule('a task that runs in one thread of execution is skipped by another')
    def test_tick_skips_what_runs(self) -> None:
        gate, started = self._gate(), self._gate()
        ran: list[str] = []

        def slow(self: Any, context: Any) -> None:
            ran.append('slow')
            started.set()
            gate.wait(PATIENCE)

        with backends.override(self.backend):
            tasks = self._tasks(slow, lambda self, ctx: ran.append('quick'))
            first = self._pool(1).submit(tasks.run_periodic_tasks, None)
            self.assertTrue(started.wait(PATIENCE))
            tasks._periodic_last_run['task_0'] = None
            tasks.run_periodic_tasks(None)
            self.assertEqual(['slow', 'quick'], ran)
            gate.set()
            first.result(PATIENCE)

    # The runner.

    def _check_for_runner(self) -> None:
        """Fail where a runner would hang, and so would the test."""
        # A pool that does the call in submit would never let start return.
        probe = self._pool(1).submit(self._gate().wait, PATIENCE)
        self.assertFalse(probe.done())
        # And one whose events do not wait would never let anybody run.
        event = self.backend.event()
        event.set()
        event.clear()
        start = time.monotonic()
        self.assertIs(False, event.wait(_SHORT))
        self.assertGreaterEqual(time.monotonic() - start, _SHORT * 0.9)

    @_rule('under a runner a slow task delays no other, nor overlaps itself')
    def test_runner(self) -> None:
        gate, enough = self._gate(), self._gate()
        slow: list[int] = []
        quick: list[int] = []

        def wait(self: Any, context: Any) -> None:
            slow.append(1)
            gate.wait(PATIENCE)

        def count(self: Any, context: Any) -> None:
            quick.append(1)
            if len(quick) == 3:
                enough.set()

        self._check_for_runner()
        with backends.override(self.backend):
            tasks = self._tasks(wait, count)
            for name in tasks._periodic_spacing:
                tasks._periodic_spacing[name] = 0.01
            started = runner.PeriodicRunner(tasks)
            started.start()
            try:
                self.assertIs(True, enough.wait(PATIENCE))
                self.assertEqual([1], slow)
            finally:
                gate.set()
                self.assertTrue(started.stop(timeout=PATIENCE))

    @_rule(
        'under a runner a task that is over its timeout is ended, or asked to '
        'end'
    )
    def test_runner_timeout(self) -> None:
        started = self._gate()
        ended = self._gate()

        def wait(self: Any, context: Any) -> None:
            started.set()
            try:
                runner.cancel_event().wait(PATIENCE * 2)
            finally:
                ended.set()

        self._check_for_runner()
        with backends.override(self.backend):
            tasks = self._tasks(wait, timeout=_SHORT)
            timed = runner.PeriodicRunner(tasks)
            timed.start()
            try:
                self.assertTrue(started.wait(PATIENCE))
                self.assertTrue(ended.wait(PATIENCE))
            finally:
                self.assertTrue(timed.stop(timeout=PATIENCE))
            last = tasks.periodic_state()['task_0'].last
            self.assertEqual('timeout', last and last.outcome)
