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


"""Run a task of a runner in a worker process."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import os

from oslo_periodic.backends import base
from oslo_periodic.core import _history
from oslo_periodic.core import _task_set
from oslo_periodic.drivers import _execution
from oslo_periodic.drivers import _processes
from oslo_periodic import exceptions
from oslo_periodic import status


class ProcessExecution(_execution.Execution):
    """A run in a worker process; the thread of its worker follows it."""

    # The process pool applies the timeout itself.
    needs_deadline = False
    can_be_ended = True
    how_it_ends = 'its process is killed'

    def __init__(
        self,
        backend: base.Backend,
        ref: _task_set.Ref,
        member: _execution.Member,
        context: object,
    ) -> None:
        """Describe the run; see the base class."""
        super().__init__(backend, ref, member, context)
        #: Becomes readable when the process is to be ended.
        self._end_fd = -1
        self._begun: _history.Begun | None = None
        self._ended = False

    def end(self) -> None:
        """End the process of a run whose end was requested."""
        with self._lock:
            if self._end_fd >= 0:
                os.eventfd_write(self._end_fd, 1)
        super().end()

    def _execute(self) -> None:
        failure: BaseException | None = None
        try:
            with self._end_descriptor() as end_fd:
                failure = self._follow(end_fd)
        except exceptions.WorkerStartError:
            if self._begun is None and not self._ended:
                raise
        except BaseException as exc:
            # The task can never be handed out, so this counts as a run.
            failure, self._ended = exc, True
            if self._begun is None:
                self._begin()
        self._finish(failure)

    @contextlib.contextmanager
    def _end_descriptor(self) -> Iterator[int]:
        try:
            end_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError as exc:
            raise exceptions.WorkerStartError(
                f'no worker process can be controlled: {exc}'
            ) from exc
        with self._lock:
            self._end_fd = end_fd
            if self.end_requested:
                os.eventfd_write(end_fd, 1)
        try:
            yield end_fd
        finally:
            with self._lock:
                os.close(end_fd)
                self._end_fd = -1

    def _follow(self, end_fd: int) -> BaseException | None:
        """Run the task, and return its failure."""
        settings, watch = self._member.process_settings(self.policy.timeout)
        events = _processes.run(
            self._backend.process_pool(1),
            self.ref.tasks,
            self._member.instance,
            self._make_context(),
            [self.ref],
            dataclasses.replace(settings, end_fd=end_fd),
            watch,
        )
        failure: BaseException | None = None
        with contextlib.closing(events):
            for _ref, event in events:
                if isinstance(event, base.Began):
                    self._begin()
                else:
                    failure, self._ended = event.failure, True
        if (
            isinstance(failure, exceptions.TaskTimeout)
            and not self.end_requested
        ):
            self.log_timeout(failure.stack)
        return failure

    def _begin(self) -> None:
        self.began = True
        tasks = self.ref.tasks
        self._begun = tasks.begin(
            self.ref, tasks.clock.now(), note=' (in a worker process)'
        )

    def _finish(self, failure: BaseException | None) -> None:
        outcome, error = _processes.outcome_of(failure)
        if self._begun is not None:
            if not self._ended:
                outcome = status.Outcome.STOPPED
                _processes.log_interrupted(self.full_name)
            self.ref.tasks.finish(
                self._begun, *self._final_outcome(outcome, error)
            )
        if failure is not None:
            _processes.log_error(self.full_name, failure)
