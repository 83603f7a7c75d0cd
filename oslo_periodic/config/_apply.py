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


"""Fill a task set with the tasks of a class, as the configuration says."""

from __future__ import annotations

from typing import Protocol

from oslo_config import cfg

from oslo_periodic import _log
from oslo_periodic.config import _settings
from oslo_periodic.core import _schedule
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _collection
from oslo_periodic.declare import _deferred
from oslo_periodic.declare import _policy
from oslo_periodic.declare import _task

LOG = _log.get_logger('oslo_periodic.runner')


class _Conf(Protocol):
    run_external_periodic_tasks: bool


class _Configured(Protocol):
    conf: _Conf


def populate(tasks: _task_set.TaskSet, conf: object) -> None:
    """Schedule the tasks of a class.

    :param tasks: an empty task set.
    :param conf: the configuration of the service.
    :raises InvalidPeriodicTaskArg: if the configuration sets an invalid value
        for a task.
    """
    reader = _settings.SettingsReader(conf, tasks.class_name)
    tasks.defaults = reader.defaults
    collection = tasks.collection
    now = tasks.clock.now()
    for name, function in collection.entries:
        task = collection.describe(name, function)
        _add(tasks, reader, task, collection.spacing_of(task), now)
    if not reader.configurable:
        return
    for task in collection.disabled(tasks.owner):
        _add(tasks, reader, task, task.spacing, now)
    # Imported on demand: a stub of a configuration never changes.
    from oslo_periodic.config import _groups
    from oslo_periodic.config import _reload

    _groups.follow(conf, tasks, _reload.reload)


def add(tasks: _task_set.TaskSet, conf: object, task: _task.Task) -> None:
    """Schedule one more task, unless it is disabled.

    :param tasks: the task set.
    :param conf: the configuration of the service.
    :param task: the description of the task.
    :raises InvalidPeriodicTaskArg: if the configuration sets an invalid value
        for it.
    """
    reader = _settings.SettingsReader(conf, tasks.class_name)
    _add(tasks, reader, task, task.spacing, tasks.clock.now())


def _add(
    tasks: _task_set.TaskSet,
    reader: _settings.SettingsReader,
    task: _task.Task,
    spacing: _task.Spacing,
    now: float,
) -> None:
    settings = reader.read(task, spacing)
    if (
        reader.configurable
        or task.policy is not _policy.UNSET
        or _deferred.is_deferred(spacing)
        or _deferred.is_deferred(task.enabled)
    ):
        tasks.settings[task.name] = settings
    reason = settings.why_inactive
    schedule = tasks.schedule
    row = schedule.row(task.name)
    if reason is None:
        last_run = reader.first_last_run(task, settings, now)
        tasks.schedule_task(task, settings, last_run)
        if row is not None:
            schedule.hold(row, _schedule.DISABLED, False)
        return
    if row is None:
        tasks.unscheduled[task.name] = task
    elif settings.spacing < 0:
        schedule.set_spacing(row, settings.spacing)
    else:
        schedule.hold(row, _schedule.DISABLED, True)
    # If the decorator disables the task, the class has logged that.
    if _task.why_inactive(task) is None:
        _collection.log_skipping(task.name, reason)


def replace(
    tasks: _task_set.TaskSet,
    conf: object,
    pairs: list[tuple[str, _task.Function]],
) -> None:
    """Make a task set agree with a list of tasks.

    :param tasks: the task set.
    :param conf: the configuration of the service.
    :param pairs: names and functions.
    """
    wanted = dict(pairs)
    for name, _row in tasks.schedule.items():
        if name not in wanted:
            tasks.remove(name)
    for name, function in pairs:
        if not _task.same_function(tasks.function(name), function):
            add(tasks, conf, tasks.collection.describe(name, function))


def hold_external(tasks: _task_set.TaskSet, conf: _Conf) -> None:
    """Follow ``run_external_periodic_tasks``.

    :param tasks: the task set.
    :param conf: the configuration of the service.
    :raises ValueError: if the value is no bool.
    """
    if tasks.has_external:
        tasks.hold_external(not conf.run_external_periodic_tasks)


class ExternalGate:
    """Follows ``run_external_periodic_tasks``; an invalid value keeps it."""

    def __init__(
        self, tasks: _task_set.TaskSet, configured: _Configured
    ) -> None:
        """Follow nothing yet.

        :param tasks: the task set.
        :param configured: the instance, whose ``conf`` code may replace.
        """
        self._tasks = tasks
        self._configured = configured
        self._invalid = False

    def __call__(self) -> None:
        """Apply the present value; an invalid one is logged once."""
        try:
            hold_external(self._tasks, self._configured.conf)
        except (ValueError, cfg.Error, RecursionError) as exc:
            # A file was reloaded that sets something else than a bool.
            if not self._invalid:
                LOG.error(
                    'run_external_periodic_tasks is unchanged: %(error)s',
                    {'error': exc},
                )
            self._invalid = True
        else:
            self._invalid = False
