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


"""Is a runner well, and if not, why not."""

from __future__ import annotations

from collections.abc import Iterator
import logging
import math
from typing import Any
from typing import NamedTuple

from oslo_periodic.core import _report
from oslo_periodic.drivers import _dispatch
from oslo_periodic.operate import _commands
from oslo_periodic import status

LOG = logging.getLogger('oslo_periodic.runner')

#: Seconds that the timer may be late before it counts as not turning.
TIMER_PATIENCE = 5.0


class Problem(NamedTuple):
    """Why a runner is not well."""

    #: What it is about: a task, or the runner itself.
    subject: str
    reason: str
    #: Whether the runner itself does not work.
    is_fatal: bool = False

    def __str__(self) -> str:
        return f'{self.subject} {self.reason}'


class Health:
    """Looks at a runner, and tells of what has become wrong, or right."""

    def __init__(
        self, dispatcher: _dispatch.Dispatcher, started: float
    ) -> None:
        """Look at nothing yet.

        :param dispatcher: whose tasks are looked at.
        :param started: when the runner was started.
        """
        self._dispatcher = dispatcher
        self._started = started
        #: The subjects that were told of, and are not well yet.
        self._told: set[str] = set()

    def problems(self, now: float, factor: float) -> list[Problem]:
        """Say what is wrong.

        :param now: the current time.
        :param factor: how many spacings a task may be late; 0: any.
        """
        found = list(self._runner_problems(now))
        if factor > 0:
            found += self._late_tasks(now, factor)
        return found

    def tell(self, problems: list[Problem]) -> None:
        """Log what has become wrong, once, and what is right again."""
        subjects = {problem.subject for problem in problems}
        for problem in problems:
            if problem.subject not in self._told:
                LOG.warning(
                    'The periodic tasks are not well: %(problem)s',
                    {'problem': problem},
                )
        for subject in self._told - subjects:
            LOG.info('%(subject)s is well again', {'subject': subject})
        self._told = subjects

    def _runner_problems(self, now: float) -> Iterator[Problem]:
        dispatcher = self._dispatcher
        if dispatcher.failure is not None:
            failure = dispatcher.failure
            yield Problem(
                'The runner',
                f'has failed: {type(failure).__name__}: {failure}',
                True,
            )
        if dispatcher.stopping:
            return
        expected = dispatcher.planned
        if expected == math.inf:
            expected = dispatcher.turned
        if now - expected > TIMER_PATIENCE:
            yield Problem(
                'The timer',
                f'has not turned for {now - dispatcher.turned:.1f} seconds: '
                'its thread is blocked or gone',
                True,
            )

    def _late_tasks(self, now: float, factor: float) -> Iterator[Problem]:
        for number, instance in enumerate(self._dispatcher.instances):
            state = instance._periodic_state
            # Nothing else can be late, as long as the timer turns.
            rows = {*state.schedule.ready, *state.history.running}
            for row in sorted(rows):
                late = self.lateness(instance, row, now)
                spacing = state.schedule.spacing[row]
                if late is not None and late > factor * spacing > 0:
                    name = state.schedule.names[row]
                    yield Problem(
                        f'{type(instance).__name__}.{name}',
                        f'is {late:.1f} seconds late: '
                        f'{self.reason((number, row), now)}',
                    )

    def lateness(self, instance: Any, row: int, now: float) -> float | None:
        """Return how late the next run of a task is, in seconds.

        :returns: negative, if it is not due; None if it is not to run.
        """
        due: float = instance._periodic_state.schedule.due(row)
        if due == math.inf:
            return None
        return now - max(due, self._started if due == -math.inf else due)

    def reason(self, key: tuple[int, int], now: float) -> str:
        """Say why a task does not start now.

        :param key: the number of its instance, and its row.
        :param now: the current time.
        """
        number, row = key
        state = self._dispatcher.instances[number]._periodic_state
        activity = _report.activity(state, row)
        running = state.history.running.get(row)
        if activity is status.Activity.RUNNING and running is not None:
            where = _report.where(state, row)
            return (
                f'it has been running for {now - running[0]:.1f} seconds'
                f'{", at " + where if where else ""}'
            )
        if activity is status.Activity.WAITING:
            return self._why_waiting(key, now)
        if activity is status.Activity.IDLE:
            return 'it is not due'
        if activity is status.Activity.PAUSED:
            return 'it is paused'
        if activity is status.Activity.EXTERNAL:
            return 'run_external_periodic_tasks leaves it to others'
        return 'it is disabled'

    def _why_waiting(self, key: tuple[int, int], now: float) -> str:
        error = self._dispatcher.parked.get(key)
        if error is not None:
            return f'no worker could be started for it: {error}'
        runs = list(self._dispatcher.runs)
        if len(runs) < self._dispatcher.workers:
            return 'it starts at the next turn of the timer'
        held = sorted(
            ((_commands.seconds(run, now), run.full_name) for run in runs),
            reverse=True,
        )
        names = ', '.join(f'{name} ({s:.1f} s)' for s, name in held[:5])
        more = f' and {len(held) - 5} more' if len(held) > 5 else ''
        return (
            f'it waits for a worker; all {len(runs)} are held, by '
            f'{names}{more}'
        )
