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


"""What became of the runs of each task, in bounded memory."""

from __future__ import annotations

from typing import NamedTuple

from oslo_periodic.core import _schedule
from oslo_periodic.core import _thread_ref
from oslo_periodic import status

#: The number of runs of a task that are kept.
KEPT = 10
#: Characters of an error that are kept.
_MAX_ERROR = 500
_SUCCESS = status.Outcome.SUCCESS


class Begun(NamedTuple):
    """A run that has begun."""

    row: int
    function: _schedule.Function
    started: float
    #: Seconds from the due time to the start.
    lateness: float
    #: The last run of the row from now on.
    boundary: float
    #: The thread that the task runs in; None if it is in another process.
    thread: _thread_ref.ThreadRef | None


class TaskRecord:
    """The runs of one task."""

    __slots__ = ('failures', 'failures_in_a_row', 'last_runs', 'runs')

    def __init__(self) -> None:
        self.runs = 0
        self.failures = 0
        self.failures_in_a_row = 0
        #: The fields of `status.Run`, oldest first. Plain tuples take half
        #: the time to make.
        self.last_runs: list[
            tuple[float, float, float, status.Outcome, str | None]
        ] = []


#: The record of a task that has never run.
NEVER = TaskRecord()


class History:
    """The records of a task set, by row; a row that never ran has none."""

    __slots__ = ('records', 'running', 'skipped')

    def __init__(self) -> None:
        self.records: dict[int, TaskRecord] = {}
        self.skipped: dict[int, dict[status.Skip, int]] = {}
        self.running: dict[int, Begun] = {}

    def note_end(
        self,
        begun: Begun,
        ended: float,
        outcome: status.Outcome,
        error: str | None,
    ) -> None:
        """Record a run that has ended."""
        record = self.records.get(begun.row)
        if record is None:
            record = self.records[begun.row] = TaskRecord()
        record.runs += 1
        if outcome is _SUCCESS:
            record.failures_in_a_row = 0
        else:
            record.failures += 1
            record.failures_in_a_row += 1
        runs = record.last_runs
        runs.append((begun.started, ended, begun.lateness, outcome, error))
        if len(runs) > KEPT:
            del runs[0]

    def forget(self, row: int) -> None:
        """Forget a row that was removed."""
        self.records.pop(row, None)
        self.skipped.pop(row, None)

    def note_skipped(self, row: int, reason: status.Skip, count: int) -> None:
        """Count runs that did not happen."""
        skipped = self.skipped.setdefault(row, {})
        skipped[reason] = skipped.get(reason, 0) + count


def error_line(exc: BaseException) -> str:
    """Return the class of an exception and the first line of its text."""
    try:
        text = str(exc).strip().partition('\n')[0]
    except Exception:
        text = '(its text is not available)'
    line = f'{type(exc).__name__}: {text}' if text else type(exc).__name__
    return line if len(line) <= _MAX_ERROR else f'{line[:_MAX_ERROR]}...'
