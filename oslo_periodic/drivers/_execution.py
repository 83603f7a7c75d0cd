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
from collections.abc import Iterator
from concurrent import futures
import contextlib
import contextvars
import dataclasses
import logging
import math
import os
import threading
from typing import NamedTuple

from oslo_periodic.backends import base
from oslo_periodic.core import _history
from oslo_periodic.core import _task_set
from oslo_periodic.core import _thread_ref
from oslo_periodic import exceptions
from oslo_periodic import status

LOG = logging.getLogger('oslo_periodic.periodic_task')
RUNNER_LOG = logging.getLogger('oslo_periodic.runner')

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


class Execution:
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
        self._started: float | None = None
        self._end_reason: status.Outcome | None = None
        self._cancel_event: base.Event | None = None
        #: Becomes readable when the worker process is to be ended.
        self._end_fd = -1

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
                if self.policy.isolation is status.Isolation.PROCESS:
                    self._execute_in_process()
                else:
                    self._execute_in_thread()
        finally:
            current.reset(token)

    def _execute_in_thread(self) -> None:
        tasks = self.ref.tasks
        assert self._started is not None  # noqa: S101 # nosec B101
        begun = tasks.begin(self.ref, self._started, self.thread)
        if begun is None:
            return
        self.began = True
        outcome, error = status.Outcome.SUCCESS, None
        try:
            begun.function(self._member.instance, self._make_context())
        except BaseException as exc:
            outcome = status.Outcome.FAILURE
            error = _history.error_line(exc)
            LOG.exception(
                'Error during %(full_task_name)s',
                {'full_task_name': self.full_name},
            )
        finally:
            tasks.finish(begun, *self.final_outcome(outcome, error))

    def _execute_in_process(self) -> None:
        try:
            end_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError as exc:
            raise exceptions.WorkerStartError(
                f'no worker process can be controlled: {exc}'
            ) from exc
        with self._lock:
            self._end_fd = end_fd
            if self._end_reason is not None:
                os.eventfd_write(end_fd, 1)
        try:
            self._run_in_process(end_fd)
        finally:
            with self._lock:
                os.close(end_fd)
                self._end_fd = -1

    def _run_in_process(self, end_fd: int) -> None:
        """Run the task in a worker process; its errors are logged."""
        # Imported on demand: without isolated tasks nothing needs the pool.
        from oslo_periodic.drivers import _processes

        tasks = self.ref.tasks
        begun: _history.Begun | None = None
        ended = False
        failure: BaseException | None = None
        try:
            settings, watch = self._member.process_settings(
                self.policy.timeout
            )
            events = _processes.run(
                self._backend.process_pool(1),
                tasks,
                self._member.instance,
                self._make_context(),
                [self.ref],
                dataclasses.replace(settings, end_fd=end_fd),
                watch,
            )
            with contextlib.closing(events):
                for _ref, event in events:
                    if isinstance(event, base.Began):
                        begun = self._begin_in_process()
                    else:
                        failure, ended = event.failure, True
                        self._log_timeout_of(failure)
        except exceptions.WorkerStartError:
            if begun is None and not ended:
                raise
        except BaseException as exc:
            # The task can never be handed out, so this counts as a run.
            failure, ended = exc, True
            if begun is None:
                begun = self._begin_in_process()
        self._finish_in_process(begun, ended, failure)

    def _begin_in_process(self) -> _history.Begun | None:
        self.began = True
        tasks = self.ref.tasks
        return tasks.begin(
            self.ref, tasks.clock.now(), note=' (in a worker process)'
        )

    def _log_timeout_of(self, failure: BaseException | None) -> None:
        if (
            isinstance(failure, exceptions.TaskTimeout)
            and not self.end_requested
        ):
            self.log_timeout(failure.stack)

    def _finish_in_process(
        self,
        begun: _history.Begun | None,
        ended: bool,
        failure: BaseException | None,
    ) -> None:
        from oslo_periodic.drivers import _processes

        outcome, error = _processes.outcome_of(failure)
        if begun is not None:
            if not ended:
                outcome = status.Outcome.STOPPED
                _processes.log_interrupted(self.full_name)
            self.ref.tasks.finish(begun, *self.final_outcome(outcome, error))
        if failure is not None:
            _processes.log_error(self.full_name, failure)

    def _make_context(self) -> object:
        return self._context() if callable(self._context) else self._context

    def final_outcome(
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

    def deadline(self, now: float) -> float:
        """Return when the run exceeds its timeout.

        :param now: the current time; a run that has not started counts from
            it.
        """
        started = now if self._started is None else self._started
        return started + (self.policy.timeout or math.inf)

    def seconds(self, now: float) -> float:
        """Return for how long the task has been running."""
        tasks = self.ref.tasks
        running = tasks.history.running.get(self.ref.row)
        return now - running.started if running else 0.0

    @property
    def end_requested(self) -> bool:
        """Whether the end of the run was requested."""
        return self._end_reason is not None

    def cancel_event(self) -> base.Event:
        """Return the event that asks the task to end."""
        with self._lock:
            if self._cancel_event is None:
                self._cancel_event = self._backend.event()
                if self._end_reason is not None:
                    self._cancel_event.set()
            return self._cancel_event

    @property
    def how_it_ends(self) -> str:
        """What :meth:`end` does, for the log."""
        if self.policy.isolation is status.Isolation.PROCESS:
            return 'its process is killed'
        if self._can_be_killed:
            return 'its green thread is killed'
        return (
            'a native thread cannot be killed; its cancel event is set, and '
            'it runs until the task checks that event'
        )

    @property
    def can_be_ended(self) -> bool:
        """Whether :meth:`end` ends the run, rather than ask the task to."""
        return (
            self.policy.isolation is status.Isolation.PROCESS
            or self._can_be_killed
        )

    @property
    def _can_be_killed(self) -> bool:
        return base.Capability.KILL in self._backend.capabilities

    def request_end(self, reason: status.Outcome) -> None:
        """Make a reason the outcome of the run, however it ends from now on.

        :param reason: the outcome; the first one requested is final.
        """
        with self._lock:
            if self._end_reason is None:
                self._end_reason = reason

    def end(self) -> None:
        """End a run whose end was requested, as far as that is possible."""
        with self._lock:
            if self._cancel_event is not None:
                self._cancel_event.set()
            if self._end_fd >= 0:
                os.eventfd_write(self._end_fd, 1)
        if self._can_be_killed and self.call is not None:
            self._backend.kill(self.call)

    def stack(self) -> str:
        """Return the stack of the worker's thread, as text."""
        return '(unknown)' if self.thread is None else self.thread.stack()

    def log_timeout(self, stack: str) -> None:
        """Log that the run has exceeded its timeout, and what happens."""
        RUNNER_LOG.warning(
            'Periodic task %(full_task_name)s has exceeded its timeout of '
            '%(timeout)g seconds: %(how)s. Stack:\n%(stack)s',
            {
                'full_task_name': self.full_name,
                'timeout': self.policy.timeout,
                'how': self.how_it_ends,
                'stack': stack,
            },
        )


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
