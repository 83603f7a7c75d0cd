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


"""Take a schedule to a copy, a pickle or a worker process."""

from __future__ import annotations

from collections.abc import Mapping
import pickle
from typing import NamedTuple

from oslo_periodic.core import _schedule
from oslo_periodic.declare import _task

#: Name, function (None: the class lists it), spacing, last run, the reasons
#: to hold it, and the flags.
PackedRow = tuple[
    str, _schedule.Function | None, float, float | None, int, int
]


def pack_rows(
    schedule: _schedule.Schedule,
    listed: Mapping[str, _schedule.Function],
) -> list[PackedRow]:
    """Pack the rows of a schedule; running and paused ones are not so there.

    A function that the class lists is packed by name, so it need not be
    importable: a profiler may have replaced it on the class.

    :param schedule: the schedule.
    :param listed: the functions that the class lists, by name.
    """
    rows: list[PackedRow] = []
    for name, row in schedule.items():
        function = schedule.function(row)
        if function is None:
            continue  # Removed meanwhile.
        known = _task.same_function(listed.get(name), function)
        rows.append(
            (
                name,
                None if known else function,
                schedule.spacing(row),
                schedule.last_run(row),
                schedule.held(row) & ~_schedule.PAUSED,
                schedule.flags(row),
            )
        )
    return rows


def unpack_rows(
    schedule: _schedule.Schedule,
    rows: list[PackedRow],
    listed: Mapping[str, _schedule.Function],
    owner_name: str,
) -> None:
    """Fill an empty schedule.

    :param schedule: the schedule to fill.
    :param rows: as :func:`pack_rows` returned them.
    :param listed: the functions that the class lists, by name.
    :param owner_name: the name of the class, for the error.
    :raises LookupError: if the class does not list a function.
    """
    for name, packed, spacing, last_run, held, flags in rows:
        function = packed or listed.get(name)
        if function is None:
            raise LookupError(
                f'{owner_name} has no periodic task {name!r} here: is it the '
                'same version of the class?'
            )
        schedule.add(name, function, spacing, last_run, held, flags)


class WorkerState(NamedTuple):
    """What a worker process gets of a schedule."""

    #: Functions that the class does not have, by name.
    added: dict[str, _schedule.Function]
    #: Pickled: unpacking costs more than most tasks in a worker need.
    rows: bytes

    def schedule(
        self, listed: Mapping[str, _schedule.Function]
    ) -> _schedule.Schedule:
        """Unpack the schedule.

        :param listed: the functions that the class lists, by name.
        """
        functions = {**listed, **self.added}
        schedule = _schedule.Schedule()
        for name, spacing, last_run in pickle.loads(self.rows):  # noqa: S301
            function = functions.get(name)
            if function is not None:
                schedule.add(name, function, spacing, last_run)
        return schedule


def for_worker(schedule: _schedule.Schedule, owner: type) -> WorkerState:
    """Pack a schedule for a worker process.

    Of the functions that were added to the instance, only those that can be
    imported are packed.

    :param schedule: the schedule.
    :param owner: the class of the instance.
    """
    added, rows = {}, []
    for name, row in schedule.items():
        function = schedule.function(row)
        if function is None:
            continue  # Removed meanwhile.
        rows.append((name, schedule.spacing(row), schedule.last_run(row)))
        attribute = getattr(function, '__name__', '')
        if getattr(owner, attribute, None) is function:
            continue  # The class has it in the worker, too.
        if is_importable(function):
            added[name] = function
    return WorkerState(added, pickle.dumps(rows))


def is_importable(function: _schedule.Function) -> bool:
    """Say whether a function pickles, so that a worker can import it."""
    try:
        pickle.dumps(function)
    except Exception:
        return False
    return True
