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


"""The runs of the tasks of one instance: begin, finish, pause, resume."""

from __future__ import annotations

import logging
from typing import NamedTuple

from oslo_periodic import _log
from oslo_periodic.core import _history
from oslo_periodic.core import _registry
from oslo_periodic.core import _schedule
from oslo_periodic.core import _thread_ref
from oslo_periodic.declare import _policy
from oslo_periodic import status

LOG = _log.get_logger('oslo_periodic.periodic_task')


#: Makes a named tuple in half the time: each due task takes two.
_new = tuple.__new__


class Ref(NamedTuple):
    """A task of a task set: what drivers and operators pass around."""

    tasks: TaskSet
    row: int

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.tasks.schedule.name(self.row)

    @property
    def full_name(self) -> str:
        """The class and the name of the task: ``Manager.sync``."""
        return f'{self.tasks.class_name}.{self.name}'

    @property
    def policy(self) -> _policy.Policy:
        """How the task is run, as the configuration says now."""
        return self.tasks.policy(self.name)


class TaskSet(_registry.Registry):
    """Everything that is kept for one instance of PeriodicTasks.

    The one life cycle of a run: a driver calls :meth:`take`, :meth:`begin`,
    the function, and :meth:`finish`; or :meth:`requeue` if the run does not
    begin.
    """

    __slots__ = ()

    # The life cycle of a run.

    def take(self, row: int) -> Ref | None:
        """Take a ready task, so that no other driver starts it.

        :returns: None if it is not ready any more and must not run.
        """
        return _new(Ref, (self, row)) if self.schedule.take(row) else None

    def requeue(self, ref: Ref) -> None:
        """Put back a task that was taken and has not begun."""
        self.schedule.requeue(ref.row)

    def begin(
        self,
        ref: Ref,
        started: float,
        thread: _thread_ref.ThreadRef | None = None,
        note: str = '',
    ) -> _history.Begun | None:
        """Begin the run of a task that was taken.

        :param ref: the task.
        :param started: the current time.
        :param thread: the thread that the task runs in; None if it runs in
            another process.
        :param note: appended to the log line.
        :returns: the run; None if the task was removed and must not run.
        """
        row = ref.row
        if LOG.logger.isEnabledFor(logging.DEBUG):
            LOG.debug(
                'Running periodic task %(full_task_name)s%(note)s',
                {'full_task_name': ref.full_name, 'note': note},
            )
        schedule = self.schedule
        last_run, spacing, flags = schedule.timing(row)
        if last_run is None or not flags & _schedule.FIXED_PHASE:
            boundary = self.clock.nearest_boundary(last_run, spacing)
        else:
            # Jitter would move the phase.
            boundary = started - (started - last_run) % abs(spacing)
        taken = schedule.begin(row, boundary)
        if taken is None:
            return None
        function, requested = taken
        lateness = 0.0
        if last_run is not None and not requested:
            lateness = started - last_run - spacing
            if lateness >= spacing > 0:
                passed = min(lateness / spacing, _schedule.MOST_MISSED)
                self.history.note_skipped(row, status.Skip.LATE, int(passed))
        late = lateness if lateness > 0 else 0.0
        fields = (row, function, started, late, boundary, thread)
        begun = self.history.running[row] = _new(_history.Begun, fields)
        return begun

    def finish(
        self,
        begun: _history.Begun,
        outcome: status.Outcome = status.Outcome.SUCCESS,
        error: str | None = None,
    ) -> None:
        """End a run.

        :param begun: the run, as :meth:`begin` returned it.
        :param outcome: how it ended.
        :param error: the class and the text of the exception, if any.
        """
        row, started = begun.row, begun.started
        history, schedule = self.history, self.schedule
        if history.running.get(row) is not begun:
            return  # This is a forked child of the run.
        ended = self.clock.now()
        del history.running[row]
        missed = schedule.finish(row, started, ended, begun.boundary)
        if missed is None:
            return  # The task was removed during the run.
        history.note_end(begun, ended, outcome, error)
        if missed:
            history.note_skipped(row, status.Skip.OVERLAP, missed)
            LOG.warning(
                'Periodic task %(full_task_name)s ran for %(duration).3f '
                'seconds, longer than its spacing of %(spacing)g seconds; '
                'missed runs: %(missed)d',
                {
                    'full_task_name': Ref(self, row).full_name,
                    'duration': ended - started,
                    'spacing': schedule.spacing(row),
                    'missed': missed,
                },
            )

    def after_fork(self) -> None:
        """Drop, in a forked child, the runs of the parent."""
        self.schedule.after_fork()
        self.history.running.clear()

    # What operators do.

    def pause(self, row: int) -> None:
        """Keep a task from starting until it is resumed."""
        self.schedule.hold(row, _schedule.PAUSED, True)

    def resume(self, row: int) -> bool:
        """Let a paused task start again.

        :returns: False if it was not paused.
        """
        if not self.schedule.held(row) & _schedule.PAUSED:
            return False
        missed = self.schedule.skip_missed(row, self.clock.now())
        if missed:
            self.history.note_skipped(row, status.Skip.PAUSED, missed)
        self.schedule.hold(row, _schedule.PAUSED, False)
        return True
