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


"""Run a PeriodicRunner in the foreground, and obey signals."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import logging
import os
import signal
import time
from typing import Any

from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic import exceptions
from oslo_periodic import runner

LOG = logging.getLogger('oslo_periodic.cmd.run')

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: What wakes the loop beside signals, whose numbers are the other bytes.
_WAKE = b'\0'


def run(tasks: Any, conf: cfg.ConfigOpts, seconds: float | None) -> int:
    """Run until a signal, the end of the time, or ``ctl stop``.

    :param tasks: the instance of PeriodicTasks.
    :param conf: what SIGHUP reads anew.
    :param seconds: how long at most; None is for ever.
    :returns: the exit code: 1 if the runner itself has failed.
    :raises PeriodicError: if it cannot be started.
    """
    with _signals() as (read, write):
        periodic = runner.PeriodicRunner(tasks, None, conf)
        end = None if seconds is None else time.monotonic() + seconds
        periodic.start()
        return _Loop(periodic, conf, read, write).run(end)


@contextlib.contextmanager
def _signals() -> Iterator[tuple[int, int]]:
    """Have signals written to a pipe.

    A handler may run in whichever green thread is current, so it must not
    raise; and what it sets wakes no hub. A descriptor does.
    """
    read, write = os.pipe()
    for fd in (read, write):
        os.set_blocking(fd, False)
    handlers = {
        number: signal.signal(number, lambda *_arguments: None)
        for number in _SIGNALS
    }
    woken = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield read, write
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)


class _Loop:
    """Waits for the end of a runner, in one way or another."""

    def __init__(
        self,
        periodic: runner.PeriodicRunner,
        conf: cfg.ConfigOpts,
        read: int,
        write: int,
    ) -> None:
        self._runner = periodic
        self._conf = conf
        self._read = read
        self._write = write
        self._backend = backends.get_backend()
        self._pool = self._backend.worker_pool(2)
        self._stopping = False
        self._over = False

    def run(self, end: float | None) -> int:
        """Wait, and obey signals.

        :param end: when to stop, on the monotonic clock.
        :returns: the exit code.
        """
        # It writes before it is done, so the pipe is there until then.
        waiting = self._pool.submit(self._await_runner)
        while not self._over:
            timeout = None
            if end is not None and not self._stopping:
                timeout = end - time.monotonic()
                if timeout <= 0:
                    self._stop()
                    continue
            if self._backend.wait_readable(self._read, timeout):
                for number in os.read(self._read, 512):
                    self._on_signal(number)
        error = waiting.exception()
        if error is None:
            return 0
        LOG.error('Ending because %(error)s', {'error': error})
        self._runner.stop(graceful=False)
        if not isinstance(error, exceptions.RunnerError):
            raise error
        return 1

    def _await_runner(self) -> None:
        try:
            self._runner.wait()
        finally:
            self._over = True
            os.write(self._write, _WAKE)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reload()
        elif number in _SIGNALS:
            name = signal.Signals(number).name
            if self._stopping:
                LOG.info('Ending at once because of another %s', name)
                self._runner.stop(graceful=False)
            else:
                LOG.info('Ending because of %s', name)
                self._stop()

    def _stop(self) -> None:
        """Stop gracefully, while further signals are obeyed."""
        self._stopping = True
        self._pool.submit(self._runner.stop)

    def _reload(self) -> None:
        try:
            self._conf.mutate_config_files()
        except (Exception, SystemExit) as exc:
            # Also what a hook of the service raises.
            LOG.error(
                'The configuration cannot be read again, and stays as it '
                'was: %(error)s',
                {'error': exc},
            )
        else:
            LOG.info('The configuration was read again')
