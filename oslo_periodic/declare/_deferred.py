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

"""Deferred values: read when an instance is made, not at import.

The spacing of a task, and whether it is enabled, may be the name of an
option, as in ``'[group]option'``, or a callable of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
import re
from typing import Any
from typing import TypeGuard

from oslo_periodic import exceptions

#: The name of an option, or a callable that takes the configuration.
Deferred = str | Callable[[Any], object]

_OPTION = re.compile(r'\[([^\[\]]+)\]\s*([A-Za-z_][\w-]*)')


def is_deferred(value: object) -> TypeGuard[Deferred]:
    """Say whether a value has to be looked up."""
    return isinstance(value, str) or callable(value)


def option(value: str) -> tuple[str, str] | None:
    """Return the group and the option that a string names.

    :returns: None if it is not of the form ``'[group]option'``.
    """
    match = _OPTION.fullmatch(value)
    return (match[1], match[2].replace('-', '_')) if match else None


def check(value: Deferred, argument: str, name: str) -> None:
    """Reject a string that does not name an option.

    :param value: a deferred value.
    :param argument: the argument it was passed as, for the error.
    :param name: the task's name, for the error.
    :raises InvalidPeriodicTaskArg: if the string names no option.
    """
    if isinstance(value, str) and option(value) is None:
        plain = 'finite number of seconds' if argument == 'spacing' else 'bool'
        raise exceptions.InvalidPeriodicTaskArg(
            f'The {argument} of the periodic task {name!r} must be a {plain}, '
            "the name of an option, as in '[group]option', or a callable of "
            f'the configuration, not {value!r}.'
        )


def describe(value: Deferred) -> str:
    """Name the source of a deferred value."""
    if isinstance(value, str):
        return value
    return str(getattr(value, '__qualname__', None) or repr(value))
