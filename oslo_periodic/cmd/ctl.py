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

"""The commands ``oslo-periodic ctl``, except ``ctl status``."""

from __future__ import annotations

import argparse
import sys

from cliff import command

from oslo_periodic.cmd import _client
from oslo_periodic.cmd import _targets
from oslo_periodic.cmd import _text

TASK_HELP = 'name of the task, with or without its class'


def report_failures(failed: list[str]) -> int:
    """Print the errors of processes, and return the exit code."""
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


class _CtlCommand(command.Command):
    """A command that is sent to the control sockets of a service."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments that name the sockets."""
        parser = super().get_parser(prog_name)
        _targets.add_arguments(parser)
        return parser

    def say(self, label: str, text: str) -> None:
        """Print a line about a process."""
        print(_text.clean(f'{label}: {text}' if label else text))


class CtlHealth(_CtlCommand):
    """Check the health of the periodic tasks of a running service.

    The exit code is 0 if they are healthy. It is 1 if they are unhealthy or
    the service does not answer; of several processes, if one is unhealthy or
    does not answer. Use the command as a probe of a container or of a service
    manager.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print the problems and return the exit code."""
        answers = _targets.call(parsed_args, 'health', expect=dict)
        healthy = True
        for path, label, health in answers.succeeded:
            with _client.protocol_of(path):
                problems = [str(problem) for problem in health['problems']]
                healthy = healthy and bool(health['healthy'])
            for problem in problems:
                self.say(label, f'Unhealthy: {problem}')
        code = report_failures(answers.failed)
        if healthy and not code:
            print('Periodic tasks are healthy')
        return code if healthy else 1


class _CtlTaskCommand(_CtlCommand):
    """A command that applies to one task."""

    #: The name of the command in the control protocol.
    protocol_command: str
    #: What is printed after the name of the task.
    result: str
    #: What is printed if the command had no effect.
    no_result = 'is unchanged'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument('task', metavar='TASK', help=TASK_HELP)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Send the command and print the names of the tasks it affects."""
        answers = _targets.call(
            parsed_args,
            self.protocol_command,
            parsed_args.task,
            expect=list,
        )
        for _path, label, names in answers.succeeded:
            for name in names:
                self.say(label, f'{name} {self.result}')
            if not names:
                self.say(label, f'{parsed_args.task} {self.no_result}')
        return report_failures(answers.failed)


class CtlPause(_CtlTaskCommand):
    """Pause a periodic task until it is resumed or the service restarts.

    A run in progress continues.
    """

    protocol_command, result = 'pause', 'is paused'


class CtlResume(_CtlTaskCommand):
    """Resume a paused periodic task."""

    protocol_command, result = 'resume', 'is resumed'
    no_result = 'is not paused'


class CtlRun(_CtlTaskCommand):
    """Run a periodic task now, even if it is paused.

    The schedule of the task does not change.
    """

    protocol_command, result = 'run', 'will run as soon as a worker is free'


class CtlStop(_CtlCommand):
    """Stop the periodic tasks of a running service.

    No more tasks start. Tasks that are running have [oslo_periodic]
    graceful_stop_timeout seconds to end; the command does not wait for them.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Send the command."""
        answers = _targets.call(parsed_args, 'stop', expect=object)
        for _path, label, _result in answers.succeeded:
            self.say(label, 'The runner is stopping')
        return report_failures(answers.failed)
