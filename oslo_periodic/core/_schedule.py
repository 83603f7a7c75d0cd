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

"""When each task is due.

Pure data. It knows neither the clock nor what a task is: the drivers bring
the time along, and get back what they put in. A tick goes::

    collect(now)          the rows that are due
    start(row)            whether to run one; it is marked as running then
    ... the task ...
    finish(row, ...)      back into the queue of due times

A task is a row, numbered in the order of registration, and a schedule is a
few columns, which keeps 1,000,000 tasks small. What is ready (due, and not
started yet) is shared by everybody who ticks, so a tick that is cut short, or
a slow one in another thread, keeps nothing from running.

Due times are never searched for in the queue: what a row has left behind
there is dropped when it comes up, or when there is too much of it.
"""

from __future__ import annotations

import array
from collections.abc import Callable
import math
import threading
from typing import Any

from oslo_periodic.core import _due_queue

# Where a row is: held or disabled; in the queue; due, and not started yet;
# running; removed.
_IDLE, _WAITING, _READY, _RUNNING, _GONE = range(5)
# Why a row is held, as bits: each is lifted by whom it was set.
EXTERNAL, PAUSED, DISABLED = 1, 2, 4
#: Stale queue items that are tolerated whatever the number of rows.
_SLACK = 64
#: Runs that are counted as missed, at most: a spacing may be tiny.
_MOST_MISSED = 2.0**53
#: What the column of last runs holds for "never", and array has no None for.
_NEVER = math.nan


