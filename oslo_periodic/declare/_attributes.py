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

"""The attributes that the decorator writes on a function.

Their names are those of oslo.service, and services read and change them, so
they are the one record of a task's description: a change made after the
decoration counts.
"""

from __future__ import annotations

from typing import Any

from oslo_periodic.declare import _policy
from oslo_periodic.declare import _task
from oslo_periodic import exceptions


class Decorated:
    """The mark that only the decorator puts on a function.

    The mark is this class, not an instance, so copies of it are identical.
    """


def write(function: Any, task: _task.Task, now: float) -> None:  # noqa: ANN401
    """Write a description on a function.

    :param function: the decorated object; any callable.
    :param task: its description.
    :param now: the time of decoration.
    :raises InvalidPeriodicTaskArg: if the object takes no attributes.
    """
    try:
        function._periodic_decorated = Decorated
        function._periodic_task = True
        function._periodic_external_ok = task.external_ok
        function._periodic_enabled = task.enabled
        function._periodic_name = task.name
        function._periodic_spacing = task.spacing
        function._periodic_immediate = task.immediate
        function._periodic_last_run = None if task.immediate else now
        if task.policy is not _policy.UNSET:
            function._periodic_policy = task.policy
    except AttributeError as exc:
        raise exceptions.InvalidPeriodicTaskArg(
            f'The periodic task {task.name!r} cannot be {function!r}, which '
            'takes no attributes: wrap it in a function.'
        ) from exc


def is_decorated(value: object) -> bool:
    """Say whether the decorator has made a value a task.

    :param value: any object, also a Mock, which has every attribute.
    """
    return getattr(value, '_periodic_decorated', None) is Decorated


def read(function: Any, name: str | None = None) -> _task.Task:  # noqa: ANN401
    """Read the description of a task from its function.

    :param function: the decorated object.
    :param name: the name it is listed under, if not its own.
    :raises InvalidPeriodicTaskArg: if the spacing is not a number.
    """
    if name is None:
        name = str(function._periodic_name)
    # Positional, which takes half the time: a class may have many tasks.
    return _task.Task(
        name,
        function,
        _task.declared_spacing(
            getattr(function, '_periodic_spacing', 0), name
        ),
        getattr(function, '_periodic_enabled', True),
        getattr(function, '_periodic_external_ok', False),
        getattr(function, '_periodic_last_run', 0) is None,
        getattr(function, '_periodic_policy', _policy.UNSET),
    )


def read_added(function: object) -> _task.Task:
    """Read the description of a task that is added from outside a class.

    :raises InvalidPeriodicTaskArg: if the function is not decorated.
    """
    if not is_decorated(function):
        raise exceptions.InvalidPeriodicTaskArg(
            f'{_task.where(function)} is not a periodic task: decorate it '
            'with periodic_task first.'
        )
    return read(function)
