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


"""Run periodic tasks so that no task waits for another.

A tick of :class:`~oslo_periodic.periodic_task.PeriodicTasks` runs the due
tasks one after the other, so each waits for the slowest before it. A
:class:`PeriodicRunner` hands each task that is due to a bounded pool of
workers of the chosen backend, and sleeps until the next is due.
"""

from __future__ import annotations

from collections.abc import Iterable
import logging
import sys
import threading
from typing import Any

from oslo_periodic.config import _groups
from oslo_periodic.config import _options
from oslo_periodic import backends
from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task
from oslo_periodic.drivers import _engine
from oslo_periodic.drivers import _execution
from oslo_periodic.operate import _commands
from oslo_periodic import status

__all__ = ('PeriodicRunner', 'cancel_event')

LOG = logging.getLogger(__name__)


def cancel_event() -> base.Event:
    """Return the event that asks the task that calls this to end.

    It is set when the run is over its timeout, or when the runner is stopped
    and does not wait any longer. A native thread cannot be ended from
    outside, so a task that may run for long looks at it now and then, or
    waits on it instead of sleeping. Outside of a runner it is never set.
    """
    run = _execution.current.get()
    if run is None:
        return backends.get_backend().event()
    return run.cancel_event()


class PeriodicRunner:
    """A timer and a bounded pool of workers for periodic tasks.

    Its methods are those of :class:`oslo_service.service.Service`. Each task
    runs in a worker of its own, so tasks of one instance run at the same
    time: what they share has to stand that. A task never overlaps itself.
    """

    def __init__(
        self, tasks: Any, context: Any = None, conf: Any = None
    ) -> None:
        """Bring tasks together; nothing runs yet.

        :param tasks: an instance of PeriodicTasks, or several.
        :param context: given to each task; if it can be called, it is, for
            each run.
        :param conf: what the options of ``[oslo_periodic]`` are read from;
            that of the first instance by default.
        :raises ValueError: if there is no instance.
        :raises RunnerError: if the configuration makes no sense.
        """
        if not isinstance(tasks, Iterable):
            tasks = [tasks]
        self._instances = list(tasks)
        if not self._instances:
            raise ValueError('a PeriodicRunner needs a PeriodicTasks instance')
        self._context = context
        self._conf = self._instances[0].conf if conf is None else conf
        opts.register(self._conf)
        self._settings = _read_settings(self._conf)
        # A signal handler may stop what it has interrupted the start of.
        self._lock = threading.RLock()
        #: What there is since the last start.
        self._engine: _engine.Engine | None = None

    # The methods of a service.

    def start(self) -> None:
        """Start the timer and the workers; after a stop, too.

        :raises RunnerError: if it runs, or cannot be started.
        :raises BackendError: if the backend cannot be had, or has no
            processes and a task needs one.
        """
        caller = sys._getframe(1)
        with self._lock:
            if self._running is not None:
                raise exceptions.RunnerError('the runner was started before')
            backend = backends.selector.use(
                'the start of a PeriodicRunner at '
                f'{caller.f_code.co_filename}:{caller.f_lineno}'
            )
            self._settings = _read_settings(self._conf)
            _commands.check_isolation(self._instances, backend)
            engine = self._engine = _engine.Engine(
                self._instances, self._context, backend, self._settings
            )
            # A stop that comes meanwhile waits for the end of this.
            try:
                engine.start(_commands.commands(self))
            except (RuntimeError, exceptions.RunnerError) as exc:
                engine.close()
                raise exceptions.RunnerError(
                    f'the runner of the periodic tasks cannot start: {exc}'
                ) from exc
        _groups.check_groups(self._conf)
        _groups.follow(self._conf, self)
        engine.manager.notify('READY=1')

    @property
    def _running(self) -> _engine.Engine | None:
        engine = self._engine
        return None if engine is None or engine.closed else engine

    def stop(
        self, graceful: bool = True, timeout: float | None = None
    ) -> bool:
        """Start no more runs, and wait for those that are running.

        What still runs at the end of the timeout is named in the log, with
        the time since when and the stack, and is ended as far as the backend
        can. What was due and had no worker stays due. A task may call this;
        its own run is not waited for.

        :param graceful: False does not wait. It may be called so while
            another call is waiting, which is over then.
        :param timeout: seconds to wait at most; None means
            ``[oslo_periodic] graceful_stop_timeout``.
        :returns: whether everything has ended by itself.
        """
        with self._lock:
            engine = self._running
        if engine is None:
            return True
        return engine.stop(
            _engine.stop_deadline(self._settings, graceful, timeout)
        )

    def wait(self) -> None:
        """Wait until the runner was stopped.

        :raises RunnerError: if the runner itself has failed, or it is a task
            of a runner that waits.
        """
        if _execution.current.get() is not None:
            raise exceptions.RunnerError(
                'a periodic task cannot wait for the end of a runner'
            )
        engine = self._engine
        if engine is None:
            return
        engine.over.wait()
        if engine.failure is not None:
            raise exceptions.RunnerError(
                'the runner of the periodic tasks has failed'
            ) from engine.failure

    def reset(self) -> None:
        """Read the options anew, as after a SIGHUP, and follow them.

        Where the configuration files were mutated, this has happened by
        itself.
        """
        for instance in self._instances:
            instance._periodic_state.reload(instance.conf)
        self.reload(self._conf)

    def reload(self, conf: Any) -> None:
        """Read the options of the runner itself anew."""
        self._settings = _options.runner_settings(conf, self._settings)
        engine = self._running
        if engine is None:
            return
        engine.reload(self._settings)
        try:
            _commands.check_isolation(self._instances, engine.backend)
        except exceptions.UnsupportedBackendError as exc:
            LOG.error('%(error)s', {'error': exc})

    # What operators do.

    def periodic_state(self) -> list[status.TaskState]:
        """Return what is known of each task of each instance."""
        return [
            state
            for instance in self._instances
            for state in instance.periodic_state().values()
        ]

    def status(self) -> dict[str, Any]:
        """Return everything that is known, in what JSON has."""
        return _commands.status(self, self._instances)

    def health(self) -> list[str]:
        """Say what is wrong: nothing, if the list is empty.

        A task is wrong that is late by more than ``[oslo_periodic]
        overdue_factor`` of its spacings; and a runner that does not run, or
        whose timer does not turn.
        """
        engine = self._running
        if engine is None:
            return ['The runner does not run']
        return [str(problem) for problem in engine.problems()]

    def explain(self, key: tuple[int, int]) -> str:
        """Say why a task does not start now; for :meth:`status`."""
        engine = self._running
        if engine is None:
            return 'the runner does not run'
        return engine.health.reason(key, periodic_task.now())

    @property
    def workers(self) -> tuple[int, int]:
        """How many workers are busy, and how many there are."""
        engine = self._running
        if engine is None:
            return 0, self._settings.workers
        return len(engine.dispatcher.runs), engine.dispatcher.workers

    def pause(self, task: str) -> list[str]:
        """Keep a task from starting, until it is resumed.

        :param task: its name, with that of its class or alone.
        :returns: the full names of what is paused.
        :raises RunnerError: if there is no such task.
        """
        return _commands.pause(self._instances, task)

    def resume(self, task: str) -> list[str]:
        """Let a task start again that was paused.

        :param task: its name, with that of its class or alone.
        :returns: the full names of what is resumed.
        :raises RunnerError: if there is no such task.
        """
        return _commands.resume(self._instances, task, periodic_task.now())

    def run(self, task: str) -> list[str]:
        """Run a task now, paused or not; its grid stays as it is.

        :param task: its name, with that of its class or alone.
        :returns: the full names of what is to run.
        :raises RunnerError: if there is no such task, it is running, or the
            runner does not run.
        """
        engine = self._running
        if engine is None or engine.dispatcher.stopping:
            raise exceptions.RunnerError('the runner does not run')
        return _commands.run(engine.dispatcher, task, periodic_task.now())

    def request_stop(self) -> None:
        """Stop, and do not wait for that."""
        engine = self._running
        if engine is not None:
            LOG.info('The runner of the periodic tasks was asked to stop')
            engine.submit(self.stop)


def _read_settings(conf: Any) -> _options.RunnerSettings:
    try:
        return _options.runner_settings(conf)
    except ValueError as exc:
        raise exceptions.RunnerError(
            f'[oslo_periodic] says something that makes no sense: {exc}'
        ) from exc
