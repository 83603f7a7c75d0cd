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

"""The rules of ticks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
import unittest

from oslo_periodic._conformance import _rules
from oslo_periodic._conformance import _tasks
from oslo_periodic import backends
from oslo_periodic.backends import base


class TickRules(_tasks.TaskSuite):
    """Ticks on the backend."""

    @_rules.rule('a tick runs 1,000 due tasks in their order, and then idles')
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

    @_rules.rule('a tick of a COOPERATIVE backend yields after every task')
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
            watching.result(self.patience)
        first, second = order.index('first'), order.index('second')
        self.assertIn('other', order[first:second])

    @_rules.rule(
        'a task that raises SystemExit ends the tick, and the other tasks run '
        'in the next one'
    )
    def test_tick_is_ended(self) -> None:
        ran: list[int] = []

        def leave(self: object, context: object) -> None:
            raise SystemExit('on purpose')

        with backends.override(self.backend):
            tasks = self._tasks(leave, lambda self, context: ran.append(1))
            with self.assertRaises(SystemExit):
                tasks.run_periodic_tasks(None)
            self.assertEqual([], ran)
            tasks.run_periodic_tasks(None)
            self.assertEqual([1], ran)

    @_rules.rule(
        'a task that runs in one thread of execution is skipped by another'
    )
    def test_tick_skips_what_runs(self) -> None:
        gate, started = self._gate(), self._gate()
        ran: list[str] = []
        patience = self.patience

        def slow(self: object, context: object) -> None:
            ran.append('slow')
            started.set()
            gate.wait(patience)

        with backends.override(self.backend):
            tasks = self._tasks(slow, lambda self, ctx: ran.append('quick'))
            first = self._pool(1).submit(tasks.run_periodic_tasks, None)
            self.assertTrue(started.wait(self.patience))
            tasks._periodic_last_run['task_0'] = None
            tasks.run_periodic_tasks(None)
            self.assertEqual(['slow', 'quick'], ran)
            gate.set()
            first.result(self.patience)
