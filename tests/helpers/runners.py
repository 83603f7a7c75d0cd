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

"""Bases of the tests of a runner, with bounded waits.

Tests of the timer use a clock that the test moves; faults of real threads and
processes need real time. In both, tasks set an event when they note
something, so that a test seldom has to poll.
"""

import logging
import time

import fixtures

from oslo_periodic import backends
from oslo_periodic import fixture
from oslo_periodic import periodic_task
from oslo_periodic import runner
from tests import base


class _LogListener(logging.Handler):
    """Sets an event at each log record."""

    def __init__(self, logged):
        super().__init__()
        self._logged = logged

    def emit(self, record):
        self._logged.set()


class RunnerTestCase(base.BackendTestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
        self.ran = []
        self.gate = self.event()
        #: Set when a task has noted something.
        self.noted = self.event()

    def event(self):
        return self.selected.backend.event()

    def make(self, **functions):
        tasks = periodic_task.PeriodicTasks(self.conf)
        for name, (spacing, function) in functions.items():
            decorate = periodic_task.periodic_task(
                name=name, spacing=spacing, run_immediately=True
            )
            tasks.add_periodic_task(decorate(function))
        return tasks

    def start(self, *tasks, context=None, workers=4):
        self.conf.set_override('workers', workers, 'oslo_periodic')
        started = runner.PeriodicRunner(tasks, context)
        self.addCleanup(started.stop, timeout=base.TIMEOUT)
        self.addCleanup(self.gate.set)
        started.start()
        return started

    def await_condition(self, condition):
        deadline = time.monotonic() + base.TIMEOUT
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.log.output)
            self.selected.backend.sleep(0.005)

    def _await(self, event, condition):
        """Wait until a condition holds that changes before an event is set.

        The event is cleared, so only one thread may wait for it.
        """
        deadline = time.monotonic() + base.TIMEOUT
        while True:
            event.clear()
            if condition():
                return
            left = deadline - time.monotonic()
            self.assertGreater(left, 0, self.log.output)
            event.wait(left)

    def await_event(self, event):
        self.assertTrue(event.wait(base.TIMEOUT), self.log.output)

    def await_noted(self, condition):
        """Wait until a condition of what tasks have noted holds."""
        self._await(self.noted, condition)

    def await_started(self, name, runs=1):
        """Wait until this many runs have noted the name."""
        self.await_noted(lambda: self.count(name) >= runs)

    def await_runs(self, tasks, name, runs=1):
        """Wait until this many runs have ended, and no more.

        :returns: the state of the task.
        """
        state = fixture.wait_for_runs(tasks, name, runs, base.TIMEOUT)
        self.assertEqual(runs, state.runs)
        return state

    def await_log(self, text):
        """Wait until a text is logged, or was logged before."""
        logged = self.event()
        listener = _LogListener(logged)
        # After the handler of self.log, so that the text is there.
        root = logging.getLogger()
        root.addHandler(listener)
        try:
            self._await(logged, lambda: text in self.log.output)
        finally:
            root.removeHandler(listener)

    def names(self, started, activity):
        return [
            state.full_name
            for state in started.periodic_state()
            if state.activity == activity
        ]

    def note(self, name, context=None):
        self.ran.append((name, context))
        self.noted.set()

    def recording(self, name):
        return lambda tasks, context: self.note(name, context)

    def blocking(self, name):
        def block(tasks, context):
            self.note(name, context)
            self.gate.wait(base.TIMEOUT)

        return block

    def count(self, name):
        return sum(label == name for label, _context in list(self.ran))


class _Clock(fixture.ClockFixture):
    """Counts on a timer before it has waited for the first time."""

    def __init__(self, waits):
        super().__init__()
        #: Set when a timer is about to wait.
        self.waits = waits

    def wait(self, event, until):
        # settle() counts on it as soon as start() returns.
        self._awake.add(event)
        self.waits.set()
        super().wait(event, until)

    def settle(self, timeout=base.TIMEOUT):
        """Wait until every timer waits, also where threads interleave."""
        deadline = time.monotonic() + timeout
        # In this order: a timer that wakes is awake before it stops waiting.
        while self._will_wake() or self._awake:
            if time.monotonic() > deadline:
                raise TimeoutError('a timer does not wait')
            backends.get_backend().sleep(0.001)

    def _will_wake(self):
        # A timer whose time has come meanwhile does not wait for its event.
        return any(
            event.is_set() or until <= self.time
            for event, until in list(self._waits.items())
        )


class ClockMixin:
    """Runs the timer on a clock that the test moves, which starts at 1000."""

    def setUp(self):
        super().setUp()
        self.clock = self.useFixture(_Clock(self.event()))

    def start(self, *tasks, **arguments):
        """Start a runner, and return when what is due was handed out."""
        self.clock.waits.clear()
        started = super().start(*tasks, **arguments)
        self.await_event(self.clock.waits)
        return started

    def settle(self):
        """Wait until all that is due was handed out; see ClockFixture."""
        self.clock.settle()

    def step(self, seconds=1):
        """Move the clock, and wait until what is due was handed out."""
        self.clock.advance(seconds)
        self.settle()


class PolicyTestCase(RunnerTestCase):
    def add(self, tasks, name, function, **arguments):
        arguments.setdefault('run_immediately', True)
        decorate = periodic_task.periodic_task(name=name, **arguments)
        tasks.add_periodic_task(decorate(function))

    def one(self, function, **arguments):
        tasks = periodic_task.PeriodicTasks(self.conf)
        self.add(tasks, 'task', function, **arguments)
        return tasks

    def state(self, tasks):
        return tasks.periodic_state()['task']
