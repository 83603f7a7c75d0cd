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


"""The serial tick: run the due tasks one after the other."""

from __future__ import annotations

import bisect
import sys

from oslo_periodic import _log
from oslo_periodic.backends import base
from oslo_periodic.core import _history
from oslo_periodic.core import _task_set
from oslo_periodic.core import _thread_ref
from oslo_periodic.drivers import _run_context
from oslo_periodic import status

LOG = _log.get_logger('oslo_periodic.periodic_task')


def run_due(
    tasks: _task_set.TaskSet,
    instance: object,
    backend: base.Backend,
    context: object,
    raise_on_error: bool,
) -> None:
    """Run the due tasks in the order of registration.

    :param tasks: the task set.
    :param instance: the first argument of the tasks.
    :param backend: gets a turn after each task if it is cooperative.
    :param context: the second argument of the tasks.
    :param raise_on_error: whether the first error of a task ends the tick.
    """
    cooperative = base.Capability.COOPERATIVE in backend.capabilities
    now = tasks.clock.now
    schedule = tasks.schedule
    thread = _thread_ref.ThreadRef()
    current_time = now()
    # Reversed: a list pops at its end.
    pending = schedule.collect(current_time)[::-1]
    while pending:
        row = pending.pop()
        ref = tasks.take(row)
        if ref is None:
            continue
        _run(ref, instance, context, current_time, thread, raise_on_error)
        if cooperative:
            backend.sleep(0)
        current_time = now()
        # As in the reference, a task that becomes due during the tick runs
        # in it if its turn is still to come.
        for due in schedule.collect_more(current_time):
            if schedule.order(due) > schedule.order(row):
                bisect.insort(
                    pending, due, key=lambda row: -schedule.order(row)
                )


def _run(
    ref: _task_set.Ref,
    instance: object,
    context: object,
    started: float,
    thread: _thread_ref.ThreadRef,
    raise_on_error: bool,
) -> None:
    tasks = ref.tasks
    try:
        begun = tasks.begin(ref, started, thread)
    except BaseException:
        tasks.requeue(ref)
        raise
    if begun is None:
        return
    outcome, error = status.Outcome.SUCCESS, None
    try:
        _run_context.call_in_copy(begun.function, instance, context)
    except BaseException as exc:
        outcome = status.Outcome.FAILURE
        error = _history.error_line(exc)
        ends_tick = _ends_tick(exc)
        if ends_tick or not raise_on_error:
            LOG.exception(
                'Error during %(full_task_name)s',
                {'full_task_name': ref.full_name},
            )
        if ends_tick or raise_on_error:
            raise
    finally:
        tasks.finish(begun, outcome, error)


def _ends_tick(exc: BaseException) -> bool:
    """Say whether an exception is meant for more than the task."""
    if isinstance(exc, KeyboardInterrupt | SystemExit):
        return True
    # The kill of a green thread, whichever backend the tick runs under. Only
    # a greenlet that is loaded can have raised it.
    greenlet = sys.modules.get('greenlet')
    return greenlet is not None and isinstance(exc, greenlet.GreenletExit)
