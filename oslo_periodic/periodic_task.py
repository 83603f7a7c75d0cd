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

"""Periodic tasks of a service: the drop-in surface.

It has the names of :mod:`oslo_service.periodic_task` of oslo.service 4.8.0: a
service moves by changing the import. Intended differences are listed in the
user guide, under "Moving from oslo.service".
"""

from __future__ import annotations

from collections.abc import Callable
import logging
import random
import sys
import time
from typing import Any
from typing import overload
from typing import TypeVar

from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic.backends import base
from oslo_periodic.compat import _attributes as _compat
from oslo_periodic.compat import _metaclass
from oslo_periodic.config import _apply
from oslo_periodic.config import _options
from oslo_periodic.core import _clock
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _attributes
from oslo_periodic.declare import _collection
from oslo_periodic.declare import _task
from oslo_periodic.drivers import _serial
from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import status

__all__ = (
    'DEFAULT_INTERVAL',
    'InvalidPeriodicTaskArg',
    'PeriodicTasks',
    'list_opts',
    'periodic_task',
)

LOG = logging.getLogger(__name__)

_Function = TypeVar('_Function', bound=Callable[..., Any])

#: Seconds; what a spacing of 0 means, and the longest that a tick idles.
DEFAULT_INTERVAL = _task.DEFAULT_INTERVAL

InvalidPeriodicTaskArg = exceptions.InvalidPeriodicTaskArg
list_opts = opts.list_opts

# The reference's name for type(PeriodicTasks).
_PeriodicTasksMeta = _metaclass.PeriodicTasksMeta

#: The time of all ticks. Tests patch it here, so every use looks it up.
now = time.monotonic


@overload
def periodic_task(function: _Function, /) -> _Function: ...


@overload
def periodic_task(
    *,
    spacing: float | str | Callable[[Any], float] = ...,
    name: str | None = ...,
    enabled: bool | str | Callable[[Any], bool] = ...,
    run_immediately: bool = ...,
    external_process_ok: bool = ...,
    overlap: str | None = ...,
    missed: str | None = ...,
    timeout: float | None = ...,
    isolation: str | None = ...,
    spread: bool | None = ...,
) -> Callable[[_Function], _Function]: ...


def periodic_task(*args: Any, **kwargs: Any) -> Any:
    """Make a function a periodic task.

    Use it bare (``@periodic_task``) or with keyword arguments
    (``@periodic_task(spacing=30)``).

    The configuration overrides these arguments, for each task in its group
    ``[periodic_task:<Class>.<task>]``. ``spacing`` and ``enabled`` may also
    be the name of an option, as in ``'[group]option'``, or a callable of the
    configuration; both are looked up when the instance is made.

    :param spacing: seconds from one run to the next; 0 means 60, and a
        negative number disables the task.
    :param name: the name of the task; by default that of the function.
    :param enabled: False disables the task.
    :param run_immediately: True makes the task due at the first tick;
        otherwise it is due ``spacing`` seconds after its instance was made.
    :param external_process_ok: True lets the option
        ``run_external_periodic_tasks`` say whether the task runs here.
    :param overlap: what happens to a run that is due while the task is
        running: ``'skip'``, the default, or ``'queue'``, which starts one run
        when the task has ended.
    :param missed: what happens to runs that were missed: ``'coalesce'``, the
        default, leaves them to the next run that is due; ``'run_once'`` runs
        the task once, at once.
    :param timeout: seconds that a run may take under a
        :class:`~oslo_periodic.runner.PeriodicRunner`; 0 sets no limit.
    :param isolation: where a PeriodicRunner runs the task: ``'thread'``, the
        default, or ``'process'``, a process of the spawn pool.
    :param spread: True delays the first run by a part of the spacing that
        depends on the host and the task, and keeps that phase.
    :raises InvalidPeriodicTaskArg: if an argument is unknown or invalid.
    """
    _task.check_arguments(kwargs)

    def decorate(function: Any) -> Any:
        task = _task.describe(function, **kwargs)
        _attributes.write(function, task, now())
        return function

    if len(args) > 1:
        raise InvalidPeriodicTaskArg(
            f'Unexpected argument for periodic task creation: {args[1]!r}; '
            'arguments go by keyword, as in spacing=30.'
        )
    return decorate(args[0]) if args else decorate


def _nearest_boundary(last_run: float | None, spacing: float) -> float:
    """Return the last point of a task's grid that is not in the future.

    Services' tests patch it, so every use looks it up.

    :param last_run: when the task ran last; None: never.
    :param spacing: seconds.
    """
    return _clock.nearest_boundary(now(), last_run, spacing, random.random)


#: The clock of all ticks.
_tick_clock = _clock.NamedClock(
    __name__,
    '_tick_clock',
    lambda: now(),
    lambda last_run, spacing: _nearest_boundary(last_run, spacing),
)


