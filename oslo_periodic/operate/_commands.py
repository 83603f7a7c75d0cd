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


"""What operators, and a stop, do to the tasks of a runner."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import logging
import os
import time
from typing import Any
from typing import TYPE_CHECKING

from oslo_periodic.config import _groups
from oslo_periodic.core import _report
from oslo_periodic.core import _schedule
from oslo_periodic import backends
from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from oslo_periodic.drivers import _dispatch
from oslo_periodic.drivers import _execution
from oslo_periodic import status as _status

if TYPE_CHECKING:
    from oslo_periodic import runner as _runner

LOG = logging.getLogger('oslo_periodic.runner')


def find(instances: list[Any], task: str | None) -> list[tuple[int, int]]:
    """Find a task by its name.

    :param instances: of PeriodicTasks.
    :param task: its name, with that of its class or alone.
    :returns: the instance and the row; several, if several instances of one
        class have it.
    :raises RunnerError: if there is no such task, there are several, or it
        is disabled.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    known = []
    for number, instance in enumerate(instances):
        class_name = type(instance).__name__
        state = instance._periodic_state
        for name in state.task_names():
            full_name = f'{class_name}.{name}'
            known.append(full_name)
            if task not in (name, full_name):
                continue
            pairs = found.setdefault(full_name, [])
            row = state.schedule.rows.get(name)
            if row is not None and not _is_disabled(state, row):
                pairs.append((number, row))
    if len(found) == 1:
        ((full_name, pairs),) = found.items()
        if not pairs:
            raise exceptions.RunnerError(
                f'the periodic task {full_name} is disabled; its options in '
                f'[periodic_task:{full_name}] can enable it'
            )
        return pairs
    if found:
        raise exceptions.RunnerError(
            f'several periodic tasks are named {task}: '
            f'{" and ".join(sorted(found))}; name one of them in full'
        )
    near = _groups.nearest(str(task), known, 0.0)
    raise exceptions.RunnerError(
        f'there is no periodic task {task}'
        + (f'; did you mean {near}?' if near else '')
    )


def _is_disabled(state: Any, row: int) -> bool:
    # Not by what it does: it may be running to its end.
    held = state.schedule.held(row) & _schedule.DISABLED
    return bool(held) or state.schedule.spacing[row] < 0


def _names(instances: list[Any], pairs: list[tuple[int, int]]) -> list[str]:
    return [
        f'{type(instances[number]).__name__}.'
        f'{instances[number]._periodic_state.schedule.names[row]}'
        for number, row in pairs
    ]


def pause(instances: list[Any], task: str | None) -> list[str]:
    """Keep a task from starting; see :class:`PeriodicRunner`."""
    pairs = find(instances, task)
    for number, row in pairs:
        schedule = instances[number]._periodic_state.schedule
        schedule.hold(row, _schedule.PAUSED, True)
    names = _names(instances, pairs)
    LOG.info('Periodic task %(task)s is paused', {'task': names[0]})
    return names


def resume(instances: list[Any], task: str | None, now: float) -> list[str]:
    """Let a task start again; see :class:`PeriodicRunner`."""
    pairs = find(instances, task)
    names = _names(instances, pairs)
    for number, row in pairs:
        state = instances[number]._periodic_state
        if not state.schedule.held(row) & _schedule.PAUSED:
            continue
        missed = state.schedule.skip_missed(row, now)
        if missed:
            reason = _status.Skip.PAUSED
            state.history.note_skipped(row, reason, missed)
        state.schedule.hold(row, _schedule.PAUSED, False)
        LOG.info('Periodic task %(task)s is resumed', {'task': names[0]})
    return names


def run(
    dispatcher: _dispatch.Dispatcher, task: str | None, now: float
) -> list[str]:
    """Run a task now; see :class:`PeriodicRunner`."""
    instances = dispatcher.instances
    pairs = find(instances, task)
    names = _names(instances, pairs)
    accepted = []
    for number, row in pairs:
        if instances[number]._periodic_state.schedule.request(row):
            dispatcher.put((number, row), now)
            accepted.append((number, row))
    if not accepted:
        number, row = pairs[0]
        queueing = instances[number]._periodic_state.schedule.queueing
        raise exceptions.RunnerError(
            f'{names[0]} is running, and '
            + (
                'to run again after that'
                if row in queueing
                else 'its overlap is to skip'
            )
        )
    dispatcher.wake.set()
    LOG.info('Periodic task %(task)s was asked to run', {'task': names[0]})
    return _names(instances, accepted)


