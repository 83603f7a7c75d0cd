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

"""The frozen description of a task, and where wrong ones are refused."""

from __future__ import annotations

from collections.abc import Callable
import inspect
import math
import numbers
from typing import Any
from typing import NamedTuple

from oslo_periodic.declare import _deferred
from oslo_periodic.declare import _policy
from oslo_periodic import exceptions

#: Seconds; what a spacing of 0 means, and the longest that a tick idles.
DEFAULT_INTERVAL = 60.0

#: What the decorator takes.
_ARGUMENTS = (
    'enabled',
    'external_process_ok',
    'name',
    'run_immediately',
    'spacing',
    *_policy.Policy._fields,
)


class Decorated:
    """The mark that the decorator, and nobody else, puts on a function.

    That a class is used, and not an instance, makes it survive copies.
    """


class Task(NamedTuple):
    """What a task is, as the decorator was told."""

    name: str
    #: Called with the PeriodicTasks instance and the context.
    function: Callable[..., Any]
    #: Seconds, and negative disables; or where they are to be had.
    spacing: Any
    #: A bool, or where it is to be had.
    enabled: Any = True
    external_ok: bool = False
    immediate: bool = False
    #: As far as the decorator was told.
    policy: _policy.Policy = _policy.UNSET


def write(function: Any, task: Task, now: float) -> None:
    """Write a description on a function, in the attributes of the reference.

    :param function: what was decorated.
    :param task: its description.
    :param now: the time of decoration.
    :raises InvalidPeriodicTaskArg: if the function takes no attributes.
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


def is_active(task: Task) -> bool:
    """Say whether a task is to run, as far as its class knows."""
    late = _deferred.is_late(task.spacing)
    return bool(task.enabled) and (late or task.spacing >= 0)


def is_decorated(value: Any) -> bool:
    """Say whether the decorator has made a task of a value.

    :param value: anything; also an object that answers every getattr.
    """
    return getattr(value, '_periodic_decorated', None) is Decorated


def read(function: Any, name: str | None = None) -> Task:
    """Read the description of a task from its function's attributes.

    They are public in practice, so a change since the decoration counts.

    :param function: what was decorated.
    :param name: what it is listed as, if not by its own name.
    :raises InvalidPeriodicTaskArg: if the spacing is no length of time.
    """
    if name is None:
        name = function._periodic_name
    return Task(
        name=name,
        function=function,
        spacing=declared_spacing(
            getattr(function, '_periodic_spacing', 0), name
        ),
        enabled=getattr(function, '_periodic_enabled', True),
        external_ok=getattr(function, '_periodic_external_ok', False),
        immediate=getattr(function, '_periodic_last_run', 0) is None,
        policy=getattr(function, '_periodic_policy', _policy.UNSET),
    )


def read_added(function: Any) -> Task:
    """Read the description of a task that comes from outside a class.

    :raises InvalidPeriodicTaskArg: if the decorator did not make it.
    """
    if not is_decorated(function):
        raise exceptions.InvalidPeriodicTaskArg(
            f'{where(function)} is not a periodic task: decorate it '
            'with periodic_task first.'
        )
    return read(function)


def where(function: Any) -> str:
    """Say where a function is defined, for an error's text."""
    function = inspect.unwrap(function)
    code = getattr(function, '__code__', None)
    name = getattr(function, '__qualname__', None) or repr(function)
    if code is None:
        return str(name)
    return f'{name} ({code.co_filename}:{code.co_firstlineno})'


def check_arguments(arguments: dict[str, Any]) -> None:
    """Refuse what the decorator does not take.

    :raises InvalidPeriodicTaskArg: naming it and the nearest known one.
    """
    for argument in arguments:
        if argument in _ARGUMENTS:
            continue
        # Here, as hardly anybody needs it, and importing it takes its time.
        import difflib

        close = difflib.get_close_matches(argument, _ARGUMENTS, 1)
        hint = (
            f'did you mean {close[0]!r}?'
            if close
            else f'the known ones are {", ".join(_ARGUMENTS)}.'
        )
        raise exceptions.InvalidPeriodicTaskArg(
            f'Unexpected argument for periodic task creation: {argument}; '
            + hint
        )


def declared_spacing(spacing: Any, name: str) -> Any:
    """Check a spacing that may be late-bound, and give 0 its meaning.

    :param spacing: seconds, the name of an option, or a callable.
    :param name: the task's name, for the error's text.
    :raises InvalidPeriodicTaskArg: if it is none of them.
    """
    if type(spacing) not in (int, float) and _deferred.is_late(spacing):
        _deferred.check(spacing, 'spacing', name)
        return spacing
    return normal_spacing(spacing, name)


def normal_spacing(spacing: Any, name: str) -> float:
    """Check a spacing, and give 0 its meaning.

    :param spacing: seconds; 0 means the default interval.
    :param name: the task's name, for the error's text.
    :raises InvalidPeriodicTaskArg: if it is no length of time.
    """
    if type(spacing) in (int, float) and abs(spacing) < 1e300:
        return spacing or DEFAULT_INTERVAL  # What nearly all are.
    try:
        # A bool is a Real, and no length of time.
        if isinstance(spacing, bool) or not isinstance(spacing, numbers.Real):
            raise TypeError
        if not math.isfinite(spacing):
            raise OverflowError
    except (TypeError, OverflowError):
        raise exceptions.InvalidPeriodicTaskArg(
            f'The spacing of the periodic task {name!r} must be a finite '
            f'number of seconds, not {spacing!r}; a negative one disables '
            'the task.'
        ) from None
    # A number, as Real has no static type that float arithmetic knows.
    seconds: Any = spacing
    return seconds or DEFAULT_INTERVAL


def describe(
    function: Any,
    name: str | None = None,
    spacing: Any = 0,
    enabled: Any = True,
    external_process_ok: bool = False,
    run_immediately: bool = False,
    **policy: Any,
) -> Task:
    """Make the description of a task out of the decorator's arguments.

    :raises InvalidPeriodicTaskArg: naming what is wrong with them.
    """
    if not callable(function):
        hint = ''
        if isinstance(function, numbers.Real | str):
            hint = '; arguments go by keyword, as in spacing=30'
        elif isinstance(function, classmethod | property):
            hint = '; put the periodic_task decorator on a plain function'
        raise exceptions.InvalidPeriodicTaskArg(
            f'A periodic task must be callable, and {function!r} is not{hint}.'
        )
    if name is None:
        name = getattr(function, '__name__', None)
    if not isinstance(name, str) or not name:
        raise exceptions.InvalidPeriodicTaskArg(
            f'The periodic task {function!r} needs a name: pass name="...".'
        )
    if _deferred.is_late(enabled):
        _deferred.check(enabled, 'enabled', name)
    plain = getattr(function, '__func__', function)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise exceptions.InvalidPeriodicTaskArg(
            f'The periodic task {where(function)} is an async function, and '
            'calling it would run nothing: make it a plain function, and let '
            'it call asyncio.run() if it has to.'
        )
    return Task(
        name=name,
        function=function,
        spacing=declared_spacing(spacing, name),
        enabled=enabled,
        external_ok=external_process_ok,
        immediate=run_immediately,
        policy=_policy.check(name, _policy.Policy(**policy)),
    )
