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

"""What worker processes follow of their parent, at the start of each tick."""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
import logging
import os
import sys
from typing import NamedTuple

from oslo_periodic.process import _logs


class Setup(NamedTuple):
    """The state of the parent that workers follow."""

    #: The level of each logger that has one, and what logging.disable got.
    levels: dict[str, int]
    disabled: int
    #: Where modules are found.
    path: list[str]
    #: The working directory; None if it was removed.
    directory: str | None
    environment: dict[bytes, bytes]


def current() -> Setup:
    """Return the setup of this process."""
    directory: str | None = None
    with contextlib.suppress(OSError):
        directory = os.getcwd()
    return Setup(
        _logs.levels(),
        logging.root.manager.disable,
        import_path(),
        directory,
        _environment(),
    )


def import_path() -> list[str]:
    """Return the path on which a worker finds modules."""
    return [
        os.fsdecode(entry) or os.curdir
        for entry in sys.path
        if isinstance(entry, str | bytes)
    ]


def _environment() -> dict[bytes, bytes]:
    # The mapping decodes each variable, which costs more than a small task;
    # what it wraps is copied in one step.
    variables: Mapping[bytes, bytes] = getattr(
        os.environb, '_data', os.environb
    )
    return dict(variables)


def apply(setup: Setup) -> None:
    """Make a setup that of this process, as far as it can be."""
    _logs.apply_levels(setup.levels, setup.disabled)
    sys.path[:] = setup.path
    if setup.directory is not None:
        with contextlib.suppress(OSError):  # Such as one removed meanwhile.
            os.chdir(setup.directory)
    wanted, ours = setup.environment, os.environb
    for name in list(ours):
        if name not in wanted:
            del ours[name]
    for name, value in wanted.items():
        if ours.get(name) != value:
            ours[name] = value


def essential_environment() -> dict[str, str]:
    """Return the variables that the start of an interpreter may need.

    The kernel refuses to start a program with more than some megabytes of
    them, or with one of 128 KiB; a worker then gets the rest from `apply`.
    """
    names = ('PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR')
    return {
        name: value
        for name, value in list(os.environ.items())
        if len(value) < 1 << 14
        and (name in names or name.startswith(('PYTHON', 'LD_', 'LC_')))
    }
