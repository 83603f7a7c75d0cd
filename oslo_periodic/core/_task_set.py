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

"""What an instance of PeriodicTasks keeps."""

from __future__ import annotations

from collections.abc import Callable
import logging
from typing import Any

from oslo_periodic.declare import _collection
from oslo_periodic.core import _history
from oslo_periodic.declare import _deferred
from oslo_periodic.declare import _policy
from oslo_periodic.core import _schedule
from oslo_periodic.config import _settings
from oslo_periodic.declare import _task
from oslo_periodic.compat import _views

LOG = logging.getLogger('oslo_periodic.periodic_task')
RUNNER_LOG = logging.getLogger('oslo_periodic.runner')


def log_overrun(
    full_name: str, seconds: float, spacing: float, missed: int
) -> None:
    """Log that a run was longer than the spacing of its task."""
    LOG.warning(
        'Periodic task %(full_task_name)s ran for %(duration).3f seconds, '
        'which is longer than its spacing of %(spacing)s; runs missed: '
        '%(missed)d',
        {
            'full_task_name': full_name,
            'duration': seconds,
            'spacing': spacing,
            'missed': missed,
        },
    )


def log_timeout(
    full_name: str, timeout: float, way_out: str, stack: str
) -> None:
    """Log that a run is over its timeout, and what is done about it."""
    RUNNER_LOG.warning(
        'Periodic task %(full_task_name)s is over its timeout of '
        '%(timeout)g seconds: %(way_out)s. It was at:\n%(stack)s',
        {
            'full_task_name': full_name,
            'timeout': timeout,
            'way_out': way_out,
            'stack': stack,
        },
    )


