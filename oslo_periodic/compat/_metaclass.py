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

"""The metaclass of PeriodicTasks, with the reference's class attributes."""

from __future__ import annotations

from typing import Any

from oslo_periodic.declare import _attributes
from oslo_periodic.declare import _collection
from oslo_periodic.declare import _task


class PeriodicTasksMeta(type):
    """Collects the tasks of each class when it is made."""

    _periodic_collection: _collection.Collection

    def __init__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(name, bases, namespace, **kwargs)
        cls._periodic_collection = _collection.collect(cls)

    @property
    def _periodic_tasks(cls) -> list[tuple[str, _task.Function]]:
        return cls._periodic_collection.entries

    @_periodic_tasks.setter
    def _periodic_tasks(cls, pairs: list[tuple[str, _task.Function]]) -> None:
        cls._periodic_collection.entries = pairs

    @_periodic_tasks.deleter
    def _periodic_tasks(cls) -> None:
        cls._periodic_collection.entries = _collection.collect(cls).entries

    @property
    def _periodic_spacing(cls) -> dict[str, _task.Spacing]:
        return cls._periodic_collection.spacing

    @_periodic_spacing.setter
    def _periodic_spacing(cls, spacing: dict[str, _task.Spacing]) -> None:
        cls._periodic_collection.spacing = spacing

    @_periodic_spacing.deleter
    def _periodic_spacing(cls) -> None:
        cls._periodic_collection.spacing = _collection.collect(cls).spacing

    def _add_periodic_task(cls, task: object) -> bool:
        """Add a task to the class, for instances made from now on.

        :returns: whether the task is enabled.
        """
        description = _attributes.read_added(task)
        if not _collection.is_active(description):
            return False
        collection = cls._periodic_collection
        if _collection.is_new(description, dict(collection.entries)):
            collection.add(_collection.Found(description))
        return True
