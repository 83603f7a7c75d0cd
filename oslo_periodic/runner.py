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
workers of the chosen backend, and sleeps until the next one is due.
"""

from __future__ import annotations

from collections.abc import Iterable
import os
import sys
import threading
import time
from typing import Any
import weakref

from oslo_periodic import _log
from oslo_periodic import backends
from oslo_periodic.backends import base
from oslo_periodic.config import _apply
from oslo_periodic.config import _groups
from oslo_periodic.config import _options
from oslo_periodic.config import _reload
from oslo_periodic.core import _task_set
from oslo_periodic.drivers import _engine
from oslo_periodic.drivers import _execution
from oslo_periodic import exceptions
from oslo_periodic.operate import _commands
from oslo_periodic.operate import _operations
from oslo_periodic.operate import _surface
from oslo_periodic import opts

__all__ = ('PeriodicRunner', 'cancel_event')

LOG = _log.get_logger(__name__)


def cancel_event() -> base.Event:
    """Return the event that asks the calling task to end.

    It is set when the run exceeds its timeout, or when the runner is stopped
    and does not wait any longer. A native thread cannot be killed, so a task
    that may run for long checks the event now and then, or waits on it instead
    of sleeping. Outside a runner it is never set.
    """
    run = _execution.current.get()
    if run is None:
        return backends.get_backend().event()
    return run.cancel_event()


class PeriodicRunner(_operations.Operations):
    """A timer and a bounded pool of workers for periodic tasks.

    Its methods are those of :class:`oslo_service.service.Service`. Each task
    runs in a worker of its own, so tasks of one instance run at the same time:
    their shared data has to allow that. A task never overlaps itself.
    """

    def __init__(
        self,
        tasks: Any,
        context: Any = None,
        conf: Any = None,
    ) -> None:
        """Describe the runner; nothing runs yet.

        :param tasks: an instance of PeriodicTasks, or several.
        :param context: passed to each task; a callable is called for each
            run.
        :param conf: the source of the options of ``[oslo_periodic]``; by
            default that of the first instance.
        :raises ValueError: if there is no instance.
        :raises RunnerError: if the configuration is invalid.
        """
        super().__init__()
        if not isinstance(tasks, Iterable):
            tasks = [tasks]
        self._instances = list(tasks)
        if not self._instances:
            raise ValueError('a PeriodicRunner needs a PeriodicTasks instance')
        self._context = context
        self._conf = self._instances[0].conf if conf is None else conf
        opts.register(self._conf)
        self._settings = _read_settings(self._conf)
        _runners.add(self)
        # Reentrant: a signal handler may stop a runner that is starting.
        self._lock = threading.RLock()

    @property
    def _task_sets(self) -> list[_task_set.TaskSet]:
        return [instance._periodic_state for instance in self._instances]

    @property
    def _configured_workers(self) -> int:
        return self._settings.workers

    @property
    def _backend_name(self) -> str:
        return backends.get_backend().name

    # The methods of a service.

    def start(self) -> None:
        """Start the timer and the workers; after a stop, too.

        :raises RunnerError: if the runner is running, or cannot start.
        :raises BackendError: if the backend cannot be loaded, or has no
            processes and a task needs one.
        """
        caller = sys._getframe(1)
        with self._lock:
            if self._running is not None:
                raise exceptions.RunnerError('the runner is already started')
            backend = backends.selector.use(
                'the start of a PeriodicRunner at '
                f'{caller.f_code.co_filename}:{caller.f_lineno}'
            )
            self._settings = _read_settings(self._conf)
            _engine.check_isolation(self._task_sets, backend)
            surface = self._start(backend)
        _groups.check_groups(self._conf)
        _groups.follow(self._conf, self, PeriodicRunner.reload)
        surface.manager.notify('READY=1')

    def _start(self, backend: base.Backend) -> _surface.Surface:
        engine = _engine.Engine(
            [_member(instance) for instance in self._instances],
            self._context,
            backend,
            self._settings.workers,
        )
        surface = _surface.Surface(engine, lambda: self._settings)
        self._engine, self._surface = engine, surface
        try:
            surface.start(
                self._settings.control_socket, _commands.commands(self)
            )
            engine.start()
        except (OSError, RuntimeError, exceptions.RunnerError) as exc:
            _close(engine, surface)
            raise exceptions.RunnerError(
                f'the periodic task runner cannot start: {exc}'
            ) from exc
        return surface

    def stop(
        self, graceful: bool = True, timeout: float | None = None
    ) -> bool:
        """Start no more runs, and wait for those that are running.

        Runs that have not ended at the timeout are logged, with their
        duration and stack, and are ended as far as the backend can. Tasks that
        were due and had no worker stay due. A task may call this; its own run
        is not waited for.

        :param graceful: False does not wait. Such a call also ends the wait
            of another one.
        :param timeout: seconds to wait at most; None means
            ``[oslo_periodic] graceful_stop_timeout``.
        :returns: whether all runs have ended on their own.
        """
        with self._lock:
            engine, surface = self._running, self._surface
        if engine is None or surface is None:
            return True
        if timeout is None:
            timeout = self._settings.graceful_stop_timeout
        if not engine.dispatcher.stopping:
            surface.manager.notify('STOPPING=1')
        try:
            return engine.stop(time.monotonic() + (timeout if graceful else 0))
        finally:
            # Also where this green thread is killed meanwhile.
            _close(engine, surface)

    def wait(self) -> None:
        """Wait until the runner was stopped.

        :raises RunnerError: if the runner itself has failed, or a task of a
            runner calls this.
        """
        if _execution.current.get() is not None:
            raise exceptions.RunnerError(
                'a periodic task cannot wait for a runner to end'
            )
        engine = self._engine
        if engine is None:
            return
        engine.over.wait()
        if engine.failure is not None:
            raise exceptions.RunnerError(
                'the periodic task runner has failed'
            ) from engine.failure

    def reset(self) -> None:
        """Read the options again, as after a SIGHUP, and apply changes.

        ``mutate_config_files`` does this on its own.
        """
        for instance in self._instances:
            _reload.reload(instance._periodic_state, instance.conf)
        self.reload(self._conf)

    def reload(self, conf: Any) -> None:
        """Read the options of the runner itself again."""
        self._settings = _options.runner_settings(conf, self._settings)
        engine = self._running
        if engine is None:
            return
        engine.dispatcher.set_workers(self._settings.workers)
        engine.dispatcher.wake.set()
        try:
            _engine.check_isolation(self._task_sets, engine.backend)
        except exceptions.UnsupportedBackendError as exc:
            LOG.error('%(error)s', {'error': exc})
        else:
            self._log_unpicklable()

    def _log_unpicklable(self) -> None:
        for instance in self._instances:
            tasks = instance._periodic_state
            if _engine.needs_process(tasks) is not None:
                from oslo_periodic.drivers import _processes

                _processes.log_unpicklable(tasks, instance)

    def request_stop(self) -> None:
        """Stop, without waiting for it."""
        engine = self._running
        if engine is not None:
            _commands.log_stop()
            engine.submit(self.stop, 'periodic-stop')


def _member(instance: Any) -> _execution.Member:
    tasks = instance._periodic_state
    return _execution.Member(
        tasks,
        instance,
        _apply.ExternalGate(tasks, instance),
        lambda timeout: _options.process_settings(instance.conf, timeout),
    )


def _close(engine: _engine.Engine, surface: _surface.Surface) -> None:
    surface.close()
    engine.close()


def _read_settings(conf: Any) -> _options.RunnerSettings:
    try:
        return _options.runner_settings(conf)
    except ValueError as exc:
        raise exceptions.RunnerError(
            f'invalid value in [oslo_periodic]: {exc}'
        ) from exc


#: The runners of this process.
_runners: weakref.WeakSet[PeriodicRunner] = weakref.WeakSet()


def _after_fork() -> None:
    """Drop, in a forked child, everything that runs in the parent."""
    for runner in list(_runners):
        runner._lock = threading.RLock()
        if runner._running is not None:
            runner._running.after_fork()


os.register_at_fork(after_in_child=_after_fork)
