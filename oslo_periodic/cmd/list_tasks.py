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

"""``oslo-periodic list``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
import inspect
from typing import Any

from cliff import lister

from oslo_periodic.declare import _attributes
from oslo_periodic.declare import _task
from oslo_periodic.cmd import _service
from oslo_periodic.cmd import errors

_COLUMNS = (
    'Name',
    'Spacing',
    'First run',
    'Enabled',
    'External',
    'Defined in',
)


class List(lister.Lister):
    """List the periodic tasks of a class.

    The class is imported and not instantiated. It may be built on
    oslo_periodic or, as it is, on oslo_service.
    """

    def get_parser(self, prog_name: str) -> Any:
        """Add what the command takes."""
        parser = super().get_parser(prog_name)
        parser.add_argument('target', metavar='MODULE:CLASS')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
        """List them: what runs in its order, then what is disabled."""
        cls: Any = _service.find_class(parsed_args.target)
        listed = getattr(cls, '_periodic_tasks', None)
        if not isinstance(listed, list):
            raise errors.UserError(
                f'{parsed_args.target} is not a PeriodicTasks: it derives '
                'from the class of neither oslo_periodic nor oslo_service'
            )
        running = [_row(cls, name, task) for name, task in listed]
        disabled = [
            _row(cls, task._periodic_name, task) for task in _disabled(cls)
        ]
        return _COLUMNS, running + disabled


def _disabled(cls: type) -> list[Any]:
    """Find the tasks that a class has, and does not list."""
    found = []
    names: set[str] = set()
    for ancestor in cls.__mro__:
        for attribute, value in vars(ancestor).items():
            if attribute in names:
                continue
            names.add(attribute)
            if getattr(value, '_periodic_task', None) is True and (
                value._periodic_spacing < 0 or not value._periodic_enabled
            ):
                found.append(value)
    return found


def _row(cls: Any, name: str, task: Any) -> tuple[Any, ...]:
    described = _described(cls, name, task)
    spacing = cls._periodic_spacing.get(name, described.spacing)
    enabled = bool(described.enabled) and spacing >= 0
    if not enabled:
        first_run = 'never'
    elif described.immediate:
        first_run = 'immediately'
    else:
        first_run = f'after {spacing:g} s'
    external = bool(described.external_ok)
    return (name, spacing, first_run, enabled, external, _place(task))


def _described(cls: Any, name: str, task: Any) -> _task.Task:
    collection = getattr(cls, '_periodic_collection', None)
    if collection is not None:
        # An undecorated override says nothing of its schedule itself.
        described: _task.Task = collection.describe(name, task)
        return described
    return _attributes.read(task, name)


def _place(task: Any) -> str:
    function = inspect.unwrap(task)
    code = getattr(function, '__code__', None)
    module = getattr(function, '__module__', None) or '?'
    return f'{module}:{code.co_firstlineno}' if code else module
