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

"""The executors of the standard library: a process pool of a third party.

Each worker process is a ProcessPoolExecutor of its own, because the death of
one process breaks a whole executor.
"""

import collections
from collections.abc import Generator
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from typing import Any

from oslo_periodic.backends import base
from oslo_periodic import exceptions

#: How many workers in a row may die before a call has begun.
_MAX_DEATHS = 3
#: Seconds between two looks at the workers.
_PAUSE = 0.01


class ExecutorBackend(base.Backend):
    """Runs periodic tasks on the executors of the standard library."""

    name = 'executor'
    capabilities = frozenset({base.Capability.PROCESSES})

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def event(self) -> base.Event:
        """Make an event of the standard library."""
        return threading.Event()

    def worker_pool(self, workers: int) -> futures.Executor:
        """Make an executor of threads."""
        return futures.ThreadPoolExecutor(workers)

    def process_pool(self, processes: int | None = None) -> base.ProcessPool:
        """Make a pool that shares nothing with other pools."""
        return ExecutorPool(processes or len(os.sched_getaffinity(0)))


class ExecutorPool:
    """A `base.ProcessPool` of executors with one process each."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._idle: list[_Worker] = []
        self._closed = False
        self._lock = threading.Lock()

    def run(
        self,
        payload: base.Payload,
        calls: Sequence[base.Call],
        settings: base.PoolSettings,
    ) -> Generator[base.Began | base.Ended, None, None]:
        """Run calls; see `base.ProcessPool.run`."""
        run = _Run(self, payload, calls, settings)
        try:
            while run.hand_out(self._processes):
                yield from run.look()
                time.sleep(_PAUSE)
            if run.todo and run.error is not None:
                raise run.error
        finally:
            for worker in run.busy:
                worker.kill()

    def take(self) -> '_Worker':
        """Return an idle worker, or a new one."""
        with self._lock:
            if self._closed:
                raise exceptions.WorkerStartError('the pool is closed')
            if self._idle:
                worker = self._idle.pop()
                worker.timer.cancel()
                return worker
        try:
            return _Worker()
        except (OSError, futures.BrokenExecutor) as exc:
            raise exceptions.WorkerStartError(str(exc)) from exc

    def give_back(self, worker: '_Worker', idle_timeout: float) -> None:
        """Keep a worker for later calls."""
        worker.timer = threading.Timer(idle_timeout, self._end, [worker])
        worker.timer.daemon = True
        with self._lock:
            self._idle.append(worker)
            worker.timer.start()
        if self._closed:
            self._end(worker)

    def _end(self, worker: '_Worker') -> None:
        with self._lock:
            if worker not in self._idle:
                return
            self._idle.remove(worker)
        worker.timer.cancel()
        worker.kill()

    def end_idle(self) -> None:
        """End the workers that run no call."""
        for worker in list(self._idle):
            self._end(worker)

    def close(self) -> None:
        """End all workers."""
        self._closed = True
        self.end_idle()


class _Worker:
    """One process, and the call that it runs."""

    timer: threading.Timer
    future: futures.Future[Any]
    index: int

    def __init__(self) -> None:
        context = multiprocessing.get_context('spawn')
        self._reports, sender = context.Pipe(duplex=False)
        self._executor = futures.ProcessPoolExecutor(
            1, context, _initialize, (sender,)
        )
        self._pid: int = self._executor.submit(os.getpid).result()
        sender.close()
        self.calls = 0
        self.began: float | None = None
        self.overdue = False

    def start(
        self, payload: base.Payload, call: base.Call, index: int
    ) -> None:
        """Start a call."""
        self.index, self.began, self.overdue = index, None, False
        try:
            self.future = self._executor.submit(_run, payload, call)
        except futures.BrokenExecutor as exc:
            self.future = futures.Future()
            self.future.set_exception(exc)

    def has_begun(self) -> bool:
        """Return whether the call begins now."""
        with contextlib.suppress(EOFError, OSError):
            if self.began is None and self._reports.poll():
                self._reports.recv()
                self.began = time.monotonic()
                return True
        return False

    def end_call(self) -> None:
        """Kill the process because of its call."""
        self.overdue = True
        self._signal()

    def kill(self) -> None:
        """Kill the process, and wait for its end."""
        self._signal()
        self._executor.shutdown()
        self._reports.close()

    def _signal(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)


class _Run:
    """One run of calls."""

    def __init__(
        self,
        pool: ExecutorPool,
        payload: base.Payload,
        calls: Sequence[base.Call],
        settings: base.PoolSettings,
    ) -> None:
        self._pool = pool
        self._payload = payload
        self._calls = calls
        self._settings = settings
        self._deaths = 0
        self.todo = collections.deque(range(len(calls)))
        self.busy: list[_Worker] = []
        self.error: exceptions.WorkerStartError | None = None

    def hand_out(self, processes: int) -> bool:
        """Start calls; return whether any runs."""
        while self.todo and self.error is None and len(self.busy) < processes:
            try:
                worker = self._pool.take()
            except exceptions.WorkerStartError as exc:
                if not self.busy:
                    self.error = exc
                break
            index = self.todo.popleft()
            worker.start(self._payload, self._calls[index], index)
            self.busy.append(worker)
        return bool(self.busy)

    def look(self) -> Iterator[base.Began | base.Ended]:
        """Report what has happened since the last look."""
        fd = self._settings.end_fd
        if fd >= 0 and base.is_readable(fd, 0):
            self.error = exceptions.WorkerStartError('the calls were ended')
            for worker in self.busy:
                worker.end_call()
        for worker in list(self.busy):
            done = worker.future.done()
            if worker.has_begun() and not worker.overdue:
                self._deaths = 0
                yield base.Began(worker.index)
            if done:
                self.busy.remove(worker)
                yield from self._on_end(worker)
            elif self._is_overdue(worker):
                worker.end_call()

    def _is_overdue(self, worker: _Worker) -> bool:
        timeout = self._settings.task_timeout
        return bool(
            timeout
            and worker.began is not None
            and time.monotonic() - worker.began > timeout
        )

    def _on_end(self, worker: _Worker) -> Iterator[base.Ended]:
        if worker.future.exception() is not None:
            worker.kill()
            yield from self._on_death(worker)
            return
        failure, changed = worker.future.result()
        if failure is not None:
            failure, text = failure
            failure.__cause__ = exceptions.RemoteTraceback(text)
        if worker.began is None:
            self.todo.appendleft(worker.index)
            self.error = exceptions.WorkerStartError(f'cannot load: {failure}')
            self.error.__cause__ = failure
        else:
            yield base.Ended(worker.index, failure, changed)
        worker.calls += 1
        if 0 < self._settings.max_tasks <= worker.calls:
            worker.kill()
        else:
            self._pool.give_back(worker, self._settings.idle_timeout)

    def _on_death(self, worker: _Worker) -> Iterator[base.Ended]:
        if worker.began is None:
            self.todo.appendleft(worker.index)
            self._deaths += 1
            if self._deaths == _MAX_DEATHS:
                self.error = exceptions.WorkerStartError(
                    f'{_MAX_DEATHS} workers died before they ran a call'
                )
            return
        name = self._calls[worker.index].full_name
        seconds = time.monotonic() - worker.began
        failure: exceptions.ProcessError
        if worker.overdue:
            failure = exceptions.TaskTimeout(name, seconds, '')
        else:
            failure = exceptions.WorkerDied(name, seconds, 'died')
        yield base.Ended(worker.index, failure, None)


# What follows runs in the worker processes.

_sender: Any = None


def _initialize(sender: Any) -> None:
    global _sender

    _sender = sender


def _run(payload: base.Payload, call: base.Call) -> tuple[Any, Any]:
    """Run a call; return its failure and the changed attributes."""
    try:
        task = payload.load(call)
        _sender.send('began')
        return None, task()
    except BaseException as exc:
        return _portable(exc), None


def _portable(exc: BaseException) -> tuple[BaseException, str]:
    """Return an exception that can be pickled, and its traceback."""
    text = ''.join(traceback.format_exception(exc))
    try:
        same = type(pickle.loads(pickle.dumps(exc))) is type(exc)
    except Exception:
        same = False
    if not same or isinstance(exc, SystemExit | KeyboardInterrupt):
        exc = exceptions.RemoteError(f'{type(exc).__name__}: {exc}')
    return exc, text
