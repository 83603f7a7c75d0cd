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

"""Run the tasks of a tick on workers."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from collections.abc import Sequence
import logging
import math
import os
import select
import signal
import sys
import time
from typing import Any

from oslo_periodic import exceptions
from oslo_periodic.process import _events
from oslo_periodic.process import _logs
from oslo_periodic.process import _main
from oslo_periodic.process import _wire
from oslo_periodic.process import _worker
from oslo_periodic.process import _workers

#: How many workers in a row may die before a task has begun.
_TRIES = 5
#: Seconds for a worker to start and load the instance, imports included.
_LOAD_TIMEOUT = 120.0
#: Milliseconds, the longest that poll can wait; then it is called again.
_MAX_POLL = 2**31 - 1


class _Job:
    """What a worker does at the moment."""

    __slots__ = ('began', 'deadline', 'index', 'overdue')

    def __init__(self, index: int) -> None:
        self.index = index
        self.began: float | None = None
        self.deadline = time.monotonic() + _LOAD_TIMEOUT
        #: Whether it was told to end, because the deadline has passed.
        self.overdue = False


class ProcessPool:
    """Spawned workers, as one user sees them; `Workers` are shared."""

    def __init__(self, workers: _workers.Workers, processes: int) -> None:
        """Make a view of the shared workers.

        :param workers: the shared ones.
        :param processes: how many of them run at a time, at most.
        """
        self._workers = workers
        self.processes = processes

    def run(
        self,
        state: bytes,
        calls: Sequence[_events.Call],
        settings: _events.Settings,
    ) -> Iterator[_events.Began | _events.Ended]:
        """Run tasks, and tell of each when it has begun and ended.

        :param state: the instance and the context, by
            `oslo_periodic.process._wire.dump_state`.
        :param calls: the tasks.
        :param settings: how to treat them.
        :returns: an iterator over what happens, in its order; the tasks run
            while it is consumed.
        :raises WorkerStartError: if there is no worker to be had, or none
            can load the state. What has begun has ended by then.
        """
        if _main.importing:
            raise exceptions.WorkerStartError(
                'the main program runs periodic tasks in parallel while a '
                'worker process imports it: put what it runs below '
                "if __name__ == '__main__'"
            )
        try:
            file = _memory_file(state)
        except OSError as exc:
            raise _no_worker(exc) from exc
        run = _Run(self._workers, file, calls, settings)
        return run.events(min(self.processes, len(calls)))

    def end_idle(self) -> None:
        """End the workers that have nothing to do, those of others, too."""
        for worker in self._workers.take_idle(sys.maxsize):
            self._workers.retire(worker)

    def close(self) -> None:
        """End the workers, those of others included."""
        self._workers.close()


def _no_worker(exc: OSError) -> exceptions.WorkerStartError:
    return exceptions.WorkerStartError(
        f'no worker process could be started: {exc}'
    )


def _memory_file(data: bytes) -> int:
    fd = _worker.above_standard(os.memfd_create('periodic-tick'))
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


class _Run:
    """One tick on the workers."""

    def __init__(
        self,
        workers: _workers.Workers,
        file: int,
        calls: Sequence[_events.Call],
        settings: _events.Settings,
    ) -> None:
        self._workers = workers
        self._file = file
        self._calls = calls
        self._settings = settings
        self._setup = (
            _logs.levels(),
            logging.root.manager.disable,
            _worker.import_path(),
        )
        self._main = _main.describe()
        self._todo = collections.deque(range(len(calls)))
        #: The workers of this tick: busy ones, and those with nothing to do.
        self._jobs: dict[_worker.Worker, _Job] = {}
        self._free: list[_worker.Worker] = []
        #: Those that were told to stop, after their last task.
        self._stopping: set[_worker.Worker] = set()
        self._poll = select.poll()
        if settings.end_fd >= 0:
            self._poll.register(settings.end_fd, select.POLLIN)
        self._by_fd: dict[int, _worker.Worker] = {}
        #: How many workers in a row have died before a task began.
        self._deaths = 0
        #: Why nothing more is handed out.
        self._error: exceptions.WorkerStartError | None = None

    def events(
        self, processes: int
    ) -> Iterator[_events.Began | _events.Ended]:
        try:
            for worker in self._workers.take_idle(processes):
                self._admit(worker)
            while True:
                processes = self._hand_out(processes)
                if not self._jobs:
                    break
                yield from self._wait()
            if self._error is not None:
                raise self._error
        except BaseException:
            # Also where what consumes the events has failed.
            self._workers.discard(list(self._jobs))
            raise
        finally:
            os.close(self._file)
            try:
                self._workers.discard(list(self._stopping))
            finally:
                for worker in self._free:
                    self._workers.give_back(
                        worker, self._settings.idle_timeout
                    )

    # Workers come and go.

    def _admit(self, worker: _worker.Worker) -> None:
        self._free.append(worker)
        for fd in (worker.results, worker.sentinel):
            self._by_fd[fd] = worker
            self._poll.register(fd, select.POLLIN)

    def _dismiss(self, worker: _worker.Worker) -> int:
        """Forget a worker that has ended; return its exit code."""
        for fd in (worker.results, worker.sentinel):
            if self._by_fd.pop(fd, None) is not None:
                self._poll.unregister(fd)
        if worker in self._free:
            self._free.remove(worker)
        self._stopping.discard(worker)
        return self._workers.reap(worker)

    def _hand_out(self, processes: int) -> int:
        """Give tasks to workers.

        :param processes: how many workers to have, at most.
        :returns: the same, or fewer if the system gives no more.
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
                self._tell(worker, self._calls[index])
            except OSError:
                # It is gone; its sentinel says so at the next wait.
                pass
        return processes

    def _tell(self, worker: _worker.Worker, call: _events.Call) -> None:
        if worker.tick is not self:
            setup = self._setup if worker.setup != self._setup else None
            worker.tell('tick', setup, self._main, fd=self._file)
            worker.tick, worker.setup = self, self._setup
        worker.tell('run', call.name, call.full_name, call.watch)

    # What happens.

    def _wait(self) -> Iterator[_events.Began | _events.Ended]:
        deadline = min(job.deadline for job in self._jobs.values())
        timeout = None
        if deadline != math.inf:
            timeout = max(0.0, deadline - time.monotonic()) * 1000
            timeout = min(timeout, _MAX_POLL)
        ready = {fd for fd, _event in self._poll.poll(timeout)}
        if self._settings.end_fd in ready:
            ready.discard(self._settings.end_fd)
            self._end_jobs()
        for worker in {self._by_fd[fd] for fd in ready}:
            for message in worker.receiver.receive():
                yield from self._on_message(worker, *message)
            if worker.sentinel in ready:
                yield from self._on_exit(worker)
            elif worker.receiver.ended:
                # It can report nothing any more: a task has closed its end.
                worker.signal(signal.SIGKILL)
                self._poll.unregister(worker.results)
                del self._by_fd[worker.results]
        self._check_deadlines()

    def _on_message(
        self, worker: _worker.Worker, kind: str, *rest: Any
    ) -> Iterator[_events.Began | _events.Ended]:
        job = self._jobs.get(worker)
        if kind == 'log':
            self._workers.collector.put(rest[0])
        elif job is None or job.overdue:
            pass  # It is too late; the exit of the worker tells the rest.
        elif kind == 'began':
            job.began = time.monotonic()
            timeout = self._settings.task_timeout
            job.deadline = job.began + timeout if timeout else math.inf
            self._deaths = 0
            yield _events.Began(job.index)
        elif kind == 'ended':
            failure, changed = rest
            self._free_or_stop(worker)
            exc = None
            if failure is not None:
                exc = _wire.unpack_exception(failure)
            yield _events.Ended(job.index, exc, changed)
        elif kind == 'load failed':
            del self._jobs[worker]
            self._free.append(worker)
            self._todo.appendleft(job.index)
            cause = _wire.unpack_exception(rest[0])
            self._error = exceptions.WorkerStartError(
                'a worker process cannot load what it has to run: '
                f'{type(cause).__name__}: {cause}'
            )
            self._error.__cause__ = cause

    def _free_or_stop(self, worker: _worker.Worker) -> None:
        del self._jobs[worker]
        worker.tasks += 1
        if 0 < self._settings.max_tasks <= worker.tasks:
            self._stopping.add(worker)
            try:
                worker.tell('stop')
            except OSError:
                pass
        else:
            self._free.append(worker)

    def _on_exit(self, worker: _worker.Worker) -> Iterator[_events.Ended]:
        job = self._jobs.pop(worker, None)
        stack = worker.stack()
        reason = _reason(self._dismiss(worker))
        if job is None:
            return
        call = self._calls[job.index]
        if job.began is None:
            self._todo.appendleft(job.index)
            self._deaths += 1
            if self._error is not None:
                return
            if job.overdue or self._deaths == _TRIES:
                self._error = exceptions.WorkerStartError(
                    f'a worker process took over {_LOAD_TIMEOUT:g} seconds to '
                    f'load what it has to run, at:\n{stack}'
                    if job.overdue
                    else f'{_TRIES} worker processes in a row died before '
                    f'they could run a task; the last one {reason}'
                )
            return
        seconds = time.monotonic() - job.began
        if job.overdue:
            yield _events.Ended(
                job.index,
                exceptions.TaskTimeout(call.full_name, seconds, stack),
                None,
            )
        else:
            yield _events.Ended(
                job.index,
                exceptions.WorkerDied(call.full_name, seconds, reason),
                None,
            )

    def _end_jobs(self) -> None:
        """Do as if everything were over its time."""
        self._poll.unregister(self._settings.end_fd)
        for job in self._jobs.values():
            if not job.overdue:
                job.deadline = -math.inf
        self._error = exceptions.WorkerStartError(
            'the tasks were ended before all of them could run'
        )

    def _check_deadlines(self) -> None:
        current = time.monotonic()
        for worker, job in self._jobs.items():
            if job.deadline > current:
                continue
            if job.overdue:
                worker.signal(signal.SIGKILL)
                job.deadline = math.inf
            else:
                job.overdue = True
                job.deadline = current + _worker.GRACE
                worker.signal(signal.SIGTERM)


def _reason(code: int) -> str:
    if code < 0:
        try:
            return f'was killed by {signal.Signals(-code).name}'
        except ValueError:
            return f'was killed by signal {-code}'
    return f'exited with code {code}'
