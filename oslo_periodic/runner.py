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

from collections.abc import Callable
from collections.abc import Iterable
from concurrent import futures
import logging
import sys
import threading
import time
from typing import Any

from oslo_periodic import _config
from oslo_periodic import backends
from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task
from oslo_periodic.running import _control
from oslo_periodic.running import _dispatch
from oslo_periodic.running import _execution
from oslo_periodic.running import _health
from oslo_periodic.running import _notify
from oslo_periodic.running import _operate
from oslo_periodic import status

__all__ = ('PeriodicRunner', 'cancel_event')

LOG = logging.getLogger(__name__)

#: Seconds between two looks at the health.
_HEALTH_INTERVAL = 5.0
#: Seconds for what was killed to end.
_GRACE = 3.0


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
        self._lock = threading.Lock()
        #: What there is while it runs.
        self._dispatcher: _dispatch.Dispatcher | None = None
        self._health: _health.Health | None = None
        self._control: _control.Server | None = None
        #: A worker each for the timer, the monitor and the control socket.
        self._pools: list[futures.Executor] = []
        #: Set when it has stopped, or failed.
        self._over: base.Event | None = None
        self._failure: BaseException | None = None

    # The methods of a service.

    def start(self) -> None:
        """Start the timer and the workers; after a stop, too.

        :raises RunnerError: if it runs, or cannot be started.
        :raises BackendError: if the backend cannot be had, or has no
            processes and a task needs one.
        """
        caller = sys._getframe(1)
        with self._lock:
            if self._dispatcher is not None:
                raise exceptions.RunnerError('the runner was started before')
            backend = backends.selector.use(
                'the start of a PeriodicRunner at '
                f'{caller.f_code.co_filename}:{caller.f_lineno}'
            )
            self._settings = _read_settings(self._conf)
            _operate.check_isolation(self._instances, backend)
            dispatcher = self._prepare(backend)
        try:
            self._start(dispatcher, backend)
        except (RuntimeError, exceptions.RunnerError) as exc:
            self._shut_down(dispatcher)
            raise exceptions.RunnerError(
                f'the runner of the periodic tasks cannot start: {exc}'
            ) from exc
        _config.check_groups(self._conf)
        _config.follow(self._conf, self)
        _notify.notify('READY=1')

    def _prepare(self, backend: base.Backend) -> _dispatch.Dispatcher:
        self._over, self._failure = backend.event(), None
        self._dispatcher = _dispatch.Dispatcher(
            self._instances,
            self._context,
            backend,
            self._settings.workers,
            lambda: periodic_task.now(),
        )
        self._health = _health.Health(self._dispatcher, periodic_task.now())
        return self._dispatcher

    def _start(
        self, dispatcher: _dispatch.Dispatcher, backend: base.Backend
    ) -> None:
        for instance in self._instances:
            schedule = instance._periodic_state.schedule
            schedule.on_change = dispatcher.wake.set
        if self._settings.control_socket:
            self._control = _control.Server(
                self._settings.control_socket, backend, _operate.commands(self)
            )
            self._submit(backend, self._control.serve)
        self._submit(backend, self._run_timer, dispatcher, self._over)
        self._submit(
            backend, self._monitor, dispatcher, self._health, self._over
        )

    def _submit(
        self, backend: base.Backend, call: Callable[..., Any], *args: Any
    ) -> None:
        # One pool for each: in a shared one, what gets no thread would wait
        # for ever behind what never ends, and nobody would know.
        pool = backend.worker_pool(1)
        self._pools.append(pool)
        pool.submit(call, *args)

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
        dispatcher = self._dispatcher
        if dispatcher is None:
            return True
        if timeout is None:
            timeout = self._settings.graceful_stop_timeout
        if not dispatcher.stopping:
            _notify.notify('STOPPING=1')
        dispatcher.stop_starting(
            time.monotonic() + (timeout if graceful else 0)
        )
        try:
            left = _operate.await_runs(dispatcher)
            _operate.end_runs(left, periodic_task.now())
            if left:
                still = _operate.await_runs(dispatcher, _GRACE)
                _operate.leave_runs(still, periodic_task.now())
        finally:
            # Also where this is a green thread that is killed meanwhile.
            self._shut_down(dispatcher)
        return not left

    def wait(self) -> None:
        """Wait until the runner was stopped.

        :raises RunnerError: if the runner itself has failed, or it is a task
            of a runner that waits.
        """
        if _execution.current.get() is not None:
            raise exceptions.RunnerError(
                'a periodic task cannot wait for the end of a runner'
            )
        if self._over is not None:
            self._over.wait()
        if self._failure is not None:
            raise exceptions.RunnerError(
                'the runner of the periodic tasks has failed'
            ) from self._failure

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
        self._settings = opts.runner_settings(conf, self._settings)
        dispatcher = self._dispatcher
        if dispatcher is None:
            return
        dispatcher.set_workers(self._settings.workers)
        dispatcher.wake.set()
        try:
            _operate.check_isolation(self._instances, backends.get_backend())
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
        return _operate.status(self, self._instances)

    def health(self) -> list[str]:
        """Say what is wrong: nothing, if the list is empty.

        A task is wrong that is late by more than ``[oslo_periodic]
        overdue_factor`` of its spacings; and a runner that does not run, or
        whose timer does not turn.
        """
        if self._dispatcher is None or self._health is None:
            return ['The runner does not run']
        return [str(problem) for problem in self._problems(self._health)]

    def explain(self, key: tuple[int, int]) -> str:
        """Say why a task does not start now; for :meth:`status`."""
        if self._dispatcher is None or self._health is None:
            return 'the runner does not run'
        return self._health.reason(key, periodic_task.now())

    @property
    def workers(self) -> tuple[int, int]:
        """How many workers are busy, and how many there are."""
        dispatcher = self._dispatcher
        if dispatcher is None:
            return 0, self._settings.workers
        return len(dispatcher.runs), dispatcher.workers

    def pause(self, task: str) -> list[str]:
        """Keep a task from starting, until it is resumed.

        :param task: its name, with that of its class or alone.
        :returns: the full names of what is paused.
        :raises RunnerError: if there is no such task.
        """
        return _operate.pause(self._instances, task)

    def resume(self, task: str) -> list[str]:
        """Let a task start again that was paused.

        :param task: its name, with that of its class or alone.
        :returns: the full names of what is resumed.
        :raises RunnerError: if there is no such task.
        """
        return _operate.resume(self._instances, task, periodic_task.now())

    def run(self, task: str) -> list[str]:
        """Run a task now, paused or not; its grid stays as it is.

        :param task: its name, with that of its class or alone.
        :returns: the full names of what is to run.
        :raises RunnerError: if there is no such task, it is running, or the
            runner does not run.
        """
        dispatcher = self._dispatcher
        if dispatcher is None or dispatcher.stopping:
            raise exceptions.RunnerError('the runner does not run')
        return _operate.run(dispatcher, task, periodic_task.now())

    def request_stop(self) -> None:
        """Stop, and do not wait for that."""
        if self._dispatcher is not None:
            self._submit(backends.get_backend(), self.stop)

    # What goes on inside.

    def _run_timer(
        self, dispatcher: _dispatch.Dispatcher, over: base.Event
    ) -> None:
        try:
            # While it stops, too, as runs may be over their timeouts then.
            while not dispatcher.closed:
                dispatcher.wake.clear()
                dispatcher.turn()
                idle = dispatcher.planned - periodic_task.now()
                # The end may have come before the flag was cleared.
                if idle > 0 and not dispatcher.closed:
                    dispatcher.wake.wait(idle)
        except BaseException as exc:
            self._fail(dispatcher, over, exc)

    def _monitor(
        self,
        dispatcher: _dispatch.Dispatcher,
        health: _health.Health,
        over: base.Event,
    ) -> None:
        watchdog = _notify.watchdog_interval()
        interval = min(_HEALTH_INTERVAL, (watchdog or 60.0) / 2)
        try:
            while not over.wait(interval):
                problems = self._problems(health)
                health.tell(problems)
                if watchdog and not any(p.is_fatal for p in problems):
                    _notify.notify('WATCHDOG=1')
        except BaseException as exc:
            self._fail(dispatcher, over, exc)

    def _problems(self, health: _health.Health) -> list[_health.Problem]:
        return health.problems(
            periodic_task.now(), self._settings.overdue_factor
        )

    def _fail(
        self,
        dispatcher: _dispatch.Dispatcher,
        over: base.Event,
        exc: BaseException,
    ) -> None:
        dispatcher.fail(exc)
        self._failure = exc
        over.set()

    def _shut_down(self, dispatcher: _dispatch.Dispatcher) -> None:
        """Let go of everything; whoever comes first does it."""
        with self._lock:
            if self._dispatcher is not dispatcher:
                return
            self._dispatcher = None
            control, self._control = self._control, None
            pools, self._pools = self._pools, []
            self._failure = self._failure or dispatcher.failure
        for instance in self._instances:
            instance._periodic_state.schedule.on_change = None
        dispatcher.shut_down()
        if control is not None:
            control.close()
        for pool in pools:
            pool.shutdown(wait=False)
        _operate.end_idle_processes(self._instances)
        if self._over is not None:
            self._over.set()


def _read_settings(conf: Any) -> opts.RunnerSettings:
    try:
        return opts.runner_settings(conf)
    except ValueError as exc:
        raise exceptions.RunnerError(
            f'[oslo_periodic] says something that makes no sense: {exc}'
        ) from exc
