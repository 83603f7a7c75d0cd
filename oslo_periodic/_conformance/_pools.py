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

"""The rules of worker pools."""

from __future__ import annotations

import concurrent.futures
import time

from oslo_periodic._conformance import _rules


class PoolRules(_rules.BackendSuite):
    """The worker pool."""

    @_rules.rule('a worker pool has at least one worker: 0 is a ValueError')
    def test_pool_needs_workers(self) -> None:
        for workers in (0, -1):
            with self.assertRaises(ValueError):
                self.backend.worker_pool(workers)

    @_rules.rule('named_worker_pool makes a pool as worker_pool does')
    def test_pool_with_a_name(self) -> None:
        with self.assertRaises(ValueError):
            self.backend.named_worker_pool(0, 'periodic-test')
        pool = self.backend.named_worker_pool(1, 'periodic-test')
        self.addCleanup(pool.shutdown, wait=False, cancel_futures=True)
        self.assertEqual(3, pool.submit(len, 'abc').result(self.patience))

    @_rules.rule(
        'submit passes the arguments on, and its future has the result'
    )
    def test_pool_result(self) -> None:
        future = self._pool(1).submit(dict, [('a', 1)], b=2)
        self.assertIsInstance(future, concurrent.futures.Future)
        self.assertEqual({'a': 1, 'b': 2}, future.result(self.patience))
        self.assertTrue(future.done())
        self.assertIsNone(future.exception(self.patience))

    @_rules.rule("an exception of a call, of any class, is set on its future")
    def test_pool_exception(self) -> None:
        def fail(kind: type[BaseException]) -> None:
            raise kind('on purpose')

        pool = self._pool(1)
        for kind in (ValueError, SystemExit, KeyboardInterrupt):
            future = pool.submit(fail, kind)
            self.assertIsInstance(future.exception(self.patience), kind)
            with self.assertRaises(kind):
                future.result(self.patience)
        self.assertEqual(3, pool.submit(len, 'abc').result(self.patience))

    @_rules.rule('result raises TimeoutError if the call takes too long')
    def test_pool_result_times_out(self) -> None:
        future = self._pool(1).submit(self._gate().wait, self.patience)
        with self.assertRaises(TimeoutError):
            future.result(_rules.SHORT)
        with self.assertRaises(TimeoutError):
            future.exception(_rules.SHORT)

    @_rules.rule('waiting for a future blocks only the thread that waits')
    def test_pool_waiting_in_a_worker(self) -> None:
        pool = self._pool(2)
        gate = self._gate()
        first = pool.submit(gate.wait, self.patience)
        second = pool.submit(first.result, self.patience)
        gate.set()
        self.assertIs(True, second.result(self.patience))

    @_rules.rule('no more calls run at a time than there are workers')
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
            future.result(self.patience)
        self.assertEqual(2, max(most))

    @_rules.rule('submit does not block when all workers are busy')
    def test_pool_submit_does_not_block(self) -> None:
        pool = self._pool(1)
        gate = self._gate()
        pool.submit(gate.wait, self.patience)
        start = time.monotonic()
        second = pool.submit(len, 'ab')
        third = pool.submit(len, 'abc')
        self.assertLess(time.monotonic() - start, self.patience / 2)
        self.assertFalse(second.done())
        gate.set()
        self.assertEqual(3, third.result(self.patience))

    @_rules.rule('calls that wait for a worker run in the order of submission')
    def test_pool_order(self) -> None:
        pool = self._pool(1)
        gate = self._gate()
        order: list[int] = []
        pool.submit(gate.wait, self.patience)
        futures = [pool.submit(order.append, i) for i in range(20)]
        gate.set()
        for future in futures:
            future.result(self.patience)
        self.assertEqual(list(range(20)), order)

    @_rules.rule('a call that was cancelled before it started never runs')
    def test_pool_cancel(self) -> None:
        pool = self._pool(1)
        gate = self._gate()
        ran: list[int] = []
        pool.submit(gate.wait, self.patience)
        cancelled = pool.submit(ran.append, 1)
        last = pool.submit(ran.append, 2)
        self.assertTrue(cancelled.cancel())
        with self.assertRaises(concurrent.futures.CancelledError):
            cancelled.result(self.patience)
        gate.set()
        last.result(self.patience)
        self.assertEqual([2], ran)

    @_rules.rule('after shutdown, submit raises RuntimeError')
    def test_pool_shutdown(self) -> None:
        pool = self._pool(1)
        pool.shutdown()
        with self.assertRaises(RuntimeError):
            pool.submit(len, '')

    @_rules.rule('shutdown waits for the calls that were submitted')
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

    @_rules.rule(
        'shutdown with cancel_futures=True cancels calls not yet started'
    )
    def test_pool_shutdown_cancels(self) -> None:
        pool = self._pool(1)
        gate, started = self._gate(), self._gate()
        ran: list[int] = []

        def first() -> bool:
            started.set()
            return gate.wait(self.patience)

        running = pool.submit(first)
        self.assertTrue(started.wait(self.patience))
        queued = pool.submit(ran.append, 1)
        pool.shutdown(wait=False, cancel_futures=True)
        self.assertTrue(queued.cancelled())
        gate.set()
        self.assertIs(True, running.result(self.patience))
        self.assertEqual([], ran)

    @_rules.rule('a pool of 10 workers runs 1,000 calls')
    def test_pool_many_calls(self) -> None:
        pool = self._pool(10)
        futures = [pool.submit(pow, i, 2) for i in range(1000)]
        self.assertEqual(
            [i * i for i in range(1000)],
            [future.result(self.patience) for future in futures],
        )
