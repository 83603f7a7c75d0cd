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
from concurrent import futures
import functools
import heapq
import itertools
import logging
import math
import threading
from typing import Any

from oslo_config import cfg

from oslo_periodic.core import _task_set
from oslo_periodic.declare import _task
from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic.drivers import _execution
from oslo_periodic import status

LOG = logging.getLogger('oslo_periodic.runner')

#: Seconds until it is tried again where no worker could be started, the
#: first time and at most.
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0

#: An instance of the runner, by its number, and a row of it.
_Key = tuple[int, int]


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
        #: Whether no more runs are started; until when those that run are
        #: waited for, on the monotonic clock; and set when one has ended.
        self.stopping = False
        self.deadline = math.inf
        self.ended = backend.event()
        #: Whether the timer is to end.
        self.closed = False
        #: What has been handed out and has not ended.
        self.runs: set[_execution.Run] = set()
        #: When the timer will turn, on the clock; infinite while it turns,
        #: so that whatever happens meanwhile wakes it.
        self.planned = math.inf
        #: When it has turned last.
        self.turned = now()
        #: What has failed in here, and not in a task.
        self.failure: BaseException | None = None
        #: Why no worker could be started for what waits for the next try.
        self.parked: dict[_Key, str] = {}
        self._external_is_wrong = False
        self._context = context
        self._backend = backend
        self._now = now
        self._pool = backend.worker_pool(workers)
        # It is held for a few steps, in which nothing switches.
        self._lock = threading.Lock()
        self._counter = itertools.count()
        #: By due time. A row may have left.
        self._waiting: list[tuple[float, int, _Key]] = []
        self._deadlines: list[tuple[float, int, _execution.Run]] = []
        #: When it is tried again, and how often it was in vain.
        self._retries: list[tuple[float, int, _Key]] = []
        self._tries: dict[_Key, int] = {}

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

    def stop_starting(self, deadline: float) -> None:
        """Start no more runs.

        :param deadline: until when those that run are waited for, on the
            monotonic clock; an earlier one holds.
        """
        with self._lock:
            self.stopping = True
            self.deadline = min(self.deadline, deadline)
        self.ended.set()

    def shut_down(self) -> None:
        """End the timer, and let the workers go when they are done."""
        self.stopping = self.closed = True
        self.wake.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # The timer.

    def turn(self) -> None:
        """Hand out what is due, end what is overdue, and plan the next."""
        self.planned = math.inf
        now = self.turned = self._now()
        while self._retries and self._retries[0][0] <= now:
            key = heapq.heappop(self._retries)[2]
            self.parked.pop(key, None)
            self.put(key, now)
        for number, instance in enumerate(self.instances):
            self._hold_external(instance)
            schedule = instance._periodic_state.schedule
            rows = schedule.collect_more(now)
            if len(schedule.ready) > len(rows) and not self._waiting:
                # Somebody who ticks beside may have left something.
                rows = schedule.collect(now)
            for row in rows:
                if (number, row) not in self.parked:
                    self.put((number, row), now)
        self._hand_out(now)
        self._end_overdue(now)
        self.planned = self._next_turn(now)

    def _hold_external(self, instance: Any) -> None:
        try:
            instance._periodic_hold_external()
        except (ValueError, cfg.Error, RecursionError) as exc:
            # A file was read again that says something else than a bool.
            if not self._external_is_wrong:
                LOG.error(
                    'run_external_periodic_tasks stays as it was: %(error)s',
                    {'error': exc},
                )
            self._external_is_wrong = True
        else:
            self._external_is_wrong = False

    def _next_turn(self, now: float) -> float:
        until = _task.DEFAULT_INTERVAL
        for instance in self.instances:
            schedule = instance._periodic_state.schedule
            until = schedule.until_due(now, until)
        at = now + until
        if self._retries:
            at = min(at, self._retries[0][0])
        if self._deadlines:
            at = min(at, self._deadlines[0][0])
        return at

    def put(self, key: tuple[int, int], now: float) -> None:
        """Line up a row that is ready.

        :param key: the number of its instance, and the row.
        :param now: the current time.
        """
        number, row = key
        due = self.instances[number]._periodic_state.schedule.due(row)
        # What was asked for is due now, and what never ran is the first.
        item = (min(due, now), next(self._counter), key)
        with self._lock:
            heapq.heappush(self._waiting, item)

    def _hand_out(self, now: float) -> None:
        while True:
            with self._lock:
                run = self._next(now)
                if run is None:
                    return
                try:
                    call = run.call = self._pool.submit(self._execute, run)
                except (RuntimeError, OSError, MemoryError) as exc:
                    self.runs.discard(run)
                    call, error = None, exc
            if call is None:
                self._park(run, error)
            else:
                # Without the lock, as it may be called here and now.
                call.add_done_callback(functools.partial(self._on_done, run))

    def _next(self, now: float) -> _execution.Run | None:
        """Take what is due first, if there is a worker for it."""
        while self._waiting and len(self.runs) < self.workers:
            if self.stopping:
                return None
            number, row = heapq.heappop(self._waiting)[2]
            instance = self.instances[number]
            if not instance._periodic_state.schedule.start(row):
                continue
            run = _execution.Run(
                self._backend,
                (number, row),
                instance,
                self._context,
                self._now,
            )
            self.runs.add(run)
            # The pool of processes sees to the timeouts of its own.
            if run.policy.timeout and run.policy.isolation == 'thread':
                deadline = run.deadline(now)
                item = (deadline, next(self._counter), run)
                heapq.heappush(self._deadlines, item)
                if deadline < self.planned:
                    self.wake.set()
            return run
        return None

    def _park(self, run: _execution.Run, error: BaseException) -> None:
        """Try again later what no worker could be started for."""
        tries = self._tries.get(run.key, 0)
        seconds = min(_FIRST_RETRY * 2**tries, _LAST_RETRY)
        at = self._now() + seconds
        self._tries[run.key] = tries + 1
        self.parked[run.key] = f'{type(error).__name__}: {error}'
        run.schedule.give_back(run.row)
        if self.stopping:
            return
        with self._lock:
            item = (at, next(self._counter), run.key)
            heapq.heappush(self._retries, item)
        LOG.error(
            'No worker can be started for %(task)s, which is tried again in '
            '%(seconds)g seconds: %(error)s',
            {'task': run.full_name, 'seconds': seconds, 'error': error},
        )
        if at < self.planned:
            self.wake.set()

    def _end_overdue(self, now: float) -> None:
        with self._lock:
            if len(self._deadlines) > 2 * len(self.runs) + 64:
                # A run that hangs must not keep all that ended after it.
                self._deadlines = [
                    item for item in self._deadlines if item[2] in self.runs
                ]
                heapq.heapify(self._deadlines)
        while True:
            with self._lock:
                run = self._take_overdue(now)
            if run is None:
                return
            run.condemn(status.Outcome.TIMEOUT)
            # Before it is ended: afterwards it is nowhere.
            _task_set.log_timeout(
                run.full_name,
                run.policy.timeout or 0.0,
                run.way_out,
                run.stack(),
            )
            run.end()

    def _take_overdue(self, now: float) -> _execution.Run | None:
        while self._deadlines and self._deadlines[0][0] <= now:
            run = heapq.heappop(self._deadlines)[2]
            if run not in self.runs or run.is_over:
                continue
            # It was planned when the run was handed out.
            deadline = run.deadline(now)
            if deadline <= now:
                return run
            item = (deadline, next(self._counter), run)
            heapq.heappush(self._deadlines, item)
        return None

    # The workers.

    def _execute(self, run: _execution.Run) -> None:
        try:
            run.execute()
            self._tries.pop(run.key, None)
            self.parked.pop(run.key, None)
        except exceptions.WorkerStartError as exc:
            self._park(run, exc)
        except BaseException as exc:
            # What the task has raised does not come here. But the kill of a
            # green thread may, if it arrives when the task has just ended.
            if not run.is_over:
                self.fail(exc)
                self._park(run, exc)
            elif not run.began:
                run.schedule.give_back(run.row)
        finally:
            self._ended(run)

    def _on_done(self, run: _execution.Run, call: futures.Future[Any]) -> None:
        if call.cancelled():
            # It has not run, so it is as due as before.
            run.schedule.give_back(run.row)
            self._ended(run)

    def _ended(self, run: _execution.Run) -> None:
        with self._lock:
            self.runs.discard(run)
        now = self._now()
        if run.schedule.is_ready(run.row) and run.key not in self.parked:
            self.put(run.key, now)
        if self._waiting:
            self._hand_out(now)
        if self.stopping:
            self.ended.set()
            # Another runner may have been started meanwhile.
            run.schedule.notify()
        elif run.schedule.next_due < self.planned:
            self.wake.set()

    def fail(self, exc: BaseException) -> None:
        """Note that the runner's own code has failed."""
        self.failure = exc
        LOG.critical(
            'The runner of the periodic tasks has failed',
            exc_info=(type(exc), exc, exc.__traceback__),
        )
