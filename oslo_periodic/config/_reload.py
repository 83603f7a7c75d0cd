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


"""Follow a change of the configuration in a schedule that runs."""

from __future__ import annotations

import logging
from typing import Any

from oslo_periodic.core import _schedule
from oslo_periodic.config import _settings
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _task
from oslo_periodic import exceptions
from oslo_periodic import status

LOG = logging.getLogger('oslo_periodic.periodic_task')


def reload(state: _task_set.State, conf: Any) -> None:
    """Read the configuration again, and follow what has changed.

    Whatever code has changed since it was read last stays, unless the
    configuration has changed in the same matter.

    :param state: what follows.
    :param conf: the configuration of the service.
    """
    reader = _settings.Reader(conf, state.owner.__name__, state.defaults)
    state.defaults = reader.defaults
    listed = dict(state.owner._periodic_collection.listed)
    for name, row in list(state.schedule.rows.items()):
        old = state.read.get(name)
        if old is None:
            continue  # There is nothing to read of it.
        function = state.schedule.tasks[row]
        task = state.owner._periodic_collection.describe(name, function)
        new = _read(state, reader, task, listed)
        if new is not None and new != old:
            _change(state, row, old, new, reader)
    for task in list(state.unscheduled.values()):
        new = _read(state, reader, task, listed)
        if new is not None and new.why_not is None:
            state.read[task.name] = new
            state.schedule_task(task, new, reader, state.clock())
            LOG.info(
                'Periodic task %(task)s is enabled now',
                {'task': f'{state.owner.__name__}.{task.name}'},
            )


def _read(
    state: _task_set.State,
    reader: _settings.Reader,
    task: _task.Task,
    listed: dict[str, Any],
) -> _settings.Settings | None:
    spacing = task.spacing
    if listed.get(task.name) is task.function:
        spacing = state.owner._periodic_collection.spacing_of(task)
    try:
        return reader.read(task, spacing)
    except exceptions.InvalidPeriodicTaskArg as exc:
        LOG.error(
            'Periodic task %(task)s stays as it was: %(error)s',
            {'task': f'{state.owner.__name__}.{task.name}', 'error': exc},
        )
        return None


def _change(
    state: _task_set.State,
    row: int,
    old: _settings.Settings,
    new: _settings.Settings,
    reader: _settings.Reader,
) -> None:
    name = state.schedule.names[row]
    state.read[name] = new
    state.apply(row, new)
    if old.why_not and not new.why_not:
        # What was due meanwhile is not late.
        state.schedule.spacing[row] = new.spacing
        missed = state.schedule.skip_missed(row, state.clock())
        if missed:
            reason = status.Skip.DISABLED
            state.history.note_skipped(row, reason, missed)
    if new.spacing != old.spacing:
        state.schedule.set_spacing(row, new.spacing)
    if new.policy.spread and not old.policy.spread:
        now = state.clock()
        last_run = state.spread(name, new.spacing, reader, now)
        state.schedule.set_last_run(row, last_run)
    if new.enabled != old.enabled:
        state.schedule.hold(row, _schedule.DISABLED, not new.enabled)
    LOG.info(
        'Periodic task %(task)s changes: %(changes)s',
        {
            'task': f'{state.owner.__name__}.{name}',
            'changes': ', '.join(old.differences(new)),
        },
    )
