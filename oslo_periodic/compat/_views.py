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

"""The reference's private attributes of instances, as views."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import MutableMapping
import math
from typing import Any

from oslo_periodic.core import _task_set
from oslo_periodic.declare import _policy
from oslo_periodic.declare import _task
from oslo_periodic import exceptions


class _View(MutableMapping[str, Any]):
    """One column of a schedule, by task name.

    The names are those of the schedule: a value can be changed or, by
    deleting it, reset, but no name can be added or removed.
    """

    def __init__(self, tasks: _task_set.TaskSet) -> None:
        self._tasks = tasks
        self._schedule = tasks.schedule

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _row in self._schedule.items()])

    def __len__(self) -> int:
        return len(self._schedule)

    def __repr__(self) -> str:
        return repr(dict(self))

    def copy(self) -> dict[str, Any]:
        """Return the present values as a plain dict."""
        return dict(self)

    def clear(self) -> None:
        """Reset every value."""
        for name in self:
            del self[name]

    def _row(self, name: str) -> int:
        """Return the row of a task.

        :raises KeyError: if there is no such task.
        """
        row = self._schedule.row(name)
        if row is None:
            raise KeyError(
                f'no periodic task {name!r}; add_periodic_task() adds one'
            )
        return row


class LastRunView(_View):
    """When each task ran last, on the clock of the ticks; None: never."""

    def __getitem__(self, name: str) -> float | None:
        return self._schedule.last_run(self._row(name))

    def __setitem__(self, name: str, value: object) -> None:
        row = self._row(name)
        last_run = None
        if value is not None:
            last_run = _policy.as_seconds(value)
            if last_run is None or not math.isfinite(last_run):
                raise exceptions.InvalidPeriodicTaskArg(
                    f'The last run of the periodic task {name!r} must be a '
                    f'time or None, not {value!r}.'
                )
        self._schedule.set_last_run(row, last_run)

    def __delitem__(self, name: str) -> None:
        self[name] = None


class SpacingView(_View):
    """The seconds from one run of each task to the next."""

    def __getitem__(self, name: str) -> float:
        return self._schedule.spacing(self._row(name))

    def __setitem__(self, name: str, value: object) -> None:
        row = self._row(name)
        self._schedule.set_spacing(row, _task.normal_spacing(value, name))

    def __delitem__(self, name: str) -> None:
        self[name] = self._tasks.first_spacing(self._row(name))


def _applying(method: str) -> Callable[..., Any]:
    change = getattr(list, method)

    def changed(self: TaskList, *args: Any, **kwargs: Any) -> Any:
        result = change(self, *args, **kwargs)
        self.apply(self)
        return result

    changed.__name__ = method
    return changed


class TaskList(list[tuple[str, Any]]):
    """The (name, function) pairs of an instance.

    A change takes effect: an added task is scheduled, at the end of the
    order, and a removed one does not run again.
    """

    def __init__(
        self,
        pairs: list[tuple[str, Any]],
        apply: Callable[[list[tuple[str, Any]]], None],
    ) -> None:
        super().__init__(pairs)
        self.apply = apply


for _method in (
    '__delitem__ __iadd__ __setitem__ append clear extend insert pop remove'
).split():
    setattr(TaskList, _method, _applying(_method))


def task_list(
    tasks: _task_set.TaskSet,
    apply: Callable[[list[tuple[str, Any]]], None],
) -> TaskList:
    """List the tasks of an instance as the reference does.

    :param tasks: the task set.
    :param apply: called with the list after each change.
    """
    schedule = tasks.schedule
    pairs = [(name, schedule.function(row)) for name, row in schedule.items()]
    return TaskList(pairs, apply)
