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

"""``oslo-periodic backends``."""

from __future__ import annotations

import argparse

from oslo_periodic import backends
from oslo_periodic.cmd import _service
from oslo_periodic.cmd import _tables
from oslo_periodic.cmd import errors
from oslo_periodic.config import _options
from oslo_periodic import exceptions
from oslo_periodic import opts

_COLUMNS = (
    'Name',
    'Distribution',
    'Version',
    'Capabilities',
    'Chosen by',
    'Error',
)


class ListBackends(_tables.Table):
    """List the installed backends and show which one is the default here.

    "Chosen by" marks the backend that a service started in this environment
    uses if its code chooses none, and gives the reason; --config-file adds the
    configuration of the service. "Error" gives the reason why a backend
    cannot be loaded.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--config-file',
            metavar='PATH',
            action='append',
            default=[],
            help='configuration file of a service, which may choose the '
            'backend; may be repeated, later files take precedence',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return a row for each backend."""
        choice = backends.selector.choice
        if parsed_args.config_file:
            choice = _choice(parsed_args.config_file)
        rows: list[tuple[str, ...]] = []
        for info in backends.available_backends():
            capabilities = sorted(
                item.value for item in info.capabilities or ()
            )
            rows.append(
                (
                    info.name,
                    info.distribution,
                    info.version,
                    ', '.join(capabilities),
                    choice.chosen_by if info.name == choice.name else '',
                    info.error or '',
                )
            )
        return _COLUMNS, rows


def _choice(files: list[str]) -> backends.Choice:
    """Return the choice of a service that reads these files."""
    conf = _service.configure(files)
    opts.register(conf)
    try:
        choice = _options.backend_choice(conf)
        if choice is None:
            return backends.selector.choice
        backends.check_name(choice.name, choice.chosen_by)
    except exceptions.PeriodicError as exc:
        raise errors.UserError(str(exc)) from exc
    return choice
