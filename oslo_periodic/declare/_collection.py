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

"""What a class of periodic tasks has: its own, inherited, and overridden.

A task is found by the attribute that holds it, as any method is: the first
class in the MRO that has the attribute decides what runs, and the first one
that made it a task decides its place in the order.
"""

from __future__ import annotations

from collections.abc import Iterator
import logging
from typing import Any
from typing import NamedTuple

from oslo_periodic.declare import _deferred
from oslo_periodic.declare import _task
from oslo_periodic import exceptions

LOG = logging.getLogger('oslo_periodic.periodic_task')


def is_active(task: _task.Task) -> bool:
    """Say whether a task is to run, as far as its class knows; log it if not.

    What is late-bound is not known yet.
    """
    if not _deferred.is_late(task.spacing) and task.spacing < 0:
        log_skipping(task.name, 'its interval is negative')
    elif not task.enabled:
        log_skipping(task.name, 'it is disabled')
    else:
        return True
    return False


def log_skipping(name: str, reason: str) -> None:
    """Log that a task is not to run at all."""
    LOG.info(
        'Skipping periodic task %(task)s because %(reason)s',
        {'task': name, 'reason': reason},
    )


class _Found(NamedTuple):
    """A task, and the attribute in which it was found."""

    task: _task.Task
    #: None, both, if it was added to a class from outside.
    attribute: str | None = None
    definer: type | None = None


class Collection:
    """The tasks of one class."""

    __slots__ = ('_spacing', 'attributes', 'listed', 'undecorated')

    def __init__(self, attributes: dict[str, Any]) -> None:
        #: Names and functions, as instances start with them. It may be
        #: rebound or changed from outside, and counts as it is then.
        self.listed: list[tuple[str, Any]] = []
        #: The tasks in the body of the class when it was made. A method may
        #: be replaced on the class later; what was collected still runs.
        self.attributes = attributes
        #: By name, what cannot be read from the function's attributes: an
        #: undecorated override runs on its parent's schedule.
        self.undecorated: dict[str, _Found] = {}
        self._spacing: dict[str, Any] | None = None

    @property
    def spacing(self) -> dict[str, Any]:
        """Seconds by name, which may be changed from outside, too.

        What is late-bound is as it was said.

        Made when it is first asked for: hardly anybody does, and the
        descriptions say the same until then.
        """
        if self._spacing is None:
            self._spacing = {
                name: self.describe(name, function).spacing
                for name, function in self.listed
            }
        return self._spacing

    @spacing.setter
    def spacing(self, spacing: dict[str, Any]) -> None:
        self._spacing = spacing

    def spacing_of(self, task: _task.Task) -> Any:
        """Return the spacing that instances start with, as it was said."""
        if self._spacing is None:
            return task.spacing
        return self._spacing.get(task.name, task.spacing)

    def disabled(self, cls: type) -> list[_task.Task]:
        """Return the tasks that the class has, and that do not run.

        Only operators can change that.
        """
        listed = {name for name, _function in self.listed}
        seen: set[str] = set()
        found: dict[str, _task.Task] = {}
        for ancestor in cls.__mro__:
            for attribute, value in vars(ancestor).items():
                if attribute in seen:
                    continue
                seen.add(attribute)
                if _task.is_decorated(value):
                    task = _task.read(value)
                    if task.name not in listed and not _task.is_active(task):
                        found.setdefault(task.name, task)
        return list(found.values())

    def describe(self, name: str, function: Any) -> _task.Task:
        """Return the description of a pair that is listed."""
        found = self.undecorated.get(name)
        if found is not None and found.task.function is function:
            return found.task
        return _task.read(function, name)

    def function(self, name: str) -> Any:
        """Return the function that is listed by this name, or None."""
        for listed, function in self.listed:
            if listed == name:
                return function
        return None

    def add(self, found: _Found) -> None:
        """Add a task at the end; the caller has seen to its name."""
        name, function = found.task.name, found.task.function
        self.listed.append((name, function))
        if self._spacing is not None:
            self._spacing[name] = found.task.spacing
        if not _task.is_decorated(function):
            self.undecorated[name] = found


def is_new(task: _task.Task, known: dict[str, Any]) -> bool:
    """Say whether a task is to be added to others.

    :param task: its description.
    :param known: the functions of the others by name.
    :returns: False if the very function is among them.
    :raises InvalidPeriodicTaskArg: if another function has its name.
    """
    function = known.get(task.name)
    if function is None:
        return True
    if function is not task.function:
        raise exceptions.InvalidPeriodicTaskArg(
            f'Two periodic tasks are named {task.name!r}: '
            f'{_task.where(function)} and {_task.where(task.function)}; '
            'give one of them another name="...".'
        )
    return False


