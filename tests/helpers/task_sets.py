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

"""A task set without an instance, on a clock that the test sets."""

from oslo_periodic.core import _clock
from oslo_periodic.core import _settings
from oslo_periodic.core import _task_set
from oslo_periodic.declare import _policy
from oslo_periodic.declare import _task
from oslo_periodic import periodic_task


class Clock(_clock.Clock):
    """Stands still at a time, and gives the jitter that the test wants."""

    def __init__(self, time=1000.0, jitter=0.0):
        self.time = time
        self.jitter = jitter

    def now(self):
        return self.time

    def nearest_boundary(self, last_run, spacing):
        return _clock.nearest_boundary(
            self.time, last_run, spacing, lambda: self.jitter
        )


class Empty(periodic_task.PeriodicTasks):
    """The owner of task sets: it declares no task."""


def make(owner=Empty, **clock):
    return _task_set.TaskSet(owner, Clock(**clock))


def function(tasks, context):
    """Do nothing, as a task."""


def add(tasks, name='one', spacing=10.0, last_run=None, **policies):
    """Schedule a task.

    :returns: its row.
    """
    policy = _policy.merge(
        _policy.declare(name, **policies), _policy.UNSET, _policy.DEFAULT
    )
    settings = _settings.TaskSettings(spacing, True, policy)
    tasks.settings[name] = settings
    task = _task.Task(name, function, spacing)
    tasks.schedule_task(task, settings, last_run)
    return tasks.schedule.row(name)
