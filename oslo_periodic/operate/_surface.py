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


"""What operators reach while a runner runs: monitor and control socket."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping

from oslo_periodic.drivers import _engine
from oslo_periodic.operate import _control
from oslo_periodic.operate import _health
from oslo_periodic.operate import _notify

#: Seconds between two health checks.
HEALTH_INTERVAL = 5.0


class Surface:
    """The monitor, the control socket, and the service manager."""

    def __init__(
        self, engine: _engine.Engine, limits: Callable[[], _health.Limits]
    ) -> None:
        """Start nothing yet.

        :param engine: the engine that is operated.
        :param limits: gives the options of the health check.
        """
        self.manager = _notify.ServiceManager()
        self.health = _health.Health(engine.dispatcher, engine.clock.now())
        self._engine = engine
        self._limits = limits
        self._control: _control.Server | None = None

    def start(
        self, path: str | None, commands: Mapping[str, _control.Command]
    ) -> None:
        """Start the monitor and the control socket.

        :param path: the path of the control socket; None: there is none.
        :param commands: the commands of the control socket.
        :raises RunnerError: if the control socket cannot be bound.
        :raises RuntimeError: if a thread cannot be started.
        """
        engine = self._engine
        if path:
            self._control = _control.Server(path, engine.backend, commands)
            engine.submit(self._control.serve, 'periodic-control')
        engine.submit(self._monitor, 'periodic-monitor')
        if engine.closed:
            # A signal handler has stopped the runner during its start.
            self.close()

    def problems(self) -> list[_health.Problem]:
        """Return why the runner is unhealthy; an empty list if it is not."""
        return self.health.problems(self._engine.clock.now(), self._limits())

    def close(self) -> None:
        """Close the control socket; further calls do nothing."""
        control, self._control = self._control, None
        if control is not None:
            control.close()

    def _monitor(self) -> None:
        watchdog = _notify.watchdog_interval()
        interval = min(HEALTH_INTERVAL, (watchdog or 60.0) / 2)
        try:
            while not self._engine.over.wait(interval):
                problems = self.problems()
                self.health.log_changes(problems)
                if watchdog and not any(p.is_fatal for p in problems):
                    self.manager.notify('WATCHDOG=1')
        except BaseException as exc:
            self._engine.fail(exc)
