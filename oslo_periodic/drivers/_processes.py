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


"""Run taken tasks in worker processes; both drivers that do so use this."""

from __future__ import annotations

from collections.abc import Generator
from collections.abc import Sequence
import contextlib
import pickle
import weakref

from oslo_periodic import _log
from oslo_periodic.backends import base
from oslo_periodic.core import _history
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _task
from oslo_periodic import exceptions
from oslo_periodic.process import _payload
from oslo_periodic import status

LOG = _log.get_logger('oslo_periodic.periodic_task')

_OUTCOMES: dict[type[BaseException], status.Outcome] = {
    exceptions.TaskTimeout: status.Outcome.TIMEOUT,
    exceptions.WorkerDied: status.Outcome.DIED,
}
#: The tasks of each class whose lost changes have been looked for. That takes
#: pickling the attributes twice, so only the first run of each is watched.
_watched: weakref.WeakKeyDictionary[type, set[str]]
_watched = weakref.WeakKeyDictionary()


def run(
    pool: base.ProcessPool,
    tasks: _task_set.TaskSet,
    instance: object,
    context: object,
    refs: Sequence[_task_set.Ref],
    settings: base.PoolSettings,
    watch: bool,
) -> Generator[tuple[_task_set.Ref, base.Began | base.Ended], None, None]:
    """Run tasks on a pool, and yield what happens to each.

    Closing the iterator ends what runs.

    :param pool: the pool.
    :param tasks: the task set.
    :param instance: the first argument of the tasks; it is pickled.
    :param context: the second argument of the tasks; it is pickled.
    :param refs: the tasks; they were taken.
    :param settings: how to treat them.
    :param watch: whether to warn of changes to the instance that are lost.
    :raises NotPicklableError: if the instance, the context or a task cannot
        go to a worker process; nothing has run then.
    :raises WorkerStartError: if there is no worker process, or it cannot load
        the instance.
    """
    _check_functions(refs)
    watched = _watched.setdefault(tasks.owner, set())
    calls = [
        base.Call(ref.name, ref.full_name, watch and ref.name not in watched)
        for ref in refs
    ]
    payload = _payload.dump(tasks, instance, context)
    with contextlib.closing(pool.run(payload, calls, settings)) as events:
        for event in events:
            ref = refs[event.index]
            yield ref, event
            if isinstance(event, base.Ended) and event.changed is not None:
                watched.add(ref.name)
                if event.changed:
                    _warn_lost_changes(ref, event.changed)


def log_unpicklable(tasks: _task_set.TaskSet, instance: object) -> None:
    """Log the tasks that cannot go to a worker process, which they are set to.

    :param tasks: the task set.
    :param instance: the first argument of the tasks.
    """
    for name, row in tasks.schedule.items():
        if tasks.policy(name).isolation is not status.Isolation.PROCESS:
            continue
        ref = _task_set.Ref(tasks, row)
        try:
            _check_functions([ref])
            _payload.dump(tasks, instance, None)
        except exceptions.NotPicklableError as exc:
            LOG.error(
                'Periodic task %(task)s has isolation = process, and each of '
                'its runs will fail: %(error)s',
                {'task': ref.full_name, 'error': exc},
            )


def _check_functions(refs: Sequence[_task_set.Ref]) -> None:
    """Check that worker processes can import the functions of tasks.

    :raises NotPicklableError: naming one that they cannot.
    """
    for ref in refs:
        function = ref.tasks.schedule.function(ref.row)
        listed = ref.tasks.collection.function(ref.name)
        if function is None or _task.same_function(listed, function):
            continue
        try:
            pickle.dumps(function)
        except Exception as exc:
            raise exceptions.NotPicklableError(
                f'The periodic task {ref.name!r} was added to the instance, '
                f'and its function {_task.where(function)} cannot be '
                f'imported in a worker process: {exc}'
            ) from exc


def outcome_of(
    failure: BaseException | None,
) -> tuple[status.Outcome, str | None]:
    """Return how a run counts, and its error."""
    if failure is None:
        return status.Outcome.SUCCESS, None
    outcome = _OUTCOMES.get(type(failure), status.Outcome.FAILURE)
    return outcome, _history.error_line(failure)


def log_error(full_name: str, exc: BaseException) -> None:
    """Log the error of a task, with the traceback from its process."""
    LOG.error(
        'Error during %(full_task_name)s',
        {'full_task_name': full_name},
        exc_info=(type(exc), exc, exc.__traceback__),
    )


def log_interrupted(full_name: str) -> None:
    """Log that a run ended with its driver."""
    LOG.warning(
        'Periodic task %(full_task_name)s was ended because its tick was '
        'interrupted',
        {'full_task_name': full_name},
    )


def _warn_lost_changes(ref: _task_set.Ref, changed: Sequence[str]) -> None:
    LOG.warning(
        'Periodic task %(full_task_name)s changed attributes %(attributes)s '
        'of its instance in a worker process; these changes are lost, '
        'because the task works on a copy. Logged once per task; '
        '[oslo_periodic] warn_lost_changes = false disables this warning',
        {
            'full_task_name': ref.full_name,
            'attributes': ', '.join(changed),
        },
    )
