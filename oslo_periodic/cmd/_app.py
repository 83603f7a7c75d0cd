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

import importlib.metadata

from cliff import app
from cliff import command
from cliff import commandmanager

from oslo_periodic.cmd import backends
from oslo_periodic.cmd import ctl
from oslo_periodic.cmd import ctl_status
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


class PeriodicApp(app.App):
    """The application, with its commands."""

    def __init__(self) -> None:
        manager = commandmanager.CommandManager('oslo.periodic.commands')
        for name, command_class in _COMMANDS.items():
            manager.add_command(name, command_class)
        super().__init__(
            description='Run and inspect the periodic tasks of a service.',
            version=importlib.metadata.version('oslo.periodic'),
            command_manager=manager,
            deferred_help=True,
        )
