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


"""The parallel tick: run the due tasks at once, in worker processes."""

from __future__ import annotations

import contextlib

from oslo_periodic.backends import base
from oslo_periodic.core import _history
from oslo_periodic.core import _task_set
from oslo_periodic.drivers import _processes
from oslo_periodic import status


def run_due(
    tasks: _task_set.TaskSet,
    instance: object,
    pool: base.ProcessPool,
    context: object,
    settings: base.PoolSettings,
    watch_changes: bool,
    raise_on_error: bool,
) -> None:
    """Run the due tasks on a pool, and wait for all of them.

    :param tasks: the task set.
    :param instance: the first argument of the tasks.
    :param pool: the process pool.
    :param context: the second argument of the tasks.
    :param settings: how the pool treats the tasks.
    :param watch_changes: whether to warn of changes that are lost.
    :param raise_on_error: whether to raise the first error of a task, with
        the others in its notes; else all are logged.
    """
    rows = tasks.schedule.collect(tasks.clock.now())
    tick = ParallelTick(tasks)
    try:
        tick.take(rows)
        if tick.waiting:
            events = _processes.run(
                pool,
                tasks,
                instance,
                context,
                list(tick.waiting),
                settings,
                watch_changes,
            )
            with contextlib.closing(events):
                for ref, event in events:
                    tick.follow(ref, event)
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            # The service is about to end; it must leave no workers behind.
            pool.close()
        raise_on_error = False
        raise
    finally:
        tick.end()
        tick.log_failures(but_first=raise_on_error)
    if raise_on_error and tick.failures:
        raise tick.first_failure()


class ParallelTick:
    """What became of each task of a parallel tick."""

    def __init__(self, tasks: _task_set.TaskSet) -> None:
        """Start with no task.

        :param tasks: the task set.
        """
        self._tasks = tasks
        #: The tasks that were taken and have not begun, in their order.
        self.waiting: dict[_task_set.Ref, None] = {}
        self._running: dict[_task_set.Ref, _history.Begun] = {}
        #: Full names and errors of tasks that failed, in the order of their
        #: ends.
        self.failures: list[tuple[str, BaseException]] = []

    def take(self, rows: list[int]) -> None:
        """Take rows, so that no other driver starts them."""
        for row in rows:
            ref = self._tasks.take(row)
            if ref is not None:
                self.waiting[ref] = None

    def follow(
        self, ref: _task_set.Ref, event: base.Began | base.Ended
    ) -> None:
        """Follow what the pool reports of a task."""
        if isinstance(event, base.Began):
            begun = self._tasks.begin(
                ref, self._tasks.clock.now(), note=' (parallel)'
            )
            self.waiting.pop(ref, None)
            if begun is not None:
                self._running[ref] = begun
            return
        begun = self._running.pop(ref, None)
        if begun is not None:
            outcome, error = _processes.outcome_of(event.failure)
            self._tasks.finish(begun, outcome, error)
        if event.failure is not None:
            self.failures.append((ref.full_name, event.failure))

    def end(self) -> None:
        """End interrupted runs; tasks that did not begin stay due."""
        for ref, begun in self._running.items():
            self._tasks.finish(begun, status.Outcome.STOPPED)
            _processes.log_interrupted(ref.full_name)
        for ref in self.waiting:
            self._tasks.requeue(ref)

    def log_failures(self, but_first: bool) -> None:
        """Log the errors of tasks.

        :param but_first: whether the first one is raised instead.
        """
        for full_name, exc in self.failures[1 if but_first else 0 :]:
            _processes.log_error(full_name, exc)

    def first_failure(self) -> BaseException:
        """Return the first error, with the others in its notes."""
        first = self.failures[0][1]
        for full_name, exc in self.failures[1:]:
            first.add_note(
                f'{full_name} failed, too: {_history.error_line(exc)}'
            )
        return first
