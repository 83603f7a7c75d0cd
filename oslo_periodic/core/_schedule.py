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

Pure data: the schedule knows neither the clock nor what a task does. Drivers
pass the time in::

    collect(now)          rows that are due become READY
    take(row)             READY -> TAKEN: no other driver starts it
    begin(row, boundary)  TAKEN -> RUNNING: the last run moves
    ... the task ...
    finish(row, ...)      RUNNING -> QUEUED, or IDLE, or READY again

A task is a row, and the schedule is a few columns, which keeps 1,000,000 tasks
small. All drivers of an instance
share the READY rows, so a tick that is cut short, or a slow one in another
thread, delays no other driver.

Due times are never searched for in the queue: an item that its row has left
behind is dropped when it reaches the head, or when there are too many.

This module is longer than others because it is one state machine: every
change of a row is here, in a method that holds the lock.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from collections.abc import Iterable
import math
import threading
from typing import Protocol

from oslo_periodic.core import _due_queue

#: Called with the PeriodicTasks instance and the context.
Function = Callable[..., object]

# The place of a row. Every row is in exactly one.
#: Held, disabled, or removed: it will not become due.
IDLE = 0
#: In the queue, by due time.
QUEUED = 1
#: Due or requested, and not started.
READY = 2
#: Handed to a driver; its run has not begun.
TAKEN = 3
RUNNING = 4

# Reasons to hold a row, as bits: whoever sets a reason clears it.
EXTERNAL, PAUSED, DISABLED = 1, 2, 4

# Properties of a row, as bits.
#: The row runs once, at once, if it has missed runs.
RUN_ONCE = 1
#: The row runs once more if it was due while it ran.
QUEUE_ONE = 2
#: No jitter is added, so the phase of the grid stays.
FIXED_PHASE = 4
#: EXTERNAL holds the row while external tasks are held.
IS_EXTERNAL = 8

#: Stale queue items that are tolerated, whatever the number of rows.
_SLACK = 64
#: Upper bound on a count of missed runs: a spacing may be tiny.
MOST_MISSED = 2.0**53
#: "Never" in the column of last runs: an array has no None.
_NEVER = math.nan


class Listener(Protocol):
    """Sleeps until the next row is due, and has to know of earlier ones."""

    def due_changed(self, due: float) -> None:
        """Wake up if a row that is due at this time needs it."""