def own(cls: type) -> dict[str, Any]:
    """Return the tasks in the body of a class, by attribute."""
    collection = vars(cls).get('_periodic_collection')
    if isinstance(collection, Collection):
        return collection.attributes
    return {
        attribute: value
        for attribute, value in vars(cls).items()
        if _task.is_decorated(value)
    }


def collect(cls: type) -> Collection:
    """Collect the periodic tasks of a class that is being made.

    :param cls: the class; its bases may be any classes.
    :raises InvalidPeriodicTaskArg: if two tasks have one name, or one cannot
        be called.
    """
    collection = Collection(own(cls))
    seen = set()
    known: dict[str, Any] = {}
    changed = {}
    for found, spacing in _candidates(cls):
        key = (found.attribute, None if found.attribute else found.task.name)
        if key in seen:
            continue
        seen.add(key)
        resolved = _resolve(cls, found)
        if resolved is None:
            continue
        task = resolved.task
        if resolved is not found or spacing is None:
            if not is_active(task):
                continue
            _check_callable(task, cls)
        elif spacing != task.spacing:
            changed[task.name] = spacing
        if is_new(task, known):
            known[task.name] = task.function
            collection.add(resolved)
    if changed:
        collection.spacing.update(changed)
    return collection


def _candidates(cls: type) -> Iterator[tuple[_Found, Any]]:
    """Yield the tasks of the bases and of the class itself, in their order.

    With those that a base has collected goes their spacing there.
    """
    homes = {
        id(function): (attribute, definer)
        for definer in reversed(cls.__mro__)
        for attribute, function in own(definer).items()
    }
    for base in cls.__bases__:
        inherited = getattr(base, '_periodic_collection', None)
        if isinstance(inherited, Collection):
            for name, function in inherited.listed:
                task = inherited.describe(name, function)
                found = inherited.undecorated.get(name)
                if found is None or found.task is not task:
                    found = _Found(task, *homes.get(id(function), ()))
                yield found, inherited.spacing_of(task)
        else:
            for ancestor in reversed(base.__mro__):
                yield from _own_found(ancestor)
    yield from _own_found(cls)


def _own_found(cls: type) -> Iterator[tuple[_Found, None]]:
    for attribute, function in own(cls).items():
        yield _Found(_task.read(function), attribute, cls), None


def _resolve(cls: type, found: _Found) -> _Found | None:
    """Return what the MRO makes of a task: itself, an override, or None."""
    attribute = found.attribute
    if attribute is None:
        return found
    definer = next((c for c in cls.__mro__ if attribute in vars(c)), None)
    if definer is None or definer is found.definer:
        # In the latter case the value may be another by now.
        return found
    override = vars(definer)[attribute]
    if _task.is_decorated(override):
        return _Found(_task.read(override), attribute, definer)
    if callable(override):
        task = found.task._replace(function=override)
        return _Found(task, attribute, definer)
    if override is not None:
        raise exceptions.InvalidPeriodicTaskArg(
            f'{definer.__qualname__}.{attribute} overrides a periodic task '
            f'with {override!r}, which cannot be called: None removes the '
            'task, and a plain function replaces it.'
        )
    return None


def _check_callable(task: _task.Task, cls: type) -> None:
    if not callable(task.function):
        raise exceptions.InvalidPeriodicTaskArg(
            f'The periodic task {task.name!r} of {cls.__qualname__} is '
            f'{task.function!r}, which cannot be called: put the decorator '
            'outermost, on a plain function.'
        )


class PeriodicTasksMeta(type):
    """Collects the tasks of each class when it is made."""

    _periodic_collection: Collection

    def __init__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(name, bases, namespace, **kwargs)
        cls._periodic_collection = collect(cls)

    @property
    def _periodic_tasks(cls) -> list[tuple[str, Any]]:
        return cls._periodic_collection.listed

    @_periodic_tasks.setter
    def _periodic_tasks(cls, pairs: list[tuple[str, Any]]) -> None:
        cls._periodic_collection.listed = pairs

    @_periodic_tasks.deleter
    def _periodic_tasks(cls) -> None:
        cls._periodic_collection.listed = collect(cls).listed

    @property
    def _periodic_spacing(cls) -> dict[str, Any]:
        return cls._periodic_collection.spacing

    @_periodic_spacing.setter
    def _periodic_spacing(cls, spacing: dict[str, Any]) -> None:
        cls._periodic_collection.spacing = spacing

    @_periodic_spacing.deleter
    def _periodic_spacing(cls) -> None:
        cls._periodic_collection.spacing = collect(cls).spacing

    def _add_periodic_task(cls, task: Any) -> bool:
        """Add a task to the class, for the instances that are yet to come.

        :returns: whether the task is enabled.
        """
        description = _task.read_added(task)
        if not is_active(description):
            return False
        collection = cls._periodic_collection
        if is_new(description, dict(collection.listed)):
            collection.add(_Found(description))
        return True
