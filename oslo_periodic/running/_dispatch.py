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


"""Hand due tasks to workers, in the order in which they are due.

What is due and has no worker stays *ready* in its schedule, so that pausing,
removing or changing a task counts until the moment at which it starts, and
nothing is lost when a runner stops.
"""

from __future__ import annotations

from collections.abc import Callable
import heapq
import itertools
import logging
import math
import threading
from typing import Any

from oslo_periodic import _task
from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic.running import _execution
from oslo_periodic import status

LOG = logging.getLogger('oslo_periodic.runner')

#: Seconds until it is tried again where no worker could be started, the
#: first time and at most.
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0


class Dispatcher:
    """What is due, who runs it, and when the timer has to turn next."""

    def __init__(
        self,
        instances: list[Any],
        context: Any,
        backend: base.Backend,
        workers: int,
        now: Callable[[], float],
    ) -> None:
        """Start nothing yet.

        :param instances: of PeriodicTasks.
        :param context: given to the tasks.
        :param backend: what they run on.
        :param workers: how many run at a time.
        :param now: the clock.
        """
        self.instances = instances
        self.workers = workers
        #: Set when the timer has to turn sooner than it has planned.
        self.wake = backend.event()
        #: Whether no more runs are started.
        self.stopping = False
        #: Set when a run has ended meanwhile.
        self.ended = backend.event()
        #: What has been handed out and has not ended.
        self.runs: set[_execution.Run] = set()
        #: When the timer will turn, on the clock; infinite while it turns.
        self.planned = math.inf
        #: When it has turned last.
        self.turned = now()
        #: What has failed in here, and not in a task.
        self.failure: BaseException | None = None
        self._context = context
        self._backend = backend
        self._now = now
        self._pool = backend.worker_pool(workers)
        # It is held for a few steps, in which nothing switches.
        self._lock = threading.Lock()
        self._counter = itertools.count()
        #: By due time: the instance and the row. A row may have left.
        self._waiting: list[tuple[float, int, int, int]] = []
        self._deadlines: list[tuple[float, int, _execution.Run]] = []
        #: What no worker could be started for: when it is tried again.
        self._parked: list[tuple[float, int, int, int]] = []
        self._tries: dict[tuple[int, int], int] = {}

    def set_workers(self, workers: int) -> None:
        """Change how many tasks run at a time; what runs goes on."""
        if workers == self.workers:
            return
        LOG.info(
            'The workers of the periodic tasks change: %(old)d -> %(new)d',
            {'old': self.workers, 'new': workers},
        )
        pool = self._pool
        with self._lock:
            self.workers = workers
            self._pool = self._backend.worker_pool(workers)
        pool.shutdown(wait=False)
        self.wake.set()

    def shut_down(self) -> None:
        """Let the workers go once they have nothing to do."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # The timer.

    def turn(self) -> float:
        """Hand out what is due; return how long nothing will be to do."""
        self.planned = math.inf
        now = self.turned = self._now()
        while self._parked and self._parked[0][0] <= now:
            _at, _count, number, row = heapq.heappop(self._parked)
            self.put(number, row, now)
        for number, instance in enumerate(self.instances):
            instance._hold_external()
            schedule = instance._periodic_state.schedule
            rows = schedule.collect_more(now)
            if schedule.ready and not (self._waiting or self._parked):
                # Somebody who ticks beside may have left something.
                rows = schedule.collect(now)
            for row in rows:
                self.put(number, row, now)
        self._hand_out(now)
        self._end_overdue(now)
        until = self._until_next(now)
        self.planned = now + until
        return until

    def _until_next(self, now: float) -> float:
        until = _task.DEFAULT_INTERVAL
        for instance in self.instances:
            schedule = instance._periodic_state.schedule
            until = schedule.until_due(now, until)
        for times in (self._parked, self._deadlines):
            if times:
                until = min(until, times[0][0] - now)
        return max(0.0, until)

    def put(self, number: int, row: int, now: float) -> None:
        """Line up a row that is ready."""
        due = self.instances[number]._periodic_state.schedule.due(row)
        # What was asked for is due now, and what never ran is the first.
        due = min(due, now)
        with self._lock:
            heapq.heappush(
                self._waiting, (due, next(self._counter), number, row)
            )

    def _hand_out(self, now: float) -> None:
        while True:
            with self._lock:
                run = self._next(now)
                if run is None:
                    return
                try:
                    run.call = self._pool.submit(self._execute, run)
                    continue
                except (RuntimeError, OSError, MemoryError) as exc:
                    self.runs.discard(run)
                    error = exc
            self._park(run, error)

    def _park(self, run: _execution.Run, error: BaseException) -> None:
        """Try a run again later that no worker could be started for."""
        run.instance._periodic_state.schedule.give_back(run.row)
        if self.stopping:
            return
        key = run.number, run.row
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        seconds = min(_FIRST_RETRY * 2 ** (tries - 1), _LAST_RETRY)
        at = self._now() + seconds
        with self._lock:
            heapq.heappush(self._parked, (at, next(self._counter), *key))
        LOG.error(
            'No worker can be started for %(task)s, which is tried again in '
            '%(seconds)g seconds: %(error)s',
            {'task': run.full_name, 'seconds': seconds, 'error': error},
        )
        if at < self.planned < math.inf:
            self.wake.set()

    def _next(self, now: float) -> _execution.Run | None:
        """Take what is due first, if there is a worker for it."""
        while self._waiting and len(self.runs) < self.workers:
            if self.stopping:
                return None
            _due, _count, number, row = heapq.heappop(self._waiting)
            instance = self.instances[number]
            if not instance._periodic_state.schedule.start(row):
                continue
            run = _execution.Run(
                self._backend,
                number,
                instance,
                row,
                self._context,
                self._now,
            )
            self.runs.add(run)
            # The pool of processes sees to the timeouts of its own.
            if run.policy.timeout and run.policy.isolation == 'thread':
                deadline = now + run.policy.timeout
                heapq.heappush(
                    self._deadlines, (deadline, next(self._counter), run)
                )
                if deadline < self.planned < math.inf:
                    self.wake.set()
            return run
        return None

    def _end_overdue(self, now: float) -> None:
        while self._deadlines:
            with self._lock:
                deadline, _count, run = self._deadlines[0]
                if run in self.runs and deadline > now:
                    return
                heapq.heappop(self._deadlines)
            if run in self.runs and not run.is_over:
                # Before it is ended: afterwards it is nowhere.
                stack = run.stack()
                done = run.end(status.Outcome.TIMEOUT)
                LOG.warning(
                    'Periodic task %(task)s is over its timeout of '
                    '%(timeout)g seconds: %(done)s. It was at:\n%(stack)s',
                    {
                        'task': run.full_name,
                        'timeout': run.policy.timeout,
                        'done': done,
                        'stack': stack,
                    },
                )

    # The workers.

    def _execute(self, run: _execution.Run) -> None:
        try:
            run.execute()
            self._tries.pop((run.number, run.row), None)
        except exceptions.WorkerStartError as exc:
            self._park(run, exc)
        except BaseException as exc:
            # What the task has raised does not come here. But the kill of a
            # green thread may, if it arrives when the task has just ended.
            if not run.is_over:
                run.instance._periodic_state.schedule.release(run.row)
                self.fail(exc)
        finally:
            self._ended(run)

    def _ended(self, run: _execution.Run) -> None:
        schedule = run.instance._periodic_state.schedule
        with self._lock:
            self.runs.discard(run)
        now = self._now()
        if schedule.is_ready(run.row) and not self._parked:
            self.put(run.number, run.row, now)
        if self._waiting:
            self._hand_out(now)
        if self.stopping:
            self.ended.set()
        elif schedule.next_due < self.planned:
            self.wake.set()

    def fail(self, exc: BaseException) -> None:
        """Note that the runner's own code has failed."""
        self.failure = exc
        LOG.critical(
            'The runner of the periodic tasks has failed',
            exc_info=(type(exc), exc, exc.__traceback__),
        )
