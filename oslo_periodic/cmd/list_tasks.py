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
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import inspect
import numbers

from oslo_periodic.cmd import _service
from oslo_periodic.cmd import _tables
from oslo_periodic.cmd import errors
from oslo_periodic.config import _settings
from oslo_periodic.declare import _attributes
from oslo_periodic.declare import _task
from oslo_periodic import exceptions
from oslo_periodic import opts

_COLUMNS = (
    'Name',
    'Spacing',
    'First run',
    'Enabled',
    'External',
    'Defined in',
)


class ListTasks(_tables.Table):
    """List the periodic tasks of a class.

    The class is imported, but not instantiated. It may derive from the
    PeriodicTasks class of oslo_periodic or of oslo_service. A value that
    depends on the configuration is shown as the name of its option, or as
    "computed" if code determines it. With --config-file, the values that the
    class would have with these files are shown.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments of the command."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'target',
            metavar='MODULE:CLASS',
            help='class to list, as in nova.compute.manager:ComputeManager',
        )
        parser.add_argument(
            '--config-file',
            metavar='PATH',
            action='append',
            default=[],
            help='configuration file of the service, to show the values that '
            'hold with it; may be repeated, later files take precedence',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Return enabled tasks in the order they run, then disabled ones."""
        cls = _service.find_class(parsed_args.target)
        pairs = getattr(cls, '_periodic_tasks', None)
        if not isinstance(pairs, list):
            raise errors.UserError(
                f'{parsed_args.target} is not a PeriodicTasks class: it '
                'derives from that of neither oslo_periodic nor oslo_service'
            )
        spacings: Mapping[str, _task.Spacing] = getattr(
            cls, '_periodic_spacing', {}
        )
        tasks = [_describe(cls, name, function) for name, function in pairs]
        effective = _effective(cls, parsed_args.config_file)
        rows = [
            _row(effective(task, spacings.get(task.name, task.spacing)))
            for task in [*tasks, *_disabled(cls)]
        ]
        return _COLUMNS, rows


def _effective(
    cls: type, files: list[str]
) -> Callable[[_task.Task, _task.Spacing], _task.Task]:
    """Return what puts the values that hold into a description.

    :param cls: the class of the tasks.
    :param files: the configuration files; without any, only the class counts.
    """
    if not files:
        return lambda task, spacing: task._replace(spacing=spacing)
    conf = _service.configure(files, conf=_service.global_conf())
    opts.register(conf)
    try:
        reader = _settings.SettingsReader(conf, cls.__name__)
    except ValueError as exc:
        raise errors.UserError(str(exc)) from exc

    def read(task: _task.Task, spacing: _task.Spacing) -> _task.Task:
        try:
            settings = reader.read(task, spacing)
        except exceptions.InvalidPeriodicTaskArg as exc:
            raise errors.UserError(str(exc)) from exc
        return task._replace(
            spacing=settings.spacing, enabled=settings.enabled
        )

    return read


def _describe(
    cls: type, name: str, function: Callable[..., object]
) -> _task.Task:
    collection = getattr(cls, '_periodic_collection', None)
    if collection is None:
        return _attributes.read(function, name)
    # Only the collection has the schedule of an undecorated override.
    task: _task.Task = collection.describe(name, function)
    return task


def _disabled(cls: type) -> Iterator[_task.Task]:
    """Yield the tasks that the class leaves out of ``_periodic_tasks``."""
    seen: set[str] = set()
    for ancestor in cls.__mro__:
        for attribute, value in vars(ancestor).items():
            if attribute in seen:
                continue
            seen.add(attribute)
            if getattr(value, '_periodic_task', None) is True:
                task = _attributes.read(value)
                if not task.enabled or _is_negative(task.spacing):
                    yield task


def _row(task: _task.Task) -> tuple[object, ...]:
    spacing = task.spacing
    enabled = bool(task.enabled) and not _is_negative(spacing)
    if not enabled:
        first_run = 'never'
    elif task.immediate:
        first_run = 'immediately'
    elif isinstance(spacing, numbers.Real):
        first_run = f'after {float(spacing):g} s'
    else:
        first_run = 'after one spacing'
    return (
        task.name,
        _source(spacing) or spacing,
        first_run,
        enabled and (_source(task.enabled) or True),
        bool(task.external_ok),
        _definition(task.function),
    )


def _is_negative(spacing: object) -> bool:
    return isinstance(spacing, numbers.Real) and spacing < 0


def _source(value: object) -> str | None:
    """Return where a deferred value comes from; None for a plain value."""
    if isinstance(value, str):
        return value
    return 'computed' if callable(value) else None


def _definition(function: Callable[..., object]) -> str:
    """Return the module and the line of a function's definition."""
    function = inspect.unwrap(function)
    code = getattr(function, '__code__', None)
    module = getattr(function, '__module__', None) or '?'
    return f'{module}:{code.co_firstlineno}' if code else module
