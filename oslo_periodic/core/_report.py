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


"""Describe the tasks of a task set."""

from __future__ import annotations

import datetime
import math
from typing import Any

from oslo_periodic.core import _history
from oslo_periodic.core import _schedule
from oslo_periodic.core import _task_set
from oslo_periodic import status


def task_states(
    tasks: _task_set.TaskSet, now: float
) -> dict[str, status.TaskState]:
    """Describe each task.

    :param tasks: the task set.
    :param now: the current time.
    :returns: by name, in the order of registration; tasks that do not run
        come last.
    """
    states = {
        name: _scheduled(tasks, name, row, now)
        for name, row in tasks.schedule.items()
    }
    for name in list(tasks.unscheduled):
        settings = tasks.settings.get(name)
        states[name] = _describe(
            tasks, name, settings.spacing if settings else -1.0
        )
    return states


def _scheduled(
    tasks: _task_set.TaskSet, name: str, row: int, now: float
) -> status.TaskState:
    schedule, history = tasks.schedule, tasks.history
    running = history.running.get(row)
    record = history.records.get(row, _history.NEVER)
    return _describe(tasks, name, schedule.spacing(row))._replace(
        activity=activity(tasks, row),
        due=next_due(schedule, row, now),
        running_since=running.started if running else None,
        running_lateness=running.lateness if running else None,
        running_at=where(tasks, row),
        runs=record.runs,
        failures=record.failures,
        failures_in_a_row=record.failures_in_a_row,
        skipped=dict(history.skipped.get(row, ())),
        last_runs=tuple(status.Run(*run) for run in record.last_runs),
    )


def _describe(
    tasks: _task_set.TaskSet, name: str, spacing: float
) -> status.TaskState:
    """Describe a task that has not run and will not."""
    policy = tasks.policy(name)
    return status.TaskState(
        name=name,
        full_name=f'{tasks.class_name}.{name}',
        activity=status.Activity.DISABLED,
        spacing=spacing,
        overlap=policy.overlap,
        missed=policy.missed,
        timeout=policy.timeout,
        isolation=policy.isolation,
        spread=policy.spread,
        due=None,
        running_since=None,
        running_lateness=None,
        running_at=None,
        runs=0,
        failures=0,
        failures_in_a_row=0,
        skipped={},
        last_runs=(),
    )


def where(tasks: _task_set.TaskSet, row: int) -> str | None:
    """Return the source line that a running task executes.

    :returns: None if the task is not running, or the line is unknown.
    """
    running = tasks.history.running.get(row)
    if running is None or running.thread is None:
        return None
    return running.thread.line(running.function)


def activity(tasks: _task_set.TaskSet, row: int) -> status.Activity:
    """Return what a scheduled task is doing."""
    schedule = tasks.schedule
    if row in tasks.history.running:
        return status.Activity.RUNNING
    # A taken row waits for its worker, and a running one that is not in the
    # history is just about to begin or to end.
    if schedule.place(row) >= _schedule.READY:
        return status.Activity.WAITING
    held = schedule.held(row)
    if held & _schedule.DISABLED or schedule.spacing(row) < 0:
        return status.Activity.DISABLED
    if held & _schedule.PAUSED:
        return status.Activity.PAUSED
    if held & _schedule.EXTERNAL:
        return status.Activity.EXTERNAL
    return status.Activity.IDLE


def next_due(
    schedule: _schedule.Schedule, row: int, now: float
) -> float | None:
    """Return when a row is due; None if it will not run."""
    due = schedule.due(row)
    if due == -math.inf:
        return now  # The row has never run, and is due since it was added.
    return None if due == math.inf else due


def as_dict(state: status.TaskState, offset: float) -> dict[str, Any]:
    """Describe a task in the types of JSON, with times of day.

    :param state: the state of the task.
    :param offset: seconds from the clock of the ticks to the time since the
        epoch.
    """

    def day(seconds: float | None) -> str | None:
        return None if seconds is None else iso_time(seconds + offset)

    last = state.last
    return {
        'task': state.full_name,
        'activity': state.activity,
        'spacing': state.spacing,
        'overlap': state.overlap,
        'missed': state.missed,
        'timeout': state.timeout,
        'isolation': state.isolation,
        'spread': state.spread,
        'due': day(state.due),
        'running_since': day(state.running_since),
        'running_lateness': state.running_lateness,
        'running_at': state.running_at,
        'last_start': day(last and last.start),
        'last_end': day(last and last.end),
        'last_duration': last and last.end - last.start,
        'last_outcome': last and last.outcome,
        'last_error': last and last.error,
        'lateness': last and last.lateness,
        'runs': state.runs,
        'failures': state.failures,
        'failures_in_a_row': state.failures_in_a_row,
        'skipped': state.skipped,
        'last_runs': [
            {
                'start': day(run.start),
                'duration': run.end - run.start,
                'lateness': run.lateness,
                'outcome': run.outcome,
                'error': run.error,
            }
            for run in state.last_runs
        ],
    }


def iso_time(seconds: float) -> str:
    """Return a time since the epoch in ISO 8601 format, in UTC.

    A time after the year 9999, which some use for "never", is the last moment
    of that year.
    """
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        moment = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    return moment.isoformat(timespec='milliseconds')
