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

It is what :mod:`oslo_service.periodic_task` of oslo.service 4.8.0 was: a
service moves by changing the import. What differs on purpose is listed in
the user guide, under "Moving from oslo.service".
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
import logging
import operator
import random
import sys
import time
from typing import Any
from typing import overload
from typing import TypeVar

from oslo_config import cfg

from oslo_periodic.declare import _collection
from oslo_periodic.core import _history
from oslo_periodic.config import _options
from oslo_periodic.core import _schedule
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _task
from oslo_periodic.compat import _views
from oslo_periodic.core import _thread_ref
from oslo_periodic import backends
from oslo_periodic.backends import base
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
_SUCCESS = status.Outcome.SUCCESS

InvalidPeriodicTaskArg = exceptions.InvalidPeriodicTaskArg
list_opts = opts.list_opts

# The reference's name for type(PeriodicTasks).
_PeriodicTasksMeta = _collection.PeriodicTasksMeta

#: The clock of all ticks. Services' tests patch it here, so it is looked up
#: whenever it is needed.
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

    The configuration overrules what is said here, for each task in its group
    ``[periodic_task:<Class>.<task>]``. ``spacing`` and ``enabled`` may also
    be the name of an option, as in ``'[group]option'``, or a callable of the
    configuration: they are looked up when the instance is made.

    :param spacing: seconds from one run to the next; 0, the default, means
        60, and a negative number disables the task.
    :param name: the name of the task; that of the function by default.
    :param enabled: False disables the task.
    :param run_immediately: True makes the task due at the first tick; else
        it is due ``spacing`` seconds after its instance was made.
    :param external_process_ok: True lets the option
        ``run_external_periodic_tasks`` say whether the task runs here.
    :param overlap: what becomes of a run that is due while the task still
        runs: ``'skip'``, the default, or ``'queue'``, which starts one when
        the task has ended.
    :param missed: what becomes of runs that were missed: ``'coalesce'``, the
        default, leaves them to the next run that is due, and ``'run_once'``
        runs the task once at once.
    :param timeout: seconds that a run may take under a
        :class:`~oslo_periodic.runner.PeriodicRunner`; 0 sets no limit.
    :param isolation: where a PeriodicRunner runs the task: ``'thread'``, the
        default, or ``'process'``, a process of the spawn pool.
    :param spread: True has the first run come after a part of the spacing
        that depends on the host and the task, and keeps that phase.
    :raises InvalidPeriodicTaskArg: if the arguments make no sense.
    """
    _task.check_arguments(kwargs)

    def decorate(function: Any) -> Any:
        _task.write(function, _task.describe(function, **kwargs), now())
        return function

    if len(args) > 1:
        raise InvalidPeriodicTaskArg(
            f'Unexpected argument for periodic task creation: {args[1]!r}; '
            'arguments go by keyword, as in spacing=30.'
        )
    return decorate(args[0]) if args else decorate


def _nearest_boundary(last_run: float | None, spacing: float) -> float:
    """Return the last point of a task's grid that is not in the future.

    The grid goes from the last run in steps of the spacing. Up to 5% of the
    spacing, in whole seconds, is added at random, so that tasks drift apart
    that started together; below 20 seconds that is nothing. The rule is
    oslo.service's.

    :param last_run: when the task ran last; None: never.
    :param spacing: seconds.
    """
    current_time = now()
    if last_run is None:
        return current_time
    jitter = int(spacing * (random.random() / 20))  # noqa: S311
    return current_time - (current_time - last_run) % spacing + jitter


class PeriodicTasks(_views.ReferenceAttributes, metaclass=_PeriodicTasksMeta):
    """The periodic tasks of a service: derive from it, decorate methods."""

    _periodic_state: _task_set.State

    def __init__(self, conf: Any) -> None:
        """Schedule the tasks of the class.

        :param conf: the service's ConfigOpts; any object will do that has
            ``register_opts`` and ``run_external_periodic_tasks``.
        :raises BackendError: if ``[oslo_periodic] backend`` cannot be had.
        :raises InvalidPeriodicTaskArg: if the configuration says something
            of a task that makes no sense.
        """
        super().__init__()
        self.conf = conf
        opts.register(conf)
        choice = _options.backend_choice(conf)
        if choice is not None:
            backends.selector.choose(choice)
        # A backend that cannot be loaded is an error now, not at a tick.
        backends.get_backend()
        self._periodic_state = _task_set.State(type(self), conf)

    def add_periodic_task(self, task: Any) -> None:
        """Add a task to this instance.

        :param task: a function that :func:`periodic_task` has decorated; it
            is called with the instance and the context. A function that was
            added before takes its new spacing.
        :raises InvalidPeriodicTaskArg: if it was not decorated, or another
            task has its name.
        """
        description = _task.read_added(task)
        if not _task.is_active(description):
            _collection.is_active(description)  # Which logs it.
        else:
            known = self._periodic_state.function(description.name)
            _collection.is_new(description, {description.name: known})
        self._periodic_state.add(self.conf, description, now())

    def periodic_state(self) -> dict[str, status.TaskState]:
        """Return what is known of each task, by name.

        It may be called at any time, from any thread.
        """
        from oslo_periodic.core import _report

        return _report.task_states(self, now())

    @classmethod
    def list_periodic_opts(cls) -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
        """List the options of each task, for oslo-config-generator.

        A service names it in an entry point of the group
        ``oslo.config.opts``, as in
        ``nova.compute.manager:ComputeManager.list_periodic_opts``.

        :returns: pairs of a group's name and its options, which have what
            the decorator says as their defaults.
        """
        from oslo_periodic.config import _sample

        return _sample.list_opts(cls)

    def run_periodic_tasks(
        self, context: Any, raise_on_error: bool = False
    ) -> float:
        """Run the tasks that are due, one after the other.

        :param context: given to each task.
        :param raise_on_error: True raises the first error of a task and
            leaves the tasks after it for the next tick; else errors are
            logged. KeyboardInterrupt, SystemExit and the kill of a green
            thread always end the tick.
        :returns: how many seconds nothing will be due, from 0 to 60.
        """
        backend = backends.selector.in_use or self._periodic_first_use()
        self._periodic_hold_external()
        schedule = self._periodic_state.schedule
        current_time = now()
        if schedule.is_due(current_time):
            self._periodic_run_due(schedule, backend, context, raise_on_error)
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

        Fork would inherit the locks that other threads hold at that moment,
        such as those of logging; spawn starts fresh processes, which are kept
        for the ticks to come. Each task works on its own copy of the instance
        and of the context, which must pickle, and what it changes there is
        lost.

        :param context: given to each task.
        :param raise_on_error: True raises the first error of a task once all
            tasks have ended, with the others in its notes; else they are
            logged.
        :param processes: how many processes at most; None means one for
            each CPU that this process may use.
        :param timeout: seconds that a task may run, 0 for no limit; None
            means ``[oslo_periodic] process_task_timeout``.
        :returns: how many seconds nothing will be due, from 0 to 60.
        :raises UnsupportedBackendError: if the backend has no process pool,
            as eventlet, or threads are monkey-patched; nothing has run then.
        :raises ValueError: if ``processes`` is less than 1 or ``timeout``
            less than 0; nothing has run then.
        :raises NotPicklableError: if the instance, the context or a task
            cannot go to a process; nothing has run then.
        :raises WorkerStartError: if no process can be had, or it cannot load
            the instance. What has not run then is still due.
        """
        pool = backends.get_backend().process_pool(processes)
        settings = _options.process_settings(self.conf, timeout)
        if backends.selector.in_use is None:
            self._periodic_first_use()
        from oslo_periodic.drivers import _parallel

        self._periodic_hold_external()
        state = self._periodic_state
        tick = _parallel.ParallelTick(self, state, context, lambda: now())
        tick.run(pool, settings, raise_on_error)
        return state.schedule.idle(now(), DEFAULT_INTERVAL)

    @staticmethod
    def _periodic_now() -> float:
        """Return the time, on the clock of the ticks."""
        return now()

    def _periodic_hold_external(self) -> None:
        state = self._periodic_state
        if state.external:
            state.hold_external(not self.conf.run_external_periodic_tasks)

    def _periodic_first_use(self) -> base.Backend:
        from oslo_periodic.config import _groups

        caller = sys._getframe(2)
        _groups.check_groups(self.conf)
        return backends.selector.use(
            f'the first tick of {type(self).__name__} at '
            f'{caller.f_code.co_filename}:{caller.f_lineno}'
        )

    def _periodic_run_due(
        self,
        schedule: _schedule.Schedule,
        backend: base.Backend,
        context: Any,
        raise_on_error: bool,
    ) -> None:
        cooperative = base.Capability.COOPERATIVE in backend.capabilities
        place = _thread_ref.Place()
        current_time = now()
        # The next one is the last, which is where a list pops.
        pending = schedule.collect(current_time)[::-1]
        while pending:
            row = pending.pop()
            if not schedule.start(row):
                continue
            self._periodic_run_task(
                row, context, current_time, place, raise_on_error
            )
            if cooperative:
                backend.sleep(0)
            current_time = now()
            # As in the reference, what becomes due during the tick runs in
            # it, if its turn is yet to come.
            for due in schedule.collect_more(current_time):
                if due > row:
                    bisect.insort(pending, due, key=operator.neg)

    def _periodic_run_task(
        self,
        row: int,
        context: Any,
        started: float,
        place: _thread_ref.Place,
        raise_on_error: bool = False,
        run: Any = None,
    ) -> None:
        """Run a task that was started, and give it back to the schedule.

        :param run: what a runner knows of this run, which makes its context
            and may have ended it.
        """
        state = self._periodic_state
        schedule, history = state.schedule, state.history
        try:
            if LOG.isEnabledFor(logging.DEBUG):
                LOG.debug(
                    'Running periodic task %(full_task_name)s',
                    {
                        'full_task_name': self._periodic_full_name(
                            schedule, row
                        )
                    },
                )
            lateness, boundary = self._periodic_begin(row, started)
            function = schedule.tasks[row]
            if function is None:
                return  # It was removed when its turn had come.
        except BaseException:
            # A runner sees to that itself, lest it tries again at once.
            if run is None:
                schedule.release(row)
            raise
        schedule.move_last_run(row, boundary)
        history.running[row] = (started, lateness, place)
        outcome, error = _SUCCESS, None
        try:
            if run is not None:
                context = run.make_context()
            function(self, context)
        except BaseException as exc:
            outcome = status.Outcome.FAILURE
            error = _history.error_line(exc)
            ends_tick = _ends_tick(exc)
            if ends_tick or not raise_on_error:
                LOG.exception(
                    'Error during %(full_task_name)s',
                    {
                        'full_task_name': self._periodic_full_name(
                            schedule, row
                        )
                    },
                )
            # Under a runner there is no tick, and nobody above.
            if run is None and (ends_tick or raise_on_error):
                raise
        finally:
            if run is not None:
                outcome, error = run.verdict(outcome, error)
            ended = now()
            del history.running[row]
            history.note_end(row, started, ended, lateness, outcome, error)
            missed = schedule.finish(row, started, ended, boundary)
            if run is None and schedule.on_change is not None:
                schedule.notify()  # A runner beside plans without this row.
            if missed:
                self._periodic_note_missed(row, ended - started, missed)

    def _periodic_begin(self, row: int, started: float) -> tuple[float, float]:
        """Return how late a run is, and what its last run becomes."""
        state = self._periodic_state
        last_run = state.schedule.last_run(row)
        spacing = state.schedule.spacing[row]
        if last_run is None:
            return 0.0, _nearest_boundary(last_run, spacing)
        lateness = started - last_run - spacing
        if state.schedule.requested and row in state.schedule.requested:
            state.schedule.requested.discard(row)
            lateness = 0.0
        elif lateness >= spacing > 0:
            late = status.Skip.LATE
            state.history.note_skipped(row, late, int(lateness / spacing))
        if row in state.steady:
            # Jitter would move the phase.
            boundary = started - (started - last_run) % abs(spacing)
        else:
            boundary = _nearest_boundary(last_run, spacing)
        return (lateness if lateness > 0 else 0.0), boundary

    def _periodic_note_missed(
        self, row: int, seconds: float, missed: int
    ) -> None:
        """Count and log what was missed by a run that took so long."""
        state = self._periodic_state
        state.history.note_skipped(row, status.Skip.OVERLAP, missed)
        _task_set.log_overrun(
            self._periodic_full_name(state.schedule, row),
            seconds,
            state.schedule.spacing[row],
            missed,
        )

    def _periodic_full_name(
        self, schedule: _schedule.Schedule, row: int
    ) -> str:
        return f'{type(self).__name__}.{schedule.names[row]}'


def _ends_tick(exc: BaseException) -> bool:
    """Say whether an exception is meant for more than the task."""
    if isinstance(exc, KeyboardInterrupt | SystemExit):
        return True
    # The kill of a green thread, under whichever backend the tick runs; it
    # can only have been raised by a greenlet that is loaded.
    greenlet = sys.modules.get('greenlet')
    return greenlet is not None and isinstance(exc, greenlet.GreenletExit)
