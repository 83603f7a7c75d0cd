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


"""Wait for the runs of a runner that stops, and end those that remain."""

from __future__ import annotations

import time

from oslo_periodic import _log
from oslo_periodic.drivers import _dispatch
from oslo_periodic.drivers import _execution
from oslo_periodic import status

LOG = _log.get_logger('oslo_periodic.runner')

#: Seconds between two looks at the runs: several stops share one event, and
#: each of them clears it.
_LOOK_AGAIN = 0.2


def await_runs(
    dispatcher: _dispatch.Dispatcher, grace: float | None = None
) -> list[_execution.Execution]:
    """Wait for the runs, except those that call this.

    :param dispatcher: the dispatcher of the runs; it is stopping.
    :param grace: seconds to wait at most; None waits until the deadline of
        the dispatcher, which may become earlier meanwhile.
    :returns: the runs that have not ended.
    """
    own = _execution.current.get()
    if own is not None and own in dispatcher.runs:
        own.stops = True
    end = None if grace is None else time.monotonic() + grace
    while True:
        dispatcher.run_ended.clear()
        runs = [run for run in list(dispatcher.runs) if not run.stops]
        deadline = dispatcher.stop_deadline if end is None else end
        left = deadline - time.monotonic()
        if not runs or left <= 0:
            return runs
        dispatcher.run_ended.wait(min(left, _LOOK_AGAIN))


def end_runs(runs: list[_execution.Execution], now: float) -> None:
    """Log the runs that remain, and end them as far as possible."""
    for run in runs:
        if run.end_requested:
            continue  # Another stop has logged it.
        run.request_end(status.Outcome.STOPPED)
        if run.thread is not None:
            # A run that has not started is not cut short.
            LOG.warning(
                'Periodic task %(task)s is still running after %(seconds).1f '
                'seconds: %(how)s. Stack:\n%(stack)s',
                {
                    'task': run.full_name,
                    'seconds': run.seconds(now),
                    'how': run.how_it_ends,
                    'stack': run.stack(),
                },
            )
        run.end()


def log_left_running(runs: list[_execution.Execution], now: float) -> None:
    """Log the runs that could not be ended."""
    for run in runs:
        LOG.warning(
            'Periodic task %(task)s has not ended after %(seconds).1f '
            'seconds and is left running',
            {'task': run.full_name, 'seconds': run.seconds(now)},
        )
