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


"""What is known of the tasks of an instance, put together when asked for."""

from __future__ import annotations

import datetime
import math
from typing import Any

from oslo_periodic.core import _history
from oslo_periodic.core import _schedule
from oslo_periodic.core import _task_set
from oslo_periodic import status


def task_states(tasks: Any, now: float) -> dict[str, status.TaskState]:
    """Describe each task.

    :param tasks: the instance of PeriodicTasks.
    :param now: the current time.
    :returns: by name, in their order; those that do not run at the end.
    """
    state: _task_set.State = tasks._periodic_state
    class_name = type(tasks).__name__
    states = {
        name: _scheduled(state, class_name, row, now)
        for name, row in list(state.schedule.rows.items())
    }
    for name in list(state.unscheduled):
        settings = state.read.get(name)
        spacing = settings.spacing if settings else -1.0
        states[name] = _describe(state, class_name, name, spacing)
    return states


def _scheduled(
    state: _task_set.State, class_name: str, row: int, now: float
) -> status.TaskState:
    schedule, history = state.schedule, state.history
    described = _describe(
        state, class_name, schedule.names[row], schedule.spacing[row]
    )
    running = history.running.get(row)
    record = history.records.get(row, _history.NEVER)
    return described._replace(
        activity=activity(state, row),
        due=next_due(schedule, row, now),
        running_since=running[0] if running else None,
        running_lateness=running[1] if running else None,
        running_at=where(state, row),
        runs=record.runs,
        failures=record.failures,
        failures_in_a_row=record.failures_in_a_row,
        skipped=dict(history.skipped.get(row, ())),
        last_runs=tuple(status.Run(*run) for run in record.last_runs),
    )


def _describe(
    state: _task_set.State, class_name: str, name: str, spacing: float
) -> status.TaskState:
    """Describe a task of which nothing more is known."""
    policy: Any = state.policy(name)
    return status.TaskState(
        name=name,
        full_name=f'{class_name}.{name}',
        activity=status.Activity.DISABLED,
        spacing=spacing,
        **policy._asdict(),
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


def where(state: _task_set.State, row: int) -> str | None:
    """Say where a task is that runs; None if it cannot be had."""
    running = state.history.running.get(row)
    if running is None or running[2] is None:
        return None
    return running[2].line(state.schedule.tasks[row])


def activity(state: _task_set.State, row: int) -> status.Activity:
    """Say what a task that is scheduled does at the moment."""
    if row in state.history.running:
        return status.Activity.RUNNING
    # In between it is handed to a worker, which has not begun.
    if state.schedule.is_ready(row) or state.schedule.is_running(row):
        return status.Activity.WAITING
    held = state.schedule.held(row)
    if held & _schedule.DISABLED or state.schedule.spacing[row] < 0:
        return status.Activity.DISABLED
    if held & _schedule.PAUSED:
        return status.Activity.PAUSED
    if held & _schedule.EXTERNAL:
        return status.Activity.EXTERNAL
    return status.Activity.IDLE


def next_due(
    schedule: _schedule.Schedule, row: int, now: float
) -> float | None:
    """Return when a row is due; None if it is not to run."""
    due = schedule.due(row)
    if due == -math.inf:
        return now  # It has never run, and is due since it is there.
    return None if due == math.inf else due


def as_dict(state: status.TaskState, offset: float) -> dict[str, Any]:
    """Describe a task in what JSON has, with times of day.

    :param state: what is known of it.
    :param offset: seconds from the clock of the ticks to that of the day.
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
    """Return a time since the epoch as ISO 8601 writes it, in UTC."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec='milliseconds')
