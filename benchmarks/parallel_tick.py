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

"""Parallel ticks beside oslo.service 4.8.0, each side in its own process.

    python benchmarks/parallel_tick.py [--quick]

The sides take turns, and each case prints the ratio to the reference first.
A side is run as ``python benchmarks/parallel_tick.py --side LIBRARY CASE``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import importlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

LIBRARIES = ('oslo_periodic', 'oslo_service')
#: Set by the parent for the side that it starts, and inherited by workers.
LIBRARY = os.environ.get('PARALLEL_TICK_LIBRARY', 'oslo_periodic')
PROCESSES = 2

periodic_task = importlib.import_module(f'{LIBRARY}.periodic_task')


class Conf:
    """All that a conf needs, and it pickles."""

    run_external_periodic_tasks = True

    def register_opts(self, opts: Any) -> None:
        """Take them, and do nothing."""


def nothing(self: Any, context: Any) -> None:
    """Do nothing."""


def work(self: Any, context: Any) -> None:
    """Use a CPU for 50 ms."""
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass


def note_end(self: Any, context: Any) -> None:
    """Write down when it ends, on a clock that all processes share."""
    with open(context, 'a') as file:
        file.write(f'{time.monotonic()}\n')


def make_class(name: str, function: Callable[..., None], count: int) -> Any:
    """Make a class of so many equal tasks."""
    namespace: dict[str, Any] = {'__module__': __name__}
    for number in range(count):

        def task(self: Any, context: Any) -> None:
            function(self, context)

        task.__name__ = f'task_{number}'
        task.__qualname__ = f'{name}.task_{number}'
        namespace[task.__name__] = periodic_task.periodic_task(
            spacing=3600, run_immediately=True
        )(task)
    bases = (periodic_task.PeriodicTasks,)
    return type(periodic_task.PeriodicTasks)(name, bases, namespace)


Two = make_class('Two', nothing, 2)
Eight = make_class('Eight', nothing, 8)
Working = make_class('Working', work, 8)
Noting = make_class('Noting', note_end, 2)
Many = make_class('Many', nothing, 1000)


def tick(service: Any, context: Any = None) -> float:
    """Make everything due, tick, and return the seconds."""
    for name, _task in service._periodic_tasks:
        service._periodic_last_run[name] = None
    start = time.perf_counter()
    service.run_periodic_tasks_in_parallel(context, processes=PROCESSES)
    return time.perf_counter() - start


def warm(cls: Any) -> Callable[[int], list[float]]:
    """Measure ticks after the first two."""

    def measure(count: int) -> list[float]:
        service = cls(Conf())
        return [tick(service) for _ in range(count + 2)][2:]

    return measure


def cold(count: int) -> list[float]:
    """Measure the first tick of a process."""
    return [tick(Two(Conf()))]


def large(make: Callable[[], Any]) -> Callable[[int], list[float]]:
    """Measure eight tasks over an instance with much state."""

    def measure(count: int) -> list[float]:
        service = Eight(Conf())
        service.state = make()
        return [tick(service) for _ in range(count + 1)][1:]

    return measure


def objects() -> list[Any]:
    """Make about 10 MB of small objects."""
    return [{'id': i, 'name': f'name {i}'} for i in range(40_000)]


def blob() -> bytes:
    """Make 10 MB in one piece."""
    return os.urandom(10 << 20)


def latency(count: int) -> list[float]:
    """Measure from the end of the last task to the return of the tick."""
    service = Noting(Conf())
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for number in range(count + 2):
            path = pathlib.Path(directory, str(number))
            tick(service, str(path))
            returned = time.monotonic()
            found.append(returned - max(map(float, path.open())))
    return found[2:]


#: Name: what to measure, ticks in a round of ours and of the reference, the
#: statistic, and the goal in words.
CASES: dict[str, tuple[Any, int, int, str, str]] = {
    'warm, 2 no-ops': (warm(Two), 200, 3, 'median', '<= 1.5 ms'),
    'warm, 8 no-ops': (warm(Eight), 200, 3, 'median', '<= 3 ms'),
    '8 tasks of 50 ms CPU': (warm(Working), 5, 2, 'median', '<= 210 ms'),
    'last end to return': (latency, 300, 8, 'p99', '<= 1 ms'),
    'first tick, cold': (cold, 1, 1, 'median', '<= reference'),
    '8 tasks, 10 MB objects': (large(objects), 3, 1, 'median', '1/3'),
    '8 tasks, 10 MB blob': (large(blob), 3, 1, 'median', '1/10'),
    '1,000 due tasks': (warm(Many), 5, 1, 'median', '<= 150 ms'),
}


def run_side(library: str, case: str, count: int) -> list[float]:
    """Measure one case in a process of its own."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', __file__, '--side', case, str(count)],
        env={**os.environ, 'PARALLEL_TICK_LIBRARY': library},
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    measured: list[float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def compare(case: str, rounds: int) -> str:
    """Measure one case on both sides, and describe it in a line."""
    _measure, ours_count, theirs_count, statistic, goal = CASES[case]
    values: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    for _ in range(rounds):
        for library, count in zip(
            LIBRARIES, (ours_count, theirs_count), strict=True
        ):
            values[library] += run_side(library, case, count)
    figures = []
    for library in LIBRARIES:
        ordered = sorted(values[library])
        if statistic == 'p99':
            figures.append(ordered[int(len(ordered) * 0.99)] * 1000)
        else:
            figures.append(statistics.median(ordered) * 1000)
    ours, theirs = figures
    return (
        f'{case:24} {theirs / ours:8.1f} x {ours:10.2f} ms {theirs:10.2f} ms'
        f'  {statistic:6}  {goal}'
    )


def main() -> None:
    """Measure every case, or one side of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--side', nargs=2, metavar=('CASE', 'COUNT'))
    parser.add_argument('--quick', action='store_true')
    arguments = parser.parse_args()
    if arguments.side:
        case, count = arguments.side
        if LIBRARY == 'oslo_service':
            backend = importlib.import_module('oslo_service.backend')
            backend.init_backend(backend.BackendType.THREADING)
        print(json.dumps(CASES[case][0](int(count))))
        return
    print(
        f'{"case":24} {"faster":>10} {"oslo.periodic":>13} '
        f'{"oslo.service":>13}  of      goal'
    )
    for case in CASES:
        print(compare(case, 1 if arguments.quick else 5), flush=True)


if __name__ == '__main__':
    main()
