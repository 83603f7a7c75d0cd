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

"""PeriodicRunner beside other libraries, each side in its own process.

    python benchmarks/runner.py [--quick] [--side LIBRARY CASE]

The sides take turns in each case. A side is run as ``--side LIBRARY CASE``,
and prints what it has measured as JSON. Where a case has rounds, the runs are
those of all, the longest lateness, too, and the rest is their median. A ratio
is the value by that of the library at its head.

Every task has a grid: its first due time, and so many spacings after that.
A run serves the point of the grid that it follows; a point that no run has
served is lost. Lateness is the start minus the first point since the run
before. Drift is how far the last start is from the first one's grid, and the
median of the tasks is printed: none has a steady one of their own. CPU time
is that of the process, from the first point on, its set-up not included.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import statistics
import subprocess
import sys
import time
from typing import Any
from typing import NamedTuple

import runner_sides

#: Seconds after the end, for runs that were due before it.
_GRACE = 0.5


class Case(NamedTuple):
    """What is run, and what is wanted of it."""

    #: Printed above the table.
    title: str
    tasks: int
    #: Seconds, as all times here.
    spacing: float
    body: float
    seconds: float
    quick: float
    #: Lateness p99 at most, of oslo.periodic; None if there is no goal.
    p99: float | None = None
    #: The body of the first task, of which nothing else is measured.
    slow: float | None = None
    #: Whether the first due times are spread evenly over the spacing.
    phased: bool = True
    #: For the set-up.
    lead: float = 2.0
    #: How often each side is measured, in turn.
    rounds: int = 1
    #: Whether drifting, or more CPU than futurist, misses a goal.
    strict: bool = False


_EVEN = Case('100 tasks of 1 ms at 1 s spacing', 100, 1.0, 0.001, 15, 5, 0.005)
_SLOW = _EVEN._replace(
    title='One task of 2 s beside 99 of 10 ms at 1 s spacing: the 99',
    body=0.01,
    p99=0.01,
    slow=2.0,
)
_MANY = '10,000 tasks that do nothing at 60 s spacing'
_IDLE = '100 tasks at 3,600 s spacing, of which none is due'
CASES = {
    'even load': _EVEN._replace(rounds=3, strict=True),
    'even load, unphased': _EVEN._replace(p99=None, phased=False),
    'one slow': _SLOW,
    'one slow, unphased': _SLOW._replace(p99=None, phased=False),
    'many': Case(_MANY, 10_000, 60.0, 0.0, 30, 10, 0.02, lead=6.0),
    'idle': Case(_IDLE, 100, 3600.0, 0.0, 10, 5, phased=False),
}


def sleep_until(moment: float) -> None:
    """Sleep until a time of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))


def measure(library: str, case: Case, seconds: float) -> dict[str, Any]:
    """Run one side in this process, and tell what came of it."""
    runs = int(3 * seconds / case.spacing) + 10
    tasks = [runner_sides.Task(i, case.body, runs) for i in range(case.tasks)]
    if case.slow is not None:
        tasks[0] = runner_sides.Task(0, case.slow, runs)
    began = time.monotonic()
    origin = began + case.lead
    if case.spacing > seconds and not case.phased:
        origin += case.spacing  # Nothing becomes due.
    step = case.spacing / case.tasks if case.phased else 0.0
    firsts = runner_sides.START[library](
        [task.make_function() for task in tasks],
        case.spacing,
        [origin + step * i for i in range(case.tasks)],
    )
    set_up = time.monotonic() - began
    if set_up > case.lead:
        return {'failure': f'its set-up took {set_up:.0f} s'}
    sleep_until(began + case.lead)
    cpu = time.process_time()
    end = began + case.lead + seconds
    sleep_until(end)
    cpu = time.process_time() - cpu
    sleep_until(end + _GRACE)
    served = [
        runner_sides.look_at(task.starts, first, case.spacing, end)
        for task, first in zip(tasks, firsts, strict=True)
    ][case.slow is not None :]
    late = sorted(late for each in served for late in each.lateness)
    drifts = [each.drift for each in served if each.drift is not None]
    found: dict[str, Any] = {
        'due': sum(each.due for each in served),
        'runs': sum(each.runs for each in served),
        'set_up': set_up,
        'cpu': cpu,
    }
    if drifts:
        found['drift'] = statistics.median(drifts)
    if late:
        found['p50'] = statistics.median(late)
        found['p99'] = late[int(len(late) * 0.99)]
        found['max'] = late[-1]
    return found


