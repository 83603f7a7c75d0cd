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

"""The frozen description of a task, and the checks of its arguments."""

from __future__ import annotations

from collections.abc import Callable
import inspect
import math
import numbers
from typing import Any
from typing import NamedTuple

from oslo_periodic.declare import _deferred
from oslo_periodic.declare import _names
from oslo_periodic.declare import _policy
from oslo_periodic import exceptions

#: Seconds; what a spacing of 0 means, and the longest idle time of a tick.
DEFAULT_INTERVAL = 60.0

#: Seconds; a shorter spacing would keep a CPU busy with scheduling.
LEAST_SPACING = 0.001

#: The arguments of the decorator.
_ARGUMENTS = (
    'enabled',
    'external_process_ok',
    'name',
    'run_immediately',
    'spacing',
    *_policy.DeclaredPolicy._fields,
)

_NUMBERS = frozenset({int, float})
#: The flags of the code of async functions.
_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

#: Called with the PeriodicTasks instance and the context.
Function = Callable[..., object]
#: Seconds, or a deferred value that gives them.
Spacing = float | str | Callable[[Any], object]


class Task(NamedTuple):
    """A task as its decorator describes it."""

    name: str
    function: Function
    #: Negative seconds disable the task.
    spacing: Spacing
    #: A truth value, or a deferred one.
    enabled: object = True
    external_ok: bool = False
    immediate: bool = False
    policy: _policy.DeclaredPolicy = _policy.UNSET


def why_inactive(task: Task) -> str | None:
    """Say why a task does not run, as far as its class determines that.

    :returns: None if the task runs, or if a deferred value decides.
    """
    spacing = task.spacing
    if isinstance(spacing, int | float) and spacing < 0:
        return 'its interval is negative'
    return None if task.enabled else 'it is disabled'


def same_function(first: object, second: object) -> bool:
    """Say whether two callables are the same function.

    Each look-up of a bound method makes a new object, so identity is not
    enough.
    """
    return first is second or bool(first == second)


def where(function: object) -> str:
    """Say where a function is defined, for the text of an error."""
    if callable(function):
        function = inspect.unwrap(function)
    code = getattr(function, '__code__', None)
    name = getattr(function, '__qualname__', None) or repr(function)
    if code is None:
        return str(name)
    return f'{name} ({code.co_filename}:{code.co_firstlineno})'


def check_arguments(arguments: dict[str, object]) -> None:
    """Reject unknown arguments of the decorator.

    :raises InvalidPeriodicTaskArg: naming the argument and the nearest known
        one.
    """
    for argument in arguments:
        if argument in _ARGUMENTS:
            continue
        near = _names.nearest(argument, _ARGUMENTS, 0.6)
        hint = (
            f'did you mean {near!r}?'
            if near
            else f'the known ones are {", ".join(_ARGUMENTS)}.'
        )
        raise exceptions.InvalidPeriodicTaskArg(
            f'Unexpected argument for periodic task creation: {argument}; '
            + hint
        )


def declared_spacing(spacing: object, name: str) -> Spacing:
    """Check a spacing that may be deferred; 0 becomes the default.

    :param spacing: seconds, the name of an option, or a callable.
    :param name: the task's name, for the text of the error.
    :raises InvalidPeriodicTaskArg: if it is none of them.
    """
    # Nearly all spacings, first: a class may have many tasks.
    if type(spacing) in _NUMBERS and LEAST_SPACING <= spacing < 1e300:  # type: ignore[operator]
        return spacing  # type: ignore[return-value]
    if _deferred.is_deferred(spacing):
        _deferred.check(spacing, 'spacing', name)
        return spacing
    return normal_spacing(spacing, name)


def normal_spacing(spacing: object, name: str) -> float:
    """Check a spacing; 0 becomes the default.

    :param spacing: seconds, as a number of any type; 0 means the default.
    :param name: the task's name, for the text of the error.
    :raises InvalidPeriodicTaskArg: if it is not a finite number.
    """
    seconds = _policy.as_seconds(spacing)
    if isinstance(spacing, int) and seconds is not None and seconds == spacing:
        seconds = spacing  # An int stays one: services and tests print it.
    if seconds is None or not math.isfinite(seconds):
        raise exceptions.InvalidPeriodicTaskArg(
            f'The spacing of the periodic task {name!r} must be a finite '
            f'number of seconds, not {spacing!r}; a negative one disables '
            'the task.'
        )
    if 0 < seconds < LEAST_SPACING:
        raise exceptions.InvalidPeriodicTaskArg(
            f'The spacing of the periodic task {name!r} is {spacing!r} '
            f'seconds, and the least is {LEAST_SPACING} seconds: a task that '
            'has to run more often should be a thread with a loop.'
        )
    return seconds or DEFAULT_INTERVAL


def describe(
    function: object,
    name: str | None = None,
    spacing: object = 0,
    enabled: object = True,
    external_process_ok: bool = False,
    run_immediately: bool = False,
    **policy: object,
) -> Task:
    """Make the description of a task from the decorator's arguments.

    :raises InvalidPeriodicTaskArg: naming the invalid argument.
    """
    if not callable(function):
        raise exceptions.InvalidPeriodicTaskArg(
            f'A periodic task must be callable, and {function!r} is not'
            f'{_hint(function)}.'
        )
    if name is None:
        name = getattr(function, '__name__', None)
    if not isinstance(name, str) or not name:
        raise exceptions.InvalidPeriodicTaskArg(
            f'The periodic task {function!r} needs a name: pass name="...".'
        )
    if _deferred.is_deferred(enabled):
        _deferred.check(enabled, 'enabled', name)
    _check_not_async(function)
    return Task(
        name=name,
        function=function,
        spacing=declared_spacing(spacing, name),
        enabled=enabled,
        external_ok=external_process_ok,
        immediate=run_immediately,
        policy=_policy.declare(name, **policy) if policy else _policy.UNSET,
    )


def _hint(function: object) -> str:
    if isinstance(function, numbers.Real | str):
        return '; arguments go by keyword, as in spacing=30'
    if isinstance(function, classmethod | property):
        return '; put the periodic_task decorator on a plain function'
    return ''


def _check_not_async(function: Function) -> None:
    plain = getattr(function, '__func__', function)
    code = getattr(plain, '__code__', None)
    if code is not None and not code.co_flags & _ASYNC:
        return
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise exceptions.InvalidPeriodicTaskArg(
            f'The periodic task {where(function)} is an async function, and '
            'calling it would run nothing: make it a plain function that '
            'calls asyncio.run() if needed.'
        )
