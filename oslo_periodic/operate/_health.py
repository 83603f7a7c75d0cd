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


"""Say whether the tasks of a runner are healthy, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
import math
from typing import NamedTuple
from typing import Protocol

from oslo_periodic import _log
from oslo_periodic.core import _report
from oslo_periodic.core import _task_set
from oslo_periodic.drivers import _dispatch
from oslo_periodic import status

LOG = _log.get_logger('oslo_periodic.runner')

#: Seconds that the timer may be late before it counts as stuck.
TIMER_PATIENCE = 5.0
#: The number of busy workers that a reason names.
_NAMED = 5


class Limits(Protocol):
    """The options that say when a runner is unhealthy."""

    @property
    def overdue_factor(self) -> float:
        """How many spacings a task may be late; 0: any number."""

    @property
    def failing_after(self) -> int:
        """How many failures in a row make a task unhealthy; 0: none do."""


class Problem(NamedTuple):
    """Why a runner is unhealthy."""

    #: A task, or the runner itself.
    subject: str
    reason: str
    #: Whether the runner itself does not work.
    is_fatal: bool = False

    def __str__(self) -> str:
        return f'{self.subject} {self.reason}'


class Health:
    """Checks a runner, and logs changes of its health."""

    def __init__(
        self, dispatcher: _dispatch.Dispatcher, started: float
    ) -> None:
        """Check nothing yet.

        :param dispatcher: the dispatcher of the runner.
        :param started: when the runner was started.
        """
        self._dispatcher = dispatcher
        self._started = started
        #: The subjects that were logged as unhealthy.
        self._reported: set[str] = set()

    def problems(self, now: float, limits: Limits) -> list[Problem]:
        """Return what is wrong; an empty list if the runner is healthy.

        :param now: the current time.
        :param limits: the options.
        """
        found = list(self._runner_problems(now))
        if limits.overdue_factor > 0:
            found += self._late_tasks(now, limits.overdue_factor)
        if limits.failing_after > 0:
            found += self._failing_tasks(limits.failing_after)
        return found

    def log_changes(self, problems: list[Problem]) -> None:
        """Log subjects that have become unhealthy or healthy, once each."""
        if self._dispatcher.stopping:
            return  # A task that does not start any more is not healthy again.
        subjects = {problem.subject for problem in problems}
        for problem in problems:
            if problem.subject not in self._reported:
                LOG.warning(
                    'Periodic tasks are unhealthy: %(problem)s',
                    {'problem': problem},
                )
        for subject in self._reported - subjects:
            LOG.info('%(subject)s is healthy again', {'subject': subject})
        self._reported = subjects

    def _runner_problems(self, now: float) -> Iterator[Problem]:
        dispatcher = self._dispatcher
        if dispatcher.failure is not None:
            failure = dispatcher.failure
            yield Problem(
                'The runner',
                f'has failed: {type(failure).__name__}: {failure}',
                True,
            )
        for tasks, error in list(dispatcher.broken.items()):
            yield Problem(
                f'The instance of {tasks.class_name}',
                f'cannot be scheduled: {error}',
            )
        if dispatcher.stopping:
            return
        expected = dispatcher.next_cycle_at
        if expected == math.inf:
            expected = dispatcher.last_cycle_at
        if now - expected > TIMER_PATIENCE:
            yield Problem(
                'The timer loop',
                f'has not run for {now - dispatcher.last_cycle_at:.1f} '
                'seconds: its thread is blocked or has ended',
                True,
            )

    def _late_tasks(self, now: float, factor: float) -> Iterator[Problem]:
        if self._dispatcher.stopping:
            return  # No task starts any more, so none is late.
        for tasks in self._dispatcher.members:
            schedule = tasks.schedule
            # Other rows are late only if the timer is, which is a problem of
            # its own.
            for row in schedule.unfinished():
                late = self.lateness(tasks, row, now)
                if (
                    late is not None
                    and late > factor * schedule.spacing(row) > 0
                ):
                    ref = _task_set.Ref(tasks, row)
                    yield Problem(
                        ref.full_name,
                        f'is {late:.1f} seconds late: {self.reason(ref, now)}',
                    )

    def _failing_tasks(self, most: int) -> Iterator[Problem]:
        for tasks in self._dispatcher.members:
            for row, record in list(tasks.history.records.items()):
                failures = record.failures_in_a_row
                if failures < most or not record.last_runs:
                    continue
                if not _will_run(tasks, row):
                    continue
                _start, _end, _late, outcome, error = record.last_runs[-1]
                yield Problem(
                    _task_set.Ref(tasks, row).full_name,
                    f'has failed {failures} times in a row; the last run: '
                    f'{outcome}{f": {error}" if error else ""}',
                )

    def lateness(
        self, tasks: _task_set.TaskSet, row: int, now: float
    ) -> float | None:
        """Return by how many seconds the next run of a task is late.

        :returns: a negative number if the task is not due; None if it will
            not run.
        """
        due = tasks.schedule.due(row)
        if due == math.inf:
            return None
        return now - (self._started if due == -math.inf else due)

    def reason(self, ref: _task_set.Ref, now: float) -> str:
        """Say why a task does not start now.

        :param ref: the task.
        :param now: the current time.
        """
        activity = _report.activity(ref.tasks, ref.row)
        if activity is status.Activity.RUNNING:
            running = ref.tasks.history.running.get(ref.row)
            seconds = now - running.started if running else 0.0
            where = _report.where(ref.tasks, ref.row)
            return (
                f'it has been running for {seconds:.1f} seconds'
                f'{", at " + where if where else ""}'
            )
        if activity is status.Activity.WAITING:
            return self._why_waiting(ref, now)
        return why_inactive(activity)

    def _why_waiting(self, ref: _task_set.Ref, now: float) -> str:
        if self._dispatcher.stopping:
            return 'the runner is stopping and starts no more tasks'
        error = self._dispatcher.retries.errors.get(ref)
        if error is not None:
            return f'no worker could be started for it: {error}'
        runs = list(self._dispatcher.runs)
        if any(run.ref == ref for run in runs):
            return 'it was handed to a worker, which has not begun it'
        if len(runs) < self._dispatcher.workers:
            return 'it starts at the next cycle of the timer'
        busy = sorted(
            ((run.seconds(now), run.full_name) for run in runs), reverse=True
        )
        names = ', '.join(f'{name} ({s:.1f} s)' for s, name in busy[:_NAMED])
        more = len(busy) - _NAMED
        return (
            f'it waits for a worker; all {len(runs)} are busy with {names}'
            + (f' and {more} more' if more > 0 else '')
        )


def _will_run(tasks: _task_set.TaskSet, row: int) -> bool:
    """Say whether a task is neither paused nor disabled nor removed."""
    return (
        tasks.schedule.function(row) is not None
        and not tasks.schedule.held(row)
        and tasks.schedule.spacing(row) >= 0
    )


#: Why tasks in these states do not start.
_REASONS = {
    status.Activity.IDLE: 'it is not due',
    status.Activity.PAUSED: 'it is paused',
    status.Activity.EXTERNAL: 'run_external_periodic_tasks = false leaves it '
    'to another process',
}


def why_inactive(activity: status.Activity) -> str:
    """Say why a task that is not due does not start."""
    return _REASONS.get(activity, 'it is disabled')
