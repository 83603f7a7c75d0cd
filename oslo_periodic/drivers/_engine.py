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


"""The timer and the workers of a runner, from its start to its stop."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from concurrent import futures
import contextlib
import threading

from oslo_periodic.backends import base
from oslo_periodic.core import _task_set
from oslo_periodic.drivers import _dispatch
from oslo_periodic.drivers import _execution
from oslo_periodic.drivers import _stopping
from oslo_periodic import exceptions
from oslo_periodic import status

#: Seconds that a stop waits for runs that were killed, and for runs that were
#: only asked to end.
GRACE, ASKED_GRACE = 3.0, 1.0


class Engine:
    """What exists while a runner runs."""

    def __init__(
        self,
        members: Sequence[_execution.Member],
        context: object,
        backend: base.Backend,
        workers: int,
    ) -> None:
        """Start nothing yet.

        :param members: the instances whose tasks are run.
        :param context: the second argument of the tasks.
        :param backend: the backend they run on.
        :param workers: how many tasks run at a time.
        """
        self.backend = backend
        self.dispatcher = _dispatch.Dispatcher(
            members, context, backend, workers
        )
        self.clock = self.dispatcher.clock
        #: Set when the engine has stopped or failed.
        self.over = backend.event()
        self.failure: BaseException | None = None
        self.closed = False
        self._pools: list[futures.Executor] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the timer.

        :raises RuntimeError: if its thread cannot be started.
        """
        for tasks in self.dispatcher.members:
            tasks.schedule.listen(self.dispatcher)
        self.submit(self._run_timer, 'periodic-timer')
        if self.closed:
            # A signal handler has stopped the runner during its start.
            self._detach()

    def submit(self, call: Callable[[], object], name: str) -> None:
        """Run a long-lived call in a worker of its own.

        In a shared pool, one such call could wait for ever for another to
        return. After :meth:`close` nothing is started: a signal handler may
        have stopped the runner during its start.

        :param call: the call.
        :param name: the name of its thread.
        :raises RuntimeError: if no worker can be started.
        """
        with self._lock:
            if self.closed:
                return
            pool = self.backend.named_worker_pool(1, name)
            self._pools.append(pool)
        pool.submit(call)

    def stop(self, deadline: float) -> bool:
        """Start no more runs, wait for those that run, and end the rest.

        The timer goes on until :meth:`close`, as runs may exceed their
        timeouts meanwhile.

        :param deadline: until when to wait, on the monotonic clock; it
            applies to other calls that wait, too.
        :returns: whether all runs have ended on their own.
        """
        self.dispatcher.stop_starting(deadline)
        left = _stopping.await_runs(self.dispatcher)
        _stopping.end_runs(left, self.clock.now())
        if left:
            killed = any(run.can_be_ended for run in left)
            still = _stopping.await_runs(
                self.dispatcher, GRACE if killed else ASKED_GRACE
            )
            _stopping.log_left_running(still, self.clock.now())
        return not left

    def close(self) -> None:
        """Release everything; further calls do nothing."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            pools = list(self._pools)
        self._detach()
        self.dispatcher.shut_down()
        for pool in pools:
            pool.shutdown(wait=False)
        if any(needs_process(tasks) for tasks in self.dispatcher.members):
            with contextlib.suppress(exceptions.UnsupportedBackendError):
                # Other users of the pool start new workers.
                self.backend.process_pool(1).end_idle()
        self.failure = self.failure or self.dispatcher.failure
        self.over.set()

    def after_fork(self) -> None:
        """Drop everything in a forked child, and touch nothing of the parent.

        A native thread does not survive a fork, and a green one does: it ends
        at its next turn.
        """
        self.closed = True
        self._lock = threading.Lock()
        self._pools = []
        self.dispatcher.after_fork()
        for tasks in self.dispatcher.members:
            tasks.after_fork()
        over, self.over = self.over, self.backend.event()
        self.over.set()
        if base.Capability.COOPERATIVE in self.backend.capabilities:
            self.dispatcher.wake.set()
            over.set()

    def _detach(self) -> None:
        for tasks in self.dispatcher.members:
            # Another runner may have been started meanwhile.
            if tasks.schedule.is_listener(self.dispatcher):
                tasks.schedule.listen(None)

    def fail(self, exc: BaseException) -> None:
        """Record an error of the runner's own code, and end waits for it."""
        # First of all, so that nothing can keep it from wait().
        self.failure = self.dispatcher.failure = exc
        self.over.set()
        self.dispatcher.fail(exc)

    def _run_timer(self) -> None:
        dispatcher = self.dispatcher
        try:
            # Also during a stop, as runs may exceed their timeouts then.
            while not dispatcher.closed:
                dispatcher.wake.clear()
                dispatcher.cycle()
                # A close may have come before the flag was cleared.
                if not dispatcher.closed:
                    self.clock.wait(dispatcher.wake, dispatcher.next_cycle_at)
        except BaseException as exc:
            self.fail(exc)
        finally:
            self.clock.forget(dispatcher.wake)


def needs_process(tasks: _task_set.TaskSet) -> str | None:
    """Return the full name of a task that runs in a process; None: none."""
    for name, row in tasks.schedule.items():
        if tasks.policy(name).isolation is status.Isolation.PROCESS:
            return _task_set.Ref(tasks, row).full_name
    return None


def check_isolation(
    task_sets: Sequence[_task_set.TaskSet], backend: base.Backend
) -> None:
    """Check that the backend has processes if a task needs one.

    :raises UnsupportedBackendError: naming such a task.
    """
    for tasks in task_sets:
        full_name = needs_process(tasks)
        if full_name is None:
            continue
        try:
            backend.process_pool(1)
        except exceptions.UnsupportedBackendError as exc:
            raise exceptions.UnsupportedBackendError(
                f'The periodic task {full_name} has isolation = process: {exc}'
            ) from exc
