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

"""The cliff application behind the command ``oslo-periodic``."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import sys
from typing import Any

from cliff import app
from cliff import command
from cliff import commandmanager

from oslo_periodic.cmd import _text
from oslo_periodic.cmd import backends
from oslo_periodic.cmd import ctl
from oslo_periodic.cmd import ctl_status
from oslo_periodic.cmd import errors
from oslo_periodic.cmd import list_tasks
from oslo_periodic.cmd import run


_COMMANDS: dict[str, type[command.Command]] = {
    'backends': backends.ListBackends,
    'list': list_tasks.ListTasks,
    'run': run.RunTasks,
    'ctl status': ctl_status.CtlStatus,
    'ctl health': ctl.CtlHealth,
    'ctl pause': ctl.CtlPause,
    'ctl resume': ctl.CtlResume,
    'ctl run': ctl.CtlRun,
    'ctl stop': ctl.CtlStop,
}


_NEED_BACKEND = (list_tasks.ListTasks, run.RunTasks)


class PeriodicApp(app.App):
    """The application, with its commands."""

    #: Also for ``python -m oslo_periodic``.
    NAME = 'oslo-periodic'
    #: Not a parent of other loggers: user errors stay one line.
    LOG = logging.getLogger(NAME)

    def __init__(self, wrong_backend: Exception | None = None) -> None:
        """Describe the application.

        :param wrong_backend: the error if the environment names a backend
            that cannot be chosen.
        """
        self._wrong_backend = wrong_backend
        manager = commandmanager.CommandManager('oslo.periodic.commands')
        for name, command_class in _COMMANDS.items():
            manager.add_command(name, command_class)
        super().__init__(
            description='Run and inspect the periodic tasks of a service.',
            version=importlib.metadata.version('oslo.periodic'),
            command_manager=manager,
            deferred_help=True,
        )

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """Name the command in its usage."""
        return super().build_option_parser(
            description,
            version,
            {'prog': self.NAME, **(argparse_kwargs or {})},
        )

    def initialize_app(self, argv: list[str]) -> None:
        """Print the help if there is no command, instead of a shell."""
        if not argv:
            self.options.deferred_help = True

    def prepare_to_run_command(self, cmd: command.Command) -> None:
        """Report a wrong backend, to commands that need the backend."""
        if self._wrong_backend is None:
            return
        text = str(self._wrong_backend)
        if not isinstance(cmd, backends.ListBackends):
            if isinstance(cmd, _NEED_BACKEND):
                raise errors.UserError(text)
            return
        print(_text.clean(text), file=sys.stderr)
