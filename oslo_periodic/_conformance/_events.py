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

"""The rules of a backend itself, of sleeping and of events."""

from __future__ import annotations

import time
import unittest

from oslo_periodic._conformance import _rules
from oslo_periodic.backends import base
from oslo_periodic import exceptions


class EventRules(_rules.BackendSuite):
    """What a backend declares, how it sleeps, and its events."""

    @_rules.rule('a backend has a name, a string that is not empty')
    def test_name(self) -> None:
        self.assertIsInstance(self.backend.name, str)
        self.assertTrue(self.backend.name)

    @_rules.rule('capabilities is a frozenset of Capability members')
    def test_capabilities(self) -> None:
        self.assertIsInstance(self.backend.capabilities, frozenset)
        for capability in self.backend.capabilities:
            self.assertIsInstance(capability, base.Capability)

    @_rules.rule(
        'process_pool raises UnsupportedBackendError, naming the backend, '
        'unless the capability PROCESSES is declared'
    )
    def test_process_pool(self) -> None:
        if base.Capability.PROCESSES in self.backend.capabilities:
            raise unittest.SkipTest('the backend declares PROCESSES')
        with self.assertRaises(exceptions.UnsupportedBackendError) as caught:
            self.backend.process_pool(1)
        self.assertIn(self.backend.name, str(caught.exception))

    @_rules.rule('a backend can be closed, more than once, and used again')
    def test_close(self) -> None:
        self.backend.close()
        self.backend.close()
        self.assertEqual(
            3, self._pool(1).submit(len, 'abc').result(self.patience)
        )

    @_rules.rule('sleep lasts at least as long as its argument says')
    def test_sleep_lasts(self) -> None:
        start = time.monotonic()
        self.backend.sleep(_rules.SHORT)
        # Clocks of different resolution may be involved.
        self.assertGreaterEqual(time.monotonic() - start, _rules.SHORT * 0.9)

    @_rules.rule('sleep lets the other threads run')
    def test_sleep_lets_others_run(self) -> None:
        ran: list[int] = []
        self._pool(1).submit(ran.append, 1)
        end = time.monotonic() + self.patience
        while not ran and time.monotonic() < end:
            self.backend.sleep(0.001)
        self.assertEqual([1], ran)

    @_rules.rule('sleep(0) yields to the other threads')
    def test_sleep_zero_gives_a_turn(self) -> None:
        ran: list[int] = []
        self._pool(1).submit(ran.append, 1)
        end = time.monotonic() + self.patience
        while not ran and time.monotonic() < end:
            self.backend.sleep(0)
        self.assertEqual([1], ran)

    @_rules.rule('an event is not set when it is made')
    def test_event_starts_unset(self) -> None:
        self.assertFalse(self.backend.event().is_set())

    @_rules.rule(
        'wait of an event that is not set returns False after the timeout'
    )
    def test_event_wait_times_out(self) -> None:
        event = self.backend.event()
        start = time.monotonic()
        self.assertIs(False, event.wait(_rules.SHORT))
        self.assertGreaterEqual(time.monotonic() - start, _rules.SHORT * 0.9)

    @_rules.rule(
        'wait of an event that is set returns True at once, and again'
    )
    def test_event_set(self) -> None:
        event = self.backend.event()
        event.set()
        event.set()
        self.assertTrue(event.is_set())
        self.assertIs(True, event.wait(self.patience))
        self.assertIs(True, event.wait(self.patience))

    @_rules.rule('after clear, wait of an event blocks again')
    def test_event_clear(self) -> None:
        event = self.backend.event()
        event.set()
        event.clear()
        self.assertFalse(event.is_set())
        self.assertIs(False, event.wait(_rules.SHORT))
        event.set()
        self.assertIs(True, event.wait(self.patience))

    @_rules.rule('wait of an event blocks only the thread that waits')
    def test_event_wait_blocks_the_waiter_only(self) -> None:
        event = self._gate()
        self._pool(1).submit(event.set)
        self.assertIs(True, event.wait(self.patience))

    @_rules.rule('set of an event wakes every thread that waits')
    def test_event_wakes_all(self) -> None:
        event = self._gate()
        pool = self._pool(3)
        waiting = [pool.submit(event.wait, self.patience) for _ in range(2)]
        pool.submit(event.set)
        self.assertEqual(
            [True, True], [future.result(self.patience) for future in waiting]
        )
