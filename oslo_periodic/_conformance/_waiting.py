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

"""The rules of descriptors and of kill."""

from __future__ import annotations

import concurrent.futures
import os
import time
import unittest

from oslo_periodic._conformance import _rules
from oslo_periodic.backends import base
from oslo_periodic import exceptions


class WaitingRules(_rules.BackendSuite):
    """Waiting for descriptors, and the end of a call."""

    def _pipe(self) -> tuple[int, int]:
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        return read, write

    @_rules.rule('wait_readable returns False after the timeout')
    def test_wait_readable_times_out(self) -> None:
        read, write = self._pipe()
        self.addCleanup(os.close, write)
        start = time.monotonic()
        self.assertIs(False, self.backend.wait_readable(read, _rules.SHORT))
        self.assertGreaterEqual(time.monotonic() - start, _rules.SHORT * 0.9)
        self.assertIs(False, self.backend.wait_readable(read, 0))

    @_rules.rule('wait_readable returns True if there is something to read')
    def test_wait_readable(self) -> None:
        read, write = self._pipe()
        self.addCleanup(os.close, write)
        os.write(write, b'ab')
        self.assertIs(True, self.backend.wait_readable(read, self.patience))
        os.read(read, 1)
        self.assertIs(True, self.backend.wait_readable(read, self.patience))
        os.read(read, 1)
        self.assertIs(False, self.backend.wait_readable(read, _rules.SHORT))

    @_rules.rule('wait_readable returns True when the other end is closed')
    def test_wait_readable_end(self) -> None:
        read, write = self._pipe()
        os.close(write)
        self.assertIs(True, self.backend.wait_readable(read, self.patience))

    @_rules.rule('wait_readable blocks only the thread that waits')
    def test_wait_readable_blocks_the_waiter_only(self) -> None:
        read, write = self._pipe()
        self.addCleanup(os.close, write)
        self._pool(1).submit(os.write, write, b'a')
        self.assertIs(True, self.backend.wait_readable(read, self.patience))

    @_rules.rule(
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

    @_rules.rule(
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
                gate.wait(self.patience * 2)
            except Exception:
                cleaned.append(0)
            finally:
                cleaned.append(1)

        future = self._pool(1).submit(call)
        self.assertTrue(started.wait(self.patience))
        self.backend.kill(future)
        error = future.exception(self.patience)
        self.assertIsNotNone(error)
        self.assertNotIsInstance(error, Exception)
        self.assertEqual([1], cleaned)

    @_rules.rule('kill cancels a call that has not started')
    def test_kill_before_the_start(self) -> None:
        self._killing()
        pool = self._pool(1)
        gate = self._gate()
        ran: list[int] = []
        first = pool.submit(gate.wait, self.patience)
        future = pool.submit(ran.append, 1)
        self.backend.kill(future)
        with self.assertRaises(concurrent.futures.CancelledError):
            future.result(self.patience)
        gate.set()
        self.assertIs(True, first.result(self.patience))
        self.assertEqual([], ran)

    @_rules.rule(
        'kill does not touch a call that has ended, and the pool keeps running'
    )
    def test_kill_after_the_end(self) -> None:
        self._killing()
        pool = self._pool(1)
        future = pool.submit(len, 'ab')
        self.assertEqual(2, future.result(self.patience))
        self.backend.kill(future)
        self.assertEqual(2, future.result(self.patience))
        self.assertEqual(3, pool.submit(len, 'abc').result(self.patience))
