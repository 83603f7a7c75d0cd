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

"""Policies: how a task is run, as the decorator and operators set it.

Each source may leave a policy open (None). The sources are asked in this
order: the group of the task in the configuration, the decorator, and the
defaults in the group of oslo.periodic.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple
from typing import NoReturn
from typing import TypeVar

from oslo_periodic import exceptions
from oslo_periodic import status

_Choice = TypeVar('_Choice', bound=enum.StrEnum)


class Policy(NamedTuple):
    """The policies of one task; resolved: no field is None."""

    overlap: status.Overlap
    missed: status.Missed
    #: Seconds that a run may take; 0 sets no limit.
    timeout: float
    isolation: status.Isolation
    #: Whether the grid has a phase that depends on the host and the task.
    spread: bool


class DeclaredPolicy(NamedTuple):
    """The policies that one source sets; None leaves a policy open."""

    overlap: status.Overlap | None = None
    missed: status.Missed | None = None
    timeout: float | None = None
    isolation: status.Isolation | None = None
    spread: bool | None = None


#: Sets nothing.
UNSET = DeclaredPolicy()
#: Used where neither configuration nor decorator sets a value.
DEFAULT = Policy(
    status.Overlap.SKIP,
    status.Missed.COALESCE,
    0.0,
    status.Isolation.THREAD,
    False,
)


def merge(
    group: DeclaredPolicy, declared: DeclaredPolicy, defaults: Policy
) -> Policy:
    """Return, for each policy, the value of the first source that sets it.

    :param group: from the group of the task in the configuration.
    :param declared: from the decorator.
    :param defaults: from the configuration, or `DEFAULT`.
    """
    first, second = group, declared
    return Policy(
        _first(first.overlap, second.overlap, defaults.overlap),
        _first(first.missed, second.missed, defaults.missed),
        _first(first.timeout, second.timeout, defaults.timeout),
        _first(first.isolation, second.isolation, defaults.isolation),
        _first(first.spread, second.spread, defaults.spread),
    )


_Value = TypeVar('_Value')


def _first(
    group: _Value | None, declared: _Value | None, default: _Value
) -> _Value:
    if group is not None:
        return group
    return default if declared is None else declared


def declare(
    name: str,
    overlap: object = None,
    missed: object = None,
    timeout: object = None,
    isolation: object = None,
    spread: object = None,
) -> DeclaredPolicy:
    """Check the policies that a source sets, and convert their types.

    :param name: the task's name, for the text of the error.
    :returns: `UNSET` itself if every policy is None.
    :raises InvalidPeriodicTaskArg: naming the policy with an invalid value.
    """
    if spread not in (None, False, True):
        _reject(name, 'spread', spread, 'True or False')
    policy = DeclaredPolicy(
        _choice(name, 'overlap', status.Overlap, overlap),
        _choice(name, 'missed', status.Missed, missed),
        None if timeout is None else _timeout(name, timeout),
        _choice(name, 'isolation', status.Isolation, isolation),
        None if spread is None else bool(spread),
    )
    return UNSET if policy == UNSET else policy


def _choice(
    name: str, argument: str, choices: type[_Choice], value: object
) -> _Choice | None:
    if value is None:
        return None
    try:
        return choices(value)  # type: ignore[arg-type]
    except ValueError:
        wanted = ' or '.join(repr(choice.value) for choice in choices)
        _reject(name, argument, value, wanted)


def _timeout(name: str, value: object) -> float:
    seconds = as_seconds(value)
    if seconds is None or not 0 <= seconds < math.inf:
        _reject(
            name,
            'timeout',
            value,
            'a finite number of seconds, 0 for no limit',
        )
    return seconds


def as_seconds(value: object) -> float | None:
    """Convert a number of any type to float; None if it is no number.

    Fractions, decimals and the scalars of numpy are numbers; bools and
    strings are not.
    """
    if isinstance(value, bool | str | bytes):
        return None
    convert = getattr(type(value), '__float__', None)
    if convert is None and not hasattr(type(value), '__index__'):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _reject(name: str, argument: str, value: object, wanted: str) -> NoReturn:
    raise exceptions.InvalidPeriodicTaskArg(
        f'The {argument} of the periodic task {name!r} must be {wanted}, '
        f'not {value!r}.'
    )
