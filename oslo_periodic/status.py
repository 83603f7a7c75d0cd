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


"""What is known of a task: the types that ``periodic_state`` returns.

Times are of the clock of the ticks, :func:`oslo_periodic.periodic_task.now`,
which does not follow the time of day when that is set. Lengths of time are
seconds.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Outcome(enum.StrEnum):
    """How a run has ended."""

    SUCCESS = 'success'
    #: It raised an exception.
    FAILURE = 'failure'
    #: It was longer than its timeout, whether or not it could be ended.
    TIMEOUT = 'timeout'
    #: It was ended because the runner was stopped.
    STOPPED = 'stopped'
    #: Its worker process died.
    DIED = 'died'


class Activity(enum.StrEnum):
    """What a task does at the moment."""

    #: It is not due.
    IDLE = 'idle'
    #: It is due, and has no worker yet, or its tick has not reached it.
    WAITING = 'waiting'
    RUNNING = 'running'
    #: An operator has paused it.
    PAUSED = 'paused'
    #: It is not to run: by its decorator, or by the configuration.
    DISABLED = 'disabled'
    #: ``run_external_periodic_tasks`` leaves it to another process.
    EXTERNAL = 'external'


class Skip(enum.StrEnum):
    """Why a run that was due did not take place."""

    #: The task was still running.
    OVERLAP = 'overlap'
    #: No worker was free, or the runner or the process did not turn.
    LATE = 'late'
    #: The task was paused.
    PAUSED = 'paused'
    #: The configuration had disabled it for a while.
    DISABLED = 'disabled'


class Run(NamedTuple):
    """One run of a task."""

    start: float
    end: float
    #: From when it was due to its start.
    lateness: float
    outcome: Outcome
    #: The class and the text of the exception, if there was one.
    error: str | None


class TaskState(NamedTuple):
    """What is known of one task."""

    name: str
    #: With the name of its class.
    full_name: str
    activity: Activity
    #: How it is run.
    spacing: float
    overlap: str
    missed: str
    timeout: float
    isolation: str
    spread: bool
    #: When it is or was due next; None if it is not to run.
    due: float | None
    #: Since when it runs.
    running_since: float | None
    #: How late that run has started.
    running_lateness: float | None
    #: Where that run is; None if it cannot be had.
    running_at: str | None
    #: Counted since the instance was made.
    runs: int
    failures: int
    #: Failures in a row, up to the last run.
    failures_in_a_row: int
    #: Runs that did not take place, by reason.
    skipped: dict[Skip, int]
    #: The last runs, the latest at the end.
    last_runs: tuple[Run, ...]

    @property
    def last(self) -> Run | None:
        """The last run that has ended, if there is one."""
        return self.last_runs[-1] if self.last_runs else None
