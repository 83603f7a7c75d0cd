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

"""Find the tasks that an operator names."""

from __future__ import annotations

from collections.abc import Sequence

from oslo_periodic.core import _schedule
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _names
from oslo_periodic import exceptions


def find(
    task_sets: Sequence[_task_set.TaskSet], task: str
) -> list[_task_set.Ref]:
    """Find a task by its name.

    :param task_sets: the task sets to search.
    :param task: its name, with the name of its class or without; the module
        of the class may precede it.
    :returns: several, if several instances of one class have the task.
    :raises RunnerError: if there is no such task, the name is ambiguous, or
        the task is disabled.
    """
    found: dict[str, list[_task_set.Ref]] = {}
    known = []
    names = names_of_classes(task_sets)
    for tasks in task_sets:
        owner = tasks.owner
        prefixes = (
            '',
            f'{owner.__name__}.',
            f'{owner.__module__}.{owner.__qualname__}.',
        )
        for name in tasks.task_names():
            full_name = f'{names[tasks]}.{name}'
            known.append(full_name)
            if task not in [f'{prefix}{name}' for prefix in prefixes]:
                continue
            refs = found.setdefault(full_name, [])
            row = tasks.schedule.row(name)
            if row is not None and not _is_disabled(tasks, row):
                refs.append(_task_set.Ref(tasks, row))
    if len(found) == 1:
        ((full_name, refs),) = found.items()
        if not refs:
            raise exceptions.RunnerError(
                f'the periodic task {full_name} is disabled; its options in '
                f'[periodic_task:{full_name}] can enable it'
            )
        return refs
    if found:
        raise exceptions.RunnerError(
            f'several periodic tasks are named {task}: '
            f'{" and ".join(sorted(found))}; give the full name of one'
        )
    near = _names.nearest(task, known, 0.0)
    raise exceptions.RunnerError(
        f'there is no periodic task {task}'
        + (f'; did you mean {near}?' if near else '')
    )


def _is_disabled(tasks: _task_set.TaskSet, row: int) -> bool:
    # Not by its activity: the task may be running to its end.
    held = tasks.schedule.held(row) & _schedule.DISABLED
    return bool(held) or tasks.schedule.spacing(row) < 0


def names_of_classes(
    task_sets: Sequence[_task_set.TaskSet],
) -> dict[_task_set.TaskSet, str]:
    """Return the names of classes, with the module where two are alike."""
    owners: dict[str, set[type]] = {}
    for tasks in task_sets:
        owners.setdefault(tasks.class_name, set()).add(tasks.owner)
    return {
        tasks: tasks.class_name
        if len(owners[tasks.class_name]) == 1
        else f'{tasks.owner.__module__}.{tasks.owner.__qualname__}'
        for tasks in task_sets
    }
