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

A due task without a worker stays *ready* in its schedule. So pausing, removing
or changing a task takes effect until the moment it starts, and no run is lost
when a runner stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent import futures
import functools
import heapq
import itertools
import logging
import math
import threading

from oslo_periodic.backends import base
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _task
from oslo_periodic.drivers import _execution
from oslo_periodic.drivers import _in_thread
from oslo_periodic.drivers import _timeouts
from oslo_periodic import exceptions
from oslo_periodic import status

LOG = logging.getLogger('oslo_periodic.runner')

#: Seconds before retrying a failed worker start: first and longest delay.
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
#: After so many tries the delay is the longest; bounds a power of two.
_MOST_DOUBLINGS = 10


class Dispatcher:
    """The due tasks, their workers, and the time of the next cycle."""

    def __init__(
        self,
        members: Sequence[_execution.Member],
        context: object,
        backend: base.Backend,
        workers: int,
    ) -> None:
        """Start nothing yet.

        :param members: the instances whose tasks are run.
        :param context: the second argument of the tasks.
        :param backend: the backend they run on.
        :param workers: how many tasks run at a time.
        """
        self.members = {member.tasks: member for member in members}
        self.clock = members[0].tasks.clock
        self.workers = workers
        #: Set when the timer has to run a cycle sooner than planned.
        self.wake = backend.event()
        #: Whether no more runs are started.
        self.stopping = False
        #: Until when a stop waits for runs, on the monotonic clock.
        self.stop_deadline = math.inf
        #: Set when a run has ended during a stop.
        self.run_ended = backend.event()
        #: Whether the timer has to end.
        self.closed = False
        #: The runs that were handed out and have not ended.
        self.runs: set[_execution.Execution] = set()
        #: When the timer runs its next cycle; infinite during a cycle, so
        #: that every change wakes it.
        self.next_cycle_at, self.last_cycle_at = math.inf, self.clock.now()
        #: An error of the runner itself, not of a task.
        self.failure: BaseException | None = None
        #: Why no worker could be started for a task; it is retried later.
        self.retrying: dict[_task_set.Ref, str] = {}
        self._timeouts = _timeouts.Timeouts(self.runs)
        self._context = context
        self._backend = backend
        self._pool = self._make_pool(workers)
        # It is held for a few steps, in which no green thread switches.
        self._lock = threading.Lock()
        self._counter = itertools.count()
        #: Ready tasks by due time; some may not be ready any more.
        self._waiting: list[tuple[float, int, _task_set.Ref]] = []
        self._retries: list[tuple[float, int, _task_set.Ref]] = []
        self._tries: dict[_task_set.Ref, int] = {}

    def _make_pool(self, workers: int) -> futures.Executor:
        return self._backend.named_worker_pool(workers, _execution.THREAD_NAME)

    def set_workers(self, workers: int) -> None:
        """Change how many tasks run at a time; running ones go on."""
        if workers == self.workers:
            return
        LOG.info(
            'Workers for periodic tasks changed: %(old)d -> %(new)d',
            {'old': self.workers, 'new': workers},
        )
        pool = self._pool
        with self._lock:
            self.workers = workers
            self._pool = self._make_pool(workers)
        pool.shutdown(wait=False)
        self.wake.set()

    def stop_starting(self, deadline: float) -> None:
        """Start no more runs.

        :param deadline: until when to wait for runs, on the monotonic clock;
            the earliest one of all calls counts.
        """
        with self._lock:
            self.stopping = True
            self.stop_deadline = min(self.stop_deadline, deadline)
        self.run_ended.set()

    def shut_down(self) -> None:
        """End the timer, and the workers once they are done."""
        self.stopping = self.closed = True
        self.wake.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def due_changed(self, due: float) -> None:
        """Wake the timer if a task is due before its next cycle."""
        if due < self.next_cycle_at:
            self.wake.set()

    # In the timer.

    def cycle(self) -> None:
        """Hand out due tasks, end overdue runs, and plan the next cycle."""
        self.next_cycle_at = math.inf
        now = self.last_cycle_at = self.clock.now()
        while self._retries and self._retries[0][0] <= now:
            ref = heapq.heappop(self._retries)[2]
            self.retry(ref, now)
        for member in self.members.values():
            member.apply_external()
            for row in member.tasks.schedule.collect_new(now):
                ref = _task_set.Ref(member.tasks, row)
                if ref not in self.retrying:
                    self._put(ref, now)
        self._hand_out(now)
        self._timeouts.end_overdue(now)
        self.next_cycle_at = self._plan(now)

    def _plan(self, now: float) -> float:
        until = _task.DEFAULT_INTERVAL
        for tasks in self.members:
            until = tasks.schedule.until_due(now, until)
        at = now + until
        if self._retries:
            at = min(at, self._retries[0][0])
        return min(at, self._timeouts.next_deadline)

    def retry(self, ref: _task_set.Ref, now: float) -> None:
        """Try now to start a task for which no worker could be started."""
        if self.retrying.pop(ref, None) is not None:
            self._put(ref, now)

    def _put(self, ref: _task_set.Ref, now: float) -> None:
        """Line up a ready task."""
        due = ref.tasks.schedule.due(ref.row)
        # A requested task is due now; one that has never run is the first.
        item = (min(due, now), next(self._counter), ref)
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
                self._retry_later(run, error)
            else:
                # Without the lock, as it may be called here and now.
                call.add_done_callback(functools.partial(self._on_done, run))

    def _next(self, now: float) -> _execution.Execution | None:
        """Take the task that is due first, if a worker is free."""
        while self._waiting and len(self.runs) < self.workers:
            if self.stopping:
                return None
            ref = heapq.heappop(self._waiting)[2]
            if ref.tasks.take(ref.row) is None:
                continue
            run = self._make_run(ref)
            self.runs.add(run)
            if run.policy.timeout and run.needs_deadline:
                deadline = run.deadline(now)
                self._timeouts.add(run, deadline)
                self.due_changed(deadline)
            return run
        return None

    def _make_run(self, ref: _task_set.Ref) -> _execution.Execution:
        make: type[_execution.Execution] = _in_thread.ThreadExecution
        if ref.policy.isolation is status.Isolation.PROCESS:
            # Imported on demand: without isolated tasks nothing needs it.
            from oslo_periodic.drivers import _in_process

            make = _in_process.ProcessExecution
        return make(self._backend, ref, self.members[ref.tasks], self._context)

    def _retry_later(
        self, run: _execution.Execution, error: BaseException
    ) -> None:
        """Put back a task for which no worker could be started."""
        tries = self._tries.get(run.ref, 0)
        seconds = retry_delay(tries)
        at = self.clock.now() + seconds
        self._tries[run.ref] = tries + 1
        self.retrying[run.ref] = f'{type(error).__name__}: {error}'
        run.ref.tasks.requeue(run.ref)
        if self.stopping:
            return
        with self._lock:
            item = (at, next(self._counter), run.ref)
            heapq.heappush(self._retries, item)
        LOG.error(
            'No worker can be started for %(task)s; retrying in %(seconds)g '
            'seconds: %(error)s',
            {'task': run.full_name, 'seconds': seconds, 'error': error},
        )
        self.due_changed(at)

    # In the workers.

    def _execute(self, run: _execution.Execution) -> None:
        try:
            run.execute()
            self._tries.pop(run.ref, None)
            self.retrying.pop(run.ref, None)
        except exceptions.WorkerStartError as exc:
            self._retry_later(run, exc)
        except BaseException as exc:
            # An error of the task does not reach this, but the kill of a
            # green thread may, if it arrives when the task has just ended.
            if not run.end_requested:
                self.fail(exc)
                self._retry_later(run, exc)
            elif not run.began:
                run.ref.tasks.requeue(run.ref)
        finally:
            self._ended(run)

    def _on_done(
        self, run: _execution.Execution, call: futures.Future[None]
    ) -> None:
        if call.cancelled():
            # The task has not run and stays due.
            run.ref.tasks.requeue(run.ref)
            self._ended(run)

    def _ended(self, run: _execution.Execution) -> None:
        with self._lock:
            self.runs.discard(run)
        if self._waiting:
            self._hand_out(self.clock.now())
        if self.stopping:
            self.run_ended.set()

    def fail(self, exc: BaseException) -> None:
        """Record an error of the runner's own code."""
        self.failure = exc
        LOG.critical(
            'The periodic task runner has failed',
            exc_info=(type(exc), exc, exc.__traceback__),
        )


def retry_delay(tries: int) -> float:
    """Return the seconds before the next try to start a worker.

    :param tries: how many tries have failed before.
    """
    # A float has no room for 2 ** 1024, which 17 hours of tries would reach.
    doublings = min(tries, _MOST_DOUBLINGS)
    return min(_FIRST_RETRY * 2.0**doublings, _LAST_RETRY)
