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

"""What the tasks of one tick work on, on its way to worker processes."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any
from typing import Protocol
from typing import TYPE_CHECKING

from oslo_periodic import exceptions
from oslo_periodic.process import _main
from oslo_periodic.process import _wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from oslo_periodic.backends import base

#: How deep an error looks for the value that cannot be pickled.
_DEPTH = 8
#: Types whose values a task can only replace; they are compared as they are.
_IMMUTABLE = (str, bytes, int, float, type(None))


class Tasks(Protocol):
    """Finds the function of a task; an instance keeps one in an attribute."""

    def function(self, name: str) -> Callable[[Any, Any], Any] | None:
        """Return the function of a task, or None if there is none."""


@dataclasses.dataclass(frozen=True)
class Payload:
    """The pickle of tasks, instance and context; see `base.Payload`."""

    #: The pickle, as `dump` made it.
    data: bytes | memoryview
    #: Where a worker finds the program's main module.
    main: dict[str, str]

    def with_data(self, data: bytes | memoryview) -> Payload:
        """Return the same payload over other data."""
        return Payload(data, self.main)

    def load(self, call: base.Call) -> LoadedTask:
        """Unpickle a fresh copy of the instance and the context.

        :param call: the task to run.
        :returns: what runs it.
        :raises LookupError: if the instance has no such task here.
        """
        reader = _wire.BufferReader(self.data)
        try:
            tasks, instance, context = _Unpickler(reader, self.main).load()
        finally:
            reader.release()
        function = tasks.function(call.name)
        if function is None:
            raise LookupError(
                f'{type(instance).__qualname__} has no periodic task '
                f'{call.name!r} in a worker process: its module must define '
                'the task there, too, or add it with add_periodic_task'
            )
        return LoadedTask(function, instance, context, tasks, call.watch)


class LoadedTask:
    """A task with its own copy of the instance and the context."""

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        instance: object,
        context: object,
        tasks: Tasks,
        watch: bool,
    ) -> None:
        """Take what `Payload.load` has unpickled.

        :param watch: whether to look for attributes that the task changes.
        """
        self._function = function
        self._instance = instance
        self._context = context
        self._tasks = tasks
        self._before = self._fingerprints() if watch else None

    def __call__(self) -> list[str] | None:
        """Run the task.

        :returns: the names of the attributes that it has changed; None if
            they were not watched.
        """
        self._function(self._instance, self._context)
        if self._before is None:
            return None
        before, after = self._before, self._fingerprints()
        names = sorted({*before, *after})
        return [name for name in names if before.get(name) != after.get(name)]

    def _fingerprints(self) -> dict[str, Any]:
        """Pickle each attribute of the instance that a task may change."""
        found: dict[str, Any] = {}
        # An instance may have __slots__ alone.
        for name, value in getattr(self._instance, '__dict__', {}).items():
            if value is self._tasks:
                continue
            if isinstance(value, _IMMUTABLE):
                found[name] = value
                continue
            try:
                found[name] = _wire.dump(value)
            except Exception:
                found[name] = id(value)
        return found


class _Unpickler(pickle.Unpickler):
    """Imports the program's main module when an object needs it."""

    def __init__(self, file: _wire.BufferReader, main: dict[str, str]) -> None:
        super().__init__(file)
        self._main = main

    def find_class(self, module: str, name: str) -> Any:
        if module == '__main__':
            _main.ensure(self._main)
        return super().find_class(module, name)


def dump(tasks: Tasks, instance: object, context: object) -> Payload:
    """Pickle what the tasks of one tick work on.

    :param tasks: finds the functions of the tasks; it is also the value of
        an attribute of the instance.
    :param instance: the first argument of each task.
    :param context: the second argument of each task.
    :returns: the payload, for a process pool.
    :raises NotPicklableError: naming the innermost value that cannot be
        pickled, and its type.
    :raises WorkerStartError: if this process is a worker that is importing
        the main program, which so would start workers without end.
    """
    if _main.importing:
        raise exceptions.WorkerStartError(
            'the main program runs periodic tasks in parallel while a '
            'worker process imports it: put the code that it runs below '
            "if __name__ == '__main__'"
        )
    try:
        return Payload(
            _wire.dump((tasks, instance, context)), _main.describe()
        )
    except Exception as exc:
        culprit = None
        for name, value in (('self', instance), ('context', context)):
            culprit = culprit or _find_culprit(name, value, _DEPTH)
        path, value, reason = culprit or ('self', instance, exc)
        raise exceptions.NotPicklableError(
            f'{path} cannot be pickled, so it cannot be sent to a worker '
            f'process: it is a {_wire.type_name(value)} '
            f'({type(reason).__name__}: {reason})'
        ) from exc


def _find_culprit(
    path: str, value: object, depth: int
) -> tuple[str, object, Exception] | None:
    """Find the innermost part of a value that cannot be pickled."""
    try:
        _wire.dump(value)
        return None
    except Exception as exc:
        reason = exc
    if depth:
        for label, part in _parts(value):
            found = _find_culprit(path + label, part, depth - 1)
            if found is not None:
                return found
    return path, value, reason


def _parts(value: Any) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [(f'[{key!r}]', part) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [(f'[{i}]', part) for i, part in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [('{...}', part) for part in value]
    try:
        state = value.__getstate__()
    except Exception:
        return []
    if isinstance(state, tuple):
        parts = [part for part in state if isinstance(part, dict)]
        state = {k: v for part in parts for k, v in part.items()}
    if not isinstance(state, dict):
        return []
    return [(f'.{key}', part) for key, part in state.items()]
