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
import signal
from typing import Any

from cliff import command
from oslo_periodic import backends
from oslo_periodic.cmd import _foreground
from oslo_periodic.cmd import _service
from oslo_periodic.cmd import errors
from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task


class Run(command.Command):
    """Run the periodic tasks of a class in the foreground.

    The class is made with a ConfigOpts alone, and a PeriodicRunner runs it.
    SIGTERM and SIGINT end it: tasks that run may end, for as long as
    graceful_stop_timeout says, and a second signal does not wait. SIGHUP
    reads the configuration files again, and options that are mutable follow
    them.
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
            '--once',
            action='store_true',
            help='run what is due, one task after the other, and end',
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
        if not parsed_args.once and not isinstance(
            tasks, periodic_task.PeriodicTasks
        ):
            raise errors.UserError(
                f'{parsed_args.target} derives from the PeriodicTasks of '
                'another library, which can only be run with --once: import '
                'periodic_task from oslo_periodic'
            )
        # A backend that cannot be loaded is an error now, not at a tick.
        backends.get_backend()
        try:
            if parsed_args.once:
                return _once(tasks)
            return _foreground.run(tasks, conf, parsed_args.seconds)
        except exceptions.PeriodicError as exc:
            raise errors.UserError(str(exc)) from exc
        finally:
            backends.get_backend().close()


def _once(tasks: Any) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        # The tick itself is not interrupted: a task that runs is waited for.
        signal.signal(number, lambda *_arguments: None)
    tasks.run_periodic_tasks(None)
    return 0


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 <= seconds < float('inf'):
            return seconds
    raise argparse.ArgumentTypeError(f'{text!r} is no number of seconds')
