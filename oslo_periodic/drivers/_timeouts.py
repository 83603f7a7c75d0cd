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


"""The deadlines of the runs of a runner."""

from __future__ import annotations

import heapq
import itertools
import math
import threading

from oslo_periodic.drivers import _execution
from oslo_periodic import status

#: Items of runs that have ended which are tolerated.
_SLACK = 64


class Timeouts:
    """Ends runs that exceed their timeouts, as far as that is possible."""

    def __init__(self, runs: set[_execution.Execution]) -> None:
        """Watch no run yet.

        :param runs: the runs that have not ended, as they change.
        """
        self._runs = runs
        self._counter = itertools.count()
        self._heap: list[tuple[float, int, _execution.Execution]] = []
        self._lock = threading.Lock()

    @property
    def next_deadline(self) -> float:
        """The earliest deadline; infinite if there is none."""
        heap = self._heap
        return heap[0][0] if heap else math.inf

    def add(self, run: _execution.Execution, deadline: float) -> None:
        """Watch a run."""
        with self._lock:
            heapq.heappush(self._heap, (deadline, next(self._counter), run))

    def end_overdue(self, now: float) -> None:
        """End the runs that have exceeded their timeouts.

        :param now: the current time.
        """
        with self._lock:
            self._compact()
        while True:
            with self._lock:
                run = self._next_overdue(now)
            if run is None:
                return
            run.request_end(status.Outcome.TIMEOUT)
            # Logged first: once the run has ended it has no stack.
            run.log_timeout(run.stack())
            run.end()

    def _next_overdue(self, now: float) -> _execution.Execution | None:
        while self._heap and self._heap[0][0] <= now:
            run = heapq.heappop(self._heap)[2]
            if run not in self._runs or run.end_requested:
                continue
            # The item dates from the hand-out; the run started later.
            deadline = run.deadline(now)
            if deadline <= now:
                return run
            heapq.heappush(self._heap, (deadline, next(self._counter), run))
        return None

    def _compact(self) -> None:
        """Drop the items of ended runs, which one that hangs may keep."""
        if len(self._heap) > 2 * len(self._runs) + _SLACK:
            self._heap = [item for item in self._heap if item[2] in self._runs]
            heapq.heapify(self._heap)
