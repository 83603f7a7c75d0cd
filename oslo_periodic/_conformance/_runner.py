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

"""The rules of runners."""

from __future__ import annotations

import time

from oslo_periodic._conformance import _rules
from oslo_periodic._conformance import _tasks
from oslo_periodic import backends
from oslo_periodic import runner


class RunnerRules(_tasks.TaskSuite):
    """A runner on the backend."""

    def _check_for_runner(self) -> None:
        """Fail if a runner would hang, and so would the test."""
        # If submit runs the call, start of the runner never returns.
        probe = self._pool(1).submit(self._gate().wait, self.patience)
        self.assertFalse(probe.done())
        # If wait of an event does not wait, no task ever runs.
        event = self.backend.event()
        event.set()
        event.clear()
        start = time.monotonic()
        self.assertIs(False, event.wait(_rules.SHORT))
        self.assertGreaterEqual(time.monotonic() - start, _rules.SHORT * 0.9)

    @_rules.rule(
        'under a runner a slow task neither delays the others nor overlaps '
        'itself'
    )
    def test_runner(self) -> None:
        gate, enough = self._gate(), self._gate()
        slow: list[int] = []
        quick: list[int] = []
        patience = self.patience

        def wait(self: object, context: object) -> None:
            slow.append(1)
            gate.wait(patience)

        def count(self: object, context: object) -> None:
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
                self.assertIs(True, enough.wait(self.patience))
                self.assertEqual([1], slow)
            finally:
                gate.set()
                self.assertTrue(started.stop(timeout=self.patience))

    @_rules.rule(
        'a runner ends a task that exceeds its timeout, or sets its cancel '
        'event'
    )
    def test_runner_timeout(self) -> None:
        started = self._gate()
        ended = self._gate()
        patience = self.patience

        def wait(self: object, context: object) -> None:
            started.set()
            try:
                runner.cancel_event().wait(patience * 2)
            finally:
                ended.set()

        self._check_for_runner()
        with backends.override(self.backend):
            tasks = self._tasks(wait, timeout=_rules.SHORT)
            timed = runner.PeriodicRunner(tasks)
            timed.start()
            try:
                self.assertTrue(started.wait(self.patience))
                self.assertTrue(ended.wait(self.patience))
            finally:
                self.assertTrue(timed.stop(timeout=self.patience))
            last = tasks.periodic_state()['task_0'].last
            self.assertEqual('timeout', last and last.outcome)
