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

"""What the tests of process pools share."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Generator
import os
import tempfile
import threading
import time
from typing import Any
from typing import TypeVar

from oslo_periodic._conformance import _calls
from oslo_periodic._conformance import _rules
from oslo_periodic.backends import base
from oslo_periodic.process import _payload

T = TypeVar('T')


class ProcessPoolSuite(_rules.Suite):
    """Runs `_calls` on the pool under test."""

    patience: float = 60.0
    pool: base.ProcessPool

    def make_pool(self) -> base.ProcessPool:
        raise NotImplementedError

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self._instance = _calls.Instance(
            os.path.join(directory.name, 'notes'), self.patience
        )
        self.pool = self.make_pool()
        self.addCleanup(self.pool.close)

    def _tested(self) -> str:
        return f'process pool {self.pool!r}'

    def _run(
        self,
        *names: str,
        context: object = None,
        watch: bool = False,
        **settings: Any,
    ) -> Generator[base.Began | base.Ended, None, None]:
        """Start a run of calls."""
        payload = _payload.dump(self._instance.tasks, self._instance, context)
        calls = [base.Call(name, f'Calls.{name}', watch) for name in names]
        return self.pool.run(payload, calls, base.PoolSettings(**settings))

    def _within(self, call: Callable[[], T]) -> T:
        """Return the result of a call, or fail if it hangs."""
        results: list[T] = []
        errors: list[BaseException] = []

        def target() -> None:
            try:
                results.append(call())
            except BaseException as exc:
                errors.append(exc)

        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        thread.join(self.patience)
        if thread.is_alive():
            raise TimeoutError(f'no end after {self.patience:g} seconds')
        if errors:
            raise errors[0]
        return results[0]

    def _events(self, *names: str, **kwargs: Any) -> list[Any]:
        """Return the events of a run."""
        return self._within(lambda: list(self._run(*names, **kwargs)))

    def _ended(self, *names: str, **kwargs: Any) -> list[base.Ended]:
        """Return how each call of a run has ended, in the order of calls."""
        ends = {
            event.index: event
            for event in self._events(*names, **kwargs)
            if isinstance(event, base.Ended)
        }
        self.assertEqual(list(range(len(names))), sorted(ends))
        return [ends[index] for index in range(len(names))]

    def _failures(self, *names: str, **kwargs: Any) -> list[Any]:
        return [event.failure for event in self._ended(*names, **kwargs)]

    def _events_until_error(
        self,
        run: Generator[base.Began | base.Ended, None, None],
        error: type[BaseException],
    ) -> list[Any]:
        """Return the events of a run that has to raise an error."""
        events: list[Any] = []

        def collect() -> None:
            for event in run:
                events.append(event)

        with self.assertRaises(error):
            self._within(collect)
        return events

    def _pids(self) -> list[int]:
        """Return the processes that calls have noted."""
        return [
            int(line.split()[1])
            for line in self._instance.notes()
            if line.startswith('pid ')
        ]

    def _wait_until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + self.patience
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f'not after {self.patience:g} seconds')
            time.sleep(0.01)

    def _wait_until_gone(self, pids: list[int]) -> None:
        """Wait until processes have ended, reaped or not."""
        self.assertTrue(pids)
        self._wait_until(lambda: not any(map(_is_running, pids)))


def _is_running(pid: int) -> bool:
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False
