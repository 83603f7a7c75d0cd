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


"""Tasks for which no worker could be started, and when to try again."""

from __future__ import annotations

import heapq
import itertools
import math
import threading

from oslo_periodic.core import _task_set

#: Seconds before retrying a failed worker start: first and longest delay.
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
#: After so many tries the delay is the longest; bounds a power of two.
_MOST_DOUBLINGS = 10


def delay(tries: int) -> float:
    """Return the seconds before the next try to start a worker.

    :param tries: how many tries have failed before.
    """
    # A float has no room for 2 ** 1024, which 17 hours of tries would reach.
    doublings = min(tries, _MOST_DOUBLINGS)
    return min(_FIRST_RETRY * 2.0**doublings, _LAST_RETRY)


class Retries:
    """The tasks that wait for another try."""

    def __init__(self) -> None:
        #: Why no worker could be started, by task.
        self.errors: dict[_task_set.Ref, str] = {}
        self._tries: dict[_task_set.Ref, int] = {}
        self._heap: list[tuple[float, int, _task_set.Ref]] = []
        self._counter = itertools.count()
        self._lock = threading.Lock()

    @property
    def next_at(self) -> float:
        """When the next task is tried again; infinite if there is none."""
        heap = self._heap
        return heap[0][0] if heap else math.inf

    def add(
        self, ref: _task_set.Ref, error: BaseException, now: float
    ) -> float:
        """Have a task tried again later.

        :param ref: the task.
        :param error: why no worker could be started.
        :param now: the current time.
        :returns: after how many seconds.
        """
        tries = self._tries.get(ref, 0)
        seconds = delay(tries)
        self._tries[ref] = tries + 1
        self.errors[ref] = f'{type(error).__name__}: {error}'
        with self._lock:
            item = (now + seconds, next(self._counter), ref)
            heapq.heappush(self._heap, item)
        return seconds

    def take_due(self, now: float) -> list[_task_set.Ref]:
        """Remove and return the tasks that are to be tried again now."""
        due = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                ref = heapq.heappop(self._heap)[2]
                if self.take(ref):
                    due.append(ref)
        return due

    def take(self, ref: _task_set.Ref) -> bool:
        """Remove a task that is to be tried now.

        :returns: whether it was waiting for another try.
        """
        return self.errors.pop(ref, None) is not None

    def forget(self, ref: _task_set.Ref) -> None:
        """Forget the failed tries of a task that has run."""
        self._tries.pop(ref, None)
        self.errors.pop(ref, None)
