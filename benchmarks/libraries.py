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

"""The libraries that the benchmarks compare, behind one small interface.

A pass is one look at all tasks, which runs those that are due. All of it
happens in the calling thread.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import datetime
import functools
import importlib
import threading
import time
from typing import Any
from typing import NamedTuple
from typing import Protocol

#: Seconds, of a task that is to become due; long enough for jitter.
SPACING = 60.0
#: Seconds, of a task that is not.
NEVER = 1e9
#: Seconds from a pass to the next: every task with SPACING becomes due,
#: jitter included (at most 2 seconds of 60), and that once.
STEP = 63.0

_runs = 0


class Measured(NamedTuple):
    """What some passes took, and how many tasks they ran."""

    seconds: float
    runs: int


class Passes(Protocol):
    """Passes over tasks that are scheduled."""

    def __call__(self, count: int, pause: float | None = None) -> Measured:
        """Make passes and measure them.

        :param count: how many.
        :param pause: seconds to sleep before each. A clock then makes a
            step, and neither is measured. None: back to back, on the real
            clock, so that nothing becomes due.
        """


def make_function(index: int) -> Callable[[Any, Any], None]:
    """Make a function that does next to nothing: it counts its runs."""

    def function(self: Any, context: Any) -> None:
        global _runs
        _runs += 1

    function.__name__ = f'task_{index}'
    return function


class _Passes:
    """Passes of a library that has something to call for each."""

    def __init__(
        self, tick: Callable[[], Any], set_ahead: Callable[[float], None]
    ) -> None:
        """Make no pass yet.

        :param tick: makes a pass.
        :param set_ahead: sets the library's clock ahead of the real one by
            so many seconds.
        """
        self._tick = tick
        self._set_ahead = set_ahead
        self._ahead = 0.0

    def __call__(self, count: int, pause: float | None = None) -> Measured:
        runs, seconds, tick = _runs, 0.0, self._tick
        if pause is None:
            started = time.perf_counter()
            for _ in range(count):
                tick()
            return Measured(time.perf_counter() - started, _runs - runs)
        for _ in range(count):
            self._ahead += STEP
            self._set_ahead(self._ahead)
            if pause:
                time.sleep(pause)
            started = time.perf_counter()
            tick()
            seconds += time.perf_counter() - started
        return Measured(seconds, _runs - runs)


def _schedule_oslo(
    name: str, functions: Sequence[Any], spacings: Sequence[float]
) -> Passes:
    from oslo_config import cfg

    module: Any = importlib.import_module(name)
    namespace = {
        function.__name__: module.periodic_task(spacing=spacing)(function)
        for function, spacing in zip(functions, spacings, strict=True)
    }
    meta = type(module.PeriodicTasks)
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    service = meta('Service', (module.PeriodicTasks,), namespace)(conf)

    def set_ahead(seconds: float) -> None:
        real = time.monotonic
        module.now = lambda: real() + seconds

    return _Passes(
        functools.partial(service.run_periodic_tasks, None), set_ahead
    )


class _Turnstile(threading.Condition):
    """Where futurist's worker waits for the next due time."""

    def __init__(self, at_wait: Callable[[], None]) -> None:
        super().__init__()
        self._at_wait = at_wait

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once."""
        self._at_wait()
        return True


class _FuturistPasses:
    """The passes of a worker of futurist.periodics.

    A pass of its endless loop goes from one wait for the next due time to
    the next. No more is used than its constructor takes and public methods.
    """

    def __init__(
        self, functions: Sequence[Any], spacings: Sequence[float]
    ) -> None:
        from futurist import periodics

        self._ahead = self._seconds = self._started = 0.0
        self._count = self._left = self._runs = 0
        self._pause: float | None = None
        callables: list[Any] = [
            (periodics.periodic(spacing)(function), (None, None), None)
            for function, spacing in zip(functions, spacings, strict=True)
        ]
        turnstile: Any = functools.partial(_Turnstile, self._at_wait)
        self._worker = periodics.PeriodicWorker(
            callables,
            cond_cls=turnstile,
            now_func=lambda: time.monotonic() + self._ahead,
        )

    def __call__(self, count: int, pause: float | None = None) -> Measured:
        self._pause, self._seconds = pause, 0.0
        # One pass more, of which nothing is measured, comes first.
        self._count, self._left = count, count + 1
        self._worker.reset()
        self._worker.start()
        return Measured(self._seconds, _runs - self._runs)

    def _at_wait(self) -> None:
        self._left -= 1
        if self._left == self._count:
            self._runs = _runs
        elif self._pause is None and self._left:
            return
        else:
            self._seconds += time.perf_counter() - self._started
        if not self._left:
            self._worker.stop()
            return
        if self._pause is not None:
            self._ahead += STEP
        if self._pause:
            time.sleep(self._pause)
        self._started = time.perf_counter()


def _schedule_apscheduler(
    functions: Sequence[Any], spacings: Sequence[float]
) -> Passes:
    from apscheduler.executors import debug
    from apscheduler.schedulers import base

    class Scheduler(base.BaseScheduler):
        """A scheduler without a thread: somebody calls for each pass."""

        def wakeup(self) -> None:
            """Do nothing: there is nobody to wake up."""

        def shutdown(self, wait: bool = True) -> None:
            """End, as the base class does; it only asks to be overridden."""
            super().shutdown(wait)

    class Clock(datetime.datetime):
        """The scheduler's clock."""

        ahead = datetime.timedelta()

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.now(tz) + cls.ahead

    def set_ahead(seconds: float) -> None:
        Clock.ahead = datetime.timedelta(seconds=seconds)
        base.datetime = Clock

    scheduler = Scheduler(
        executors={'default': debug.DebugExecutor()},
        job_defaults={'misfire_grace_time': None},
        timezone='UTC',
    )
    scheduler.start()
    for function, spacing in zip(functions, spacings, strict=True):
        scheduler.add_job(
            function,
            'interval',
            (None, None),
            id=function.__name__,
            seconds=spacing,
        )
    # It has no public way to make one pass.
    return _Passes(scheduler._process_jobs, set_ahead)


#: How to schedule functions with each library. The imports are made then:
#: futurist imports eventlet wherever it is installed, so no two libraries
#: are measured in one process.
SCHEDULE: dict[str, Callable[[Sequence[Any], Sequence[float]], Passes]] = {
    'oslo.periodic': functools.partial(
        _schedule_oslo, 'oslo_periodic.periodic_task'
    ),
    'oslo.service': functools.partial(
        _schedule_oslo, 'oslo_service.periodic_task'
    ),
    'futurist': _FuturistPasses,
    'APScheduler': _schedule_apscheduler,
}
