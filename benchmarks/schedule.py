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

"""Time the schedule alone over many rows, and check what it says is due.

    python benchmarks/schedule.py [--rows ROWS] [--rounds ROUNDS]

Each figure is the minimum and the median of the rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import statistics
import time
from typing import Any

from oslo_periodic.core import _schedule

#: Seconds. Last runs are spread over so many seconds from 0 on.
_SPACING = 10
_SPREAD = 7
#: Seconds; nothing is due at the first, and the last runs before
#: _DUE - _SPACING are due at the second.
_IDLE = 9
_DUE = 12


def _time(samples: list[float], function: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    result = function()
    samples.append(time.perf_counter() - started)
    return result


def _fill(rows: int) -> _schedule.Schedule:
    schedule = _schedule.Schedule()
    for row in range(rows):
        schedule.add(f't{row}', None, _SPACING, row % _SPREAD)
    return schedule


def _check(due: list[int], rows: int) -> None:
    latest = _DUE - _SPACING
    if list(due) != [row for row in range(rows) if row % _SPREAD <= latest]:
        raise RuntimeError('the rows that are due are not those expected')


def _measure(rows: int, rounds: int) -> dict[str, list[float]]:
    adding: list[float] = []
    idle: list[float] = []
    collecting: list[float] = []
    for _ in range(rounds):
        schedule = _time(adding, lambda: _fill(rows))
        if _time(idle, lambda: schedule.is_due(_IDLE)):
            raise RuntimeError('nothing should be due yet')
        _check(_time(collecting, lambda: schedule.collect(_DUE)), rows)
    return {'add': adding, 'is it due?': idle, 'collect': collecting}


def main() -> None:
    """Measure as the command line says, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rows', type=int, default=1_000_000)
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    print(f'{args.rows:,} rows; milliseconds, minimum / median:')
    for title, samples in _measure(args.rows, args.rounds).items():
        figures = min(samples) * 1e3, statistics.median(samples) * 1e3
        print(f'  {title:<12}{figures[0]:12,.4f} /{figures[1]:12,.4f}')


if __name__ == '__main__':
    main()