class Schedule:
    """The rows, and which of them are due.

    It may be used from several threads. Nothing in it blocks, so neither
    does its lock for longer than a few steps.
    """

    def __init__(self) -> None:
        #: The row of each name, in the order of registration.
        self.rows: dict[str, int] = {}
        #: By row: the name, and what the driver runs.
        self.names: list[str] = []
        self.tasks: list[Any] = []
        #: By row: seconds; negative disables. Change it by `set_spacing`.
        self.spacing = array.array('d')
        #: The rows that are due and not started yet.
        self.ready: set[int] = set()
        #: Called, if set, when a row may be due sooner than it was.
        self.on_change: Callable[[], None] | None = None
        #: The rows that run at once if they have missed a run.
        self.run_once: set[int] = set()
        #: The rows that somebody has asked for, due or not.
        self.requested: set[int] = set()
        #: The rows that run once more if they were due while they ran.
        self.queueing: set[int] = set()
        self._last_run = array.array('d')
        self._place = bytearray()
        #: By row, the bits of why it is held.
        self._held: dict[int, int] = {}
        #: The rows that were asked for while they ran.
        self._again: set[int] = set()
        self._queue = _due_queue.DueQueue()
        #: How many items in the queue their rows have left behind.
        self._stale = 0
        self._lock = threading.Lock()

    def add(
        self,
        name: str,
        task: Any,
        spacing: float,
        last_run: float | None,
        held: int = 0,
    ) -> int:
        """Add a row.

        A known name keeps its row (and goes on running, if it runs), and
        takes the new values.

        :param name: the task's name.
        :param task: what the driver runs.
        :param spacing: seconds; negative disables.
        :param last_run: on the drivers' clock; None means due at once.
        :param held: the bits of why a new row is held.
        :returns: the row.
        """
        if last_run is None:
            last_run = _NEVER
        with self._lock:
            row = self.rows.get(name)
            if row is None:
                row = self.rows[name] = len(self.tasks)
                self.names.append(name)
                self.tasks.append(task)
                self.spacing.append(spacing)
                self._last_run.append(last_run)
                self._place.append(_IDLE)
                if held:
                    self._held[row] = held
            else:
                self.tasks[row] = task
                self.spacing[row] = spacing
                self._last_run[row] = last_run
            self._reconsider(row)
        self.notify()
        return row

    def remove(self, name: str) -> None:
        """Forget a row; if it runs, that run is its last."""
        with self._lock:
            row = self.rows.pop(name)
            self.tasks[row] = None
            self._leave(row)
            self._place[row] = _GONE
            self._held.pop(row, None)
            for rows in (
                self.run_once,
                self.queueing,
                self.requested,
                self._again,
            ):
                rows.discard(row)

    def last_run(self, row: int) -> float | None:
        """Return when a row ran last; None: never."""
        last_run = self._last_run[row]
        return None if math.isnan(last_run) else last_run

    def set_last_run(self, row: int, last_run: float | None) -> None:
        """Move a row's last run, and with it the next."""
        with self._lock:
            self._last_run[row] = _NEVER if last_run is None else last_run
            self._reconsider(row)
        self.notify()

    def set_spacing(self, row: int, spacing: float) -> None:
        """Change a row's spacing, counted from its last run."""
        with self._lock:
            self.spacing[row] = spacing
            if spacing < 0:
                self._forget_request(row)
            self._reconsider(row)
        self.notify()

    def _forget_request(self, row: int) -> None:
        self.requested.discard(row)
        self._again.discard(row)

    def hold(self, row: int, reason: int, held: bool) -> None:
        """Keep a row from becoming due, or let it again.

        :param row: the row.
        :param reason: ``EXTERNAL``, ``PAUSED`` or ``DISABLED``; a row is held
            as long as there is a reason.
        :param held: whether the reason is there.
        """
        with self._lock:
            if held and reason == DISABLED:
                self._forget_request(row)
            reasons = self._held.get(row, 0)
            reasons = reasons | reason if held else reasons & ~reason
            if reasons:
                self._held[row] = reasons
            else:
                self._held.pop(row, None)
            self._reconsider(row)
        self.notify()

    def held(self, row: int) -> int:
        """Return the bits of why a row is held; 0: it is not."""
        return self._held.get(row, 0)

    def is_ready(self, row: int) -> bool:
        """Say whether a row is due and not started yet."""
        return self._place[row] == _READY

    def is_running(self, row: int) -> bool:
        """Say whether a row was started and has not finished."""
        return self._place[row] == _RUNNING

    def request(self, row: int) -> bool:
        """Make a row ready now, held or not; its grid stays as it is.

        :returns: False if it runs, and none is to be queued behind that; or
            if it was removed.
        """
        with self._lock:
            if self._place[row] == _RUNNING:
                if row not in self.queueing or row in self._again:
                    return False
                self._again.add(row)
                self.requested.add(row)
                return True
            if self._place[row] == _GONE:
                return False
            self._leave(row)
            self._place[row] = _READY
            self.ready.add(row)
            self.requested.add(row)
        self.notify()
        return True

    def skip_missed(self, row: int, now: float) -> int:
        """Move a row that is waiting on to its next boundary.

        A row that is to run once for what it has missed goes to the last
        boundary that has passed, so it is due.

        :param row: the row.
        :param now: the current time.
        :returns: how many boundaries were passed over.
        """
        with self._lock:
            spacing, last_run = self.spacing[row], self._last_run[row]
            # What runs sees for itself what it misses.
            if (
                self._place[row] == _RUNNING
                or spacing <= 0
                or not now - last_run >= spacing
            ):
                return 0
            missed = math.floor(min((now - last_run) / spacing, _MOST_MISSED))
            if row in self.run_once:
                missed -= 1
            self._last_run[row] = last_run + missed * spacing
            self._reconsider(row)
        self.notify()
        return missed

    @property
    def next_due(self) -> float:
        """When the next row is due that is waiting; perhaps too early."""
        return self._queue.next_due

    def is_due(self, now: float) -> bool:
        """Say whether a tick has anything to do; it may err on that side."""
        return self._queue.next_due <= now or bool(self.ready)

    def idle(self, now: float, at_most: float) -> float:
        """Say how long nothing is due.

        :param now: the current time.
        :param at_most: the longest answer, in seconds.
        :returns: seconds from 0 to ``at_most``.
        """
        return 0.0 if self.ready else self.until_due(now, at_most)

    def until_due(self, now: float, at_most: float) -> float:
        """Say how long nothing becomes due beside what is ready.

        :param now: the current time.
        :param at_most: the longest answer, in seconds.
        :returns: seconds from 0 to ``at_most``.
        """
        if self._stale:
            with self._lock:
                self._drop_stale()
        until = self._queue.next_due - now
        if until >= at_most:
            return at_most
        return 0.0 if until < 0 else until

    def due(self, row: int) -> float:
        """Return when a row is due: minus infinity if it never ran."""
        spacing, last_run = self.spacing[row], self._last_run[row]
        if spacing < 0 or row in self._held:
            return math.inf
        return -math.inf if last_run != last_run else last_run + spacing

    def collect(self, now: float) -> list[int]:
        """Make ready what is due.

        :param now: the current time.
        :returns: all rows that are ready, ascending.
        """
        with self._lock:
            self._move_due(now)
            return sorted(self.ready)

    def collect_more(self, now: float) -> list[int]:
        """Make ready what has become due.

        :param now: the current time.
        :returns: the rows that became ready by this call.
        """
        if self._queue.next_due > now:
            return []
        with self._lock:
            return self._move_due(now)

    def start(self, row: int) -> bool:
        """Mark a ready row as running.

        :param row: as :meth:`collect` gave it.
        :returns: False if it is not ready any more, and must not run.
        """
        with self._lock:
            # What has changed since it was collected is not ready any more.
            if self._place[row] != _READY:
                return False
            self.ready.discard(row)
            if not self.ready:
                self.ready.clear()  # Gives the memory of a large one back.
            self._place[row] = _RUNNING
            return True

    def release(self, row: int) -> None:
        """Take a row back that was to run, and has not."""
        with self._lock:
            if self._place[row] == _RUNNING:
                self._enqueue(row)

    def give_back(self, row: int) -> None:
        """Make a row ready again that was to run, and has not."""
        with self._lock:
            if self._place[row] == _RUNNING:
                self._place[row] = _READY
                self.ready.add(row)

    def move_last_run(self, row: int, boundary: float) -> None:
        """Set the last run of a row that is running."""
        self._last_run[row] = boundary

    def finish(
        self,
        row: int,
        started: float,
        ended: float,
        boundary: float,
    ) -> int:
        """Queue a row that ran.

        A run that was longer than the spacing has missed boundaries. Those
        are skipped, unless somebody has set the last run in the meantime;
        one of them is not, where the row is to run once for them.

        :param row: as :meth:`start` was given it.
        :param started: the time at which the run started.
        :param ended: the time at which it ended.
        :param boundary: as :meth:`move_last_run` was given it.
        :returns: how many boundaries are skipped.
        """
        missed = 0
        with self._lock:
            spacing = self.spacing[row]
            if (
                ended - started > spacing > 0
                and self._last_run[row] == boundary
            ):
                quotient = min((ended - boundary) / spacing, _MOST_MISSED)
                missed = math.ceil(quotient) - 1
                if missed and (row in self.run_once or row in self.queueing):
                    missed -= 1
                self._last_run[row] = boundary + missed * spacing
            if self._place[row] != _RUNNING:
                pass
            elif row in self._again:
                self._again.discard(row)
                self._place[row] = _READY
                self.ready.add(row)
            else:
                self._enqueue(row)
        return missed

    def notify(self) -> None:
        """Tell whoever waits that a row may be due sooner than it was."""
        if self.on_change is not None:
            self.on_change()

    def _move_due(self, now: float) -> list[int]:
        moved = []
        queue, place = self._queue, self._place
        while queue.next_due <= now:
            time = queue.next_due
            for row in queue.pop():
                if place[row] == _WAITING and self.due(row) == time:
                    place[row] = _READY
                    moved.append(row)
                else:
                    self._stale -= 1
        self.ready.update(moved)
        return moved

    def _reconsider(self, row: int) -> None:
        """Queue a row anew, after something about it has changed."""
        if self._place[row] >= _RUNNING or row in self.requested:
            # What runs is queued with the values of its end, and so is what
            # somebody has asked for.
            return
        self._leave(row)
        self._enqueue(row)
        if self._stale > len(self.tasks) + _SLACK:
            self._compact()

    def _enqueue(self, row: int) -> None:
        due = self.due(row)
        if due == math.inf:
            self._place[row] = _IDLE
        else:
            self._place[row] = _WAITING
            self._queue.push(due, row)

    def _leave(self, row: int) -> None:
        """Take a row from where it is, but for its item in the queue."""
        self.ready.discard(row)
        self.requested.discard(row)
        if self._place[row] == _WAITING:
            self._stale += 1

    def _drop_stale(self) -> None:
        """Drop what is stale at the head, so that the next time is right."""
        queue, place = self._queue, self._place
        while self._stale and queue.next_due != math.inf:
            rows = queue.peek()
            for row in rows:
                if place[row] == _WAITING and self.due(row) == queue.next_due:
                    return
            queue.pop()
            self._stale -= len(rows)

    def _compact(self) -> None:
        queue = _due_queue.DueQueue()
        for row in self.rows.values():
            if self._place[row] == _WAITING:
                queue.push(self.due(row), row)
        self._queue, self._stale = queue, 0