def status(
    runner: _runner.PeriodicRunner, instances: list[Any]
) -> dict[str, Any]:
    """Describe a runner in what JSON has."""
    offset = time.time() - periodic_task.now()
    busy, workers = runner.workers
    problems = runner.health()
    tasks = []
    for number, instance in enumerate(instances):
        rows = instance._periodic_state.schedule.rows
        for name, state in instance.periodic_state().items():
            reason = 'it is disabled'
            if name in rows:
                reason = runner.explain((number, rows[name]))
            described = _report.as_dict(state, offset)
            tasks.append({**described, 'reason': reason})
    return {
        'pid': os.getpid(),
        'backend': backends.get_backend().name,
        'time': _report.iso_time(time.time()),
        'workers': workers,
        'workers_busy': busy,
        'healthy': not problems,
        'problems': problems,
        'tasks': tasks,
    }


def commands(
    runner: _runner.PeriodicRunner,
) -> dict[str, Callable[[str | None], Any]]:
    """Return what the control socket can be told, by name."""

    def needs(method: Callable[[str], Any]) -> Callable[[str | None], Any]:
        def call(task: str | None) -> Any:
            if task is None:
                raise exceptions.RunnerError('this command needs a task')
            return method(task)

        return call

    def health(task: str | None) -> dict[str, Any]:
        problems = runner.health()
        return {'healthy': not problems, 'problems': problems}

    return {
        'status': lambda task: runner.status(),
        'health': health,
        'pause': needs(runner.pause),
        'resume': needs(runner.resume),
        'run': needs(runner.run),
        'stop': lambda task: runner.request_stop(),
    }


def check_isolation(instances: list[Any], backend: base.Backend) -> None:
    """See that tasks which need a process can have one.

    :raises UnsupportedBackendError: naming such a task.
    """
    for instance in instances:
        state = instance._periodic_state
        for name in list(state.schedule.rows):
            if state.policy(name).isolation != 'process':
                continue
            try:
                backend.process_pool(1)
            except exceptions.UnsupportedBackendError as exc:
                raise exceptions.UnsupportedBackendError(
                    f'The periodic task {type(instance).__name__}.{name} has '
                    f'isolation = process: {exc}'
                ) from exc


def end_idle_processes(instances: list[Any]) -> None:
    """End the worker processes that tasks have left idle.

    Others who use the pool start new ones.
    """
    for instance in instances:
        state = instance._periodic_state
        for name in list(state.schedule.rows):
            if state.policy(name).isolation == 'process':
                with contextlib.suppress(exceptions.UnsupportedBackendError):
                    backends.get_backend().process_pool(1).end_idle()
                return


def await_runs(
    dispatcher: _dispatch.Dispatcher, grace: float | None = None
) -> list[_execution.Run]:
    """Wait for what runs, but for runs that call this.

    :param dispatcher: whose runs; it is stopping.
    :param grace: seconds to wait at most; None waits until the deadline of
        the dispatcher, which may come nearer meanwhile.
    :returns: what still runs.
    """
    own = _execution.current.get()
    if own in dispatcher.runs:
        own.stops = True
    end = None if grace is None else time.monotonic() + grace
    while True:
        dispatcher.ended.clear()
        runs = [run for run in list(dispatcher.runs) if not run.stops]
        deadline = dispatcher.deadline if end is None else end
        left = deadline - time.monotonic()
        if not runs or left <= 0:
            return runs
        # Another stop may have cleared the flag.
        dispatcher.ended.wait(min(left, 0.2))


def end_runs(runs: list[_execution.Run], now: float) -> None:
    """Name what still runs in the log, and end it as far as possible."""
    for left in runs:
        if left.is_over:
            continue  # Another stop has told of it.
        left.condemn(_status.Outcome.STOPPED)
        if left.place is None:
            # It has not started, so nothing of it is cut short.
            left.end()
            continue
        LOG.warning(
            'Periodic task %(task)s is still running after %(seconds).1f '
            'seconds: %(done)s. It was at:\n%(stack)s',
            {
                'task': left.full_name,
                'seconds': seconds(left, now),
                'done': left.way_out,
                'stack': left.stack(),
            },
        )
        left.end()


def leave_runs(runs: list[_execution.Run], now: float) -> None:
    """Name what could not be ended in the log."""
    for left in runs:
        LOG.warning(
            'Periodic task %(task)s has not ended after %(seconds).1f '
            'seconds, and is left to itself',
            {'task': left.full_name, 'seconds': seconds(left, now)},
        )


def seconds(run: _execution.Run, now: float) -> float:
    """Return for how long a run has been running."""
    running = run.instance._periodic_state.history.running.get(run.row)
    return now - running[0] if running else 0.0
