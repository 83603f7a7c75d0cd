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

"""The reference's private attributes, as views over a schedule."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import MutableMapping
import math
import numbers
from typing import Any

from oslo_periodic.core import _schedule
from oslo_periodic.declare import _task
from oslo_periodic import exceptions


class _View(MutableMapping[str, Any]):
    """One column of a schedule, by task name.

    The names are those of the schedule: a value can be changed or, by
    deleting it, reset, but no name can come or go.
    """

    def __init__(self, schedule: _schedule.Schedule) -> None:
        self._schedule = schedule

    def __iter__(self) -> Iterator[str]:
        return iter(self._schedule.rows)

    def __len__(self) -> int:
        return len(self._schedule.rows)

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
        try:
            return self._schedule.rows[name]
        except KeyError:
            raise KeyError(
                f'no periodic task {name!r}; add_periodic_task() adds one'
            ) from None


class LastRunView(_View):
    """When each task ran last, on the clock of the ticks; None: never."""

    def __getitem__(self, name: str) -> float | None:
        return self._schedule.last_run(self._schedule.rows[name])

    def __setitem__(self, name: str, value: Any) -> None:
        row = self._row(name)
        if value is not None and not (
            isinstance(value, numbers.Real) and math.isfinite(value)
        ):
            raise exceptions.InvalidPeriodicTaskArg(
                f'The last run of the periodic task {name!r} must be a time '
                f'or None, not {value!r}.'
            )
        last_run: Any = value
        self._schedule.set_last_run(row, last_run)

    def __delitem__(self, name: str) -> None:
        self[name] = None


class SpacingView(_View):
    """The seconds from one run of each task to the next."""

    def __init__(
        self,
        schedule: _schedule.Schedule,
        first: Callable[[int], Any],
    ) -> None:
        """View a schedule.

        :param schedule: what is viewed.
        :param first: gives the spacing that a row had at first.
        """
        super().__init__(schedule)
        self._first = first

    def __getitem__(self, name: str) -> float:
        return self._schedule.spacing[self._schedule.rows[name]]

    def __setitem__(self, name: str, value: Any) -> None:
        row = self._row(name)
        self._schedule.set_spacing(row, _task.normal_spacing(value, name))

    def __delitem__(self, name: str) -> None:
        self[name] = self._first(self._row(name))


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

    A change takes effect: what comes is scheduled, at the end of the order,
    and what goes does not run again.
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


class ReferenceAttributes:
    """The reference's private attributes of an instance.

    Services and their tests use them. PeriodicTasks derives from this.
    """

    # What the class itself has.
    conf: Any
    _periodic_state: Any

    @staticmethod
    def _periodic_now() -> float:
        raise NotImplementedError

    @property
    def _periodic_tasks(self) -> list[tuple[str, Any]]:
        state = self._periodic_state
        tasks: list[tuple[str, Any]] = state.task_list(
            self._periodic_set_tasks
        )
        return tasks

    @_periodic_tasks.setter
    def _periodic_tasks(self, pairs: list[tuple[str, Any]]) -> None:
        self._periodic_set_tasks(pairs)

    def _periodic_set_tasks(self, pairs: list[tuple[str, Any]]) -> None:
        self._periodic_state.replace(self.conf, pairs, self._periodic_now())

    @property
    def _periodic_last_run(self) -> MutableMapping[str, Any]:
        return LastRunView(self._periodic_state.schedule)

    @_periodic_last_run.setter
    def _periodic_last_run(self, values: dict[str, Any]) -> None:
        self._periodic_last_run.update(values)

    @property
    def _periodic_spacing(self) -> MutableMapping[str, Any]:
        state = self._periodic_state
        return SpacingView(state.schedule, state.first_spacing)

    @_periodic_spacing.setter
    def _periodic_spacing(self, values: dict[str, Any]) -> None:
        self._periodic_spacing.update(values)
