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

"""``oslo-periodic run``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import time
from typing import Any

from cliff import command
from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic.cmd import _service
from oslo_periodic.cmd import errors
from oslo_periodic import opts

LOG = logging.getLogger(__name__)

#: Seconds, at most, from a signal to what follows from it.
_SLICE = 0.25


class Run(command.Command):
    """Run the periodic tasks of a class in the foreground.

    The class is made with a ConfigOpts alone. SIGTERM and SIGINT end it:
    a task that runs is waited for. SIGHUP reads the configuration files
    again.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add what the command takes."""
        parser = super().get_parser(prog_name)
        parser.add_argument('target', metavar='MODULE:CLASS')
        parser.add_argument(
            '--config-file',
            metavar='PATH',
            action='append',
            default=[],
            help='a configuration file; may be repeated, later ones win',
        )
        parser.add_argument(
            '--backend', metavar='NAME', help='the backend to run on'
        )
        length = parser.add_mutually_exclusive_group()
        length.add_argument(
            '--once', action='store_true', help='end after one tick'
        )
        length.add_argument(
            '--for',
            dest='seconds',
            metavar='SECONDS',
            type=_seconds,
            help='end after so many seconds',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Run the tasks until told to end."""
        cls: Any = _service.find_class(parsed_args.target)
        conf = _service.configure(parsed_args.config_file)
        if parsed_args.backend:
            if parsed_args.backend != backends.AUTO:
                backends.check_name(parsed_args.backend, '--backend')
            opts.register(conf)
            conf.set_override('backend', parsed_args.backend, opts.GROUP)
        tasks = _service.construct(cls, conf)
        if not hasattr(tasks, 'run_periodic_tasks'):
            raise errors.UserError(
                f'{parsed_args.target} is not a PeriodicTasks: it has no '
                'run_periodic_tasks'
            )
        # A backend that cannot be loaded is an error now, not at a tick.
        backends.get_backend()
        seconds = 0 if parsed_args.once else parsed_args.seconds
        _Loop(tasks, conf).run(seconds)
        backends.get_backend().close()
        return 0


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 <= seconds < float('inf'):
            return seconds
    raise argparse.ArgumentTypeError(f'{text!r} is no number of seconds')


class _Loop:
    """Ticks until a signal or the end of its time."""

    def __init__(self, tasks: Any, conf: cfg.ConfigOpts) -> None:
        self._tasks = tasks
        self._conf = conf
        self._ending = False
        self._reload = False

    def run(self, seconds: float | None) -> None:
        """Tick for so many seconds, or until a signal comes."""
        end = None if seconds is None else time.monotonic() + seconds
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        while not self._ending:
            if self._reload:
                self._reload = False
                self._reload_configuration()
            idle = self._tasks.run_periodic_tasks(None)
            if end is not None:
                left = end - time.monotonic()
                if left <= 0:
                    break
                idle = min(idle, left)
            self._sleep(idle)

    def _sleep(self, seconds: float) -> None:
        """Sleep, in slices, until there is something to do.

        A handler may run in whichever green thread is current, so it must
        not raise; and what it sets wakes no hub.
        """
        end = time.monotonic() + seconds
        while not (self._ending or self._reload):
            left = end - time.monotonic()
            if left <= 0:
                return
            backends.get_backend().sleep(min(left, _SLICE))

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            self._reload = True
        else:
            self._ending = True
            LOG.info('Ending because of %s', signal.Signals(number).name)

    def _reload_configuration(self) -> None:
        # It logs what is wrong with the files.
        if self._conf.reload_config_files():
            LOG.info('The configuration was read again')
        else:
            LOG.error('The configuration stays as it was')
