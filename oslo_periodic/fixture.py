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

from oslo_periodic import backends
from oslo_periodic.backends import base
from oslo_periodic import periodic_task

try:
    import fixtures
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(
        'oslo_periodic.fixture needs the package fixtures: '
        "pip install 'oslo.periodic[fixtures]'",
        name='fixtures',
    ) from exc


class ClockFixture(fixtures.Fixture):
    """Stop the clock of the periodic tasks; the test moves it.

    Use it before the test makes the instance whose tasks follow the clock.
    Other code that reads the time is not affected::

        clock = self.useFixture(fixture.ClockFixture())
        manager = Manager(conf)
        clock.advance(60)
        manager.run_periodic_tasks(context)
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

    def _setUp(self) -> None:
        for name, value in (('now', self.now), ('random', self)):
            self.useFixture(
                fixtures.MonkeyPatch(f'{periodic_task.__name__}.{name}', value)
            )

    def now(self) -> float:
        """Return the time of the clock, in seconds."""
        return self.time

    def random(self) -> float:
        """Return the jitter, instead of :func:`random.random`."""
        return self.jitter

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        :param seconds: how far; a negative number moves it back.
        """
        self.time += seconds


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
