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

"""A queue of rows by due time.

Many tasks of a service share their due times, because they were scheduled at
the same moment. So the heap holds each time once, and a dict holds the rows
of each time. A tick over 1,000 due tasks stays cheap, and 1,000,000 tasks stay
small.
"""

from __future__ import annotations

import heapq
import math


class DueQueue:
    """Rows by due time; a row may be in it more than once."""

    __slots__ = ('_rows', '_times', 'next_due')

    def __init__(self) -> None:
        #: The earliest time in the queue.
        self.next_due = math.inf
        self._times: list[float] = []
        # Many times have one row only; those take no list.
        self._rows: dict[float, int | list[int]] = {}

    def push(self, due: float, row: int) -> None:
        """Add a row."""
        rows = self._rows.get(due)
        if rows is None:
            self._rows[due] = row
            heapq.heappush(self._times, due)
            if due < self.next_due:
                self.next_due = due
        elif isinstance(rows, list):
            rows.append(row)
        else:
            self._rows[due] = [rows, row]

    def peek(self) -> list[int]:
        """Return the rows of the earliest time.

        :raises KeyError: if the queue is empty.
        """
        rows = self._rows[self.next_due]
        return rows if isinstance(rows, list) else [rows]

    def pop(self) -> list[int]:
        """Remove and return the rows of the earliest time.

        :raises KeyError: if the queue is empty.
        """
        rows = self.peek()
        del self._rows[heapq.heappop(self._times)]
        self.next_due = self._times[0] if self._times else math.inf
        return rows
