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


"""Which tasks an instance of PeriodicTasks has, and how each is run."""

from __future__ import annotations

from collections.abc import Callable

from oslo_periodic.core import _clock
from oslo_periodic.core import _history
from oslo_periodic.core import _pickling
from oslo_periodic.core import _schedule
from oslo_periodic.core import _settings
from oslo_periodic.declare import _collection
from oslo_periodic.declare import _policy
from oslo_periodic.declare import _task
from oslo_periodic import status


#: The properties of a row that follow from its policies.
_POLICY_FLAGS = (
    _schedule.RUN_ONCE | _schedule.QUEUE_ONE | _schedule.FIXED_PHASE
)


class Registry:
    """The tasks of one instance: their schedule, history and settings.

    The instance itself is an opaque first argument of the tasks, which the
    drivers pass. A registry pickles and copies on its own, so a service may
    write a ``__getstate__`` over its ``__dict__`` without knowing of it.
    """

    __slots__ = (
        '__weakref__',
        '_packed',
        '_schedule',
        'clock',
        'defaults',
        'external_held',
        'has_external',
        'history',
        'owner',
        'settings',
        'unscheduled',
    )

    def __init__(self, owner: type, clock: _clock.Clock) -> None:
        """Make an empty set.

        :param owner: the class of the instance.
        :param clock: the clock of the ticks.
        """
        self.owner = owner
        self.clock = clock
        self._schedule: _schedule.Schedule | None = _schedule.Schedule()
        #: In a worker process, the schedule until it is unpacked.
        self._packed: _pickling.WorkerState | None = None
        self.history = _history.History()
        #: Whether external tasks are left to another process.
        self.external_held = False
        #: Whether any task was ever scheduled that is external.
        self.has_external = False
        #: The policies of tasks for which no source sets others.
        self.defaults = _policy.DEFAULT
        #: The tasks that do not run, by name.
        self.unscheduled: dict[str, _task.Task] = {}
        #: By name, the settings of tasks that have any beside their spacing.
        self.settings: dict[str, _settings.TaskSettings] = {}

    # What there is.

    @property
    def schedule(self) -> _schedule.Schedule:
        """The schedule; a worker process unpacks it on first use."""
        if self._schedule is None:
            assert self._packed is not None  # noqa: S101 # nosec B101
            self._schedule = self._packed.schedule(self._listed())
        return self._schedule

    @property
    def class_name(self) -> str:
        """The name of the class of the instance."""
        return self.owner.__name__

    @property
    def collection(self) -> _collection.Collection:
        """The tasks that the class declares."""
        return _collection.of(self.owner)

    def task_names(self) -> list[str]:
        """Return the names of all tasks; those that do not run come last."""
        names = [name for name, _row in self.schedule.items()]
        return [*names, *self.unscheduled]

    def function(self, name: str) -> _schedule.Function | None:
        """Return the function of a task; None if there is no such task."""
        if self._schedule is None:
            # In a worker process: the schedule is not needed for this.
            assert self._packed is not None  # noqa: S101 # nosec B101
            added = self._packed.added.get(name)
            return added or self.collection.function(name)
        row = self._schedule.row(name)
        return None if row is None else self._schedule.function(row)

    def policy(self, name: str) -> _policy.Policy:
        """Return how a task is run."""
        found = self.settings.get(name)
        return _policy.DEFAULT if found is None else found.policy

    def first_spacing(self, row: int) -> object:
        """Return the spacing that a row had before code changed it."""
        found = self.settings.get(self.schedule.name(row))
        if found is not None:
            return found.spacing
        function = self.schedule.function(row)
        return getattr(function, '_periodic_spacing', 0)

    def _listed(self) -> dict[str, _task.Function]:
        return dict(self.collection.entries)

    # Tasks come and go.

    def schedule_task(
        self,
        task: _task.Task,
        settings: _settings.TaskSettings,
        last_run: float | None,
    ) -> None:
        """Schedule a task that runs.

        :param task: its description.
        :param settings: how it is run.
        :param last_run: its last run; None makes it due at once.
        """
        self.unscheduled.pop(task.name, None)
        flags = _flags(settings.policy)
        held = 0
        if task.external_ok:
            self.has_external = True
            flags |= _schedule.IS_EXTERNAL
            held = _schedule.EXTERNAL if self.external_held else 0
        self.schedule.add(
            task.name, task.function, settings.spacing, last_run, held, flags
        )

    def remove(self, name: str) -> None:
        """Remove a scheduled task; if it is running, that run is its last."""
        self.history.forget(self.schedule.remove(name))
        self.settings.pop(name, None)

    def apply_policy(self, row: int, policy: _policy.Policy) -> None:
        """Apply the policies that the schedule itself follows to a row."""
        self.schedule.set_flags(row, _POLICY_FLAGS, _flags(policy))

    def hold_external(self, held: bool) -> None:
        """Leave the external tasks to another process, or stop to."""
        if held != self.external_held:
            self.external_held = held
            self.schedule.hold_external(held)

    # Copies and pickles.

    def __getstate__(self) -> tuple[object, ...]:
        return (
            self.owner,
            self.clock,
            _pickling.pack_rows(self.schedule, self._listed()),
            self.external_held,
            dict(self.settings),
            self.defaults,
        )

    def __setstate__(self, packed: tuple[object, ...]) -> None:
        owner, clock, rows, external_held, settings, defaults = packed
        Registry.__init__(self, owner, clock)  # type: ignore[arg-type]
        self.external_held = external_held  # type: ignore[assignment]
        self.settings = settings  # type: ignore[assignment]
        self.defaults = defaults  # type: ignore[assignment]
        _pickling.unpack_rows(
            self.schedule,
            rows,  # type: ignore[arg-type]
            self._listed(),
            self.owner.__qualname__,
        )
        self.has_external = self.schedule.any_flag(_schedule.IS_EXTERNAL)
        collection = self.collection
        for task in collection.disabled(self.owner):
            self.unscheduled[task.name] = task
        for name, function in collection.entries:
            if name in self.settings and name not in self.schedule:
                self.unscheduled[name] = collection.describe(name, function)

    def reduce_for_worker(self) -> tuple[object, ...]:
        """Reduce the set to what a worker process needs to run tasks.

        A worker looks functions up by name, and unpacks the schedule only if
        a task asks for it.
        """
        state = _pickling.for_worker(self.schedule, self.owner)
        return _in_worker, (type(self), self.owner, self.clock, state)


def _in_worker(
    make: Callable[[type, _clock.Clock], Registry],
    owner: type,
    clock: _clock.Clock,
    state: _pickling.WorkerState,
) -> Registry:
    tasks = make(owner, clock)
    tasks._schedule, tasks._packed = None, state
    return tasks


def _flags(policy: _policy.Policy) -> int:
    """Return the properties of a row that follow from its policies."""
    flags = 0
    if policy is _policy.DEFAULT:
        return flags
    if policy.missed is status.Missed.RUN_ONCE:
        flags |= _schedule.RUN_ONCE
    if policy.overlap is status.Overlap.QUEUE:
        flags |= _schedule.QUEUE_ONE
    if policy.spread:
        flags |= _schedule.FIXED_PHASE
    return flags
