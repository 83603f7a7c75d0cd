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

"""Run the calls of one tick on workers."""

from __future__ import annotations

import collections
from collections.abc import Generator
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import math
import os
import pickle
import time
from typing import Any

from oslo_periodic.backends import base
from oslo_periodic import exceptions
from oslo_periodic.process import _descriptors
from oslo_periodic.process import _poller
from oslo_periodic.process import _tree
from oslo_periodic.process import _wire
from oslo_periodic.process import _worker
from oslo_periodic.process import _workers

#: How many workers in a row may die before a call has begun.
_MAX_DEATHS = 5
#: Seconds for a worker to start and load the payload, imports included.
_LOAD_TIMEOUT = 120.0
#: Seconds past a deadline from which this process counts as frozen till then.
_FREEZE = 0.2
#: Seconds between looks whether a worker has written down its stack.
_STACK_TIME = 0.005


class _Job:
    """The call that a worker has been given."""

    __slots__ = ('began', 'deadline', 'index', 'kill_at', 'overdue')

    def __init__(self, index: int) -> None:
        self.index = index
        self.began: float | None = None
        self.deadline = time.monotonic() + _LOAD_TIMEOUT
        #: Whether the worker's stack was requested, because the deadline has
        #: passed; and when the worker is killed, whether it is written or not.
        self.overdue = False
        self.kill_at = math.inf


