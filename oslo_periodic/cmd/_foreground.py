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

"""Run a PeriodicRunner in the foreground and handle signals."""

from __future__ import annotations

import logging
import os
import signal
import time

from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic.cmd import _signals
from oslo_periodic import exceptions
from oslo_periodic import periodic_task
from oslo_periodic import runner

LOG = logging.getLogger('oslo_periodic.cmd.run')

#: Written to the pipe when the runner has ended; 0 is not a signal number.
_RUNNER_ENDED = b'\0'


def run(
    tasks: periodic_task.PeriodicTasks,
    conf: cfg.ConfigOpts,
    seconds: float | None,
) -> int:
    """Run tasks until a signal, ``ctl stop`` or the end of the time.

    :param tasks: the instance whose tasks to run.
    :param conf: the configuration that SIGHUP reloads.
    :param seconds: how long to run; None means no limit.
    :returns: the exit code: 1 if the runner itself has failed, else 0.
    :raises PeriodicError: if the runner cannot start.
    """
    with _signals.pipe() as (read_fd, write_fd):
        periodic = runner.PeriodicRunner(tasks, None, conf)
        deadline = None if seconds is None else time.monotonic() + seconds
        periodic.start()
        return _MainLoop(periodic, conf, read_fd, write_fd).run(deadline)


class _MainLoop:
    """Handles signals until the runner has ended."""

    def __init__(
        self,
        periodic: runner.PeriodicRunner,
        conf: cfg.ConfigOpts,
        read_fd: int,
        write_fd: int,
    ) -> None:
        self._runner = periodic
        self._conf = conf
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._backend = backends.get_backend()
        # One worker waits for the runner, the other stops it.
        self._pool = self._backend.worker_pool(2)
        self._stopping = False
        self._ended = False

    def run(self, deadline: float | None) -> int:
        """Handle signals until the runner has ended.

        :param deadline: when to stop, on the monotonic clock.
        :returns: the exit code.
        """
        runner_end = self._pool.submit(self._await_runner)
        while not self._ended:
            timeout = None
            if deadline is not None and not self._stopping:
                timeout = deadline - time.monotonic()
                if timeout <= 0:
                    self._stop()
                    continue
            if self._backend.wait_readable(self._read_fd, timeout):
                for number in os.read(self._read_fd, 512):
                    self._on_signal(number)
        # This waits until _await_runner has written to the pipe, which the
        # caller then closes.
        error = runner_end.exception()
        if error is None:
            return 0
        LOG.error('Stopping: %(error)s', {'error': error})
        self._runner.stop(graceful=False)
        if not isinstance(error, exceptions.RunnerError):
            raise error
        return 1

    def _await_runner(self) -> None:
        try:
            self._runner.wait()
        finally:
            self._ended = True
            os.write(self._write_fd, _RUNNER_ENDED)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reload()
        elif number in _signals.HANDLED:
            name = signal.Signals(number).name
            if self._stopping:
                LOG.info(
                    'Received %s while stopping: no longer waiting for '
                    'running tasks',
                    name,
                )
                self._runner.stop(graceful=False)
            else:
                LOG.info('Received %s: stopping', name)
                self._stop()

    def _stop(self) -> None:
        """Stop gracefully, in a worker: the loop goes on handling signals."""
        self._stopping = True
        self._pool.submit(self._runner.stop)

    def _reload(self) -> None:
        try:
            self._conf.mutate_config_files()
        except (Exception, SystemExit) as exc:
            # A mutate hook of the service may raise any exception.
            LOG.error(
                'The configuration could not be reloaded: %(error)s',
                {'error': exc},
            )
        else:
            LOG.info('The configuration was reloaded')
