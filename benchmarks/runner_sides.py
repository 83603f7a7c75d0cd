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

"""Tasks that write down their starts, and the libraries that run them.

Each library is started by one function. It has eight workers, where it has
any, and its default settings otherwise.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from collections.abc import Sequence
from concurrent import futures
import datetime
import functools
import importlib
import math
import threading
import time
from typing import Any
from typing import NamedTuple
from typing import Protocol

WORKERS = 8
#: Seconds that a start may be early on its grid: APScheduler reads another
#: clock, which may be adjusted.
_EARLY = 0.005


class Task:
    """A task that writes down when it starts."""

    def __init__(self, number: int, body: float, runs: int) -> None:
        """Run nothing yet.

        :param number: which of them.
        :param body: seconds that a run sleeps.
        :param runs: at most.
        """
        self.name = f'task_{number}'
        self._starts = array.array('d', bytes(8 * runs))
        self._count = 0
        self._body = body

    @property
    def starts(self) -> list[float]:
        """When it has started."""
        return self._starts[: self._count].tolist()

    def make_function(self) -> Callable[..., None]:
        """Make the function that a library runs."""
        starts, body = self._starts, self._body

        def function(*args: Any, **kwargs: Any) -> None:
            start = time.monotonic()
            if self._count < len(starts):
                starts[self._count] = start
                self._count += 1
            if body:
                time.sleep(body)

        function.__name__ = self.name
        return function


class Served(NamedTuple):
    """What the starts of one task tell."""

    due: int
    runs: int
    lateness: list[float]
    drift: float | None


def look_at(
    starts: Sequence[float], first: float, spacing: float, end: float
) -> Served:
    """Tell how a task has kept to its grid.

    :param starts: its starts.
    :param first: when it was due first.
    :param spacing: seconds.
    :param end: what is due from then on is not counted.
    """
    due = max(0, math.ceil((end - first) / spacing))
    lateness: list[float] = []
    served = -1
    counted = []
    for start in starts:
        point = math.floor((start - first + _EARLY) / spacing)
        if point >= due or point <= served:
            continue
        lateness.append(start - first - (served + 1) * spacing)
        served = point
        counted.append(start)
    drift = None
    if len(counted) > 1:
        moved = counted[-1] - counted[0] + spacing / 2
        drift = moved % spacing - spacing / 2
    return Served(due, len(counted), lateness, drift)


class Start(Protocol):
    """Start to run functions periodically, in threads of the library."""

    def __call__(
        self,
        functions: Sequence[Callable[..., None]],
        spacing: float,
        firsts: Sequence[float],
    ) -> Sequence[float]:
        """Start, and return at once.

        :param functions: what to run; they take any arguments.
        :param spacing: seconds.
        :param firsts: when each is due first.
        :returns: when each is due first, if the library has decided.
        """


def _make_service(
    name: str,
    functions: Sequence[Callable[..., None]],
    spacing: float,
    **arguments: Any,
) -> Any:
    from oslo_config import cfg

    module: Any = importlib.import_module(f'{name}.periodic_task')
    namespace = {
        function.__name__: module.periodic_task(spacing=spacing, **arguments)(
            function
        )
        for function in functions
    }
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    meta = type(module.PeriodicTasks)
    return meta('Service', (module.PeriodicTasks,), namespace)(conf)


def _plan(
    service: Any,
    functions: Sequence[Callable[..., None]],
    spacing: float,
    firsts: Sequence[float],
) -> None:
    """Set when the tasks are due first, as services and tests do."""
    for function, first in zip(functions, firsts, strict=True):
        service._periodic_last_run[function.__name__] = first - spacing


def _start_oslo_periodic(
    functions: Sequence[Callable[..., None]],
    spacing: float,
    firsts: Sequence[float],
    spread: bool = False,
) -> Sequence[float]:
    from oslo_periodic import runner

    service = _make_service('oslo_periodic', functions, spacing, spread=spread)
    if spread:
        # The phase of each from its name; only the start is ours.
        last_runs = service._periodic_last_run.copy()
        start, first = firsts[0], min(last_runs.values())
        firsts = [
            start + last_runs[function.__name__] - first
            for function in functions
        ]
    _plan(service, functions, spacing, firsts)
    runner.PeriodicRunner(service).start()
    return firsts


def _start_oslo_service(
    functions: Sequence[Callable[..., None]],
    spacing: float,
    firsts: Sequence[float],
) -> Sequence[float]:
    backend: Any = importlib.import_module('oslo_service.backend')
    backend.init_backend(backend.BackendType.THREADING)
    service = _make_service('oslo_service', functions, spacing)
    _plan(service, functions, spacing, firsts)

    def loop() -> None:
        while True:
            time.sleep(service.run_periodic_tasks(None))

    threading.Thread(target=loop, daemon=True).start()
    return firsts


def _start_futurist(
    functions: Sequence[Callable[..., None]],
    spacing: float,
    firsts: Sequence[float],
) -> Sequence[float]:
    from futurist import periodics

    # A first time for each is what its strategies can say, and no argument.
    strategies = periodics.PeriodicWorker.BUILT_IN_STRATEGIES
    by_name = {
        function.__name__: first
        for function, first in zip(functions, firsts, strict=True)
    }

    class Worker(periodics.PeriodicWorker):
        """Its default strategy, but for the first time."""

        BUILT_IN_STRATEGIES = {
            **strategies,
            'phased': (
                strategies['last_started'][0],
                lambda callback, now: by_name[callback.__name__],
            ),
        }

    worker = Worker(
        [(periodics.periodic(spacing)(f), None, None) for f in functions],
        executor_factory=lambda: futures.ThreadPoolExecutor(WORKERS),
        schedule_strategy='phased',
        now_func=time.monotonic,
    )
    threading.Thread(target=worker.start, daemon=True).start()
    return firsts


def _start_apscheduler(
    functions: Sequence[Callable[..., None]],
    spacing: float,
    firsts: Sequence[float],
) -> Sequence[float]:
    from apscheduler.executors import pool
    from apscheduler.schedulers import background

    scheduler = background.BackgroundScheduler(
        executors={'default': pool.ThreadPoolExecutor(WORKERS)},
        job_defaults={'coalesce': True, 'max_instances': 1},
        timezone=datetime.UTC,
    )
    offset = time.time() - time.monotonic()
    for function, first in zip(functions, firsts, strict=True):
        scheduler.add_job(
            function,
            'interval',
            id=function.__name__,
            seconds=spacing,
            start_date=datetime.datetime.fromtimestamp(
                first + offset, datetime.UTC
            ),
        )
    scheduler.start()
    return firsts


#: The library that this project replaces, and its name in the tables.
REFERENCE = 'oslo.service'
#: How to start each side. The imports are made then: futurist imports
#: eventlet wherever it is installed, so no two are run in one process.
START: dict[str, Start] = {
    'oslo.periodic': _start_oslo_periodic,
    'oslo.periodic, spread': functools.partial(
        _start_oslo_periodic, spread=True
    ),
    'oslo.service': _start_oslo_service,
    'futurist': _start_futurist,
    'APScheduler': _start_apscheduler,
}
