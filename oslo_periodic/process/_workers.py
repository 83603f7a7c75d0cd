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

"""The workers of this process: kept warm, and ended with it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref

from oslo_periodic.process import _descriptors
from oslo_periodic.process import _logs
from oslo_periodic.process import _setup
from oslo_periodic.process import _worker


class Workers:
    """The warm workers of this process, shared by all its pools.

    While there are idle workers, a thread ends those that have been idle for
    too long.
    """

    def __init__(self) -> None:
        self.collector = _logs.Collector()
        self._condition = threading.Condition()
        self._idle: list[_worker.Worker] = []
        self._busy: set[_worker.Worker] = set()
        self._started = 0
        self._lifeline: tuple[int, int] | None = None
        self._keeper: threading.Thread | None = None
        self._setup: _setup.Setup | None = None
        #: Whether it was closed; the backend then makes another one.
        self.closed = False
        _instances.add(self)

    def setup(self) -> _setup.Setup:
        """Return the setup of this process; the same object if it is equal.

        So what workers have is compared once for all of them.
        """
        setup, last = _setup.current(), self._setup
        if setup == last:
            return last
        self._setup = setup
        return setup

    def take_idle(self, at_most: int) -> list[_worker.Worker]:
        """Take idle workers, those last used first."""
        taken: list[_worker.Worker] = []
        with self._condition:
            while self._idle and len(taken) < at_most:
                worker = self._idle.pop()
                if worker.has_ended():
                    worker.reap()
                else:
                    taken.append(worker)
            self._busy.update(taken)
        return taken

    def start(self) -> _worker.Worker:
        """Start a worker.

        :raises OSError: if the system starts no more, or this was closed.
        """
        with self._condition:
            if self.closed:
                raise OSError('the process pool was closed')
            if self._lifeline is None:
                self._lifeline = _descriptors.pipe()
            self._started += 1
            name = f'periodic-worker-{self._started}'
            worker = _worker.Worker(name, self._lifeline[0])
            self._busy.add(worker)
            return worker

    def add_idle(self, worker: _worker.Worker, idle_timeout: float) -> None:
        """Keep an idle worker for later calls.

        :param worker: a worker that runs no call.
        :param idle_timeout: seconds after which it ends.
        """
        worker.tick = None
        try:
            worker.send('forget')
        except OSError:
            self.discard([worker])
            return
        with self._condition:
            closed = self.closed
            self._busy.discard(worker)
            if not closed:
                worker.idle_until = time.monotonic() + idle_timeout
                self._idle.append(worker)
            if not closed and self._keeper is None:
                self._keeper = threading.Thread(
                    target=self._keep, name='periodic-workers', daemon=True
                )
                try:
                    self._keeper.start()
                except RuntimeError:
                    self._keeper = None  # The next idle worker retries it.
            self._condition.notify()
        if closed:
            self.discard([worker])

    def retire(self, workers: list[_worker.Worker]) -> None:
        """End workers that run no call."""
        with self._condition:
            self._busy.difference_update(workers)
        for worker in workers:
            with contextlib.suppress(OSError):  # It has ended.
                worker.send('stop')
        _worker.wait_or_kill(workers)

    def discard(self, workers: list[_worker.Worker]) -> None:
        """Kill workers, with the programs of the calls that they run."""
        with self._condition:
            self._busy.difference_update(workers)
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.reap()

    def reap(self, worker: _worker.Worker) -> int:
        """Forget a worker that has ended; return its exit code."""
        with self._condition:
            self._busy.discard(worker)
        return worker.reap()

    def close(self) -> None:
        """End all workers, and close all descriptors.

        The ticks that wait for busy workers reap them.
        """
        with self._condition:
            self.closed = True
            idle = self._idle[:]
            self._idle.clear()
            # Under the lock, so that they are not reaped meanwhile.
            for worker in self._busy:
                worker.kill()
            lifeline, self._lifeline = self._lifeline, None
            self._condition.notify()
        self.retire(idle)
        for fd in lifeline or ():
            os.close(fd)
        self.collector.drain()

    def _keep(self) -> None:
        while True:
            with self._condition:
                if not self._idle:
                    self._keeper = None
                    return
                worker = min(self._idle, key=lambda w: w.idle_until)
                left = worker.idle_until - time.monotonic()
                if left > 0:
                    self._condition.wait(min(left, threading.TIMEOUT_MAX))
                    continue
                self._idle.remove(worker)
            self.retire([worker])

    def after_fork(self) -> None:
        """Release, in a forked child, the workers of its parent."""
        workers = [*self._idle, *self._busy]
        lifeline, collector = self._lifeline, self.collector
        self.__init__()  # type: ignore[misc]
        self.collector = collector.__class__()
        for worker in workers:
            worker.abandon()
        for fd in lifeline or ():
            os.close(fd)


_instances: weakref.WeakSet[Workers] = weakref.WeakSet()


def _after_fork() -> None:
    for workers in list(_instances):
        workers.after_fork()


# A forked child that kept the lifeline open would keep the workers alive.
os.register_at_fork(after_in_child=_after_fork)
