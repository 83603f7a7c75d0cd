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


"""The reference's private attributes of instances."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from oslo_periodic.compat import _views
from oslo_periodic.core import _task_set


class ReferenceAttributes:
    """The attributes that services and their tests use.

    PeriodicTasks derives from it and overrides the two methods.
    """

    def _periodic_task_set(self) -> _task_set.TaskSet:
        """Return the task set of the instance."""
        raise NotImplementedError

    def _periodic_replace(self, pairs: list[tuple[str, Any]]) -> None:
        """Make the task set agree with a list of names and functions."""
        raise NotImplementedError

    @property
    def _periodic_tasks(self) -> list[tuple[str, Any]]:
        return _views.task_list(
            self._periodic_task_set(), self._periodic_replace
        )

    @_periodic_tasks.setter
    def _periodic_tasks(self, pairs: list[tuple[str, Any]]) -> None:
        self._periodic_replace(pairs)

    @property
    def _periodic_last_run(self) -> MutableMapping[str, Any]:
        return _views.LastRunView(self._periodic_task_set())

    @_periodic_last_run.setter
    def _periodic_last_run(self, values: dict[str, Any]) -> None:
        self._periodic_last_run.update(values)

    @property
    def _periodic_spacing(self) -> MutableMapping[str, Any]:
        return _views.SpacingView(self._periodic_task_set())

    @_periodic_spacing.setter
    def _periodic_spacing(self, values: dict[str, Any]) -> None:
        self._periodic_spacing.update(values)
