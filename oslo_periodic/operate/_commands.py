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


"""What operators do to tasks, by name."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import contextvars
import os
import time
from typing import NamedTuple
from typing import Protocol

from oslo_periodic import _log
from oslo_periodic.core import _report
from oslo_periodic.core import _schedule
from oslo_periodic.core import _task_set
from oslo_periodic.drivers import _engine
from oslo_periodic import exceptions
from oslo_periodic.operate import _find

LOG = _log.get_logger('oslo_periodic.runner')

#: The process that sent the command, for the log; empty if code called it.
_sender: contextvars.ContextVar[str]
_sender = contextvars.ContextVar('sender', default='')


class RunnerStatus(NamedTuple):
    """The state of a runner itself."""

    #: The name of its backend.
    backend: str
    #: How many workers are busy, and how many there are.
    workers: tuple[int, int]
    #: Whether it is stopping.
    stopping: bool
    #: Why it is unhealthy; empty if it is healthy.
    problems: list[str]


def _full_names(refs: Sequence[_task_set.Ref]) -> list[str]:
    return [ref.full_name for ref in refs]


def pause(task_sets: Sequence[_task_set.TaskSet], task: str) -> list[str]:
    """Keep a task from starting until it is resumed.

    :param task_sets: the task sets to search.
    :param task: its name, with the name of its class or without.
    :returns: the full names of the paused tasks.
    :raises RunnerError: as :func:`_find.find` does.
    """
    refs = _find.find(task_sets, task)
    for ref in refs:
        ref.tasks.pause(ref.row)
    names = _full_names(refs)
    _log_by('Periodic task %(task)s is paused%(sender)s', names[0])
    return names


def resume(task_sets: Sequence[_task_set.TaskSet], task: str) -> list[str]:
    """Let a paused task start again.

    :param task_sets: the task sets to search.
    :param task: its name, with the name of its class or without.
    :returns: the full names of the tasks that were paused.
    :raises RunnerError: as :func:`_find.find` does.
    """
    resumed = []
    for ref in _find.find(task_sets, task):
        if ref.tasks.resume(ref.row):
            _log_by(
                'Periodic task %(task)s is resumed%(sender)s', ref.full_name
            )
            resumed.append(ref)
    return _full_names(resumed)


def run(engine: _engine.Engine, task: str) -> list[str]:
    """Run a task now, paused or not; its grid does not move.

    :param engine: the engine that runs it.
    :param task: its name, with the name of its class or without.
    :returns: the full names of the tasks that will run.
    :raises RunnerError: as :func:`_find.find` does, or if the task is
        running and does not queue another run.
    """
    dispatcher = engine.dispatcher
    refs = _find.find(list(dispatcher.members), task)
    now = engine.clock.now()
    accepted = []
    for ref in refs:
        if ref.tasks.schedule.request(ref.row):
            dispatcher.retry(ref, now)
            accepted.append(ref)
    if not accepted:
        ref = refs[0]
        queues = ref.tasks.schedule.flag(ref.row, _schedule.QUEUE_ONE)
        raise exceptions.RunnerError(
            f'{ref.full_name} is running, and '
            + (
                'another run is queued already'
                if queues
                else 'its overlap policy is skip'
            )
        )
    dispatcher.wake.set()
    names = _full_names(accepted)
    _log_by('Run of periodic task %(task)s requested%(sender)s', names[0])
    return names


def log_stop() -> None:
    """Log that a stop was requested."""
    _log_by('Stop of the periodic task runner requested%(sender)s', '')


def _log_by(message: str, task: str) -> None:
    """Log what was done, and the process that requested it."""
    sender = _sender.get()
    LOG.info(
        message,
        {'task': task, 'sender': f' by {sender}' if sender else ''},
    )


def status(
    task_sets: Sequence[_task_set.TaskSet],
    runner: RunnerStatus,
    reason: Callable[[_task_set.Ref], str],
) -> dict[str, object]:
    """Describe a runner in the types of JSON.

    :param task_sets: the task sets it runs.
    :param runner: its own state.
    :param reason: says why a task does not start now.
    """
    names = _find.names_of_classes(task_sets)
    tasks = []
    for task_set in task_sets:
        now = task_set.clock.now()
        offset = time.time() - now
        for name, state in _report.task_states(task_set, now).items():
            row = task_set.schedule.row(name)
            why, paused = 'it is disabled', False
            if row is not None:
                why = reason(_task_set.Ref(task_set, row))
                held = task_set.schedule.held(row)
                paused = bool(held & _schedule.PAUSED)
            described = _report.as_dict(state, offset)
            described['task'] = f'{names[task_set]}.{name}'
            described['module'] = task_set.owner.__module__
            tasks.append({**described, 'paused': paused, 'reason': why})
    busy, count = runner.workers
    return {
        'pid': os.getpid(),
        'backend': runner.backend,
        'time': _report.iso_time(time.time()),
        'workers': count,
        'workers_busy': busy,
        'stopping': runner.stopping,
        'healthy': not runner.problems,
        'problems': runner.problems,
        'tasks': tasks,
    }


class Operated(Protocol):
    """What the commands of the control socket call."""

    def status(self) -> dict[str, object]:
        """Describe everything, in the types of JSON."""

    def health(self) -> list[str]:
        """Return the problems; an empty list if healthy."""

    def pause(self, task: str) -> list[str]:
        """Keep a task from starting until it is resumed."""

    def resume(self, task: str) -> list[str]:
        """Let a paused task start again."""

    def run(self, task: str) -> list[str]:
        """Run a task now."""

    def request_stop(self) -> None:
        """Stop, without waiting for it."""


#: Called with the task of a request, or None, and its sender for the log.
_Command = Callable[[str | None, object], object]


def commands(operated: Operated) -> dict[str, _Command]:
    """Return the commands of the control socket, by name."""

    def health(task: str | None) -> object:
        problems = operated.health()
        return {'healthy': not problems, 'problems': problems}

    return {
        name: _with_sender(call)
        for name, call in {
            'status': lambda task: operated.status(),
            'health': health,
            'pause': _with_task(operated.pause),
            'resume': _with_task(operated.resume),
            'run': _with_task(operated.run),
            'stop': lambda task: operated.request_stop(),
        }.items()
    }


def _with_task(
    method: Callable[[str], object],
) -> Callable[[str | None], object]:
    def call(task: str | None) -> object:
        if task is None:
            raise exceptions.RunnerError('this command needs a task')
        return method(task)

    return call


def _with_sender(call: Callable[[str | None], object]) -> _Command:
    def handle(task: str | None, sender: object) -> object:
        token = _sender.set(str(sender))
        try:
            return call(task)
        finally:
            _sender.reset(token)

    return handle
