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

"""How the state of an instance gets into a copy, a pickle or a worker."""

from __future__ import annotations

import pickle
from typing import Any
from typing import TYPE_CHECKING

from oslo_periodic.core import _schedule

if TYPE_CHECKING:
    from oslo_periodic.core import _task_set


def pack(state: _task_set.State) -> tuple[Any, ...]:
    """Keep the schedule; what runs or is paused here is not so in a copy.

    A function that the class lists travels as its name, so it need not be
    importable: a profiler may have replaced it on the class.
    """
    listed = dict(state.owner._periodic_collection.listed)
    schedule = state.schedule
    rows = []
    for name, row in list(schedule.rows.items()):
        function = schedule.tasks[row]
        if listed.get(name) is function:
            function = None
        held = schedule.held(row) & ~_schedule.PAUSED
        last_run = schedule.last_run(row)
        rows.append((name, function, schedule.spacing[row], last_run, held))
    external = state.external, state.external_held
    return state.owner, rows, external, state.read, state.defaults


def unpack(state: _task_set.State, packed: tuple[Any, ...]) -> None:
    """Fill a state that is empty.

    It does not follow the configuration by itself.

    :param state: what is filled.
    :param packed: what `pack` gave.
    :raises LookupError: if a task of the class is not there.
    """
    owner, rows, (external, state.external_held), read, defaults = packed
    state.external, state.read = list(external), dict(read)
    state.defaults = defaults
    collection = owner._periodic_collection
    listed = dict(collection.listed)
    for name, function, spacing, last_run, held in rows:
        if function is None:
            function = listed.get(name)
        if function is None:
            raise LookupError(
                f'{owner.__qualname__} has no periodic task {name!r} '
                'here: is it the same version of the class?'
            )
        row = state.schedule.add(name, function, spacing, last_run, held)
        if name in state.read:
            state.apply(row, state.read[name])
    for task in collection.disabled(owner):
        state.unscheduled[task.name] = task
    for name, function in listed.items():
        if name in state.read and name not in state.schedule.rows:
            state.unscheduled[name] = collection.describe(name, function)


def reduce_for_worker(state: _task_set.State) -> tuple[Any, ...]:
    """Reduce to what a worker process needs of it to run tasks.

    It looks functions up by their names; the schedule is unpacked there if a
    task asks for it. Of the functions that were added to the instance only
    those travel that can be imported.
    """
    added, rows = {}, []
    for name, row in list(state.schedule.rows.items()):
        function = state.schedule.tasks[row]
        last_run = state.schedule.last_run(row)
        rows.append((name, state.schedule.spacing[row], last_run))
        attribute = getattr(function, '__name__', '')
        if getattr(state.owner, attribute, None) is function:
            continue  # The class has it in the worker, too.
        if is_importable(function):
            added[name] = function
    return _make, (type(state), state.owner, added, pickle.dumps(rows))


def _make(cls: Any, owner: Any, added: Any, rows: bytes) -> Any:
    state = cls.__new__(cls)
    state.start(owner)
    del state.schedule  # It is unpacked if a task asks for it.
    state.packed = added, rows
    return state


def worker_schedule(state: _task_set.State) -> _schedule.Schedule:
    """Unpack the schedule in a worker process."""
    added, rows = state.packed
    functions = {**dict(state.owner._periodic_collection.listed), **added}
    schedule = _schedule.Schedule()
    for name, spacing, last_run in pickle.loads(rows):  # noqa: S301
        function = functions.get(name)
        if function is not None:
            schedule.add(name, function, spacing, last_run)
    return schedule


def is_importable(function: Any) -> bool:
    """Say whether a function can travel to another process by its name."""
    try:
        pickle.dumps(function)
    except Exception:
        return False
    return True