class State:
    """All of it, in the one attribute that an instance takes.

    It pickles and copies by itself, so a service may write a
    ``__getstate__`` over its ``__dict__`` and need not know of it.
    """

    __slots__ = (
        '__weakref__',
        'packed',
        'defaults',
        'external',
        'external_held',
        'history',
        'owner',
        'read',
        'schedule',
        'steady',
        'unscheduled',
    )

    #: In a worker process, the added functions and the packed schedule.
    packed: tuple[dict[str, Any], bytes]

    def __init__(
        self,
        owner: _collection.PeriodicTasksMeta,
        conf: Any,
    ) -> None:
        """Schedule what a class lists.

        :param owner: the class of the instance.
        :param conf: the configuration of the service.
        :raises InvalidPeriodicTaskArg: if the configuration says something
            of a task that makes no sense.
        """
        self.start(owner)
        reader = _settings.Reader(conf, owner.__name__)
        self.defaults = reader.defaults
        collection = owner._periodic_collection
        now = self.clock()
        for name, function in collection.listed:
            task = collection.describe(name, function)
            self._add(reader, task, collection.spacing_of(task), now)
        if reader.configurable:
            for task in collection.disabled(owner):
                self._add(reader, task, task.spacing, now)
            from oslo_periodic.config import _groups

            _groups.follow(conf, self)

    def clock(self) -> float:
        """Return the time, on the clock of the ticks."""
        now: float = self.owner._periodic_now()  # type: ignore[attr-defined]
        return now

    def start(self, owner: _collection.PeriodicTasksMeta) -> None:
        """Be empty.

        :param owner: the class of the instance.
        """
        self.owner = owner
        self.schedule = _schedule.Schedule()
        self.history = _history.History()
        #: The tasks that another process may run, by name.
        self.external: list[str] = []
        #: Whether those are kept from running in this one.
        self.external_held = False
        #: The policies that hold where nobody says anything else.
        self.defaults = _policy.DEFAULT
        #: The rows that keep their phase, to which no jitter is added.
        self.steady: set[int] = set()
        #: The tasks that are not to run, by name.
        self.unscheduled: dict[str, _task.Task] = {}
        #: By name, what was read of tasks that the configuration, or a
        #: policy, has a say in.
        self.read: dict[str, _settings.Settings] = {}

    # Here, as in most processes nobody ever makes a copy.

    def __getstate__(self) -> tuple[Any, ...]:
        from oslo_periodic.core import _pickling

        return _pickling.pack(self)

    def __setstate__(self, packed: tuple[Any, ...]) -> None:
        from oslo_periodic.core import _pickling

        self.start(packed[0])
        _pickling.unpack(self, packed)

    def reduce_for_worker(self) -> tuple[Any, ...]:
        """Reduce to what a worker process needs of it to run tasks."""
        from oslo_periodic.core import _pickling

        return _pickling.reduce_for_worker(self)

    def __getattr__(self, name: str) -> Any:
        # Only in a worker process is the schedule not there from the start.
        if name != 'schedule':
            raise AttributeError(name)
        from oslo_periodic.core import _pickling

        self.schedule = _pickling.worker_schedule(self)
        return self.schedule

    def add(self, conf: Any, task: _task.Task, now: float) -> None:
        """Schedule one more task, unless it is not to run.

        :param conf: the configuration of the service.
        :param task: its description.
        :param now: the current time.
        :raises InvalidPeriodicTaskArg: if the configuration says something
            of it that makes no sense.
        """
        reader = _settings.Reader(conf, self.owner.__name__)
        self._add(reader, task, task.spacing, now)

    def _add(
        self,
        reader: _settings.Reader,
        task: _task.Task,
        spacing: Any,
        now: float,
    ) -> None:
        settings = reader.read(task, spacing)
        late = _deferred.is_late(spacing) or _deferred.is_late(task.enabled)
        if reader.configurable or late or task.policy is not _policy.UNSET:
            self.read[task.name] = settings
        if settings.why_not is None:
            self.schedule_task(task, settings, reader, now)
            return
        if task.name not in self.schedule.rows:
            self.unscheduled[task.name] = task
        # Of the others the class has told.
        if _task.is_active(task):
            _collection.log_skipping(task.name, settings.why_not)

    def schedule_task(
        self,
        task: _task.Task,
        settings: _settings.Settings,
        reader: _settings.Reader,
        now: float,
    ) -> None:
        """Schedule a task that is to run.

        :param task: its description.
        :param settings: how it is to be run.
        :param reader: what has read it.
        :param now: the current time.
        """
        self.unscheduled.pop(task.name, None)
        last_run = None if task.immediate else now
        if settings.policy.spread:
            last_run = self.spread(task.name, settings.spacing, reader, now)
        held = 0
        if task.external_ok and task.name not in self.external:
            self.external.append(task.name)
            held = _schedule.EXTERNAL if self.external_held else 0
        row = self.schedule.add(
            task.name, task.function, settings.spacing, last_run, held
        )
        if settings.policy is not _policy.DEFAULT:
            self.apply(row, settings)

    def spread(
        self,
        name: str,
        spacing: float,
        reader: _settings.Reader,
        now: float,
    ) -> float:
        """Return the last run that gives a task the phase of its own.

        :param name: its name.
        :param spacing: seconds.
        :param reader: knows the host.
        :param now: the current time: the next run is within a spacing.
        """
        full_name = f'{self.owner.__name__}.{name}'
        wait = _settings.phase(reader.host, full_name, spacing)
        return now + wait - spacing

    def apply(self, row: int, settings: _settings.Settings) -> None:
        """Have the schedule follow what was said of a row."""
        policy = settings.policy
        for rows, member in (
            (self.schedule.run_once, policy.missed == 'run_once'),
            (self.schedule.queueing, policy.overlap == 'queue'),
            (self.steady, bool(policy.spread)),
        ):
            if member:
                rows.add(row)
            else:
                rows.discard(row)

    def policy(self, name: str) -> _policy.Policy:
        """Return how a task is run."""
        found = self.read.get(name)
        return _policy.DEFAULT if found is None else found.policy

    def first_spacing(self, row: int) -> Any:
        """Return the spacing of a row before code has changed it."""
        found = self.read.get(self.schedule.names[row])
        if found is not None:
            return found.spacing
        return getattr(self.schedule.tasks[row], '_periodic_spacing', 0)

    def task_names(self) -> list[str]:
        """Return the names of all tasks, those that do not run at the end."""
        return [*self.schedule.rows, *self.unscheduled]

    def reload(self, conf: Any) -> None:
        """Read the configuration again, and follow what has changed.

        What cannot be read is logged, and stays as it was.

        :param conf: the configuration of the service.
        """
        # Here, as it never happens in most services.
        from oslo_periodic.config import _reload

        _reload.reload(self, conf)

    def hold_external(self, held: bool) -> None:
        """Keep the external tasks from running, or let them again."""
        if held != self.external_held:
            self.external_held = held
            for name in self.external:
                self.schedule.hold(
                    self.schedule.rows[name], _schedule.EXTERNAL, held
                )

    def function(self, name: str) -> Any:
        """Return the function of a task, or None if there is none."""
        if hasattr(self, 'packed'):
            added = self.packed[0].get(name)
            return added or self.owner._periodic_collection.function(name)
        row = self.schedule.rows.get(name)
        return None if row is None else self.schedule.tasks[row]

    def task_list(
        self, apply: Callable[[list[tuple[str, Any]]], None]
    ) -> _views.TaskList:
        """List the tasks as the reference does.

        :param apply: called with the list when it was changed.
        """
        tasks = self.schedule.tasks
        pairs = [
            (name, tasks[row]) for name, row in self.schedule.rows.items()
        ]
        return _views.TaskList(pairs, apply)

    def replace(
        self, conf: Any, pairs: list[tuple[str, Any]], now: float
    ) -> None:
        """Make the schedule agree with a list of tasks.

        :param conf: the configuration of the service.
        :param pairs: names and functions.
        :param now: the current time, for the first run of what is new.
        """
        wanted = dict(pairs)
        for name, row in list(self.schedule.rows.items()):
            if name not in wanted:
                self.schedule.remove(name)
                self.steady.discard(row)
                self.history.forget(row)
                self.read.pop(name, None)
                if name in self.external:
                    self.external.remove(name)
        for name, function in pairs:
            if self.function(name) is not function:
                task = self.owner._periodic_collection.describe(name, function)
                self.add(conf, task, now)
