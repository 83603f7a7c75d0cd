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

"""The tasks of a class: its own, inherited and overridden.

A task is found by the attribute that holds it, as any method is: the first
class in the MRO that has the attribute decides what runs, and the first one
that made it a task decides its place in the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from typing import NamedTuple

from oslo_periodic import _log
from oslo_periodic.declare import _attributes
from oslo_periodic.declare import _task
from oslo_periodic import exceptions

LOG = _log.get_logger('oslo_periodic.periodic_task')


def is_active(task: _task.Task) -> bool:
    """Say whether a task runs, as far as its class determines; log if not."""
    reason = _task.why_inactive(task)
    if reason is not None:
        log_skipping(task.name, reason)
    return reason is None


def log_skipping(name: str, reason: str) -> None:
    """Log that a task does not run at all."""
    LOG.info(
        'Skipping periodic task %(task)s because %(reason)s',
        {'task': name, 'reason': reason},
    )


class Found(NamedTuple):
    """A task, and the attribute that holds it."""

    task: _task.Task
    #: Both are None for a task that was added to a class from outside.
    attribute: str | None = None
    definer: type | None = None


class Collection:
    """The tasks of one class."""

    __slots__ = ('_spacing', 'attributes', 'entries', 'undecorated')

    def __init__(self, attributes: dict[str, _task.Function]) -> None:
        #: Names and functions of the tasks of instances. Services rebind and
        #: change this list, so its present value counts.
        self.entries: list[tuple[str, _task.Function]] = []
        #: The tasks in the body of the class when it was made. A method that
        #: is replaced on the class later does not change them.
        self.attributes = attributes
        #: By name, undecorated overrides, which run on the schedule of the
        #: method they override: their functions have no attributes.
        self.undecorated: dict[str, Found] = {}
        self._spacing: dict[str, _task.Spacing] | None = None

    @property
    def spacing(self) -> dict[str, _task.Spacing]:
        """Spacings by name; services change them. Deferred ones stay so.

        Made on first access: until then the descriptions say the same.
        """
        if self._spacing is None:
            self._spacing = {
                name: self.describe(name, function).spacing
                for name, function in self.entries
            }
        return self._spacing

    @spacing.setter
    def spacing(self, spacing: dict[str, _task.Spacing]) -> None:
        self._spacing = spacing

    def spacing_of(self, task: _task.Task) -> _task.Spacing:
        """Return the spacing that instances start with; it may be deferred."""
        if self._spacing is None:
            return task.spacing
        return self._spacing.get(task.name, task.spacing)

    def disabled(self, cls: type) -> list[_task.Task]:
        """Return the tasks that the class defines and does not list.

        They run only if the configuration enables them.
        """
        listed = {name for name, _function in self.entries}
        seen: set[str] = set()
        found: dict[str, _task.Task] = {}
        for ancestor in cls.__mro__:
            for attribute, value in vars(ancestor).items():
                if attribute in seen:
                    continue
                seen.add(attribute)
                if (
                    _attributes.is_decorated(value)
                    and value._periodic_name not in listed
                ):
                    task = _attributes.read(value)
                    if _task.why_inactive(task):
                        found.setdefault(task.name, task)
        return list(found.values())

    def describe(self, name: str, function: _task.Function) -> _task.Task:
        """Return the description of an entry."""
        found = self.undecorated.get(name)
        if found is not None and _task.same_function(
            found.task.function, function
        ):
            return found.task
        return _attributes.read(function, name)

    def function(self, name: str) -> _task.Function | None:
        """Return the function that is listed under a name."""
        for listed, function in self.entries:
            if listed == name:
                return function
        return None

    def add(self, found: Found) -> None:
        """Add a task at the end; its name must be new."""
        name, function = found.task.name, found.task.function
        self.entries.append((name, function))
        if self._spacing is not None:
            self._spacing[name] = found.task.spacing
        if not _attributes.is_decorated(function):
            self.undecorated[name] = found


def of(cls: type) -> Collection:
    """Return the collection of a class that derives from PeriodicTasks."""
    collection: Collection = cls._periodic_collection  # type: ignore[attr-defined]
    return collection


def is_new(
    task: _task.Task, known: Mapping[str, _task.Function | None]
) -> bool:
    """Say whether a task has to be added to others.

    :param task: its description.
    :param known: the functions of the others by name.
    :returns: False if the same function is among them.
    :raises InvalidPeriodicTaskArg: if another function has its name.
    """
    function = known.get(task.name)
    if function is None:
        return True
    if not _task.same_function(function, task.function):
        raise exceptions.InvalidPeriodicTaskArg(
            f'Two periodic tasks are named {task.name!r}: '
            f'{_task.where(function)} and {_task.where(task.function)}; '
            'give one of them another name="...".'
        )
    return False


def own(cls: type) -> dict[str, _task.Function]:
    """Return the tasks in the body of a class, by attribute."""
    collection = vars(cls).get('_periodic_collection')
    if isinstance(collection, Collection):
        return collection.attributes
    return {
        attribute: value
        for attribute, value in vars(cls).items()
        if _attributes.is_decorated(value)
    }


def collect(cls: type) -> Collection:
    """Collect the periodic tasks of a class that is being made.

    :param cls: the class; its bases may be any classes.
    :raises InvalidPeriodicTaskArg: if two tasks have one name, or one cannot
        be called.
    """
    collection = Collection(own(cls))
    seen = set()
    known: dict[str, _task.Function] = {}
    changed = {}
    for found, spacing in _candidates(cls, collection.attributes):
        key = found.attribute or (found.task.name,)
        if key in seen:
            continue
        seen.add(key)
        resolved = found if found.definer is cls else _resolve(cls, found)
        if resolved is None:
            continue
        task = resolved.task
        if resolved is not found or spacing is None:
            if not is_active(task):
                continue
            if not callable(task.function):
                raise _not_callable(task, cls)
        elif spacing != task.spacing:
            changed[task.name] = spacing
        if task.name not in known or is_new(task, known):
            known[task.name] = task.function
            collection.add(resolved)
    if changed:
        collection.spacing.update(changed)
    return collection


def _candidates(
    cls: type, attributes: Mapping[str, _task.Function]
) -> Iterator[tuple[Found, _task.Spacing | None]]:
    """Yield the tasks of the bases and of the class itself, in their order.

    A task that a base has collected comes with its spacing there.
    """
    homes = {
        id(function): (attribute, definer)
        for definer in reversed(cls.__mro__[1:])
        for attribute, function in own(definer).items()
    }
    for base in cls.__bases__:
        inherited = getattr(base, '_periodic_collection', None)
        if isinstance(inherited, Collection):
            for name, function in inherited.entries:
                task = inherited.describe(name, function)
                found = inherited.undecorated.get(name)
                if found is None or found.task is not task:
                    found = Found(task, *homes.get(id(function), ()))
                yield found, inherited.spacing_of(task)
        else:
            for found in _of_mixin(base):
                yield found, None
    for attribute, function in attributes.items():
        yield Found(_attributes.read(function), attribute, cls), None


def _of_mixin(mixin: type) -> Iterator[Found]:
    """Yield the tasks of a class that has not collected them.

    The mixin resolves its own overrides, as a class below PeriodicTasks does.
    """
    seen = set()
    for found, _spacing in _candidates(mixin, own(mixin)):
        if found.attribute in seen:
            continue
        seen.add(found.attribute)
        try:
            resolved = _resolve(mixin, found)
        except exceptions.InvalidPeriodicTaskArg:
            # An error only if the class does not override it, too.
            resolved = found
        if resolved is not None:
            yield resolved


def _resolve(cls: type, found: Found) -> Found | None:
    """Apply the MRO to a task: return it, its override, or None."""
    attribute = found.attribute
    if attribute is None:
        return found
    definer = next((c for c in cls.__mro__ if attribute in vars(c)), None)
    if definer is None or definer is found.definer:
        # In the latter case the attribute may have been replaced since.
        return found
    override = vars(definer)[attribute]
    if _attributes.is_decorated(override):
        return Found(_attributes.read(override), attribute, definer)
    if callable(override):
        task = found.task._replace(function=override)
        return Found(task, attribute, definer)
    if override is not None:
        raise exceptions.InvalidPeriodicTaskArg(
            f'{definer.__qualname__}.{attribute} overrides a periodic task '
            f'with {override!r}, which cannot be called: None removes the '
            'task, and a plain function replaces it.'
        )
    return None


def _not_callable(
    task: _task.Task, cls: type
) -> exceptions.InvalidPeriodicTaskArg:
    return exceptions.InvalidPeriodicTaskArg(
        f'The periodic task {task.name!r} of {cls.__qualname__} is '
        f'{task.function!r}, which cannot be called: put the decorator '
        'outermost, on a plain function.'
    )
