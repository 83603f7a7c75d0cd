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

"""Fixtures for the tests of services that have periodic tasks.

They need the package fixtures: ``pip install 'oslo.periodic[fixtures]'``.
"""

from __future__ import annotations

from collections.abc import Callable
import time
import weakref

from oslo_periodic import backends
from oslo_periodic.backends import base
from oslo_periodic.core import _clock
from oslo_periodic import periodic_task
from oslo_periodic import status

try:
    import fixtures
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(
        'oslo_periodic.fixture needs the package fixtures: '
        "pip install 'oslo.periodic[fixtures]'",
        name='fixtures',
    ) from exc


#: Seconds between two looks at what other threads do.
_PAUSE = 0.001


class ClockFixture(fixtures.Fixture):
    """Stop the clock of the periodic tasks; the test moves it.

    Use it before the test makes the instance whose tasks follow the clock.
    Other code that reads the time is not affected::

        clock = self.useFixture(fixture.ClockFixture())
        manager = Manager(conf)
        clock.advance(60)
        manager.run_periodic_tasks(context)

    The timer of a :class:`~oslo_periodic.runner.PeriodicRunner` follows the
    clock, too. It sleeps until the test moves the clock to the time at which a
    task is due::

        clock.advance(60)
        clock.settle()  # Now the timer has handed out what is due.
        fixture.wait_for_runs(manager, 'sync', 1)
    """

    def __init__(self, start: float = 1000.0, jitter: float = 0.0) -> None:
        """Describe the clock.

        :param start: the time at first, in seconds.
        :param jitter: which part of the jitter, at most 5% of a spacing, is
            added to each run, from 0 to 1; 0 keeps runs on their grid.
        """
        super().__init__()
        self.time = start
        self.jitter = jitter
        #: The events that timers wait for, and until when each waits.
        self._waits: dict[_clock.Event, float] = {}
        #: The events of timers that have woken and do not wait again yet.
        self._awake: weakref.WeakSet[_clock.Event] = weakref.WeakSet()

    def _setUp(self) -> None:
        for name, value in (
            ('now', self.now),
            ('random', self),
            ('_tick_clock.wait', self.wait),
            ('_tick_clock.forget', self.forget),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'{periodic_task.__name__}.{name}', value)
            )

    def now(self) -> float:
        """Return the time of the clock, in seconds."""
        return self.time

    def random(self) -> float:
        """Return the jitter, instead of :func:`random.random`."""
        return self.jitter

    def wait(self, event: _clock.Event, until: float) -> None:
        """Wait for an event, or until the test moves the clock; for timers."""
        self._waits[event] = until
        self._awake.discard(event)
        try:
            # The test may have moved the clock since the timer read it.
            if self.time < until:
                event.wait()
        finally:
            self._awake.add(event)
            del self._waits[event]

    def forget(self, event: _clock.Event) -> None:
        """Note that a timer has ended; for timers."""
        self._awake.discard(event)

    def advance(self, seconds: float) -> None:
        """Move the clock forward, and wake the timers that wait for it.

        :param seconds: how far; a negative number moves it back.
        """
        self.time += seconds
        for event, until in list(self._waits.items()):
            if until <= self.time:
                event.set()

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until every timer that was woken waits again.

        A timer that waits has handed out all tasks that are due; their runs
        may not have ended.

        :param timeout: seconds of real time to wait at most.
        :raises TimeoutError: if a timer does not wait by then.
        """
        _wait_until(
            # In this order: a timer that wakes goes from one to the other.
            lambda: (
                not any(
                    event.is_set() or until <= self.time
                    for event, until in list(self._waits.items())
                )
                and not self._awake
            ),
            'every timer waits',
            timeout,
        )


def wait_for_runs(
    tasks: periodic_task.PeriodicTasks,
    task: str,
    runs: int = 1,
    timeout: float = 10.0,
) -> status.TaskState:
    """Wait until a task has run, under any backend.

    :param tasks: the instance of PeriodicTasks.
    :param task: the name of the task.
    :param runs: how many of its runs must have ended, in all.
    :param timeout: seconds of real time to wait at most.
    :returns: the state of the task.
    :raises KeyError: if there is no such task.
    :raises TimeoutError: if it has not run so often by then.
    """
    _wait_until(
        lambda: tasks.periodic_state()[task].runs >= runs,
        f'{task} has run {runs} times',
        timeout,
    )
    return tasks.periodic_state()[task]


def _wait_until(
    condition: Callable[[], bool], what: str, timeout: float
) -> None:
    """Wait for a condition of other threads, green ones included."""
    deadline = time.monotonic() + timeout
    backend = backends.get_backend()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f'After {timeout:g} seconds, not yet: {what}')
        backend.sleep(_PAUSE)


class BackendFixture(fixtures.Fixture):
    """Select a backend for one test, and restore the selection after it.

    The backend is selected but not in use yet, as in a new process.
    """

    def __init__(self, backend: str | base.Backend | None = None) -> None:
        """Choose the backend.

        :param backend: the name, or an instance of
            :class:`~oslo_periodic.backends.base.Backend`; None chooses as a
            new process would.
        """
        super().__init__()
        self._backend = backend

    def _setUp(self) -> None:
        override = backends.override(self._backend)
        override.__enter__()
        self.addCleanup(override.__exit__, None, None, None)
        #: The backend that was selected.
        self.backend = backends.get_backend()
