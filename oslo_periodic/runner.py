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

"""Run periodic tasks so that no task waits for another.

A tick of :class:`~oslo_periodic.periodic_task.PeriodicTasks` runs the due
tasks one after the other, so each waits for the slowest before it. A
:class:`PeriodicRunner` hands each task that is due to a bounded pool of
workers of the chosen backend, and sleeps until the next is due.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from concurrent import futures
import dataclasses
import logging
import math
import sys
import threading
import time
import traceback
from types import FrameType
from typing import Any

from oslo_periodic import backends
from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class TaskState:
    """What a runner knows of one task. Times are of the ticks' clock."""

    #: The class and the name of the task.
    full_name: str
    #: When it was last handed to a worker, and became due before that.
    due: float | None = None
    #: Whether it waits for a worker.
    waiting: bool = False
    #: Since when it runs; None if it does not.
    running_since: float | None = None
    #: The start, the end and the lateness (seconds from due to start) of the
    #: last run, and its error, in a line.
    last_start: float | None = None
    last_end: float | None = None
    lateness: float | None = None
    last_error: str | None = None
    #: Counted since the runner was made.
    runs: int = 0
    failures: int = 0


class PeriodicRunner:
    """A timer and a bounded pool of workers for periodic tasks.

    Its methods are those of :class:`oslo_service.service.Service`. Each task
    runs in a worker of its own, so tasks of one instance run at the same
    time: what they share has to stand that. A task never overlaps itself.
    """

    def __init__(
        self, tasks: Any, context: Any = None, conf: Any = None
    ) -> None:
        """Bring tasks together; nothing runs yet.

        :param tasks: an instance of PeriodicTasks, or several.
        :param context: given to each task; if it can be called, it is, for
            each run.
        :param conf: what ``[oslo_periodic] workers`` and
            ``graceful_stop_timeout`` are read from; that of the first
            instance by default.
        :raises ValueError: if there is no instance.
        """
        if not isinstance(tasks, Iterable):
            tasks = [tasks]
        self._instances = list(tasks)
        if not self._instances:
            raise ValueError('a PeriodicRunner needs a PeriodicTasks instance')
        self._context = context
        self._conf = self._instances[0].conf if conf is None else conf
        self._states: dict[tuple[int, int], TaskState] = {}
        self._jobs: dict[futures.Future[Any], tuple[int, int]] = {}
        #: By task that runs: gives the frame in which it is.
        self._frames: dict[str, Callable[[], FrameType | None]] = {}
        self._timer: futures.Future[Any] | None = None
        self._pools: list[futures.Executor] = []
        self._wake: Any = None
        self._stopping = False
        #: When the timer wakes by itself, on the ticks' clock.
        self._planned = 0.0

    def start(self) -> None:
        """Start the timer and the workers.

        :raises RunnerError: if it was started before.
        :raises BackendError: if the backend cannot be had.
        """
        if self._timer is not None:
            raise exceptions.RunnerError(
                'the runner was started before: make another one'
            )
        caller = sys._getframe(1)
        backend = backends.selector.use(
            'the start of a PeriodicRunner at '
            f'{caller.f_code.co_filename}:{caller.f_lineno}'
        )
        workers, _timeout = opts.runner_settings(self._conf)
        self._wake = backend.event()
        self._pools = [backend.worker_pool(1), backend.worker_pool(workers)]
        for instance in self._instances:
            instance._periodic_state.schedule.on_change = self._wake.set
        self._timer = self._pools[0].submit(self._run_timer)

    def stop(
        self, graceful: bool = True, timeout: float | None = None
    ) -> bool:
        """Start no more runs, and wait for those that are running.

        What still runs at the end of the timeout is named in the log, with
        the time since when, and the stack where it can be had.

        :param graceful: False does not wait.
        :param timeout: seconds to wait at most; None means
            ``[oslo_periodic] graceful_stop_timeout``.
        :returns: whether everything has ended.
        """
        if self._timer is None:
            return True
        if timeout is None:
            timeout = opts.runner_settings(self._conf)[1]
        deadline = time.monotonic() + (timeout if graceful else 0)
        self._stopping = True
        self._wake.set()
        for instance in self._instances:
            instance._periodic_state.schedule.on_change = None
        ended = _wait_for(self._timer, deadline)
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for job in list(self._jobs):
            ended = _wait_for(job, deadline) and ended
        for state in self.states():
            if state.running_since is not None:
                self._log_left_behind(state)
        return ended

    def wait(self) -> None:
        """Wait until the runner was stopped.

        :raises RunnerError: if its timer has failed.
        """
        if self._timer is not None:
            self._timer.result()

    def reset(self) -> None:
        """Look at the schedule and the options anew, as after a SIGHUP."""
        if self._wake is not None:
            self._wake.set()

    def states(self) -> list[TaskState]:
        """Return what is known of the tasks that were due so far."""
        return list(self._states.values())

    # The timer.

    def _run_timer(self) -> None:
        try:
            while not self._stopping:
                self._wake.clear()
                idle = self._hand_out()
                self._planned = periodic_task.now() + idle
                self._wake.wait(idle)
        except BaseException as exc:
            LOG.critical(
                'The timer of the periodic tasks has failed: no task runs '
                'any more',
                exc_info=True,
            )
            raise exceptions.RunnerError(
                'the timer of the periodic tasks has failed'
            ) from exc

    def _hand_out(self) -> float:
        """Give what is due to the workers; return how long nothing is."""
        now = periodic_task.now()
        due = []
        for number, instance in enumerate(self._instances):
            instance._hold_external()
            schedule = instance._periodic_state.schedule
            for row in schedule.collect(now):
                time_due = schedule.due(row)
                if schedule.start(row):
                    due.append((time_due, number, row))
        for time_due, number, row in sorted(due):
            # What never ran is due now.
            self._submit(
                number, row, now if time_due == -math.inf else time_due
            )
        idle = periodic_task.DEFAULT_INTERVAL
        for instance in self._instances:
            idle = instance._periodic_state.schedule.idle(now, idle)
        return idle

    def _submit(self, number: int, row: int, due: float) -> None:
        instance = self._instances[number]
        schedule = instance._periodic_state.schedule
        state = self._states.get((number, row))
        if state is None:
            name = f'{type(instance).__name__}.{schedule.names[row]}'
            state = self._states[number, row] = TaskState(name)
        state.due, state.waiting = due, True
        try:
            job = self._pools[1].submit(self._run, instance, row, state)
        except RuntimeError:
            # It is being stopped, or no thread can be started.
            state.waiting = False
            schedule.release(row)
            if not self._stopping:
                raise
            return
        self._jobs[job] = (number, row)
        job.add_done_callback(self._on_done)

    def _on_done(self, job: futures.Future[Any]) -> None:
        number, row = self._jobs.pop(job)
        if job.cancelled():
            # It has not run, so it is as due as before.
            self._states[number, row].waiting = False
            self._instances[number]._periodic_state.schedule.release(row)

    # The workers.

    def _run(self, instance: Any, row: int, state: TaskState) -> None:
        schedule = instance._periodic_state.schedule
        started = periodic_task.now()
        state.waiting = False
        state.last_start = state.running_since = started
        state.lateness = max(0.0, started - (state.due or started))
        self._frames[state.full_name] = _locate()
        failures = schedule.failures.get(row, 0)
        try:
            context = self._context
            if callable(context):
                context = context()
            instance._run_task(schedule, row, context, started, False)
        except BaseException as exc:
            # The task wants to end the process; it ends itself. It has been
            # logged with its name.
            state.last_error = f'{type(exc).__name__}: {exc}'
        finally:
            state.running_since = None
            self._frames.pop(state.full_name, None)
            state.last_end = periodic_task.now()
            state.runs += 1
            state.failures += schedule.failures.get(row, 0) - failures
            if schedule.next_due < self._planned:
                self._wake.set()

    def _log_left_behind(self, state: TaskState) -> None:
        since = periodic_task.now() - (state.running_since or 0)
        locate = self._frames.get(state.full_name)
        frame = locate() if locate else None
        LOG.warning(
            'Periodic task %(full_task_name)s is still running after '
            '%(seconds).1f seconds, and is left to itself; it is at:\n'
            '%(stack)s',
            {
                'full_task_name': state.full_name,
                'seconds': since,
                'stack': ''.join(traceback.format_stack(frame))
                if frame
                else '(unknown)',
            },
        )


def _locate() -> Callable[[], FrameType | None]:
    """Make something that says where the current call is, later on."""
    greenlet = sys.modules.get('greenlet')
    current = greenlet and greenlet.getcurrent()
    if current and current.parent is not None:
        # A green thread; a native one has a greenlet without a parent.
        return lambda: current.gr_frame
    thread = threading.get_ident()
    return lambda: sys._current_frames().get(thread)


def _wait_for(job: futures.Future[Any], deadline: float) -> bool:
    """Wait for the end of a call; say whether it came in time."""
    try:
        job.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return job.done()
    except BaseException:
        # It is its own business how it has ended.
        return True
    return True
