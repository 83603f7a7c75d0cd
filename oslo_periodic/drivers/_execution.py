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


"""One run of a task under a runner: where it runs, and how it is ended."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
import contextvars
import math
import os
import threading
from typing import Any

from oslo_periodic.config import _options
from oslo_periodic.declare import _policy
from oslo_periodic.core import _schedule
from oslo_periodic.core import _thread_ref
from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic import status

#: The run that this thread of execution is in.
current: contextvars.ContextVar[Run | None]
current = contextvars.ContextVar('current', default=None)


class Run:
    """One run of a task, from when it is handed to a worker to its end."""

    def __init__(
        self,
        backend: base.Backend,
        key: tuple[int, int],
        instance: Any,
        context: Any,
        now: Callable[[], float],
    ) -> None:
        """Describe the run.

        :param backend: what it runs on.
        :param key: which of the runner's instances the task is of, and its
            row there.
        :param instance: that instance.
        :param context: given to the task; if it can be called, what it gives.
        :param now: the clock.
        """
        state = instance._periodic_state
        self._backend = backend
        self.key = key
        self.row = key[1]
        self.instance = instance
        self.schedule: _schedule.Schedule = state.schedule
        self._context = context
        self._now = now
        self.name: str = state.schedule.names[self.row]
        self.full_name = f'{type(instance).__name__}.{self.name}'
        self.policy: _policy.Policy = state.policy(self.name)
        #: Whether it has called for the stop, and waits for that itself.
        self.stops = False
        #: Whether the task itself has begun.
        self.began = False
        #: In the pool of the workers.
        self.call: futures.Future[Any] | None = None
        self.place: _thread_ref.Place | None = None
        self._lock = threading.Lock()
        self._started: float | None = None
        self._ended_by: status.Outcome | None = None
        self._cancelled: base.Event | None = None
        #: Becomes readable when the worker process is to be ended.
        self._end_fd = -1

    # What the run itself does.

    def make_context(self) -> Any:
        """Return the context of this run, which begins by that."""
        self.began = True
        return self._context() if callable(self._context) else self._context

    def execute(self) -> None:
        """Run the task, and give it back to the schedule.

        :raises WorkerStartError: if it needs a process, and none can be had;
            it has not run then.
        """
        self._started = self._now()
        self.place = _thread_ref.Place()
        token = current.set(self)
        try:
            if self.policy.isolation == 'process':
                self._execute_in_process()
            else:
                self.instance._periodic_run_task(
                    self.row, None, self._started, self.place, run=self
                )
        finally:
            current.reset(token)

    def _execute_in_process(self) -> None:
        # Here, so that whoever runs no processes does not load their code.
        from oslo_periodic.drivers import _parallel

        try:
            end_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError as exc:
            raise exceptions.WorkerStartError(
                f'no worker process can be controlled: {exc}'
            ) from exc
        with self._lock:
            self._end_fd = end_fd
            if self._ended_by is not None:
                os.eventfd_write(end_fd, 1)
        try:
            settings = _options.process_settings(
                self.instance.conf, self.policy.timeout
            )
            tick = _parallel.ParallelTick(
                self.instance,
                self.instance._periodic_state,
                None,
                self._now,
                self,
            )
            tick.run_started(
                self.row,
                lambda: self._backend.process_pool(1),
                {**settings, 'end_fd': end_fd},
            )
        finally:
            with self._lock:
                os.close(end_fd)
                self._end_fd = -1

    def verdict(
        self, outcome: status.Outcome, error: str | None
    ) -> tuple[status.Outcome, str | None]:
        """Return how the run counts, when it has ended in some way."""
        if self._ended_by is None:
            return outcome, error
        if self._ended_by is status.Outcome.TIMEOUT:
            error = f'it was over its timeout of {self.policy.timeout:g} s'
        return self._ended_by, error

    def deadline(self, now: float) -> float:
        """Return when it will be over its timeout.

        :param now: the current time, which counts while it has not started.
        """
        started = now if self._started is None else self._started
        return started + (self.policy.timeout or math.inf)

    # What others do to it.

    @property
    def is_over(self) -> bool:
        """Whether somebody has wanted it to end."""
        return self._ended_by is not None

    def cancel_event(self) -> base.Event:
        """Return the event that asks the task to end."""
        with self._lock:
            if self._cancelled is None:
                self._cancelled = self._backend.event()
                if self._ended_by is not None:
                    self._cancelled.set()
            return self._cancelled

    @property
    def way_out(self) -> str:
        """What `end` does, in words."""
        if self.policy.isolation == 'process':
            return 'its process is killed'
        if self._can_be_killed:
            return 'its green thread is told to end'
        return (
            'a native thread cannot be ended from outside: its cancel event '
            'is set, and it goes on until the task looks at that'
        )

    @property
    def can_be_ended(self) -> bool:
        """Whether `end` does more than to ask the task."""
        return self.policy.isolation == 'process' or self._can_be_killed

    @property
    def _can_be_killed(self) -> bool:
        return base.Capability.KILL in self._backend.capabilities

    def condemn(self, reason: status.Outcome) -> None:
        """Have the run count as ended, however it ends from now on.

        :param reason: as what it counts; what was said first holds.
        """
        with self._lock:
            if self._ended_by is None:
                self._ended_by = reason

    def end(self) -> None:
        """End a run that was condemned, as far as that can be done."""
        with self._lock:
            if self._cancelled is not None:
                self._cancelled.set()
            if self._end_fd >= 0:
                os.eventfd_write(self._end_fd, 1)
        if self._can_be_killed and self.call is not None:
            self._backend.kill(self.call)

    def stack(self) -> str:
        """Return where it is, as text."""
        return '(unknown)' if self.place is None else self.place.stack()
