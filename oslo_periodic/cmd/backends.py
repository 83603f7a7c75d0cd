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

from cliff import lister

from oslo_periodic import backends

_COLUMNS = (
    'Name',
    'Distribution',
    'Version',
    'Capabilities',
    'Chosen by',
    'Error',
)


class ListBackends(lister.Lister):
    """List the installed backends and show which one is the default here.

    "Chosen by" marks the backend that a service started in this environment
    uses if neither its configuration nor its code chooses one, and gives the
    reason. "Error" gives the reason why a backend cannot be loaded.
    """

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return a row for each backend."""
        choice = backends.selector.choice
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
