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

"""The same class bodies, under oslo.service and under oslo.periodic.

Which tasks run at which tick, their last runs and the idle times are equal
wherever the table of differences says nothing.
"""

import contextlib
import types
from unittest import mock

from hypothesis import strategies
from oslo_service import periodic_task as reference

from oslo_periodic import fixture
from oslo_periodic import periodic_task
from tests import base

SPACINGS = strategies.one_of(
    strategies.integers(-1, 90),
    strategies.floats(0.1, 400, allow_nan=False),
    strategies.sampled_from([20, 60, 3600, 86400.0]),
)
TASKS = strategies.lists(
    strategies.fixed_dictionaries(
        {
            'spacing': SPACINGS,
            'run_immediately': strategies.booleans(),
            'enabled': strategies.sampled_from([True, True, True, False]),
            'external_process_ok': strategies.booleans(),
            'fails': strategies.booleans(),
            # What part of its spacing the task takes.
            'takes': strategies.sampled_from([0, 0, 0.01, 0.3, 0.9]),
        }
    ),
    min_size=1,
    max_size=8,
)
TICKS = strategies.lists(
    strategies.fixed_dictionaries(
        {
            'step': strategies.one_of(
                strategies.integers(0, 100),
                strategies.floats(0, 100, allow_nan=False),
            ),
            'jitter': strategies.sampled_from([0.0, 0.0, 0.5, 0.999]),
            'external': strategies.sampled_from([True, True, False]),
            'raise_on_error': strategies.sampled_from([False, False, True]),
            # From outside, before the tick.
            'reset': strategies.sampled_from([None, None, None, 0, 1, 2]),
        }
    ),
    min_size=1,
    max_size=25,
)


class _Side:
    """One of the two libraries, with its instance and what it ran."""

    def __init__(self, module, clock, descriptions, frozen):
        self.clock = clock
        self.ran = []
        self.conf = types.SimpleNamespace(
            register_opts=lambda opts: None, run_external_periodic_tasks=True
        )
        namespace = {
            f'task_{number}': self.make(module, f'task_{number}', frozen, **d)
            for number, d in enumerate(descriptions)
        }
        bases = (module.PeriodicTasks,)
        cls = type(module.PeriodicTasks)('Tasks', bases, namespace)
        self.tasks = cls(self.conf)

    def make(self, module, name, frozen, fails, takes, **arguments):
        def function(tasks, context):
            self.ran.append(name)
            if not frozen:
                spacing = arguments['spacing'] or 60
                self.clock.advance(takes * spacing)
            if fails:
                raise ValueError(name)

        function.__name__ = name
        return module.periodic_task(**arguments)(function)

    def tick(self, step, jitter, external, raise_on_error, reset):
        """Tick, and return all that can be seen of it."""
        self.ran.clear()
        self.clock.advance(step)
        self.clock.jitter = jitter
        self.conf.run_external_periodic_tasks = external
        names = [name for name, _ in self.tasks._periodic_tasks]
        if reset is not None and reset < len(names):
            self.tasks._periodic_last_run[names[reset]] = None
        try:
            idle = self.tasks.run_periodic_tasks('context', raise_on_error)
        except ValueError as exc:
            idle = str(exc)
        return list(self.ran), dict(self.tasks._periodic_last_run), idle


class TestParity(base.BackendTestCase):
    def check(self, descriptions, ticks, frozen):
        outcomes = []
        for module in (reference, periodic_task):
            with fixture.ClockFixture(start=32503680000.0) as clock:
                with _clock_of(module, clock):
                    side = _Side(module, clock, descriptions, frozen)
                    outcomes.append(
                        [(*side.tick(**t), clock.time) for t in ticks]
                    )
        spacing = dict(side.tasks._periodic_spacing)
        for number, (theirs, ours) in enumerate(zip(*outcomes, strict=True)):
            self.assertEqual(theirs[0], ours[0], f'what ran, tick {number}')
            self.assertEqual(theirs[1], ours[1], f'last runs, tick {number}')
            self.check_idle(descriptions, spacing, ticks[number], theirs, ours)

    def check_idle(self, descriptions, spacing, tick, theirs, ours):
        ran, last_run, idle, now = ours
        if isinstance(theirs[2], str):
            self.assertEqual(theirs[2], idle)
            return
        # The table's row: the time to the next due task, once the tick is
        # over, by the reference's own last runs.
        due = [
            (last_run[name] or 0) + spacing[name] - now
            for name in last_run
            if tick['external']
            or not descriptions[int(name[5:])]['external_process_ok']
        ]
        self.assertEqual(min([60.0, *(max(0, d) for d in due)]), idle)
        if not ran and all(d <= s for d, s in zip(due, spacing.values())):
            if tick['external']:
                self.assertEqual(theirs[2], idle)

    @base.property_test(TASKS, TICKS)
    def test_the_clock_stands_still_in_a_tick(self, descriptions, ticks):
        self.check(descriptions, ticks, frozen=True)

    @base.property_test(TASKS, TICKS)
    def test_the_clock_moves_in_a_tick(self, descriptions, ticks):
        self.check(descriptions, ticks, frozen=False)


def _clock_of(module, clock):
    """Let the clock be that of either library."""
    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(module, 'now', clock.now))
    stack.enter_context(mock.patch.object(module, 'random', clock))
    return stack
