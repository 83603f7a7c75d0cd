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


"""Apply a change of the configuration to a task set that is in use."""

from __future__ import annotations


from oslo_periodic import _log
from oslo_periodic.config import _settings as _reader
from oslo_periodic.core import _schedule
from oslo_periodic.core import _settings
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _task
from oslo_periodic import exceptions
from oslo_periodic import status

LOG = _log.get_logger('oslo_periodic.periodic_task')


def reload(tasks: _task_set.TaskSet, conf: object) -> None:
    """Read the configuration again, and apply what has changed.

    A value that code has changed since the last reading stays, unless the
    configuration has changed it, too. Settings that are invalid are logged,
    and the task keeps its present ones.

    :param tasks: the task set.
    :param conf: the configuration of the service.
    """
    reader = _reader.SettingsReader(conf, tasks.class_name, tasks.defaults)
    tasks.defaults = reader.defaults
    collection = tasks.collection
    listed = dict(collection.entries)
    for name, row in tasks.schedule.items():
        old = tasks.settings.get(name)
        function = tasks.schedule.function(row)
        if old is None or function is None:
            continue  # The configuration has no settings for it.
        task = collection.describe(name, function)
        new = _read(tasks, reader, task, listed)
        if new is not None and new != old:
            _change(tasks, row, old, new, reader)
    for task in list(tasks.unscheduled.values()):
        new = _read(tasks, reader, task, listed)
        if new is not None and new.why_inactive is None:
            tasks.settings[task.name] = new
            now = tasks.clock.now()
            last_run = reader.first_last_run(task, new, now)
            tasks.schedule_task(task, new, last_run)
            LOG.info(
                'Periodic task %(task)s is now enabled',
                {'task': f'{tasks.class_name}.{task.name}'},
            )


def _read(
    tasks: _task_set.TaskSet,
    reader: _reader.SettingsReader,
    task: _task.Task,
    listed: dict[str, _task.Function],
) -> _settings.TaskSettings | None:
    spacing = task.spacing
    if _task.same_function(listed.get(task.name), task.function):
        spacing = tasks.collection.spacing_of(task)
    try:
        return reader.read(task, spacing)
    except exceptions.InvalidPeriodicTaskArg as exc:
        LOG.error(
            'The settings of periodic task %(task)s are unchanged: %(error)s',
            {'task': f'{tasks.class_name}.{task.name}', 'error': exc},
        )
        return None


def _change(
    tasks: _task_set.TaskSet,
    row: int,
    old: _settings.TaskSettings,
    new: _settings.TaskSettings,
    reader: _reader.SettingsReader,
) -> None:
    schedule = tasks.schedule
    name = schedule.name(row)
    tasks.settings[name] = new
    tasks.apply_policy(row, new.policy)
    now = tasks.clock.now()
    if old.why_inactive and not new.why_inactive:
        # Runs that were due while the task was disabled are not late.
        missed = schedule.skip_missed(row, now, new.spacing)
        if missed:
            tasks.history.note_skipped(row, status.Skip.DISABLED, missed)
    if new.spacing != old.spacing:
        schedule.set_spacing(row, new.spacing)
    if new.policy.spread and not old.policy.spread:
        last_run = reader.spread_last_run(name, new.spacing, now)
        schedule.set_last_run(row, last_run)
    if new.enabled != old.enabled:
        schedule.hold(row, _schedule.DISABLED, not new.enabled)
    LOG.info(
        'Periodic task %(task)s changed: %(changes)s',
        {
            'task': f'{tasks.class_name}.{name}',
            'changes': ', '.join(old.differences(new)),
        },
    )
