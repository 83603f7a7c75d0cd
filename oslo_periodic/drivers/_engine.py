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

"""All that there is while a runner runs, from its start to its end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
import threading
import time
from typing import Any

from oslo_periodic.config import _options
from oslo_periodic.backends import base
from oslo_periodic import periodic_task
from oslo_periodic.operate import _control
from oslo_periodic.drivers import _dispatch
from oslo_periodic.operate import _health
from oslo_periodic.operate import _notify
from oslo_periodic.operate import _commands

#: Seconds between two looks at the health.
HEALTH_INTERVAL = 5.0
#: Seconds for what was killed to end, and for what was only asked to.
GRACE, ASKED_GRACE = 3.0, 1.0


class Engine:
    """The timer, the monitor, the control socket and the workers."""

    def __init__(
        self,
        instances: list[Any],
        context: Any,
        backend: base.Backend,
        settings: _options.RunnerSettings,
    ) -> None:
        """Start nothing yet.

        :param instances: of PeriodicTasks.
        :param context: given to the tasks.
        :param backend: what they run on.
        :param settings: how.
        """
        self.backend = backend
        self.settings = settings
        self.dispatcher = _dispatch.Dispatcher(
            instances,
            context,
            backend,
            settings.workers,
            lambda: periodic_task.now(),
        )
        self.manager = _notify.Manager()
        self.health = _health.Health(self.dispatcher, periodic_task.now())
        #: Set when it has stopped, or failed; and with what.
        self.over = backend.event()
        self.failure: BaseException | None = None
        #: Whether all of it was let go of.
        self.closed = False
        self._instances = instances
        self._control: _control.Server | None = None
        #: One for each call that lasts: in a shared one, what gets no thread
        #: would wait for ever behind what never ends, and nobody would know.
        self._pools: list[futures.Executor] = []
        self._lock = threading.Lock()

    def start(self, commands: dict[str, _control.Command]) -> None:
        """Start everything.

        :param commands: what the control socket can be told.
        :raises RuntimeError: if a thread cannot be started.
        :raises RunnerError: if the control socket cannot be bound.
        """
        for instance in self._instances:
            schedule = instance._periodic_state.schedule
            schedule.on_change = self.dispatcher.wake.set
        if self.settings.control_socket:
            self._control = _control.Server(
                self.settings.control_socket, self.backend, commands
            )
            self.submit(self._control.serve)
        self.submit(self._run_timer)
        self.submit(self._monitor)
        if self.closed:
            # A signal handler has stopped it meanwhile.
            self.closed = False
            self.close()

    def submit(self, call: Callable[[], Any]) -> None:
        """Do a call in a worker of its own.

        :raises RuntimeError: if there is none to be had.
        """
        pool = self.backend.worker_pool(1)
        self._pools.append(pool)
        pool.submit(call)

    def stop(self, deadline: float) -> bool:
        """Start no more runs, wait for those that run, and shut down.

        :param deadline: until when to wait, on the monotonic clock; that of
            another call that is waiting comes nearer, too.
        :returns: whether everything has ended by itself.
        """
        if not self.dispatcher.stopping:
            self.manager.notify('STOPPING=1')
        self.dispatcher.stop_starting(deadline)
        try:
            left = _commands.await_runs(self.dispatcher)
            _commands.end_runs(left, periodic_task.now())
            if left:
                killed = any(run.can_be_ended for run in left)
                still = _commands.await_runs(
                    self.dispatcher, GRACE if killed else ASKED_GRACE
                )
                _commands.leave_runs(still, periodic_task.now())
        finally:
            # Also where this is a green thread that is killed meanwhile.
            self.close()
        return not left

    def close(self) -> None:
        """Let go of everything; whoever comes first does it."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        for instance in self._instances:
            schedule = instance._periodic_state.schedule
            # Another runner may have been started meanwhile.
            if schedule.on_change == self.dispatcher.wake.set:
                schedule.on_change = None
        self.dispatcher.shut_down()
        if self._control is not None:
            self._control.close()
        for pool in self._pools:
            pool.shutdown(wait=False)
        _commands.end_idle_processes(self._instances)
        self.failure = self.failure or self.dispatcher.failure
        self.over.set()

    def reload(self, settings: _options.RunnerSettings) -> None:
        """Follow settings that may have changed."""
        self.settings = settings
        self.dispatcher.set_workers(settings.workers)
        self.dispatcher.wake.set()

    def problems(self) -> list[_health.Problem]:
        """Say what is wrong."""
        return self.health.problems(
            periodic_task.now(), self.settings.overdue_factor
        )

    def _run_timer(self) -> None:
        dispatcher = self.dispatcher
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
            self._fail(exc)

    def _monitor(self) -> None:
        watchdog = _notify.watchdog_interval()
        interval = min(HEALTH_INTERVAL, (watchdog or 60.0) / 2)
        try:
            while not self.over.wait(interval):
                problems = self.problems()
                self.health.tell(problems)
                if watchdog and not any(p.is_fatal for p in problems):
                    self.manager.notify('WATCHDOG=1')
        except BaseException as exc:
            self._fail(exc)

    def _fail(self, exc: BaseException) -> None:
        self.dispatcher.fail(exc)
        self.failure = exc
        self.over.set()


def stop_deadline(
    settings: _options.RunnerSettings,
    graceful: bool,
    timeout: float | None,
) -> float:
    """Return until when a stop waits, on the monotonic clock."""
    if timeout is None:
        timeout = settings.graceful_stop_timeout
    return time.monotonic() + (timeout if graceful else 0.0)
