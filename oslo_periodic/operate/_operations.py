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


"""The operations that a runner offers to operators and to its service."""

from __future__ import annotations

import abc
import functools
from typing import Any

from oslo_periodic.core import _report
from oslo_periodic.core import _task_set
from oslo_periodic.drivers import _engine
from oslo_periodic import exceptions
from oslo_periodic.operate import _commands
from oslo_periodic.operate import _surface
from oslo_periodic import status


class Operations(abc.ABC):
    """What operators see and do; the control socket calls these methods."""

    def __init__(self) -> None:
        #: What exists since the last start.
        self._engine: _engine.Engine | None = None
        self._surface: _surface.Surface | None = None

    @property
    @abc.abstractmethod
    def _task_sets(self) -> list[_task_set.TaskSet]:
        """The task sets that are operated."""

    @property
    @abc.abstractmethod
    def _configured_workers(self) -> int:
        """The number of workers after the next start."""

    @property
    @abc.abstractmethod
    def _backend_name(self) -> str:
        """The name of the backend."""

    @property
    def _running(self) -> _engine.Engine | None:
        engine = self._engine
        return None if engine is None or engine.closed else engine

    def periodic_state(self) -> list[status.TaskState]:
        """Return the state of each task of each instance."""
        return [
            state
            for tasks in self._task_sets
            for state in _report.task_states(tasks, tasks.clock.now()).values()
        ]

    def status(self) -> dict[str, Any]:
        """Return the state of the runner and its tasks, in types of JSON."""
        engine, surface = self._running, self._surface
        reason = _not_running
        if engine is not None and surface is not None:
            now = engine.clock.now()
            reason = functools.partial(surface.health.reason, now=now)
        return _commands.status(
            self._task_sets,
            _commands.RunnerStatus(
                self._backend_name,
                self.workers,
                engine is not None and engine.dispatcher.stopping,
                self.health(),
            ),
            reason,
        )

    def health(self) -> list[str]:
        """Return what is wrong; an empty list if the runner is healthy.

        A task that is late by more than ``[oslo_periodic] overdue_factor`` of
        its spacings is wrong, and so is a runner that is not running or whose
        timer loop does not run.
        """
        if self._running is None or self._surface is None:
            return ['The runner is not running']
        return [str(problem) for problem in self._surface.problems()]

    @property
    def workers(self) -> tuple[int, int]:
        """How many workers are busy, and how many there are."""
        engine = self._running
        if engine is None:
            return 0, self._configured_workers
        return len(engine.dispatcher.runs), engine.dispatcher.workers

    def pause(self, task: str) -> list[str]:
        """Keep a task from starting until it is resumed.

        :param task: its name, with the name of its class or without.
        :returns: the full names of the paused tasks.
        :raises RunnerError: if there is no such task.
        """
        return _commands.pause(self._task_sets, task)

    def resume(self, task: str) -> list[str]:
        """Let a paused task start again.

        :param task: its name, with the name of its class or without.
        :returns: the full names of the tasks that were paused.
        :raises RunnerError: if there is no such task.
        """
        return _commands.resume(self._task_sets, task)

    def run(self, task: str) -> list[str]:
        """Run a task now, paused or not; its grid does not move.

        :param task: its name, with the name of its class or without.
        :returns: the full names of the tasks that will run.
        :raises RunnerError: if there is no such task, it is running, or the
            runner is not running.
        """
        engine = self._running
        if engine is None or engine.dispatcher.stopping:
            raise exceptions.RunnerError('the runner is not running')
        return _commands.run(engine, task)


def _not_running(ref: _task_set.Ref) -> str:
    return 'the runner is not running'
