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

"""The time, and how to wait for it.

Everything that depends on time goes through a clock, so that a test can
replace it and decide when a timer wakes.
"""

from __future__ import annotations

from collections.abc import Callable
import random
import time
from typing import Protocol


class Event(Protocol):
    """What a clock can wait on, such as :class:`threading.Event`."""

    def set(self) -> None:
        """Set the event, and wake the threads that wait for it."""

    def is_set(self) -> bool:
        """Say whether the event is set."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set.

        :param timeout: seconds to wait at most; None waits for ever.
        :returns: whether the event is set.
        """


class Clock:
    """A monotonic clock."""

    def now(self) -> float:
        """Return the time in seconds."""
        return time.monotonic()

    def nearest_boundary(
        self, last_run: float | None, spacing: float
    ) -> float:
        """Return the last point of a task's grid that is not in the future.

        :param last_run: when the task ran last; None: never.
        :param spacing: seconds.
        """
        return nearest_boundary(self.now(), last_run, spacing, random.random)

    def wait(self, event: Event, until: float) -> None:
        """Wait for an event, or for a point in time.

        It may return early; callers check for themselves.

        :param event: an event of the backend.
        :param until: on this clock.
        """
        seconds = until - self.now()
        if seconds > 0:
            event.wait(seconds)

    def forget(self, event: Event) -> None:
        """Note that the timer which waited for an event has ended."""


def nearest_boundary(
    now: float,
    last_run: float | None,
    spacing: float,
    random_number: Callable[[], float],
) -> float:
    """Return the last point of a task's grid that is not in the future.

    The grid starts at the last run and has steps of the spacing. Up to 5% of
    the spacing, in whole seconds, is added at random, so that tasks that
    started together drift apart; below 20 seconds nothing is added. The rule
    is oslo.service's.

    :param now: the current time.
    :param last_run: when the task ran last; None: never.
    :param spacing: seconds.
    :param random_number: gives a number from 0 to less than 1.
    """
    if last_run is None:
        return now
    jitter = int(spacing * (random_number() / 20))
    return now - (now - last_run) % spacing + jitter


class NamedClock(Clock):
    """A clock over functions that tests may patch; a copy is the same one.

    It pickles as the name of a module's attribute.
    """

    def __init__(
        self,
        module: str,
        name: str,
        now: Callable[[], float],
        nearest: Callable[[float | None, float], float],
    ) -> None:
        """Describe the clock.

        :param module: the module that holds the clock.
        :param name: the attribute that holds it.
        :param now: gives the time in seconds.
        :param nearest: gives the nearest boundary of a last run and a
            spacing.
        """
        self.__module__ = module
        self._name = name
        # Attributes, as every due task calls both: a method costs a call.
        self.now = now  # type: ignore[method-assign]
        self.nearest_boundary = nearest  # type: ignore[assignment,method-assign]

    def __reduce__(self) -> str:
        return self._name
