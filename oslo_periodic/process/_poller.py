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

"""Wait for the reports of the workers of one tick, and for their ends."""

from __future__ import annotations

import math
import select
import time

from oslo_periodic.process import _worker

#: Milliseconds, the longest that poll can wait; then it is called again.
_MAX_POLL = 2**31 - 1


class Poller:
    """Polls two descriptors of each worker, and one that ends the tick."""

    def __init__(self, end_fd: int) -> None:
        """Make a poller without workers.

        :param end_fd: reported once, when it is readable; -1: none.
        """
        self._poll = select.poll()
        self._end_fd = end_fd
        self._workers: dict[int, _worker.Worker] = {}
        if end_fd >= 0:
            self._poll.register(end_fd, select.POLLIN)

    def add(self, worker: _worker.Worker) -> None:
        """Wait for a worker from now on."""
        for fd in (worker.results, worker.sentinel):
            self._workers[fd] = worker
            self._poll.register(fd, select.POLLIN)

    def remove(self, worker: _worker.Worker) -> None:
        """Wait for a worker no more."""
        for fd in (worker.results, worker.sentinel):
            if self._workers.pop(fd, None) is not None:
                self._poll.unregister(fd)

    def remove_results(self, worker: _worker.Worker) -> None:
        """Wait for the end of a worker alone."""
        self._poll.unregister(worker.results)
        del self._workers[worker.results]

    def wait(self, deadline: float) -> tuple[dict[_worker.Worker, bool], bool]:
        """Wait until something is ready.

        :param deadline: on the monotonic clock, when to return at the latest.
        :returns: the workers that have reported something or have ended, each
            with whether it has ended; and whether to end the tick.
        """
        timeout = None
        if deadline != math.inf:
            timeout = max(0.0, deadline - time.monotonic()) * 1000
            timeout = min(timeout, _MAX_POLL)
        ready: dict[_worker.Worker, bool] = {}
        end = False
        for fd, _event in self._poll.poll(timeout):
            if fd == self._end_fd:
                end = True
                self._poll.unregister(fd)
            else:
                worker = self._workers[fd]
                ended = fd == worker.sentinel
                ready[worker] = ended or ready.get(worker, False)
        return ready, end
