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
import math
import threading

from oslo_periodic import _log
from oslo_periodic.backends import base
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _task
from oslo_periodic.drivers import _execution
from oslo_periodic.drivers import _in_thread
from oslo_periodic.drivers import _retries
from oslo_periodic.drivers import _timeouts
from oslo_periodic import exceptions
from oslo_periodic import status

LOG = _log.get_logger('oslo_periodic.runner')


class Dispatcher:
    """The due tasks, their workers, and the time of the next cycle."""

    def __init__(
        self,
        members: Sequence[_execution.Member],
        context: object,
        backend: base.Backend,
        workers: int,
    ) -> None:
        """Start nothing yet; the parameters are those of the engine."""
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
        #: When the next cycle runs; infinite during one: all changes wake.
        self.next_cycle_at, self.last_cycle_at = math.inf, self.clock.now()
        #: An error of the runner itself, not of a task.
        self.failure: BaseException | None = None
        #: Why the tasks of an instance cannot be scheduled.
        self.broken: dict[_task_set.TaskSet, str] = {}
        #: The tasks for which no worker could be started.
        self.retries = _retries.Retries()
        self._timeouts = _timeouts.Timeouts(self.runs)
        self._context = context
        self._backend = backend
        self._pool = self._make_pool(workers)
        # It is held for a few steps, in which no green thread switches.
        self._lock = threading.Lock()
        self._counter = itertools.count()
        #: Ready tasks by due time; some may not be ready any more.
        self._waiting: list[tuple[float, int, _task_set.Ref]] = []

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
        """Start no more runs, and wait for runs until a deadline.

        :param deadline: on the monotonic clock; the earliest one counts.
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

    def after_fork(self) -> None:
        """Drop the runs of the parent, in a forked child."""
        self.stopping = self.closed = True
        self._lock = threading.Lock()
        runs, self.runs = self.runs, set()
        for run in runs:
            run.after_fork()

    def due_changed(self, due: float) -> None:
        """Wake the timer if a task is due before its next cycle."""
        if due < self.next_cycle_at:
            self.wake.set()

    # In the timer.

    def cycle(self) -> None:
        """Hand out due tasks, end overdue runs, and plan the next cycle."""
        self.next_cycle_at = math.inf
        now = self.last_cycle_at = self.clock.now()
        for ref in self.retries.take_due(now):
            self._put(ref, now)
        for member in self.members.values():
            try:
                self._line_up(member, now)
            except Exception as exc:
                self._report_broken(member.tasks, exc)
            else:
                self.broken.pop(member.tasks, None)
        self._hand_out(now)
        self._timeouts.end_overdue(now)
        self.next_cycle_at = self._plan(now)

    def _line_up(self, member: _execution.Member, now: float) -> None:
        """Line up the tasks of an instance that have become due."""
        tasks = member.tasks
        try:
            member.apply_external()
        finally:
            for row in tasks.schedule.collect_new(now):
                ref = _task_set.Ref(tasks, row)
                if ref not in self.retries.errors:
                    self._put(ref, now)

    def _report_broken(self, tasks: _task_set.TaskSet, exc: Exception) -> None:
        """Log once that an instance is broken; the others run on."""
        error = f'{type(exc).__name__}: {exc}'
        if self.broken.get(tasks) != error:
            LOG.error(
                'The periodic tasks of %(class)s cannot be scheduled: '
                '%(error)s',
                {'class': tasks.class_name, 'error': error},
                exc_info=exc,
            )
        self.broken[tasks] = error

    def _plan(self, now: float) -> float:
        until = _task.DEFAULT_INTERVAL
        for tasks in self.members:
            until = tasks.schedule.until_due(now, until)
        return min(
            now + until, self.retries.next_at, self._timeouts.next_deadline
        )

    def retry(self, ref: _task_set.Ref, now: float) -> None:
        """Try now to start a task for which no worker could be started."""
        if self.retries.take(ref):
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
        now = self.clock.now()
        seconds = self.retries.add(run.ref, error, now)
        run.ref.tasks.requeue(run.ref)
        if self.stopping:
            return
        LOG.error(
            'No worker can be started for %(task)s; retrying in %(seconds)g '
            'seconds: %(error)s',
            {'task': run.full_name, 'seconds': seconds, 'error': error},
        )
        self.due_changed(now + seconds)

    # In the workers.

    def _execute(self, run: _execution.Execution) -> None:
        try:
            run.execute()
            self.retries.forget(run.ref)
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
