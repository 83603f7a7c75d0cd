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

"""The tables that the commands print."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Sequence
import contextlib
import os

from cliff import lister

from oslo_periodic.cmd import _text

#: The formats that escape control characters on their own.
_SAFE_FORMATS = ('json', 'yaml')


class Table(lister.Lister):
    """A command that prints rows, whose text is safe for a terminal."""

    #: The exit code if the rows are printed.
    exit_code = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Let COLUMNS set the width, on a terminal and in a pipe."""
        parser = super().get_parser(prog_name)
        with contextlib.suppress(KeyError, ValueError):
            columns = int(os.environ['COLUMNS'])
            if columns > 0 and 'CLIFF_MAX_TERM_WIDTH' not in os.environ:
                parser.set_defaults(max_width=columns)
        return parser

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: Sequence[str],
        data: Iterable[Sequence[object]],
    ) -> int:
        """Print the rows without control characters."""
        if parsed_args.formatter not in _SAFE_FORMATS:
            data = [[_clean(cell) for cell in row] for row in data]
        code: int = super().produce_output(parsed_args, column_names, data)
        return code

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Print the rows and return the exit code."""
        return super().run(parsed_args) or self.exit_code


def _clean(cell: object) -> object:
    if isinstance(cell, str):
        return _text.clean(cell)
    if isinstance(cell, list | dict):
        return _text.clean(str(cell))
    return cell
