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


"""One run of a task under a runner, and how it is ended from outside."""

from __future__ import annotations

import abc
from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import contextlib
import contextvars
import math
import os
import sys
import threading
from typing import NamedTuple
from typing import NoReturn

from oslo_periodic import _log
from oslo_periodic.backends import base
from oslo_periodic.core import _task_set
from oslo_periodic.core import _thread_ref
from oslo_periodic import status

LOG = _log.get_logger('oslo_periodic.runner')

#: The run that this thread of execution is in.
current: contextvars.ContextVar[Execution | None]
current = contextvars.ContextVar('current', default=None)

#: The start of the names of worker threads; a run appends its task.
THREAD_NAME = 'periodic-worker'


class Member(NamedTuple):
    """An instance of PeriodicTasks that a runner runs."""

    tasks: _task_set.TaskSet
    #: The first argument of the tasks.
    instance: object
    #: Applies ``run_external_periodic_tasks``; called in each cycle.
    apply_external: Callable[[], None]
    #: Gives, for a timeout in seconds, how a process pool treats a task and
    #: whether to watch its changes.
    process_settings: Callable[[float], tuple[base.PoolSettings, bool]]


class Execution(abc.ABC):
    """One run of a task, from the hand-out to a worker to its end."""

    def __init__(
        self,
        backend: base.Backend,
        ref: _task_set.Ref,
        member: Member,
        context: object,
    ) -> None:
        """Describe the run.

        :param backend: the backend it runs on.
        :param ref: the task; it was taken.
        :param member: the instance of the task.
        :param context: the second argument of the task; a callable is called
            for it.
        """
        self.ref = ref
        self.full_name = ref.full_name
        self.policy = ref.policy
        #: Whether the task has called stop(), which does not wait for it.
        self.stops = False
        #: Whether the task itself has begun.
        self.began = False
        #: The call in the worker pool.
        self.call: futures.Future[None] | None = None
        #: The thread of the worker; None before it has started.
        self.thread: _thread_ref.ThreadRef | None = None
        self._backend = backend
        self._member = member
        self._context = context
        self._lock = threading.Lock()
        self._started = math.nan
        self._end_reason: status.Outcome | None = None
        self._cancel_event: base.Event | None = None
        #: Whether this is the child of a fork in the task.
        self._has_forked = False

    # In the worker.

    def execute(self) -> None:
        """Run the task, and put it back into the schedule.

        :raises WorkerStartError: if it needs a process and there is none; the
            task has not run then, and is still taken.
        """
        self._started = self.ref.tasks.clock.now()
        self.thread = _thread_ref.ThreadRef()
        token = current.set(self)
        try:
            with _thread_named(self.full_name, self.thread):
                self._execute()
        finally:
            if self._has_forked:
                _end_child()
            current.reset(token)

    @abc.abstractmethod
    def _execute(self) -> None:
        """Take the task through its life cycle; log its errors."""

    def _make_context(self) -> object:
        return self._context() if callable(self._context) else self._context

    def _final_outcome(
        self, outcome: status.Outcome, error: str | None
    ) -> tuple[status.Outcome, str | None]:
        """Return how the run counts.

        :param outcome: how the task itself ended.
        :param error: its error, if any.
        """
        if self._end_reason is None:
            return outcome, error
        if self._end_reason is status.Outcome.TIMEOUT:
            error = f'it exceeded its timeout of {self.policy.timeout:g} s'
        return self._end_reason, error

    # From outside.

    #: Whether the dispatcher has to end the run at its timeout.
    needs_deadline = True

    @property
    @abc.abstractmethod
    def can_be_ended(self) -> bool:
        """Whether :meth:`end` ends the run, rather than ask the task to."""

    @property
    @abc.abstractmethod
    def how_it_ends(self) -> str:
        """What :meth:`end` does, for the log."""

    def end(self) -> None:
        """End a run whose end was requested, as far as that is possible."""
        with self._lock:
            if self._cancel_event is not None:
                self._cancel_event.set()
        if self._can_be_killed and self.call is not None:
            self._backend.kill(self.call)

    def after_fork(self) -> None:
        """Keep a green thread from running on in a forked child.

        The run that has forked goes on until its code ends.
        """
        self._lock = threading.Lock()
        self.request_end(status.Outcome.STOPPED)
        self._has_forked = current.get() is self
        if (
            self._can_be_killed
            and self.call is not None
            and not self._has_forked
        ):
            self._backend.kill(self.call)

    @property
    def _can_be_killed(self) -> bool:
        return base.Capability.KILL in self._backend.capabilities

    def deadline(self, now: float) -> float:
        """Return when the run exceeds its timeout.

        :param now: the current time; a run that has not started counts from
            it.
        """
        started = now if math.isnan(self._started) else self._started
        return started + (self.policy.timeout or math.inf)

    def seconds(self, now: float) -> float:
        """Return for how long the task has been running."""
        running = self.ref.tasks.history.running.get(self.ref.row)
        return now - running.started if running else 0.0

    @property
    def end_requested(self) -> bool:
        """Whether the end of the run was requested."""
        return self._end_reason is not None

    def request_end(self, reason: status.Outcome) -> None:
        """Make a reason the outcome of the run, however it ends from now on.

        :param reason: the outcome; the first one requested is final.
        """
        with self._lock:
            if self._end_reason is None:
                self._end_reason = reason

    def cancel_event(self) -> base.Event:
        """Return the event that asks the task to end."""
        with self._lock:
            if self._cancel_event is None:
                self._cancel_event = self._backend.event()
                if self._end_reason is not None:
                    self._cancel_event.set()
            return self._cancel_event

    def stack(self) -> str:
        """Return the stack of the worker's thread, as text."""
        return '(unknown)' if self.thread is None else self.thread.stack()

    def log_timeout(self, stack: str) -> None:
        """Log that the run has exceeded its timeout, and what happens."""
        LOG.warning(
            'Periodic task %(full_task_name)s has exceeded its timeout of '
            '%(timeout)g seconds: %(how)s. Stack:\n%(stack)s',
            {
                'full_task_name': self.full_name,
                'timeout': self.policy.timeout,
                'how': self.how_it_ends,
                'stack': stack,
            },
        )


def _end_child() -> NoReturn:
    """End a process that a task has forked, where the task ends.

    It must not go on as a copy of the service. The handlers that are
    registered with atexit are the parent's.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(0)


@contextlib.contextmanager
def _thread_named(
    full_name: str, thread: _thread_ref.ThreadRef
) -> Iterator[None]:
    """Name a worker's native thread after its task, for stack dumps."""
    native = threading.current_thread()
    name = native.name
    if thread.is_green or not name.startswith(THREAD_NAME):
        yield
        return
    native.name = f'{name}: {full_name}'
    try:
        yield
    finally:
        native.name = name
