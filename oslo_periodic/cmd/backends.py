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
from collections.abc import Iterable
from typing import Any

from cliff import lister

from oslo_periodic import backends


class Backends(lister.Lister):
    """List the installed backends, and which would be chosen here and why.

    The choice is the one of this process: its environment counts, a
    configuration file or the code of a service does not.
    """

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        """List them."""
        choice = backends.selector.choice
        rows = []
        for info in backends.available_backends():
            can = sorted(item.value for item in info.capabilities or ())
            rows.append(
                (
                    info.name,
                    info.distribution,
                    info.version,
                    ', '.join(can),
                    choice.chosen_by if info.name == choice.name else '',
                    info.error or '',
                )
            )
        columns = (
            'Name',
            'Distribution',
            'Version',
            'Capabilities',
            'Chosen by',
            'Error',
        )
        return columns, rows