class PeriodicTasks(_compat.ReferenceAttributes, metaclass=_PeriodicTasksMeta):
    """The periodic tasks of a service: derive from it, decorate methods."""

    _periodic_state: _task_set.TaskSet

    def __init__(self, conf: Any) -> None:
        """Schedule the tasks of the class.

        :param conf: the service's ConfigOpts, or any object that has
            ``register_opts`` and ``run_external_periodic_tasks``.
        :raises BackendError: if ``[oslo_periodic] backend`` cannot be loaded.
        :raises InvalidPeriodicTaskArg: if a value for a task is invalid.
        """
        super().__init__()
        self.conf = conf
        opts.register(conf)
        choice = _options.backend_choice(conf)
        if choice is not None:
            backends.selector.choose(choice)
        # A backend that cannot be loaded is an error now, not at a tick.
        backends.get_backend()
        tasks = _task_set.TaskSet(type(self), _tick_clock)
        _apply.populate(tasks, conf)
        self._periodic_state = tasks

    def add_periodic_task(self, task: Any) -> None:
        """Add a task to this instance.

        :param task: a function decorated with :func:`periodic_task`. One that
            was added before takes its new spacing.
        :raises InvalidPeriodicTaskArg: if it is not decorated, or another
            task has its name.
        """
        description = _attributes.read_added(task)
        # An inactive task is logged, and may be enabled by configuration.
        if _collection.is_active(description):
            known = self._periodic_state.function(description.name)
            _collection.is_new(description, {description.name: known})
        _apply.add(self._periodic_state, self.conf, description)

    def periodic_state(self) -> dict[str, status.TaskState]:
        """Return the state of each task, by name; from any thread."""
        from oslo_periodic.core import _report

        return _report.task_states(self._periodic_state, now())

    @classmethod
    def list_periodic_opts(cls) -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
        """List the options of each task, for oslo-config-generator.

        An entry point of the group ``oslo.config.opts`` names this method, as
        in ``nova.compute.manager:ComputeManager.list_periodic_opts``.
        """
        from oslo_periodic.config import _sample

        return _sample.list_opts(cls)

    def run_periodic_tasks(
        self, context: Any, raise_on_error: bool = False
    ) -> float:
        """Run the tasks that are due, one after the other.

        :param context: passed to each task.
        :param raise_on_error: True raises the first error of a task and
            leaves the tasks after it to the next tick; otherwise errors are
            logged. KeyboardInterrupt, SystemExit and the kill of a green
            thread always end the tick.
        :returns: seconds until a task is due, from 0 to 60.
        """
        backend = backends.selector.in_use or self._periodic_first_use()
        tasks = self._periodic_state
        _apply.hold_external(tasks, self.conf)
        schedule = tasks.schedule
        current_time = now()
        if schedule.is_due(current_time):
            _serial.run_due(tasks, self, backend, context, raise_on_error)
            current_time = now()
        return schedule.idle(current_time, DEFAULT_INTERVAL)

    def run_periodic_tasks_in_parallel(
        self,
        context: Any,
        raise_on_error: bool = False,
        processes: int | None = None,
        timeout: float | None = None,
    ) -> float:
        """Run the tasks that are due in a pool of spawned processes.

        The processes are spawned, as a forked one would inherit locks that
        other threads hold, and are kept for later ticks. Each task works on
        its own copy of the instance and of the context, which must pickle;
        its changes to them are lost.

        :param context: passed to each task.
        :param raise_on_error: True raises the first error of a task once all
            tasks have ended, with the others in its notes; otherwise errors
            are logged.
        :param processes: the largest number of processes; None means one for
            each CPU that this process may use.
        :param timeout: seconds that a task may run, 0 for no limit; None
            means ``[oslo_periodic] process_task_timeout``.
        :returns: seconds until a task is due, from 0 to 60.
        :raises UnsupportedBackendError: if the backend has no process pool,
            as eventlet, or threads are monkey-patched.
        :raises ValueError: if ``processes`` is less than 1 or ``timeout``
            less than 0.
        :raises NotPicklableError: if the instance, the context or a task
            cannot be sent to a process; no task has run then.
        :raises WorkerStartError: if no process can be started, or it cannot
            load the instance. Tasks that did not run stay due.
        """
        pool = backends.get_backend().process_pool(processes)
        settings = _options.process_settings(self.conf, timeout)
        if backends.selector.in_use is None:
            self._periodic_first_use()
        from oslo_periodic.drivers import _parallel

        tasks = self._periodic_state
        _apply.hold_external(tasks, self.conf)
        _parallel.run_due(
            tasks, self, pool, context, *settings, raise_on_error
        )
        return tasks.schedule.idle(now(), DEFAULT_INTERVAL)

    def _periodic_first_use(self) -> base.Backend:
        from oslo_periodic.config import _groups

        caller = sys._getframe(2)
        _groups.check_groups(self.conf)
        return backends.selector.use(
            f'the first tick of {type(self).__name__} at '
            f'{caller.f_code.co_filename}:{caller.f_lineno}'
        )

    def _periodic_task_set(self) -> _task_set.TaskSet:
        return self._periodic_state

    def _periodic_replace(self, pairs: list[tuple[str, Any]]) -> None:
        _apply.replace(self._periodic_state, self.conf, pairs)
