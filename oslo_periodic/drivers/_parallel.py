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

"""The driver of a parallel tick: the schedule, over a process pool."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import logging
import pickle
from typing import Any
import weakref

from oslo_periodic.backends import base
from oslo_periodic.core import _history
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _task
from oslo_periodic import exceptions
from oslo_periodic.process import _payload
from oslo_periodic.process import _wire
from oslo_periodic import status

LOG = logging.getLogger('oslo_periodic.periodic_task')

_OUTCOMES: dict[type[BaseException], status.Outcome] = {
    exceptions.TaskTimeout: status.Outcome.TIMEOUT,
    exceptions.WorkerDied: status.Outcome.DIED,
}
#: The tasks of each class whose changes have been looked for. It takes
#: pickling the attributes twice, so the first run of each has to do.
_looked: weakref.WeakKeyDictionary[type, set[str]]
_looked = weakref.WeakKeyDictionary()


class ParallelTick:
    """One run_periodic_tasks_in_parallel."""

    def __init__(
        self,
        tasks: Any,
        state: _task_set.State,
        context: Any,
        now: Callable[[], float],
        run: Any = None,
    ) -> None:
        """Bring together what the tick works on.

        :param tasks: the instance of PeriodicTasks.
        :param state: its state.
        :param context: given to each task.
        :param now: the clock.
        :param run: what a runner knows of the one task of this tick.
        """
        self._tasks = tasks
        self._state = state
        self._schedule = state.schedule
        self._context = context
        self._now = now
        self._class_name = type(tasks).__name__
        #: By row: when it began, how late that was, and its last run.
        self._running: dict[int, tuple[float, float, float]] = {}
        self._ended: set[int] = set()
        self._looked = _looked.setdefault(type(tasks), set())
        self._failures: list[tuple[str, BaseException]] = []
        self._run = run

    def run(
        self, pool: Any, settings: dict[str, Any], raise_on_error: bool
    ) -> None:
        """Run the due tasks.

        :param pool: what the backend gave.
        :param settings: the fields of its settings.
        :param raise_on_error: whether to raise the first error of a task.
        """
        rows = self._schedule.collect(self._now())
        started: list[int] = []
        try:
            for row in rows:
                if self._schedule.start(row):
                    started.append(row)
            if started:
                self._run_rows(pool, started, settings)
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt | SystemExit):
                # Whoever wants the service to end wants no workers left.
                pool.close()
            raise_on_error = False
            raise
        finally:
            for row in list(self._running):
                self._end_interrupted(row)
            # What has not begun is as due as it was.
            for row in started:
                if row not in self._ended:
                    self._schedule.release(row)
            self._report(raise_on_error)
        if raise_on_error and self._failures:
            raise self._first_failure()

    def run_started(
        self, row: int, make_pool: Callable[[], Any], settings: dict[str, Any]
    ) -> None:
        """Run the one task of a runner; its errors are logged.

        :param row: the task, which is marked as running.
        :param make_pool: gives what the backend gives.
        :param settings: the fields of its settings.
        :raises WorkerStartError: if no process can be had, or it cannot load
            the instance; the task has not run then, and is still marked.
        """
        try:
            self._context = self._run.make_context()
            self._run_rows(make_pool(), [row], settings)
        except exceptions.WorkerStartError:
            if row not in self._ended:
                raise
        except BaseException as exc:
            # It can never be handed out, so this counts as a run.
            self._failures.append((self._full_name(row), exc))
            if row not in self._ended:
                if row not in self._running:
                    self._begin(row)
                error = _history.error_line(exc)
                self._finish(row, status.Outcome.FAILURE, error)
        finally:
            if row in self._running:
                self._end_interrupted(row)
            self._report(False)

    def _run_rows(
        self, pool: Any, rows: list[int], settings: dict[str, Any]
    ) -> None:
        self._check_functions(rows)
        watch = settings.pop('watch_changes', True)
        payload = _payload.dump(self._state, self._tasks, self._context)
        calls = [
            base.Call(
                self._schedule.names[row],
                self._full_name(row),
                watch and self._schedule.names[row] not in self._looked,
            )
            for row in rows
        ]
        events = pool.run(payload, calls, base.PoolSettings(**settings))
        with contextlib.closing(events):
            for event in events:
                row = rows[event.index]
                if isinstance(event, base.Began):
                    self._begin(row)
                else:
                    self._end(row, event)

    def _check_functions(self, rows: list[int]) -> None:
        listed = dict(self._state.owner._periodic_collection.listed)
        for row in rows:
            name = self._schedule.names[row]
            function = self._schedule.tasks[row]
            if listed.get(name) is function:
                continue
            try:
                pickle.dumps(function)
            except Exception as exc:
                raise exceptions.NotPicklableError(
                    f'The periodic task {name!r} was added to the instance, '
                    f'and its function {_task.where(function)} cannot be '
                    f'imported in a worker process: {exc}'
                ) from exc

    def _full_name(self, row: int) -> str:
        return f'{self._class_name}.{self._schedule.names[row]}'

    def _begin(self, row: int) -> None:
        started = self._now()
        lateness, boundary = self._tasks._periodic_begin(row, started)
        self._running[row] = (started, lateness, boundary)
        self._schedule.move_last_run(row, boundary)
        self._state.history.running[row] = (started, lateness, None)
        LOG.debug(
            'Running periodic task %(full_task_name)s (parallel)',
            {'full_task_name': self._full_name(row)},
        )

    def _end_interrupted(self, row: int) -> None:
        self._finish(row, status.Outcome.STOPPED, None)
        LOG.warning(
            'Periodic task %(full_task_name)s was ended with its tick',
            {'full_task_name': self._full_name(row)},
        )

    def _end(self, row: int, event: base.Ended) -> None:
        outcome, error = status.Outcome.SUCCESS, None
        if event.failure is not None:
            outcome = _OUTCOMES.get(
                type(event.failure), status.Outcome.FAILURE
            )
            error = _history.error_line(event.failure)
            if isinstance(event.failure, exceptions.TaskTimeout):
                self._log_timeout(row, event.failure)
        self._finish(row, outcome, error)
        name = self._full_name(row)
        if event.failure is not None:
            self._failures.append((name, event.failure))
        if event.changed is not None:
            self._looked.add(self._schedule.names[row])
        if event.changed:
            self._warn_lost_changes(row, event.changed)

    def _finish(
        self, row: int, outcome: status.Outcome, error: str | None
    ) -> None:
        if self._run is not None:
            outcome, error = self._run.verdict(outcome, error)
        started, lateness, boundary = self._running.pop(row)
        self._ended.add(row)
        ended = self._now()
        history = self._state.history
        history.running.pop(row, None)
        history.note_end(row, started, ended, lateness, outcome, error)
        missed = self._schedule.finish(row, started, ended, boundary)
        if self._run is None:
            self._schedule.notify()  # A runner beside plans without this row.
        if missed:
            self._tasks._periodic_note_missed(row, ended - started, missed)

    def _log_timeout(self, row: int, failure: exceptions.TaskTimeout) -> None:
        # As for a thread of the runner; a tick logs the failure alone.
        if self._run is not None and not self._run.is_over:
            _task_set.log_timeout(
                self._full_name(row),
                self._run.policy.timeout,
                self._run.way_out,
                failure.stack,
            )

    def _warn_lost_changes(self, row: int, changed: list[str]) -> None:
        LOG.warning(
            'Periodic task %(full_task_name)s changed %(attributes)s of its '
            'instance in a worker process, where it works on a copy: the '
            'changes are lost. It is said once; [oslo_periodic] '
            'warn_lost_changes = false turns it off',
            {
                'full_task_name': self._full_name(row),
                'attributes': ', '.join(changed),
            },
        )

    def _report(self, raise_on_error: bool) -> None:
        """Log the failures, but for the one that is raised."""
        for name, exc in self._failures[1 if raise_on_error else 0 :]:
            LOG.error(
                'Error during %(full_task_name)s',
                {'full_task_name': name},
                exc_info=(type(exc), exc, exc.__traceback__),
            )

    def _first_failure(self) -> BaseException:
        first = self._failures[0][1]
        for name, exc in self._failures[1:]:
            first.add_note(
                f'{name} failed, too: {type(exc).__name__}: '
                f'{_wire.safe_text(exc)}'
            )
        return first