def run_side(library: str, name: str, quick: bool) -> dict[str, Any]:
    """Measure one side in a process of its own."""
    case = CASES[name]
    command = [sys.executable, '-W', 'ignore', __file__]
    command += ['--quick'] if quick else []
    timeout = case.lead + (case.quick if quick else case.seconds) + 40
    try:
        done = subprocess.run(
            [*command, '--side', library, name],
            stdout=subprocess.PIPE,
            check=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return {'failure': f'not in {timeout:.0f} s'}
    except subprocess.CalledProcessError as exc:
        return {'failure': f'exit code {exc.returncode}'}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def merge(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Bring the rounds of a side together."""
    merged: dict[str, Any] = {}
    for found in rounds:
        if 'failure' in found:
            return found
        for key in found:
            values = [each[key] for each in rounds if key in each]
            if key in ('due', 'runs'):
                merged[key] = sum(values)
            elif key == 'max':
                merged[key] = max(values)
            else:
                merged[key] = statistics.median(values)
    return merged


def _number(found: dict[str, Any], key: str) -> str:
    """Write milliseconds."""
    # No zero is negative.
    return f'{round(found[key] * 1000, 1) + 0.0:,.1f}' if key in found else '-'


def _ratio(found: dict[str, Any], other: dict[str, Any], key: str) -> str:
    if not other.get(key) or key not in found:
        return '-'
    return f'{found[key] / other[key]:.2g} x'


_ROW = '{:22}{:>7}{:>7}{:>8}{:>9}{:>9}{:>9}{:>10}{:>10}{:>9}{:>8}'
_HEADS = (
    ('', '', '', 'drift', 'p50', 'p99', 'max', 'p99 by', 'CPU', 'CPU by'),
    ('library', 'runs', 'lost', *('ms',) * 4, 'o.service', 'ms', 'futurist'),
)


def print_table(found: dict[str, dict[str, Any]]) -> None:
    """Print what the sides of a case have measured."""
    print(_ROW.format(*_HEADS[0], 'set-up'))
    print(_ROW.format(*_HEADS[1], 'ms'))
    for library, side in found.items():
        if 'failure' in side:
            print(f'{library:22}did not finish: {side["failure"]}')
            continue
        print(
            _ROW.format(
                library,
                f'{side["runs"]:,}',
                f'{side["due"] - side["runs"]:,}',
                *(_number(side, key) for key in ('drift', 'p50', 'p99')),
                _number(side, 'max'),
                _ratio(side, found[runner_sides.REFERENCE], 'p99'),
                _number(side, 'cpu'),
                _ratio(side, found['futurist'], 'cpu'),
                _number(side, 'set_up'),
            )
        )


def print_goals(case: Case, found: dict[str, dict[str, Any]]) -> None:
    """Print the goals of a case, and which are met."""
    if case.p99 is None:
        return
    for library, side in found.items():
        if not library.startswith('oslo.periodic') or 'failure' in side:
            continue
        goals = {
            f'p99 <= {case.p99 * 1000:g} ms': side.get('p99', math.inf)
            <= case.p99,
            'nothing lost': side['runs'] == side['due'],
        }
        if case.strict:
            goals['no drift'] = abs(side.get('drift', 1)) < 0.001
            limit = found['futurist'].get('cpu', math.inf)
            goals['CPU <= futurist'] = side['cpu'] <= limit
        said = '; '.join(
            f'{goal}: {"met" if met else "MISSED"}'
            for goal, met in goals.items()
        )
        print(f'goals, {library}: {said}')


def compare(name: str, quick: bool) -> None:
    """Measure one case on every side, and print it."""
    case = CASES[name]
    seconds = case.quick if quick else case.seconds
    rounds = 1 if quick else case.rounds
    print(f'{name}: {case.title}, {rounds} x {seconds:g} s', flush=True)
    sides: dict[str, list[dict[str, Any]]] = {
        library: []
        for library in runner_sides.START
        if case.phased or 'spread' not in library
    }
    for _ in range(rounds):
        for library, measured in sides.items():
            measured.append(run_side(library, name, quick))
    found = {library: merge(measured) for library, measured in sides.items()}
    print_table(found)
    print_goals(case, found)
    if not case.phased and case.body:
        slow = case.slow is not None
        tasks, workers = case.tasks - slow, runner_sides.WORKERS - slow
        print(
            f'All are due at one instant: {tasks} take {workers} free workers '
            f'{tasks / workers * case.body * 1000:.0f} ms at least.'
        )
    print(flush=True)


def main() -> None:
    """Measure every case, or one side of one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--side', nargs=2, metavar=('LIBRARY', 'CASE'))
    arguments = parser.parse_args()
    if arguments.side is None:
        for name in CASES:
            compare(name, arguments.quick)
        return
    library, name = arguments.side
    case = CASES[name]
    # What the libraries warn of is measured here, and not to be read.
    logging.getLogger().addHandler(logging.NullHandler())
    seconds = case.quick if arguments.quick else case.seconds
    print(json.dumps(measure(library, case, seconds)), flush=True)
    # Not all of them can be stopped, and nothing is to be kept.
    os._exit(0)


if __name__ == '__main__':
    main()