class Schedule:
    """The rows, and which of them are due.

    Any thread may use it. No method blocks, and the lock is held for a few
    steps at a time.
    """

    __slots__ = (
        '_active',
        '_flags',
        '_free',
        '_functions',
        '_held',
        '_last_order',
        '_last_run',
        '_listener',
        '_lock',
        '_names',
        '_new_ready',
        '_order',
        '_place',
        '_queue',
        '_ready',
        '_removed',
        '_requested',
        '_requested_while_running',
        '_rows',
        '_spacing',
        '_stale',
    )

    def __init__(self) -> None:
        #: The row of each name, in the order of registration.
        self._rows: dict[str, int] = {}
        # The columns.
        self._names: list[str] = []
        self._functions: list[Function | None] = []
        self._spacing = array.array('d')
        self._last_run = array.array('d')
        self._place = bytearray()
        self._flags = bytearray()
        #: The sequence number of the registration, once a row was reused;
        #: until then rows are in that order themselves.
        self._order: array.array[int] | None = None
        self._last_order = 0
        #: Rows of removed tasks, for new ones.
        self._free: list[int] = []
        #: By row, the reasons to hold it; a row that is not held has none.
        self._held: dict[int, int] = {}
        self._ready: set[int] = set()
        #: The rows that are TAKEN or RUNNING.
        self._active: set[int] = set()
        #: READY or TAKEN rows that run whether or not they are due.
        self._requested: set[int] = set()
        #: TAKEN or RUNNING rows that become READY when their run ends.
        self._requested_while_running: set[int] = set()
        #: TAKEN or RUNNING rows that were removed, by name: a task that is
        #: added under that name takes the row over, so it cannot run twice.
        self._removed: dict[str, int] = {}
        self._queue = _due_queue.DueQueue()
        #: The number of queue items that their rows have left behind.
        self._stale = 0
        self._listener: Listener | None = None
        #: For the listener, rows that have become READY.
        self._new_ready: list[int] = []
        self._lock = threading.Lock()

    # Rows come and go.

    def add(
        self,
        name: str,
        function: Function,
        spacing: float,
        last_run: float | None,
        held: int = 0,
        flags: int = 0,
    ) -> int:
        """Add a row, or give new values to the row of a known name.

        A row that is running goes on.

        :param name: the task's name.
        :param function: the function that a driver calls.
        :param spacing: seconds; negative disables.
        :param last_run: on the drivers' clock; None means due at once.
        :param held: the reasons to hold a new row.
        :param flags: the properties of the row.
        :returns: the row.
        """
        if last_run is None:
            last_run = _NEVER
        with self._lock:
            row = self._rows.get(name)
            if row is None:
                row = self._removed.pop(name, None)
                if row is not None and held:
                    self._held[row] = held
            if row is None:
                row = self._new_row(name, function, spacing, last_run, flags)
                if held:
                    self._held[row] = held
                self._enqueue(row)
            else:
                self._functions[row] = function
                self._spacing[row] = spacing
                self._last_run[row] = last_run
                self._flags[row] = flags
                self._relocate(row)
            # Last, so that a name is never there before its columns.
            self._rows[name] = row
        if self._listener is not None:
            self._notify(row)
        return row

    def _new_row(
        self,
        name: str,
        function: Function,
        spacing: float,
        last_run: float,
        flags: int,
    ) -> int:
        """Fill the columns of a new row, which is IDLE."""
        if self._free:
            row = self._free.pop()
            if self._order is None:
                self._order = array.array('q', range(len(self._names)))
                self._last_order = len(self._names) - 1
            self._order[row] = self._next_order()
            self._names[row] = name
            self._functions[row] = function
            self._spacing[row] = spacing
            self._last_run[row] = last_run
            self._flags[row] = flags
            return row
        row = len(self._names)
        self._names.append(name)
        self._functions.append(function)
        self._spacing.append(spacing)
        self._last_run.append(last_run)
        self._place.append(IDLE)
        self._flags.append(flags)
        if self._order is not None:
            self._order.append(self._next_order())
        return row

    def _next_order(self) -> int:
        self._last_order += 1
        return self._last_order

    def remove(self, name: str) -> int:
        """Remove a row; if it is running, that run is its last.

        :returns: the row.
        :raises KeyError: if there is no such name.
        """
        with self._lock:
            row = self._rows.pop(name)
            self._functions[row] = None
            self._held.pop(row, None)
            self._flags[row] = 0
            self._forget_request(row)
            if self._place[row] >= TAKEN:
                self._removed[name] = row
            else:
                self._detach(row)
                self._place[row] = IDLE
                self._free.append(row)
        return row

    # What a row is.

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def items(self) -> list[tuple[str, int]]:
        """Return names and rows, in the order of registration."""
        # A copy, which is atomic, rather than the lock: a report must not
        # wait for a thread that is stuck with it.
        return list(self._rows.copy().items())

    def row(self, name: str) -> int | None:
        """Return the row of a name; None if there is none."""
        return self._rows.get(name)

    def name(self, row: int) -> str:
        """Return the name of a row, also of one that was removed."""
        return self._names[row]

    def function(self, row: int) -> Function | None:
        """Return the function of a row; None if it was removed."""
        return self._functions[row]

    def spacing(self, row: int) -> float:
        """Return the seconds between two runs; negative disables."""
        return self._spacing[row]

    def last_run(self, row: int) -> float | None:
        """Return when a row ran last; None: never."""
        last_run = self._last_run[row]
        return None if last_run != last_run else last_run

    def timing(self, row: int) -> tuple[float | None, float, int]:
        """Return the last run, the spacing and the properties of a row."""
        last_run = self._last_run[row]
        return (
            None if last_run != last_run else last_run,
            self._spacing[row],
            self._flags[row],
        )

    def flag(self, row: int, flag: int) -> bool:
        """Say whether a row has a property."""
        return bool(self._flags[row] & flag)

    def flags(self, row: int) -> int:
        """Return the properties of a row, as bits."""
        return self._flags[row]

    def any_flag(self, flag: int) -> bool:
        """Say whether any row has a property."""
        return any(flags & flag for flags in self._flags)

    def held(self, row: int) -> int:
        """Return the reasons why a row is held, as bits; 0: none."""
        return self._held.get(row, 0)

    def place(self, row: int) -> int:
        """Return the place of a row."""
        return self._place[row]

    def due(self, row: int) -> float:
        """Return when a row is due.

        :returns: minus infinity if it has never run, infinity if it will not
            run.
        """
        spacing, last_run = self._spacing[row], self._last_run[row]
        if spacing < 0 or row in self._held or self._functions[row] is None:
            return math.inf
        return -math.inf if last_run != last_run else last_run + spacing

    def unfinished(self) -> list[int]:
        """Return the rows that are ready, taken or running."""
        return sorted(self._ready | self._active)  # Atomic, as above.

    # Changes from outside.

    def set_last_run(self, row: int, last_run: float | None) -> None:
        """Move a row's last run, and with it the next."""
        with self._lock:
            self._last_run[row] = _NEVER if last_run is None else last_run
            self._relocate(row)
        self._notify(row)

    def set_spacing(self, row: int, spacing: float) -> None:
        """Change a row's spacing; the next run counts from the last one."""
        with self._lock:
            self._spacing[row] = spacing
            if spacing < 0:
                self._forget_request(row)
            self._relocate(row)
        self._notify(row)

    def set_flags(self, row: int, mask: int, flags: int) -> None:
        """Change properties of a row.

        :param row: the row.
        :param mask: the properties to change, as bits.
        :param flags: those of them that the row has from now on.
        """
        with self._lock:
            self._flags[row] = self._flags[row] & ~mask | flags & mask

    def hold(self, row: int, reason: int, held: bool) -> None:
        """Keep a row from becoming due, or stop to.

        :param row: the row.
        :param reason: ``EXTERNAL``, ``PAUSED`` or ``DISABLED``; a row is held
            as long as it has a reason.
        :param held: whether the row has this reason.
        """
        with self._lock:
            self._hold(row, reason, held)
        self._notify(row)

    def hold_external(self, held: bool) -> None:
        """Hold all external rows for the reason ``EXTERNAL``, or stop to."""
        with self._lock:
            rows = [
                row
                for row in self._rows.values()
                if self._flags[row] & IS_EXTERNAL
            ]
            for row in rows:
                self._hold(row, EXTERNAL, held)
        for row in rows:
            self._notify(row)

    def _hold(self, row: int, reason: int, held: bool) -> None:
        if held and reason == DISABLED:
            self._forget_request(row)
        reasons = self._held.get(row, 0)
        reasons = reasons | reason if held else reasons & ~reason
        if reasons:
            self._held[row] = reasons
        else:
            self._held.pop(row, None)
        self._relocate(row)

    def request(self, row: int) -> bool:
        """Make a row ready now, held or not; its grid does not move.

        :returns: False if the row is running and does not queue another run,
            or has one queued, or was removed.
        """
        with self._lock:
            if self._functions[row] is None:
                return False
            if self._place[row] >= TAKEN:
                again = self._requested_while_running
                if not self._flags[row] & QUEUE_ONE or row in again:
                    return False
                again.add(row)
                return True
            self._detach(row)
            self._make_ready(row)
            self._requested.add(row)
        self._notify(row)
        return True

    def skip_missed(
        self, row: int, now: float, spacing: float | None = None
    ) -> int:
        """Move a row that is not running on to its next boundary.

        A ``RUN_ONCE`` row moves to the last boundary that has passed instead,
        so it is due.

        :param row: the row.
        :param now: the current time.
        :param spacing: its new spacing; None leaves it as it is.
        :returns: how many boundaries were passed over.
        """
        with self._lock:
            if spacing is not None:
                self._spacing[row] = spacing
            missed = self._skip_missed(row, now)
            self._relocate(row)
        self._notify(row)
        return missed

    def _skip_missed(self, row: int, now: float) -> int:
        spacing, last_run = self._spacing[row], self._last_run[row]
        # A run counts what it has missed when it ends.
        if (
            self._place[row] >= TAKEN
            or spacing <= 0
            or not now - last_run >= spacing
        ):
            return 0
        missed = math.floor(min((now - last_run) / spacing, MOST_MISSED))
        if self._flags[row] & RUN_ONCE:
            missed -= 1
        self._last_run[row] = last_run + missed * spacing
        return missed

    # What is due.

    @property
    def next_due(self) -> float:
        """When the next queued row is due; it may be too early."""
        return self._queue.next_due

    def is_due(self, now: float) -> bool:
        """Say whether a tick may have something to do."""
        return self._queue.next_due <= now or bool(self._ready)

    def idle(self, now: float, at_most: float) -> float:
        """Return for how long no row is due.

        :param now: the current time.
        :param at_most: the longest answer, in seconds.
        :returns: seconds from 0 to ``at_most``.
        """
        return 0.0 if self._ready else self.until_due(now, at_most)

    def until_due(self, now: float, at_most: float) -> float:
        """Return for how long no queued row becomes due.

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

    def collect(self, now: float) -> list[int]:
        """Make rows that are due ready.

        :param now: the current time.
        :returns: all ready rows, in the order of registration.
        """
        with self._lock:
            self._move_due(now)
            return self._in_order(self._ready)

    def _in_order(self, rows: Iterable[int]) -> list[int]:
        if self._order is None:
            return sorted(rows)
        return sorted(rows, key=self._order.__getitem__)

    def order(self, row: int) -> int:
        """Return a number that grows in the order of registration."""
        return row if self._order is None else self._order[row]

    def collect_more(self, now: float) -> list[int]:
        """Make rows that are due ready.

        :param now: the current time.
        :returns: the rows that this call made ready.
        """
        if self._queue.next_due > now:
            return []
        with self._lock:
            return self._move_due(now)

    def listen(self, listener: Listener | None) -> None:
        """Have one listener notified when a row may be due sooner.

        :param listener: replaces the present one; None: no listener.
        """
        with self._lock:
            self._listener = listener
            self._new_ready = [] if listener is None else sorted(self._ready)

    def is_listener(self, listener: Listener) -> bool:
        """Say whether this is the present listener."""
        return self._listener is listener

    def collect_new(self, now: float) -> list[int]:
        """Make rows that are due ready, for the listener.

        :param now: the current time.
        :returns: the rows that have become ready since the last call, in
            whichever way; at the first call, all ready rows.
        """
        if self._queue.next_due > now and not self._new_ready:
            return []
        with self._lock:
            self._move_due(now)
            rows, self._new_ready = self._new_ready, []
        return rows

    # A run.

    def take(self, row: int) -> bool:
        """Take a ready row, so that no other driver starts it.

        :returns: False if the row is not ready any more and must not run.
        """
        with self._lock:
            if self._place[row] != READY:
                return False
            self._ready.discard(row)
            if not self._ready:
                self._ready.clear()  # Frees the memory of a large set.
            self._place[row] = TAKEN
            self._active.add(row)
            return True

    def requeue(self, row: int) -> None:
        """Put back a row that was taken and has not begun."""
        with self._lock:
            if self._place[row] != TAKEN:
                return
            self._place[row] = IDLE
            self._active.discard(row)
            again = row in self._requested_while_running
            self._requested_while_running.discard(row)
            if self._functions[row] is None:
                self._release(row)
            elif again or row in self._requested:
                self._requested.add(row)
                self._make_ready(row)
            else:
                self._enqueue(row)
        self._notify(row)

    def begin(self, row: int, boundary: float) -> tuple[Function, bool] | None:
        """Mark a taken row as running, and move its last run.

        :param row: the row.
        :param boundary: its last run from now on.
        :returns: the function to call, and whether the run was requested;
            None if the row was removed meanwhile and must not run.
        """
        with self._lock:
            function = self._functions[row]
            if function is None:
                self._place[row] = IDLE
                self._active.discard(row)
                self._release(row)
                return None
            self._place[row] = RUNNING
            self._last_run[row] = boundary
            requested = row in self._requested
            self._requested.discard(row)
            return function, requested

    def finish(
        self, row: int, started: float, ended: float, boundary: float
    ) -> int | None:
        """Put back a row whose run has ended.

        A run longer than the spacing has missed boundaries. They are skipped,
        unless the last run was set from outside during the run; a ``RUN_ONCE``
        or ``QUEUE_ONE`` row keeps the last of them, and is due.

        :param row: the row.
        :param started: when the run started.
        :param ended: when it ended.
        :param boundary: as passed to :meth:`begin`.
        :returns: how many boundaries were skipped; None if the row was
            removed during the run.
        """
        missed = 0
        with self._lock:
            spacing = self._spacing[row]
            if (
                ended - started > spacing > 0
                and self._last_run[row] == boundary
            ):
                quotient = min((ended - boundary) / spacing, MOST_MISSED)
                missed = math.ceil(quotient) - 1
                if missed and self._flags[row] & (RUN_ONCE | QUEUE_ONE):
                    missed -= 1
                self._last_run[row] = boundary + missed * spacing
            self._place[row] = IDLE
            self._active.discard(row)
            if self._functions[row] is None:
                self._release(row)
                return None
            if row in self._requested_while_running:
                self._requested_while_running.discard(row)
                self._requested.add(row)
                self._make_ready(row)
            else:
                self._enqueue(row)
        if self._listener is not None:
            self._notify(row)
        return missed

    def after_fork(self) -> None:
        """Drop, in a forked child, what runs in the parent.

        Rows that are TAKEN or RUNNING there are placed anew here, and no
        driver listens. Another thread may have held the lock at the fork.
        """
        self._lock = threading.Lock()
        self._listener, self._new_ready = None, []
        active, self._active = self._active, set()
        self._requested_while_running.clear()
        for row in active:
            self._place[row] = IDLE
            if self._functions[row] is None:
                self._release(row)
            else:
                self._enqueue(row)

    # Transitions; the lock is held.

    def _move_due(self, now: float) -> list[int]:
        moved = []
        queue, place = self._queue, self._place
        while queue.next_due <= now:
            time = queue.next_due
            for row in queue.pop():
                if place[row] == QUEUED and self.due(row) == time:
                    place[row] = READY
                    moved.append(row)
                else:
                    self._stale -= 1
        self._ready.update(moved)
        if self._listener is not None:
            self._new_ready += moved
        return moved

    def _relocate(self, row: int) -> None:
        """Put a row into its place again, after one of its values changed.

        A row that is TAKEN or RUNNING is placed when its run ends, and a
        requested row stays READY.
        """
        if self._place[row] >= TAKEN or row in self._requested:
            return
        self._detach(row)
        self._enqueue(row)
        if self._stale > len(self._names) + _SLACK:
            self._compact()

    def _enqueue(self, row: int) -> None:
        due = self.due(row)
        if due == math.inf:
            self._place[row] = IDLE
        else:
            self._place[row] = QUEUED
            self._queue.push(due, row)

    def _make_ready(self, row: int) -> None:
        self._place[row] = READY
        self._ready.add(row)
        if self._listener is not None:
            self._new_ready.append(row)

    def _detach(self, row: int) -> None:
        """Remove a row from the ready ones; its queue item stays, stale."""
        self._ready.discard(row)
        if self._place[row] == QUEUED:
            self._stale += 1

    def _release(self, row: int) -> None:
        """Release a removed row whose run has ended."""
        del self._removed[self._names[row]]
        self._free.append(row)

    def _forget_request(self, row: int) -> None:
        self._requested.discard(row)
        self._requested_while_running.discard(row)

    def _drop_stale(self) -> None:
        """Drop stale items at the head, so that the next due time is right."""
        queue, place = self._queue, self._place
        while self._stale and queue.next_due != math.inf:
            rows = queue.peek()
            for row in rows:
                if place[row] == QUEUED and self.due(row) == queue.next_due:
                    return
            queue.pop()
            self._stale -= len(rows)

    def _compact(self) -> None:
        queue = _due_queue.DueQueue()
        for row in self._rows.values():
            if self._place[row] == QUEUED:
                queue.push(self.due(row), row)
        self._queue, self._stale = queue, 0

    # Without the lock: the listener may wake another thread.

    def _notify(self, row: int) -> None:
        """Tell the listener when a row is due."""
        listener = self._listener
        if listener is None:
            return
        if self._place[row] == READY:
            listener.due_changed(-math.inf)
        elif self._place[row] == QUEUED:
            listener.due_changed(self.due(row))