class PoolTick:
    """One run of calls on the shared workers.

    This is one state machine, and stays in one piece: a call is to do, the
    job of a worker, or has ended; a worker is busy, free or stopping.
    """

    def __init__(
        self,
        workers: _workers.Workers,
        payload: base.Payload,
        calls: Sequence[base.Call],
        settings: base.PoolSettings,
    ) -> None:
        """Describe the run; it opens and starts nothing."""
        self._workers = workers
        self._payload = payload
        self._calls = calls
        self._settings = settings
        self._setup = workers.setup()
        #: The payload without its data, which is in the memory file.
        self._head = b''
        self._file = -1
        self._todo = collections.deque(range(len(calls)))
        self._jobs: dict[_worker.Worker, _Job] = {}
        self._free: list[_worker.Worker] = []
        #: Workers that were sent 'stop', after their last call.
        self._stopping: set[_worker.Worker] = set()
        self._poller = _poller.Poller(settings.end_fd)
        #: When the deadlines were last compared with the clock.
        self._checked_at = time.monotonic()
        #: How many workers in a row have died before a call began.
        self._deaths = 0
        #: Why no more calls are handed out.
        self._error: exceptions.WorkerStartError | None = None

    def events(
        self, processes: int
    ) -> Generator[base.Began | base.Ended, None, None]:
        """Run the calls on this many workers, at most."""
        try:
            self._open()
            for worker in self._workers.take_idle(processes):
                self._admit(worker)
            while True:
                processes = self._hand_out(processes)
                if not self._jobs:
                    break
                yield from self._wait()
            if self._error is not None and self._todo:
                raise self._error
        except BaseException:
            # Including GeneratorExit, when the consumer has closed this.
            self._workers.discard(list(self._jobs))
            raise
        finally:
            self._close()

    def _open(self) -> None:
        self._head = pickle.dumps(self._payload.with_data(b''))
        data = self._payload.data
        try:
            self._file = _descriptors.memory_file('periodic-tick', data)
        except OSError as exc:
            raise _no_worker(exc) from exc

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        try:
            self._workers.retire(list(self._stopping))
        finally:
            for worker in self._free:
                self._workers.add_idle(worker, self._settings.idle_timeout)

    def _admit(self, worker: _worker.Worker) -> None:
        self._free.append(worker)
        self._poller.add(worker)

    def _dismiss(self, worker: _worker.Worker) -> str:
        """Forget a worker that has ended; return how it ended."""
        self._poller.remove(worker)
        if worker in self._free:
            self._free.remove(worker)
        self._stopping.discard(worker)
        return _worker.describe_exit(self._workers.reap(worker))

    def _hand_out(self, processes: int) -> int:
        """Give calls to workers.

        :param processes: how many workers to use, at most.
        :returns: the same, or fewer if the system starts no more.
        """
        while (
            self._todo and self._error is None and len(self._jobs) < processes
        ):
            if not self._free:
                try:
                    self._admit(self._workers.start())
                except OSError as exc:
                    if not self._jobs:
                        self._error = _no_worker(exc)
                        self._error.__cause__ = exc
                    return len(self._jobs)
            worker = self._free.pop()
            index = self._todo.popleft()
            self._jobs[worker] = _Job(index)
            try:
                self._send(worker, self._calls[index])
            except OSError:
                pass  # The worker has ended; the next wait finds it.
        return processes

    def _send(self, worker: _worker.Worker, call: base.Call) -> None:
        if worker.tick is not self:
            setup = None if worker.setup is self._setup else self._setup
            worker.send('tick', setup, self._head, fd=self._file)
            worker.tick, worker.setup = self, self._setup
        worker.running_since = _tree.now()
        worker.send('run', call.name, call.full_name, call.watch)

    def _wait(self) -> Iterator[base.Began | base.Ended]:
        deadline = min(job.deadline for job in self._jobs.values())
        ready, end = self._poller.wait(deadline)
        if time.monotonic() - deadline > _FREEZE:
            self._extend_deadlines()
        for worker, ended in ready.items():
            for message in worker.receiver.receive():
                yield from self._on_message(worker, *message)
            if ended:
                yield from self._on_exit(worker)
            elif worker.receiver.ended:
                # A task has closed the pipe: no report can come any more.
                worker.kill()
                self._poller.remove_results(worker)
        if end:
            # After the messages: a call that begins gets a new deadline.
            self._end_jobs()
        self._check_deadlines()

    def _on_message(
        self, worker: _worker.Worker, kind: str, *rest: Any
    ) -> Iterator[base.Began | base.Ended]:
        job = self._jobs.get(worker)
        if kind == 'log':
            self._workers.collector.put(rest[0])
        elif job is None or job.overdue:
            pass  # Too late: how the worker exits decides what has happened.
        elif kind == 'began':
            job.began = time.monotonic()
            timeout = self._settings.task_timeout
            job.deadline = job.began + timeout if timeout else math.inf
            self._deaths = 0
            yield base.Began(job.index)
        elif kind == 'ended':
            failure, changed = rest
            self._free_or_stop(worker)
            exc = failure and _wire.unpack_exception(failure)
            yield base.Ended(job.index, exc, changed)
        elif kind == 'load failed':
            del self._jobs[worker]
            worker.running_since = None
            self._todo.appendleft(job.index)
            # Not kept: whatever it lacks, the next load would lack, too.
            self._stop(worker)
            if not worker.calls:
                cause = _wire.unpack_exception(rest[0])
                self._error = exceptions.WorkerStartError(
                    'a worker process could not load its task: '
                    f'{type(cause).__name__}: {cause}'
                )
                self._error.__cause__ = cause
            # Else an earlier task may have changed the process, such as its
            # limits: a fresh worker tells.

    def _free_or_stop(self, worker: _worker.Worker) -> None:
        del self._jobs[worker]
        worker.running_since = None
        worker.calls += 1
        if 0 < self._settings.max_tasks <= worker.calls:
            self._stop(worker)
        else:
            self._free.append(worker)

    def _stop(self, worker: _worker.Worker) -> None:
        self._stopping.add(worker)
        with contextlib.suppress(OSError):
            worker.send('stop')

    def _on_exit(self, worker: _worker.Worker) -> Iterator[base.Ended]:
        job = self._jobs.pop(worker, None)
        stack = worker.stack()
        worker.kill()  # What its run has started, and it has left behind.
        reason = self._dismiss(worker)
        if job is None:
            return
        if job.began is None:
            self._todo.appendleft(job.index)
            self._deaths += 1
            if self._error is None:
                self._error = self._load_error(job, stack, reason)
            return
        name = self._calls[job.index].full_name
        seconds = time.monotonic() - job.began
        failure: exceptions.ProcessError
        if job.overdue:
            failure = exceptions.TaskTimeout(name, seconds, stack)
        else:
            failure = exceptions.WorkerDied(name, seconds, reason)
        yield base.Ended(job.index, failure, None)

    def _load_error(
        self, job: _Job, stack: str, reason: str
    ) -> exceptions.WorkerStartError | None:
        if job.overdue:
            return exceptions.WorkerStartError(
                f'a worker process took over {_LOAD_TIMEOUT:g} seconds to '
                f'load its task, at:\n{stack}'
            )
        if self._deaths == _MAX_DEATHS:
            return exceptions.WorkerStartError(
                f'{_MAX_DEATHS} worker processes in a row died before '
                f'they could run a task; the last one {reason}'
            )
        return None

    def _end_jobs(self) -> None:
        """End every call, as if all deadlines had passed."""
        for job in self._jobs.values():
            if not job.overdue:
                job.deadline = -math.inf
        self._error = exceptions.WorkerStartError(
            'the tasks were ended before all of them could run'
        )

    def _extend_deadlines(self) -> None:
        """Do not count the time in which this process did not look.

        It was stopped (SIGSTOP, a suspended container), as the workers may
        have been, or whatever consumes the events was. A call whose work is
        done needs time to report it.
        """
        missed = time.monotonic() - self._checked_at
        for job in self._jobs.values():
            job.deadline += missed
            job.kill_at += missed

    def _check_deadlines(self) -> None:
        current = self._checked_at = time.monotonic()
        for worker, job in self._jobs.items():
            if job.deadline > current:
                continue
            if not job.overdue:
                job.overdue = True
                job.kill_at = current + _worker.GRACE
                worker.request_stack()
            elif worker.is_stopped() or job.kill_at <= current:
                worker.kill()
                job.deadline = math.inf
                continue
            job.deadline = min(current + _STACK_TIME, job.kill_at)


def _no_worker(exc: OSError) -> exceptions.WorkerStartError:
    return exceptions.WorkerStartError(
        f'no worker process could be started: {exc}'
    )
