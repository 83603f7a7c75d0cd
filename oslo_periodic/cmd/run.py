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
from collections.abc import Callable
import functools
import signal
from typing import Any

from cliff import command
from oslo_config import cfg

from oslo_periodic import backends
from oslo_periodic.cmd import _foreground
from oslo_periodic.cmd import _logs
from oslo_periodic.cmd import _service
from oslo_periodic.cmd import _text
from oslo_periodic.cmd import errors
from oslo_periodic import exceptions
from oslo_periodic import opts
from oslo_periodic import periodic_task


class RunTasks(command.Command):
    """Run the periodic tasks of a class in the foreground.

    The command makes an instance of the class, with oslo_config.cfg.CONF as
    the only argument, and runs its tasks with a PeriodicRunner. On SIGTERM or
    SIGINT, no more tasks start, and the command waits up to [oslo_periodic]
    graceful_stop_timeout seconds for running ones. A second SIGTERM or
    SIGINT ends the wait. SIGHUP reloads the configuration files and applies
    changes of mutable options.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'target',
            metavar='MODULE:CLASS',
            help='class to run, as in nova.compute.manager:ComputeManager',
        )
        parser.add_argument(
            '--config-file',
            metavar='PATH',
            action='append',
            default=[],
            help='configuration file; may be repeated, later files take '
            'precedence',
        )
        parser.add_argument(
            '--config-dir',
            metavar='PATH',
            action='append',
            default=[],
            help='directory whose *.conf files are read after the '
            'configuration files; may be repeated',
        )
        parser.add_argument(
            '--backend',
            metavar='NAME',
            help='concurrency backend, as listed by "oslo-periodic '
            'backends"; overrides the configuration files',
        )
        _add_duration(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Run the tasks until the command is stopped."""
        cls = _service.find_class(parsed_args.target)
        if not hasattr(cls, 'run_periodic_tasks'):
            raise errors.UserError(
                f'{parsed_args.target} is not a PeriodicTasks class: it has '
                'no method run_periodic_tasks'
            )
        if parsed_args.fail and not parsed_args.once:
            raise errors.UserError('--fail needs --once')
        conf = _service.global_conf()
        _logs.register(conf)
        _service.configure(
            parsed_args.config_file, parsed_args.config_dir, conf
        )
        _logs.set_up(conf, self.app.LOG)
        if parsed_args.backend:
            _override_backend(conf, parsed_args.backend)
        run = _runnable(_service.construct(cls, conf), conf, parsed_args)
        # Load the backend now, so that a failure is reported at the start.
        backends.get_backend()
        try:
            return run()
        except exceptions.PeriodicError as exc:
            raise errors.UserError(str(exc)) from exc
        finally:
            # The first use may have replaced the backend that was loaded.
            backends.get_backend().close()


def _add_duration(parser: argparse.ArgumentParser) -> None:
    duration = parser.add_mutually_exclusive_group()
    duration.add_argument(
        '--once',
        action='store_true',
        help='run the due tasks once, one after the other, and exit',
    )
    parser.add_argument(
        '--fail',
        action='store_true',
        help='with --once, exit with code 1 if a task fails',
    )
    duration.add_argument(
        '--for',
        dest='seconds',
        metavar='SECONDS',
        type=_text.seconds,
        help='stop after this many seconds',
    )


def _runnable(
    tasks: object, conf: cfg.ConfigOpts, parsed_args: argparse.Namespace
) -> Callable[[], int]:
    """Return the function that runs an instance in the requested mode.

    :raises UserError: if the instance cannot be run in this mode.
    """
    is_ours = isinstance(tasks, periodic_task.PeriodicTasks)
    if parsed_args.fail and not is_ours:
        raise errors.UserError(
            f'{parsed_args.target} derives from the PeriodicTasks class of '
            'another library, which does not report failures: --fail cannot '
            'be used'
        )
    if parsed_args.once:
        return functools.partial(_run_once, tasks, parsed_args.fail)
    if isinstance(tasks, periodic_task.PeriodicTasks):
        return functools.partial(
            _foreground.run, tasks, conf, parsed_args.seconds
        )
    raise errors.UserError(
        f'{parsed_args.target} derives from the PeriodicTasks class of '
        'another library and can only run with --once; to run it '
        'continuously, import periodic_task from oslo_periodic'
    )


def _override_backend(conf: cfg.ConfigOpts, name: str) -> None:
    if name != backends.AUTO:
        backends.check_name(name, '--backend')
    opts.register(conf)
    conf.set_override('backend', name, opts.GROUP)


def _run_once(tasks: Any, fail: bool) -> int:
    """Make one tick; SIGTERM and SIGINT do not interrupt it.

    :param tasks: an instance of PeriodicTasks, of either library.
    :param fail: whether a failed task gives the exit code 1.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_arguments: None)
    tasks.run_periodic_tasks(None)
    if not fail:
        return 0
    return int(any(s.failures for s in tasks.periodic_state().values()))
