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


"""The state of a task: the types that ``periodic_state`` returns.

Times are on the clock of the ticks, :func:`oslo_periodic.periodic_task.now`,
which is monotonic: setting the time of day does not change it. Durations are
in seconds.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Overlap(enum.StrEnum):
    """What happens to a run that is due while the task is running."""

    #: The run is skipped.
    SKIP = 'skip'
    #: One run is queued; it starts when the current one has ended.
    QUEUE = 'queue'


class Missed(enum.StrEnum):
    """What happens to runs that were missed."""

    #: The next run on the grid stands for them.
    COALESCE = 'coalesce'
    #: The task runs once, at once.
    RUN_ONCE = 'run_once'


class Isolation(enum.StrEnum):
    """Where a runner runs a task."""

    THREAD = 'thread'
    #: In a worker process, on a copy of the instance.
    PROCESS = 'process'


class Outcome(enum.StrEnum):
    """How a run ended."""

    SUCCESS = 'success'
    #: The task raised an exception.
    FAILURE = 'failure'
    #: The run exceeded its timeout, whether or not it could be ended.
    TIMEOUT = 'timeout'
    #: The run was ended because the runner was stopped.
    STOPPED = 'stopped'
    #: The worker process died.
    DIED = 'died'


class Activity(enum.StrEnum):
    """What a task is doing."""

    #: The task is not due.
    IDLE = 'idle'
    #: The task is due, and no worker or tick has started it yet.
    WAITING = 'waiting'
    RUNNING = 'running'
    #: An operator has paused the task.
    PAUSED = 'paused'
    #: The decorator or the configuration disables the task.
    DISABLED = 'disabled'
    #: ``run_external_periodic_tasks = false`` leaves it to another process.
    EXTERNAL = 'external'


class Skip(enum.StrEnum):
    """Why a run that was due did not happen."""

    #: The task was still running.
    OVERLAP = 'overlap'
    #: No worker was free, or the process did not run its timer in time.
    LATE = 'late'
    #: The task was paused.
    PAUSED = 'paused'
    #: The configuration had disabled the task.
    DISABLED = 'disabled'


class Run(NamedTuple):
    """One run of a task."""

    start: float
    end: float
    #: Seconds from the due time to the start.
    lateness: float
    outcome: Outcome
    #: The class and the text of the exception, if the task raised one.
    error: str | None


class TaskState(NamedTuple):
    """The state of one task."""

    name: str
    #: The class and the name: ``Manager.sync``.
    full_name: str
    activity: Activity
    #: Seconds from one run to the next.
    spacing: float
    overlap: Overlap
    missed: Missed
    #: Seconds that a run may take; 0: no limit.
    timeout: float
    isolation: Isolation
    spread: bool
    #: When the task is or was due next; None if it will not run.
    due: float | None
    #: When the current run started; None if the task is not running.
    running_since: float | None
    #: Seconds by which the current run started late.
    running_lateness: float | None
    #: The source line that the current run executes; None if unknown.
    running_at: str | None
    #: Runs that have ended since the instance was made.
    runs: int
    failures: int
    #: Failures in a row, up to the last run.
    failures_in_a_row: int
    #: Runs that were due and did not happen, by reason.
    skipped: dict[Skip, int]
    #: The most recent runs, oldest first.
    last_runs: tuple[Run, ...]

    @property
    def last(self) -> Run | None:
        """The last run that has ended; None if there is none."""
        return self.last_runs[-1] if self.last_runs else None
