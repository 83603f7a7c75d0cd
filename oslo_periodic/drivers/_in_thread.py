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


"""Run a task in the native or green thread of its worker."""

from __future__ import annotations


from oslo_periodic import _log
from oslo_periodic.core import _history
from oslo_periodic.drivers import _execution
from oslo_periodic.drivers import _run_context
from oslo_periodic import status

LOG = _log.get_logger('oslo_periodic.periodic_task')


class ThreadExecution(_execution.Execution):
    """A run in the thread of its worker."""

    def _execute(self) -> None:
        tasks = self.ref.tasks
        begun = tasks.begin(self.ref, self._started, self.thread)
        if begun is None:
            return
        self.began = True
        outcome, error = status.Outcome.SUCCESS, None
        try:
            _run_context.call_fresh(
                begun.function,
                self._member.instance,
                self._make_context,
                _execution.current,
            )
        except BaseException as exc:
            outcome = status.Outcome.FAILURE
            error = _history.error_line(exc)
            LOG.exception(
                'Error during %(full_task_name)s',
                {'full_task_name': self.full_name},
            )
        finally:
            tasks.finish(begun, *self._final_outcome(outcome, error))

    @property
    def can_be_ended(self) -> bool:
        """Whether the backend can kill the thread."""
        return self._can_be_killed

    @property
    def how_it_ends(self) -> str:
        """What :meth:`end` does, for the log."""
        if self._can_be_killed:
            return 'its green thread is killed'
        return (
            'a native thread cannot be killed; its cancel event is set, and '
            'it runs until the task checks that event'
        )
